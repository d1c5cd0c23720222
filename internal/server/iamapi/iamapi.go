// Package iamapi serves IAM's API in the Query protocol: what `aws iam` and
// Terraform's aws provider call to manage users, groups, roles, policies and
// OpenID Connect providers.
// https://docs.aws.amazon.com/IAM/latest/APIReference/
package iamapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/awsquery"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/server/api"
)

// What IAM is called on the wire.
const (
	ServiceName = "iam"
	Namespace   = "https://iam.amazonaws.com/doc/2010-05-08/"
	Version     = "2010-05-08"
)

// New returns IAM's operations on the records of identity.
func New(identity *iam.Service) (api.Service, error) {
	if identity == nil {
		return api.Service{}, errors.New("iamapi: identity is required")
	}
	s := &server{identity: identity}
	out := api.Service{Name: ServiceName, Protocol: api.Query, Namespace: Namespace, Version: Version, Hosts: []string{ServiceName}}
	for _, routes := range [][]api.Route{s.users(), s.groups(), s.roles(), s.policies(), s.providers(), s.account(), s.simulation()} {
		out.Routes = append(out.Routes, routes...)
	}
	return out, nil
}

type server struct{ identity *iam.Service }

// call is one call, decoded and allowed.
type call struct {
	iam     *iam.Service
	caller  iam.Principal
	account string
	// ref is the record that the call is about, where it is about one that
	// exists.
	ref iam.Ref
}

// target is what a call is about, for its permission.
type target struct {
	// ref is a record that should exist; arn, if there is none, the resource.
	ref iam.Ref
	arn string
}

// input is the form of a call.
type input interface {
	target(caller iam.Principal) target
}

// completer is an input that is checked, and filled in where the caller left
// something out, before anything else is asked of it.
type completer interface {
	complete(caller iam.Principal) error
}

// Inputs may say more, which then gets into condition keys.
type (
	tagging interface {
		tags() (map[string]string, error)
	}
	untagger interface{ tagNames() []string }
	attaches interface{ policyARN() string }
	bounds   interface{ boundary() string }
)

// route makes the route of an operation from its input and what it does. What
// do returns is the result, nil for none.
func route[T any, P interface {
	*T
	input
}](s *server, name string, do func(ctx context.Context, c *call, in P) (any, error)) api.Route {
	decode := func(c *api.Call) (P, target, error) {
		in := P(new(T))
		if err := awsquery.Decode(c.Form, in); err != nil {
			return nil, target{}, toError(err)
		}
		if full, ok := any(in).(completer); ok {
			if err := full.complete(c.Principal); err != nil {
				return nil, target{}, err
			}
		}
		return in, in.target(c.Principal), nil
	}
	return api.Route{
		Name: name, Action: "iam:" + name,
		Resource: func(c *api.Call) (string, error) {
			_, t, err := decode(c)
			if err != nil {
				return "", err
			}
			return s.resource(c.Request.Context(), t)
		},
		Conditions: func(c *api.Call) (map[string][]string, error) {
			in, t, err := decode(c)
			if err != nil {
				return nil, err
			}
			return s.conditions(c.Request.Context(), name, in, t)
		},
		Handle: func(w http.ResponseWriter, c *api.Call) error {
			in, t, err := decode(c)
			if err != nil {
				return err
			}
			ctx := c.Request.Context()
			out, err := do(ctx, &call{iam: s.identity, caller: c.Principal, account: c.Principal.AccountID, ref: t.ref}, in)
			if err != nil {
				return toError(err)
			}
			return awsquery.Write(w, http.StatusOK, Namespace, name, httpserver.RequestID(ctx), out)
		},
	}
}

// resource returns the ARN of what a call is about. A record that does not exist
// has the one it would have without a path.
func (s *server) resource(ctx context.Context, t target) (string, error) {
	switch t.ref.Kind {
	case "":
		return t.arn, nil
	case iam.KindPolicy, iam.KindProvider:
		return t.ref.Name, nil
	}
	e, err := s.identity.Entity(ctx, t.ref)
	if errors.Is(err, iam.ErrNoSuchEntity) {
		return iam.ARN(t.ref.Account, t.ref.Kind, "/", t.ref.Name), nil
	}
	return e.ARN, err
}

// conditions returns IAM's own condition keys for a call.
func (s *server) conditions(ctx context.Context, name string, in input, t target) (map[string][]string, error) {
	keys := make(map[string][]string)
	if in, ok := in.(tagging); ok {
		tags, err := in.tags()
		if err != nil {
			return nil, toError(err)
		}
		iam.AddTagKeys(keys, "aws:requesttag/", tags)
		for name := range tags {
			keys["aws:tagkeys"] = append(keys["aws:tagkeys"], name)
		}
	}
	if in, ok := in.(untagger); ok {
		keys["aws:tagkeys"] = in.tagNames()
	}
	if in, ok := in.(attaches); ok {
		keys["iam:policyarn"] = []string{in.policyARN()}
	}
	if in, ok := in.(bounds); ok && in.boundary() != "" {
		keys["iam:permissionsboundary"] = []string{in.boundary()}
	}
	if t.ref.Kind == "" {
		return keys, nil
	}
	e, err := s.identity.Entity(ctx, t.ref)
	if errors.Is(err, iam.ErrNoSuchEntity) {
		return keys, nil
	}
	if err != nil {
		return nil, err
	}
	iam.AddTagKeys(keys, "aws:resourcetag/", e.Tags)
	iam.AddTagKeys(keys, "iam:resourcetag/", e.Tags)
	if _, ok := in.(bounds); !ok && e.Boundary != "" && changesPermissions(name) {
		keys["iam:permissionsboundary"] = []string{e.Boundary}
	}
	return keys, nil
}

// changesPermissions reports whether an operation changes what a user or role
// may do. AWS gives the present boundary to policies for those.
func changesPermissions(name string) bool {
	for _, verb := range []string{"Attach", "Detach", "Put", "Delete"} {
		for _, what := range []string{"UserPolicy", "RolePolicy", "UserPermissionsBoundary", "RolePermissionsBoundary"} {
			if name == verb+what {
				return true
			}
		}
	}
	return false
}

// toError gives an error of the records AWS' code. Others stay as they are.
func toError(err error) error {
	var bad *awsquery.Error
	var own *iam.Error
	switch {
	case errors.As(err, &bad):
		return &api.Error{Status: http.StatusBadRequest, Code: bad.Code, Message: bad.Error()}
	case !errors.As(err, &own):
		return err
	}
	status, code := http.StatusBadRequest, "ValidationError"
	switch {
	case errors.Is(own, iam.ErrNoSuchEntity):
		status, code = http.StatusNotFound, "NoSuchEntity"
	case errors.Is(own, iam.ErrExists):
		status, code = http.StatusConflict, "EntityAlreadyExists"
	case errors.Is(own, iam.ErrLimitExceeded):
		status, code = http.StatusConflict, "LimitExceeded"
	case errors.Is(own, iam.ErrDeleteConflict):
		status, code = http.StatusConflict, "DeleteConflict"
	case errors.Is(own, iam.ErrMalformedPolicy):
		code = "MalformedPolicyDocument"
	}
	return &api.Error{Status: status, Code: code, Message: own.Message}
}

func invalid(format string, args ...any) error {
	return &api.Error{Status: http.StatusBadRequest, Code: "ValidationError", Message: fmt.Sprintf(format, args...)}
}

// encodeDocument writes a document as IAM's answers have it: percent-encoded
// (RFC 3986).
func encodeDocument(text string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(text) * 3 / 2)
	for i := range len(text) {
		c := text[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}
