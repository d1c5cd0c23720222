package iam

import (
	"context"
	"time"
)

// PrincipalType tells kinds of callers apart; the value is that of the
// condition key aws:PrincipalType.
type PrincipalType string

// The kinds of callers.
const (
	TypeUser        PrincipalType = "User"
	TypeAssumedRole PrincipalType = "AssumedRole"
)

// Principal is an authenticated caller.
type Principal struct {
	AccountID string
	Type      PrincipalType
	// ARN names the caller, such as arn:aws:iam::000000000000:user/admin or
	// arn:aws:sts::000000000000:assumed-role/NAME/SESSION.
	ARN string
	// ID is the unique id, such as AIDA…, or AROA…:SESSION.
	ID          string
	Name        string
	AccessKeyID string
	// Session is what a session token says beyond that; nil for a long-lived
	// key.
	Session *Session
}

// Session is what temporary credentials carry. It comes out of a sealed token,
// so it is as it was when the credentials were made; the role's policies are
// read anew at each request.
type Session struct {
	// RoleARN and RoleID (AROA…) are of the assumed role. Both are empty for a
	// user's own session (GetSessionToken), which has the user's permissions.
	RoleARN, RoleID string
	// Name is the RoleSessionName.
	Name            string
	Issued, Expires time.Time
	// Policies are session policies (JSON documents), PolicyARNs managed
	// policies used as such. Where either is present, the session may do only
	// what they allow as well.
	Policies   []string
	PolicyARNs []string
	// Tags are session tags; Transitive names those that a chained session
	// keeps.
	Tags           map[string]string
	Transitive     []string
	SourceIdentity string
	// Provider is the ARN of the OpenID Connect provider that vouched for the
	// caller; Claims are the condition keys that it gave, such as
	// "issuer:sub", lower-case.
	Provider string
	Claims   map[string][]string
	// Chained says that the caller of AssumeRole was itself an assumed role.
	Chained bool
}

// Request is what an Authorizer judges.
type Request struct {
	Principal Principal
	// Action such as aps:RemoteWrite, Resource an ARN or "*".
	Action, Resource string
	// Context holds condition keys in lower case, such as aws:sourceip. Keys
	// that follow from the principal are added by the Authorizer.
	Context map[string][]string
	// ResourcePolicy is the policy attached to the resource, "" for none.
	ResourcePolicy string
	// ResourceAccount owns the resource, where its ARN does not say so. Empty
	// means the account in the ARN.
	ResourceAccount string
}

type principalKey struct{}

// WithPrincipal returns a context that carries the authenticated caller.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalFrom returns the authenticated caller. Without one, code that acts
// for a caller has to refuse.
func PrincipalFrom(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok && p.ARN != ""
}
