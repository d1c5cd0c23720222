package sts

import (
	"context"
	"fmt"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/policy"
	"github.com/mangru/mangru/internal/auth/webidentity"
)

// Store has the records and judges callers by them; *iam.Service is one. What
// is not there is iam.ErrNoSuchEntity.
type Store interface {
	Role(ctx context.Context, account, name string) (iam.Role, error)
	// ProviderByURL returns the account's OpenID Connect provider of an issuer.
	ProviderByURL(ctx context.Context, account, url string) (iam.Provider, error)
	// Policy returns a managed policy, AWS' or the account's.
	Policy(ctx context.Context, account, arn string) (iam.Policy, error)
	// AccessKeyInfo returns a long-lived access key of the account.
	AccessKeyInfo(ctx context.Context, account, id string) (iam.AccessKeyInfo, error)
	// Exists tells whether the role or user that a session is of is still there
	// and still the same.
	Exists(ctx context.Context, session iam.Principal) error
	// Explain judges a caller. For the actions by which a role is assumed
	// r.ResourcePolicy is the role's trust policy, which has to allow them as
	// policy.Set.Trust says.
	Explain(ctx context.Context, r iam.Request) (policy.Decision, error)
}

// permits tells why a caller may not do something to a role, "" if he may.
func (s *Service) permits(ctx context.Context, role *iam.Role, r iam.Request) (reason string, err error) {
	if role == nil {
		return noRole, nil
	}
	r.ResourcePolicy = role.Trust
	if r.ResourcePolicy == "" { // would be none to Explain
		return noTrust, nil
	}
	d, err := s.cfg.Store.Explain(ctx, r)
	if err != nil {
		return "", fmt.Errorf("judge %s: %w", r.Action, err)
	}
	return outcome(&d), nil
}

const (
	noRole  = "no such role"
	noTrust = "the trust policy cannot be read"
)

// trusted is permits for callers that have no policies of their own.
func (s *Service) trusted(role *iam.Role, r policy.Request) (reason string) {
	if role == nil {
		return noRole
	}
	trust, err := s.trusts.Parse(role.Trust, policy.Trust)
	if err != nil {
		return noTrust
	}
	d := policy.Evaluate(r, policy.Set{Resource: []policy.Source{{Name: "trust", Document: trust}}, Trust: true})
	return outcome(&d)
}

// outcome is why a request is refused, "" if it is not.
func outcome(d *policy.Decision) string {
	switch {
	case d.Allowed:
		return ""
	case d.Reason == "":
		return "not allowed"
	}
	return d.Reason
}

// issuerOf is a registered provider as the verifier takes it.
func issuerOf(p *iam.Provider) webidentity.Issuer {
	return webidentity.Issuer{URL: p.URL, ClientIDs: p.ClientIDs, KeySet: []byte(p.Trust.JWKS),
		CAPEM: []byte(p.Trust.CA), InternalURL: p.Trust.InternalURL}
}
