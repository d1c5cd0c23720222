package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/server/workspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type noStorage struct{}

func (noStorage) Create(context.Context, string) error { return nil }
func (noStorage) Remove(context.Context, string) error { return nil }

type fixture struct {
	router     *Router
	service    Service
	identity   *iam.Service
	workspaces *workspace.Service
	admin      iam.AccessKey
	ws         string
	served     []string // what reached the data handlers
}

func open(t *testing.T, change func(*APSConfig, *Config)) *fixture {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	records, err := db.Open(ctx, filepath.Join(dir, "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = records.Close() })
	f := &fixture{}
	f.identity, err = iam.Open(ctx, records, iam.Config{KeyFile: filepath.Join(dir, "secret.key")})
	require.NoError(t, err)
	f.admin, _, err = f.identity.Bootstrap(ctx)
	require.NoError(t, err)
	quiet := slog.New(slog.DiscardHandler)
	f.workspaces, err = workspace.New(workspace.Config{Region: "us-east-1"}, records, noStorage{}, quiet)
	require.NoError(t, err)
	w, err := f.workspaces.Ensure(ctx, iam.DefaultAccount, "default")
	require.NoError(t, err)
	f.ws = w.ID
	aps := APSConfig{Region: "us-east-1", Workspaces: f.workspaces,
		Write: func(_ http.ResponseWriter, r *http.Request, id string) error {
			b, _ := io.ReadAll(r.Body)
			f.served = append(f.served, "write "+id+" "+string(b))
			return nil
		},
		Query: func(_ http.ResponseWriter, r *http.Request, id, path string) error {
			p, ok := iam.PrincipalFrom(r.Context())
			if !ok {
				return errors.New("no caller in the context")
			}
			f.served = append(f.served, p.Name+" "+id+" "+path)
			return nil
		}}
	v, err := sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{"us-east-1"}, Tolerances: sigv4.AllTolerances()}, Keys(f.identity))
	require.NoError(t, err)
	cfg := Config{Verifier: v, Authorizer: f.identity}
	if change != nil {
		change(&aps, &cfg)
	}
	f.service, err = NewAPS(aps)
	require.NoError(t, err)
	cfg.Services = append(cfg.Services, f.service)
	f.router, err = NewRouter(cfg, quiet)
	require.NoError(t, err)
	return f
}

func sha(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// send signs, unless the key is empty, and sends.
func (f *fixture) send(t *testing.T, key iam.AccessKey, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	if strings.HasPrefix(target, "/") {
		target = "http://mangru.test:9009" + target
	}
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	require.NoError(t, err)
	r.Host = r.URL.Host
	if key.ID != "" {
		sum := sha256.Sum256([]byte(body))
		require.NoError(t, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret},
			r, hex.EncodeToString(sum[:]), "aps", "us-east-1", time.Now()))
	}
	w := httptest.NewRecorder()
	f.router.ServeHTTP(w, r)
	return w
}

func TestRouteWithoutRuleDoesNotStart(t *testing.T) {
	handle := func(http.ResponseWriter, *Call) error { return nil }
	resource := func(*Call) (string, error) { return "*", nil }
	good := Route{Name: "A", Method: "GET", Path: "/a", Action: "x:A", Resource: resource, Handle: handle}
	for name, change := range map[string]func(*Route){
		"no action":   func(r *Route) { r.Action = "" },
		"odd action":  func(r *Route) { r.Action = "A" },
		"no resource": func(r *Route) { r.Resource = nil },
		"no handler":  func(r *Route) { r.Handle = nil },
		"no method":   func(r *Route) { r.Method = "" },
	} {
		r := good
		change(&r)
		_, err := NewRouter(Config{Verifier: &sigv4.Verifier{}, Authorizer: &iam.Service{}, Services: []Service{{Name: "x", Routes: []Route{r}}}}, nil)
		require.ErrorContains(t, err, "route", name)
	}
	_, err := NewRouter(Config{Verifier: &sigv4.Verifier{}, Authorizer: &iam.Service{}, Services: []Service{{Name: "x", Routes: []Route{good, good}}}}, nil)
	require.ErrorContains(t, err, "twice")
	_, err = NewRouter(Config{Verifier: &sigv4.Verifier{}, Services: []Service{{Name: "x", Routes: []Route{good}}}}, nil)
	require.Error(t, err)
}

func TestPaths(t *testing.T) {
	f := open(t, nil)
	base := "/workspaces/" + f.ws + "/api/v1/"
	for path, want := range map[string]string{
		base + "query?query=up":                      "/query",
		base + "label/job/values":                    "/label/job/values",
		base + "label/a%2Fb/values":                  "/label/a/b/values",
		"/workspaces/" + f.ws + "//api/v1/query":     "/query",
		"/x/../workspaces/" + f.ws + "/api/v1/query": "/query",
	} {
		f.served = nil
		w := f.send(t, f.admin, "GET", path, "")
		require.Equal(t, 200, w.Code, "%s: %s", path, w.Body)
		require.Equal(t, []string{"admin " + f.ws + " " + want}, f.served, path)
	}
	for _, path := range []string{base + "query/", base + "nothing", "/", "/workspaces/" + f.ws + "/api/v1/%zz", "/workspaces/%2e%2e/api/v1/query", base + "label//values"} {
		f.served = nil
		w := f.send(t, f.admin, "GET", strings.ReplaceAll(path, "%zz", "%25zz"), "")
		require.Equal(t, 404, w.Code, "%s: %s", path, w.Body)
		require.Empty(t, f.served)
	}
	w := f.send(t, f.admin, "POST", base+"remote_write", "bytes")
	require.Equal(t, 200, w.Code)
	require.Equal(t, []string{"write " + f.ws + " bytes"}, f.served)
}

func TestSharedPathsGoByScope(t *testing.T) {
	reached := ""
	f := open(t, func(_ *APSConfig, c *Config) {
		c.Domain = "mangru.test"
		c.Services = []Service{{Name: "grafana", Hosts: []string{"grafana"}, Routes: []Route{{Name: "ListWorkspaces", Method: "GET", Path: "/workspaces",
			Action: "grafana:ListWorkspaces", Resource: func(*Call) (string, error) { return "*", nil },
			Handle: func(http.ResponseWriter, *Call) error { reached = "grafana"; return nil }}}}}
	})
	w := f.send(t, f.admin, "GET", "/workspaces", "")
	require.Contains(t, w.Body.String(), f.ws)
	require.Empty(t, reached)
	// The host names one service, the scope another.
	w = f.send(t, f.admin, "GET", "http://grafana.us-east-1.mangru.test/workspaces", "")
	require.Equal(t, 403, w.Code)
	require.Contains(t, w.Body.String(), "Credential should be scoped to correct service: 'grafana'. ")
	require.Empty(t, reached)
}

func TestControlPlaneErrors(t *testing.T) {
	f := open(t, nil)
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"not JSON":    {"POST", "/workspaces", "{", 400, `"reason":"CANNOT_PARSE"`},
		"wrong type":  {"POST", "/workspaces", `{"alias":5}`, 400, `"name":"alias"`},
		"bad tag":     {"POST", "/workspaces", `{"tags":{"aws:a":"b"}}`, 400, `"reason":"FIELD_VALIDATION_FAILED"`},
		"kms":         {"POST", "/workspaces", `{"kmsKeyArn":"arn:aws:kms:x"}`, 400, "kmsKeyArn"},
		"maxResults":  {"GET", "/workspaces?maxResults=0", "", 400, "maxResults"},
		"nextToken":   {"GET", "/workspaces?nextToken=x", "", 400, "nextToken"},
		"none":        {"GET", "/workspaces/ws-1", "", 404, `"resourceId":"ws-1"`},
		"delete none": {"DELETE", "/workspaces/ws-1", "", 404, "ResourceNotFoundException"},
		"foreign ARN": {"GET", "/tags/arn:aws:aps:us-east-1:111111111111:workspace/" + f.ws, "", 403, "AccessDeniedException"},
		"not an ARN":  {"GET", "/tags/x", "", 400, "resourceArn"},
		"no tags":     {"POST", "/tags/arn:aws:aps:us-east-1:000000000000:workspace/" + f.ws, "{}", 400, "tags"},
		"no tag keys": {"DELETE", "/tags/arn:aws:aps:us-east-1:000000000000:workspace/" + f.ws, "", 400, "tagKeys"},
		"method":      {"PUT", "/workspaces", "", 404, "UnknownOperationException"},
	} {
		t.Run(name, func(t *testing.T) {
			w := f.send(t, f.admin, tc.method, tc.path, tc.body)
			require.Equal(t, tc.status, w.Code, w.Body)
			require.Contains(t, w.Body.String(), tc.want)
			var body map[string]any
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
			require.Equal(t, w.Header().Get("x-amzn-errortype"), body["__type"])
		})
	}
	created := `{"alias":"a","clientToken":"t1"}`
	first := f.send(t, f.admin, "POST", "/workspaces", created)
	require.Equal(t, 202, first.Code)
	again := f.send(t, f.admin, "POST", "/workspaces", created)
	require.JSONEq(t, first.Body.String(), again.Body.String())
	conflict := f.send(t, f.admin, "POST", "/workspaces", `{"alias":"b","clientToken":"t1"}`)
	require.Equal(t, 409, conflict.Code)
	require.Contains(t, conflict.Body.String(), `"__type":"ConflictException"`)
}

func TestEndpoint(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*APSConfig, *Config)
		target string
		want   string
	}{
		"as reached":   {nil, "http://mangru.test:9009", "http://mangru.test:9009/workspaces/"},
		"public URL":   {func(a *APSConfig, _ *Config) { a.PublicURL = "https://m.example/" }, "http://127.0.0.1:9", "https://m.example/workspaces/"},
		"virtual host": {func(a *APSConfig, c *Config) { a.Domain, c.Domain = "m.test", "m.test" }, "http://aps.us-east-1.m.test", "http://aps-workspaces.us-east-1.m.test/workspaces/"},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, tc.change)
			w := f.send(t, f.admin, "GET", tc.target+"/workspaces/"+f.ws, "")
			require.Equal(t, 200, w.Code, w.Body)
			var out struct {
				Workspace struct {
					Endpoint  string `json:"prometheusEndpoint"`
					CreatedAt float64
				}
			}
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &out))
			require.Equal(t, tc.want+f.ws+"/", out.Workspace.Endpoint)
			require.InDelta(t, float64(time.Now().Unix()), out.Workspace.CreatedAt, 60)
		})
	}
}

func TestTagsAreConditions(t *testing.T) {
	asked := &judge{}
	f := open(t, func(_ *APSConfig, c *Config) { c.Authorizer = asked })
	require.NoError(t, f.workspaces.Tag(context.Background(), iam.DefaultAccount, f.ws, map[string]string{"Env": "prod"}))
	arn := "/tags/arn%3Aaws%3Aaps%3Aus-east-1%3A000000000000%3Aworkspace%2F" + f.ws
	for _, tc := range []struct {
		method, path, body string
		want               map[string][]string
	}{
		{"GET", "/workspaces/" + f.ws, "", map[string][]string{"aws:resourcetag/env": {"prod"}}},
		{"GET", "/workspaces/" + f.ws + "/api/v1/query", "", map[string][]string{"aws:resourcetag/env": {"prod"}}},
		{"GET", "/workspaces/ws-none/api/v1/query", "", nil},
		{"POST", "/workspaces", `{"alias":"x","tags":{"Team":"t"}}`, map[string][]string{"aws:requesttag/team": {"t"}, "aws:tagkeys": {"Team"}}},
		{"POST", arn, `{"tags":{"Team":"t"}}`, map[string][]string{"aws:resourcetag/env": {"prod"}, "aws:requesttag/team": {"t"}, "aws:tagkeys": {"Team"}}},
		{"DELETE", arn + "?tagKeys=Team", "", map[string][]string{"aws:resourcetag/env": {"prod"}, "aws:resourcetag/team": {"t"}, "aws:tagkeys": {"Team"}}},
	} {
		asked.asked = nil
		f.send(t, f.admin, tc.method, tc.path, tc.body)
		require.Len(t, asked.asked, 1, tc.path)
		for key, values := range asked.asked[0].Context {
			if strings.Contains(key, "tag") {
				require.Equal(t, tc.want[key], values, "%s %s %s", tc.method, tc.path, key)
				delete(tc.want, key)
			}
		}
		require.Empty(t, tc.want, tc.path)
	}
	asked.asked = nil
	w := f.send(t, f.admin, "POST", "/workspaces", `{"tags":{"Team":`)
	require.Equal(t, 400, w.Code)
	require.Empty(t, asked.asked, "what cannot be read is not judged")
}

func TestInternalErrorsTellNothing(t *testing.T) {
	f := open(t, func(a *APSConfig, _ *Config) {
		a.Write = func(http.ResponseWriter, *http.Request, string) error { return errors.New("secret path /x/y") }
	})
	w := f.send(t, f.admin, "POST", "/workspaces/"+f.ws+"/api/v1/remote_write", "x")
	require.Equal(t, 500, w.Code)
	require.JSONEq(t, `{"message":"Internal error."}`, w.Body.String())
}
