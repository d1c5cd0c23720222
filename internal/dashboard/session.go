package dashboard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/people/signin"
)

// How long what a person holds stays good, where nothing else is set.
const (
	linkLife        = 24 * time.Hour
	sessionIdleLife = time.Hour
)

// ErrNotSignedIn says that a token is unknown, used or too old; which of these
// is not told.
var ErrNotSignedIn = errors.New("not signed in")

// Session is a signed-in browser.
type Session struct {
	User      directory.User
	CSRFToken string
	Expires   time.Time
	// Outside is the identity provider that signed the person in; nil for none.
	Outside *signin.Outside
}

// People tells the dashboards who is signed in.
type People struct {
	dir    *directory.Directory
	signIn *signin.Service
}

// NewPeople returns the people of the directory kept in db, who sign in by
// one-time links. A nil now means time.Now.
func NewPeople(db *bun.DB, now func() time.Time) *People {
	dir := directory.New(directory.Config{Now: now}, db)
	s, err := signin.New(signin.Config{Now: now, IdleLife: sessionIdleLife}, db, dir)
	if err != nil {
		panic("BUG: sign-in without second factors needs nothing: " + err.Error())
	}
	return PeopleOf(dir, s)
}

// PeopleOf returns the people of dir who sign in by s.
func PeopleOf(dir *directory.Directory, s *signin.Service) *People {
	return &People{dir: dir, signIn: s}
}

// EnsureAdministrator returns the first administrator, making the account
// "admin" where there is none. The account has no password: it signs in by
// one-time link until it sets one.
func (p *People) EnsureAdministrator(ctx context.Context) (directory.User, error) {
	store, err := p.dir.Store(ctx, iam.DefaultAccount)
	if err != nil {
		return directory.User{}, err
	}
	all, err := p.dir.Administrators(ctx, store.ID)
	if err != nil {
		return directory.User{}, err
	}
	for i := range all {
		if !all[i].Disabled {
			return all[i], nil
		}
	}
	admin := directory.User{StoreID: store.ID, UserName: "admin", Administrator: true}
	admin.Profile.DisplayName = "Administrator"
	if admin, err = p.dir.CreateUser(ctx, "first start", admin); err != nil {
		return directory.User{}, fmt.Errorf("make the administrator: %w", err)
	}
	return admin, nil
}

// NewLoginLink returns a token that signs the person in once.
func (p *People) NewLoginLink(ctx context.Context, personID string) (string, error) {
	return p.signIn.LoginLink(ctx, personID)
}

// UseLoginLink trades a one-time token for a session and its secret. A token
// works once, also when two ask at the same moment.
func (p *People) UseLoginLink(ctx context.Context, token string) (secret string, s Session, err error) {
	secret, sess, err := p.signIn.UseLoginLink(ctx, token, signin.Client{})
	if errors.Is(err, signin.ErrBadLink) {
		return "", Session{}, ErrNotSignedIn
	}
	if err != nil {
		return "", Session{}, err
	}
	return secret, sessionOf(sess), nil
}

func sessionOf(s *signin.Session) Session {
	return Session{User: s.User, CSRFToken: s.CSRFToken, Expires: s.Expires, Outside: s.Outside}
}

// Session returns the session of a secret, or ErrNotSignedIn.
func (p *People) Session(ctx context.Context, secret string) (Session, error) {
	s, err := p.signIn.Session(ctx, secret)
	if errors.Is(err, signin.ErrNotSignedIn) {
		return Session{}, ErrNotSignedIn
	}
	if err != nil {
		return Session{}, err
	}
	return sessionOf(s), nil
}

// End signs a browser out. Ending what has ended is no error.
func (p *People) End(ctx context.Context, secret string) error { return p.signIn.End(ctx, secret) }

// Sweep removes links and sessions whose time is over.
func (p *People) Sweep(ctx context.Context) error { return p.signIn.Sweep(ctx) }
