package iam

import (
	"database/sql"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/db"
)

// A database as the version before this package's present tables left it is
// brought up to date with all it holds.
func TestMigration(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	file, keyFile := filepath.Join(dir, "old.db"), filepath.Join(dir, "secret.key")
	old, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	migrations, err := goose.NewProvider(goose.DialectSQLite3, old, os.DirFS("../../db/migrations"))
	require.NoError(t, err)
	_, err = migrations.UpTo(ctx, 4)
	require.NoError(t, err)

	secretKey := newKey()
	require.NoError(t, os.WriteFile(keyFile, []byte(hex.EncodeToString(secretKey)+"\n"), 0o600))
	k, err := newSecretKey(secretKey)
	require.NoError(t, err)
	key := AccessKey{ID: newID(prefixKey), Secret: newSecret()}
	for _, q := range []struct {
		text string
		args []any
	}{
		{"INSERT INTO iam_accounts VALUES (?, 'default', 1)", []any{DefaultAccount}},
		{"INSERT INTO iam_users VALUES ('AIDA1', ?, 'admin', '/', 1)", []any{DefaultAccount}},
		{"INSERT INTO iam_access_keys VALUES (?, 'AIDA1', ?, 'Active', 1)", []any{key.ID, oldForm(k, key)}},
		{"INSERT INTO iam_user_policies VALUES ('AIDA1', ?)", []any{PolicyPrometheusWrite}},
	} {
		_, err = old.ExecContext(ctx, q.text, q.args...)
		require.NoError(t, err, q.text)
	}
	require.NoError(t, old.Close())

	records, err := db.Open(ctx, file)
	require.NoError(t, err)
	defer records.Close()
	s, err := Open(ctx, records, Config{KeyFile: keyFile})
	require.NoError(t, err)
	_, created, err := s.Bootstrap(ctx)
	require.NoError(t, err)
	require.False(t, created)
	got, err := s.LookupKey(ctx, key.ID)
	require.NoError(t, err)
	require.Equal(t, key.Secret, got.Secret)
	require.NoError(t, s.Authorize(ctx, Request{Principal: got.Principal, Action: "aps:RemoteWrite", Resource: testWS}))
	require.Error(t, s.Authorize(ctx, Request{Principal: got.Principal, Action: "aps:QueryMetrics", Resource: testWS}))

	// And back, as far as the old tables go.
	migrations, err = goose.NewProvider(goose.DialectSQLite3, records.DB, os.DirFS("../../db/migrations"))
	require.NoError(t, err)
	_, err = migrations.DownTo(ctx, 4)
	require.NoError(t, err)
	n, err := records.NewSelect().Table("iam_user_policies").Where("policy_arn = ?", PolicyPrometheusWrite).Count(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}
