package rules

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"gopkg.in/yaml.v3"

	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/workspace"
)

// What the routes need.
var (
	_ api.RuleNamespaces = (*Records)(nil)
	_ api.RulerHandler   = (*Records)(nil).ServeConfig
	_ api.QueryHandler   = (*Manager)(nil).ServeWorkspace
)

type noStorage struct{}

func (noStorage) Create(context.Context, string) error { return nil }
func (noStorage) Remove(context.Context, string) error { return nil }

func openDB(t testing.TB) *bun.DB {
	t.Helper()
	conn, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "records.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func newWorkspace(t testing.TB, conn *bun.DB) *workspace.Workspace {
	t.Helper()
	s, err := workspace.New(workspace.Config{Region: "eu-west-1"}, conn, noStorage{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ws, err := s.Create(t.Context(), "123456789012", workspace.CreateInput{})
	require.NoError(t, err)
	require.NoError(t, s.Reconcile(t.Context()))
	ws, err = s.Get(t.Context(), "123456789012", ws.ID)
	require.NoError(t, err)
	return ws
}

const oneRule = "groups:\n- name: g\n  rules:\n  - {record: a:b, expr: sum(a)}\n"

func TestRecordsLifeOfNamespace(t *testing.T) {
	conn := openDB(t)
	ws := newWorkspace(t, conn)
	now := time.UnixMilli(1_700_000_000_000).UTC()
	s := NewRecords(RecordsConfig{Now: func() time.Time { return now }}, conn)
	ctx := t.Context()

	n, err := s.Create(ctx, ws, workspace.Definition{Name: "my rules/1", Data: []byte(oneRule), Tags: map[string]string{"team": "a"}}, "t1")
	require.NoError(t, err)
	want := &workspace.Definition{Name: "my rules/1", Data: []byte(oneRule), Tags: map[string]string{"team": "a"}, Status: workspace.StatusCreating, CreatedAt: now, ModifiedAt: now}
	require.Equal(t, want, n)
	// The same call again is the same namespace; other parameters are a conflict.
	now = now.Add(time.Second)
	again, err := s.Create(ctx, ws, workspace.Definition{Name: "my rules/1", Data: []byte(oneRule), Tags: map[string]string{"team": "a"}}, "t1")
	require.NoError(t, err)
	require.Equal(t, want, again)
	var conflict *ConflictError
	_, err = s.Create(ctx, ws, workspace.Definition{Name: "other", Data: []byte(oneRule)}, "t1")
	require.ErrorAs(t, err, &conflict)
	_, err = s.Create(ctx, ws, workspace.Definition{Name: "my rules/1", Data: []byte(oneRule)}, "")
	require.ErrorAs(t, err, &conflict)

	changed := strings.Replace(oneRule, "sum(a)", "max(a)", 1)
	n, err = s.Put(ctx, ws, "my rules/1", []byte(changed), "")
	require.NoError(t, err)
	require.Equal(t, changed, string(n.Data))
	require.Equal(t, now, n.ModifiedAt)
	require.Equal(t, want.CreatedAt, n.CreatedAt)
	_, err = s.Put(ctx, ws, "absent", []byte(changed), "")
	require.True(t, isNotFound(err), "%v", err)

	require.NoError(t, s.Tag(ctx, ws, "my rules/1", map[string]string{"env": "prod"}))
	require.NoError(t, s.Untag(ctx, ws, "my rules/1", []string{"team", "nothing"}))
	n, err = s.Describe(ctx, ws, "my rules/1")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"env": "prod"}, n.Tags)

	require.NoError(t, s.Delete(ctx, ws, "my rules/1", ""))
	n, err = s.Describe(ctx, ws, "my rules/1")
	require.NoError(t, err)
	require.Equal(t, workspace.StatusDeleting, n.Status)
	require.ErrorAs(t, s.Delete(ctx, ws, "my rules/1", ""), &conflict)
	_, err = s.Put(ctx, ws, "my rules/1", []byte(changed), "")
	require.ErrorAs(t, err, &conflict)

	// With the workspace all its records go.
	_, err = conn.NewDelete().Table("workspaces").Where("id = ?", ws.ID).Exec(ctx)
	require.NoError(t, err)
	_, err = s.Describe(ctx, ws, "my rules/1")
	require.True(t, isNotFound(err), "%v", err)
	_, err = s.Create(ctx, ws, workspace.Definition{Name: "late", Data: []byte(oneRule)}, "")
	require.ErrorContains(t, err, "FOREIGN KEY")
}

func TestRecordsListPages(t *testing.T) {
	conn := openDB(t)
	ws, other := newWorkspace(t, conn), newWorkspace(t, conn)
	s := NewRecords(RecordsConfig{}, conn)
	for _, name := range []string{"b2", "a", "b1", "b3"} {
		_, err := s.Create(t.Context(), ws, workspace.Definition{Name: name, Data: []byte(oneRule)}, "")
		require.NoError(t, err)
	}
	_, err := s.Create(t.Context(), other, workspace.Definition{Name: "b0", Data: []byte(oneRule)}, "")
	require.NoError(t, err)

	var names []string
	token, last := "", ""
	for page := 0; ; page++ {
		list, next, err := s.List(t.Context(), ws, "b", 2, token)
		require.NoError(t, err)
		for _, n := range list {
			require.Nil(t, n.Data)
			names = append(names, n.Name)
		}
		if next == "" {
			require.Equal(t, 1, page)
			break
		}
		token, last = next, next
	}
	require.Equal(t, []string{"b1", "b2", "b3"}, names)

	var invalid *InvalidError
	_, _, err = s.List(t.Context(), ws, "", 0, last)
	require.ErrorAs(t, err, &invalid, "a token of another list")
	_, _, err = s.List(t.Context(), ws, "", 1001, "")
	require.ErrorAs(t, err, &invalid)
}

func TestRecordsBounds(t *testing.T) {
	conn := openDB(t)
	ws := newWorkspace(t, conn)
	s := NewRecords(RecordsConfig{MaxNamespaces: 2, MaxRules: 3, MaxBytes: 1000, MinInterval: 30 * time.Second}, conn)
	rules := func(n int) []byte {
		return []byte("groups:\n- name: g\n  rules:\n" + strings.Repeat("  - {record: r, expr: a}\n", n))
	}
	var invalid *InvalidError
	var quota *QuotaError
	_, err := s.Create(t.Context(), ws, workspace.Definition{Name: "a", Data: rules(2)}, "")
	require.NoError(t, err)
	_, err = s.Create(t.Context(), ws, workspace.Definition{Name: "b", Data: rules(2)}, "")
	require.ErrorAs(t, err, &quota)
	require.ErrorContains(t, err, "4 rules, 3 are the most")
	_, err = s.Put(t.Context(), ws, "a", rules(3), "")
	require.NoError(t, err, "what is replaced does not count")
	_, err = s.Create(t.Context(), ws, workspace.Definition{Name: "b", Data: rules(0)}, "")
	require.NoError(t, err)
	_, err = s.Create(t.Context(), ws, workspace.Definition{Name: "c", Data: rules(0)}, "")
	require.ErrorAs(t, err, &quota)

	for name, in := range map[string]struct {
		Name, ClientToken string
		Data              []byte
		Tags              map[string]string
	}{
		"1001 bytes, allowed are 1000":                                {Name: "d", Data: append(rules(0), bytes.Repeat([]byte("#"), 1001-len(rules(0)))...)},
		"interval: 10s is less than 30s (setting rules.min_interval)": {Name: "d", Data: []byte("groups:\n- name: g\n  interval: 10s\n  rules: []\n")},
		"allowed are 721":                           {Name: "d", Data: []byte("groups:\n- name: " + strings.Repeat("g", 721) + "\n  rules: []\n")},
		"at least one of them a letter or a digit":  {Name: "--", Data: rules(1)},
		"the prefix aws: is reserved":               {Name: "d", Data: rules(1), Tags: map[string]string{"AWS:x": ""}},
		"allowed are 1 to 64 printable ASCII chara": {Name: "d", Data: rules(0), ClientToken: "a b"},
	} {
		_, err := s.Create(t.Context(), ws, workspace.Definition{Name: in.Name, Data: in.Data, Tags: in.Tags}, in.ClientToken)
		require.ErrorAs(t, err, &invalid, name)
		require.ErrorContains(t, err, name)
	}
	deleting := *ws
	deleting.Status = workspace.StatusDeleting
	var conflict *ConflictError
	_, err = s.Create(t.Context(), &deleting, workspace.Definition{Name: "d", Data: rules(0)}, "")
	require.ErrorAs(t, err, &conflict)
}

func TestParseSaysWhere(t *testing.T) {
	for data, want := range map[string]string{
		"":                       "the data is empty: rule groups are expected",
		"# nothing\n":            "the data is empty: rule groups are expected",
		"- a\n":                  "line 1, column 1: a mapping with the field groups is expected",
		"groups: {\n":            "line 1: did not find expected node content",
		"\xff":                   "the data is not UTF-8",
		"groups: []\n---\na: 1":  "line 2, column 1: a second YAML document: only one is allowed",
		"groups: []\nfoo: 1\n":   "line 2, column 1: field foo: unknown field, allowed are groups",
		"groups:\n- rules: []\n": "line 2, column 3: field name: a group needs a name",
		"groups:\n- name: a\n  rules: []\n- rules: []\n  name: a\n":                                  `line 5, column 3: group "a", field name: another group of the file has this name`,
		"groups:\n- name: a\n  interval: 1 parsec\n  rules: []\n":                                    `line 3, column 3: group "a", field interval: "1 parsec" is not a duration such as 30s, 5m or 1h30m`,
		"groups:\n- name: a\n  rules:\n  - record: b\n    expr: sum(\n":                              `line 5, column 5: group "a", rule 1 (b), field expr: could not parse expression: 1:5: parse error: unclosed left parenthesis`,
		"groups:\n- name: a\n  rules:\n  - {record: b, expr: c}\n  - alert: x\n":                     `line 5, column 5: group "a", rule 2 (x), field expr: is required`,
		"groups:\n- name: a\n  rules:\n  - expr: c\n":                                                `line 4, column 5: group "a", rule 1: one of the fields record and alert must be set`,
		"groups:\n- name: a\n  rules:\n  - record: b\n    alert: b\n    expr: c\n":                   `line 4, column 5: group "a", rule 1 (b), field record: only one of 'record' and 'alert' must be set`,
		"groups:\n- name: a\n  rules:\n  - record: b\n    expr: c\n    for: 5m\n":                    `line 6, column 5: group "a", rule 1 (b), field for: invalid field 'for' in recording rule`,
		"groups:\n- name: a\n  rules:\n  - record: b\n    expr: c\n    four: 5m\n":                   `line 6, column 5: group "a", rule 1 (b), field four: unknown field, allowed are alert, record, expr, for, keep_firing_for, labels, annotations`,
		"groups:\n- name: a\n  rules:\n  - record: 'b{}'\n    expr: c\n":                             `line 4, column 5: group "a", rule 1 (b{}), field record: braces present in the recording rule name; should it be in expr?: b{}`,
		"groups:\n- name: a\n  rules:\n  - record: b\n    expr: c\n    labels: {__name__: x}\n":      `line 6, column 14: group "a", rule 1 (b), field labels.__name__: invalid label name: __name__`,
		"groups:\n- name: a\n  rules:\n  - alert: b\n    expr: c\n    annotations:\n      x: '{{'\n": `line 7, column 7: group "a", rule 1 (b), field annotations.x: template: __alert_b:1: unclosed action`,
		"groups:\n- name: a\n  limit: many\n  rules: []\n":                                           "line 3: cannot unmarshal !!str `many` into int",
	} {
		groups, issues := Parse([]byte(data))
		require.Nil(t, groups, data)
		require.NotEmpty(t, issues, data)
		got := issues[0].String()
		require.True(t, got == want || strings.HasPrefix(got, want), "%q:\n got %s\nwant %s", data, got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(oneRule))
	f.Add([]byte("groups:\n- &a {name: x, rules: [{alert: y, expr: 'a>1', for: 1m, labels: {l: v}}]}\n- *a\n"))
	f.Add([]byte("groups:\n- name: x\n  rules:\n  - <<: {record: r}\n    expr: 1\n"))
	f.Add([]byte("groups: [1, {name: 2, rules: [3]}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		groups, issues := Parse(data)
		if (groups == nil) != (len(issues) > 0) {
			t.Fatalf("groups %v and issues %v", groups, issues)
		}
		for _, i := range issues {
			if i.Message == "" || i.Line < 0 || i.Line > len(data)+1 {
				t.Fatalf("%+v", i)
			}
		}
		if groups == nil {
			return
		}
		// A group that is added can be read, and so can all others.
		node, _ := document([]byte("name: added\nrules: [{record: r, expr: '1'}]\n"))
		edited, err := withGroup(data, node)
		if err != nil {
			t.Fatal(err)
		}
		after, issues := Parse(edited)
		if len(issues) > 0 {
			t.Fatalf("%s\n%v", edited, issues)
		}
		names := map[string]bool{"added": true}
		for _, g := range groups.Groups {
			names[g.Name] = true
		}
		if len(after.Groups) != len(names) {
			t.Fatalf("%d groups, want %d:\n%s", len(after.Groups), len(names), edited)
		}
	})
}

func TestConfigAPI(t *testing.T) {
	conn := openDB(t)
	ws := newWorkspace(t, conn)
	s := NewRecords(RecordsConfig{}, conn)
	do := func(method, namespace, group, body string) (int, string) {
		t.Helper()
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, "/config/v1/rules", strings.NewReader(body))
		require.NoError(t, s.ServeConfig(w, r, ws, namespace, group))
		return w.Code, w.Body.String()
	}
	expect := func(status int, contains, method, namespace, group, body string) {
		t.Helper()
		code, text := do(method, namespace, group, body)
		require.Equal(t, status, code, text)
		require.Contains(t, text, contains)
	}
	expect(http.StatusNotFound, "no rule groups found", "GET", "", "", "")
	expect(http.StatusNotFound, "group does not exist", "GET", "ns", "g", "")
	expect(http.StatusNotFound, "group does not exist", "DELETE", "ns", "g", "")
	expect(http.StatusNotFound, "no rule groups found", "DELETE", "ns", "", "")
	expect(http.StatusMethodNotAllowed, "", "PUT", "ns", "", "")

	// Managed Prometheus' namespaces and this API's are the same ones, and what
	// is not edited stays as it was written.
	_, err := s.Create(t.Context(), ws, workspace.Definition{Name: "ns", Data: []byte("groups:\n  # The first.\n  - name: one\n    rules:\n      - record: a:b # sum\n        expr: sum(a)\n")}, "")
	require.NoError(t, err)
	expect(http.StatusAccepted, `"status":"success"`, "POST", "ns", "", "name: two/é\ninterval: 30s\nrules:\n- alert: Down\n  expr: up == 0\n  for: 5m\n")
	n, err := s.Describe(t.Context(), ws, "ns")
	require.NoError(t, err)
	require.Equal(t, "groups:\n  # The first.\n  - name: one\n    rules:\n      - record: a:b # sum\n        expr: sum(a)\n  - name: two/é\n    interval: 30s\n    rules:\n      - alert: Down\n        expr: up == 0\n        for: 5m\n", string(n.Data))

	var all map[string][]rulefmt.RuleGroup
	code, text := do("GET", "", "", "")
	require.Equal(t, http.StatusOK, code)
	require.NoError(t, yaml.Unmarshal([]byte(text), &all))
	require.Len(t, all["ns"], 2)
	require.Equal(t, "up == 0", all["ns"][1].Rules[0].Expr)

	// Replace, and errors with the lines of the group.
	expect(http.StatusAccepted, "", "POST", "ns", "", "name: one\nrules:\n- {record: c, expr: d}\n")
	expect(http.StatusOK, "record: c", "GET", "ns", "one", "")
	expect(http.StatusBadRequest, `line 3, column 15: group "one", rule 1 (c), field expr: could not parse expression`, "POST", "ns", "", "name: one\nrules:\n- {record: c, expr: 'sum('}\n")
	expect(http.StatusBadRequest, "a rule group is expected", "POST", "ns", "", "[]")
	expect(http.StatusBadRequest, "a group needs a name", "POST", "ns", "", "rules: []")

	expect(http.StatusAccepted, "", "DELETE", "ns", "one", "")
	expect(http.StatusNotFound, "group does not exist", "GET", "ns", "one", "")
	expect(http.StatusAccepted, "", "DELETE", "ns", "two/é", "")
	expect(http.StatusNotFound, "no rule groups found", "GET", "ns", "", "")
	// A namespace whose deletion is not done yet comes back.
	expect(http.StatusAccepted, "", "POST", "ns", "", "name: new\nrules: [{record: c, expr: d}]\n")
	n, err = s.Describe(t.Context(), ws, "ns")
	require.NoError(t, err)
	require.Equal(t, workspace.StatusCreating, n.Status)
	require.Equal(t, "groups:\n  - name: new\n    rules: [{record: c, expr: d}]\n", string(n.Data))
}

// apiResponse is an answer of Prometheus' API.
func apiResponse(t *testing.T, m *Manager, id, path string, into any) {
	t.Helper()
	w := httptest.NewRecorder()
	p, _, _ := strings.Cut(path, "?")
	require.NoError(t, m.ServeWorkspace(w, httptest.NewRequest(http.MethodGet, path, nil), id, p))
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	var out struct {
		Status string
		Data   json.RawMessage
	}
	require.NoError(t, json.NewDecoder(io.Reader(w.Body)).Decode(&out))
	require.Equal(t, "success", out.Status)
	require.NoError(t, json.Unmarshal(out.Data, into), string(out.Data))
}
