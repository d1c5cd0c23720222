package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
	"github.com/mangru/mangru/internal/people/signin"
)

// sessionCookie names the cookie that holds a session's secret.
const sessionCookie = "mangru_session"

// csrfHeader must carry the session's token on every request that is not a
// plain read, so that no other site can act through a signed-in browser.
const csrfHeader = "X-CSRF-Token"

// Config is what the people's side needs.
type Config struct {
	Version string
	People  *People
	// Workspaces are the dashboard workspaces, one of which every request is for.
	Workspaces *workspaces.Service
	// API answers Grafana's HTTP API, which is everything else below /api.
	API http.Handler
	// Overview tells the home page what this installation is.
	Overview func(context.Context) (Overview, error)
	// Assets serves the web UI.
	Assets http.Handler
	// SignedOut returns where a browser ends its session at an identity provider
	// outside, too; empty for nowhere. Nil means never.
	SignedOut func(context.Context, signin.Outside) (string, error)
	// Hosts are the names, besides addresses and localhost, by which browsers
	// may call this server; another name is refused (DNS rebinding).
	Hosts []string
}

// Overview is what the home page shows of the installation.
type Overview struct {
	Version    string      `json:"version"`
	Region     string      `json:"region"`
	Account    string      `json:"account"`
	Workspaces []Workspace `json:"workspaces"`
	Source     Watched     `json:"source"`
}

// Workspace is a metrics workspace with the addresses that people copy.
type Workspace struct {
	ID                 string `json:"id"`
	Alias              string `json:"alias"`
	ARN                string `json:"arn"`
	Status             string `json:"status"`
	PrometheusEndpoint string `json:"prometheusEndpoint"`
	RemoteWriteURL     string `json:"remoteWriteUrl"`
	QueryURL           string `json:"queryUrl"`
}

// Watched says what the collector of this process watches.
type Watched struct {
	// Kind is "cluster", "machine" or "config" (the jobs of a file).
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Detail string `json:"detail"`
}

type api struct {
	Config
	log   *slog.Logger
	limit *rateLimit
}

// access says who may call a route.
type access int

const (
	anyone   access = iota + 1 // also without a session
	signedIn                   // whoever has a session
	member                     // any role in the workspace
)

// route is one line of the table below. A route without an access rule does
// not start.
type route struct {
	pattern string // as net/http's ServeMux takes it
	access  access
	serve   func(*api, http.ResponseWriter, *http.Request, Session)
}

func routes() []route {
	return []route{
		{"POST /api/login/link", anyone, (*api).login},
		{"POST /api/logout", signedIn, (*api).logout},
		{"GET /api/mangru/overview", member, (*api).overview},
		{"GET /api/mangru/workspace", anyone, (*api).workspace},
	}
}

// New returns the handler for everything that people reach.
func New(cfg Config, log *slog.Logger) (http.Handler, error) {
	a := &api{Config: cfg, log: log, limit: newRateLimit(10, time.Minute)}
	mux := http.NewServeMux()
	for _, r := range routes() {
		if r.access == 0 {
			return nil, fmt.Errorf("BUG: route %s has no access rule", r.pattern)
		}
		mux.Handle(r.pattern, a.guard(r))
	}
	mux.Handle("/api/", cfg.API)
	mux.Handle("/render/", cfg.API)
	mux.Handle("/", cfg.Assets)
	return a.checkHost(secureHeaders(a.inWorkspace(gzhttp.GzipHandler(mux)))), nil
}

// guard settles who calls before the route sees the request.
func (a *api) guard(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if r.access == anyone {
			r.serve(a, w, req, Session{})
			return
		}
		s, err := a.People.Session(req.Context(), sessionSecret(req))
		if errors.Is(err, ErrNotSignedIn) {
			writeError(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		if err != nil {
			a.fail(w, req, err)
			return
		}
		if req.Method != http.MethodGet && req.Method != http.MethodHead && !sameToken(req.Header.Get(csrfHeader), s.CSRFToken) {
			writeError(w, http.StatusForbidden, "the header "+csrfHeader+" is missing or not that of this session")
			return
		}
		if r.access == member {
			switch _, err := a.role(req, &s); {
			case errors.Is(err, workspaces.ErrNoAccess):
				writeError(w, http.StatusForbidden, caller.ErrNoAccess.Error())
				return
			case err != nil:
				a.fail(w, req, err)
				return
			}
		}
		r.serve(a, w, req, s)
	})
}

func (a *api) login(w http.ResponseWriter, r *http.Request, _ Session) {
	if wait := a.limit.take(clientAddress(r)); wait > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
		writeError(w, http.StatusTooManyRequests, "too many sign-ins from this address, try again later")
		return
	}
	// A form of another site can't send JSON.
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		writeError(w, http.StatusUnsupportedMediaType, "Content-Type must be application/json")
		return
	}
	var in struct {
		Token string `json:"token"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 4<<10)).Decode(&in); err != nil {
		writeError(w, http.StatusBadRequest, "the body is not JSON of the form {\"token\": \"...\"}")
		return
	}
	secret, s, err := a.People.UseLoginLink(r.Context(), in.Token)
	if errors.Is(err, ErrNotSignedIn) {
		writeError(w, http.StatusUnauthorized, "this link was used already, or is too old")
		return
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	// A session that the browser already had ends here: none is ever taken over.
	if old := sessionSecret(r); old != "" {
		if err := a.People.End(r.Context(), old); err != nil {
			a.fail(w, r, err)
			return
		}
	}
	setSessionCookie(w, r, secret, s.Expires)
	writeJSON(w, http.StatusOK, map[string]string{"message": "Logged in"})
}

func (a *api) logout(w http.ResponseWriter, r *http.Request, s Session) {
	if err := a.People.End(r.Context(), sessionSecret(r)); err != nil {
		a.fail(w, r, err)
		return
	}
	setSessionCookie(w, r, "", time.Unix(1, 0))
	out := map[string]string{"message": "Logged out"}
	if s.Outside != nil && a.SignedOut != nil {
		// Here the session is over whatever the provider says.
		to, err := a.SignedOut(r.Context(), *s.Outside)
		if err != nil {
			a.log.Warn("the session at the identity provider goes on", "provider", s.Outside.Provider, "err", err)
		}
		if to != "" {
			out["redirectUri"] = to
		}
	}
	writeJSON(w, http.StatusOK, out)
}

func (a *api) overview(w http.ResponseWriter, r *http.Request, _ Session) {
	o, err := a.Overview(r.Context())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, o)
}

// role is what the person of a session is in the workspace of a request.
func (a *api) role(r *http.Request, s *Session) (caller.Role, error) {
	ws, err := workspaceIn(r.Context())
	if err != nil {
		return caller.RoleNone, err
	}
	return a.Workspaces.RoleOf(r.Context(), ws, &s.User)
}

// workspace says which workspace a path is of and how it is entered; what it is
// called only to those who may.
func (a *api) workspace(w http.ResponseWriter, r *http.Request, _ Session) {
	ws, err := workspaceIn(r.Context())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	out := map[string]any{"id": ws.ID, "default": ws.Default(), "providers": ws.Spec.Providers}
	s, err := a.People.Session(r.Context(), sessionSecret(r))
	if err != nil && !errors.Is(err, ErrNotSignedIn) {
		a.fail(w, r, err)
		return
	}
	if err == nil {
		out["login"] = s.User.UserName
		if role, err := a.role(r, &s); err == nil {
			out["name"], out["role"] = ws.Name, role
		}
	}
	writeJSON(w, http.StatusOK, out)
}

// fail answers for an error of ours: the caller learns that there was one, the
// log what it was.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	a.log.Error("request failed", "path", r.URL.Path, "err", err)
	writeError(w, http.StatusInternalServerError, "Internal server error")
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic("BUG: reply is not JSON: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(text) // a caller that left is no error of ours
}

func writeError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]string{"message": message})
}

// clientAddress is the address a request came from, without its port.
func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
