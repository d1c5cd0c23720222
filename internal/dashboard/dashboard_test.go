package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/people/directory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a running dashboard server with a browser's cookie jar.
type site struct {
	t      *testing.T
	people *People
	admin  directory.User
	spaces *workspaces.Service
	url    string
	client *http.Client
	now    time.Time
	mu     sync.Mutex
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func newSite(t *testing.T) *site {
	t.Helper()
	records, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "mangru.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, records.Close()) })
	s := &site{t: t, now: time.Now()} // cookies end by the real clock
	s.people = NewPeople(records, s.clock)
	s.admin, err = s.people.EnsureAdministrator(t.Context())
	require.NoError(t, err)
	dir := directory.New(directory.Config{}, records)
	s.spaces, err = workspaces.New(workspaces.Config{Region: "us-east-1", Directory: dir, Purge: func(context.Context, string) error { return nil }}, records)
	require.NoError(t, err)
	_, err = s.spaces.EnsureDefault(t.Context(), iam.DefaultAccount)
	require.NoError(t, err)
	identity := Identity{People: s.people, Workspaces: s.spaces}
	grafana := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := identity.Caller(r)
		if err != nil {
			status := http.StatusUnauthorized
			if errors.Is(err, caller.ErrNoAccess) {
				status = http.StatusForbidden
			}
			writeError(w, status, err.Error())
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{"login": c.Login, "orgRole": c.Role, "csrfToken": c.CSRFToken})
	})
	handler, err := New(Config{
		Version: "test", People: s.people, Workspaces: s.spaces, API: grafana,
		Overview: func(context.Context) (Overview, error) { return Overview{Version: "test"}, nil },
		Assets: Assets(fstest.MapFS{
			"index.html":    {Data: []byte("<!doctype html>ui")},
			"assets/app.js": {Data: []byte("js")},
		}),
	}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	s.url, s.client = srv.URL, &http.Client{Jar: jar, Transport: srv.Client().Transport}
	return s
}

func (s *site) do(method, path string, body string, header ...string) (int, map[string]any) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.client.Do(req)
	require.NoError(s.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	var out map[string]any
	_ = json.Unmarshal(text, &out) // lists and pages are not looked at here
	return res.StatusCode, out
}

func (s *site) link() string {
	token, err := s.people.NewLoginLink(s.t.Context(), s.admin.ID)
	require.NoError(s.t, err)
	return token
}

func (s *site) signIn(token string) int {
	code, _ := s.do("POST", "/api/login/link", `{"token":"`+token+`"}`, "Content-Type", "application/json")
	return code
}

func (s *site) csrf() string {
	code, user := s.do("GET", "/api/user", "")
	require.Equal(s.t, 200, code)
	return user["csrfToken"].(string)
}

func TestOneTimeLink(t *testing.T) {
	s := newSite(t)
	code, _ := s.do("GET", "/api/user", "")
	require.Equal(t, 401, code, "nobody is signed in at first")

	token := s.link()
	require.Equal(t, 200, s.signIn(token))
	code, user := s.do("GET", "/api/user", "")
	require.Equal(t, 200, code)
	require.Equal(t, "admin", user["login"])
	require.Equal(t, "Admin", user["orgRole"])
	require.Equal(t, 401, s.signIn(token), "a link works once")

	old := s.link()
	s.pass(linkLife + time.Second)
	require.Equal(t, 401, s.signIn(old), "a link ends")
	require.Equal(t, 401, s.signIn("guess"))
}

func TestOneTimeLinkIsUsedOnceAlsoAtTheSameMoment(t *testing.T) {
	s := newSite(t)
	token := s.link()
	results := make(chan error, 8)
	for range cap(results) {
		go func() {
			_, _, err := s.people.UseLoginLink(t.Context(), token)
			results <- err
		}()
	}
	ok := 0
	for range cap(results) {
		if err := <-results; err == nil {
			ok++
		} else {
			require.ErrorIs(t, err, ErrNotSignedIn)
		}
	}
	require.Equal(t, 1, ok)
}

func TestSessionEnds(t *testing.T) {
	s := newSite(t)
	require.Equal(t, 200, s.signIn(s.link()))
	for range 8 { // used each hour, it lives on, but not for ever
		s.pass(sessionIdleLife - time.Minute)
		s.csrf()
	}
	s.pass(sessionIdleLife / 2)
	code, _ := s.do("GET", "/api/user", "")
	require.Equal(t, 401, code)

	require.Equal(t, 200, s.signIn(s.link()))
	s.pass(sessionIdleLife + time.Minute)
	code, _ = s.do("GET", "/api/user", "")
	require.Equal(t, 401, code, "an unused session ends sooner")
}

func TestLogout(t *testing.T) {
	s := newSite(t)
	require.Equal(t, 200, s.signIn(s.link()))
	cookie := s.client.Jar.Cookies(must(url.Parse(s.url)))[0]
	code, _ := s.do("POST", "/api/logout", "", csrfHeader, s.csrf())
	require.Equal(t, 200, code)
	code, _ = s.do("GET", "/api/user", "", "Cookie", sessionCookie+"="+cookie.Value)
	require.Equal(t, 401, code, "the old secret is dead, not only forgotten by the browser")
}

func TestOtherSitesCannotAct(t *testing.T) {
	s := newSite(t)
	code, _ := s.do("POST", "/api/login/link", `{"token":"`+s.link()+`"}`, "Content-Type", "text/plain")
	require.Equal(t, 415, code, "a cross-site form can't sign anybody in")
	require.Equal(t, 200, s.signIn(s.link()))
	for _, h := range [][]string{nil, {csrfHeader, ""}, {csrfHeader, "wrong"}} {
		code, _ := s.do("POST", "/api/logout", "", h...)
		require.Equal(t, 403, code, h)
	}
	code, _ = s.do("GET", "/api/health", "", "Host", "evil.example")
	require.Equal(t, 421, code)
	code, _ = s.do("GET", "/", "", "Host", "localhost:1234")
	require.Equal(t, 200, code)
}

func TestSignInIsRateLimited(t *testing.T) {
	s := newSite(t)
	for range 10 {
		require.Equal(t, 401, s.signIn("guess"))
	}
	require.Equal(t, 429, s.signIn(s.link()))
}

// TestEveryRouteNeedsASession walks the route table, so that a new route can't
// be forgotten.
func TestEveryRouteNeedsASession(t *testing.T) {
	s := newSite(t)
	open := map[string]bool{"POST /api/login/link": true, "GET /api/mangru/workspace": true}
	for _, r := range routes() {
		require.NotZero(t, r.access, r.pattern)
		if open[r.pattern] {
			continue
		}
		method, path, _ := strings.Cut(r.pattern, " ")
		code, _ := s.do(method, strings.ReplaceAll(path, "{uid}", "x"), "")
		require.Equal(t, 401, code, r.pattern)
	}
}

func TestAssets(t *testing.T) {
	s := newSite(t)
	for path, want := range map[string]int{"/": 200, "/d/x/y": 200, "/assets/app.js": 200, "/assets/gone.js": 404, "/api/none": 401, "/index.html": 200} {
		res, err := s.client.Get(s.url + path)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, want, res.StatusCode, path)
		require.Contains(t, res.Header.Get("Content-Security-Policy"), "script-src", path)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
