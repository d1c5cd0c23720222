package signin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/people/directory"
)

// What one-time links are for.
const (
	linkLogin        = "login"
	linkInvitation   = "invitation"
	linkVerification = "verification"
	linkReset        = "reset"
	// linkFactor is the state between password and second factor.
	linkFactor = "factor"
)

type linkRow struct {
	bun.BaseModel `bun:"table:person_links"`
	TokenHash     string `bun:",pk"`
	Purpose       string
	UserID        string
	Email         string
	Tries         int64
	// Outside is, of the link to a second factor, the first step as JSON where a
	// provider outside was it.
	Outside   string
	CreatedAt int64
	ExpiresAt int64
}

// newLink makes a link. Those of the same purpose that the person had end: the
// newest mail is the one that works.
func (s *Service) newLink(ctx context.Context, tx bun.IDB, purpose, userID, email string, life time.Duration) (string, error) {
	if purpose != linkLogin && purpose != linkFactor {
		if _, err := tx.NewDelete().Model((*linkRow)(nil)).Where("user_id = ? AND purpose = ?", userID, purpose).Exec(ctx); err != nil {
			return "", fmt.Errorf("end older links: %w", err)
		}
	}
	token := randomToken()
	row := &linkRow{TokenHash: hashToken(token), Purpose: purpose, UserID: userID, Email: email, Tries: codeTries, CreatedAt: s.now(), ExpiresAt: s.cfg.Now().Add(life).UnixMilli()}
	if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
		return "", fmt.Errorf("make a one-time link: %w", err)
	}
	return token, nil
}

// useLink takes a link away; it works once, also when two ask at the same moment.
func (s *Service) useLink(ctx context.Context, tx bun.IDB, purpose, token string) error {
	var row linkRow
	_, err := tx.NewDelete().Model(&row).Where("token_hash = ? AND purpose = ?", hashToken(token), purpose).Returning("*").Exec(ctx)
	if err != nil && !noRows(err) {
		return fmt.Errorf("use a one-time link: %w", err)
	}
	if row.UserID == "" || row.ExpiresAt < s.now() {
		return ErrBadLink
	}
	return nil
}

// peekLink returns whom a link is for, without using it up.
func (s *Service) peekLink(ctx context.Context, purpose, token string) (directory.User, error) {
	var row linkRow
	err := s.db.NewSelect().Model(&row).Where("token_hash = ? AND purpose = ? AND expires_at > ?", hashToken(token), purpose, s.now()).Scan(ctx)
	if noRows(err) {
		return directory.User{}, ErrBadLink
	}
	if err != nil {
		return directory.User{}, fmt.Errorf("look up a one-time link: %w", err)
	}
	u, err := s.userByID(ctx, row.UserID)
	if err != nil {
		return u, ErrBadLink
	}
	// A link that went to an address that is not the person's any more is none.
	if row.Email != "" && row.Email != u.Email() {
		return u, ErrBadLink
	}
	return u, nil
}

// LoginLink returns a token that signs a person in once.
func (s *Service) LoginLink(ctx context.Context, userID string) (string, error) {
	return s.newLink(ctx, s.db, linkLogin, userID, "", loginLinkLife)
}

// UseLoginLink trades a token for a session and its secret.
func (s *Service) UseLoginLink(ctx context.Context, token string, c Client) (secret string, sess *Session, err error) {
	if c.Address != "" {
		if err := s.throttle.take("link:"+c.Address, linkTries, throttleWindow); err != nil {
			return "", nil, err
		}
	}
	u, err := s.peekLink(ctx, linkLogin, token)
	if err != nil {
		return "", nil, err
	}
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := s.useLink(ctx, tx, linkLogin, token); err != nil {
			return err
		}
		secret, sess, err = s.start(ctx, tx, u, c, "link")
		return err
	})
	return secret, sess, err
}

// Invitation returns a token with which a person sets their first password. Who
// has it shows to have the address that it is sent to.
func (s *Service) Invitation(ctx context.Context, u *directory.User) (string, time.Time, error) {
	token, err := s.newLink(ctx, s.db, linkInvitation, u.ID, u.Email(), invitationLife)
	return token, s.cfg.Now().Add(invitationLife), err
}

// Verification returns a token that shows that a person has their address.
func (s *Service) Verification(ctx context.Context, u *directory.User) (string, time.Time, error) {
	token, err := s.newLink(ctx, s.db, linkVerification, u.ID, u.Email(), verificationLife)
	return token, s.cfg.Now().Add(verificationLife), err
}

// Reset returns a token for a new password, for the person who has a verified
// address. Others get none: the answer to who asks must be the same all the same.
func (s *Service) Reset(ctx context.Context, store, email string, c Client) (token string, u directory.User, err error) {
	if err := s.throttle.take("reset:"+c.Address, addressTries, throttleWindow); err != nil {
		return "", u, err
	}
	if err := s.throttle.take("mail:"+email, mailTries, time.Hour); err != nil {
		return "", u, err
	}
	u, err = s.dir.UserByEmail(ctx, store, email)
	if directory.IsNotFound(err) || err == nil && (u.Disabled || u.EmailVerified.IsZero()) {
		return "", directory.User{}, ErrBadLink
	}
	if err != nil {
		return "", u, err
	}
	token, err = s.newLink(ctx, s.db, linkReset, u.ID, u.Email(), resetLife)
	return token, u, err
}

// MailTry counts a mail that is about to go to a person, and refuses too many.
func (s *Service) MailTry(u *directory.User) error {
	return s.throttle.take("mail:"+u.Email(), mailTries, time.Hour)
}

// Invited returns whom an invitation or the reset of a password is for. It does
// not use the link up: mail programs look at links.
func (s *Service) Invited(ctx context.Context, token string, c Client) (directory.User, error) {
	if err := s.throttle.take("link:"+c.Address, linkTries, throttleWindow); err != nil {
		return directory.User{}, err
	}
	u, _, err := s.setter(ctx, token)
	return u, err
}

// setter finds the link that lets a password be set.
func (s *Service) setter(ctx context.Context, token string) (directory.User, string, error) {
	for _, purpose := range []string{linkInvitation, linkReset} {
		u, err := s.peekLink(ctx, purpose, token)
		if !errors.Is(err, ErrBadLink) {
			return u, purpose, err
		}
	}
	return directory.User{}, "", ErrBadLink
}

// Accept sets the password of whom an invitation or reset is for and uses the
// link up, both or neither. All sessions end. Where the person has a second
// factor, it is asked for next.
func (s *Service) Accept(ctx context.Context, token, password string, c Client) (*Result, error) {
	if err := s.throttle.take("link:"+c.Address, linkTries, throttleWindow); err != nil {
		return nil, err
	}
	u, purpose, err := s.setter(ctx, token)
	if err != nil {
		return nil, err
	}
	hash, err := s.newHash(ctx, &u, password)
	if err != nil {
		return nil, err
	}
	verified := u.EmailVerified.IsZero()
	var out *Result
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := s.useLink(ctx, tx, purpose, token); err != nil {
			return err
		}
		if err := s.setPassword(ctx, tx, u.ID, hash, false); err != nil {
			return err
		}
		if err := s.endOthers(ctx, tx, u.ID, ""); err != nil {
			return err
		}
		if verified {
			if err := s.verifyEmail(ctx, tx, u); err != nil {
				return err
			}
		}
		out, err = s.afterFirst(ctx, tx, u, false, c, first{method: "password"})
		return err
	})
	return out, err
}

// verifyEmail notes that the address that a link went to is the person's, if it
// still is.
func (s *Service) verifyEmail(ctx context.Context, tx bun.IDB, u directory.User) error {
	_, err := tx.NewUpdate().Table("directory_users").Set("email_verified_at = ?", s.now()).
		Where("id = ? AND updated_at = ? AND email_key <> ''", u.ID, u.Updated.UnixMilli()).Exec(ctx)
	if err != nil {
		return fmt.Errorf("note a verified address: %w", err)
	}
	return nil
}

// Verify uses up the link of a verification.
func (s *Service) Verify(ctx context.Context, token string, c Client) (directory.User, error) {
	if err := s.throttle.take("link:"+c.Address, linkTries, throttleWindow); err != nil {
		return directory.User{}, err
	}
	u, err := s.peekLink(ctx, linkVerification, token)
	if err != nil {
		return u, err
	}
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := s.useLink(ctx, tx, linkVerification, token); err != nil {
			return err
		}
		return s.verifyEmail(ctx, tx, u)
	})
	return u, err
}
