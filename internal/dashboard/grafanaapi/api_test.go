package grafanaapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/catalogue"
	"github.com/mangru/mangru/internal/dashboard/grafanaapi"
	"github.com/mangru/mangru/internal/dashboard/records"
	"github.com/mangru/mangru/internal/dashboard/sources"
	"github.com/mangru/mangru/internal/db"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// people are signed in by the header X-Test-Login.
var people = []caller.Member{
	{Person: "p1", Login: "admin", Name: "Ada", Email: "ada@example.com", Role: caller.RoleAdmin},
	{Person: "p2", Login: "editor", Name: "Ed", Email: "ed@example.com", Role: caller.RoleEditor},
	{Person: "p3", Login: "viewer", Name: "Vi", Email: "vi@example.com", Role: caller.RoleViewer},
	{Person: "p4", Login: "nobody", Name: "No", Email: "no@example.com", Role: caller.RoleNone},
}

type identity struct{}

func (identity) Caller(r *http.Request) (caller.Caller, error) {
	login, ws := r.Header.Get("X-Test-Login"), r.Header.Get("X-Test-Workspace")
	for _, p := range people {
		if p.Login == login {
			if ws == "" {
				ws = caller.DefaultWorkspace
			}
			return caller.Caller{Workspace: ws, Person: p.Person, Login: p.Login, Name: p.Name, Email: p.Email, Role: p.Role, CSRFToken: "csrf-" + login}, nil
		}
	}
	return caller.Caller{}, caller.ErrNotSignedIn
}

func (identity) Members(context.Context, string) ([]caller.Member, error) { return people, nil }

type site struct {
	t     *testing.T
	url   string
	store *records.Store
}

func newSite(t *testing.T) *site {
	t.Helper()
	return newSiteWith(t, nil)
}

func newSiteWith(t *testing.T, renderer grafanaapi.Renderer) *site {
	t.Helper()
	database, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "mangru.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, database.Close()) })
	store, err := records.New(database, bytes.Repeat([]byte{7}, 32), nil)
	require.NoError(t, err)
	boards, err := catalogue.New(nil)
	require.NoError(t, err)
	conns := sources.New(sources.Config{}, store, slog.New(slog.DiscardHandler))
	t.Cleanup(conns.Close)
	handler, err := grafanaapi.New(grafanaapi.Config{Version: "test", Store: store, Identity: identity{}, Sources: conns, Catalogue: boards,
		Renderer: renderer, PageURL: func() string { return "http://127.0.0.1:3000" }}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	require.NoError(t, err)
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return &site{t: t, url: srv.URL, store: store}
}

type answer struct {
	status int
	text   string
}

func (a answer) object(t *testing.T) map[string]any {
	t.Helper()
	var out map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.text), &out), a.text)
	return out
}

func (a answer) list(t *testing.T) []map[string]any {
	t.Helper()
	var out []map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.text), &out), a.text)
	return out
}

// as sends a request as one of the people; a login that begins with glsa_ is a token.
func (s *site) as(login, method, path, body string, header ...string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)
	if strings.HasPrefix(login, "glsa_") {
		req.Header.Set("Authorization", "Bearer "+login)
	} else if login != "" {
		req.Header.Set("X-Test-Login", login)
		req.Header.Set("X-CSRF-Token", "csrf-"+login)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	require.NoError(s.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	return answer{res.StatusCode, string(text)}
}

func (s *site) ok(login, method, path, body string) answer {
	s.t.Helper()
	a := s.as(login, method, path, body)
	require.Less(s.t, a.status, 300, "%s %s: %s", method, path, a.text)
	return a
}

func TestBoardsAreLockedByTheirVersion(t *testing.T) {
	s := newSite(t)
	first := s.ok("editor", "POST", "/api/dashboards/db", `{"dashboard":{"title":"  One ","tags":["a"],"x":{"deep":[1.50,"<b>"]}},"message":"begin"}`).object(t)
	require.EqualValues(t, 1, first["version"])
	uid := first["uid"].(string)

	got := s.ok("viewer", "GET", "/api/dashboards/uid/"+uid, "")
	require.Contains(t, got.text, `"x":{"deep":[1.50,"<b>"]}`, "what a board holds is kept as it was written")
	require.Equal(t, "One", got.object(t)["dashboard"].(map[string]any)["title"])
	require.Equal(t, false, got.object(t)["meta"].(map[string]any)["canSave"])

	save := func(body string) answer { return s.as("editor", "POST", "/api/dashboards/db", body) }
	require.Equal(t, 200, save(fmt.Sprintf(`{"dashboard":{"uid":%q,"version":1,"title":"Two"}}`, uid)).status)
	stale := save(fmt.Sprintf(`{"dashboard":{"uid":%q,"version":1,"title":"Three"}}`, uid))
	require.Equal(t, 412, stale.status)
	require.JSONEq(t, `{"status":"version-mismatch","message":"The dashboard has been changed by someone else"}`, stale.text)
	forced := save(fmt.Sprintf(`{"dashboard":{"uid":%q,"version":1,"title":"Three"},"overwrite":true}`, uid)).object(t)
	require.EqualValues(t, 3, forced["version"])
	same := save(fmt.Sprintf(`{"dashboard":{"uid":%q,"title":"Three"},"overwrite":true}`, uid)).object(t)
	require.EqualValues(t, 3, same["version"], "a save that changes nothing makes no version")

	require.Equal(t, 400, save(`{"dashboard":{"title":" "}}`).status)
	require.Equal(t, 400, save(`{"dashboard":{"title":"x","uid":"a b"}}`).status)
	require.Equal(t, 400, save(`{"dashboard":{"title":"x","uid":"`+strings.Repeat("a", 41)+`"}}`).status)
	require.Equal(t, 400, save(`{`).status)
	require.Equal(t, 400, save(`{"dashboard":{"title":"x"},"folderUid":"none"}`).status)
	require.Equal(t, 403, s.as("viewer", "POST", "/api/dashboards/db", `{"dashboard":{"title":"x"}}`).status)

	versions := s.ok("editor", "GET", "/api/dashboards/uid/"+uid+"/versions", "").object(t)["versions"].([]any)
	require.Len(t, versions, 3)
	require.Equal(t, "begin", versions[2].(map[string]any)["message"])
	require.Equal(t, 403, s.as("viewer", "GET", "/api/dashboards/uid/"+uid+"/versions", "").status)

	diff := s.ok("editor", "POST", "/api/dashboards/calculate-diff", fmt.Sprintf(`{"base":{"dashboardUid":%q,"version":1},"new":{"dashboardUid":%q,"version":2}}`, uid, uid))
	require.Contains(t, diff.text, `{"path":"title","op":"replace","old":"One","new":"Two"}`)

	back := s.ok("editor", "POST", "/api/dashboards/uid/"+uid+"/restore", `{"version":1}`).object(t)
	require.EqualValues(t, 4, back["version"])
	require.Equal(t, "One", back["title"])
	require.Equal(t, 400, s.as("editor", "POST", "/api/dashboards/uid/"+uid+"/restore", `{"version":4}`).status)
	require.Equal(t, 404, s.as("editor", "POST", "/api/dashboards/uid/"+uid+"/restore", `{"version":9}`).status)

	id := fmt.Sprint(int(first["id"].(float64)))
	renamed := save(`{"dashboard":{"id":` + id + `,"uid":"own-uid","version":4,"title":"One"}}`)
	require.Equal(t, 200, renamed.status, renamed.text)
	require.Len(t, s.ok("editor", "GET", "/api/dashboards/uid/own-uid/versions", "").object(t)["versions"], 5, "history follows a new uid")
	require.Equal(t, 404, s.as("editor", "GET", "/api/dashboards/uid/"+uid, "").status)

	require.Equal(t, "Dashboard One deleted", s.ok("editor", "DELETE", "/api/dashboards/uid/own-uid", "").object(t)["message"])
	require.Equal(t, 404, s.as("editor", "GET", "/api/dashboards/uid/own-uid", "").status)
}

func TestPermissionsAreInheritedAndTheHighestWins(t *testing.T) {
	s := newSite(t)
	s.ok("admin", "POST", "/api/folders", `{"uid":"top","title":"Top"}`)
	s.ok("admin", "POST", "/api/folders", `{"uid":"in","title":"Inner","parentUid":"top"}`)
	s.ok("admin", "POST", "/api/dashboards/db", `{"dashboard":{"uid":"b","title":"Board"},"folderUid":"in"}`)
	level := func(login string) string {
		a := s.as(login, "GET", "/api/dashboards/uid/b", "")
		if a.status == 403 {
			return "none"
		}
		meta := a.object(t)["meta"].(map[string]any)
		switch {
		case meta["canAdmin"] == true:
			return "admin"
		case meta["canEdit"] == true:
			return "edit"
		}
		return "view"
	}
	require.Equal(t, []string{"admin", "edit", "view", "none"}, []string{level("admin"), level("editor"), level("viewer"), level("nobody")})

	// Nobody but administrators see the folder once its roles are taken away.
	s.ok("admin", "POST", "/api/folders/top/permissions", `{"items":[]}`)
	require.Equal(t, []string{"admin", "none", "none"}, []string{level("admin"), level("editor"), level("viewer")})
	require.Empty(t, s.ok("editor", "GET", "/api/search", "").list(t))
	require.Equal(t, 403, s.as("editor", "GET", "/api/folders/in", "").status)
	require.Equal(t, 403, s.as("editor", "POST", "/api/dashboards/db", `{"dashboard":{"uid":"b","title":"Board"},"overwrite":true}`).status, "not even out of the folder")

	// A team gets View on the outer folder, one of its members Edit on the board.
	team := s.ok("admin", "POST", "/api/teams", `{"name":"crew"}`).object(t)
	users := s.ok("admin", "GET", "/api/org/users", "").list(t)
	id := func(login string) int {
		for _, u := range users {
			if u["login"] == login {
				return int(u["userId"].(float64))
			}
		}
		return 0
	}
	s.ok("admin", "POST", fmt.Sprintf("/api/teams/%v/members", team["teamId"]), fmt.Sprintf(`{"userId":%d}`, id("nobody")))
	s.ok("admin", "POST", fmt.Sprintf("/api/teams/%v/members", team["uid"]), fmt.Sprintf(`{"userId":%d}`, id("viewer")))
	s.ok("admin", "POST", fmt.Sprintf("/api/access-control/folders/top/teams/%v", team["teamId"]), `{"permission":"View"}`)
	require.Equal(t, []string{"none", "view", "view"}, []string{level("editor"), level("viewer"), level("nobody")})
	s.ok("admin", "POST", fmt.Sprintf("/api/access-control/dashboards/b/users/%d", id("viewer")), `{"permission":"Edit"}`)
	require.Equal(t, []string{"edit", "view"}, []string{level("viewer"), level("nobody")})

	acl := s.ok("admin", "GET", "/api/dashboards/uid/b/permissions", "").list(t)
	var said []string
	for _, p := range acl {
		said = append(said, fmt.Sprint(p["team"], p["userLogin"], " ", p["permissionName"], " ", p["inherited"]))
	}
	require.Equal(t, []string{"crew View true", "admin Admin true", "admin Admin false", "viewer Edit false"}, dropOwners(said))
	require.Equal(t, 403, s.as("viewer", "GET", "/api/dashboards/uid/b/permissions", "").status)

	// Taking it away works at once; so does the end of the team.
	s.ok("admin", "POST", fmt.Sprintf("/api/access-control/dashboards/b/users/%d", id("viewer")), `{"permission":""}`)
	require.Equal(t, "view", level("viewer"))
	s.ok("admin", "DELETE", fmt.Sprintf("/api/teams/%v", team["teamId"]), "")
	require.Equal(t, "none", level("viewer"))
	require.Equal(t, 400, s.as("admin", "POST", "/api/folders/top/permissions", `{"items":[{"role":"King","permission":1}]}`).status)
	require.Equal(t, 400, s.as("admin", "POST", "/api/folders/top/permissions", `{"items":[{"userId":999,"permission":1}]}`).status)
	require.Equal(t, 400, s.as("admin", "POST", "/api/folders/top/permissions", `{"items":[{"role":"Viewer","permission":3}]}`).status)
}

// dropOwners leaves one entry for the administrator, who made several things.
func dropOwners(list []string) []string {
	var out []string
	for i, l := range list {
		if i > 0 && l == list[i-1] {
			continue
		}
		out = append(out, l)
	}
	return out
}

func TestNobodyGainsRightsByMovingFolders(t *testing.T) {
	s := newSite(t)
	s.ok("admin", "POST", "/api/folders", `{"uid":"closed","title":"Closed"}`)
	s.ok("editor", "POST", "/api/folders", `{"uid":"own","title":"Own"}`)
	s.ok("admin", "POST", "/api/folders/closed/permissions", `{"items":[{"role":"Editor","permission":2}]}`)
	moved := s.as("editor", "POST", "/api/folders/closed/move", `{"parentUid":"own"}`)
	require.Equal(t, 403, moved.status)
	require.Contains(t, moved.text, "folders.accessEscalation")
	s.ok("admin", "POST", "/api/folders", `{"uid":"child","title":"Child","parentUid":"own"}`)
	require.Equal(t, 400, s.as("admin", "POST", "/api/folders/own/move", `{"parentUid":"child"}`).status, "a folder can't be in itself")
	deep := "child"
	for i := range 12 {
		a := s.as("admin", "POST", "/api/folders", fmt.Sprintf(`{"uid":"d%d","title":"Deep","parentUid":%q}`, i, deep))
		if a.status != 200 {
			require.Contains(t, a.text, "folder.maximum-depth-reached")
			s.ok("admin", "DELETE", "/api/folders/own", "")
			require.Equal(t, 404, s.as("admin", "GET", "/api/folders/d0", "").status, "what is inside goes too")
			return
		}
		deep = fmt.Sprintf("d%d", i)
	}
	t.Fatal("folders can be nested without end")
}

func TestWorkspacesDoNotSeeEachOther(t *testing.T) {
	s := newSite(t)
	s.ok("admin", "POST", "/api/dashboards/db", `{"dashboard":{"uid":"same","title":"Here"}}`)
	other := []string{"X-Test-Workspace", "other"}
	require.Equal(t, 404, s.as("admin", "GET", "/api/dashboards/uid/same", "", other...).status)
	require.Equal(t, 200, s.as("admin", "POST", "/api/dashboards/db", `{"dashboard":{"uid":"same","title":"There"}}`, other...).status)
	require.Contains(t, s.ok("admin", "GET", "/api/dashboards/uid/same", "").text, "Here")
	require.Equal(t, 200, s.as("admin", "DELETE", "/api/dashboards/uid/same", "", other...).status)
	require.Contains(t, s.ok("admin", "GET", "/api/dashboards/uid/same", "").text, "Here")
}

func TestSecretsOfDataSourcesStayInside(t *testing.T) {
	s := newSite(t)
	var auth string
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"job":"a"},"values":[[10,"1.5"],[25,"NaN"]]}]}}`)
	}))
	t.Cleanup(upstream.Close)
	const secret = "hunter2-very-secret"
	made := s.ok("admin", "POST", "/api/datasources", `{"uid":"prom","name":"Prom","type":"prometheus","url":"`+upstream.URL+`","access":"proxy","basicAuth":true,"basicAuthUser":"me",
		"jsonData":{"timeInterval":"15s"},"secureJsonData":{"basicAuthPassword":"`+secret+`"}}`)
	for _, a := range []answer{made, s.ok("admin", "GET", "/api/datasources/uid/prom", ""), s.ok("admin", "GET", "/api/datasources", ""), s.ok("admin", "GET", "/api/frontend/settings", "")} {
		require.NotContains(t, a.text, secret)
	}
	require.Equal(t, map[string]any{"basicAuthPassword": true}, s.ok("admin", "GET", "/api/datasources/uid/prom", "").object(t)["secureJsonFields"])
	viewer := s.ok("viewer", "GET", "/api/datasources", "")
	require.NotContains(t, viewer.text, upstream.URL, "who does not administer sees no address")
	require.Contains(t, viewer.text, `"timeInterval":"15s"`)

	require.Equal(t, "Successfully queried the Prometheus API.", s.ok("viewer", "GET", "/api/datasources/uid/prom/health", "").object(t)["message"])
	require.True(t, strings.HasPrefix(auth, "Basic "))
	auth = ""
	s.ok("admin", "PUT", "/api/datasources/uid/prom", `{"name":"Prom","type":"prometheus","url":"`+upstream.URL+`","basicAuth":true,"basicAuthUser":"me"}`)
	s.ok("viewer", "GET", "/api/datasources/proxy/uid/prom/api/v1/query?query=up", "")
	require.True(t, strings.HasPrefix(auth, "Basic "), "a secret that is not sent again stays")

	frames := s.ok("viewer", "POST", "/api/ds/query", `{"from":"0","to":"60000","queries":[{"refId":"A","datasource":{"uid":"prom"},"expr":"rate(x[$__rate_interval])","legendFormat":"{{job}}!","intervalMs":15000}]}`)
	require.Contains(t, frames.text, `"values":[[10000,25000],[1.5,null]],"entities":[null,{"NaN":[1]}]`)
	require.Contains(t, frames.text, `"displayNameFromDS":"a!"`)
	require.Contains(t, frames.text, `Expr: rate(x[1m])`)

	for _, path := range []string{"api/v1/admin/tsdb/delete_series", "api/v1/query/../admin", "api/v1/%2e%2e/x", "", "metrics", "api/v1/write"} {
		require.Contains(t, []int{403, 404}, s.as("admin", "POST", "/api/datasources/proxy/uid/prom/"+path, "").status, path)
	}
	require.Equal(t, 403, s.as("viewer", "POST", "/api/datasources/proxy/uid/prom/alertmanager/api/v2/silences", "{}").status)
	require.Equal(t, 403, s.as("viewer", "POST", "/api/datasources", `{"name":"x","type":"prometheus"}`).status)
	require.Equal(t, 403, s.as("editor", "PUT", "/api/datasources/uid/prom", `{"name":"x","type":"prometheus"}`).status)
	require.Equal(t, 409, s.as("admin", "POST", "/api/datasources", `{"name":"Prom","type":"prometheus"}`).status)
	require.Equal(t, 400, s.as("admin", "POST", "/api/datasources", `{"name":"y","type":"prometheus","url":"file:///etc/passwd"}`).status)
	bad := s.ok("admin", "POST", "/api/datasources", `{"uid":"meta","name":"meta","type":"prometheus","url":"http://169.254.169.254"}`)
	require.NotEmpty(t, bad.text)
	health := s.as("admin", "GET", "/api/datasources/uid/meta/health", "")
	require.Equal(t, 400, health.status)
	require.Contains(t, health.text, "may not be called from here")
}

func TestServiceAccountsAndTheirTokens(t *testing.T) {
	s := newSite(t)
	account := s.as("admin", "POST", "/api/serviceaccounts", `{"name":"ci","role":"Editor"}`)
	require.Equal(t, 201, account.status)
	id := fmt.Sprint(int(account.object(t)["id"].(float64)))
	key := s.ok("admin", "POST", "/api/serviceaccounts/"+id+"/tokens", `{"name":"t","secondsToLive":3600}`).object(t)["key"].(string)
	require.Regexp(t, regexp.MustCompile(`^glsa_[0-9a-f]{48}_[0-9a-f]{8}$`), key)
	require.NotContains(t, s.ok("admin", "GET", "/api/serviceaccounts/"+id+"/tokens", "").text, key)
	s.ok(key, "POST", "/api/dashboards/db", `{"dashboard":{"uid":"by-token","title":"By token"}}`)
	require.Equal(t, 403, s.as(key, "GET", "/api/serviceaccounts/search", "").status)
	require.Equal(t, 401, s.as(key+"0", "GET", "/api/org", "").status)
	s.ok("admin", "PATCH", "/api/serviceaccounts/"+id, `{"isDisabled":true}`)
	require.Equal(t, 401, s.as(key, "GET", "/api/org", "").status, "a disabled account is out at once")
	s.ok("admin", "PATCH", "/api/serviceaccounts/"+id, `{"isDisabled":false,"role":"Viewer"}`)
	require.Equal(t, 403, s.as(key, "POST", "/api/folders", `{"title":"x"}`).status, "a lower role holds at once")
	s.ok("admin", "DELETE", "/api/serviceaccounts/"+id, "")
	require.Equal(t, 401, s.as(key, "GET", "/api/org", "").status)
}

func TestOtherSitesCannotAct(t *testing.T) {
	s := newSite(t)
	for _, token := range []string{"", "csrf-viewer"} {
		require.Equal(t, 403, s.as("editor", "POST", "/api/folders", `{"title":"x"}`, "X-CSRF-Token", token).status)
	}
}

func TestImportFillsInputs(t *testing.T) {
	s := newSite(t)
	gnet := s.ok("editor", "GET", "/api/gnet/dashboards/13548", "").object(t)
	board, err := json.Marshal(gnet["json"])
	require.NoError(t, err)
	require.Equal(t, 400, s.as("editor", "POST", "/api/dashboards/import", `{"dashboard":`+string(board)+`}`).status, "an input without a value")
	in := s.ok("editor", "POST", "/api/dashboards/import", `{"dashboard":`+string(board)+`,"inputs":[{"name":"DS_PROMETHEUS","type":"datasource","pluginId":"prometheus","value":"own-uid"}]}`).object(t)
	saved := s.ok("editor", "GET", "/api/dashboards/uid/"+in["uid"].(string), "").text
	require.NotContains(t, saved, "DS_PROMETHEUS")
	require.NotContains(t, saved, "__inputs")
	require.Contains(t, saved, `"uid":"own-uid"`)
	for _, u := range []string{"http://127.0.0.1:1/x", "http://169.254.169.254/latest", "http://[::1]/", "http://10.0.0.1/", "file:///etc/passwd", "http://u:p@example.com/"} {
		require.Equal(t, 502, s.as("editor", "POST", "/api/mangru/fetch-board", `{"url":"`+u+`"}`).status, u)
	}
}

// TestEveryRouteNeedsACaller sends every route without proof of identity.
func TestEveryRouteNeedsACaller(t *testing.T) {
	s := newSite(t)
	n := 0
	for _, pattern := range grafanaapi.Patterns() {
		if pattern == "GET /api/health" {
			continue
		}
		method, path, _ := strings.Cut(pattern, " ")
		path = regexp.MustCompile(`\{[^}]+\}`).ReplaceAllString(path, "x")
		require.Equal(t, 401, s.as("", method, path, "").status, pattern)
		n++
	}
	require.Greater(t, n, 100)
}

// TestGolden plays written conversations and compares every answer.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.http")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s := newSite(t)
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var out strings.Builder
			for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n### ") {
				request, _, _ := strings.Cut(strings.TrimPrefix(block, "### "), "\n--> ")
				line, body, _ := strings.Cut(request, "\n")
				f := strings.Fields(line)
				a := s.as(f[0], f[1], f[2], body)
				if out.Len() > 0 {
					out.WriteString("\n\n")
				}
				fmt.Fprintf(&out, "### %s\n--> %d %s", strings.TrimSpace(request), a.status, steady(t, a.text))
			}
			out.WriteString("\n")
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(out.String()), 0o600))
				return
			}
			require.Equal(t, string(text), out.String())
		})
	}
}

var moments = regexp.MustCompile(`"20\d\d-[0-9T:-]+Z"`)

var randomUID = regexp.MustCompile(`"uid": "[a-z0-9]{14}"|"(createdAt|created|updated)": 1\d+`)

// steady is an answer without what differs from run to run.
func steady(t *testing.T, text string) string {
	var v any
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	out, err := json.MarshalIndent(v, "", " ")
	require.NoError(t, err)
	return randomUID.ReplaceAllString(moments.ReplaceAllString(string(out), `"<time>"`), `"uid": "<uid>"`)
}
