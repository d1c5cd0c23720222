package iam

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Authorizer decides whether a caller may do something. A nil error is the only
// yes.
type Authorizer interface {
	Authorize(ctx context.Context, r Request) error
}

// DeniedError says that a caller may not do what it asked for, in AWS' words.
type DeniedError struct{ Principal, Action, Resource, Why string }

// Error implements error.
func (e *DeniedError) Error() string {
	return fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s because %s",
		e.Principal, e.Action, e.Resource, e.Why)
}

// The managed policies known so far.
const (
	PolicyAdministratorAccess = "arn:aws:iam::aws:policy/AdministratorAccess"
	PolicyPrometheusFull      = "arn:aws:iam::aws:policy/AmazonPrometheusFullAccess"
	PolicyPrometheusWrite     = "arn:aws:iam::aws:policy/AmazonPrometheusRemoteWriteAccess"
	PolicyPrometheusQuery     = "arn:aws:iam::aws:policy/AmazonPrometheusQueryAccess"
)

// policy is what a managed policy allows. All of them are for every resource
// of the caller's own account.
type policy struct{ actions []string }

var managedPolicies = map[string]policy{
	PolicyAdministratorAccess: {actions: []string{"*"}},
	PolicyPrometheusFull:      {actions: []string{"aps:*"}},
	PolicyPrometheusWrite:     {actions: []string{"aps:RemoteWrite"}},
	PolicyPrometheusQuery:     {actions: []string{"aps:GetLabels", "aps:GetMetricMetadata", "aps:GetSeries", "aps:QueryMetrics"}},
}

// Authorize implements Authorizer. It refuses unless an attached policy allows
// the action, and refuses whatever it cannot judge: no caller, no action, a
// policy it does not know, a resource of another account.
func (s *Service) Authorize(ctx context.Context, r Request) error {
	p, action, resource := r.Principal, r.Action, r.Resource
	denied := func(why string) error {
		return &DeniedError{Principal: p.ARN, Action: action, Resource: resource, Why: why}
	}
	if p.ARN == "" || p.AccessKeyID == "" {
		return denied("the caller is not authenticated")
	}
	if action == "" || resource == "" {
		return denied("the request names no action or resource")
	}
	if acc := accountOf(resource); resource != "*" && acc != p.AccountID {
		return denied("no resource-based policy allows the " + action + " action")
	}
	c, err := s.load(ctx, p.AccessKeyID)
	if err != nil {
		return fmt.Errorf("read permissions of %s: %w", p.ARN, err)
	}
	allowed := false
	for _, arn := range c.policies {
		pol, ok := managedPolicies[arn]
		if !ok {
			return denied("the attached policy " + arn + " is not known here")
		}
		allowed = allowed || slices.ContainsFunc(pol.actions, func(pattern string) bool { return actionMatches(pattern, action) })
	}
	if !allowed {
		return denied("no identity-based policy allows the " + action + " action")
	}
	return nil
}

// actionMatches compares an action with a pattern that may end in a star.
// Actions are case-insensitive.
func actionMatches(pattern, action string) bool {
	pattern, action = strings.ToLower(pattern), strings.ToLower(action)
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(action, prefix)
	}
	return pattern == action
}

// accountOf returns the account field of an ARN, "" if there is none.
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}
