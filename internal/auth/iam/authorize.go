package iam

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/auth/policy"
)

// Authorizer decides whether a caller may do something. A nil error is the only
// yes.
type Authorizer interface {
	Authorize(ctx context.Context, r Request) error
}

// DeniedError says that a caller may not do what it asked for, in AWS' words.
type DeniedError struct{ Principal, Action, Resource, Why string }

// Error implements error. Why follows the resource with "because", unless it
// begins with "with", as in "with an explicit deny in a permissions boundary".
func (e *DeniedError) Error() string {
	because := "because "
	if strings.HasPrefix(e.Why, "with ") {
		because = ""
	}
	return fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s%s", e.Principal, e.Action, e.Resource, because, e.Why)
}

// The managed policies that code of ours names.
const (
	PolicyAdministratorAccess = "arn:aws:iam::aws:policy/AdministratorAccess"
	PolicyPrometheusFull      = "arn:aws:iam::aws:policy/AmazonPrometheusFullAccess"
	PolicyPrometheusWrite     = "arn:aws:iam::aws:policy/AmazonPrometheusRemoteWriteAccess"
	PolicyPrometheusQuery     = "arn:aws:iam::aws:policy/AmazonPrometheusQueryAccess"
)

// Authorize implements Authorizer. It refuses unless the policies allow the
// action, and refuses whatever it cannot judge: no caller, no action, a policy
// it does not know, a resource of another account that has no policy for it.
func (s *Service) Authorize(ctx context.Context, r Request) error {
	if r.Principal.ARN != "" {
		service, _, _ := strings.Cut(r.Action, ":")
		s.Used(r.Principal, service, first(r.Context["aws:requestedregion"]))
	}
	d, err := s.Explain(ctx, r)
	if err != nil {
		return fmt.Errorf("read permissions of %s: %w", r.Principal.ARN, err)
	}
	if d.Allowed {
		return nil
	}
	return &DeniedError{Principal: r.Principal.ARN, Action: r.Action, Resource: r.Resource, Why: d.Reason}
}

// Explain decides like Authorize and says which statement decided.
func (s *Service) Explain(ctx context.Context, r Request) (policy.Decision, error) {
	p := r.Principal
	denied := func(why string) (policy.Decision, error) { return policy.Decision{Statement: -1, Reason: why}, nil }
	if p.ARN == "" || p.AccessKeyID == "" || p.ID == "" || p.AccountID == "" {
		return denied("the caller is not authenticated")
	}
	sub, err := s.subjectFor(ctx, p)
	switch {
	case errors.Is(err, ErrNoSuchEntity):
		return denied("the caller no longer exists")
	case err != nil:
		return policy.Decision{Statement: -1}, err
	}
	set, err := s.policiesFor(ctx, sub, r)
	if err != nil {
		return policy.Decision{Statement: -1}, err
	}
	keys := maps.Clone(r.Context)
	if keys == nil {
		keys = make(map[string][]string)
	}
	addPrincipalKeys(keys, p, sub)
	return policy.Evaluate(policy.Request{Principal: principalOf(p), Action: r.Action, Resource: r.Resource, Context: keys}, set), nil
}

// subjectFor returns the user or role whose permissions a caller has, as they
// are now: a key or role that was deleted, switched off or made anew is gone.
func (s *Service) subjectFor(ctx context.Context, p Principal) (*subject, error) {
	if p.Session == nil {
		k, err := s.LookupKey(ctx, p.AccessKeyID)
		if err != nil {
			return nil, err
		}
		if k.Principal.ID != p.ID || k.Principal.AccountID != p.AccountID {
			return nil, newError(ErrNoSuchEntity, "The Access Key with id %s has another owner.", p.AccessKeyID)
		}
		return s.subjectOf(ctx, KindUser, p.ID)
	}
	if !s.cfg.Now().Before(p.Session.Expires) {
		return nil, newError(ErrNoSuchEntity, "The session has expired.")
	}
	kind, id := KindUser, p.ID
	if p.Session.RoleARN != "" || p.Session.RoleID != "" {
		kind, id = KindRole, p.Session.RoleID
	}
	sub, err := s.subjectOf(ctx, kind, id)
	if err == nil && (accountOf(sub.arn) != p.AccountID || kind == KindRole && sub.arn != p.Session.RoleARN) {
		err = newError(ErrNoSuchEntity, "The session is of another %s.", kind)
	}
	return sub, err
}

// Exists returns an ErrNoSuchEntity error when the role or user that p acts as is
// not there any more, or when another has its name by now.
func (s *Service) Exists(ctx context.Context, p Principal) error {
	_, err := s.subjectFor(ctx, p)
	return err
}

// policiesFor gathers all policies that have a say in a request.
func (s *Service) policiesFor(ctx context.Context, sub *subject, r Request) (policy.Set, error) {
	set := policy.Set{Identity: sub.identity, Boundary: sub.boundary, ResourceAccount: r.ResourceAccount}
	if session := r.Principal.Session; session != nil && (session.Policies != nil || session.PolicyARNs != nil) {
		set.HasSession = true
		for i, text := range session.Policies {
			source := policy.Source{Name: fmt.Sprintf("session:%d", i+1)}
			if d, err := s.texts.Parse(text, policy.Identity); err == nil {
				source.Document = d // without it, everything is refused
			}
			set.Session = append(set.Session, source)
		}
		for _, arn := range session.PolicyARNs {
			source, err := s.managedSource(ctx, r.Principal.AccountID, arn)
			if err != nil {
				return set, err
			}
			set.Session = append(set.Session, source)
		}
	}
	if r.ResourcePolicy != "" {
		source, kind := policy.Source{Name: "resource"}, policy.Resource
		switch r.Action {
		case "sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity": // a role's own policy says who may take it
			source.Name, kind, set.Trust = "trust", policy.Trust, true
		}
		if d, err := s.texts.Parse(r.ResourcePolicy, kind); err == nil {
			source.Document = d
		}
		set.Resource = []policy.Source{source}
	}
	return set, nil
}

func principalOf(p Principal) policy.Principal {
	out := policy.Principal{ARN: p.ARN, AccountID: p.AccountID, Type: string(p.Type)}
	if p.Session != nil {
		out.RoleARN = p.Session.RoleARN
	}
	return out
}

// addPrincipalKeys adds the condition keys that follow from who calls. They
// take the place of what a request may claim.
func addPrincipalKeys(keys map[string][]string, p Principal, sub *subject) {
	for name := range keys {
		if strings.HasPrefix(name, "aws:principal") {
			delete(keys, name)
		}
	}
	for _, name := range []string{"aws:userid", "aws:username", "aws:tokenissuetime", "aws:federatedprovider", "aws:sourceidentity",
		"aws:multifactorauthpresent", "aws:multifactorauthage"} {
		delete(keys, name)
	}
	keys["aws:principalarn"] = []string{sub.arn}
	keys["aws:principalaccount"] = []string{p.AccountID}
	keys["aws:principaltype"] = []string{string(p.Type)}
	keys["aws:principalisawsservice"] = []string{"false"}
	keys["aws:userid"] = []string{p.ID}
	if p.Type == TypeUser {
		keys["aws:username"] = []string{p.Name}
	}
	for name, value := range sub.tags {
		keys["aws:principaltag/"+strings.ToLower(name)] = []string{value}
	}
	session := p.Session
	if session == nil {
		return
	}
	for name, values := range session.Claims {
		if name = strings.ToLower(name); !strings.HasPrefix(name, "aws:") {
			keys[name] = values
		}
	}
	for name, value := range session.Tags {
		keys["aws:principaltag/"+strings.ToLower(name)] = []string{value}
	}
	keys["aws:tokenissuetime"] = []string{session.Issued.UTC().Format(time.RFC3339)}
	if session.Provider != "" {
		keys["aws:federatedprovider"] = []string{session.Provider}
	}
	if session.SourceIdentity != "" {
		keys["aws:sourceidentity"] = []string{session.SourceIdentity}
	}
}

// PassRole checks that a caller may hand a role to a service, such as
// pods.eks.amazonaws.com. It is for operations that take a role's ARN.
func (s *Service) PassRole(ctx context.Context, r Request, roleARN, service string) error {
	if account := accountOf(roleARN); account != r.Principal.AccountID {
		return &DeniedError{Principal: r.Principal.ARN, Action: "iam:PassRole", Resource: roleARN, Why: "a role of another account cannot be passed"}
	}
	keys := maps.Clone(r.Context)
	if keys == nil {
		keys = make(map[string][]string)
	}
	// The keys of the first operation's own resource are not this one's.
	for name := range keys {
		if strings.HasPrefix(name, "aws:resourcetag/") || strings.HasPrefix(name, "aws:requesttag/") || name == "aws:tagkeys" ||
			!strings.HasPrefix(name, "aws:") {
			delete(keys, name)
		}
	}
	keys["iam:passedtoservice"] = []string{service}
	if _, name, ok := strings.Cut(roleARN, ":role/"); ok {
		role, err := s.Role(ctx, r.Principal.AccountID, PolicyName("/"+name))
		switch {
		case err == nil && role.ARN == roleARN:
			AddTagKeys(keys, "aws:resourcetag/", role.Tags)
			AddTagKeys(keys, "iam:resourcetag/", role.Tags)
		case err != nil && !errors.Is(err, ErrNoSuchEntity):
			return err
		}
	}
	return s.Authorize(ctx, Request{Principal: r.Principal, Action: "iam:PassRole", Resource: roleARN, Context: keys})
}

// AddTagKeys adds a condition key for each tag, such as aws:resourcetag/env.
func AddTagKeys(keys map[string][]string, prefix string, tags map[string]string) {
	for name, value := range tags {
		keys[prefix+strings.ToLower(name)] = []string{value}
	}
}

// isCallers reports whether an error is one of ours, about records, and not one
// of the database.
func isCallers(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
