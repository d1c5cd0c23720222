package api

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/policy"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/httpserver"
)

// exchange is one request on its way through the checks, with what is known
// about it so far.
type exchange struct {
	// service is whose protocol errors are written in; the route is nil until
	// one is found.
	service  *Service
	route    *Route
	protocol Protocol
	// operation as the caller named it, for messages and the audit log.
	operation string
	params    map[string]string
	data      bool // errors in the data plane's form

	keyID     string // as claimed, until principal is set
	principal iam.Principal
	resource  string
	policy    string // that decided, for the audit log

	// allowed is set when the gate is open and the handler's turn comes.
	allowed bool
	// status and code of a refusal; refusedFor is the reason it is counted
	// under, if it is the edge that refused.
	status     int
	code       string
	refusedFor string
}

// ServeHTTP implements http.Handler.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	parsed, err := sigv4.Parse(r)
	x := rt.locate(r, parsed)
	switch {
	case err == nil:
		x.keyID = parsed.AccessKeyID
		err = rt.serveSigned(w, r, parsed, x)
	case isUnsigned(err):
		err = rt.serveUnsigned(w, r, x, err)
	default:
		rt.countRefusal(err)
	}
	if err != nil {
		if !x.allowed {
			x.refusedFor = refusedFor(err)
		}
		rt.refuse(w, r, x, err)
	}
	rt.audit(r, x, start, err)
}

func isUnsigned(err error) bool {
	var e *sigv4.Error
	return errors.As(err, &e) && e.Reason == sigv4.ReasonMissing
}

// countRefusal counts a signature that did not get as far as the verifier.
func (rt *Router) countRefusal(err error) {
	var e *sigv4.Error
	if errors.As(err, &e) {
		rt.cfg.Verifier.Refused(e.Reason)
	}
}

func (rt *Router) serveSigned(w http.ResponseWriter, r *http.Request, parsed *sigv4.Parsed, x *exchange) error {
	v, err := rt.cfg.Verifier.Verify(r, parsed, x.expect())
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	p, ok := v.Identity.(iam.Principal)
	if !ok || p.ARN == "" {
		return errors.New("verified request without an identity")
	}
	x.principal = p
	httpserver.SetPrincipal(r.Context(), p.ARN)
	if len(v.Tolerances) > 0 {
		httpserver.Annotate(r.Context(), slog.Any("tolerated", v.Tolerances))
	}
	c := &Call{Principal: p, Service: v.Service, Region: v.Region}
	if x.protocol == Query {
		if c.Form, err = queryForm(r); err != nil {
			return err
		}
		if err := x.choose([]*Service{x.service}, c.Form); err != nil {
			return err
		}
	}
	if x.route == nil {
		return x.unknownOperation()
	}
	c.Params = x.params
	c.Request = r.WithContext(iam.WithPrincipal(r.Context(), p))
	return rt.authorizeAndHandle(w, c, x)
}

// serveUnsigned serves a request without signature where the route takes one.
// Otherwise it returns unsigned, the refusal.
func (rt *Router) serveUnsigned(w http.ResponseWriter, r *http.Request, x *exchange, unsigned error) error {
	c := &Call{Request: r, Service: x.service.Name}
	switch {
	case x.protocol == Query:
		if err := sigv4.ReadBody(r, sigv4.Expect{MaxBody: maxUnsignedForm}); err != nil {
			return err
		}
		defer func() { _ = r.Body.Close() }()
		form, err := queryForm(r)
		if err != nil {
			return err
		}
		// An action that there is not is no secret, but neither is it anything
		// that an unsigned request has to be told about.
		if x.choose(rt.byHost(rt.host(r)), form) != nil || !x.route.Anonymous {
			rt.countRefusal(unsigned)
			return unsigned
		}
		c.Form, c.Service = form, x.service.Name
	case x.route == nil || !x.route.Anonymous:
		rt.countRefusal(unsigned)
		return unsigned
	default:
		if err := sigv4.ReadBody(r, sigv4.Expect{MaxBody: x.route.MaxBody, MaxBodyKnob: x.route.MaxBodyKnob}); err != nil {
			return err
		}
		defer func() { _ = r.Body.Close() }()
	}
	c.Params = x.params
	return rt.authorizeAndHandle(w, c, x)
}

// authorizeAndHandle is the last gate: what it lets through runs.
func (rt *Router) authorizeAndHandle(w http.ResponseWriter, c *Call, x *exchange) error {
	if c.Request.Header.Get("X-Scope-Orgid") != "" {
		return &Error{Status: http.StatusForbidden, Code: codeDenied,
			Message: "The header 'X-Scope-OrgID' is not accepted: the workspace in the path says whose data is meant."}
	}
	route := x.route
	c.Context = rt.conditions(c)
	switch {
	case route.Anonymous:
	case route.NoPermission:
		if u, ok := rt.cfg.Authorizer.(usageNoter); ok {
			u.Used(c.Principal, c.Service, c.Region)
		}
	default:
		if err := rt.authorize(c, x); err != nil {
			return err
		}
	}
	x.allowed = true
	return route.Handle(w, c)
}

// usageNoter is an Authorizer that keeps when keys were used last. It notes what
// it authorises by itself.
type usageNoter interface {
	Used(p iam.Principal, service, region string)
}

// explainer is an Authorizer that says which policy decided.
type explainer interface {
	Explain(ctx context.Context, r iam.Request) (policy.Decision, error)
}

func (rt *Router) authorize(c *Call, x *exchange) error {
	req, err := rt.request(c, x)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	err = rt.cfg.Authorizer.Authorize(ctx, req)
	// The record wants to know why; samples come too often to ask twice.
	if ex, ok := rt.cfg.Authorizer.(explainer); ok && rt.cfg.Audit != nil && !(x.data && err == nil) {
		if d, explainErr := ex.Explain(ctx, req); explainErr == nil && d.Allowed == (err == nil) {
			x.policy = d.Source
			if d.Sid != "" {
				x.policy += "#" + d.Sid
			}
		}
	}
	return err
}

// request builds the question for the Authorizer.
func (rt *Router) request(c *Call, x *exchange) (req iam.Request, err error) {
	req = iam.Request{Principal: c.Principal, Action: x.route.Action, Context: c.Context}
	if req.Resource, err = x.route.Resource(c); err != nil {
		return req, err
	}
	x.resource = req.Resource
	account := accountOf(req.Resource)
	if account == "" && x.route.OwnResource {
		account = c.Principal.AccountID
		req.ResourceAccount = account
	}
	if account != "" {
		c.Context["aws:resourceaccount"] = []string{account}
	}
	if x.route.Conditions != nil {
		own, err := x.route.Conditions(c)
		if err != nil {
			return req, err
		}
		maps.Copy(c.Context, own)
	}
	if x.route.ResourcePolicy != nil {
		if req.ResourcePolicy, err = x.route.ResourcePolicy(c); err != nil {
			return req, err
		}
	}
	return req, nil
}

// expect says what the signature has to be for. In the Query protocol the
// operation is only known after the body; the largest one's bound holds.
func (x *exchange) expect() sigv4.Expect {
	want := sigv4.Expect{Service: x.service.Name, MaxBody: defaultMaxBody}
	switch {
	case x.route != nil:
		want.MaxBody, want.MaxBodyKnob = x.route.MaxBody, x.route.MaxBodyKnob
	case x.protocol == Query:
		for i := range x.service.Routes {
			want.MaxBody = max(want.MaxBody, x.service.Routes[i].MaxBody)
		}
	}
	return want
}

func (x *exchange) unknownOperation() error {
	message := "No operation of service '" + x.service.Name + "' is at this method and path."
	if x.protocol == JSON11 {
		message = "Service '" + x.service.Name + "' has no operation '" + x.operation + "'."
	}
	return &Error{Status: http.StatusNotFound, Code: codeUnknownOperation, Message: message}
}

// locate tells which service and, as far as the header says so, which route a
// request is for: by the signing scope, then the host, then the target or the
// path. It decides nothing about permission.
func (rt *Router) locate(r *http.Request, parsed *sigv4.Parsed) *exchange {
	// The path that the strict signature covers is the one that is served.
	path := sigv4.NormalizePath(sigv4.RawPath(r))
	services := rt.byHost(rt.host(r))
	if parsed != nil {
		var scoped []*Service
		for _, s := range services {
			if s.Name == parsed.Service {
				scoped = append(scoped, s)
			}
		}
		if len(scoped) > 0 {
			services = scoped
		}
	}
	if x := byTarget(r, path, services); x != nil {
		return x
	}
	if x := byForm(r, path, services); x != nil {
		return x
	}
	x := &exchange{service: services[0], data: isDataPath(path)}
	x.protocol = x.service.Protocol
	for _, s := range services {
		if s.Protocol != RESTJSON {
			continue
		}
		if route, params := s.match(r.Method, path); route != nil {
			return &exchange{service: s, route: route, operation: route.Name, params: params, data: route.Data}
		}
	}
	return x
}

// byTarget finds a JSON 1.1 operation.
func byTarget(r *http.Request, path string, services []*Service) *exchange {
	targets := r.Header.Values("X-Amz-Target")
	if len(targets) != 1 {
		return nil
	}
	prefix, name, _ := strings.Cut(targets[0], ".")
	for _, s := range services {
		if s.Protocol != JSON11 || s.TargetPrefix != prefix {
			continue
		}
		x := &exchange{service: s, protocol: JSON11, operation: name}
		if r.Method == http.MethodPost && path == "/" {
			x.route = s.operation(name)
		}
		return x
	}
	return nil
}

// byForm recognises the Query protocol. Which operation it is shows only when
// the parameters may be looked at.
func byForm(r *http.Request, path string, services []*Service) *exchange {
	if path != "/" {
		return nil
	}
	query := r.URL.Query()
	switch r.Method {
	case http.MethodGet:
		if !query.Has("Action") {
			return nil
		}
	case http.MethodPost:
		if !query.Has("Action") && !isForm(r) {
			return nil
		}
	default:
		return nil
	}
	var first *Service
	for _, s := range services {
		if s.Protocol != Query {
			continue
		}
		// The version in a query helps to name the service in errors; the
		// decision is made on the verified parameters.
		if first == nil || query.Get("Version") == s.Version {
			first = s
		}
	}
	if first == nil {
		return nil
	}
	return &exchange{service: first, protocol: Query}
}

func (s *Service) operation(name string) *Route {
	for i := range s.Routes {
		if s.Routes[i].Name == name {
			return &s.Routes[i]
		}
	}
	return nil
}

// choose finds the operation that a form names among services of the Query
// protocol.
func (x *exchange) choose(services []*Service, form url.Values) error {
	action, version := form.Get("Action"), form.Get("Version")
	x.operation = action
	if action == "" {
		return &Error{Status: http.StatusBadRequest, Code: "MissingAction", Message: "The request is missing an action or a required parameter."}
	}
	for _, s := range services {
		if s.Protocol != Query || s.Version != version {
			continue
		}
		if route := s.operation(action); route != nil {
			x.service, x.route, x.data = s, route, route.Data
			return nil
		}
	}
	if version == "" {
		version = "NO_VERSION_SPECIFIED"
	}
	return &Error{Status: http.StatusBadRequest, Code: "InvalidAction",
		Message: "Could not find operation " + action + " for version " + version}
}
