package sts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/policy"
	"github.com/mangru/mangru/internal/auth/webidentity"
)

// The claims by which an issuer passes session tags and a source identity.
const (
	claimTags           = "https://aws.amazon.com/tags"
	claimSourceIdentity = "https://aws.amazon.com/source_identity"
)

const (
	maxSubject = 512 // characters; namespace and service account of Kubernetes have 340
	maxClaims  = 1024
)

// WebIdentityInput is what AssumeRoleWithWebIdentity takes.
type WebIdentityInput struct {
	Common
	RoleARN         string
	RoleSessionName string
	Token           string
	// ProviderID is for OAuth 2.0 access tokens, which are not taken here.
	ProviderID *string
}

func (in *WebIdentityInput) check() error {
	var v violations
	v.required("roleArn", in.RoleARN, 20, 2048, patternARN)
	v.required("roleSessionName", in.RoleSessionName, 2, 64, patternName)
	if in.Token == "" {
		v.add("null", "webIdentityToken", "Member must not be null")
	} else {
		v.secret("webIdentityToken", in.Token, 4, webidentity.MaxToken, pattern{})
	}
	in.Common.check(&v)
	v.optional("providerId", in.ProviderID, 4, 2048, pattern{})
	if err := v.err(); err != nil {
		return err
	}
	if in.ProviderID != nil {
		return fail(CodeInvalidToken, "ProviderId is for OAuth 2.0 access tokens; the token has to be an OpenID Connect ID token.")
	}
	return nil
}

// WebIdentity is what AssumeRoleWithWebIdentity answers.
type WebIdentity struct {
	*Session
	Subject, Audience, Provider string
}

// AssumeRoleWithWebIdentity gives the bearer of an issuer's token the
// credentials of a role that trusts him. The caller is anonymous: keys are the
// condition keys of his request. Refusals are *Error.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, keys map[string][]string, in WebIdentityInput) (*WebIdentity, error) {
	out, err := s.assumeWithWebIdentity(ctx, keys, &in)
	s.count("AssumeRoleWithWebIdentity", err)
	return out, err
}

func (s *Service) assumeWithWebIdentity(ctx context.Context, keys map[string][]string, in *WebIdentityInput) (*WebIdentity, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	account, name, err := splitRole(in.RoleARN)
	if err != nil {
		return nil, err
	}
	claims, provider, err := s.verify(ctx, account, in.Token)
	if err != nil {
		return nil, err
	}
	// From here on the caller has proved something. Session policies are his
	// own mistakes and tell him nothing about the role.
	policies, err := s.sessionPolicies(ctx, account, &in.Common)
	if err != nil {
		return nil, err
	}
	session, tags, err := identitySession(in, claims, provider)
	if err != nil {
		return nil, err
	}
	session.Policies, session.PolicyARNs = policies, in.PolicyARNs
	role, err := s.role(ctx, account, name, in.RoleARN)
	if err != nil {
		return nil, err
	}
	own := sessionContext(keys, session, role)
	addRequestTags(own, tags)
	for k, v := range session.Claims {
		own[k] = v
	}
	own["aws:federatedprovider"] = []string{provider.ARN}
	who := policy.Principal{Federated: provider.ARN, AccountID: account}
	for _, action := range actionsOf(actionAssumeWebIdentity, len(tags) > 0, session.SourceIdentity != "") {
		if reason := s.trusted(role, policy.Request{Principal: who, Action: action, Resource: in.RoleARN, Context: own}); reason != "" {
			return nil, denied(fmt.Sprintf("%s, subject %q of %s", reason, claims.Subject, provider.ARN), "Not authorized to perform %s", action)
		}
	}
	life, err := lifetime(role, in.DurationSeconds, false)
	if err != nil {
		return nil, err
	}
	issued, err := s.issue(assumed(role, *session), life, in.minToken())
	if err != nil {
		return nil, err
	}
	return &WebIdentity{Session: issued, Subject: claims.Subject, Audience: audience(claims, provider), Provider: provider.ARN}, nil
}

// audience is the client id that the token was taken for.
func audience(c *webidentity.Claims, p *iam.Provider) string {
	if c.AuthorizedParty != "" {
		return c.AuthorizedParty
	}
	for _, a := range c.Audience {
		if slices.Contains(p.ClientIDs, a) {
			return a
		}
	}
	return ""
}

// verify reads a token, finds its issuer among the account's providers and has
// it checked.
func (s *Service) verify(ctx context.Context, account, token string) (*webidentity.Claims, *iam.Provider, error) {
	t, err := webidentity.Parse(token)
	if err != nil {
		var e *webidentity.Error
		if errors.As(err, &e) {
			s.cfg.Tokens.Refused(e.Reason)
		}
		return nil, nil, tokenError(err, "")
	}
	if !strings.HasPrefix(t.Issuer(), "https://") {
		s.cfg.Tokens.Refused(webidentity.ReasonIssuer)
		return nil, nil, fail(CodeInvalidToken, "Issuer must be a valid URL")
	}
	p, err := s.cfg.Store.ProviderByURL(ctx, account, t.Issuer())
	if errors.Is(err, iam.ErrNoSuchEntity) || err == nil && p.URL != t.Issuer() {
		s.cfg.Tokens.Refused(webidentity.ReasonIssuer)
		return nil, nil, fail(CodeInvalidToken, "No OpenIDConnect provider found in your account for %s", clip(t.Issuer()))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read identity provider: %w", err)
	}
	claims, err := s.cfg.Tokens.Verify(ctx, t, issuerOf(&p))
	if err != nil {
		return nil, nil, tokenError(err, p.ARN)
	}
	return claims, &p, nil
}

// tokenError gives what is wrong with a token its code. Nobody has proved
// anything yet, but all of it is about the token, which the caller has.
func tokenError(err error, provider string) error {
	var e *webidentity.Error
	if !errors.As(err, &e) {
		return err // canceled
	}
	out := fail(CodeInvalidToken, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	switch e.Reason {
	case webidentity.ReasonClaim:
		out.Message = "Missing a required claim: " + e.Claim
	case webidentity.ReasonIssuer:
		out.Message = "No OpenIDConnect provider found in your account for the token's issuer"
	case webidentity.ReasonKey, webidentity.ReasonDiscovery:
		out.Message = "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements"
	case webidentity.ReasonUnreachable:
		out.Code = CodeIDPCommunication
		out.Message = "The identity provider's keys could not be fetched. Try again."
	case webidentity.ReasonExpired:
		out.Code = CodeExpiredToken
		out.Message = e.Text()
	case webidentity.ReasonNotYet:
		out.Message = "The token is not valid yet"
	case webidentity.ReasonAudience:
		out.Message = "Incorrect token audience"
	}
	out.Reason, out.err = e.Error(), e
	if provider != "" {
		out.Reason += ", provider " + provider
	}
	return out
}

// identitySession makes the session of a verified token, and the tags that the
// issuer passes.
func identitySession(in *WebIdentityInput, c *webidentity.Claims, p *iam.Provider) (*iam.Session, []Tag, error) {
	s := &iam.Session{Name: in.RoleSessionName, Provider: p.ARN, Claims: make(map[string][]string, 4)}
	prefix := strings.ToLower(strings.TrimPrefix(p.URL, "https://")) + ":"
	s.Claims[prefix+"sub"] = []string{c.Subject}
	s.Claims[prefix+"aud"] = c.Audience
	if c.AuthorizedParty != "" { // then aud is who the token was given to, as in AWS
		s.Claims[prefix+"aud"] = []string{c.AuthorizedParty}
		s.Claims[prefix+"oaud"] = c.Audience
	}
	if len(c.Methods) > 0 {
		s.Claims[prefix+"amr"] = c.Methods
	}
	size := 0
	for k, list := range s.Claims {
		size += len(k)
		for _, v := range list {
			size += len(v) + 1
		}
	}
	if len(c.Subject) > maxSubject || size > maxClaims {
		return nil, nil, rejected("claims sub, aud, azp and amr have %d bytes, allowed are %d", size, maxClaims)
	}
	if raw := c.Member(claimSourceIdentity); raw != nil {
		var source string
		var v violations
		if err := json.Unmarshal(raw, &source); err != nil {
			return nil, nil, rejected("claim %s is not a string", claimSourceIdentity)
		}
		if v.text("sourceIdentity", source, 2, 64, patternName); v.err() != nil {
			return nil, nil, rejected("claim %s is not a source identity", claimSourceIdentity)
		}
		s.SourceIdentity = source
	}
	tags, err := claimedTags(c, s)
	return s, tags, err
}

func rejected(format string, args ...any) error {
	return &Error{Status: http.StatusForbidden, Code: CodeRejectedClaim, Message: fmt.Sprintf(format, args...)}
}

// claimedTags reads the issuer's session tags into the session.
func claimedTags(c *webidentity.Claims, s *iam.Session) ([]Tag, error) {
	raw := c.Member(claimTags)
	if raw == nil {
		return nil, nil
	}
	var in struct {
		Tags       map[string][]string `json:"principal_tags"`
		Transitive []string            `json:"transitive_tag_keys"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, rejected("claim %s cannot be read", claimTags)
	}
	tags := make([]Tag, 0, len(in.Tags))
	for k, values := range in.Tags {
		if len(values) != 1 {
			return nil, rejected("claim %s: a tag has to have one value", claimTags)
		}
		tags = append(tags, Tag{Key: k, Value: values[0]})
	}
	slices.SortFunc(tags, func(a, b Tag) int { return strings.Compare(a.Key, b.Key) })
	var v violations
	if checkTags(&v, tags, in.Transitive); v.err() != nil {
		return nil, rejected("claim %s holds what is not a tag", claimTags)
	}
	if err := checkTagNames(tags, in.Transitive); err != nil {
		return nil, err
	}
	if len(tags) == 0 {
		return nil, nil
	}
	s.Tags, s.Transitive = make(map[string]string, len(tags)), in.Transitive
	for _, t := range tags {
		s.Tags[t.Key] = t.Value
	}
	return tags, nil
}

// clip shortens what a stranger sent before it goes into an answer.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
