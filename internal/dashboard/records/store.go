package records

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"time"

	"github.com/uptrace/bun"
)

// Errors of this package, in the words that Grafana's API uses.
var (
	ErrNotFound         = errors.New("not found")
	ErrVersionMismatch  = errors.New("the dashboard has been changed by someone else")
	ErrFolderVersion    = errors.New("the folder has been changed by someone else")
	ErrFolderNotFound   = errors.New("folder not found")
	ErrUIDTaken         = errors.New("a dashboard with the same uid already exists")
	ErrFolderUIDTaken   = errors.New("a folder/dashboard with the same uid already exists")
	ErrNameTaken        = errors.New("the name is taken")
	ErrProvisioned      = errors.New("cannot save provisioned dashboard")
	ErrDeleteProvision  = errors.New("provisioned dashboard cannot be deleted")
	ErrReadOnly         = errors.New("read-only")
	ErrTitleEmpty       = errors.New("dashboard title cannot be empty")
	ErrTitleTooLong     = errors.New("dashboard title cannot contain more than 5 000 characters")
	ErrFolderTitleEmpty = errors.New("folder title cannot be empty")
	ErrMessageTooLong   = errors.New("message too long, max 500 characters")
	ErrInvalidUID       = errors.New("uid contains illegal characters")
	ErrUIDTooLong       = errors.New("uid too long, max 40 characters")
	ErrFolderTooDeep    = errors.New("maximum folder depth reached")
	ErrFolderCircular   = errors.New("circular reference detected")
)

// Store is the database of all dashboard workspaces.
type Store struct {
	db   *bun.DB
	now  func() time.Time
	seal cipher.AEAD
}

// New returns the store over db. key, 32 bytes, encrypts the secrets of data
// sources; a nil now means time.Now.
func New(db *bun.DB, key []byte, now func() time.Time) (*Store, error) {
	if now == nil {
		now = time.Now
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key of the dashboards' secrets: %w", err)
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("key of the dashboards' secrets: %w", err)
	}
	return &Store{db: db, now: now, seal: seal}, nil
}

func (s *Store) millis() int64 { return s.now().UnixMilli() }

// encrypt seals a secret; owner is bound in, so that a sealed value can't be
// moved to another row.
func (s *Store) encrypt(plain, owner string) string {
	nonce := make([]byte, s.seal.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return base64.StdEncoding.EncodeToString(s.seal.Seal(nonce, nonce, []byte(plain), []byte(owner)))
}

func (s *Store) decrypt(sealed, owner string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil || len(b) < s.seal.NonceSize() {
		return "", errors.New("a sealed secret is damaged")
	}
	plain, err := s.seal.Open(nil, b[:s.seal.NonceSize()], b[s.seal.NonceSize():], []byte(owner))
	if err != nil {
		return "", errors.New("a sealed secret does not open")
	}
	return string(plain), nil
}

// Seal encrypts a secret that a document holds; owner names the document and the
// field, and opens it again.
func (s *Store) Seal(plain, owner string) string { return s.encrypt(plain, "document "+owner) }

// Open returns what Seal has sealed for the same owner.
func (s *Store) Open(sealed, owner string) (string, error) {
	return s.decrypt(sealed, "document "+owner)
}

type counterRow struct {
	bun.BaseModel `bun:"table:dash_counters,alias:counter"`

	WorkspaceID string `bun:",pk"`
	Kind        string `bun:",pk"`
	Last        int64
}

// number gives out the next number of a kind, inside the transaction that uses it.
func number(ctx context.Context, tx bun.IDB, ws, kind string) (int64, error) {
	row := counterRow{WorkspaceID: ws, Kind: kind, Last: 1}
	_, err := tx.NewInsert().Model(&row).
		On("CONFLICT (workspace_id, kind) DO UPDATE").Set("last = counter.last + 1").Returning("last").Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("number of a new %s: %w", kind, err)
	}
	return row.Last, nil
}

var uidForm = regexp.MustCompile(`^[a-zA-Z0-9_-]*$`)

// checkUID refuses what Grafana refuses as a uid; empty is allowed.
func checkUID(uid string) error {
	if len(uid) > 40 {
		return ErrUIDTooLong
	}
	if !uidForm.MatchString(uid) {
		return ErrInvalidUID
	}
	return nil
}

const uidLetters = "abcdefghijklmnopqrstuvwxyz0123456789"

// NewUID returns a random uid of the length that Grafana's have.
func NewUID() string {
	b := make([]byte, 14)
	for i := range b {
		n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(uidLetters)))) // never fails
		b[i] = uidLetters[n.Int64()]
	}
	return string(b)
}

// notFound turns the database's word for "no such row" into ours.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

func changed(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrNotFound
	}
	return nil
}
