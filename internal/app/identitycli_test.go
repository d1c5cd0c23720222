package app

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
)

// identityServer is the edge with the real records, judge and token service
// behind it, and a data directory with the administrator's credentials.
type identityServer struct {
	t    *testing.T
	url  string
	data string
	iam  *iam.Service
}

func newIdentityServer(t *testing.T) *identityServer {
	t.Helper()
	s := &identityServer{t: t, data: t.TempDir()}
	srv := startServer(t, testConfig(s.data))
	s.iam, s.url = srv.IAM(), srv.URL()
	key, created := srv.FirstKey()
	require.True(t, created)
	require.NoError(t, writeCredentials(filepath.Join(s.data, "credentials"), credentials{AccessKey: key.ID, SecretKey: key.Secret}))
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE",
		"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_EKS", "KUBECONFIG"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	return s
}

// try runs a command against the server as the administrator.
func (s *identityServer) try(args ...string) (code int, out, errs string) {
	s.t.Helper()
	return runMain(append(args, "--endpoint", s.url, "--data", s.data)...)
}

func runMain(args ...string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	code = Main(args, strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// ok runs a command that has to work.
func (s *identityServer) ok(args ...string) string {
	s.t.Helper()
	code, out, errs := s.try(args...)
	require.Zero(s.t, code, "%s: %s", strings.Join(args, " "), errs)
	return out
}

// json runs a command and reads its answer.
func (s *identityServer) json(into any, args ...string) {
	s.t.Helper()
	require.NoError(s.t, json.Unmarshal([]byte(s.ok(append(args, "-o", "json")...)), into))
}

// fails runs a command that has to fail, with the code, and a text in its
// message.
func (s *identityServer) fails(code int, text string, args ...string) {
	s.t.Helper()
	got, _, errs := s.try(args...)
	require.Equal(s.t, code, got, errs)
	require.Contains(s.t, errs, text)
}

func (s *identityServer) client() *awsClient {
	s.t.Helper()
	c, err := (&awsFlags{endpoint: s.url, data: s.data, output: "table"}).client(s.t.Context())
	require.NoError(s.t, err)
	return c
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

const (
	queryPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"aps:QueryMetrics","Resource":"*"}]}`
	denyPolicy  = `{"Version":"2012-10-17","Statement":[{"Sid":"Never","Effect":"Deny","Action":"aps:QueryMetrics","Resource":"*"}]}`
)

func TestUserCommands(t *testing.T) {
	s := newIdentityServer(t)
	require.Contains(t, s.ok("user", "create", "ann", "--tag", "team=obs"), "arn:aws:iam::000000000000:user/ann")
	s.fails(1, "EntityAlreadyExists", "user", "create", "ann")
	s.ok("user", "attach", "ann", "AmazonPrometheusQueryAccess")
	file := writeFile(t, "p.json", queryPolicy)
	s.ok("user", "put-policy", "ann", "own", "--document", file)
	require.JSONEq(t, queryPolicy, s.ok("user", "get-policy", "ann", "own"))
	s.ok("user", "boundary", "ann", "AmazonPrometheusFullAccess")
	s.ok("user", "tag", "ann", "env=prod")
	s.ok("user", "untag", "ann", "team")

	text := s.ok("user", "get", "ann")
	for _, want := range []string{"arn:aws:iam::aws:policy/AmazonPrometheusQueryAccess", "Own policy", "own", "Bounded by", "env=prod"} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "team=obs")
	var list struct{ Users []iamUser }
	s.json(&list, "user", "list")
	require.Len(t, list.Users, 2)
	lines := strings.Split(strings.TrimSpace(s.ok("user", "list")), "\n")
	require.Len(t, lines, 3)
	require.Equal(t, strings.Index(lines[0], "ARN"), strings.Index(lines[1], "arn:"), "columns line up")

	s.fails(1, "--force", "user", "delete", "ann")
	s.ok("key", "create", "ann")
	s.ok("user", "delete", "ann", "--force")
	s.fails(1, "NoSuchEntity", "user", "get", "ann")
	s.fails(2, "there is none of that name", "user", "attach", "admin", "NoSuchPolicy")
}

func TestGroupCommands(t *testing.T) {
	s := newIdentityServer(t)
	require.Contains(t, s.ok("group", "create", "readers", "--path", "/teams/"), "arn:aws:iam::000000000000:group/teams/readers")
	s.fails(1, "EntityAlreadyExists", "group", "create", "readers")
	s.ok("user", "create", "ann")
	s.ok("user", "create", "bob")
	require.Contains(t, s.ok("group", "add-user", "readers", "ann", "bob"), "user bob added to group readers")
	s.ok("group", "attach", "readers", "AmazonPrometheusQueryAccess")
	s.ok("group", "put-policy", "readers", "own", "--document", writeFile(t, "p.json", queryPolicy))
	require.JSONEq(t, queryPolicy, s.ok("group", "get-policy", "readers", "own"))
	require.Contains(t, s.ok("role", "explain", "--principal", "user/ann", "--action", "aps:GetLabels"), "ALLOWED")

	text := s.ok("group", "get", "readers")
	for _, want := range []string{"arn:aws:iam::aws:policy/AmazonPrometheusQueryAccess", "Own policy", "ann bob"} {
		require.Contains(t, text, want)
	}
	var list struct{ Groups []iamGroup }
	s.json(&list, "group", "list", "--user", "ann")
	require.Len(t, list.Groups, 1)
	require.Equal(t, "readers", list.Groups[0].GroupName)
	require.NotEmpty(t, list.Groups[0].GroupId)

	require.Contains(t, s.ok("group", "remove-user", "readers", "ann"), "user ann removed from group readers")
	require.Contains(t, s.ok("role", "explain", "--principal", "user/ann", "--action", "aps:GetLabels"), "DENIED")
	s.fails(1, "--force", "group", "delete", "readers")
	s.ok("group", "delete", "readers", "--force")
	s.fails(1, "NoSuchEntity", "group", "get", "readers")
	require.Contains(t, s.ok("user", "get", "bob"), "bob")
}

func TestKeyCommands(t *testing.T) {
	s := newIdentityServer(t)
	s.ok("user", "create", "ann")
	var made struct{ AccessKey newKey }
	s.json(&made, "key", "create", "ann")
	require.Len(t, made.AccessKey.SecretAccessKey, 40)
	require.Contains(t, s.ok("key", "list", "ann"), made.AccessKey.AccessKeyId)

	dir := t.TempDir()
	out := s.ok("key", "rotate", "ann", "--write", filepath.Join(dir, "credentials"))
	require.NotContains(t, out, "aws_secret")
	info, err := os.Stat(filepath.Join(dir, "credentials"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	s.fails(2, "exists already", "key", "rotate", "ann", "--write", filepath.Join(dir, "credentials"))
	s.fails(1, "mangru key list ann", "key", "create", "ann")

	// The new key works, and may do nothing yet.
	code, _, errs := runMain("user", "list", "--endpoint", s.url, "--data", dir)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "not authorized to perform: iam:ListUsers")

	s.ok("key", "disable", made.AccessKey.AccessKeyId)
	require.Contains(t, s.ok("key", "list", "ann"), "Inactive")
	s.ok("key", "enable", made.AccessKey.AccessKeyId)
	s.ok("key", "delete", made.AccessKey.AccessKeyId)
	require.NotContains(t, s.ok("key", "list", "ann"), made.AccessKey.AccessKeyId)
	require.Contains(t, s.ok("key", "rotate", "ann", "--disable-old"), "Secret key")
	require.Contains(t, s.ok("key", "list", "ann"), "Inactive")
}

func TestRoleCommands(t *testing.T) {
	s := newIdentityServer(t)
	s.ok("role", "create", "writer", "--trust-service", "pods.eks.amazonaws.com", "--trust-principal", "000000000000", "--max-session", "2h", "--description", "writes")
	s.ok("role", "attach", "writer", "AmazonPrometheusRemoteWriteAccess")
	var got struct{ Role iamRole }
	s.json(&got, "role", "get", "writer")
	require.Equal(t, 7200, got.Role.MaxSessionDuration)
	require.Equal(t, "writes", got.Role.Description)
	text := s.ok("role", "list")
	require.Contains(t, text, "arn:aws:iam::000000000000:root pods.eks.amazonaws.com")
	s.ok("role", "set-trust", "writer", "--trust-service", "pods.eks.amazonaws.com")
	require.NotContains(t, s.ok("role", "list"), ":root")
	require.Contains(t, s.ok("role", "get", "writer", "-o", "yaml"), "RoleName: writer")

	s.fails(2, "say who may assume", "role", "create", "x")
	s.fails(2, "leave --trust-principal", "role", "create", "x", "--trust", "f", "--trust-principal", "1")
	bad := writeFile(t, "t.json", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow"}]}`)
	s.fails(2, "--trust", "role", "create", "x", "--trust", bad)
	s.ok("role", "delete", "writer", "--force")
}

func TestExplain(t *testing.T) {
	s := newIdentityServer(t)
	s.ok("role", "create", "r", "--trust-service", "pods.eks.amazonaws.com")
	s.ok("role", "attach", "r", "AmazonPrometheusRemoteWriteAccess")
	explain := func(more ...string) string {
		return s.ok(append([]string{"role", "explain", "--principal", "role/r"}, more...)...)
	}
	out := explain("--action", "aps:RemoteWrite", "--action", "aps:QueryMetrics")
	require.Contains(t, out, "ALLOWED: arn:aws:iam::000000000000:role/r may do aps:RemoteWrite to *")
	require.Contains(t, out, "arn:aws:iam::aws:policy/AmazonPrometheusRemoteWriteAccess")
	require.Contains(t, out, "DENIED: arn:aws:iam::000000000000:role/r may not do aps:QueryMetrics to *\n  No statement of its policies allows it.")
	s.ok("role", "put-policy", "r", "no", "--document", writeFile(t, "p.json", denyPolicy))
	require.Contains(t, explain("--action", "aps:QueryMetrics"), "A statement denies it")
	s.ok("role", "boundary", "r", "AmazonPrometheusQueryAccess")
	require.Contains(t, explain("--action", "aps:RemoteWrite"), "permissions boundary does not allow it")

	s.ok("role", "boundary", "r", "--remove")
	s.ok("role", "put-policy", "r", "no", "--document", writeFile(t, "p.json",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"eks:ListClusters","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}`))
	require.Contains(t, explain("--action", "eks:ListClusters"), "aws:SourceIp")
	require.Contains(t, explain("--action", "eks:ListClusters", "--context", "aws:SourceIp=10.1.2.3"), "ALLOWED")
	require.Contains(t, explain("--action", "eks:ListClusters", "--context", "aws:SourceIp=11.1.2.3"), "DENIED")
	s.fails(2, "expected key=value", "role", "explain", "--principal", "role/r", "--action", "a:B", "--context", "x")
	s.fails(2, "user/NAME", "role", "explain", "--principal", "r", "--action", "a:B")
	s.fails(1, "NoSuchEntity", "role", "explain", "--principal", "role/none", "--action", "a:B")
}

func TestPolicyCommands(t *testing.T) {
	s := newIdentityServer(t)
	file := writeFile(t, "p.json", queryPolicy)
	s.ok("policy", "create", "q", "--document", file, "--description", "queries")
	require.Contains(t, s.ok("policy", "list"), "arn:aws:iam::000000000000:policy/q")
	require.Contains(t, s.ok("policy", "list", "--scope", "aws"), "AmazonPrometheusRemoteWriteAccess")
	require.Contains(t, s.ok("policy", "get", "q"), "aps:QueryMetrics")
	for range 6 {
		s.ok("policy", "update", "q", "--document", file)
	}
	var v struct{ Versions []policyVersion }
	s.json(&v, "policy", "versions", "q")
	require.Len(t, v.Versions, 5)
	s.ok("policy", "set-default", "q", v.Versions[4].VersionId)
	s.ok("user", "attach", "admin", "q")
	s.fails(1, "--force", "policy", "delete", "q")
	s.ok("policy", "delete", "q", "--force")
	require.NotContains(t, s.ok("policy", "list"), "policy/q")

	s.fails(2, "allowed are own, aws and all", "policy", "list", "--scope", "x")
	s.fails(2, "--document", "policy", "create", "x", "--document", writeFile(t, "b.json", `{}`))
	code, out, _ := runMain("policy", "check", file)
	require.Zero(t, code)
	require.Contains(t, out, "valid")
	code, _, errs := runMain("policy", "check", "--trust", file)
	require.Equal(t, 2, code, errs)
	require.Contains(t, errs, file+":1:")
}

func TestProviderCommands(t *testing.T) {
	s := newIdentityServer(t)
	keys := writeFile(t, "jwks.json", testKeySet)
	s.ok("oidc-provider", "create", "https://issuer.example/id", "--jwks", keys, "--client-id", "a", "--client-id", "b")
	require.Contains(t, s.ok("oidc-provider", "list"), "recorded here")
	s.ok("oidc-provider", "add-client-id", "https://issuer.example/id", "c")
	s.ok("oidc-provider", "remove-client-id", "arn:aws:iam::000000000000:oidc-provider/issuer.example/id", "a")
	require.Contains(t, s.ok("oidc-provider", "get", "https://issuer.example/id"), "b c")
	s.ok("oidc-provider", "set-keys", "https://issuer.example/id", "--internal-url", "https://10.0.0.1")
	require.Contains(t, s.ok("oidc-provider", "get", "https://issuer.example/id"), "fetched from https://10.0.0.1")
	s.ok("oidc-provider", "delete", "https://issuer.example/id")
	s.fails(1, "NoSuchEntity", "oidc-provider", "get", "https://issuer.example/id")
	s.fails(2, "--jwks", "oidc-provider", "create", "https://x", "--jwks", writeFile(t, "bad.json", `{"keys":[]}`))
}

func TestUsage(t *testing.T) {
	s := newIdentityServer(t)
	for _, args := range [][]string{
		{"user"}, {"user", "frob"}, {"user", "create"}, {"user", "create", "a", "b"}, {"user", "list", "x"}, {"user", "list", "-o", "xml"},
		{"user", "create", "a", "--tag", "b"}, {"user", "list", "--no-such-flag"}, {"irsa", "create"}, {"irsa", "list"}, {"irsa", "delete"}, {"cluster", "register"},
		{"pod-identity", "create"}, {"pod-identity", "list"}, {"role", "explain"}, {"policy", "create", "x"}, {"key", "rotate"}, {"user", "boundary", "x"},
		{"user", "put-policy", "u", "n", "--document", "/no/such/file"}, {"user", "list", "--profile", "p"},
	} {
		code, _, errs := s.try(args...)
		require.Equal(t, 2, code, "%v: %s", args, errs)
		require.NotEmpty(t, errs)
	}
	code, _, errs := runMain("user", "list", "--endpoint", "ftp://x", "--data", s.data)
	require.Equal(t, 2, code)
	require.Contains(t, errs, "--endpoint")
	code, _, errs = runMain("user", "list", "--endpoint", s.url, "--data", t.TempDir())
	require.Equal(t, 2, code)
	require.Contains(t, errs, "--data")
	code, _, errs = runMain("user", "list", "--endpoint", "http://127.0.0.1:1", "--data", s.data)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "no server answers at http://127.0.0.1:1")
	t.Chdir(t.TempDir())
	code, _, errs = runMain("user", "list", "--endpoint", s.url)
	require.Equal(t, 2, code)
	require.Contains(t, errs, "no credentials: give --data")

	// Credentials of the environment, of a profile, and of the default place.
	c, err := readCredentials(filepath.Join(s.data, "credentials"))
	require.NoError(t, err)
	require.NoError(t, os.Mkdir("mangru-data", 0o700))
	require.NoError(t, writeCredentials(filepath.Join("mangru-data", "credentials"), c))
	code, _, errs = runMain("user", "list", "--endpoint", s.url)
	require.Zero(t, code, errs)
	t.Setenv("AWS_ACCESS_KEY_ID", c.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong"+c.SecretKey[5:])
	t.Setenv("AWS_ENDPOINT_URL", s.url)
	code, _, errs = runMain("user", "list")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "is the secret key the one of this access key")
	require.NotContains(t, errs, c.SecretKey[5:])
	t.Setenv("AWS_SECRET_ACCESS_KEY", c.SecretKey)
	code, _, errs = runMain("user", "list")
	require.Zero(t, code, errs)
	code, _, errs = runMain("user", "list", "--region", "eu-west-1")
	require.Equal(t, 1, code, errs)
}

// testKeySet is the example of RFC 8037.
const testKeySet = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

// fakeAPIServer is the part of a Kubernetes API server that a registration asks.
type fakeAPIServer struct {
	*httptest.Server
	kubeconfig string
	issuer     string
	keys       string
	status     int
}

func newFakeAPIServer(t *testing.T) *fakeAPIServer {
	t.Helper()
	k := &fakeAPIServer{issuer: "https://kubernetes.default.svc.cluster.local", keys: testKeySet, status: http.StatusOK}
	k.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer kube-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.URL.Path {
		case "/version":
			_, _ = w.Write([]byte(`{"major":"1","minor":"34+","gitVersion":"v1.34.1"}`))
		case "/.well-known/openid-configuration":
			w.WriteHeader(k.status)
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": k.issuer, "jwks_uri": k.issuer + "/openid/v1/jwks"})
		case "/openid/v1/jwks":
			_, _ = w.Write([]byte(k.keys))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(k.Close)
	k.kubeconfig = writeFile(t, "kubeconfig", `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "`+k.URL+`", certificate-authority-data: "`+pemOfServer(k.Server)+`"}}]
contexts: [{name: c, context: {cluster: c, user: u}}, {name: stranger, context: {cluster: c, user: nobody}}]
users: [{name: u, user: {token: kube-token}}, {name: nobody, user: {token: x}}]
`)
	return k
}
