package db

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "with space", "mangru.db")
	_, err := Open(t.Context(), file)
	require.ErrorContains(t, err, "open database")

	require.NoError(t, os.Mkdir(filepath.Dir(file), 0o700))
	for range 2 { // the second time there is nothing to migrate
		records, err := Open(t.Context(), file)
		require.NoError(t, err)
		_, err = records.ExecContext(t.Context(), "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", "a", "b")
		require.NoError(t, err)
		n, err := records.NewSelect().Table("settings").Count(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, n)
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		require.NoError(t, records.Close())
	}
}

func TestNotADatabase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mangru.db")
	require.NoError(t, os.WriteFile(file, []byte("this is not a database, and too long to be an empty one"), 0o600))
	_, err := Open(t.Context(), file)
	require.ErrorContains(t, err, file)
}

func TestUpgrade(t *testing.T) {
	dir := t.TempDir()
	file, backup := filepath.Join(dir, "mangru.db"), filepath.Join(dir, "before.db")
	_, err := Upgrade(t.Context(), file, backup)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoFileExists(t, file)

	old, err := connect(file)
	require.NoError(t, err)
	p, err := provider(old)
	require.NoError(t, err)
	_, err = p.UpTo(t.Context(), 1)
	require.NoError(t, err)
	_, err = old.ExecContext(t.Context(), "INSERT INTO settings (name, value) VALUES ('a', 'b')")
	require.NoError(t, err)
	require.NoError(t, old.Close())

	applied, err := Upgrade(t.Context(), file, backup)
	require.NoError(t, err)
	require.Contains(t, applied, "00002_identity.sql")
	require.NotContains(t, applied, "00001_settings.sql")
	copied, err := connect(backup)
	require.NoError(t, err)
	var n int
	require.NoError(t, copied.QueryRowContext(t.Context(), "SELECT count(*) FROM settings WHERE value = 'b'").Scan(&n))
	require.Equal(t, 1, n)
	require.NoError(t, copied.Close())

	again, err := Upgrade(t.Context(), file, backup)
	require.NoError(t, err)
	require.Empty(t, again)
}
