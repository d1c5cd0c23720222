package sts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mangru/mangru/internal/auth/iam"
)

// The actions that a trust policy grants.
const (
	actionAssume            = "sts:AssumeRole"
	actionAssumeWebIdentity = "sts:AssumeRoleWithWebIdentity"
	actionTagSession        = "sts:TagSession"
	actionSourceIdentity    = "sts:SetSourceIdentity"
)

// AssumeRoleInput is what AssumeRole takes.
type AssumeRoleInput struct {
	Common
	RoleARN           string
	RoleSessionName   string
	ExternalID        *string
	Tags              []Tag
	TransitiveTagKeys []string
	SourceIdentity    *string
	// SerialNumber and TokenCode are of an MFA device. There are none here.
	SerialNumber, TokenCode *string
}

func (in *AssumeRoleInput) check() error {
	var v violations
	v.required("roleArn", in.RoleARN, 20, 2048, patternARN)
	v.required("roleSessionName", in.RoleSessionName, 2, 64, patternName)
	in.Common.check(&v)
	v.optional("externalId", in.ExternalID, 2, 1224, patternExternal)
	v.optional("sourceIdentity", in.SourceIdentity, 2, 64, patternName)
	checkTags(&v, in.Tags, in.TransitiveTagKeys)
	if err := v.err(); err != nil {
		return err
	}
	if in.SourceIdentity != nil && strings.HasPrefix(strings.ToLower(*in.SourceIdentity), "aws:") {
		return fail(CodeValidation, "SourceIdentity must not begin with 'aws:'.")
	}
	return checkTagNames(in.Tags, in.TransitiveTagKeys)
}

// AssumeRole gives a caller the credentials of a role. The role's trust policy
// has to allow it; unless it names the caller itself and is of the caller's
// account, the caller's own policies have to allow it as well. Refusals are
// *Error.
func (s *Service) AssumeRole(ctx context.Context, c Caller, in AssumeRoleInput) (*Session, error) {
	out, err := s.assumeRole(ctx, c, &in)
	s.count("AssumeRole", err)
	return out, err
}

func (s *Service) assumeRole(ctx context.Context, c Caller, in *AssumeRoleInput) (*Session, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	account, name, err := splitRole(in.RoleARN)
	if err != nil {
		return nil, err
	}
	policies, err := s.sessionPolicies(ctx, account, &in.Common)
	if err != nil {
		return nil, err
	}
	refuse := func(action, reason string) error {
		return denied(reason, "User: %s is not authorized to perform: %s on resource: %s", c.Principal.ARN, action, in.RoleARN)
	}
	if in.SerialNumber != nil || in.TokenCode != nil {
		return nil, denied("there are no MFA devices", "MultiFactorAuthentication failed with invalid MFA one time pass code.")
	}
	if strings.HasSuffix(c.Principal.ARN, ":root") {
		return nil, denied("root user", "Roles may not be assumed by root accounts.")
	}
	role, err := s.role(ctx, account, name, in.RoleARN)
	if err != nil {
		return nil, err
	}
	session, err := chain(c.Principal.Session, in)
	if err != nil {
		return nil, err
	}
	session.Policies, session.PolicyARNs = policies, in.PolicyARNs
	keys := assumeContext(c.Context, in, session, role)
	for _, action := range actionsOf(actionAssume, len(in.Tags) > 0 || len(session.Transitive) > 0, session.SourceIdentity != "") {
		switch reason, err := s.permits(ctx, role, iam.Request{Principal: c.Principal, Action: action, Resource: in.RoleARN, Context: keys}); {
		case err != nil:
			return nil, err
		case reason != "":
			return nil, refuse(action, reason)
		}
	}
	life, err := lifetime(role, in.DurationSeconds, session.Chained)
	if err != nil {
		return nil, err
	}
	return s.issue(assumed(role, *session), life, in.minToken())
}

// actionsOf lists all that a trust policy has to allow.
func actionsOf(assume string, tags, source bool) []string {
	actions := []string{assume}
	if tags {
		actions = append(actions, actionTagSession)
	}
	if source {
		actions = append(actions, actionSourceIdentity)
	}
	return actions
}

// role finds the role of an ARN. A role that is not there is nil: what is known
// to be refused takes the same way as what may be.
func (s *Service) role(ctx context.Context, account, name, arn string) (*iam.Role, error) {
	r, err := s.cfg.Store.Role(ctx, account, name)
	if errors.Is(err, iam.ErrNoSuchEntity) || err == nil && r.ARN != arn { // the path is part of the name
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read role: %w", err)
	}
	return &r, nil
}

// chain makes the new session out of the request and what the caller's own
// session hands on: transitive tags and the source identity, neither of which
// can be replaced.
func chain(own *iam.Session, in *AssumeRoleInput) (*iam.Session, error) {
	out := &iam.Session{Name: in.RoleSessionName}
	if in.SourceIdentity != nil {
		out.SourceIdentity = *in.SourceIdentity
	}
	if len(in.Tags) > 0 {
		out.Tags = make(map[string]string, len(in.Tags))
	}
	for _, t := range in.Tags {
		out.Tags[t.Key] = t.Value
	}
	out.Transitive = slices.Clone(in.TransitiveTagKeys)
	if own == nil || own.RoleARN == "" {
		return out, nil
	}
	out.Chained = true
	if own.SourceIdentity != "" {
		if out.SourceIdentity != "" && out.SourceIdentity != own.SourceIdentity {
			return nil, denied("source identity would change", "You cannot change the source identity of a session in a role chain.")
		}
		out.SourceIdentity = own.SourceIdentity
	}
	for _, k := range own.Transitive {
		for given := range out.Tags {
			if strings.EqualFold(given, k) {
				return nil, fail(CodeInvalidParameter,
					"One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
			}
		}
		value, ok := tagValue(own.Tags, k)
		if !ok {
			continue
		}
		if out.Tags == nil {
			out.Tags = make(map[string]string)
		}
		out.Tags[k] = value
		out.Transitive = append(out.Transitive, k)
	}
	if len(out.Tags) > maxTags {
		return nil, fail(CodePackedPolicy, "Session has %d tags with those of the calling session, allowed are %d.", len(out.Tags), maxTags)
	}
	return out, nil
}

func tagValue(tags map[string]string, key string) (string, bool) {
	for k, v := range tags {
		if strings.EqualFold(k, key) {
			return v, true
		}
	}
	return "", false
}

// assumeContext adds the condition keys of AssumeRole to the request's.
func assumeContext(base map[string][]string, in *AssumeRoleInput, session *iam.Session, role *iam.Role) map[string][]string {
	keys := sessionContext(base, session, role)
	if in.ExternalID != nil {
		keys["sts:externalid"] = []string{*in.ExternalID}
	}
	// The tags of the request are those that are passed, not those inherited.
	addRequestTags(keys, in.Tags)
	return keys
}

// sessionContext has the condition keys that every way to assume a role has.
func sessionContext(base map[string][]string, session *iam.Session, role *iam.Role) map[string][]string {
	keys := make(map[string][]string, len(base)+8)
	maps.Copy(keys, base)
	keys["sts:rolesessionname"] = []string{session.Name}
	if role != nil {
		keys["aws:resourceaccount"] = []string{role.AccountID}
		iam.AddTagKeys(keys, "aws:resourcetag/", role.Tags)
		iam.AddTagKeys(keys, "iam:resourcetag/", role.Tags)
	}
	if session.SourceIdentity != "" {
		keys["sts:sourceidentity"] = []string{session.SourceIdentity}
	}
	if len(session.Transitive) > 0 {
		keys["sts:transitivetagkeys"] = session.Transitive
	}
	return keys
}

func addRequestTags(keys map[string][]string, tags []Tag) {
	for _, t := range tags {
		keys["aws:requesttag/"+strings.ToLower(t.Key)] = []string{t.Value}
		keys["aws:tagkeys"] = append(keys["aws:tagkeys"], t.Key)
	}
}
