package signin

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/people/directory"
)

// Outside is how an identity provider outside signed somebody in.
type Outside struct {
	// Provider is the provider's id here; Subject is what it calls the person.
	Provider string `json:"provider"`
	Subject  string `json:"subject"`
}

// methodOutside is the method of such sessions.
const methodOutside = "outside"

// SealSecret encrypts what has to be read again, for one owner.
func (s *Service) SealSecret(secret []byte, owner string) (string, error) {
	if s.seal == nil {
		return "", errNoKey
	}
	return s.sealed(secret, owner), nil
}

// OpenSecret decrypts what SealSecret made for the same owner.
func (s *Service) OpenSecret(text, owner string) ([]byte, error) { return s.open(text, owner) }

// OutsideTry counts a step of a sign-in by an identity provider, and refuses too
// many from an address: they make this server call the provider, and write.
func (s *Service) OutsideTry(step string, c Client) error {
	return s.throttle.take("outside-"+step+":"+c.Address, addressTries, throttleWindow)
}

// SignInOutside signs in whom a provider outside named. A second factor that the
// person has here is asked for all the same.
func (s *Service) SignInOutside(ctx context.Context, u directory.User, o Outside, c Client) (*Result, error) {
	if u.Disabled {
		return nil, ErrRefused
	}
	_, trusted, err := s.device(ctx, u.ID, c.Device)
	if err != nil {
		return nil, err
	}
	var out *Result
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		out, err = s.afterFirst(ctx, tx, u, trusted, c, first{method: methodOutside, outside: &o})
		return err
	})
	return out, err
}

// first is the first step of a sign-in.
type first struct {
	method  string
	outside *Outside
}

// keepFirst notes the first step with the link to the second.
func (s *Service) keepFirst(ctx context.Context, tx bun.IDB, token string, f first) error {
	if f.outside == nil {
		return nil
	}
	text, err := json.Marshal(f.outside)
	if err != nil {
		return fmt.Errorf("note the first step: %w", err)
	}
	_, err = tx.NewUpdate().Model((*linkRow)(nil)).Set("outside = ?", string(text)).Where("token_hash = ?", hashToken(token)).Exec(ctx)
	return err
}

// firstOf is what keepFirst noted.
func (s *Service) firstOf(ctx context.Context, tx bun.IDB, token string) (first, error) {
	row := &linkRow{TokenHash: hashToken(token)}
	if err := tx.NewSelect().Model(row).WherePK().Scan(ctx); err != nil {
		if noRows(err) {
			return first{}, ErrBadLink
		}
		return first{}, fmt.Errorf("read the first step: %w", err)
	}
	if row.Outside == "" {
		return first{method: "password"}, nil
	}
	f := first{method: methodOutside, outside: new(Outside)}
	if err := json.Unmarshal([]byte(row.Outside), f.outside); err != nil {
		return first{}, fmt.Errorf("read the first step: %w", err)
	}
	return f, nil
}

// noteOutside writes down which provider a session came by.
func (s *Service) noteOutside(ctx context.Context, tx bun.IDB, sess *Session, o *Outside) error {
	if o == nil {
		return nil
	}
	sess.Outside = o
	_, err := tx.NewUpdate().Model((*sessionRow)(nil)).Set("provider = ?", o.Provider).Set("provider_subject = ?", o.Subject).Where("id = ?", sess.ID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("note a session's provider: %w", err)
	}
	return nil
}
