package federation

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/mangru/mangru/internal/people/directory"
)

// Person returns whose account an assertion is for, making or linking one where
// the provider's settings let it, and brings their groups up to date.
func (s *Service) Person(ctx context.Context, a *Assertion) (directory.User, error) {
	p, err := s.open(ctx, a.Provider)
	if err != nil {
		return directory.User{}, err
	}
	outside := directory.ExternalID{Issuer: a.Issuer, ID: a.Subject}
	u, err := s.cfg.Directory.UserByExternalID(ctx, s.cfg.Store.ID, outside)
	if directory.IsNotFound(err) {
		u, err = s.newcomer(ctx, p, a, outside)
	}
	if err != nil {
		return u, err
	}
	if u.Disabled {
		return u, &AccountError{"This account is disabled."}
	}
	return u, s.groups(ctx, p, a, &u)
}

// newcomer links or makes the account of who comes the first time.
func (s *Service) newcomer(ctx context.Context, p *Provider, a *Assertion, outside directory.ExternalID) (directory.User, error) {
	dir, store := s.cfg.Directory, s.cfg.Store.ID
	if a.Email != "" {
		u, err := dir.UserByEmail(ctx, store, a.Email)
		if err == nil {
			return s.link(ctx, p, a, u, outside)
		}
		if !directory.IsNotFound(err) {
			return u, err
		}
	}
	if !p.Settings.CreateAccounts {
		return directory.User{}, &AccountError{"You have no account here yet. Ask an administrator for one."}
	}
	u := directory.User{StoreID: store, ExternalIDs: []directory.ExternalID{outside}}
	u.Profile.DisplayName = a.Name
	u.Profile.SetEmail(a.Email)
	var taken *directory.ConflictError
	for _, name := range s.names(a) {
		u.UserName = name
		if u.Profile.DisplayName == "" {
			u.Profile.DisplayName = name
		}
		made, err := dir.CreateUser(ctx, "identity provider "+p.ID, u)
		if errors.As(err, &taken) {
			continue // the next name
		}
		if err != nil {
			return made, err
		}
		if a.EmailVerified {
			made, err = dir.UpdateUser(ctx, "identity provider "+p.ID, store, made.ID, directory.UserUpdate{EmailVerified: true})
		}
		s.log.InfoContext(ctx, "person created by identity provider", "user", made.ID, "provider", p.ID)
		return made, err
	}
	return u, fmt.Errorf("make an account: %w", taken)
}

// names are user names to try, the nicest first.
func (s *Service) names(a *Assertion) []string {
	sum := sha256.Sum256([]byte(a.Issuer + "\n" + a.Subject))
	unique := hex.EncodeToString(sum[:6])
	var out []string
	for _, n := range []string{a.Login, a.Email} {
		if n != "" {
			out = append(out, n)
		}
	}
	return append(out, cmp.Or(a.Login, "person")+"-"+unique)
}

// link gives an account that is there to who comes, if both sides verified the
// address. Else whoever enters an address at a provider had its account here.
func (s *Service) link(ctx context.Context, p *Provider, a *Assertion, u directory.User, outside directory.ExternalID) (directory.User, error) {
	switch {
	case !p.Settings.LinkByEmail || !a.EmailVerified || u.EmailVerified.IsZero():
		return u, &AccountError{"There is an account with your address already, and it is not linked to this provider. Sign in with its password, or ask an administrator."}
	case u.Administrator:
		return u, &AccountError{"Accounts of administrators are not linked to a provider by their address."}
	case slices.ContainsFunc(u.ExternalIDs, func(e directory.ExternalID) bool { return e.Issuer == outside.Issuer }):
		return u, &AccountError{"The account with your address belongs to somebody else at this provider."}
	}
	ids := append(slices.Clone(u.ExternalIDs), outside)
	s.log.InfoContext(ctx, "account linked to identity provider", "user", u.ID, "provider", p.ID)
	return s.cfg.Directory.UpdateUser(ctx, "identity provider "+p.ID, s.cfg.Store.ID, u.ID, directory.UserUpdate{ExternalIDs: &ids})
}

// groups makes the memberships in mapped groups what the provider says.
func (s *Service) groups(ctx context.Context, p *Provider, a *Assertion, u *directory.User) error {
	wanted := make(map[string]bool) // name here -> member
	for theirs, ours := range p.Settings.Groups {
		wanted[ours] = wanted[ours] || slices.Contains(a.Groups, theirs)
	}
	dir, store, by := s.cfg.Directory, s.cfg.Store.ID, "identity provider "+p.ID
	for name, member := range wanted {
		g, err := dir.GroupByName(ctx, store, name)
		if directory.IsNotFound(err) {
			s.log.WarnContext(ctx, "a mapped group is not there", "group", name, "provider", p.ID)
			continue
		}
		if err != nil {
			return err
		}
		m, err := dir.MembershipOf(ctx, store, g.ID, u.ID)
		if err != nil && !directory.IsNotFound(err) {
			return err
		}
		switch has := err == nil; {
		case member && !has:
			var taken *directory.ConflictError // another sign-in of the same person
			if _, err := dir.AddMember(ctx, by, store, g.ID, u.ID); err != nil && !errors.As(err, &taken) {
				return err
			}
		case !member && has:
			if err := dir.RemoveMember(ctx, store, m.ID); err != nil && !directory.IsNotFound(err) {
				return err
			}
		}
	}
	return nil
}
