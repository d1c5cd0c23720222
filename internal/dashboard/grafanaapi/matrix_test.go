package grafanaapi_test

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/grafanaapi"
	"github.com/mangru/mangru/internal/dashboard/records"
)

// bodies of calls that look at them before they look at who calls.
var bodies = map[string]string{
	"POST /api/dashboards/db":                                       `{"dashboard":{"uid":"brd","title":"Again"},"folderUid":"fold","overwrite":true}`,
	"POST /api/dashboards/calculate-diff":                           `{"base":{"dashboardUid":"brd","version":1},"new":{"dashboardUid":"brd","version":1}}`,
	"POST /api/annotations":                                         `{"dashboardUID":"brd","text":"x","time":1}`,
	"POST /api/annotations/graphite":                                `{"what":"x","when":1}`,
	"POST /api/access-control/{resource}/{uid}":                     `{"permissions":[]}`,
	"POST /api/access-control/{resource}/{uid}/builtInRoles/{role}": `{"permission":"View"}`,
	"POST /api/access-control/{resource}/{uid}/teams/{team}":        `{"permission":"View"}`,
	"POST /api/access-control/{resource}/{uid}/users/{user}":        `{"permission":"View"}`,
}

const matrixFile = "testdata/matrix.txt"

// stock is one of each thing that paths name.
type stock struct {
	s     *site
	admin int64
	ids   map[string]string
}

// fill makes what is missing, as it is for a workspace's people by default:
// viewers may look, editors may edit.
func (k *stock) fill() {
	t, ctx, ws := k.s.t, k.s.t.Context(), caller.DefaultWorkspace
	if _, err := k.s.store.Folder(ctx, ws, "fold"); err != nil {
		_, err := k.s.store.CreateFolder(ctx, ws, records.FolderInput{UID: "fold", Title: "Folder", By: "admin", Creator: k.admin})
		require.NoError(t, err)
	}
	if _, err := k.s.store.Board(ctx, ws, "brd"); err != nil {
		_, err := k.s.store.SaveBoard(ctx, ws, records.SaveInput{Board: json.RawMessage(`{"uid":"brd","title":"Board"}`), FolderUID: "fold", By: "admin", Creator: k.admin})
		require.NoError(t, err)
	}
	require.NoError(t, k.s.store.SetFolderPermissions(ctx, ws, "fold", []records.Permission{
		{SubjectKind: records.SubjectRole, Subject: string(caller.RoleEditor), Level: records.Edit},
		{SubjectKind: records.SubjectRole, Subject: string(caller.RoleViewer), Level: records.View},
	}))
	require.NoError(t, k.s.store.SetBoardPermissions(ctx, ws, "brd", nil))
	b, err := k.s.store.Board(ctx, ws, "brd")
	require.NoError(t, err)
	f, err := k.s.store.Folder(ctx, ws, "fold")
	require.NoError(t, err)
	k.ids["board"], k.ids["folder"], k.ids["user"] = strconv.FormatInt(b.ID, 10), strconv.FormatInt(f.ID, 10), strconv.FormatInt(k.admin, 10)
	if _, err := k.s.store.DataSource(ctx, ws, "src"); err != nil {
		// Nothing listens there.
		d := &records.DataSource{WorkspaceID: ws, UID: "src", Name: "src", Type: "prometheus", URL: "http://127.0.0.1:1", Access: "proxy"}
		require.NoError(t, k.s.store.CreateDataSource(ctx, d, nil))
	}
	d, err := k.s.store.DataSource(ctx, ws, "src")
	require.NoError(t, err)
	k.ids["source"] = strconv.FormatInt(d.ID, 10)
	if _, err := k.s.store.Team(ctx, ws, k.ids["team"]); err != nil {
		team, err := k.s.store.CreateTeam(ctx, ws, "team", "")
		require.NoError(t, err)
		k.ids["team"] = strconv.FormatInt(team.ID, 10)
	}
	id, _ := strconv.ParseInt(k.ids["account"], 10, 64)
	if _, err := k.s.store.ServiceAccount(ctx, ws, id); err != nil {
		a, err := k.s.store.CreateServiceAccount(ctx, ws, "robot", caller.RoleViewer, false)
		require.NoError(t, err)
		k.ids["account"] = strconv.FormatInt(a.ID, 10)
	}
}

// path fills in what a pattern names.
func (k *stock) path(pattern string) string {
	uid, id := "x", "1"
	switch {
	case strings.Contains(pattern, "/dashboard"), strings.Contains(pattern, "/render/"), strings.Contains(pattern, "access-control"):
		uid, id = "brd", k.ids["board"]
	case strings.Contains(pattern, "/folder"):
		uid, id = "fold", k.ids["folder"]
	case strings.Contains(pattern, "/datasources"):
		uid, id = "src", k.ids["source"]
	case strings.Contains(pattern, "/users"):
		id = k.ids["user"]
	case strings.Contains(pattern, "/prometheus/"), strings.Contains(pattern, "/alertmanager/"):
		uid = "src"
	}
	below := "api/v1/query"
	if strings.HasPrefix(pattern, "DELETE") {
		below = "api/v2/silence/x"
	}
	if strings.Contains(pattern, "/api/v1/{path") {
		below = "alerts"
	} else if strings.Contains(pattern, "/api/v2/{path") {
		below = "silences"
	}
	return strings.NewReplacer("{uid}", uid, "{id}", id, "{resource}", "dashboards", "{role}", "Viewer", "{user}", k.ids["user"], "{path...}", below, "{name}", "src", "{team}", k.ids["team"], "{account}", k.ids["account"],
		"{org}", "1", "{", "", "}", "", "...", "").Replace(pattern)
}

// TestEveryRouteWithEveryRole compares who may call what with a table that is
// written down: a route is a line; a role is a column, with + where the call gets
// through to its own work, whatever comes of it, and - where it is refused.
func TestEveryRouteWithEveryRole(t *testing.T) {
	s := newSite(t)
	u, err := s.store.EnsureUser(t.Context(), caller.DefaultWorkspace, people[0], true)
	require.NoError(t, err)
	k := &stock{s: s, admin: u.ID, ids: map[string]string{}}
	roles := []string{"", "nobody", "viewer", "editor", "admin"}
	var out strings.Builder
	out.WriteString("# anonymous, no role, VIEWER, EDITOR, ADMIN\n")
	for _, pattern := range grafanaapi.Patterns() {
		marks := ""
		for _, login := range roles {
			k.fill()
			method, path, _ := strings.Cut(k.path(pattern), " ")
			body := ""
			if method != "GET" && method != "DELETE" {
				body = "{}"
				if b, ok := bodies[pattern]; ok {
					body = b
				}
			}
			a := s.as(login, method, path, body)
			require.NotEqual(t, 500, a.status, "%s as %q: %s", pattern, login, a.text)
			mark := "+"
			switch a.status {
			case 401:
				require.Empty(t, login, "%s: somebody who is signed in is told to sign in", pattern)
				mark = "-"
			case 403:
				mark = "-"
			}
			if login == "" && mark == "+" {
				require.Equal(t, "GET /api/health", pattern, "open to everybody")
			}
			marks += mark
		}
		out.WriteString(marks + " " + pattern + "\n")
	}
	if *update {
		require.NoError(t, os.WriteFile(matrixFile, []byte(out.String()), 0o600))
	}
	want, err := os.ReadFile(matrixFile)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String(), "who may call what has changed; if that is meant, run with -update and look at the difference")
}

// A token is good in its own workspace only, whatever path it is sent to.
func TestTokenOfAnotherWorkspace(t *testing.T) {
	s := newSite(t)
	a, err := s.store.CreateServiceAccount(t.Context(), "g-0123456789", "robot", caller.RoleAdmin, false)
	require.NoError(t, err)
	_, token, err := s.store.CreateToken(t.Context(), "g-0123456789", a.ID, "t", 0)
	require.NoError(t, err)
	require.Equal(t, 401, s.as(token, "GET", "/api/org", "").status)
	a, err = s.store.CreateServiceAccount(t.Context(), caller.DefaultWorkspace, "robot", caller.RoleAdmin, false)
	require.NoError(t, err)
	_, token, err = s.store.CreateToken(t.Context(), caller.DefaultWorkspace, a.ID, "t", 0)
	require.NoError(t, err)
	require.Equal(t, 200, s.as(token, "GET", "/api/org", "").status)
}

// What a deleted person owns is their heir's.
func TestReassign(t *testing.T) {
	s := newSite(t)
	ctx, ws := t.Context(), caller.DefaultWorkspace
	uid := s.ok("editor", "POST", "/api/dashboards/db", `{"dashboard":{"title":"Own"}}`).object(t)["uid"].(string)
	s.ok("editor", "POST", "/api/user/stars/dashboard/uid/"+uid, "")
	s.ok("editor", "POST", "/api/query-history", `{"datasourceUid":"x","queries":[{"expr":"up"}]}`)
	require.NoError(t, s.store.SetFolderPermissions(ctx, ws, "none", nil))
	require.Equal(t, 403, s.as("viewer", "DELETE", "/api/dashboards/uid/"+uid, "").status)
	require.NoError(t, s.store.Reassign(ctx, "p2", &people[2]))
	require.Equal(t, 200, s.as("viewer", "GET", "/api/dashboards/uid/"+uid+"/permissions", "").status, "the heir administers it")
	users, err := s.store.Users(ctx, ws)
	require.NoError(t, err)
	for _, u := range users {
		require.NotEqual(t, "p2", u.UID)
	}
	require.NoError(t, s.store.Reassign(ctx, "p3", nil), "without an heir it is the administrators'")
	require.Equal(t, 403, s.as("viewer", "GET", "/api/dashboards/uid/"+uid+"/permissions", "").status)
	require.Equal(t, 200, s.as("admin", "GET", "/api/dashboards/uid/"+uid+"/permissions", "").status)
	require.NoError(t, s.store.Purge(ctx, ws))
	require.Equal(t, 404, s.as("admin", "GET", "/api/dashboards/uid/"+uid, "").status)
}
