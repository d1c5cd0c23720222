package iam

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// sealer encrypts secrets for the database with AES-256-GCM. The owner's id is
// bound in, so that sealed values cannot be exchanged between rows.
type sealer struct{ aead cipher.AEAD }

const (
	sealPrefix = "v1:"
	keyBytes   = 32
)

func openSealer(file string, mayCreate bool) (*sealer, error) {
	key, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		if !mayCreate {
			return nil, fmt.Errorf("secret key file %s is missing, and the database holds secrets sealed with it: put the file back", file)
		}
		key, err = createKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("secret key file: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("secret key file %s: %w", file, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("secret key file %s: %w", file, err)
	}
	return &sealer{aead: aead}, nil
}

func readKey(file string) ([]byte, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, which lets others in: it must be 0600", file, st.Mode().Perm())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("%s does not hold %d hexadecimal digits", file, 2*keyBytes)
	}
	return key, nil
}

// createKey writes a new key so that after a crash the file is whole or absent.
func createKey(file string) ([]byte, error) {
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(dir, ".secret.key-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.WriteString(hex.EncodeToString(key) + "\n")
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return nil, err
	}
	// Link fails when somebody else was first; then theirs is the key.
	if err := os.Link(tmp.Name(), file); errors.Is(err, fs.ErrExist) {
		return readKey(file)
	} else if err != nil {
		return nil, err
	}
	return key, nil
}

func (s *sealer) seal(plain, owner string) string {
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return sealPrefix + base64.StdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, []byte(plain), []byte(owner)))
}

func (s *sealer) open(sealed, owner string) (string, error) {
	rest, ok := strings.CutPrefix(sealed, sealPrefix)
	if !ok {
		return "", errors.New("sealed in an unknown way")
	}
	b, err := base64.StdEncoding.DecodeString(rest)
	if err != nil || len(b) < s.aead.NonceSize() {
		return "", errors.New("sealed value is damaged")
	}
	plain, err := s.aead.Open(nil, b[:s.aead.NonceSize()], b[s.aead.NonceSize():], []byte(owner))
	if err != nil {
		return "", errors.New("does not open with the secret key file: was another one put in its place?")
	}
	return string(plain), nil
}
