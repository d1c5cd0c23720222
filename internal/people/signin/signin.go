// Package signin settles who a person is: passwords, second factors, one-time
// links, sessions. Nothing that it keeps lets somebody who reads the database
// sign in.
//
// Every step is one transaction. A process that ends between two of them leaves
// an account that its person can use: a link is used up together with what it
// was for, a new password counts from the moment the old one does not, and a
// factor counts once it has been shown to work.
package signin

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/people/directory"
)

// Errors that callers tell apart. Their texts may be shown.
var (
	// ErrNotSignedIn says that a session is unknown or over; which is not told.
	ErrNotSignedIn = errors.New("not signed in")
	// ErrRefused says that a sign-in failed. Unknown names, wrong passwords and
	// disabled people are not told apart.
	ErrRefused = errors.New("the user name or password is not right")
	// ErrBadCode says that the code of a second factor is wrong or was used.
	ErrBadCode = errors.New("the code is not right")
	// ErrBadLink says that a one-time link is unknown, used, or too old.
	ErrBadLink = errors.New("this link was used already, or is too old")
	// ErrStepUp says that the person has to show again who they are.
	ErrStepUp = errors.New("sign in again to do this")
)

// ThrottledError says that there were too many tries.
type ThrottledError struct{ Wait time.Duration }

// Error implements error.
func (e *ThrottledError) Error() string { return "too many tries, wait a little" }

// PolicyError says what a password lacks. Code is for translations.
type PolicyError struct{ Code, Message string }

// Error implements error.
func (e *PolicyError) Error() string { return e.Message }

// Config of a Service.
type Config struct {
	// Key seals the secrets of second factors: 32 bytes. Nil means that none can
	// be set up or used.
	Key []byte
	// SessionLife bounds a session, IdleLife the time that it may rest. Zero
	// means 8h and 1h.
	SessionLife, IdleLife time.Duration
	// Origin is where browsers find the pages, such as
	// https://mangru.example.com; passkeys are bound to it. Nil means none.
	Origin func() string
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// How long things are good.
const (
	loginLinkLife    = 24 * time.Hour
	invitationLife   = 7 * 24 * time.Hour
	verificationLife = 24 * time.Hour
	resetLife        = 30 * time.Minute
	oneTimeLife      = 24 * time.Hour
	factorStepLife   = 10 * time.Minute
	deviceLife       = 30 * 24 * time.Hour
	// stepUpLife is how long after a sign-in sensitive things may be changed.
	stepUpLife = 10 * time.Minute
	// seenEvery bounds how often a session's last use is written down.
	seenEvery = time.Minute
)

// Service is the sign-in. It is safe for concurrent use.
type Service struct {
	cfg      Config
	db       *bun.DB
	dir      *directory.Directory
	seal     cipher.AEAD
	hashing  chan struct{} // bounds the memory that hashing passwords takes
	dummy    string        // the hash that unknown people are checked against
	throttle *throttle
}

// New returns a Service for the people of dir, whose records are in db too.
func New(cfg Config, db *bun.DB, dir *directory.Directory) (*Service, error) {
	if cfg.SessionLife == 0 {
		cfg.SessionLife = 8 * time.Hour
	}
	if cfg.IdleLife == 0 {
		cfg.IdleLife = time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	seal, err := newSeal(cfg.Key)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, db: db, dir: dir, seal: seal, hashing: make(chan struct{}, maxHashing), throttle: newThrottle(cfg.Now)}
	s.dummy, err = s.hashPassword(context.Background(), randomToken())
	return s, err
}

// Client is where a request comes from.
type Client struct {
	Address, Agent string
	// Address is empty where the caller counts the tries itself.
	// Device is the secret of the browser's device cookie, empty for none.
	Device string
}

func (s *Service) now() int64 { return s.cfg.Now().UnixMilli() }

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// randomToken returns 256 random bits as text that needs no escaping anywhere.
func randomToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails; it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// hashToken is what the database keeps of a token. Tokens are random and long,
// so a plain hash is enough.
func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// user returns a person who may sign in. Disabled ones may not.
func (s *Service) user(ctx context.Context, store, id string) (directory.User, error) {
	u, err := s.dir.User(ctx, store, id)
	if directory.IsNotFound(err) || err == nil && u.Disabled {
		return directory.User{}, ErrNotSignedIn
	}
	return u, err
}

// Sweep removes what is over.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.now()
	var errs []error
	for _, q := range []*bun.DeleteQuery{
		s.db.NewDelete().Model((*linkRow)(nil)).Where("expires_at < ?", now),
		s.db.NewDelete().Model((*deviceRow)(nil)).Where("expires_at < ?", now),
		s.db.NewDelete().Model((*challengeRow)(nil)).Where("expires_at < ?", now),
		s.db.NewDelete().Model((*sessionRow)(nil)).Where("expires_at < ? OR seen_at < ?", now, now-s.cfg.IdleLife.Milliseconds()),
		// A set-up that was left half done is none.
		s.db.NewDelete().Model((*factorRow)(nil)).Where("NOT confirmed AND created_at < ?", now-time.Hour.Milliseconds()),
	} {
		if _, err := q.Exec(ctx); err != nil {
			errs = append(errs, fmt.Errorf("remove what is over: %w", err))
		}
	}
	return errors.Join(errs...)
}

func noRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }
