// Package portal is what people's browsers call to sign in and to look after
// their own account, and what administrators call to look after others'. It
// holds the rules of HTTP: cookies, forgery, hosts, limits; the rules of signing
// in are those of package signin.
package portal

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
	"github.com/mangru/mangru/internal/mail"
	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/people/federation"
	"github.com/mangru/mangru/internal/people/signin"
)

// Base is the path below which the handler serves.
const Base = "/api/people"

// The cookies. SessionCookie is the one that the dashboards read.
const (
	SessionCookie = "mangru_session"
	deviceCookie  = "mangru_device"
	csrfHeader    = "X-CSRF-Token"
)

// Mailer sends mails; it is what *mail.Mailer does.
type Mailer interface {
	Send(mail.Message) error
	UsesOutbox() bool
}

// Config of the handler.
type Config struct {
	Directory *directory.Directory
	SignIn    *signin.Service
	Store     directory.Store
	Mail      Mailer
	// Federation is the identity providers outside.
	Federation *federation.Service
	// Estate is what administrators look after besides people.
	Estate Estate
	// Workspaces are the dashboard workspaces.
	Workspaces *workspaces.Service
	// Reassign gives what a deleted person owned in dashboard workspaces to an
	// heir; nil is none.
	Reassign func(ctx context.Context, person string, heir *caller.Member) error
	// BaseURL is where browsers find the UI, without a slash at the end. Links in
	// mails begin with it; the Host of a request never gets into them.
	BaseURL func() string
	// Hosts are the names, besides addresses and localhost, by which browsers
	// may call.
	Hosts []string
	// Secure marks cookies as for HTTPS only, where a proxy in front speaks it.
	Secure bool
}

type server struct {
	Config
	log *slog.Logger
}

// access says who may call a route.
type access int

const (
	anyone access = iota + 1
	signedIn
	administrators
)

// call is a request with who sends it.
type call struct {
	*http.Request
	w    http.ResponseWriter
	sess *signin.Session // nil for anyone
}

type route struct {
	pattern string
	access  access
	do      func(*server, *call) (any, error)
}

func routes() []route {
	return []route{
		{"POST /signin", anyone, (*server).signIn},
		{"POST /factor", anyone, (*server).factor},
		{"POST /forgot", anyone, (*server).forgot},
		{"POST /invited", anyone, (*server).invited},
		{"POST /accept", anyone, (*server).accept},
		{"POST /verify", anyone, (*server).verify},
		{"GET /me", signedIn, (*server).me},
		{"PUT /me", signedIn, (*server).changeMe},
		{"POST /me/stepup", signedIn, (*server).stepUp},
		{"POST /me/password", signedIn, (*server).changePassword},
		{"POST /me/verification", signedIn, (*server).verifyMe},
		{"GET /me/sessions", signedIn, (*server).sessions},
		{"DELETE /me/sessions", signedIn, (*server).endOthers},
		{"DELETE /me/sessions/{id}", signedIn, (*server).endSession},
		{"POST /me/factors", signedIn, (*server).beginFactor},
		{"POST /me/factors/{id}", signedIn, (*server).confirmFactor},
		{"DELETE /me/factors/{id}", signedIn, (*server).removeFactor},
		{"POST /me/recovery-codes", signedIn, (*server).recoveryCodes},
		{"GET /users", administrators, (*server).users},
		{"POST /users", administrators, (*server).createUser},
		{"POST /users/{id}/invitation", administrators, (*server).invite},
		{"POST /users/{id}/verification", administrators, (*server).sendVerification},
		{"POST /users/{id}/one-time-password", administrators, (*server).oneTimePassword},
		{"POST /users/{id}/reset-factors", administrators, (*server).resetFactors},
		{"PATCH /users/{id}", administrators, (*server).changeUser},
		{"DELETE /users/{id}", administrators, (*server).deleteUser},
	}
}

// New returns the handler for everything below Base.
func New(cfg Config, log *slog.Logger) http.Handler {
	s := &server{cfg, log}
	mux := http.NewServeMux()
	for _, r := range allRoutes() {
		method, path, _ := strings.Cut(r.pattern, " ")
		mux.Handle(method+" "+Base+path, s.guard(r))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusNotFound, map[string]string{"message": "Not found"})
	})
	return mux
}

// guard settles where a request comes from and who sends it before its route
// sees it.
func (s *server) guard(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		c := &call{Request: req, w: w}
		if err := s.check(c, r); err != nil {
			s.fail(c, err)
			return
		}
		out, err := r.do(s, c)
		if err != nil {
			s.fail(c, err)
			return
		}
		if out == nil {
			out = struct{}{}
		}
		reply(w, http.StatusOK, out)
	})
}

// httpError is an answer other than success that the routes themselves give.
type httpError struct {
	status  int
	message string
}

// Error implements error.
func (e *httpError) Error() string { return e.message }

// checkHost refuses names that are not ours (DNS rebinding).
func (s *server) checkHost(c *call) error {
	if name := hostName(c.Host); net.ParseIP(name) == nil && name != "localhost" && !slices.Contains(s.Hosts, name) {
		return &httpError{http.StatusMisdirectedRequest, "this server is not known by the name " + name}
	}
	return nil
}

func (s *server) check(c *call, r route) error {
	if err := s.checkHost(c); err != nil {
		return err
	}
	changes := c.Method != http.MethodGet && c.Method != http.MethodHead
	if changes {
		// No page of another origin may act here, signed in or not: signing
		// somebody in as somebody else is an attack too.
		if origin := c.Header.Get("Origin"); origin != "" {
			if u, err := url.Parse(origin); err != nil || u.Host != c.Host {
				return &httpError{http.StatusForbidden, "requests from other pages are refused"}
			}
		}
		if site := c.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
			return &httpError{http.StatusForbidden, "requests from other pages are refused"}
		}
		kind, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
		if c.Method != http.MethodDelete && (err != nil || kind != "application/json") {
			return &httpError{http.StatusUnsupportedMediaType, "Content-Type must be application/json"}
		}
	}
	if r.access == anyone {
		return nil
	}
	sess, err := s.SignIn.Session(c.Context(), cookie(c.Request, SessionCookie))
	if err != nil {
		return err
	}
	if changes && subtle.ConstantTimeCompare([]byte(c.Header.Get(csrfHeader)), []byte(sess.CSRFToken)) != 1 {
		return &httpError{http.StatusForbidden, "the header " + csrfHeader + " is missing or not that of this session"}
	}
	if r.access == administrators && !sess.User.Administrator {
		return &httpError{http.StatusForbidden, "only administrators may do this"}
	}
	c.sess = sess
	return nil
}

// hostName is the Host header without its port and brackets, in lower case.
func hostName(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

func cookie(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

func (s *server) setCookie(c *call, name, value string, expires time.Time) {
	http.SetCookie(c.w, &http.Cookie{Name: name, Value: value, Path: "/", Expires: expires, HttpOnly: true,
		Secure: s.Secure || c.TLS != nil, SameSite: http.SameSiteLaxMode})
}

func (c *call) client() signin.Client {
	addr, _, err := net.SplitHostPort(c.RemoteAddr)
	if err != nil {
		addr = c.RemoteAddr
	}
	return signin.Client{Address: addr, Agent: c.UserAgent(), Device: cookie(c.Request, deviceCookie)}
}

// decode reads a body. Fields that there are not are an error: a typo must not
// look like a success.
func (c *call) decode(into any) error { return c.decodeUpTo(into, 64<<10) }

func (c *call) decodeUpTo(into any, most int64) error {
	dec := json.NewDecoder(http.MaxBytesReader(c.w, c.Body, most))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return &httpError{http.StatusBadRequest, "the body is not the JSON expected"}
	}
	return nil
}

// fail answers for an error. Code tells the pages which sentence of theirs to
// show.
func (s *server) fail(c *call, err error) {
	var own *httpError
	var slow *signin.ThrottledError
	var weak *signin.PolicyError
	var bad *directory.InvalidError
	var taken *directory.ConflictError
	var limit *directory.LimitError
	var status int
	var code, message string
	switch {
	case errors.As(err, &own):
		status, message = own.status, own.message
	case errors.As(err, &slow):
		status, code, message = http.StatusTooManyRequests, "slow", slow.Error()
		c.w.Header().Set("Retry-After", fmt.Sprint(int(slow.Wait.Seconds())+1))
	case errors.As(err, &weak):
		status, code, message = http.StatusBadRequest, "password."+weak.Code, weak.Message
	case errors.Is(err, signin.ErrNotSignedIn):
		status, message = http.StatusUnauthorized, "Unauthorized"
	case errors.Is(err, signin.ErrRefused):
		status, code, message = http.StatusForbidden, "refused", signin.ErrRefused.Error()
	case errors.Is(err, signin.ErrBadCode):
		status, code, message = http.StatusForbidden, "code", signin.ErrBadCode.Error()
	case errors.Is(err, signin.ErrBadLink):
		status, code, message = http.StatusGone, "link", signin.ErrBadLink.Error()
	case errors.Is(err, signin.ErrStepUp):
		status, code, message = http.StatusForbidden, "stepup", signin.ErrStepUp.Error()
	case errors.As(err, &bad):
		status, code, message = http.StatusBadRequest, "field", bad.Error()
	case errors.As(err, &taken):
		status, code, message = http.StatusConflict, "taken", taken.Message
	case errors.As(err, &limit):
		status, message = http.StatusConflict, limit.Message
	case directory.IsNotFound(err), errors.Is(err, federation.ErrNotFound):
		status, message = http.StatusNotFound, "Not found"
	default:
		if status, code, message = passkeyStatus(err); status != 0 {
			break
		}
		if c.Context().Err() != nil {
			return
		}
		s.log.Error("request failed", "path", c.URL.Path, "err", err)
		status, message = http.StatusInternalServerError, "Internal server error"
	}
	reply(c.w, status, map[string]string{"message": message, "errorType": code})
}

func reply(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic("BUG: reply is not JSON: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(text) // a caller that left is no error of ours
}

// note writes to the log what happened to an account; never what proved it.
func (s *server) note(ctx context.Context, what string, c *call, userID string) {
	s.log.InfoContext(ctx, what, "user", userID, "address", c.client().Address)
}
