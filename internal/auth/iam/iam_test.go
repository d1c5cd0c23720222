package iam

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/db"
)

type fixture struct {
	*Service
	db      *bun.DB
	keyFile string
}

func open(t testing.TB) fixture {
	t.Helper()
	dir := t.TempDir()
	d, err := db.Open(context.Background(), filepath.Join(dir, "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	f := fixture{db: d, keyFile: filepath.Join(dir, "secret.key")}
	f.Service, err = Open(context.Background(), d, Config{KeyFile: f.keyFile})
	require.NoError(t, err)
	return f
}

func TestBootstrapOnce(t *testing.T) {
	f, ctx := open(t), context.Background()
	key, created, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	require.True(t, created)
	require.Regexp(t, regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`), key.ID)
	require.Regexp(t, regexp.MustCompile(`^[A-Za-z0-9]{40}$`), key.Secret)
	require.Equal(t, "arn:aws:iam::000000000000:user/admin", key.Principal.ARN)
	require.NotContains(t, fmt.Sprintf("%v %s", key, key), key.Secret)

	again, created, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	require.False(t, created)
	require.Empty(t, again)
	got, err := f.LookupKey(ctx, key.ID)
	require.NoError(t, err)
	require.Equal(t, key, got)

	var rows []keyRow
	require.NoError(t, f.db.NewSelect().Model(&rows).Scan(ctx))
	require.NotContains(t, rows[0].Secret, key.Secret)
	st, err := os.Stat(f.keyFile)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())

	// Another start reads the same secret with the same file.
	s, err := Open(ctx, f.db, Config{KeyFile: f.keyFile})
	require.NoError(t, err)
	got, err = s.LookupKey(ctx, key.ID)
	require.NoError(t, err)
	require.Equal(t, key.Secret, got.Secret)
}

func TestSecretKeyFile(t *testing.T) {
	f, ctx := open(t), context.Background()
	key, _, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	reopen := func() (*Service, error) { return Open(ctx, f.db, Config{KeyFile: f.keyFile}) }

	good, err := os.ReadFile(f.keyFile)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(f.keyFile, 0o644))
	_, err = reopen()
	require.ErrorContains(t, err, "must be 0600")
	require.NoError(t, os.Remove(f.keyFile))
	_, err = reopen()
	require.ErrorContains(t, err, "is missing, and the database holds secrets")
	require.NoFileExists(t, f.keyFile)
	require.NoError(t, os.WriteFile(f.keyFile, []byte("short\n"), 0o600))
	_, err = reopen()
	require.ErrorContains(t, err, "does not hold 64 hexadecimal digits")
	other := append([]byte{}, good...)
	other[0] ^= 1
	require.NoError(t, os.WriteFile(f.keyFile, other, 0o600))
	s, err := reopen()
	if err == nil { // still hexadecimal: then it is the wrong key
		_, err = s.LookupKey(ctx, key.ID)
	}
	require.Error(t, err)
	require.NoError(t, os.WriteFile(f.keyFile, good, 0o600))
	s, err = reopen()
	require.NoError(t, err)
	_, err = s.LookupKey(ctx, key.ID)
	require.NoError(t, err)
}

func TestSealedSecretsCannotBeExchanged(t *testing.T) {
	f, ctx := open(t), context.Background()
	admin, _, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	second, err := f.CreateAccessKey(ctx, DefaultAccount, AdminUser)
	require.NoError(t, err)
	var from keyRow
	require.NoError(t, f.db.NewSelect().Model(&from).Where("id = ?", second.ID).Scan(ctx))
	_, err = f.db.NewUpdate().Model((*keyRow)(nil)).Set("secret = ?", from.Secret).Where("id = ?", admin.ID).Exec(ctx)
	require.NoError(t, err)
	_, err = f.LookupKey(ctx, admin.ID)
	require.ErrorContains(t, err, "does not open")
}

func TestAccessKeyLifeCycle(t *testing.T) {
	f, ctx := open(t), context.Background()
	_, _, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	second, err := f.CreateAccessKey(ctx, DefaultAccount, AdminUser)
	require.NoError(t, err)
	_, err = f.CreateAccessKey(ctx, DefaultAccount, AdminUser)
	require.ErrorIs(t, err, ErrLimitExceeded)
	_, err = f.LookupKey(ctx, second.ID)
	require.NoError(t, err)
	require.NoError(t, f.SetAccessKeyActive(ctx, second.ID, false))
	_, err = f.LookupKey(ctx, second.ID) // at once, although it was just read
	require.ErrorIs(t, err, ErrNoSuchEntity)
	require.NoError(t, f.SetAccessKeyActive(ctx, second.ID, true))
	_, err = f.LookupKey(ctx, second.ID)
	require.NoError(t, err)
	require.NoError(t, f.DeleteAccessKey(ctx, second.ID))
	_, err = f.LookupKey(ctx, second.ID)
	require.ErrorIs(t, err, ErrNoSuchEntity)
	require.ErrorIs(t, f.DeleteAccessKey(ctx, second.ID), ErrNoSuchEntity)
	_, err = f.CreateAccessKey(ctx, DefaultAccount, "nobody")
	require.ErrorIs(t, err, ErrNoSuchEntity)
	_, err = f.CreateUser(ctx, DefaultAccount, AdminUser)
	require.ErrorIs(t, err, ErrExists)
	_, err = f.CreateUser(ctx, DefaultAccount, "a/b")
	require.ErrorIs(t, err, ErrInvalidInput)
}

// A change made by another process shows after CacheFor.
func TestCacheEnds(t *testing.T) {
	f, ctx := open(t), context.Background()
	now := time.Unix(1_800_000_000, 0)
	f.cfg.Now = func() time.Time { return now }
	key, _, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	_, err = f.LookupKey(ctx, key.ID)
	require.NoError(t, err)
	other, err := Open(ctx, f.db, Config{KeyFile: f.keyFile})
	require.NoError(t, err)
	require.NoError(t, other.DeleteAccessKey(ctx, key.ID))
	_, err = f.LookupKey(ctx, key.ID)
	require.NoError(t, err)
	now = now.Add(f.cfg.CacheFor)
	_, err = f.LookupKey(ctx, key.ID)
	require.ErrorIs(t, err, ErrNoSuchEntity)
}

func TestAuthorize(t *testing.T) {
	f, ctx := open(t), context.Background()
	admin, _, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	user := func(name string, policies ...string) Principal {
		_, err := f.CreateUser(ctx, DefaultAccount, name)
		require.NoError(t, err)
		for _, p := range policies {
			require.NoError(t, f.AttachUserPolicy(ctx, DefaultAccount, name, p))
		}
		k, err := f.CreateAccessKey(ctx, DefaultAccount, name)
		require.NoError(t, err)
		return k.Principal
	}
	writer, reader := user("writer", PolicyPrometheusWrite), user("reader", PolicyPrometheusQuery)
	both, full, none := user("both", PolicyPrometheusWrite, PolicyPrometheusQuery), user("full", PolicyPrometheusFull), user("none")
	const ws = "arn:aws:aps:us-east-1:000000000000:workspace/ws-1"
	for _, tc := range []struct {
		who              Principal
		action, resource string
		ok               bool
	}{
		{admin.Principal, "aps:CreateWorkspace", ws, true},
		{admin.Principal, "iam:CreateUser", "arn:aws:iam::000000000000:user/x", true},
		{admin.Principal, "aps:RemoteWrite", "arn:aws:aps:us-east-1:111111111111:workspace/ws-1", false},
		{admin.Principal, "", ws, false},
		{admin.Principal, "aps:RemoteWrite", "", false},
		{writer, "aps:RemoteWrite", ws, true},
		{writer, "aps:QueryMetrics", ws, false},
		{reader, "aps:QueryMetrics", ws, true},
		{reader, "aps:RemoteWrite", ws, false},
		{reader, "aps:QueryMetricsX", ws, false},
		{both, "aps:RemoteWrite", ws, true},
		{both, "aps:GetLabels", ws, true},
		{both, "aps:DeleteWorkspace", ws, false},
		{full, "aps:DeleteWorkspace", ws, true},
		{full, "iam:CreateUser", "*", false},
		{none, "aps:RemoteWrite", ws, false},
		{Principal{}, "aps:RemoteWrite", ws, false},
		{Principal{ARN: admin.Principal.ARN, AccountID: DefaultAccount}, "aps:RemoteWrite", ws, false},
	} {
		err := f.Authorize(ctx, Request{Principal: tc.who, Action: tc.action, Resource: tc.resource})
		if tc.ok {
			require.NoError(t, err, tc)
			continue
		}
		var denied *DeniedError
		require.ErrorAs(t, err, &denied, "%+v", tc)
	}
	require.EqualError(t, f.Authorize(ctx, Request{Principal: writer, Action: "aps:QueryMetrics", Resource: ws}),
		"User: arn:aws:iam::000000000000:user/writer is not authorized to perform: aps:QueryMetrics on resource: "+ws+" because no identity-based policy allows the aps:QueryMetrics action")

	require.NoError(t, f.DetachUserPolicy(ctx, DefaultAccount, "writer", PolicyPrometheusWrite))
	require.Error(t, f.Authorize(ctx, Request{Principal: writer, Action: "aps:RemoteWrite", Resource: ws}))
	require.ErrorIs(t, f.AttachUserPolicy(ctx, DefaultAccount, "writer", "arn:aws:iam::aws:policy/Unknown"), ErrNoSuchEntity)

	// A policy that is not understood could hold a denial: refuse.
	at := attachmentRow{OwnerID: both.ID, PolicyARN: "arn:aws:iam::000000000000:policy/own"}
	_, err = f.db.NewInsert().Model(&at).Exec(ctx)
	require.NoError(t, err)
	f.changed()
	require.ErrorContains(t, f.Authorize(ctx, Request{Principal: both, Action: "aps:RemoteWrite", Resource: ws}), "both is not authorized")
	// A deleted key has no permissions left.
	require.NoError(t, f.DeleteAccessKey(ctx, full.AccessKeyID))
	require.Error(t, f.Authorize(ctx, Request{Principal: full, Action: "aps:DeleteWorkspace", Resource: ws}))
}

func TestPrincipalInContext(t *testing.T) {
	_, ok := PrincipalFrom(context.Background())
	require.False(t, ok)
	_, ok = PrincipalFrom(WithPrincipal(context.Background(), Principal{}))
	require.False(t, ok)
	p, ok := PrincipalFrom(WithPrincipal(context.Background(), Principal{ARN: "arn:x"}))
	require.True(t, ok)
	require.Equal(t, "arn:x", p.ARN)
}
