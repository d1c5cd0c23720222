package iam

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/db"
)

// secrets reads what is stored of all access keys.
func (f fixture) secrets(t *testing.T) []string {
	t.Helper()
	var all []string
	require.NoError(t, f.db.NewSelect().Model((*keyRow)(nil)).Column("secret").Order("id").Scan(t.Context(), &all))
	return all
}

func (f fixture) reopen(t *testing.T, cfg Config) *Service {
	t.Helper()
	s, err := Open(t.Context(), f.db, cfg)
	require.NoError(t, err)
	return s
}

func TestRotateFile(t *testing.T) {
	f, ctx := open(t), t.Context()
	now := time.Unix(1_800_000_000, 0)
	f.cfg.Now = func() time.Time { return now }
	key, _, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	running := f.reopen(t, Config{KeyFile: f.keyFile}) // another process
	oldFile, err := os.ReadFile(f.keyFile)
	require.NoError(t, err)
	oldSecrets := f.secrets(t)
	oldID, err := f.SecretKeyID(ctx)
	require.NoError(t, err)
	session, sessionKey := f.SessionKeys().Current()

	require.NoError(t, f.Rotate(ctx))
	newFile, err := os.ReadFile(f.keyFile)
	require.NoError(t, err)
	require.NotEqual(t, oldFile, newFile)
	require.Len(t, strings.Fields(string(newFile)), 1, "the old key is gone")
	require.NotEqual(t, oldSecrets, f.secrets(t))
	newID, err := f.SecretKeyID(ctx)
	require.NoError(t, err)
	require.NotEqual(t, oldID, newID)
	st, err := os.Stat(f.keyFile)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())

	// Everybody reads it: this process, one that ran before, one that starts.
	for _, s := range []*Service{f.Service, running, f.reopen(t, Config{KeyFile: f.keyFile})} {
		got, err := s.LookupKey(ctx, key.ID)
		require.NoError(t, err)
		require.Equal(t, key.Secret, got.Secret)
	}
	// What the other process makes is sealed with the new key.
	made, err := running.CreateAccessKey(ctx, DefaultAccount, AdminUser)
	require.NoError(t, err)
	_, err = f.reopen(t, Config{KeyFile: f.keyFile}).LookupKey(ctx, made.ID)
	require.NoError(t, err)

	// Tokens are made with another key; the old one opens them for 36 hours.
	next, nextKey := f.SessionKeys().Current()
	require.NotEqual(t, session, next)
	require.NotEqual(t, sessionKey, nextKey)
	opened, ok := f.SessionKeys().Key(session)
	require.True(t, ok)
	require.Equal(t, sessionKey, opened)
	got, ok := running.SessionKeys().Key(next)
	require.True(t, ok, "an unknown id makes the other process look")
	require.Equal(t, nextKey, got)
	now = now.Add(SessionKeyLife)
	_, ok = f.SessionKeys().Key(session)
	require.False(t, ok)
	_, ok = f.SessionKeys().Key(77)
	require.False(t, ok)

	// The old file does not open anything any more.
	require.NoError(t, os.WriteFile(f.keyFile, oldFile, 0o600))
	_, err = Open(ctx, f.db, Config{KeyFile: f.keyFile})
	require.ErrorContains(t, err, "does not hold the key")
}

// A crash after the new key was written to the file, and before the database
// was changed, loses nothing.
func TestRotateInterrupted(t *testing.T) {
	f, ctx := open(t), t.Context()
	key, _, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	broken := errors.New("crash")
	err = f.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		old, err := f.seal.current(ctx, tx)
		require.NoError(t, err)
		_, err = f.seal.next(ctx, old)
		require.NoError(t, err)
		return broken
	})
	require.ErrorIs(t, err, broken)
	text, err := os.ReadFile(f.keyFile)
	require.NoError(t, err)
	require.Len(t, strings.Fields(string(text)), 2)
	s := f.reopen(t, Config{KeyFile: f.keyFile})
	got, err := s.LookupKey(ctx, key.ID)
	require.NoError(t, err)
	require.Equal(t, key.Secret, got.Secret)
	require.NoError(t, s.Rotate(ctx))
	text, err = os.ReadFile(f.keyFile)
	require.NoError(t, err)
	require.Len(t, strings.Fields(string(text)), 1)
	_, err = f.reopen(t, Config{KeyFile: f.keyFile}).LookupKey(ctx, key.ID)
	require.NoError(t, err)
}

// A value that does not open stops the rotation, and everything stays as it was.
func TestRotateIsWholeOrNot(t *testing.T) {
	f, ctx := open(t), t.Context()
	key, _, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	_, err = f.db.NewInsert().Model(&keyRow{ID: "AKIAZ", UserID: key.Principal.ID, Secret: "v1:xx", Status: statusActive}).Exec(ctx)
	require.NoError(t, err)
	before := f.secrets(t)
	require.ErrorContains(t, f.Rotate(ctx), "AKIAZ")
	require.Equal(t, before, f.secrets(t))
	_, err = f.reopen(t, Config{KeyFile: f.keyFile}).LookupKey(ctx, key.ID)
	require.NoError(t, err)
}

func TestSessionKeyIDsAreUsedAgain(t *testing.T) {
	f, ctx := open(t), t.Context()
	now := time.Unix(1_800_000_000, 0)
	f.cfg.Now = func() time.Time { return now }
	seen := map[byte]bool{}
	for range 300 {
		now = now.Add(time.Hour)
		err := f.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			k, err := f.seal.current(ctx, tx)
			require.NoError(t, err)
			require.NoError(t, f.sessions.retire(ctx, tx))
			return f.sessions.insert(ctx, tx, k)
		})
		require.NoError(t, err)
		require.NoError(t, f.sessions.load(ctx))
		id, _ := f.SessionKeys().Current()
		require.NotZero(t, id)
		seen[id] = true
		require.LessOrEqual(t, len(f.sessions.keys), 38)
	}
	require.Len(t, seen, 255)
}

func TestCommandOutputIsBounded(t *testing.T) {
	out, err := keySource{command: []string{"/bin/sh", "-c", "head -c 3000000 /dev/zero"}}.run(t.Context())
	require.NoError(t, err)
	require.Len(t, out, maxOutput)
}

func TestKeyCommand(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	d, err := db.Open(ctx, filepath.Join(dir, "test.db"))
	require.NoError(t, err)
	defer d.Close()
	file := filepath.Join(dir, "keys")
	keys := []string{hex.EncodeToString(newKey()), hex.EncodeToString(newKey())}
	put := func(lines ...string) {
		require.NoError(t, os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600))
	}
	cfg := Config{KeyCommand: []string{"/bin/sh", "-c", "cat " + file}}
	put(keys[0])
	s, err := Open(ctx, d, cfg)
	require.NoError(t, err)
	key, _, err := s.Bootstrap(ctx)
	require.NoError(t, err)
	require.ErrorIs(t, s.Rotate(ctx), ErrNoNewKey)
	put(keys[1], keys[0])
	require.NoError(t, s.Rotate(ctx))
	put(keys[1])
	s, err = Open(ctx, d, cfg)
	require.NoError(t, err)
	got, err := s.LookupKey(ctx, key.ID)
	require.NoError(t, err)
	require.Equal(t, key.Secret, got.Secret)

	for name, tc := range map[string]struct {
		command []string
		want    string
	}{
		"fails":    {[]string{"/bin/sh", "-c", "echo " + keys[1] + "; echo no vault >&2; exit 3"}, "exit status 3: no vault"},
		"is none":  {[]string{filepath.Join(dir, "none")}, "no such file"},
		"no key":   {[]string{"/bin/echo", "password"}, "line 1 does not hold 64 hexadecimal digits"},
		"other":    {[]string{"/bin/echo", keys[0]}, "does not hold the key"},
		"too much": {[]string{"/bin/sh", "-c", "yes " + keys[0] + " | head -500"}, "at most 8 keys"},
	} {
		_, err := Open(ctx, d, Config{KeyCommand: tc.command})
		require.ErrorContains(t, err, tc.want, name)
		require.ErrorContains(t, err, "secret key command "+tc.command[0], name)
		require.NotContains(t, err.Error(), keys[0][:16], name)
		require.NotContains(t, err.Error(), keys[1][:16], name)
		require.NotContains(t, err.Error(), "password", name)
	}
}

// Values in the older form, and no note of the key's id.
func TestOlderValues(t *testing.T) {
	f, ctx := open(t), t.Context()
	key, _, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	v1 := oldForm(f.seal.known(ctx, "")[0], key)
	_, err = f.db.NewUpdate().Model((*keyRow)(nil)).Set("secret = ?", v1).Where("id = ?", key.ID).Exec(ctx)
	require.NoError(t, err)
	for _, q := range []string{"DELETE FROM iam_session_keys", "DELETE FROM settings"} {
		_, err = f.db.ExecContext(ctx, q)
		require.NoError(t, err)
	}
	good, err := os.ReadFile(f.keyFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(f.keyFile, []byte(hex.EncodeToString(newKey())), 0o600))
	_, err = Open(ctx, f.db, Config{KeyFile: f.keyFile})
	require.ErrorContains(t, err, "does not open with the secret key", "before it is taken for the right one")
	require.NoError(t, os.WriteFile(f.keyFile, good, 0o600))
	s := f.reopen(t, Config{KeyFile: f.keyFile})
	got, err := s.LookupKey(ctx, key.ID)
	require.NoError(t, err)
	require.Equal(t, key.Secret, got.Secret)
	require.NoError(t, s.Rotate(ctx))
	require.Contains(t, f.secrets(t)[0], sealV2)
	got, err = s.LookupKey(ctx, key.ID)
	require.NoError(t, err)
	require.Equal(t, key.Secret, got.Secret)
}

// oldForm seals a secret as the version before did.
func oldForm(k *secretKey, key AccessKey) string {
	nonce := make([]byte, k.v1.NonceSize())
	return sealV1 + base64.StdEncoding.EncodeToString(k.v1.Seal(nonce, nonce, []byte(key.Secret), []byte(key.ID)))
}
