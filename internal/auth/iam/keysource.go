package iam

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// keySource is where the secret key comes from: a file of ours, or a command.
// Either gives one key a line, the newest first, 64 hexadecimal digits each.
type keySource struct {
	file    string
	command []string
}

const (
	maxKeys        = 8
	commandTimeout = 10 * time.Second
)

// String names the source for errors.
func (k keySource) String() string {
	if len(k.command) > 0 {
		return "secret key command " + k.command[0]
	}
	return "secret key file " + k.file
}

// read returns the keys. A file that is missing is fs.ErrNotExist; that of a
// command is not.
func (k keySource) read(ctx context.Context) ([][]byte, error) {
	var text []byte
	if len(k.command) > 0 {
		var err error
		if text, err = k.run(ctx); err != nil {
			return nil, err
		}
	} else {
		st, err := os.Stat(k.file)
		if err != nil {
			return nil, err
		}
		if st.Mode().Perm()&0o077 != 0 {
			return nil, fmt.Errorf("has mode %04o, which lets others in: it must be 0600", st.Mode().Perm())
		}
		if text, err = os.ReadFile(k.file); err != nil {
			return nil, err
		}
	}
	return parseKeys(string(text))
}

func parseKeys(text string) ([][]byte, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > maxKeys {
		return nil, fmt.Errorf("gives %d lines, at most %d keys are allowed", len(lines), maxKeys)
	}
	keys := make([][]byte, len(lines))
	for i, line := range lines {
		key, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil || len(key) != keyBytes {
			return nil, fmt.Errorf("line %d does not hold %d hexadecimal digits", i+1, 2*keyBytes)
		}
		keys[i] = key
	}
	return keys, nil
}

func (k keySource) run(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.command[0], k.command[1:]...) //nolint:gosec // the administrator's own command
	cmd.WaitDelay = time.Second
	var out, complaint limitedBuffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		// What it wrote to stdout may be the key and is never shown.
		first, _, _ := strings.Cut(strings.TrimSpace(complaint.kept.String()), "\n")
		return nil, fmt.Errorf("%v: %.200s", err, first) //nolint:errorlint // a command that is missing is not a file that may be made
	}
	return out.kept.Bytes(), nil
}

// maxOutput bounds what is kept of a command's output, in bytes.
const maxOutput = 8 << 10

// limitedBuffer keeps the first bytes that are written to it. The buffer is not
// embedded, as its ReadFrom would go around the limit.
type limitedBuffer struct{ kept bytes.Buffer }

// Write implements io.Writer.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	_, _ = b.kept.Write(p[:min(len(p), maxOutput-b.kept.Len())])
	return len(p), nil
}

// canCreate reports whether new keys are made here.
func (k keySource) canCreate() bool { return len(k.command) == 0 }

func newKey() []byte {
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails
	return key
}

// create writes a file with a first key, unless somebody else is faster.
func (k keySource) create() error {
	if err := os.MkdirAll(filepath.Dir(k.file), 0o700); err != nil {
		return err
	}
	return k.put([][]byte{newKey()}, func(tmp string) error {
		// Link fails when somebody else was first; then theirs is the key.
		if err := os.Link(tmp, k.file); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

// write replaces the file's keys.
func (k keySource) write(keys [][]byte) error {
	return k.put(keys, func(tmp string) error { return os.Rename(tmp, k.file) })
}

// put writes keys to a new file and moves it into place, so that after a crash
// the file is whole: the old one or the new one.
func (k keySource) put(keys [][]byte, move func(tmp string) error) error {
	dir := filepath.Dir(k.file)
	tmp, err := os.CreateTemp(dir, ".secret.key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	for _, key := range keys {
		_, e := io.WriteString(tmp, hex.EncodeToString(key)+"\n")
		err = errors.Join(err, e)
	}
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := move(tmp.Name()); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
