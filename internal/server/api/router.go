// Package api is the edge of the server: the tree of AWS-shaped URLs, the order
// of checks before a handler runs, and the bodies of errors. Every request is
// routed, its signature verified, its caller authorised for the route's action
// on the route's resource, and only then handled; a route without a rule for
// that keeps the server from starting.
//
// The verifier lends the request's body to the handler; it is gone when the
// handler returns.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/httpserver"
)

// Call is a request that has been verified and authorised.
type Call struct {
	Request   *http.Request
	Principal iam.Principal
	Service   string
	Region    string
	// Params are the decoded variable parts of the path.
	Params map[string]string
	// Form holds the parameters of a call in the Query protocol.
	Form url.Values
}

// Protocol is how an operation is found in a request, and its errors written.
type Protocol int

// The protocols of AWS' services.
const (
	// RESTJSON: method and path select the operation.
	RESTJSON Protocol = iota
	// JSON11: POST /, the header X-Amz-Target selects it.
	JSON11
	// Query: POST / with a form, or GET with a query; Action selects it, and
	// the answer is XML.
	Query
)

// Route is one operation: where it is, what it takes to be allowed to, and what
// it does.
type Route struct {
	// Name of the operation, such as CreateWorkspace.
	Name   string
	Method string
	// Path is a pattern: {name} stands for one segment and, last, {name...}
	// for all that remain.
	Path string
	// Action and Resource are what the caller has to be authorised for. Both
	// are required.
	Action   string
	Resource func(*Call) (string, error)
	// Anonymous routes take no signature: the operation finds out by itself who
	// calls (AssumeRoleWithWebIdentity). Call.Principal is then empty.
	Anonymous bool
	// NoPermission routes take any authenticated caller (GetCallerIdentity).
	NoPermission bool
	// Conditions gives the service's own condition keys, lower-case, such as
	// aws:resourcetag/env. May be nil.
	Conditions func(*Call) (map[string][]string, error)
	// ResourcePolicy gives the policy that is attached to the resource, "" for
	// none. May be nil.
	ResourcePolicy func(*Call) (string, error)
	// Data says that errors have the data plane's form.
	Data bool
	// MaxBody bounds the body in bytes, MaxBodyKnob names its setting. Zero
	// means 1 MiB.
	MaxBody     int64
	MaxBodyKnob string
	// Handle answers the call, or returns an error before it has written.
	Handle func(http.ResponseWriter, *Call) error

	segments []string
}

// Service is a set of routes under one signing name.
type Service struct {
	// Name is the signing name, such as "aps".
	Name string
	// Protocol of all its routes. In JSON11 and Query, Route.Name is the
	// operation and Method and Path are not used.
	Protocol Protocol
	// Namespace is the XML namespace of answers in the Query protocol, Version
	// its API version.
	Namespace, Version string
	// Hosts are the first labels of its virtual hosts, such as
	// "aps-workspaces" of aps-workspaces.<region>.<domain>.
	Hosts  []string
	Routes []Route
}

// Verifier checks signatures.
type Verifier interface {
	Verify(r *http.Request, p *sigv4.Parsed, want sigv4.Expect) (*sigv4.Verified, error)
	Refused(sigv4.Reason)
}

// Config of a Router.
type Config struct {
	// Domain is the suffix of virtual hosts. Empty means path style only.
	Domain     string
	Services   []Service
	Verifier   Verifier
	Authorizer iam.Authorizer
}

// Router is the http.Handler of all AWS-shaped APIs.
type Router struct {
	cfg    Config
	logger *slog.Logger
}

const defaultMaxBody = 1 << 20

// NewRouter checks the table and returns the Router.
func NewRouter(cfg Config, logger *slog.Logger) (*Router, error) {
	if cfg.Verifier == nil || cfg.Authorizer == nil {
		return nil, errors.New("api: verifier and authorizer are required")
	}
	seen := make(map[string]string)
	for i := range cfg.Services {
		s := &cfg.Services[i]
		if s.Name == "" {
			return nil, errors.New("api: a service has no name")
		}
		s.Routes = slices.Clone(s.Routes)
		for j := range s.Routes {
			r := &s.Routes[j]
			where := s.Name + " " + r.Method + " " + r.Path
			switch {
			case r.Name == "" || r.Method == "" || !strings.HasPrefix(r.Path, "/"):
				return nil, fmt.Errorf("api: route %q is not complete", where)
			case !strings.Contains(r.Action, ":") || r.Resource == nil:
				return nil, fmt.Errorf("api: route %q has no authorisation rule", where)
			case r.Handle == nil:
				return nil, fmt.Errorf("api: route %q has no handler", where)
			case seen[where] != "":
				return nil, fmt.Errorf("api: route %q is there twice", where)
			}
			seen[where] = r.Name
			r.segments = strings.Split(r.Path[1:], "/")
			if r.MaxBody == 0 {
				r.MaxBody = defaultMaxBody
			}
		}
	}
	return &Router{cfg: cfg, logger: logger}, nil
}

// target is where a request goes. The route is nil when the service has none
// like it.
type target struct {
	service *Service
	route   *Route
	params  map[string]string
	data    bool // errors in the data plane's form
}

// ServeHTTP implements http.Handler.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parsed, err := sigv4.Parse(r)
	t := rt.find(r, parsed)
	if err != nil {
		var e *sigv4.Error
		if errors.As(err, &e) {
			rt.cfg.Verifier.Refused(e.Reason)
		}
		rt.refuse(w, r, t, err)
		return
	}
	if err := rt.serve(w, r, parsed, t); err != nil {
		rt.refuse(w, r, t, err)
	}
}

func (rt *Router) serve(w http.ResponseWriter, r *http.Request, parsed *sigv4.Parsed, t target) error {
	want := sigv4.Expect{Service: t.service.Name, MaxBody: defaultMaxBody}
	if t.route != nil {
		want.MaxBody, want.MaxBodyKnob = t.route.MaxBody, t.route.MaxBodyKnob
	}
	v, err := rt.cfg.Verifier.Verify(r, parsed, want)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	p, ok := v.Identity.(iam.Principal)
	if !ok || p.ARN == "" {
		return errors.New("verified request without an identity")
	}
	httpserver.SetPrincipal(r.Context(), p.ARN)
	if len(v.Tolerances) > 0 {
		httpserver.Annotate(r.Context(), slog.Any("tolerated", v.Tolerances))
	}
	if t.route == nil {
		return &Error{Status: http.StatusNotFound, Code: "UnknownOperationException",
			Message: "No operation of service '" + t.service.Name + "' is at this method and path."}
	}
	if r.Header.Get("X-Scope-Orgid") != "" {
		return &Error{Status: http.StatusForbidden, Code: "AccessDeniedException",
			Message: "The header 'X-Scope-OrgID' is not accepted: the workspace in the path says whose data is meant."}
	}
	inner := r.WithContext(iam.WithPrincipal(r.Context(), p))
	c := &Call{Request: inner, Principal: p, Service: v.Service, Region: v.Region, Params: t.params}
	resource, err := t.route.Resource(c)
	if err != nil {
		return err
	}
	if err := rt.cfg.Authorizer.Authorize(inner.Context(), iam.Request{Principal: p, Action: t.route.Action, Resource: resource}); err != nil {
		return err
	}
	return t.route.Handle(w, c)
}

// find tells which service and route a request is for: by the signing scope,
// then by the host, then by the path. It decides nothing about permission.
func (rt *Router) find(r *http.Request, parsed *sigv4.Parsed) target {
	// The path that the strict signature covers is the one that is served.
	path := sigv4.NormalizePath(sigv4.RawPath(r))
	services := rt.byHost(r.Host)
	t := target{service: services[0], data: isDataPath(path)}
	if parsed != nil {
		for _, s := range services {
			if s.Name == parsed.Service {
				services = []*Service{s}
				t.service = s
				break
			}
		}
	}
	for _, s := range services {
		if route, params := s.match(r.Method, path); route != nil {
			return target{service: s, route: route, params: params, data: route.Data}
		}
	}
	return t
}

// byHost returns the services that a host name stands for: those of a virtual
// host, or all.
func (rt *Router) byHost(host string) []*Service {
	var all, named []*Service
	first, _, isVirtual := rt.virtualHost(host)
	for i := range rt.cfg.Services {
		s := &rt.cfg.Services[i]
		all = append(all, s)
		if isVirtual && slices.Contains(s.Hosts, first) {
			named = append(named, s)
		}
	}
	if len(named) > 0 {
		return named
	}
	return all
}

// virtualHost splits <first>.<region>.<domain>.
func (rt *Router) virtualHost(host string) (first, region string, ok bool) {
	return splitVirtualHost(host, rt.cfg.Domain)
}

func splitVirtualHost(host, domain string) (first, region string, ok bool) {
	if domain == "" {
		return "", "", false
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	rest, ok := strings.CutSuffix(strings.ToLower(host), "."+strings.ToLower(domain))
	if !ok {
		return "", "", false
	}
	first, region, ok = strings.Cut(rest, ".")
	return first, region, ok
}

func (s *Service) match(method, path string) (*Route, map[string]string) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i := range s.Routes {
		if r := &s.Routes[i]; r.Method == method {
			if params, ok := r.match(parts); ok {
				return r, params
			}
		}
	}
	return nil, nil
}

// match compares the encoded segments of a path with the route's and decodes
// the variable ones.
func (r *Route) match(parts []string) (map[string]string, bool) {
	var params map[string]string
	for i, seg := range r.segments {
		if i >= len(parts) {
			return nil, false
		}
		name, variable := strings.CutPrefix(seg, "{")
		if !variable {
			if seg != parts[i] {
				return nil, false
			}
			continue
		}
		name = strings.TrimSuffix(name, "}")
		value, rest := parts[i], false
		if name, rest = strings.CutSuffix(name, "..."); rest {
			value = strings.Join(parts[i:], "/")
		}
		value, err := url.PathUnescape(value)
		if err != nil || value == "" {
			return nil, false
		}
		if params == nil {
			params = make(map[string]string, 2)
		}
		params[name] = value
		if rest {
			return params, true
		}
	}
	return params, len(parts) == len(r.segments)
}

// isDataPath reports whether a path is below a workspace's data plane, whether
// or not there is a route for it.
func isDataPath(path string) bool {
	parts := strings.SplitN(path, "/", 5)
	return len(parts) == 5 && parts[1] == "workspaces" && (parts[3] == "api" || parts[3] == "alertmanager")
}

// KeyStore is where access keys are.
type KeyStore interface {
	LookupKey(ctx context.Context, id string) (iam.AccessKey, error)
}

// Keys lets the signature verifier ask a KeyStore.
func Keys(s KeyStore) sigv4.Keys { return keys{s} }

type keys struct{ store KeyStore }

// LookupKey implements sigv4.Keys. Long-lived keys come without session token;
// one that is sent along belongs to no key here.
func (k keys) LookupKey(ctx context.Context, id, sessionToken string) (sigv4.Key, error) {
	key, err := k.store.LookupKey(ctx, id)
	if errors.Is(err, iam.ErrNoSuchEntity) || err == nil && sessionToken != "" {
		return sigv4.Key{}, sigv4.ErrUnknownKey
	}
	if err != nil {
		return sigv4.Key{}, err
	}
	return sigv4.Key{Secret: key.Secret, Identity: key.Principal}, nil
}
