package grafanaapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/records"
)

// plane is the control plane of one workspace: it keeps what it is given, and
// reports it as being made until it was asked twice.
type plane struct {
	mu     sync.Mutex
	kept   map[string][]byte
	asked  map[string]int
	refuse func(method, path string) (int, string)
}

func (p *plane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/workspaces/ws-1/")
	if p.refuse != nil {
		if status, text := p.refuse(r.Method, path); status != 0 {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"message":"`+text+`"}`)
			return
		}
	}
	var in struct {
		Name string `json:"name"`
		Data []byte `json:"data"`
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut:
		_ = json.NewDecoder(r.Body).Decode(&in)
		if r.Method == http.MethodPost && in.Name != "" {
			path += "/" + in.Name
		}
		if (p.kept[path] == nil) == (r.Method == http.MethodPut) {
			w.WriteHeader(http.StatusConflict)
			return
		}
		p.kept[path], p.asked[path] = in.Data, 0
		w.WriteHeader(http.StatusAccepted)
	case http.MethodDelete:
		delete(p.kept, path)
		w.WriteHeader(http.StatusAccepted)
	default:
		data, ok := p.kept[path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		status := "ACTIVE"
		if p.asked[path]++; p.asked[path] < 3 {
			status = "CREATING"
		}
		key := "alertManagerDefinition"
		if strings.HasPrefix(path, "rule") {
			key = "ruleGroupsNamespace"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{key: map[string]any{"data": data, "status": map[string]string{"statusCode": status}}})
	}
}

func (p *plane) text(path string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.kept[path])
}

func withPlane(t *testing.T) (*site, *plane) {
	t.Helper()
	s := newSite(t)
	p := s.newPlane(t, "src")
	s.ok("admin", "POST", "/api/folders", `{"uid":"fold","title":"Folder"}`)
	return s, p
}

// newPlane makes a workspace and the data source that queries it.
func (s *site) newPlane(t *testing.T, uid string) *plane {
	t.Helper()
	p := &plane{kept: map[string][]byte{}, asked: map[string]int{}}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	d := &records.DataSource{WorkspaceID: caller.DefaultWorkspace, UID: uid, Name: uid, Type: "prometheus", URL: srv.URL + "/workspaces/ws-1", Access: "proxy",
		JSONData: map[string]any{"sigV4Auth": true, "sigV4AuthType": "keys", "sigV4Region": "us-east-1"}}
	require.NoError(t, s.store.CreateDataSource(t.Context(), d, map[string]string{"sigV4AccessKey": "AKIA", "sigV4SecretKey": "s"}))
	return p
}

func alertRule(title, folder, group string) string {
	return fmt.Sprintf(`{"title":%q,"folderUID":%q,"ruleGroup":%q,"condition":"A","for":"5m","noDataState":"OK","execErrState":"OK",
		"data":[{"refId":"A","datasourceUid":"src","relativeTimeRange":{"from":600,"to":0},"model":{"expr":"up == 0","instant":true}}]}`, title, folder, group)
}

const rulesPath, namespacePath = "/api/v1/provisioning/alert-rules", "rulegroupsnamespaces/grafana.default.fold.src"

func TestRulesGoToTheWorkspaceOfTheirDataSource(t *testing.T) {
	s, p := withPlane(t)
	d, err := s.store.DataSource(t.Context(), caller.DefaultWorkspace, "src")
	require.NoError(t, err)
	url := strings.TrimSuffix(d.URL, "/workspaces/ws-1")
	made := s.ok("editor", "POST", rulesPath, alertRule("Down", "fold", "one"))
	require.Equal(t, 201, made.status)
	uid := made.object(t)["uid"].(string)
	require.Contains(t, p.text(namespacePath), "alert: Down")
	require.Contains(t, p.text(namespacePath), "grafana_folder: Folder")
	require.Equal(t, 409, s.as("editor", "POST", rulesPath, alertRule("Down", "fold", "two")).status, "titles are unique in a folder")
	require.Equal(t, 400, s.as("editor", "POST", rulesPath, alertRule("X", "none", "one")).status)
	require.Equal(t, 403, s.as("viewer", "POST", rulesPath, alertRule("X", "fold", "one")).status)

	p.refuse = func(method, _ string) (int, string) {
		if method == http.MethodPut {
			return 400, "line 3: parse error"
		}
		return 0, ""
	}
	refused := s.as("editor", "POST", rulesPath, alertRule("Bad", "fold", "one"))
	require.Equal(t, 400, refused.status)
	require.Contains(t, refused.text, "line 3: parse error")
	require.Len(t, s.ok("viewer", "GET", rulesPath, "").list(t), 1, "what the workspace refuses is not kept")
	p.refuse = func(string, string) (int, string) { return 403, "no" }
	refused = s.as("editor", "POST", rulesPath, alertRule("Bad", "fold", "one"))
	require.Equal(t, 403, refused.status)
	require.Contains(t, refused.text, "aps:*RuleGroupsNamespace")
	p.refuse = nil

	s.ok("admin", "PUT", "/api/folders/fold", `{"title":"Renamed","overwrite":true}`)
	require.Contains(t, p.text(namespacePath), "grafana_folder: Renamed")
	require.EqualValues(t, 1, s.ok("viewer", "GET", "/api/folders/fold/counts", "").object(t)["alertrule"])
	require.Equal(t, 400, s.as("admin", "DELETE", "/api/folders/fold", "").status, "a folder with rules is not deleted by the way")
	require.Equal(t, 409, s.as("admin", "DELETE", "/api/datasources/uid/src", "").status, "nor is the data source whose workspace evaluates them")
	source := func(uid, path string) string {
		return `{"uid":"` + uid + `","name":"src","type":"prometheus","access":"proxy","url":"` + url + path + `","jsonData":{"sigV4Auth":true,"sigV4AuthType":"keys","sigV4Region":"us-east-1"}}`
	}
	require.Equal(t, 409, s.as("admin", "PUT", "/api/datasources/uid/src", source("new", "/workspaces/ws-1")).status, "rules know it by its uid")
	require.Equal(t, 409, s.as("admin", "PUT", "/api/datasources/uid/src", source("src", "/workspaces/ws-2")).status, "rules would stay behind in the workspace")
	s.ok("admin", "PUT", "/api/datasources/uid/src", source("src", "/workspaces/ws-1/"))

	s.ok("admin", "POST", "/api/folders", `{"uid":"other","title":"Other"}`)
	s.ok("admin", "POST", "/api/folders/other/permissions", `{"items":[{"role":"Viewer","permission":1}]}`)
	require.Equal(t, 403, s.as("editor", "PUT", rulesPath+"/"+uid, alertRule("Down", "other", "one")).status)
	s.ok("admin", "PUT", rulesPath+"/"+uid, alertRule("Down", "other", "one"))
	require.Empty(t, p.text(namespacePath), "it has moved")
	require.Contains(t, p.text("rulegroupsnamespaces/grafana.default.other.src"), "alert: Down")
	s.ok("admin", "POST", "/api/folders/other/permissions", `{"items":[{"role":"Editor","permission":1}]}`)
	require.Empty(t, s.ok("viewer", "GET", rulesPath, "").list(t), "rules are seen by who sees their folder")

	s.ok("admin", "DELETE", "/api/folders/other?forceDeleteRules=true", "")
	require.Empty(t, p.text("rulegroupsnamespaces/grafana.default.other.src"))
	s.ok("admin", "DELETE", "/api/datasources/uid/src", "")
}

// TestRefusedChangesLeaveEveryWorkspaceAsItWas changes what several workspaces have.
func TestRefusedChangesLeaveEveryWorkspaceAsItWas(t *testing.T) {
	s, first := withPlane(t)
	second := s.newPlane(t, "src2")
	no := func(method, _ string) (int, string) {
		if method == http.MethodGet {
			return 0, ""
		}
		return 400, "no"
	}
	there := func(rule string) string {
		return strings.ReplaceAll(rule, `"datasourceUid":"src"`, `"datasourceUid":"src2"`)
	}
	const inSecond = "rulegroupsnamespaces/grafana.default.fold.src2"
	uid := s.ok("editor", "POST", rulesPath, alertRule("Down", "fold", "one")).object(t)["uid"].(string)
	second.refuse = no
	require.Equal(t, 400, s.as("editor", "PUT", rulesPath+"/"+uid, there(alertRule("Down", "fold", "one"))).status)
	require.Contains(t, first.text(namespacePath), "alert: Down", "it is still evaluated where it was")
	two := `{"rules":[` + alertRule("Other", "fold", "one") + `,` + there(alertRule("There", "fold", "one")) + `]}`
	require.Equal(t, 400, s.as("editor", "PUT", "/api/v1/provisioning/folder/fold/rule-groups/one", two).status)
	require.Contains(t, first.text(namespacePath), "alert: Down")
	require.NotContains(t, first.text(namespacePath), "alert: Other")
	second.refuse = nil
	require.Equal(t, 400, s.as("editor", "POST", rulesPath, strings.Replace(there(alertRule("Bad", "fold", "two")), "{", `{"uid":"a b",`, 1)).status, "a uid that cannot be kept")
	require.Empty(t, second.text(inSecond))

	s.ok("editor", "POST", rulesPath, there(alertRule("There", "fold", "two")))
	const definition, points = "alertmanager/definition", "/api/v1/provisioning/contact-points"
	point := func(uid, name string) string {
		return `{"uid":"` + uid + `","name":"` + name + `","type":"webhook","settings":{"url":"https://x.example.com"}}`
	}
	require.Equal(t, 400, s.as("admin", "POST", points, point("a b", "bad")).status)
	require.Empty(t, first.text(definition))
	s.ok("admin", "POST", points, point("good", "good"))
	require.Equal(t, first.text(definition), second.text(definition))
	second.refuse = no
	require.Equal(t, 400, s.as("admin", "POST", points, point("late", "late")).status)
	require.Equal(t, second.text(definition), first.text(definition), "the one that took it has got back what it had")
}

func TestForeignDefinitionsStay(t *testing.T) {
	s, p := withPlane(t)
	const points = "/api/v1/provisioning/contact-points"
	point := `{"name":"team","type":"webhook","settings":{"url":"https://x.example.com","password":"hush","username":"u"}}`
	p.kept["alertmanager/definition"] = []byte("alertmanager_config: mine")
	refused := s.as("admin", "POST", points, point)
	require.Equal(t, 409, refused.status)
	require.Contains(t, refused.text, "would be lost")
	require.Empty(t, s.ok("admin", "GET", points, "").list(t))
	delete(p.kept, "alertmanager/definition")
	require.Equal(t, 403, s.as("editor", "POST", points, point).status)
	require.Equal(t, 202, s.ok("admin", "POST", points, point).status)
	require.Contains(t, p.text("alertmanager/definition"), "hush")
	require.NotContains(t, s.ok("editor", "GET", points, "").text, "hush")
	docs, err := s.store.Documents(t.Context(), caller.DefaultWorkspace, records.KindContactPoint, nil)
	require.NoError(t, err)
	require.NotContains(t, string(docs[0].Data), "hush", "secrets are sealed")
	require.NotContains(t, s.ok("editor", "GET", points+"/export?decrypt=true", "").text, "hush", "only administrators get them out")
	require.Contains(t, s.ok("admin", "GET", points+"/export?decrypt=true&format=json", "").text, "hush")
	require.Equal(t, 400, s.as("admin", "GET", points+"/export?format=hcl", "").status)
}

func TestDataSourcesElsewhereHaveNoRules(t *testing.T) {
	s := newSite(t)
	s.ok("admin", "POST", "/api/folders", `{"uid":"fold","title":"Folder"}`)
	s.ok("admin", "POST", "/api/datasources", `{"uid":"src","name":"plain","type":"prometheus","url":"http://127.0.0.1:1"}`)
	refused := s.as("admin", "POST", rulesPath, alertRule("Down", "fold", "one"))
	require.Equal(t, 400, refused.status)
	require.Contains(t, refused.text, "is no workspace of Managed Prometheus")
	refused = s.as("admin", "PUT", "/api/v1/provisioning/policies", `{"receiver":"empty"}`)
	require.Equal(t, 400, refused.status)
	require.Contains(t, refused.text, "there is no alert manager to tell")
}

func TestLibraryPanelsAreFilledInAndKeptOnce(t *testing.T) {
	s := newSite(t)
	s.ok("editor", "POST", "/api/library-elements", `{"uid":"lib","name":"Lib","kind":1,"model":{"id":9,"type":"stat","title":"Shared","options":{"a":1.50}}}`)
	board := func(options, more string) string {
		return `{"dashboard":{"uid":"b","title":"B","panels":[{"type":"row","collapsed":true,"panels":[{"id":3,"gridPos":{"w":4},"libraryPanel":{"uid":"lib"}` + options + `}]}` + more + `]},"overwrite":true}`
	}
	s.ok("editor", "POST", "/api/dashboards/db", board("", ""))
	got := s.ok("viewer", "GET", "/api/dashboards/uid/b", "").text
	for _, want := range []string{`"title":"Shared"`, `"a":1.50`, `"id":3`, `"w":4`, `"name":"Lib"`} {
		require.Contains(t, got, want)
	}
	s.ok("editor", "POST", "/api/dashboards/db", board(`,"type":"stat","title":"Shared","options":{"a":1.5}`, `,{"id":4,"type":"text"}`))
	kept, err := s.store.Board(t.Context(), caller.DefaultWorkspace, "b")
	require.NoError(t, err)
	require.NotContains(t, string(kept.Data), "Shared", "there is one copy of it")
	refused := s.as("editor", "POST", "/api/dashboards/db", board(`,"type":"stat","title":"Changed","options":{"a":1.5}`, ""))
	require.Equal(t, 400, refused.status)
	require.Contains(t, refused.text, "change it in the library")
	s.ok("editor", "PATCH", "/api/library-elements/lib", `{"version":1,"kind":1,"name":"Lib","model":{"type":"gauge","title":"Newer"}}`)
	require.Contains(t, s.ok("viewer", "GET", "/api/dashboards/uid/b", "").text, `"title":"Newer"`)
	require.Equal(t, 403, s.as("editor", "DELETE", "/api/library-elements/lib", "").status, "a board shows it")
	plain := s.ok("editor", "POST", "/api/dashboards/db", `{"dashboard":{"uid":"c","title":"C","n":1.0,"panels":[{"libraryPanel":{"uid":"gone"},"type":"stat"}]}}`)
	require.Equal(t, 200, plain.status)
	require.Contains(t, s.ok("viewer", "GET", "/api/dashboards/uid/c", "").text, `"type":"stat"`, "one that is not in the library stays as it is")
}
