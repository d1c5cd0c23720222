package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/server/workspace"
)

const (
	mine     = iam.DefaultAccount
	theirs   = "111111111111"
	logGroup = "arn:aws:logs:us-east-1:" + mine + ":log-group:g:*"
)

// plane is Managed Prometheus with all that can be plugged into it.
type plane struct {
	fixture
	db       *bun.DB
	stranger iam.AccessKey // administrator of another account
	registry *prometheus.Registry
}

func newPlane(t testing.TB, change func(*workspace.Config, *APSConfig)) *plane {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	p := &plane{registry: prometheus.NewRegistry()}
	var err error
	p.db, err = db.Open(ctx, filepath.Join(dir, "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.db.Close() })
	p.identity, err = iam.Open(ctx, p.db, iam.Config{KeyFile: filepath.Join(dir, "secret.key")})
	require.NoError(t, err)
	p.admin, _, err = p.identity.Bootstrap(ctx)
	require.NoError(t, err)
	require.NoError(t, p.identity.CreateAccount(ctx, theirs, "theirs"))
	p.stranger = p.user(t, theirs, "boss", iam.PolicyAdministratorAccess)
	wc := workspace.Config{Region: "us-east-1", Scrapers: scrapeRunner{}, Logs: logSinks{}}
	note := func(what string) QueryHandler {
		return func(_ http.ResponseWriter, _ *http.Request, id, path string) error {
			p.served = append(p.served, what+" "+id+" "+path)
			return nil
		}
	}
	ac := APSConfig{Region: "us-east-1", Authorizer: p.identity, Registerer: p.registry,
		Write:    func(_ http.ResponseWriter, _ *http.Request, id string) error { return note("write")(nil, nil, id, "") },
		OTLP:     func(_ http.ResponseWriter, _ *http.Request, id string) error { return note("otlp")(nil, nil, id, "") },
		Query:    note("query"),
		RulesAPI: note("rules"), AlertManagerAPI: note("alertmanager"),
		RulerAPI: func(_ http.ResponseWriter, _ *http.Request, ws *workspace.Workspace, namespace, group string) error {
			return note("ruler")(nil, nil, ws.ID, namespace+"|"+group)
		},
		RuleNamespaces: &namespaces{map[string]*workspace.Definition{}}, AlertManagers: &definitions{map[string]*workspace.Definition{}}}
	if change != nil {
		change(&wc, &ac)
	}
	p.workspaces, err = workspace.New(wc, p.db, noStorage{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ac.Workspaces = p.workspaces
	w, err := p.workspaces.Ensure(ctx, mine, "default")
	require.NoError(t, err)
	p.ws = w.ID
	p.service, err = NewAPS(ac)
	require.NoError(t, err)
	v, err := sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{"us-east-1"}}, Keys(p.identity))
	require.NoError(t, err)
	p.router, err = NewRouter(Config{Services: []Service{p.service}, Verifier: v, Authorizer: p.identity}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return p
}

// user makes a user with managed policies, or with one of its own.
func (p *plane) user(t testing.TB, account, name string, policies ...string) iam.AccessKey {
	t.Helper()
	ctx := context.Background()
	_, err := p.identity.CreateUser(ctx, account, name)
	require.NoError(t, err)
	for i, one := range policies {
		if strings.HasPrefix(one, "{") {
			made, err := p.identity.CreatePolicy(ctx, account, iam.PolicySpec{Name: fmt.Sprint(name, i), Document: one})
			require.NoError(t, err)
			one = made.ARN
		}
		require.NoError(t, p.identity.AttachUserPolicy(ctx, account, name, one))
	}
	k, err := p.identity.CreateAccessKey(ctx, account, name)
	require.NoError(t, err)
	return k
}

// call expects a status and returns the body.
func (p *plane) call(t *testing.T, key iam.AccessKey, status int, method, path string, body any) map[string]any {
	t.Helper()
	text, ok := body.(string)
	if !ok && body != nil {
		b, err := json.Marshal(body)
		require.NoError(t, err)
		text = string(b)
	}
	w := p.send(t, key, method, strings.ReplaceAll(path, "{ws}", p.ws), strings.ReplaceAll(text, "{ws}", p.ws))
	require.Equal(t, status, w.Code, "%s %s: %s", method, path, w.Body)
	if w.Body.Len() == 0 {
		return nil
	}
	out := map[string]any{}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &out))
	return out
}

func blob(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

const scraperBody = `{"scrapeConfiguration":{"configurationBlob":"YTogMQ=="},"source":{"eksConfiguration":{"clusterArn":"` + scraped + `","subnetIds":["subnet-1"]}},
	"destination":{"ampConfiguration":{"workspaceArn":"arn:aws:aps:us-east-1:` + mine + `:workspace/{ws}"}}}`

// TestValidation sends what is wrong in every way that an operation knows.
func TestValidation(t *testing.T) {
	p := newPlane(t, nil)
	made := p.call(t, p.admin, 202, "POST", "/scrapers", scraperBody)
	require.NoError(t, p.workspaces.Reconcile(t.Context()))
	one := "/scrapers/" + made["scraperId"].(string)
	const ws, config, rules, definition = "/workspaces/{ws}", "/workspaces/{ws}/configuration", "/workspaces/{ws}/rulegroupsnamespaces", "/workspaces/{ws}/alertmanager/definition"
	arn := "/tags/arn%3Aaws%3Aaps%3Aus-east-1%3A" + mine + "%3A"
	large := blob(strings.Repeat("x", maxDefinition+1))
	for _, tc := range []struct {
		method, path, body string
		reason             string
		fields             string // names, sorted
	}{
		{"POST", "/workspaces", `{`, "CANNOT_PARSE", ""},
		{"POST", "/workspaces", `[]`, "CANNOT_PARSE", ""},
		{"POST", "/workspaces", `{} {}`, "CANNOT_PARSE", ""},
		{"POST", "/workspaces", `{"alias":5}`, "CANNOT_PARSE", "alias"},
		{"POST", "/workspaces", `{"alias":"` + strings.Repeat("a", 101) + `"}`, "FIELD_VALIDATION_FAILED", "alias"},
		{"POST", "/workspaces", `{"clientToken":"a b"}`, "FIELD_VALIDATION_FAILED", "clientToken"},
		{"POST", "/workspaces", `{"kmsKeyArn":"x"}`, "FIELD_VALIDATION_FAILED", "kmsKeyArn"},
		{"POST", "/workspaces", `{"tags":{"aws:x":"y"}}`, "FIELD_VALIDATION_FAILED", "tags"},
		{"GET", "/workspaces?maxResults=0", ``, "FIELD_VALIDATION_FAILED", "maxResults"},
		{"GET", "/workspaces?maxResults=1001", ``, "FIELD_VALIDATION_FAILED", "maxResults"},
		{"GET", "/workspaces?maxResults=x", ``, "FIELD_VALIDATION_FAILED", "maxResults"},
		{"GET", "/workspaces?nextToken=x", ``, "FIELD_VALIDATION_FAILED", "nextToken"},
		{"DELETE", ws + "?clientToken=" + strings.Repeat("a", 65), ``, "FIELD_VALIDATION_FAILED", "clientToken"},
		{"PATCH", config, `{}`, "OTHER", ""},
		{"PATCH", config, `{"retentionPeriodInDays":1.5}`, "CANNOT_PARSE", "retentionPeriodInDays"},
		{"PATCH", config, `{"retentionPeriodInDays":0}`, "FIELD_VALIDATION_FAILED", "retentionPeriodInDays"},
		{"PATCH", config, `{"limitsPerLabelSet":[{}]}`, "FIELD_VALIDATION_FAILED", "limitsPerLabelSet.labelSet limitsPerLabelSet.limits"},
		{"PUT", ws + "/policy", `{}`, "FIELD_VALIDATION_FAILED", "policyDocument"},
		{"PUT", ws + "/policy", `{"policyDocument":"{}"}`, "FIELD_VALIDATION_FAILED", "policyDocument"},
		{"POST", ws + "/logging", `{}`, "FIELD_VALIDATION_FAILED", "logGroupArn"},
		{"POST", ws + "/logging", `{"logGroupArn":"x"}`, "FIELD_VALIDATION_FAILED", "logGroupArn"},
		{"POST", ws + "/logging/query", `{}`, "FIELD_VALIDATION_FAILED", "destinations"},
		{"POST", ws + "/logging/query", `{"destinations":[{}]}`, "FIELD_VALIDATION_FAILED", "destinations.cloudWatchLogs.logGroupArn destinations.filters.qspThreshold"},
		{"POST", ws + "/logging/query", `{"destinations":[{},{}]}`, "FIELD_VALIDATION_FAILED", "destinations"},
		{"POST", rules, `{}`, "FIELD_VALIDATION_FAILED", "data name"},
		{"POST", rules, `{"name":"a","data":"?"}`, "CANNOT_PARSE", ""},
		{"POST", rules, `{"name":"-","data":"YQ=="}`, "FIELD_VALIDATION_FAILED", "name"},
		{"POST", rules, `{"name":"a","data":"` + large + `"}`, "FIELD_VALIDATION_FAILED", "data"},
		{"PUT", rules + "/a", `{}`, "FIELD_VALIDATION_FAILED", "data"},
		{"GET", rules + "?maxResults=0", ``, "FIELD_VALIDATION_FAILED", "maxResults"},
		{"POST", definition, `{}`, "FIELD_VALIDATION_FAILED", "data"},
		{"POST", "/scrapers", `{}`, "FIELD_VALIDATION_FAILED", "destination scrapeConfiguration source"},
		{"POST", "/scrapers", `{"scrapeConfiguration":{},"source":{"vpcConfiguration":{}},"destination":{"cloudWatchConfiguration":{}},"roleConfiguration":{"sourceRoleArn":"x"},"exporters":[{}]}`,
			"FIELD_VALIDATION_FAILED", "destination.cloudWatchConfiguration exporters roleConfiguration scrapeConfiguration.configurationBlob source.vpcConfiguration"},
		{"POST", "/scrapers", strings.Replace(scraperBody, "cluster/known", "cluster/unknown", 1), "OTHER", ""},
		{"POST", "/scrapers", strings.Replace(scraperBody, "subnet-1", "x", 1), "FIELD_VALIDATION_FAILED", "source.eksConfiguration.subnetIds"},
		{"PUT", one, `{"source":{}}`, "FIELD_VALIDATION_FAILED", "source"},
		{"GET", "/scrapers?nextToken=x", ``, "FIELD_VALIDATION_FAILED", "nextToken"},
		{"GET", "/scrapers?colour=red", ``, "FIELD_VALIDATION_FAILED", "filters"},
		{"GET", "/scrapers?alias=", ``, "FIELD_VALIDATION_FAILED", "filters"},
		{"PUT", one + "/logging-configuration", `{}`, "FIELD_VALIDATION_FAILED", "loggingDestination.cloudWatchLogs.logGroupArn"},
		{"PUT", one + "/logging-configuration", `{"loggingDestination":{"cloudWatchLogs":{"logGroupArn":"` + logGroup + `"}},"scraperComponents":[{"type":"X"}]}`,
			"FIELD_VALIDATION_FAILED", "scraperComponents[0].type"},
		{"GET", "/tags/x", ``, "FIELD_VALIDATION_FAILED", "resourceArn"},
		{"GET", arn + "workspace%2Fws-1", ``, "FIELD_VALIDATION_FAILED", "resourceArn"},
		{"GET", arn + "anomalydetector%2Fx", ``, "FIELD_VALIDATION_FAILED", "resourceArn"},
		{"POST", arn + "workspace%2F{ws}", `{}`, "FIELD_VALIDATION_FAILED", "tags"},
		{"DELETE", arn + "workspace%2F{ws}", ``, "FIELD_VALIDATION_FAILED", "tagKeys"},
	} {
		got := p.call(t, p.admin, 400, tc.method, tc.path, tc.body)
		where := tc.method + " " + tc.path + " " + fmt.Sprintf("%.80s", tc.body)
		require.Equal(t, "ValidationException", got["__type"], where)
		require.Equal(t, tc.reason, got["reason"], where)
		require.NotEmpty(t, got["message"], where)
		var names []string
		list, _ := got["fieldList"].([]any)
		for _, f := range list {
			names = append(names, f.(map[string]any)["name"].(string))
			require.NotEmpty(t, f.(map[string]any)["message"], where)
		}
		slices.Sort(names)
		require.Equal(t, tc.fields, strings.Join(names, " "), where)
	}
}

// TestMissing asks for what is not there, and for what another account has.
func TestMissing(t *testing.T) {
	p := newPlane(t, nil)
	none := "/workspaces/ws-00000000-0000-0000-0000-000000000000"
	scraper := p.call(t, p.admin, 202, "POST", "/scrapers", scraperBody)["scraperId"].(string)
	for _, tc := range []struct{ method, path, body, kind string }{
		{"GET", "", "", "workspace"},
		{"DELETE", "", "", "workspace"},
		{"POST", "/alias", `{"alias":"x"}`, "workspace"},
		{"GET", "/configuration", "", "workspaceconfiguration"},
		{"PATCH", "/configuration", `{"retentionPeriodInDays":2}`, "workspaceconfiguration"},
		{"GET", "/policy", "", "resourcepolicy"},
		{"DELETE", "/policy", "", "resourcepolicy"},
		{"GET", "/logging", "", "loggingconfiguration"},
		{"PUT", "/logging", `{"logGroupArn":"` + logGroup + `"}`, "loggingconfiguration"},
		{"DELETE", "/logging", "", "loggingconfiguration"},
		{"GET", "/logging/query", "", "queryloggingconfiguration"},
		{"DELETE", "/logging/query", "", "queryloggingconfiguration"},
		{"GET", "/rulegroupsnamespaces/a", "", "rulegroupsnamespace"},
		{"PUT", "/rulegroupsnamespaces/a", `{"data":"YQ=="}`, "rulegroupsnamespace"},
		{"DELETE", "/rulegroupsnamespaces/a", "", "rulegroupsnamespace"},
		{"GET", "/alertmanager/definition", "", "alertmanagerdefinition"},
		{"PUT", "/alertmanager/definition", `{"data":"YQ=="}`, "alertmanagerdefinition"},
		{"DELETE", "/alertmanager/definition", "", "alertmanagerdefinition"},
	} {
		got := p.call(t, p.admin, 404, tc.method, none+tc.path, tc.body)
		require.Equal(t, []any{"ResourceNotFoundException", "workspace", strings.TrimPrefix(none, "/workspaces/")}, []any{got["__type"], got["resourceType"], got["resourceId"]}, tc.path)
		if tc.kind != "workspace" && tc.kind != "workspaceconfiguration" {
			got = p.call(t, p.admin, 404, tc.method, "/workspaces/{ws}"+tc.path, tc.body)
			require.Equal(t, []any{"ResourceNotFoundException", tc.kind}, []any{got["__type"], got["resourceType"]}, tc.path)
		}
		body := strings.ReplaceAll(tc.body, mine, theirs)
		got = p.call(t, p.stranger, 404, tc.method, "/workspaces/{ws}"+tc.path, body)
		require.Equal(t, "workspace", got["resourceType"], tc.path)
		require.NotContains(t, fmt.Sprint(got), mine)
	}
	for _, tc := range []struct{ method, path, body, kind string }{
		{"GET", "", "", "scraper"}, {"PUT", "", `{"alias":"x"}`, "scraper"}, {"DELETE", "", "", "scraper"},
		{"GET", "/logging-configuration", "", "scraper"}, {"DELETE", "/logging-configuration", "", "scraper"},
		{"PUT", "/logging-configuration", `{"loggingDestination":{"cloudWatchLogs":{"logGroupArn":"` + strings.ReplaceAll(logGroup, mine, theirs) + `"}}}`, "scraper"},
	} {
		got := p.call(t, p.stranger, 404, tc.method, "/scrapers/"+scraper+tc.path, tc.body)
		require.Equal(t, []any{tc.kind, scraper}, []any{got["resourceType"], got["resourceId"]}, tc.path)
	}
	got := p.call(t, p.admin, 404, "GET", "/scrapers/"+scraper+"/logging-configuration", nil)
	require.Equal(t, "scraperloggingconfiguration", got["resourceType"])
}

func TestConflictsAndQuotas(t *testing.T) {
	p := newPlane(t, func(w *workspace.Config, _ *APSConfig) { w.MaxWorkspaces, w.MaxScrapers = 2, 1 })
	p.call(t, p.admin, 202, "POST", "/workspaces", `{}`)
	got := p.call(t, p.admin, 402, "POST", "/workspaces", `{}`)
	require.Equal(t, []any{"ServiceQuotaExceededException", "*", "workspace", "aps"}, []any{got["__type"], got["resourceId"], got["resourceType"], got["serviceCode"]})
	require.NotEmpty(t, got["quotaCode"])
	p.call(t, p.admin, 202, "POST", "/scrapers", scraperBody)
	got = p.call(t, p.admin, 402, "POST", "/scrapers", scraperBody)
	require.Equal(t, "scraper", got["resourceType"])
	rule := map[string]any{"name": "n", "data": blob("groups: []")}
	p.call(t, p.admin, 202, "POST", "/workspaces/{ws}/rulegroupsnamespaces", rule)
	got = p.call(t, p.admin, 409, "POST", "/workspaces/{ws}/rulegroupsnamespaces", rule)
	require.Equal(t, []any{"ConflictException", "n", "rulegroupsnamespace"}, []any{got["__type"], got["resourceId"], got["resourceType"]})
	got = p.call(t, p.admin, 402, "POST", "/workspaces/{ws}/rulegroupsnamespaces", map[string]any{"name": "too-many", "data": "YQ=="})
	require.Equal(t, []any{"ServiceQuotaExceededException", p.ws, "rulegroupsnamespace"}, []any{got["__type"], got["resourceId"], got["resourceType"]})
	got = p.call(t, p.admin, 409, "PUT", "/workspaces/{ws}/policy", map[string]any{"policyDocument": shareWith(theirs, "*"), "revisionId": "other"})
	require.Equal(t, "resourcepolicy", got["resourceType"])
	p.call(t, p.admin, 202, "PUT", "/workspaces/{ws}/policy", map[string]any{"policyDocument": shareWith(theirs, "*"), "revisionId": "NO_POLICY"})
	p.call(t, p.admin, 202, "POST", "/workspaces/{ws}/logging", map[string]any{"logGroupArn": logGroup})
	got = p.call(t, p.admin, 400, "POST", "/workspaces/{ws}/logging", map[string]any{"logGroupArn": logGroup})
	require.Equal(t, "OTHER", got["reason"])
	p.call(t, p.admin, 202, "DELETE", "/workspaces/{ws}", nil)
	got = p.call(t, p.admin, 409, "PATCH", "/workspaces/{ws}/configuration", `{"retentionPeriodInDays":2}`)
	require.Equal(t, []any{"workspace", p.ws}, []any{got["resourceType"], got["resourceId"]})
}

// TestIdempotency repeats every tokened call with the same and with other input.
func TestIdempotency(t *testing.T) {
	p := newPlane(t, nil)
	for _, tc := range []struct {
		method, path string
		body, other  map[string]any
	}{
		{"POST", "/workspaces", map[string]any{"alias": "a"}, map[string]any{"alias": "b"}},
		{"PATCH", "/workspaces/{ws}/configuration", map[string]any{"retentionPeriodInDays": 2}, map[string]any{"retentionPeriodInDays": 3}},
		{"PUT", "/workspaces/{ws}/policy", map[string]any{"policyDocument": shareWith(theirs, "*")}, map[string]any{"policyDocument": shareWith(mine, "*")}},
		{"POST", "/workspaces/{ws}/logging", map[string]any{"logGroupArn": logGroup}, map[string]any{"logGroupArn": strings.Replace(logGroup, ":g:", ":h:", 1)}},
	} {
		tc.body["clientToken"], tc.other["clientToken"] = "token", "token"
		status := 202
		first := p.call(t, p.admin, status, tc.method, tc.path, tc.body)
		require.Equal(t, first, p.call(t, p.admin, status, tc.method, tc.path, tc.body), tc.path)
		require.Equal(t, "ConflictException", p.call(t, p.admin, 409, tc.method, tc.path, tc.other)["__type"], tc.path)
		tc.body["clientToken"] = "token-2"
	}
	for _, path := range []string{"/workspaces/{ws}/policy", "/workspaces/{ws}/logging", "/workspaces/{ws}"} {
		p.call(t, p.admin, 202, "DELETE", path+"?clientToken=d", nil)
		p.call(t, p.admin, 202, "DELETE", path+"?clientToken=d", nil)
	}
}

func TestScraperPages(t *testing.T) {
	p := newPlane(t, nil)
	var want []string
	for i := range 7 {
		body := strings.Replace(scraperBody, "{", fmt.Sprintf(`{"alias":"a%d",`, i%2), 1)
		want = append(want, p.call(t, p.admin, 202, "POST", "/scrapers", body)["scraperId"].(string))
	}
	require.NoError(t, p.workspaces.Reconcile(t.Context()))
	pages := func(query string, size int) (ids []string) {
		next := ""
		for {
			got := p.call(t, p.admin, 200, "GET", fmt.Sprintf("/scrapers?maxResults=%d%s&nextToken=%s", size, query, next), nil)
			list := got["scrapers"].([]any)
			require.LessOrEqual(t, len(list), size)
			for _, s := range list {
				ids = append(ids, s.(map[string]any)["scraperId"].(string))
			}
			if got["nextToken"] == nil {
				return ids
			}
			next = got["nextToken"].(string)
		}
	}
	for _, size := range []int{1, 2, 7, 100} {
		require.ElementsMatch(t, want, pages("", size))
	}
	require.Len(t, pages("&alias=a0", 3), 4)
	require.Len(t, pages("&alias=a0&alias=a1", 3), 7)
	require.Len(t, pages("&alias=a0&status=ACTIVE", 3), 4)
	require.Empty(t, pages("&alias=a0&status=DELETING&status=CREATING", 3))
	require.Len(t, pages("&sourceArn="+scraped+"&destinationArn=arn:aws:aps:us-east-1:"+mine+":workspace/"+p.ws, 3), 7)
	got := p.call(t, p.admin, 200, "GET", "/scrapers?maxResults=1&alias=a0", nil)
	bad := p.call(t, p.admin, 400, "GET", "/scrapers?maxResults=1&nextToken="+got["nextToken"].(string), nil)
	require.Equal(t, "nextToken", bad["fieldList"].([]any)[0].(map[string]any)["name"])
}

func TestTagsOfEveryKind(t *testing.T) {
	p := newPlane(t, nil)
	scraper := p.call(t, p.admin, 202, "POST", "/scrapers", scraperBody)["scraperId"].(string)
	p.call(t, p.admin, 202, "POST", "/workspaces/{ws}/rulegroupsnamespaces", map[string]any{"name": "a b/c", "data": "YQ==", "tags": map[string]string{}})
	for _, resource := range []string{"workspace/" + p.ws, "scraper/" + scraper, "rulegroupsnamespace/" + p.ws + "/a b/c"} {
		path := "/tags/arn%3Aaws%3Aaps%3Aus-east-1%3A" + mine + "%3A" + strings.NewReplacer("/", "%2F", " ", "%20").Replace(resource)
		require.Equal(t, map[string]any{}, p.call(t, p.admin, 200, "POST", path, `{"tags":{"Env":"prod","x":"y"}}`))
		require.Equal(t, map[string]any{}, p.call(t, p.admin, 200, "DELETE", path+"?tagKeys=x&tagKeys=z", nil))
		require.Equal(t, map[string]any{"tags": map[string]any{"Env": "prod"}}, p.call(t, p.admin, 200, "GET", path, nil))
		got := p.call(t, p.stranger, 403, "GET", path, nil)
		require.Equal(t, "AccessDeniedException", got["__type"])
	}
	// They decide about who may do what.
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"aps:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/Env":"prod"}}}]}`
	limited := p.user(t, mine, "limited", document)
	for _, path := range []string{"/workspaces/{ws}", "/scrapers/" + scraper, "/workspaces/{ws}/rulegroupsnamespaces/a%20b%2Fc"} {
		p.call(t, limited, 200, "GET", path, nil)
	}
	p.call(t, p.admin, 200, "DELETE", "/tags/arn%3Aaws%3Aaps%3Aus-east-1%3A"+mine+"%3Ascraper%2F"+scraper+"?tagKeys=Env", nil)
	p.call(t, limited, 403, "GET", "/scrapers/"+scraper, nil)
}

func shareWith(account, action string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"aps:` + action + `","Resource":"*"}]}`
}

// TestResourcePolicies lets another account in, as far as both sides say so.
func TestResourcePolicies(t *testing.T) {
	p := newPlane(t, nil)
	const query, write, describe = "/workspaces/{ws}/api/v1/query", "/workspaces/{ws}/api/v1/remote_write", "/workspaces/{ws}"
	reader := p.user(t, theirs, "reader", iam.PolicyPrometheusQuery)
	nobody := p.user(t, theirs, "nobody")
	share := func(document string) {
		p.call(t, p.admin, 202, "PUT", "/workspaces/{ws}/policy", map[string]any{"policyDocument": document})
	}
	// Without a policy it is as if there were no such workspace.
	got := p.call(t, p.stranger, 404, "GET", query, nil)
	require.NotContains(t, fmt.Sprint(got), mine)
	share(shareWith(theirs, "QueryMetrics"))
	p.call(t, p.stranger, 200, "GET", query, nil)
	p.call(t, reader, 200, "GET", query, nil)
	p.call(t, nobody, 403, "GET", query, nil)
	p.call(t, p.stranger, 403, "POST", write, "x")
	require.Equal(t, []string{"query " + p.ws + " /query", "query " + p.ws + " /query"}, p.served)
	// No policy opens the control plane, nor what edits rules.
	share(shareWith(theirs, "*"))
	p.call(t, p.stranger, 200, "POST", write, "x")
	p.call(t, p.stranger, 404, "GET", describe, nil)
	p.call(t, p.stranger, 404, "DELETE", describe, nil)
	p.call(t, p.stranger, 404, "GET", "/workspaces/{ws}/config/v1/rules", nil)
	p.call(t, p.stranger, 403, "GET", "/tags/arn%3Aaws%3Aaps%3Aus-east-1%3A"+mine+"%3Aworkspace%2F{ws}", nil)
	// It can also take away, at once.
	share(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"aps:RemoteWrite","Resource":"*"}]}`)
	p.call(t, p.admin, 403, "POST", write, "x")
	p.call(t, p.admin, 200, "GET", query, nil)
	p.call(t, p.stranger, 403, "GET", query, nil)
	share(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"aps:RemoteWrite","Resource":"arn:aws:aps:us-east-1:000000000000:workspace/ws-other"}]}`)
	p.call(t, p.stranger, 403, "POST", write, "x")
	p.call(t, p.admin, 202, "DELETE", "/workspaces/{ws}/policy", nil)
	p.call(t, p.stranger, 404, "GET", query, nil)
}

// TestScraperPermissions: whoever makes a scraper has to be allowed to where it
// writes and to what it reads.
func TestScraperPermissions(t *testing.T) {
	p := newPlane(t, nil)
	allow := func(actions, resource string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[` + actions + `],"Resource":"` + resource + `"}]}`
	}
	arn := "arn:aws:aps:us-east-1:" + mine + ":workspace/"
	elsewhere := p.user(t, mine, "elsewhere", allow(`"aps:CreateScraper"`, arn+"ws-other"), allow(`"eks:DescribeCluster"`, "*"))
	p.call(t, elsewhere, 403, "POST", "/scrapers", scraperBody)
	blind := p.user(t, mine, "blind", allow(`"aps:*"`, "*"))
	got := p.call(t, blind, 403, "POST", "/scrapers", scraperBody)
	require.Contains(t, got["message"], "eks:DescribeCluster")
	good := p.user(t, mine, "good", allow(`"aps:CreateScraper"`, arn+p.ws), allow(`"aps:UpdateScraper"`, "*"), allow(`"eks:DescribeCluster"`, scraped))
	made := p.call(t, good, 202, "POST", "/scrapers", scraperBody)
	require.NoError(t, p.workspaces.Reconcile(t.Context()))
	other, err := p.workspaces.Ensure(t.Context(), mine, "other")
	require.NoError(t, err)
	move := `{"destination":{"ampConfiguration":{"workspaceArn":"` + other.ARN() + `"}}}`
	p.call(t, good, 403, "PUT", "/scrapers/"+made["scraperId"].(string), move)
	p.call(t, p.admin, 202, "PUT", "/scrapers/"+made["scraperId"].(string), move)
	p.call(t, p.stranger, 403, "POST", "/scrapers", scraperBody)
	p = newPlane(t, func(_ *workspace.Config, a *APSConfig) { a.Authorizer = nil })
	got = p.call(t, p.admin, 400, "POST", "/scrapers", scraperBody)
	require.Equal(t, "OTHER", got["reason"])
	p = newPlane(t, func(w *workspace.Config, _ *APSConfig) { w.Scrapers = nil })
	got = p.call(t, p.admin, 400, "POST", "/scrapers", scraperBody)
	require.Contains(t, got["message"], "runs no scrapers")
	require.Empty(t, p.call(t, p.admin, 200, "GET", "/scrapers", nil)["scrapers"])
}

func TestThrottling(t *testing.T) {
	p := newPlane(t, func(_ *workspace.Config, a *APSConfig) {
		a.Rates = Rates{Control: Rate{PerSecond: 0.001, Burst: 2}, Query: Rate{PerSecond: 0.25, Burst: 1}}
	})
	p.call(t, p.admin, 200, "GET", "/workspaces", nil)
	p.call(t, p.admin, 200, "GET", "/workspaces", nil)
	w := p.send(t, p.admin, "GET", "/workspaces", "")
	require.Equal(t, 429, w.Code)
	require.JSONEq(t, `{"__type":"ThrottlingException","message":"Rate exceeded","quotaCode":"L-8491EB93","serviceCode":"aps"}`, w.Body.String())
	require.Equal(t, []string{"1000", "ThrottlingException"}, []string{w.Header().Get("Retry-After"), w.Header().Get("x-amzn-errortype")})
	p.call(t, p.stranger, 200, "GET", "/workspaces", nil) // its own bucket
	query := "/workspaces/" + p.ws + "/api/v1/query"
	require.Equal(t, 200, p.send(t, p.admin, "GET", query, "").Code)
	w = p.send(t, p.admin, "GET", query, "")
	require.Equal(t, 429, w.Code)
	require.JSONEq(t, `{"message":"Rate exceeded"}`, w.Body.String())
	require.Equal(t, "4", w.Header().Get("Retry-After"))
	for range 10 {
		require.Equal(t, 200, p.send(t, p.admin, "POST", "/workspaces/"+p.ws+"/api/v1/remote_write", "x").Code)
	}
	n, err := testutil.GatherAndCount(p.registry, "mangru_aps_throttled_total")
	require.NoError(t, err)
	require.Equal(t, 2, n)
}

func TestDataRoutes(t *testing.T) {
	p := newPlane(t, nil)
	for _, tc := range []struct{ method, path, want string }{
		{"GET", "/api/v1/rules", "rules {ws} /rules"},
		{"GET", "/api/v1/alerts", "rules {ws} /alerts"},
		{"POST", "/api/v1/otlp/v1/metrics", "otlp {ws} "},
		{"GET", "/alertmanager/api/v2/alerts", "alertmanager {ws} /alerts"},
		{"POST", "/alertmanager/api/v2/alerts", "alertmanager {ws} /alerts"},
		{"GET", "/alertmanager/api/v2/alerts/groups", "alertmanager {ws} /alerts/groups"},
		{"GET", "/alertmanager/api/v2/receivers", "alertmanager {ws} /receivers"},
		{"GET", "/alertmanager/api/v2/status", "alertmanager {ws} /status"},
		{"POST", "/alertmanager/api/v2/silences", "alertmanager {ws} /silences"},
		{"GET", "/alertmanager/api/v2/silence/a%2Fb", "alertmanager {ws} /silence/a%2Fb"},
		{"DELETE", "/alertmanager/api/v2/silence/x", "alertmanager {ws} /silence/x"},
		{"GET", "/config/v1/rules", "ruler {ws} |"},
		{"GET", "/rules/n%2Fs", "ruler {ws} n/s|"},
		{"POST", "/config/v1/rules/ns", "ruler {ws} ns|"},
		{"DELETE", "/rules/ns/g%20h", "ruler {ws} ns|g h"},
	} {
		p.served = nil
		w := p.send(t, p.admin, tc.method, "/workspaces/"+p.ws+tc.path, "")
		require.Equal(t, 200, w.Code, "%s: %s", tc.path, w.Body)
		require.Equal(t, []string{strings.ReplaceAll(tc.want, "{ws}", p.ws)}, p.served, tc.path)
	}
}

// TestEveryOperationAsksForPermission calls all that there can be, plugged in, as
// nobody in particular.
func TestEveryOperationAsksForPermission(t *testing.T) {
	p := newPlane(t, nil)
	nobody := p.user(t, mine, "nobody")
	fill := strings.NewReplacer("{workspaceId}", p.ws, "{resourceArn...}", "arn%3Aaws%3Aaps%3Aus-east-1%3A"+mine+"%3Aworkspace%2F"+p.ws,
		"{", "", "}", "")
	n := 0
	for _, r := range p.router.Routes() {
		path := fill.Replace(r.Path)
		for _, body := range []string{"", scraperBody, `{"name":"n","tags":{"a":"b"}}`} {
			w := p.send(t, nobody, r.Method, path, strings.ReplaceAll(body, "{ws}", p.ws))
			require.Equal(t, 403, w.Code, "%s %s: %s", r.Name, path, w.Body)
			require.Equal(t, "AccessDeniedException", w.Header().Get("x-amzn-errortype"), r.Name)
		}
		require.Equal(t, 403, p.send(t, iam.AccessKey{}, r.Method, path, "").Code, r.Name)
		n++
	}
	require.Greater(t, n, 80)
	require.Empty(t, p.served)
}

// TestWhatIsNotPluggedIn is not there.
func TestWhatIsNotPluggedIn(t *testing.T) {
	f := open(t, nil)
	for _, path := range []string{"/rulegroupsnamespaces", "/alertmanager/definition", "/alertmanager/api/v2/alerts", "/config/v1/rules"} {
		w := f.send(t, f.admin, "GET", "/workspaces/"+f.ws+path, "")
		require.Equal(t, 404, w.Code)
		require.Equal(t, "UnknownOperationException", w.Header().Get("x-amzn-errortype"))
	}
}

type sqlCount struct {
	mu sync.Mutex
	n  int
}

func (q *sqlCount) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.n++
	return ctx
}

func (*sqlCount) AfterQuery(context.Context, *bun.QueryEvent) {}

// TestDataPlaneReadsNoSQL: what a data plane request needs to know is in memory.
func TestDataPlaneReadsNoSQL(t *testing.T) {
	p := newPlane(t, nil)
	p.call(t, p.admin, 202, "PUT", "/workspaces/{ws}/policy", map[string]any{"policyDocument": shareWith(theirs, "*")})
	asked := &sqlCount{}
	counted := p.db.WithQueryHook(asked)
	var err error
	p.workspaces, err = workspace.New(workspace.Config{Region: "us-east-1"}, counted, noStorage{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	service, err := NewAPS(APSConfig{Region: "us-east-1", Workspaces: p.workspaces,
		Write: func(_ http.ResponseWriter, _ *http.Request, id string) error {
			require.NotNil(t, p.workspaces.Settings(id))
			return nil
		},
		Query: func(http.ResponseWriter, *http.Request, string, string) error { return nil }})
	require.NoError(t, err)
	v, err := sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{"us-east-1"}}, Keys(p.identity))
	require.NoError(t, err)
	p.router, err = NewRouter(Config{Services: []Service{service}, Verifier: v, Authorizer: p.identity}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	for i := range 3 {
		for _, key := range []iam.AccessKey{p.admin, p.stranger} {
			p.call(t, key, 200, "POST", "/workspaces/{ws}/api/v1/remote_write", "x")
			p.call(t, key, 200, "GET", "/workspaces/{ws}/api/v1/query", nil)
		}
		if i == 0 {
			require.NotZero(t, asked.n)
		} else {
			require.Zero(t, asked.n)
		}
		asked.n = 0
	}
}

// TestErrorBytes compares whole bodies with what AWS' own fixtures have: members
// in order of their names.
func TestErrorBytes(t *testing.T) {
	p := newPlane(t, nil)
	for _, tc := range []struct{ method, path, body, want string }{
		{"GET", "/workspaces/ws-1", "", `{"__type":"ResourceNotFoundException","message":"Workspace not found: ws-1","resourceId":"ws-1","resourceType":"workspace"}`},
		{"GET", "/workspaces?maxResults=0", "", `{"__type":"ValidationException","fieldList":[{"message":"must be a number between 1 and 1000","name":"maxResults"}],"message":"must be a number between 1 and 1000","reason":"FIELD_VALIDATION_FAILED"}`},
	} {
		w := p.send(t, p.admin, tc.method, tc.path, tc.body)
		require.Equal(t, tc.want, w.Body.String())
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	}
}

func TestDefaultScraperConfiguration(t *testing.T) {
	p := newPlane(t, nil)
	got := p.call(t, p.admin, 200, "GET", "/scraperconfiguration", nil)
	text, err := base64.StdEncoding.DecodeString(got["configuration"].(string))
	require.NoError(t, err)
	require.Equal(t, string(defaultScraperConfiguration), string(text))
}

// BenchmarkRemoteWrite is what the edge costs for a request of the data plane.
func BenchmarkRemoteWrite(b *testing.B) {
	for _, shared := range []bool{false, true} {
		b.Run(fmt.Sprintf("shared=%v", shared), func(b *testing.B) {
			p := newPlane(b, nil)
			if shared {
				_, err := p.workspaces.PutPolicy(b.Context(), mine, p.ws, shareWith(theirs, "*"), "", "")
				require.NoError(b, err)
			}
			r, err := http.NewRequest("POST", "http://mangru.test:9009/workspaces/"+p.ws+"/api/v1/remote_write", nil)
			require.NoError(b, err)
			require.NoError(b, v4.NewSigner().SignHTTP(b.Context(), aws.Credentials{AccessKeyID: p.admin.ID, SecretAccessKey: p.admin.Secret},
				r, sha("x"), "aps", "us-east-1", time.Now()))
			b.ReportAllocs()
			for b.Loop() {
				p.served = p.served[:0]
				w := httptest.NewRecorder()
				again := r.Clone(b.Context())
				again.Body = io.NopCloser(strings.NewReader("x"))
				p.router.ServeHTTP(w, again)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
