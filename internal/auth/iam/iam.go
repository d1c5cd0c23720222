// Package iam keeps who may call: accounts, users, groups, roles, access keys,
// the policies attached to them, and the OpenID Connect providers whose tokens
// roles trust. It stands behind the edge of the server: the signature verifier
// asks it for secrets, the router asks it for permission, and the identity it
// returns travels in the request's context from there on.
//
// Records live in the database; an access key's secret is sealed with the
// secret key (a file's or a command's) and is plain only in this process'
// memory.
package iam

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/auth/policy"
)

// DefaultAccount is the account that the first start makes.
const DefaultAccount = "000000000000"

// AdminUser is the user that the first start makes.
const AdminUser = "admin"

// Kinds of errors. Test with errors.Is; the text of the error itself is for the
// caller and in AWS' words where they are known.
var (
	ErrNoSuchEntity    = errors.New("no such entity")
	ErrExists          = errors.New("entity already exists")
	ErrLimitExceeded   = errors.New("limit exceeded")
	ErrInvalidInput    = errors.New("invalid input")
	ErrDeleteConflict  = errors.New("entity is in use")
	ErrMalformedPolicy = errors.New("malformed policy document")
)

// Error is an error that may be shown to callers.
type Error struct {
	// Kind is one of the Err… values, which errors.Is finds.
	Kind error
	// Message is a sentence in AWS' words.
	Message string
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

func newError(kind error, format string, args ...any) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Config of a Service.
type Config struct {
	// KeyFile holds the key that seals secrets; it is made when there is none.
	KeyFile string
	// KeyCommand is used instead of a file when it is not empty: a program and
	// its arguments, which prints the key as 64 hexadecimal digits. More lines
	// are older keys, still good for reading.
	KeyCommand []string
	// CacheFor is how long a key and its user's policies may be answered from
	// memory when another process changes them. Changes made through this
	// Service show at once. Zero means 5s.
	CacheFor time.Duration
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Logger hears what goes wrong in the background. Nil means nobody.
	Logger *slog.Logger
}

// Service is the store of identities and the judge of permissions. It is safe
// for concurrent use.
type Service struct {
	cfg      Config
	db       *bun.DB
	seal     *sealer
	sessions *sessionKeys
	usage    usage
	// texts are the policies that come with requests, of resources and sessions.
	texts policy.Cache

	mu        sync.Mutex
	epoch     int // grows with every change, so that no older read is kept after it
	keys      map[string]memo[AccessKey]
	subjects  map[string]memo[*subject]
	documents map[string]memo[*policy.Document] // by policy ARN
}

// memo is an answer of the database that is good until a time, unless a change
// comes first.
type memo[T any] struct {
	value T
	until time.Time
}

// remember answers from m if it can, else by load. Only keys that exist in the
// database get into m, which bounds it.
func remember[T any](s *Service, m map[string]memo[T], key string, load func() (T, error)) (T, error) {
	now := s.cfg.Now()
	s.mu.Lock()
	known, ok := m[key]
	epoch := s.epoch
	s.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.value, nil
	}
	value, err := load()
	if err != nil {
		return value, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch == s.epoch {
		m[key] = memo[T]{value: value, until: now.Add(s.cfg.CacheFor)}
	}
	return value, nil
}

// changed makes every change of records show at once.
func (s *Service) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	clear(s.keys)
	clear(s.subjects)
	clear(s.documents)
}

// Open returns the Service over db. A new secret key file is made only while
// the database holds no sealed secrets: a lost file is an error, not a reset.
func Open(ctx context.Context, db *bun.DB, cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.CacheFor == 0 {
		cfg.CacheFor = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: cfg, db: db, keys: make(map[string]memo[AccessKey]),
		subjects: make(map[string]memo[*subject]), documents: make(map[string]memo[*policy.Document])}
	var err error
	if s.seal, err = openSealer(ctx, db, keySource{file: cfg.KeyFile, command: cfg.KeyCommand}); err != nil {
		return nil, err
	}
	s.sessions = &sessionKeys{service: s}
	if err := s.sessions.open(ctx); err != nil {
		return nil, fmt.Errorf("keys of session tokens: %w", err)
	}
	return s, nil
}

// Bootstrap makes the default account with an administrator and an access key,
// once. The key is returned only by the call that made it; created is false
// and the key empty when everything was there already.
func (s *Service) Bootstrap(ctx context.Context) (key AccessKey, created bool, err error) {
	err = s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model((*accountRow)(nil)).Where("id = ?", DefaultAccount).Count(ctx)
		if err != nil || n > 0 {
			return err
		}
		acc := accountRow{ID: DefaultAccount, Name: "default", CreatedAt: s.now()}
		if _, err := tx.NewInsert().Model(&acc).Exec(ctx); err != nil {
			return err
		}
		u := userRow{ID: newID(prefixUser), AccountID: DefaultAccount, Name: AdminUser, Path: "/", CreatedAt: s.now()}
		if _, err := tx.NewInsert().Model(&u).Exec(ctx); err != nil {
			return err
		}
		at := attachmentRow{OwnerID: u.ID, PolicyARN: PolicyAdministratorAccess}
		if _, err := tx.NewInsert().Model(&at).Exec(ctx); err != nil {
			return err
		}
		key, err = s.insertKey(ctx, tx, &u)
		created = err == nil
		return err
	})
	if err != nil {
		return AccessKey{}, false, fmt.Errorf("make first account: %w", err)
	}
	return key, created, nil
}

// change runs f in a transaction and makes its effects show at once.
func (s *Service) change(ctx context.Context, f func(ctx context.Context, tx bun.Tx) error) error {
	err := s.db.RunInTx(ctx, nil, f)
	s.changed() // also after an error: a commit may have been made all the same
	return err
}

func (s *Service) now() int64 { return s.cfg.Now().UnixMilli() }

// timeOf turns a stored time around; 0 is none.
func timeOf(milliseconds int64) time.Time {
	if milliseconds == 0 {
		return time.Time{}
	}
	return time.UnixMilli(milliseconds).UTC()
}

// oneChanged turns "no row was there" into an error.
func oneChanged(res sql.Result, err error, missing string, args ...any) error {
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		return newError(ErrNoSuchEntity, missing, args...)
	}
	return nil
}

// found turns the database's "no rows" into an error for callers.
func found(err error, missing string, args ...any) error {
	if errors.Is(err, sql.ErrNoRows) {
		return newError(ErrNoSuchEntity, missing, args...)
	}
	return err
}

// Prefixes of unique ids, as AWS has them.
const (
	prefixUser     = "AIDA"
	prefixGroup    = "AGPA"
	prefixRole     = "AROA"
	prefixPolicy   = "ANPA"
	prefixKey      = "AKIA"
	prefixProvider = "AOCP" // AWS shows no id of a provider
)

// newID returns a unique id in AWS' form: a prefix that says what it is and 16
// characters of base 32.
func newID(prefix string) string {
	b := make([]byte, 10)
	_, _ = rand.Read(b) // never fails
	return prefix + base32.StdEncoding.EncodeToString(b)
}

// newSecret returns 40 characters, 240 bits, without the two that break
// careless shell lines and connection strings.
func newSecret() string {
	for {
		b := make([]byte, 30)
		_, _ = rand.Read(b) // never fails
		if s := base64.StdEncoding.EncodeToString(b); !strings.ContainsAny(s, "+/") {
			return s
		}
	}
}
