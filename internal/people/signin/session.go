package signin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/people/directory"
)

// Session is a signed-in browser.
type Session struct {
	// ID names the session to its person; it is not the secret.
	ID        string
	User      directory.User
	CSRFToken string
	// Methods are how the person showed who they are: link, password, totp,
	// recovery, passkey, outside.
	Methods []string
	// Proved is when they last did.
	Proved                 time.Time
	Created, Seen, Expires time.Time
	Address, Agent         string
	// Outside is the provider that signed the person in; nil for none.
	Outside *Outside
}

// Fresh reports whether the person showed a moment ago who they are, so that
// sensitive things may be changed.
func (s *Session) Fresh(now time.Time) bool { return now.Sub(s.Proved) < stepUpLife }

type sessionRow struct {
	bun.BaseModel   `bun:"table:person_sessions"`
	TokenHash       string `bun:",pk"`
	ID              string `bun:"id"`
	UserID          string
	CSRFToken       string `bun:"csrf_token"`
	Methods         string
	Address         string
	Agent           string
	Provider        string
	ProviderSubject string
	ProvedAt        int64
	CreatedAt       int64
	SeenAt          int64
	ExpiresAt       int64
}

func (r *sessionRow) session(u directory.User) *Session {
	s := &Session{ID: r.ID, User: u, CSRFToken: r.CSRFToken, Methods: strings.Fields(r.Methods), Proved: at(r.ProvedAt),
		Created: at(r.CreatedAt), Seen: at(r.SeenAt), Expires: at(r.ExpiresAt), Address: r.Address, Agent: r.Agent}
	if r.Provider != "" {
		s.Outside = &Outside{r.Provider, r.ProviderSubject}
	}
	return s
}

// maxAgent bounds what is kept of a browser's own name, in bytes.
const maxAgent = 200

func cutAgent(agent string) string {
	agent = strings.ToValidUTF8(agent, "")
	for len(agent) > maxAgent {
		_, size := utf8.DecodeLastRuneInString(agent)
		agent = agent[:len(agent)-size]
	}
	return agent
}

// start makes a session and returns its secret, which is always a new one.
func (s *Service) start(ctx context.Context, tx bun.IDB, u directory.User, c Client, methods ...string) (string, *Session, error) {
	now, secret := s.cfg.Now(), randomToken()
	row := &sessionRow{TokenHash: hashToken(secret), ID: uuid.NewString(), UserID: u.ID, CSRFToken: randomToken(), Methods: strings.Join(methods, " "),
		Address: c.Address, Agent: cutAgent(c.Agent), ProvedAt: now.UnixMilli(), CreatedAt: now.UnixMilli(), SeenAt: now.UnixMilli(),
		ExpiresAt: now.Add(s.cfg.SessionLife).UnixMilli()}
	if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
		return "", nil, fmt.Errorf("start a session: %w", err)
	}
	return secret, row.session(u), nil
}

// Session returns the session of a secret, or ErrNotSignedIn. What the directory
// says about its person holds at once.
func (s *Service) Session(ctx context.Context, secret string) (*Session, error) {
	if secret == "" {
		return nil, ErrNotSignedIn
	}
	row := &sessionRow{TokenHash: hashToken(secret)}
	err := s.db.NewSelect().Model(row).WherePK().Scan(ctx)
	if noRows(err) {
		return nil, ErrNotSignedIn
	}
	if err != nil {
		return nil, fmt.Errorf("look up a session: %w", err)
	}
	now := s.now()
	if now >= row.ExpiresAt || now-row.SeenAt > s.cfg.IdleLife.Milliseconds() {
		return nil, errors.Join(ErrNotSignedIn, s.End(ctx, secret))
	}
	u, err := s.userByID(ctx, row.UserID)
	if err != nil {
		return nil, err
	}
	if now-row.SeenAt > seenEvery.Milliseconds() {
		row.SeenAt = now
		if _, err := s.db.NewUpdate().Model(row).Column("seen_at").WherePK().Exec(ctx); err != nil {
			return nil, fmt.Errorf("note a session's use: %w", err)
		}
	}
	return row.session(u), nil
}

// userByID finds a person in whatever store they are.
func (s *Service) userByID(ctx context.Context, id string) (directory.User, error) {
	var store string
	err := s.db.NewSelect().Table("directory_users").Column("store_id").Where("id = ?", id).Scan(ctx, &store)
	if noRows(err) {
		return directory.User{}, ErrNotSignedIn
	}
	if err != nil {
		return directory.User{}, fmt.Errorf("find a session's person: %w", err)
	}
	return s.user(ctx, store, id)
}

// End signs a browser out. Ending what has ended is no error.
func (s *Service) End(ctx context.Context, secret string) error {
	if _, err := s.db.NewDelete().Model((*sessionRow)(nil)).Where("token_hash = ?", hashToken(secret)).Exec(ctx); err != nil {
		return fmt.Errorf("end a session: %w", err)
	}
	return nil
}

// Sessions lists where a person is signed in, newest first.
func (s *Service) Sessions(ctx context.Context, u directory.User) ([]*Session, error) {
	var rows []sessionRow
	err := s.db.NewSelect().Model(&rows).Where("user_id = ? AND expires_at > ? AND seen_at > ?", u.ID, s.now(), s.now()-s.cfg.IdleLife.Milliseconds()).
		Order("created_at DESC", "id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	var out []*Session
	for i := range rows {
		out = append(out, rows[i].session(u))
	}
	return out, nil
}

// EndSession ends one of a person's sessions by its id.
func (s *Service) EndSession(ctx context.Context, userID, id string) error {
	if _, err := s.db.NewDelete().Model((*sessionRow)(nil)).Where("user_id = ? AND id = ?", userID, id).Exec(ctx); err != nil {
		return fmt.Errorf("end a session: %w", err)
	}
	return nil
}

// EndAll ends a person's sessions but the one with the id keep, and forgets
// their browsers.
func (s *Service) EndAll(ctx context.Context, userID, keep string) error {
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { return s.endOthers(ctx, tx, userID, keep) })
}

func (s *Service) endOthers(ctx context.Context, tx bun.IDB, userID, keep string) error {
	_, err1 := tx.NewDelete().Model((*sessionRow)(nil)).Where("user_id = ? AND id <> ?", userID, keep).Exec(ctx)
	_, err2 := tx.NewDelete().Model((*deviceRow)(nil)).Where("user_id = ?", userID).Exec(ctx)
	_, err3 := tx.NewDelete().Model((*linkRow)(nil)).Where("user_id = ? AND purpose IN (?)", userID, bun.In([]string{linkReset, linkFactor, linkInvitation})).Exec(ctx)
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	return nil
}

// proved notes that the person of a session showed anew who they are.
func (s *Service) proved(ctx context.Context, sess *Session, method string) error {
	if !slices.Contains(sess.Methods, method) {
		sess.Methods = append(sess.Methods, method)
	}
	sess.Proved = s.cfg.Now()
	_, err := s.db.NewUpdate().Model((*sessionRow)(nil)).Set("proved_at = ?", sess.Proved.UnixMilli()).Set("methods = ?", strings.Join(sess.Methods, " ")).
		Where("id = ?", sess.ID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("note a proof: %w", err)
	}
	return nil
}

type deviceRow struct {
	bun.BaseModel `bun:"table:person_devices"`
	TokenHash     string `bun:",pk"`
	UserID        string
	Trusted       bool
	CreatedAt     int64
	ExpiresAt     int64
}

// device returns what is known about a browser of a person.
func (s *Service) device(ctx context.Context, userID, secret string) (known, trusted bool, err error) {
	if secret == "" {
		return false, false, nil
	}
	row := &deviceRow{TokenHash: hashToken(secret)}
	err = s.db.NewSelect().Model(row).WherePK().Where("user_id = ? AND expires_at > ?", userID, s.now()).Scan(ctx)
	if noRows(err) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("look up a browser: %w", err)
	}
	return true, row.Trusted, nil
}

// newDevice makes a browser known. A new secret takes the place of the old one.
func (s *Service) newDevice(ctx context.Context, tx bun.IDB, userID, old string, trusted bool) (string, error) {
	if old != "" {
		if _, err := tx.NewDelete().Model((*deviceRow)(nil)).Where("token_hash = ? AND user_id = ?", hashToken(old), userID).Exec(ctx); err != nil {
			return "", fmt.Errorf("forget a browser: %w", err)
		}
	}
	secret := randomToken()
	row := &deviceRow{TokenHash: hashToken(secret), UserID: userID, Trusted: trusted, CreatedAt: s.now(), ExpiresAt: s.cfg.Now().Add(deviceLife).UnixMilli()}
	if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
		return "", fmt.Errorf("remember a browser: %w", err)
	}
	return secret, nil
}
