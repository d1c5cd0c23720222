package dashboard

import (
	"context"
	"encoding/json"
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

	"github.com/mangru/mangru/internal/db"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a running dashboard server with a browser's cookie jar.
type site struct {
	t      *testing.T
	people *People
	admin  Person
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

func newSite(t *testing.T, sources ...*DataSource) *site {
	t.Helper()
	records, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "mangru.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, records.Close()) })
	s := &site{t: t, now: time.Now()} // cookies end by the real clock
	s.people = NewPeople(records, s.clock)
	s.admin, err = s.people.EnsureAdministrator(t.Context())
	require.NoError(t, err)
	boards, err := LoadBoards(Bundled(), "General")
	require.NoError(t, err)
	handler, err := New(Config{
		Version: "test", People: s.people, Boards: boards, Sources: sources,
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
	for range 6 { // used daily, it lives on, but not for ever
		s.pass(sessionIdleLife - time.Minute)
		s.csrf()
	}
	s.pass(sessionIdleLife)
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
	code, _ = s.do("GET", "/api/health", "", "Host", "localhost:1234")
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
	open := map[string]bool{"POST /api/login/link": true, "GET /api/health": true}
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

func TestBoards(t *testing.T) {
	s := newSite(t)
	require.Equal(t, 200, s.signIn(s.link()))
	code, b := s.do("GET", "/api/dashboards/uid/node-groups", "")
	require.Equal(t, 200, code)
	require.Equal(t, "Kubernetes / Compute Resources / Node (Groups)", b["dashboard"].(map[string]any)["title"])
	require.Equal(t, "/d/node-groups/kubernetes-compute-resources-node-groups", b["meta"].(map[string]any)["url"])
	code, _ = s.do("GET", "/api/dashboards/uid/none", "")
	require.Equal(t, 404, code)

	boards := must(LoadBoards(Bundled(), ""))
	require.Len(t, boards.Search("", nil), 3)
	require.Len(t, boards.Search("KUBERNETES", []string{"nodes"}), 1)
	require.Empty(t, boards.Search("", []string{"kubernetes", "machine"}))
}

func TestLoadBoardsNamesWhatIsWrong(t *testing.T) {
	for want, files := range map[string]fstest.MapFS{
		`board a.json: not a dashboard`:                 {"a.json": {Data: []byte(`{`)}},
		`board a.json: field uid: found "a b", allowed`: {"a.json": {Data: []byte(`{"uid":"a b","title":"t"}`)}},
		`board a.json: field title: must not be empty`:  {"a.json": {Data: []byte(`{"uid":"a"}`)}},
		`board b.json: uid "x" is also that of "one"`:   {"a.json": {Data: []byte(`{"uid":"x","title":"one"}`)}, "b.json": {Data: []byte(`{"uid":"x","title":"two"}`)}},
	} {
		_, err := LoadBoards(files, "")
		require.ErrorContains(t, err, want)
	}
}

func TestDataSourceProxy(t *testing.T) {
	var got *http.Request
	var body string
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got, body = r, string(text)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "a=b")
		if r.URL.Path == "/base/api/v1/series" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = io.WriteString(w, `{"status":"success"}`)
	}))
	t.Cleanup(upstream.Close)
	s := newSite(t, &DataSource{UID: "ds", Name: "metrics", URL: must(url.Parse(upstream.URL + "/base")), Transport: upstream.Client().Transport, Default: true})
	require.Equal(t, 200, s.signIn(s.link()))
	csrf := s.csrf()
	const root = "/api/datasources/proxy/uid/ds/"

	code, out := s.do("POST", root+"api/v1/query?x=1", "query=up", csrfHeader, csrf, "Content-Type", "application/x-www-form-urlencoded", "Authorization", "Bearer x")
	require.Equal(t, 200, code)
	require.Equal(t, "success", out["status"])
	require.Equal(t, "/base/api/v1/query", got.URL.Path)
	require.Equal(t, "x=1", got.URL.RawQuery)
	require.Equal(t, "query=up", body)
	require.Empty(t, got.Header.Get("Cookie"), "a session never leaves")
	require.Empty(t, got.Header.Get("Authorization"))
	require.Empty(t, got.Header.Get(csrfHeader))

	code, _ = s.do("POST", root+"api/v1/query", "query=up")
	require.Equal(t, 403, code, "a query by POST needs the token too")

	code, _ = s.do("GET", root+"api/v1/label/a%2Fb/values", "")
	require.Equal(t, 200, code)
	require.Equal(t, "/base/api/v1/label/a%2Fb/values", got.URL.EscapedPath())

	code, _ = s.do("GET", root+"api/v1/series", "")
	require.Equal(t, 502, code, "refused by the data source is not signed out here")

	for _, path := range []string{"api/v1/remote_write", "api/v1/admin/tsdb/delete_series", "api/v1/query/../admin", "api/v1/%2e%2e/api/v1/query", "../x", "", "metrics"} {
		got = nil
		code, _ = s.do("POST", root+path, "", csrfHeader, csrf)
		require.Contains(t, []int{403, 404, 405}, code, path)
		require.Nil(t, got, path)
	}
	code, _ = s.do("POST", root+"api/v1/query", strings.Repeat("x", maxQueryBody+1), csrfHeader, csrf)
	require.Equal(t, 413, code)
	code, _ = s.do("GET", "/api/datasources/proxy/uid/other/api/v1/query", "")
	require.Equal(t, 404, code)

	code, out = s.do("GET", "/api/datasources/uid/ds/health", "")
	require.Equal(t, 200, code)
	require.Equal(t, "OK", out["status"])
	upstream.Close()
	code, out = s.do("GET", "/api/datasources/uid/ds/health", "")
	require.Equal(t, 400, code)
	require.Equal(t, "ERROR", out["status"])
}

func TestAssets(t *testing.T) {
	s := newSite(t)
	for path, want := range map[string]int{"/": 200, "/d/x/y": 200, "/assets/app.js": 200, "/assets/gone.js": 404, "/api/none": 404, "/index.html": 200} {
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
