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
	Boards  *Boards
	Sources []*DataSource
	// Overview tells the home page what this installation is.
	Overview func(context.Context) (Overview, error)
	// Assets serves the web UI.
	Assets http.Handler
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
	log     *slog.Logger
	sources map[string]*DataSource
	limit   *rateLimit
}

// access says who may call a route.
type access int

const (
	anyone   access = iota + 1 // also without a session
	signedIn                   // any role
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
		{"GET /api/health", anyone, (*api).health},
		{"POST /api/logout", signedIn, (*api).logout},
		{"GET /api/user", signedIn, (*api).user},
		{"GET /api/org", signedIn, (*api).org},
		{"GET /api/frontend/settings", signedIn, (*api).frontendSettings},
		{"GET /api/mangru/overview", signedIn, (*api).overview},
		{"GET /api/datasources", signedIn, (*api).listSources},
		{"GET /api/datasources/uid/{uid}", signedIn, (*api).getSource},
		{"GET /api/datasources/uid/{uid}/health", signedIn, (*api).checkSource},
		{"GET /api/datasources/proxy/uid/{uid}/", signedIn, (*api).proxySource},
		{"POST /api/datasources/proxy/uid/{uid}/", signedIn, (*api).proxySource},
		{"GET /api/search", signedIn, (*api).search},
		{"GET /api/dashboards/uid/{uid}", signedIn, (*api).getBoard},
	}
}

// New returns the handler for everything that people reach.
func New(cfg Config, log *slog.Logger) (http.Handler, error) {
	a := &api{Config: cfg, log: log, sources: make(map[string]*DataSource), limit: newRateLimit(10, time.Minute)}
	for _, s := range cfg.Sources {
		a.sources[s.UID] = s
	}
	mux := http.NewServeMux()
	for _, r := range routes() {
		if r.access == 0 {
			return nil, fmt.Errorf("BUG: route %s has no access rule", r.pattern)
		}
		mux.Handle(r.pattern, a.guard(r))
	}
	mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "Not found")
	})
	mux.Handle("/", cfg.Assets)
	return a.checkHost(secureHeaders(gzhttp.GzipHandler(mux))), nil
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

func (a *api) logout(w http.ResponseWriter, r *http.Request, _ Session) {
	if err := a.People.End(r.Context(), sessionSecret(r)); err != nil {
		a.fail(w, r, err)
		return
	}
	setSessionCookie(w, r, "", time.Unix(1, 0))
	writeJSON(w, http.StatusOK, map[string]string{"message": "Logged out"})
}

func (a *api) health(w http.ResponseWriter, _ *http.Request, _ Session) {
	writeJSON(w, http.StatusOK, map[string]string{"database": "ok", "version": a.Version})
}

func (a *api) user(w http.ResponseWriter, _ *http.Request, s Session) {
	writeJSON(w, http.StatusOK, map[string]any{
		"id": s.Person.ID, "login": s.Person.Login, "name": s.Person.Name, "email": s.Person.Email,
		"orgId": 1, "orgRole": s.Person.Role, "isGrafanaAdmin": false, "csrfToken": s.CSRFToken,
	})
}

func (a *api) org(w http.ResponseWriter, _ *http.Request, _ Session) {
	writeJSON(w, http.StatusOK, map[string]any{"id": 1, "name": "Main Org."})
}

func (a *api) frontendSettings(w http.ResponseWriter, _ *http.Request, _ Session) {
	all, def := map[string]any{}, ""
	for _, s := range a.Sources {
		all[s.Name] = s.settings()
		if s.Default {
			def = s.Name
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"buildInfo":         map[string]string{"version": a.Version},
		"datasources":       all,
		"defaultDatasource": def,
	})
}

func (a *api) overview(w http.ResponseWriter, r *http.Request, _ Session) {
	o, err := a.Overview(r.Context())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, o)
}

func (a *api) listSources(w http.ResponseWriter, _ *http.Request, _ Session) {
	list := make([]any, 0, len(a.Sources))
	for _, s := range a.Sources {
		list = append(list, s.settings())
	}
	writeJSON(w, http.StatusOK, list)
}

// source finds the data source of the request's path, or answers 404.
func (a *api) source(w http.ResponseWriter, r *http.Request) *DataSource {
	s := a.sources[r.PathValue("uid")]
	if s == nil {
		writeError(w, http.StatusNotFound, "Data source not found")
	}
	return s
}

func (a *api) getSource(w http.ResponseWriter, r *http.Request, _ Session) {
	if s := a.source(w, r); s != nil {
		writeJSON(w, http.StatusOK, s.settings())
	}
}

func (a *api) checkSource(w http.ResponseWriter, r *http.Request, _ Session) {
	s := a.source(w, r)
	if s == nil {
		return
	}
	if err := s.check(r.Context()); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"status": "ERROR", "message": err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "OK", "message": "Successfully queried the Prometheus API."})
}

func (a *api) proxySource(w http.ResponseWriter, r *http.Request, _ Session) {
	s := a.source(w, r)
	if s == nil {
		return
	}
	rest := strings.TrimPrefix(r.URL.EscapedPath(), "/api/datasources/proxy/uid/"+r.PathValue("uid")+"/")
	s.proxy(a.log, w, r, rest)
}

func (a *api) search(w http.ResponseWriter, r *http.Request, _ Session) {
	q := r.URL.Query()
	list := []map[string]any{}
	if t := q.Get("type"); t == "" || t == "dash-db" {
		for i, b := range a.Boards.Search(q.Get("query"), q["tag"]) {
			tags := b.Tags
			if tags == nil {
				tags = []string{}
			}
			list = append(list, map[string]any{
				"id": i + 1, "uid": b.UID, "title": b.Title, "uri": "db/" + b.Slug, "url": b.URL(), "slug": "",
				"type": "dash-db", "tags": tags, "isStarred": false, "folderTitle": b.Folder,
			})
		}
	}
	writeJSON(w, http.StatusOK, list)
}

func (a *api) getBoard(w http.ResponseWriter, r *http.Request, _ Session) {
	b := a.Boards.Get(r.PathValue("uid"))
	if b == nil {
		writeError(w, http.StatusNotFound, "Dashboard not found")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"meta": map[string]any{
			"type": "db", "slug": b.Slug, "url": b.URL(), "provisioned": true, "folderTitle": b.Folder,
			"canSave": false, "canEdit": false, "canAdmin": false, "canStar": false, "version": 1,
		},
		"dashboard": b.JSON,
	})
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
