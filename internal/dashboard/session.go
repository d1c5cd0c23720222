package dashboard

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
)

// How long what a person holds stays good.
const (
	linkLife        = 24 * time.Hour
	sessionIdleLife = 24 * time.Hour
	sessionMaxLife  = 7 * 24 * time.Hour
	// seenEvery bounds how often a session's last use is written down.
	seenEvery = time.Minute
)

// ErrNotSignedIn says that a token is unknown, used or too old; which of these
// is not told.
var ErrNotSignedIn = errors.New("not signed in")

// Role is what a person may do, in Grafana's words.
type Role string

// The roles, strongest first.
const (
	RoleAdmin  Role = "Admin"
	RoleEditor Role = "Editor"
	RoleViewer Role = "Viewer"
)

// Person is somebody who may sign in.
type Person struct {
	bun.BaseModel `bun:"table:people"`

	ID        string `bun:",pk"`
	Login     string
	Name      string
	Email     string
	Role      Role
	CreatedAt int64
}

// Session is a signed-in browser.
type Session struct {
	Person    Person
	CSRFToken string
	Expires   time.Time
}

type loginLinkRow struct {
	bun.BaseModel `bun:"table:login_links"`

	TokenHash string `bun:",pk"`
	PersonID  string
	ExpiresAt int64
}

type sessionRow struct {
	bun.BaseModel `bun:"table:people_sessions"`

	TokenHash string `bun:",pk"`
	PersonID  string
	CSRFToken string `bun:"csrf_token"`
	CreatedAt int64
	SeenAt    int64
	ExpiresAt int64
}

// People keeps who may sign in and who is signed in.
type People struct {
	db  *bun.DB
	now func() time.Time
}

// NewPeople returns the directory kept in db. A nil now means time.Now.
func NewPeople(db *bun.DB, now func() time.Time) *People {
	if now == nil {
		now = time.Now
	}
	return &People{db: db, now: now}
}

// EnsureAdministrator returns the first administrator, making the account
// "admin" where there is none. The account has no password: it signs in by
// one-time link.
func (p *People) EnsureAdministrator(ctx context.Context) (Person, error) {
	var admin Person
	err := p.db.NewSelect().Model(&admin).Where("role = ?", RoleAdmin).Order("created_at").Limit(1).Scan(ctx)
	if err == nil {
		return admin, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return Person{}, fmt.Errorf("look for an administrator: %w", err)
	}
	admin = Person{
		ID: uuid.NewString(), Login: "admin", Name: "Administrator", Role: RoleAdmin,
		CreatedAt: p.now().UnixMilli(),
	}
	if _, err := p.db.NewInsert().Model(&admin).Exec(ctx); err != nil {
		return Person{}, fmt.Errorf("make the administrator: %w", err)
	}
	return admin, nil
}

// NewLoginLink returns a token that signs the person in once.
func (p *People) NewLoginLink(ctx context.Context, personID string) (string, error) {
	token := newToken()
	row := loginLinkRow{TokenHash: hashToken(token), PersonID: personID, ExpiresAt: p.now().Add(linkLife).UnixMilli()}
	if _, err := p.db.NewInsert().Model(&row).Exec(ctx); err != nil {
		return "", fmt.Errorf("make a one-time link: %w", err)
	}
	return token, nil
}

// UseLoginLink trades a one-time token for a session and its secret. A token
// works once, also when two ask at the same moment.
func (p *People) UseLoginLink(ctx context.Context, token string) (secret string, s Session, err error) {
	err = p.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var link loginLinkRow
		_, err := tx.NewDelete().Model(&link).Where("token_hash = ?", hashToken(token)).Returning("*").Exec(ctx)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("use a one-time link: %w", err)
		}
		if link.PersonID == "" || link.ExpiresAt < p.now().UnixMilli() {
			return ErrNotSignedIn
		}
		secret, s, err = p.start(ctx, tx, link.PersonID)
		return err
	})
	return secret, s, err
}

func (p *People) start(ctx context.Context, tx bun.IDB, personID string) (string, Session, error) {
	var person Person
	if err := tx.NewSelect().Model(&person).Where("id = ?", personID).Scan(ctx); err != nil {
		return "", Session{}, fmt.Errorf("find the person to sign in: %w", err)
	}
	now, secret := p.now(), newToken()
	row := sessionRow{
		TokenHash: hashToken(secret), PersonID: personID, CSRFToken: newToken(),
		CreatedAt: now.UnixMilli(), SeenAt: now.UnixMilli(), ExpiresAt: now.Add(sessionMaxLife).UnixMilli(),
	}
	if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return "", Session{}, fmt.Errorf("start a session: %w", err)
	}
	return secret, Session{Person: person, CSRFToken: row.CSRFToken, Expires: time.UnixMilli(row.ExpiresAt)}, nil
}

// Session returns the session of a secret, or ErrNotSignedIn.
func (p *People) Session(ctx context.Context, secret string) (Session, error) {
	if secret == "" {
		return Session{}, ErrNotSignedIn
	}
	var row sessionRow
	err := p.db.NewSelect().Model(&row).Where("token_hash = ?", hashToken(secret)).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Session{}, ErrNotSignedIn
	}
	if err != nil {
		return Session{}, fmt.Errorf("look up a session: %w", err)
	}
	now := p.now()
	if now.UnixMilli() > row.ExpiresAt || now.Sub(time.UnixMilli(row.SeenAt)) > sessionIdleLife {
		return Session{}, errors.Join(ErrNotSignedIn, p.end(ctx, row.TokenHash))
	}
	var person Person
	if err := p.db.NewSelect().Model(&person).Where("id = ?", row.PersonID).Scan(ctx); err != nil {
		return Session{}, fmt.Errorf("find a session's person: %w", err)
	}
	if now.Sub(time.UnixMilli(row.SeenAt)) > seenEvery {
		_, err := p.db.NewUpdate().Model((*sessionRow)(nil)).Set("seen_at = ?", now.UnixMilli()).
			Where("token_hash = ?", row.TokenHash).Exec(ctx)
		if err != nil {
			return Session{}, fmt.Errorf("note a session's use: %w", err)
		}
	}
	return Session{Person: person, CSRFToken: row.CSRFToken, Expires: time.UnixMilli(row.ExpiresAt)}, nil
}

// End signs a browser out. Ending what has ended is no error.
func (p *People) End(ctx context.Context, secret string) error {
	return p.end(ctx, hashToken(secret))
}

func (p *People) end(ctx context.Context, hash string) error {
	if _, err := p.db.NewDelete().Model((*sessionRow)(nil)).Where("token_hash = ?", hash).Exec(ctx); err != nil {
		return fmt.Errorf("end a session: %w", err)
	}
	return nil
}

// Sweep removes links and sessions whose time is over.
func (p *People) Sweep(ctx context.Context) error {
	now := p.now()
	_, err1 := p.db.NewDelete().Model((*loginLinkRow)(nil)).Where("expires_at < ?", now.UnixMilli()).Exec(ctx)
	_, err2 := p.db.NewDelete().Model((*sessionRow)(nil)).
		Where("expires_at < ? OR seen_at < ?", now.UnixMilli(), now.Add(-sessionIdleLife).UnixMilli()).Exec(ctx)
	return errors.Join(err1, err2)
}

// newToken returns 256 random bits as text that needs no escaping anywhere.
func newToken() string {
	var b [32]byte
	// crypto/rand never fails; it ends the program instead.
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// hashToken is what the database keeps of a token. Tokens are random and long,
// so a plain hash is enough.
func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
