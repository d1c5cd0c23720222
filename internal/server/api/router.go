// Package api is the edge of the server: the tree of AWS-shaped URLs, the order
// of checks before a handler runs, and the bodies of errors. Every request is
// routed, its signature verified, its caller authorised for the route's action
// on the route's resource, and only then handled; a route without a rule for
// that keeps the server from starting.
//
// Three protocols share one address. The operation is in the path (REST-JSON),
// in the header X-Amz-Target, which has to be signed (JSON 1.1), or in the
// parameter Action of a form or a query (Query). What the signature covered is
// what is looked at: nothing is read from two places.
//
// The verifier lends the request's body to the handler; it is gone when the
// handler returns.
package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/server/workspace"
)

// Call is a request that has been verified and authorised.
type Call struct {
	Request *http.Request
	// Principal is the caller; empty in an Anonymous route that was called
	// without a signature.
	Principal iam.Principal
	Service   string
	Region    string
	// Params are the decoded variable parts of the path.
	Params map[string]string
	// Form holds the parameters of a call in the Query protocol, each with
	// exactly one value. Those of a presigned URL are left out.
	Form url.Values
	// Context holds the condition keys of the request, lower-case, for
	// operations that judge something themselves. Those that follow from the
	// caller are not among them.
	Context map[string][]string

	workspace *workspace.Workspace // as the conditions found it
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
	// are required, except where Anonymous or NoPermission say otherwise.
	Action   string
	Resource func(*Call) (string, error)
	// OwnResource says that Resource has seen to it that what it returns is of
	// the caller's account, for ARNs that name none.
	OwnResource bool
	// Anonymous routes need no signature: the operation finds out by itself who
	// calls (AssumeRoleWithWebIdentity). A signature that comes along is
	// verified all the same.
	Anonymous bool
	// NoPermission routes take any authenticated caller (GetCallerIdentity).
	NoPermission bool
	// Conditions gives the service's own condition keys, lower-case, such as
	// aws:resourcetag/env. May be nil.
	Conditions func(*Call) (map[string][]string, error)
	// ResourcePolicy gives the policy that is attached to the resource, "" for
	// none. May be nil.
	ResourcePolicy func(*Call) (string, error)
	// Data says that errors have the data plane's form, and that the audit log
	// may leave the call out.
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
	// TargetPrefix is what X-Amz-Target has before the operation in the JSON 1.1
	// protocol, such as "AWSIdentityStore".
	TargetPrefix string
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
	// Proxies are believed about where a request comes from.
	Proxies httpserver.Proxies
	// MaxRefusals is how many refusals a second an address gets at once whose
	// caller is not known; what is beyond waits. 0 means DefaultRefusals, a
	// negative number no bound.
	MaxRefusals int
	// Audit takes a record of every decision. Nil means none is kept.
	Audit Audit
	// Registerer takes the counters. Nil means none are kept.
	Registerer prometheus.Registerer
}

// Router is the http.Handler of all AWS-shaped APIs.
type Router struct {
	cfg     Config
	logger  *slog.Logger
	refused *prometheus.CounterVec
	hold    *holdBack
}

const defaultMaxBody = 1 << 20

// NewRouter checks the table and returns the Router.
func NewRouter(cfg Config, logger *slog.Logger) (*Router, error) {
	if cfg.Verifier == nil || cfg.Authorizer == nil {
		return nil, errors.New("api: verifier and authorizer are required")
	}
	cfg.Services = slices.Clone(cfg.Services)
	seen := make(map[string]bool)
	for i := range cfg.Services {
		s := &cfg.Services[i]
		if err := s.check(); err != nil {
			return nil, err
		}
		s.Routes = slices.Clone(s.Routes)
		for j := range s.Routes {
			r := &s.Routes[j]
			where := s.where(r)
			if err := r.check(s, where); err != nil {
				return nil, err
			}
			if seen[where] {
				return nil, fmt.Errorf("api: route %q is there twice", where)
			}
			seen[where] = true
			r.segments = strings.Split(strings.TrimPrefix(r.Path, "/"), "/")
			if r.MaxBody == 0 {
				r.MaxBody = defaultMaxBody
			}
		}
	}
	rt := &Router{cfg: cfg, logger: logger, refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mangru_api_refused_total", Help: "Requests refused at the edge for another reason than their signature.",
	}, []string{"service", "reason"})}
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(rt.refused); err != nil {
			return nil, fmt.Errorf("register edge metrics: %w", err)
		}
	}
	var err error
	if rt.hold, err = newHoldBack(cfg.MaxRefusals, cfg.Registerer); err != nil {
		return nil, fmt.Errorf("register edge metrics: %w", err)
	}
	return rt, nil
}

func (s *Service) check() error {
	switch {
	case s.Name == "":
		return errors.New("api: a service has no name")
	case s.Protocol == JSON11 && s.TargetPrefix == "":
		return fmt.Errorf("api: service %q has no target prefix", s.Name)
	case s.Protocol == Query && (s.Version == "" || s.Namespace == ""):
		return fmt.Errorf("api: service %q has no version or namespace", s.Name)
	}
	return nil
}

// where tells a route from all others.
func (s *Service) where(r *Route) string {
	switch s.Protocol {
	case JSON11:
		return s.Name + " " + s.TargetPrefix + "." + r.Name
	case Query:
		return s.Name + " " + s.Version + " " + r.Name
	}
	return s.Name + " " + r.Method + " " + r.Path
}

// check refuses a route that is not complete or that nothing guards.
func (r *Route) check(s *Service, where string) error {
	atPath := r.Method != "" && strings.HasPrefix(r.Path, "/")
	switch {
	case r.Name == "" || s.Protocol == RESTJSON && !atPath || s.Protocol != RESTJSON && r.Method+r.Path != "":
		return fmt.Errorf("api: route %q is not complete", where)
	case r.Anonymous && !mayBeAnonymous(s.Name, r.Name):
		return fmt.Errorf("api: route %q is not among those that take unsigned requests", where)
	case r.NoPermission && !mayNeedNoPermission(s.Name, r.Name):
		return fmt.Errorf("api: route %q is not among those that take any caller", where)
	case !r.Anonymous && !r.NoPermission && (!strings.Contains(r.Action, ":") || r.Resource == nil):
		return fmt.Errorf("api: route %q has no authorisation rule", where)
	case r.Handle == nil:
		return fmt.Errorf("api: route %q has no handler", where)
	}
	return nil
}

// mayBeAnonymous lists the operations that take an unsigned request. They judge
// a token in it themselves. A new one belongs here only after a review.
func mayBeAnonymous(service, name string) bool {
	switch service + ":" + name {
	case "sts:AssumeRoleWithWebIdentity", "eks-auth:AssumeRoleForPodIdentity":
		return true
	}
	return false
}

// mayNeedNoPermission lists the operations that any authenticated caller may
// use: what they tell or give is the caller's own, or, with AssumeRole, the
// role's trust policy decides. A new one belongs here only after a review.
func mayNeedNoPermission(service, name string) bool {
	switch service + ":" + name {
	case "sts:GetCallerIdentity", "sts:GetSessionToken", "sts:AssumeRole":
		return true
	}
	return false
}

// RouteInfo describes a route to those that list them.
type RouteInfo struct {
	Service string
	// Protocol, TargetPrefix and Version are the service's.
	Protocol              Protocol
	TargetPrefix, Version string
	Name, Method, Path    string
	Action                string
	Anonymous             bool
	NoPermission          bool
	Data                  bool
}

// Routes lists every operation that is served.
func (rt *Router) Routes() []RouteInfo {
	var out []RouteInfo
	for _, s := range rt.cfg.Services {
		for _, r := range s.Routes {
			out = append(out, RouteInfo{Service: s.Name, Protocol: s.Protocol, TargetPrefix: s.TargetPrefix, Version: s.Version,
				Name: r.Name, Method: r.Method, Path: r.Path, Action: r.Action,
				Anonymous: r.Anonymous, NoPermission: r.NoPermission, Data: r.Data})
		}
	}
	return out
}

// ListRoutes writes routes down, a line each, sorted: service, operation, where
// it is, and what it takes.
func ListRoutes(routes []RouteInfo) string {
	lines := make([]string, 0, len(routes))
	for _, r := range routes {
		takes := r.Action
		switch {
		case r.Anonymous:
			takes = "(anonymous)"
		case r.NoPermission:
			takes = "(any caller)"
		}
		lines = append(lines, strings.Join(strings.Fields(r.Service+" "+r.Name+" "+r.Method+" "+r.Path+" "+takes), " ")+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
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

// match finds the route of a REST-JSON service.
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
