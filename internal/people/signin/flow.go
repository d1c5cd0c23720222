package signin

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/people/directory"
)

// Result is how far a sign-in got.
type Result struct {
	// Secret and Session are there when the person is signed in; Device is then
	// the new secret of the browser's device cookie.
	Secret  string
	Session *Session
	Device  string
	// Factor is the token of the second step, where one is asked for.
	Factor string
	// Passkey says that a passkey may be that second step.
	Passkey bool
	// MustChange is the token with which another password has to be chosen: the
	// one given was a one-time password.
	MustChange string
}

// Password is the first step: a name and a password. Names may be user names or
// addresses.
func (s *Service) Password(ctx context.Context, store, name, password string, c Client) (*Result, error) {
	if err := s.throttle.take("address:"+c.Address, addressTries, throttleWindow); err != nil {
		return nil, err
	}
	u, err := s.named(ctx, store, name)
	if err != nil {
		return nil, err
	}
	known, trusted, err := s.device(ctx, u.ID, c.Device)
	if err != nil {
		return nil, err
	}
	// Names that there are not are counted alike, so that being slowed down
	// tells nothing.
	count, most := "stranger:"+u.ID, strangerTries
	switch {
	case u.ID == "":
		count = "stranger:" + hashToken(name)
	case known:
		count, most = "device:"+hashToken(c.Device), deviceTries
	}
	if err := s.throttle.take(count, most, throttleWindow); err != nil {
		return nil, err
	}
	row, err := s.passwordOf(ctx, u)
	if err != nil {
		return nil, err
	}
	ok, err := s.checkPassword(ctx, row.Hash, password)
	if err != nil {
		return nil, err
	}
	if !ok || u.ID == "" || row.UserID == "" || u.Disabled || row.ExpiresAt != 0 && row.ExpiresAt < s.now() {
		return nil, ErrRefused
	}
	s.throttle.forget(count)
	var out *Result
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if row.MustChange {
			token, err := s.newLink(ctx, tx, linkReset, u.ID, "", resetLife)
			out = &Result{MustChange: token}
			return err
		}
		out, err = s.afterFirst(ctx, tx, u, trusted, c, first{method: "password"})
		return err
	})
	return out, err
}

// named finds a person; where there is none, the empty one.
func (s *Service) named(ctx context.Context, store, name string) (directory.User, error) {
	u, err := s.dir.UserByName(ctx, store, name)
	if directory.IsNotFound(err) {
		u, err = s.dir.UserByEmail(ctx, store, name)
	}
	if directory.IsNotFound(err) {
		return directory.User{}, nil
	}
	return u, err
}

// passwordOf returns the password of u, or one that nobody knows, so that
// refusing takes as long for everybody.
func (s *Service) passwordOf(ctx context.Context, u directory.User) (*passwordRow, error) {
	row := &passwordRow{UserID: u.ID}
	if u.ID != "" {
		err := s.db.NewSelect().Model(row).WherePK().Scan(ctx)
		if err == nil {
			return row, nil
		}
		if !noRows(err) {
			return nil, fmt.Errorf("read a password: %w", err)
		}
	}
	return &passwordRow{Hash: s.dummy}, nil
}

// afterFirst asks for the second factor where there is one, else signs in.
func (s *Service) afterFirst(ctx context.Context, tx bun.IDB, u directory.User, trusted bool, c Client, f first) (*Result, error) {
	var kinds []string
	if err := tx.NewSelect().Model((*factorRow)(nil)).Column("kind").Where("user_id = ? AND confirmed", u.ID).Scan(ctx, &kinds); err != nil {
		return nil, fmt.Errorf("read factors: %w", err)
	}
	if len(kinds) > 0 && !trusted {
		token, err := s.newLink(ctx, tx, linkFactor, u.ID, "", factorStepLife)
		if err == nil {
			err = s.keepFirst(ctx, tx, token, f)
		}
		return &Result{Factor: token, Passkey: slices.Contains(kinds, kindPasskey) && s.PasskeyOrigin() != ""}, err
	}
	return s.finish(ctx, tx, u, trusted, c, f)
}

// finish signs in after the first step and, where more than it was needed, others.
func (s *Service) finish(ctx context.Context, tx bun.IDB, u directory.User, trusted bool, c Client, f first, more ...string) (*Result, error) {
	secret, sess, err := s.start(ctx, tx, u, c, append([]string{f.method}, more...)...)
	if err != nil {
		return nil, err
	}
	if err := s.noteOutside(ctx, tx, sess, f.outside); err != nil {
		return nil, err
	}
	device, err := s.newDevice(ctx, tx, u.ID, c.Device, trusted)
	return &Result{Secret: secret, Session: sess, Device: device}, err
}

// Factor is the second step: the token of the first and a code, of an
// authenticator or a recovery code. With remember, this browser is not asked
// again for thirty days.
func (s *Service) Factor(ctx context.Context, token, code string, remember bool, c Client) (*Result, error) {
	if err := s.throttle.take("address:"+c.Address, addressTries, throttleWindow); err != nil {
		return nil, err
	}
	u, err := s.peekLink(ctx, linkFactor, token)
	if err != nil {
		return nil, err
	}
	// The try is written down before the code is looked at.
	res, err := s.db.NewUpdate().Model((*linkRow)(nil)).Set("tries = tries - 1").Where("token_hash = ? AND tries > 0", hashToken(token)).Exec(ctx)
	if err != nil {
		return nil, fmt.Errorf("count a try: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return nil, ErrBadLink
	}
	var out *Result
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		method, err := s.useCode(ctx, tx, u.ID, code)
		if err != nil {
			return err
		}
		f, err := s.firstOf(ctx, tx, token)
		if err != nil {
			return err
		}
		if err := s.useLink(ctx, tx, linkFactor, token); err != nil {
			return err
		}
		out, err = s.finish(ctx, tx, u, remember, c, f, method)
		return err
	})
	return out, err
}

// StepUp lets a signed-in person show again who they are: the password, and the
// code where there is a second factor.
func (s *Service) StepUp(ctx context.Context, sess *Session, password, code string) error {
	if err := s.throttle.take("password:"+sess.User.ID, passwordTries, throttleWindow); err != nil {
		return err
	}
	row, err := s.passwordOf(ctx, sess.User)
	if err != nil {
		return err
	}
	ok, err := s.checkPassword(ctx, row.Hash, password)
	if err != nil {
		return err
	}
	if !ok || row.MustChange {
		return ErrRefused
	}
	factors, err := s.Factors(ctx, sess.User.ID)
	if err != nil {
		return err
	}
	if len(factors) > 0 {
		err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			_, err := s.useCode(ctx, tx, sess.User.ID, code)
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.proved(ctx, sess, "password")
}
