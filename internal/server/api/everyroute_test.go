package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/server/addon"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/cluster"
	"github.com/mangru/mangru/internal/server/eksapi"
	"github.com/mangru/mangru/internal/server/iamapi"
	"github.com/mangru/mangru/internal/server/stsapi"
	"github.com/mangru/mangru/internal/server/workspace"
)

const (
	region = "us-east-1"
	ours   = iam.DefaultAccount
	others = "111111111111"
)

type noStorage struct{}

func (noStorage) Create(context.Context, string) error { return nil }
func (noStorage) Remove(context.Context, string) error { return nil }

// sessions know a session of a role that has no permissions, and an old one.
type sessions struct{}

type oldToken struct{}

func (oldToken) Error() string { return "old" }
func (oldToken) Expired() bool { return true }

func (sessions) Open(_ context.Context, id, token string) (string, iam.Principal, error) {
	switch token {
	case "powerless":
		return "secret", iam.Principal{AccountID: ours, Type: iam.TypeAssumedRole, ARN: "arn:aws:sts::" + ours + ":assumed-role/gone/s", ID: "AROAGONE:s", Name: "s", AccessKeyID: id,
			Session: &iam.Session{RoleARN: "arn:aws:iam::" + ours + ":role/gone", RoleID: "AROAGONE", Name: "s", Issued: time.Now(), Expires: time.Now().Add(time.Hour)}}, nil
	case "old":
		return "", iam.Principal{}, oldToken{}
	}
	return "", iam.Principal{}, errors.New("not ours")
}

// world is all that the server serves, with two accounts in it.
type world struct {
	identity   *iam.Service
	workspaces *workspace.Service
	clusters   *cluster.Service
	services   []api.Service
	router     *api.Router
	admin      iam.AccessKey // of our account
	stranger   iam.AccessKey // administrator of the other
	workspace  string        // our account's
	touched    []string      // what reached a handler of the data plane
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	records, err := db.Open(ctx, filepath.Join(dir, "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = records.Close() })
	w := &world{}
	w.identity, err = iam.Open(ctx, records, iam.Config{KeyFile: filepath.Join(dir, "secret.key")})
	require.NoError(t, err)
	w.admin, _, err = w.identity.Bootstrap(ctx)
	require.NoError(t, err)
	require.NoError(t, w.identity.CreateAccount(ctx, others, "others"))
	w.stranger = w.user(t, others, "boss", iam.PolicyAdministratorAccess)
	w.workspaces, err = workspace.New(workspace.Config{Region: region}, records, noStorage{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ws, err := w.workspaces.Ensure(ctx, ours, "ours-only")
	require.NoError(t, err)
	w.workspace = ws.ID
	w.clusters, err = cluster.New(cluster.Config{Region: region}, records)
	require.NoError(t, err)
	data := func(_ http.ResponseWriter, _ *http.Request, id string) error {
		w.touched = append(w.touched, id)
		return nil
	}
	query := func(rw http.ResponseWriter, r *http.Request, id, _ string) error { return data(rw, r, id) }
	aps, err := api.NewAPS(api.APSConfig{Region: region, Workspaces: w.workspaces, Write: data, OTLP: data, Export: data, Import: data, Query: query, RulesAPI: query, AlertManagerAPI: query,
		RulerAPI: func(rw http.ResponseWriter, r *http.Request, ws *workspace.Workspace, _, _ string) error {
			return data(rw, r, ws.ID)
		},
		RuleNamespaces: api.FakeRuleNamespaces(), AlertManagers: api.FakeAlertManagers(), Authorizer: w.identity})
	require.NoError(t, err)
	idp, err := iamapi.New(w.identity)
	require.NoError(t, err)
	tokens, err := stsapi.New(struct{ stsapi.Tokens }{})
	require.NoError(t, err)
	addons, err := addon.New(addon.Config{Clusters: w.clusters, Installer: struct{ addon.Installer }{}, Logger: slog.New(slog.DiscardHandler)}, records)
	require.NoError(t, err)
	eks, err := eksapi.New(eksapi.Config{Region: region, Clusters: w.clusters, Addons: addons, Roles: w.identity})
	require.NoError(t, err)
	pods, err := eksapi.NewAuth(eksapi.Config{Region: region, Clusters: w.clusters, Roles: w.identity,
		Tokens: struct{ eksapi.Tokens }{}, Sessions: struct{ eksapi.Sessions }{}})
	require.NoError(t, err)
	w.services = []api.Service{aps, idp, tokens, eks, pods}
	w.router = w.newRouter(t, w.services)
	return w
}

func (w *world) newRouter(t testing.TB, services []api.Service) *api.Router {
	t.Helper()
	v, err := sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{region}, Tolerances: sigv4.AllTolerances()}, api.Keys(w.identity, sessions{}))
	require.NoError(t, err)
	rt, err := api.NewRouter(api.Config{Services: services, Verifier: v, Authorizer: w.identity, MaxRefusals: -1}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return rt
}

func (w *world) user(t testing.TB, account, name string, policies ...string) iam.AccessKey {
	t.Helper()
	ctx := context.Background()
	_, err := w.identity.CreateUser(ctx, account, name)
	require.NoError(t, err)
	for _, p := range policies {
		require.NoError(t, w.identity.AttachUserPolicy(ctx, account, name, p))
	}
	k, err := w.identity.CreateAccessKey(ctx, account, name)
	require.NoError(t, err)
	return k
}

// request makes a request for a route. fill gives values to the variables of its
// path; more are parameters of the Query protocol.
func (w *world) request(t testing.TB, route api.RouteInfo, key iam.AccessKey, token string, fill func(string) string, body string, more url.Values) *http.Request {
	t.Helper()
	method, target, contentType := route.Method, fill(route.Path), "application/json"
	switch route.Protocol {
	case api.Query:
		form := url.Values{"Action": {route.Name}, "Version": {route.Version}}
		for k, v := range more {
			form[k] = v
		}
		method, target, body, contentType = "POST", "/", form.Encode(), "application/x-www-form-urlencoded"
	case api.JSON11:
		method, target = "POST", "/"
	}
	r, err := http.NewRequest(method, "http://mangru.test:9009"+target, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", contentType)
	if route.Protocol == api.JSON11 {
		r.Header.Set("X-Amz-Target", route.TargetPrefix+"."+route.Name)
	}
	if key.ID != "" {
		sum := sha256.Sum256([]byte(body))
		require.NoError(t, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret, SessionToken: token},
			r, hex.EncodeToString(sum[:]), route.Service, region, time.Now()))
	}
	return r
}

var codePattern = regexp.MustCompile(`<Code>(\w+)</Code>`)

func code(w *httptest.ResponseRecorder) string {
	if m := codePattern.FindStringSubmatch(w.Body.String()); m != nil {
		return m[1]
	}
	return w.Header().Get("x-amzn-errortype")
}

// filler gives the variables of paths values of the account.
func (w *world) filler(route api.RouteInfo) func(string) string {
	arn := "arn%3Aaws%3Aaps%3A" + region + "%3A" + ours + "%3Aworkspace%2F" + w.workspace
	if route.Service == "eks" {
		arn = "arn%3Aaws%3Aeks%3A" + region + "%3A" + ours + "%3Acluster%2Fours-only"
	}
	r := strings.NewReplacer("{workspaceId}", w.workspace, "/label/{name}", "/label/job", "{name}", "ours-only", "{clusterName}", "ours-only",
		"{associationId}", "a-0000000000000000a", "{addonName}", "adot", "{updateId}", "00000000-0000-0000-0000-000000000000",
		"{namespace}", "ours-only", "{group}", "ours-only", "{scraperId}", "s-00000000-0000-0000-0000-000000000000", "{silenceId}", "ours-only", "{resourceArn...}", arn)
	return r.Replace
}

// TestEveryRouteIsHere: the routes that are walked here are all those of a
// server, which has a test of its own for the same list.
func TestEveryRouteIsHere(t *testing.T) {
	w := newWorld(t)
	want, err := os.ReadFile("testdata/routes.txt")
	require.NoError(t, err)
	require.Equal(t, string(want), api.ListRoutes(w.router.Routes()), "a route was added or removed: change testdata/routes.txt")
}

// TestEveryRouteRefuses walks every route of every service with every wrong
// identity. No handler may run.
func TestEveryRouteRefuses(t *testing.T) {
	w := newWorld(t)
	reached := ""
	services := slices.Clone(w.services)
	for i := range services {
		services[i].Routes = slices.Clone(services[i].Routes)
		for j := range services[i].Routes {
			r := &services[i].Routes[j]
			r.Handle = func(http.ResponseWriter, *api.Call) error { reached = r.Name; return nil }
		}
	}
	rt := w.newRouter(t, services)
	wrong, unknown := w.admin, w.admin
	wrong.Secret, unknown.ID = "guess", "AKIAIOSFODNN7EXAMPLE"
	inactive := w.user(t, ours, "inactive", iam.PolicyAdministratorAccess)
	require.NoError(t, w.identity.SetAccessKeyActive(context.Background(), inactive.ID, false))
	deleted := w.user(t, ours, "deleted", iam.PolicyAdministratorAccess)
	require.NoError(t, w.identity.DeleteAccessKey(context.Background(), deleted.ID))
	temporary := iam.AccessKey{ID: "ASIAIOSFODNN7EXAMPLE", Secret: "secret"}
	const invalidKey = "UnrecognizedClientException InvalidClientTokenId"
	const denied = "AccessDeniedException AccessDenied"
	callers := []struct {
		who   string
		key   iam.AccessKey
		token string
		codes string
		// authenticated callers are refused for want of permission; a request
		// that is not complete may be refused for that.
		authenticated bool
	}{
		{who: "nobody", codes: "MissingAuthenticationTokenException MissingAuthenticationToken"},
		{who: "wrong secret", key: wrong, codes: "InvalidSignatureException SignatureDoesNotMatch"},
		{who: "unknown key", key: unknown, codes: invalidKey},
		{who: "inactive key", key: inactive, codes: invalidKey},
		{who: "deleted key", key: deleted, codes: invalidKey},
		{who: "key with a foreign token", key: w.admin, token: "powerless", codes: invalidKey},
		{who: "expired session", key: temporary, token: "old", codes: "ExpiredTokenException ExpiredToken"},
		{who: "made-up session", key: temporary, token: "made up", codes: invalidKey},
		{who: "session without token", key: temporary, codes: invalidKey},
		{who: "no permission", key: w.user(t, ours, "none"), codes: denied, authenticated: true},
		{who: "permission for another service", key: w.user(t, ours, "wrong", "arn:aws:iam::aws:policy/AWSGrafanaConsoleReadOnlyAccess"), codes: denied, authenticated: true},
		{who: "session of a role that is gone", key: temporary, token: "powerless", codes: denied, authenticated: true},
	}
	perService := map[string]int{}
	for _, route := range rt.Routes() {
		perService[route.Service]++
		for _, c := range callers {
			if c.authenticated && (route.NoPermission || route.Anonymous) || c.key.ID == "" && route.Anonymous {
				continue
			}
			reached = ""
			got := w.complete(t, rt, route, c.key, c.token, "")
			require.Empty(t, reached, "%s %s as %s", route.Service, route.Name, c.who)
			require.GreaterOrEqual(t, got.Code, 400)
			require.Less(t, got.Code, 500, "%s %s as %s: %s", route.Service, route.Name, c.who, got.Body)
			if c.authenticated && code(got) == "ValidationError" {
				continue // such as a session that asks for its own user
			}
			require.Contains(t, strings.Fields(c.codes), code(got), "%s %s as %s: %s", route.Service, route.Name, c.who, got.Body)
		}
		reached = ""
		got := w.complete(t, rt, route, w.admin, "", "")
		require.Equal(t, route.Name, reached, "%s %s as administrator: %s", route.Service, route.Name, got.Body)
	}
	for service, least := range map[string]int{"aps": 70, "iam": 90, "sts": 5, "eks": 10, "eks-auth": 1} {
		require.GreaterOrEqual(t, perService[service], least, service)
	}
}

// values of parameters that operations ask for.
func (w *world) parameter(name string) string {
	const root = "arn:aws:iam::" + ours
	known := map[string]string{"UserName": "ours-only", "GroupName": "ours-only", "RoleName": "ours-only", "PolicyName": "ours-only",
		"PolicyArn": root + ":policy/ours-only", "OpenIDConnectProviderArn": root + ":oidc-provider/issuer.example/ours-only",
		"PermissionsBoundary": root + ":policy/ours-only", "AccessKeyId": w.admin.ID, "Status": "Inactive", "VersionId": "v1",
		"PolicyDocument":           `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
		"AssumeRolePolicyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}`,
		"Url":                      "https://issuer.example/ours-only", "ClientID": "sts.amazonaws.com", "AccountAlias": "ours-only",
		"PolicySourceArn": root + ":user/ours-only", "ActionNames": "iam:GetUser",
		"PolicyInputList": `{"Version":"2012-10-17","Statement":[]}`, "ThumbprintList": strings.Repeat("a", 40)}
	if v, ok := known[name]; ok {
		return v
	}
	return "ours-only"
}

var missingPattern = regexp.MustCompile(`<Message>([\w.]+): is required</Message>`)

// complete calls a route, and again with each parameter that it misses.
func (w *world) complete(t *testing.T, rt http.Handler, route api.RouteInfo, key iam.AccessKey, token, body string) *httptest.ResponseRecorder {
	t.Helper()
	form := url.Values{}
	for range 10 {
		got := httptest.NewRecorder()
		rt.ServeHTTP(got, w.request(t, route, key, token, w.filler(route), body, form))
		m := missingPattern.FindStringSubmatch(got.Body.String())
		if m == nil {
			return got
		}
		name := m[1]
		value := w.parameter(name[strings.LastIndexByte(name, '.')+1:])
		switch name {
		case "Tags":
			form.Set("Tags.member.1.Key", "k")
			form.Set("Tags.member.1.Value", "v")
		case "TagKeys", "ThumbprintList", "ActionNames", "PolicyInputList":
			form.Set(name+".member.1", value)
		default:
			form.Set(name, value)
		}
	}
	t.Fatalf("%s %s: cannot be completed: %v", route.Service, route.Name, form)
	return nil
}

// TestAccountsCannotSeeEachOther lets the administrator of one account try every
// operation on what the other has.
func TestAccountsCannotSeeEachOther(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	user := w.user(t, ours, "ours-only")
	group, err := w.identity.CreateGroup(ctx, ours, "ours-only", "/")
	require.NoError(t, err)
	role, err := w.identity.CreateRole(ctx, ours, iam.RoleSpec{Name: "ours-only", Trust: w.parameter("AssumeRolePolicyDocument")})
	require.NoError(t, err)
	pol, err := w.identity.CreatePolicy(ctx, ours, iam.PolicySpec{Name: "ours-only", Document: w.parameter("PolicyDocument")})
	require.NoError(t, err)
	_, err = w.identity.CreateProvider(ctx, ours, iam.ProviderSpec{URL: "https://issuer.example/ours-only", ClientIDs: []string{"sts.amazonaws.com"}})
	require.NoError(t, err)
	// Whatever tells that it is ours. Names do not: the stranger makes things
	// of the same.
	secrets := []string{w.workspace, ours, w.admin.ID, w.admin.Principal.ID, user.Principal.ID, group.ID, role.ID, pol.ID}
	_, err = w.clusters.Register(ctx, ours, cluster.RegisterInput{Name: "ours-only", Registration: cluster.Registration{Issuer: "https://issuer.example/ours-only"}})
	require.NoError(t, err)
	before := w.everything(t)
	for _, secret := range secrets {
		require.True(t, strings.Contains(before, secret), "%s is there to be seen", secret)
	}

	bodies := []string{"", `{"tags":{"k":"v"}}`, `{"alias":"mine-now"}`}
	tried := 0
	for _, route := range w.router.Routes() {
		if route.Service == "sts" || route.Service == "eks-auth" {
			continue // they judge by trust policies and tokens
		}
		for _, body := range bodies {
			got := w.complete(t, w.router, route, w.stranger, "", body)
			tried++
			where := route.Service + " " + route.Name
			require.NotEqual(t, 500, got.Code, "%s: %s", where, got.Body)
			if got.Code >= 300 {
				continue // errors may repeat what was asked for
			}
			for _, secret := range secrets {
				require.False(t, strings.Contains(got.Body.String(), secret), "%s shows %s", where, secret)
			}
		}
	}
	require.Greater(t, tried, 250)
	require.Empty(t, w.touched, "no handler of the data plane ran")
	require.True(t, before == w.everything(t), "nothing of ours has changed")
}

// everything reads all that our account has, as its administrator sees it.
func (w *world) everything(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, route := range w.router.Routes() {
		reads := strings.HasPrefix(route.Name, "Get") || strings.HasPrefix(route.Name, "List") || strings.HasPrefix(route.Name, "Describe")
		if !reads || route.Data || route.Service == "sts" || strings.HasPrefix(route.Name, "GetServiceLast") || route.Name == "GetAccessKeyLastUsed" {
			continue
		}
		got := w.complete(t, w.router, route, w.admin, "", "")
		b.WriteString(route.Service + " " + route.Name + " " + got.Body.String() + "\n")
	}
	return b.String()
}
