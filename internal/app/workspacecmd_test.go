package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/store"
)

const cliRules = "groups:\n- name: g\n  rules:\n  - record: up:sum\n    expr: sum(up)\n"

// cliServer is a server with commands as its administrator.
func cliServer(t *testing.T, data string) (*testServer, *identityServer) {
	t.Helper()
	s := &identityServer{t: t, data: data}
	srv := startServer(t, testConfig(data))
	s.iam, s.url = srv.IAM(), srv.URL()
	if key, created := srv.FirstKey(); created {
		require.NoError(t, writeCredentials(filepath.Join(data, "credentials"), credentials{AccessKey: key.ID, SecretKey: key.Secret}))
	} else {
		c, err := readCredentials(filepath.Join(data, "credentials"))
		require.NoError(t, err)
		srv.key = iam.AccessKey{ID: c.AccessKey, Secret: c.SecretKey}
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	return srv, s
}

func TestWorkspaceCommands(t *testing.T) {
	srv, s := cliServer(t, t.TempDir())
	var made apsWorkspace
	s.json(&made, "workspace", "create", "prod", "--tag", "env=prod")
	require.Equal(t, "ACTIVE", made.Status.StatusCode)
	require.Contains(t, s.ok("workspace", "list"), "prod")
	s.ok("workspace", "configure", "prod", "--retention-days", "400", "--out-of-order-window", "30m", "--max-series", "5:team=web,env=prod", "--max-series", "0:")
	text := s.ok("workspace", "describe", "prod")
	for _, want := range []string{made.WorkspaceID, "400 days", "1800 s", "5 of {env=prod team=web}"} {
		require.Contains(t, text, want)
	}
	rules := writeFile(t, "team.yaml", cliRules)
	s.ok("rules", "push", "prod", rules)
	s.ok("rules", "push", "prod", rules, "--namespace", "other") // and once more, over it
	s.ok("rules", "push", "prod", rules)
	require.Equal(t, "other\nteam\n", s.ok("rules", "list", "prod"))
	s.fails(1, "there is no workspace with alias", "workspace", "describe", "staging")
	s.fails(2, "expected N:label=value", "workspace", "configure", "prod", "--max-series", "many")
	s.fails(2, "its id was not typed", "workspace", "delete", "prod")

	// A backup, and a workspace made from it.
	at := time.Now().Add(-time.Minute)
	for i := range 100 {
		require.Equal(t, http.StatusOK, srv.write(t, made.WorkspaceID, writeRequest(oneSeries(fmt.Sprintf("m%d", i), float64(i), at))).status)
	}
	file := filepath.Join(t.TempDir(), "prod.tar")
	s.ok("workspace", "export", "prod", "--to", file)
	s.fails(2, "is there already", "workspace", "export", "prod", "--to", file)
	var out struct {
		WorkspaceID string         `json:"workspaceId"`
		Imported    store.Imported `json:"imported"`
	}
	s.json(&out, "workspace", "import", "--from", file)
	require.NotEqual(t, made.WorkspaceID, out.WorkspaceID)
	require.EqualValues(t, 100, out.Imported.Samples)
	require.Equal(t, "4950", srv.value(t, out.WorkspaceID, `sum({__name__=~"m.+"})`))
	require.Equal(t, "other\nteam\n", s.ok("rules", "list", out.WorkspaceID))
	text = s.ok("workspace", "describe", out.WorkspaceID)
	require.Contains(t, text, "400 days")
	require.Contains(t, text, "env=prod")
	s.fails(2, "is that of 2 workspaces", "workspace", "describe", "prod")

	// Into one that is there, from a file that is not whole.
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	s.fails(1, "archive: ", "workspace", "import", out.WorkspaceID, "--from", writeFile(t, "cut.tar", string(whole[:len(whole)/2])))
	s.ok("workspace", "delete", made.WorkspaceID, "--yes")
}

func TestOfflineExportAndImport(t *testing.T) {
	srv, s := cliServer(t, t.TempDir())
	id := srv.newWorkspace(t, "a")
	require.Equal(t, http.StatusOK, srv.write(t, id, writeRequest(oneSeries("m", 7, time.Now()))).status)
	other := srv.newWorkspace(t, "b")
	srv.stop()
	file := filepath.Join(t.TempDir(), "a.tar")
	for _, args := range [][]string{{"workspace", "export", id, "--to", file, "--offline"}, {"workspace", "import", other, "--from", file, "--offline"}} {
		code, _, errs := runMain(append(args, "--data", s.data)...)
		require.Zero(t, code, errs)
	}
	srv, _ = cliServer(t, s.data)
	require.Equal(t, "7", srv.value(t, other, "m"))
}

// TestBackupNeedsPermission: who may query may not take everything away, nor put
// anything in.
func TestBackupNeedsPermission(t *testing.T) {
	srv := startServer(t, testConfig(t.TempDir()))
	id := srv.newWorkspace(t, "a")
	ctx := t.Context()
	_, err := srv.IAM().CreateUser(ctx, srv.Account(), "reader")
	require.NoError(t, err)
	require.NoError(t, srv.IAM().AttachUserPolicy(ctx, srv.Account(), "reader", "arn:aws:iam::aws:policy/AmazonPrometheusQueryAccess"))
	key, err := srv.IAM().CreateAccessKey(ctx, srv.Account(), "reader")
	require.NoError(t, err)
	for method, path := range map[string]string{"GET": "export", "POST": "import?upload=0123abcd&offset=0"} {
		r := signedRequest(t, method, srv.URL()+"/workspaces/"+id+"/api/v1/admin/tsdb/"+path, nil, key, "aps", "us-east-1", time.Now(), nil)
		got := srv.do(t, r)
		require.Equal(t, http.StatusForbidden, got.status, got.body)
		require.Contains(t, got.body, "is not authorized to perform: aps:")
	}
}

func TestRulesCommands(t *testing.T) {
	good, bad := writeFile(t, "good.yaml", cliRules), writeFile(t, "bad.yaml", strings.Replace(cliRules, "sum(up)", "sum(up", 1))
	code, out, _ := runMain("rules", "check", good)
	require.Zero(t, code)
	require.Contains(t, out, "good.yaml: 1 rules")
	code, _, errs := runMain("rules", "check", good, bad)
	require.Equal(t, 2, code)
	require.Regexp(t, `bad\.yaml:5:\d+: `, errs)

	tests := filepath.Join(filepath.Dir(good), "tests.yaml")
	for value, want := range map[string]int{"3": 0, "4": 1} {
		require.NoError(t, os.WriteFile(tests, []byte("rule_files: [good.yaml]\ntests:\n- input_series: [{series: 'up{i=\"a\"}', values: '1'}, {series: 'up{i=\"b\"}', values: '2'}]\n"+
			"  promql_expr_test: [{expr: 'up:sum', eval_time: 0, exp_samples: [{labels: 'up:sum', value: "+value+"}]}]\n"), 0o600))
		code, out, errs := runMain("rules", "test", tests)
		require.Equal(t, want, code, out+errs)
	}
}

// TestLogsAndRetentionTakeEffect: what the control plane is told reaches the
// parts.
func TestLogsAndRetentionTakeEffect(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(dir)
	cfg.Rules.Interval = Duration(100 * time.Millisecond)
	cfg.Rules.MinInterval = Duration(time.Millisecond)
	srv := startServer(t, cfg)
	id := srv.newWorkspace(t, "a")
	const group = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/prometheus/a:*"
	got := srv.call(t, "POST", "/workspaces/"+id+"/logging", `{"logGroupArn": "`+group+`"}`)
	require.Equal(t, http.StatusAccepted, got.status, got.body)
	require.Contains(t, got.body, `"ACTIVE"`)
	for i := range 2 {
		s := oneSeries("left", 1, time.Now().Add(-90*time.Second)) // rules look a minute back
		s.Labels = append(s.Labels, prompb.Label{Name: "z", Value: fmt.Sprint(i)})
		require.Equal(t, http.StatusOK, srv.write(t, id, writeRequest(s)).status)
	}
	// Many-to-many: the rule fails whenever it is evaluated.
	rule, err := json.Marshal(map[string]any{"name": "n", "data": []byte("groups:\n- name: g\n  rules:\n  - record: r\n    expr: left * on(job) group_left left\n")})
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, srv.call(t, "POST", "/workspaces/"+id+"/rulegroupsnamespaces", string(rule)).status)
	file := filepath.Join(dir, "logs", "000000000000", "%2Faws%2Fprometheus%2Fa.log")
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), `"component":"ruler"`) && strings.Contains(string(text), "many-to-many")
	}, 30*time.Second, 20*time.Millisecond)

	require.Equal(t, http.StatusAccepted, srv.call(t, "PATCH", "/workspaces/"+id+"/configuration", `{"retentionPeriodInDays": 3}`).status)
	require.Eventually(t, func() bool {
		got := srv.call(t, "GET", "/workspaces/"+id+"/configuration", "")
		return strings.Contains(got.body, `"retentionPeriodInDays":3`) && strings.Contains(got.body, `"ACTIVE"`)
	}, 10*time.Second, 20*time.Millisecond)
	require.Contains(t, srv.call(t, "GET", "/metrics", "").body, fmt.Sprintf("mangru_store_retention_seconds{workspace=%q} 259200", id))
}
