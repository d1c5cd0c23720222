package iam

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// sealer encrypts secrets for the database with AES-256-GCM. The owner's id is
// bound in, so that sealed values cannot be exchanged between rows.
//
// A value is "v2:<id of the secret key>:<base64 of nonce and ciphertext>", made
// with a key derived from the secret key. "v1:<base64>", from older versions,
// was made with the secret key itself; it is still read.
type sealer struct {
	source keySource

	mu       sync.Mutex
	keys     []*secretKey // newest first
	nextRead time.Time    // when to ask the source again for a key that is not known
}

// secretKey is one key of the source.
type secretKey struct {
	id     string
	v1, v2 cipher.AEAD
}

const (
	keyBytes = 32
	sealV1   = "v1:"
	sealV2   = "v2:"
	// settingKeyID names the row that says which key values are sealed with.
	settingKeyID = "secret_key_id"
	// readAgain is how long to wait before the source is asked once more for
	// a key that it did not have.
	readAgain = 10 * time.Second
)

func newSecretKey(key []byte) (*secretKey, error) {
	if len(key) != keyBytes {
		return nil, fmt.Errorf("a secret key has %d bytes, not %d", keyBytes, len(key))
	}
	id, err := derive(key, "mangru secret key id", 4)
	if err != nil {
		return nil, err
	}
	sub, err := derive(key, "mangru seal v2", keyBytes)
	if err != nil {
		return nil, err
	}
	k := &secretKey{id: hex.EncodeToString(id)}
	if k.v1, err = newAEAD(key); err != nil {
		return nil, err
	}
	k.v2, err = newAEAD(sub)
	return k, err
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// derive makes a sub-key for one purpose (RFC 5869).
func derive(key []byte, purpose string, n int) ([]byte, error) {
	return hkdf.Key(sha256.New, key, nil, purpose, n)
}

// openSealer reads the secret key, and makes one when the database holds
// nothing that is sealed.
func openSealer(ctx context.Context, db *bun.DB, source keySource) (*sealer, error) {
	s := &sealer{source: source}
	sealed, err := sealedValues(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("look for sealed secrets: %w", err)
	}
	if err := s.read(ctx); errors.Is(err, fs.ErrNotExist) {
		if len(sealed) > 0 {
			return nil, fmt.Errorf("%s is missing, and the database holds secrets sealed with it: put the file back", source)
		}
		if err := source.create(); err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		if err := s.read(ctx); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	if err := s.noteKey(ctx, db, sealed); err != nil {
		return nil, err
	}
	_, err = s.current(ctx, db)
	return s, err
}

// noteKey writes down which key is in use, unless that was done before.
func (s *sealer) noteKey(ctx context.Context, db *bun.DB, sealed []sealedValue) error {
	note := settingRow{Name: settingKeyID, Value: s.keys[0].id}
	n, err := db.NewSelect().Model(&note).WherePK().Count(ctx)
	if err != nil {
		return fmt.Errorf("read the secret key's id: %w", err)
	}
	if n > 0 {
		return nil
	}
	if len(sealed) > 0 { // by an older version, which did not write it down
		if note.Value, err = s.idFor(sealed[0]); err != nil {
			return fmt.Errorf("%s: %w", s.source, err)
		}
	}
	if _, err := db.NewInsert().Model(&note).On("CONFLICT (name) DO NOTHING").Exec(ctx); err != nil {
		return fmt.Errorf("note the secret key's id: %w", err)
	}
	return nil
}

// sealedValue is a sealed value and who it belongs to.
type sealedValue struct {
	owner, sealed string
	session       int64  // the session key that it is of, 0 for none
	purpose       string // the purpose key that it is of, empty for none
}

// sealedValues lists all that is sealed, which is what a rotation has to seal
// anew.
func sealedValues(ctx context.Context, db bun.IDB) ([]sealedValue, error) {
	var keys []keyRow
	if err := db.NewSelect().Model(&keys).Column("id", "secret").Order("id").Scan(ctx); err != nil {
		return nil, err
	}
	var sessions []sessionKeyRow
	if err := db.NewSelect().Model(&sessions).Column("id", "secret").Order("id").Scan(ctx); err != nil {
		return nil, err
	}
	var purposes []purposeKeyRow
	if err := db.NewSelect().Model(&purposes).Order("purpose").Scan(ctx); err != nil {
		return nil, err
	}
	all := make([]sealedValue, 0, len(keys)+len(sessions)+len(purposes))
	for _, k := range keys {
		all = append(all, sealedValue{owner: k.ID, sealed: k.Secret})
	}
	for _, k := range sessions {
		all = append(all, sealedValue{owner: sessionKeyOwner(k.ID), sealed: k.Secret, session: k.ID})
	}
	for _, k := range purposes {
		all = append(all, sealedValue{owner: purposeKeyOwner(k.Purpose), sealed: k.Secret, purpose: k.Purpose})
	}
	return all, nil
}

// idFor returns the id of the key that a value was sealed with.
func (s *sealer) idFor(v sealedValue) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if _, err := k.open(v.sealed, v.owner); err == nil {
			return k.id, nil
		}
	}
	return "", errWrongKey
}

var errWrongKey = errors.New("a sealed secret does not open with the secret key: was another one put in its place?")

// read asks the source for its keys.
func (s *sealer) read(ctx context.Context) error {
	raw, err := s.source.read(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", s.source, err)
	}
	keys := make([]*secretKey, len(raw))
	for i, r := range raw {
		if keys[i], err = newSecretKey(r); err != nil {
			return fmt.Errorf("%s: %w", s.source, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
	return nil
}

// known returns the keys with an id, or all for "". The source is asked again
// if there is none, because another process may have changed the key.
func (s *sealer) known(ctx context.Context, id string) []*secretKey {
	for again := false; ; again = true {
		s.mu.Lock()
		var keys []*secretKey
		for _, k := range s.keys {
			if id == "" || k.id == id {
				keys = append(keys, k)
			}
		}
		now := time.Now()
		ask := len(keys) == 0 && !again && now.After(s.nextRead)
		if ask {
			s.nextRead = now.Add(readAgain)
		}
		s.mu.Unlock()
		if !ask || s.read(ctx) != nil {
			return keys
		}
	}
}

// current returns the key that the database says is in use. The row is locked
// until the transaction ends, so that a value cannot be sealed with the old key
// while another process rotates it.
func (s *sealer) current(ctx context.Context, tx bun.IDB) (*secretKey, error) {
	if _, err := tx.NewUpdate().Model((*settingRow)(nil)).Set("value = value").Where("name = ?", settingKeyID).Exec(ctx); err != nil {
		return nil, fmt.Errorf("lock the secret key's id: %w", err)
	}
	row := settingRow{Name: settingKeyID}
	if err := tx.NewSelect().Model(&row).WherePK().Scan(ctx); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read the secret key's id: %w", err)
	}
	if keys := s.known(ctx, row.Value); len(keys) > 0 && row.Value != "" {
		return keys[0], nil
	}
	return nil, fmt.Errorf("%s does not hold the key %q, with which the secrets in the database are sealed: was another one put in its place?",
		s.source, row.Value)
}

// seal encrypts a secret inside the transaction that stores it.
func (s *sealer) seal(ctx context.Context, tx bun.IDB, plain, owner string) (string, error) {
	k, err := s.current(ctx, tx)
	if err != nil {
		return "", err
	}
	return k.seal(plain, owner), nil
}

func (k *secretKey) seal(plain, owner string) string {
	nonce := make([]byte, k.v2.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return sealV2 + k.id + ":" + base64.StdEncoding.EncodeToString(k.v2.Seal(nonce, nonce, []byte(plain), []byte(owner)))
}

func (s *sealer) open(ctx context.Context, sealed, owner string) (string, error) {
	id := ""
	if rest, ok := strings.CutPrefix(sealed, sealV2); ok {
		if id, _, ok = strings.Cut(rest, ":"); !ok || id == "" {
			return "", errDamaged
		}
	}
	err := errWrongKey
	for _, k := range s.known(ctx, id) {
		plain, e := k.open(sealed, owner)
		if e == nil {
			return plain, nil
		}
		err = e
	}
	return "", err
}

var errDamaged = errors.New("a sealed secret is damaged")

func (k *secretKey) open(sealed, owner string) (string, error) {
	aead, text := k.v1, ""
	if rest, ok := strings.CutPrefix(sealed, sealV2+k.id+":"); ok {
		aead, text = k.v2, rest
	} else if text, ok = strings.CutPrefix(sealed, sealV1); !ok {
		return "", errWrongKey
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) < aead.NonceSize() {
		return "", errDamaged
	}
	plain, err := aead.Open(nil, b[:aead.NonceSize()], b[aead.NonceSize():], []byte(owner))
	if err != nil {
		return "", errWrongKey
	}
	return string(plain), nil
}
