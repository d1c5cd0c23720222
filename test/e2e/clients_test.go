//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/bench/collector/peer"
)

// lab is a server with everything that a client can get credentials from.
type lab struct {
	*site
	page string // that agents scrape
	ways []way
}

// way is one of getting credentials, and whose those are.
type way struct {
	name string
	env  []string
	// role is assumed with the credentials that env leads to, if the agent is told.
	role string
	who  string // a prefix of the principal's ARN
}

const (
	writeAccess = "AmazonPrometheusRemoteWriteAccess"
	roleARN     = "arn:aws:iam::000000000000:role/"
	sessionARN  = "arn:aws:sts::000000000000:assumed-role/"
	userARN     = "arn:aws:iam::000000000000:user/"
)

// newLab makes a user with a key, a role that he may assume, a role for the
// service accounts of a cluster, and one by Pod Identity with a node's agent.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{site: serve(t, nil, "127.0.0.1:0")}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "goods_sold_total 7") }))
	t.Cleanup(page.Close)
	l.page = strings.TrimPrefix(page.URL, "http://")

	l.mangru("user", "create", "writer")
	l.mangru("user", "attach", "writer", writeAccess)
	key := decode[struct{ AccessKey keyPair }](t, l.mangru("key", "create", "writer", "-o", "json")).AccessKey
	l.mangru("role", "create", "assumed", "--trust-principal", userARN+"writer")
	l.mangru("role", "attach", "assumed", writeAccess)

	cluster := newIssuer(t, "https://oidc.example/id/PROD")
	l.mangru("cluster", "register", "prod", "--issuer", cluster.url, "--jwks", cluster.keySet())
	l.mangru("irsa", "create", "--cluster", "prod", "-n", "shop", "--service-account", "agent", "--policy", writeAccess, "--role-name", "irsa", "--role-only")
	irsa := writeFile(t, t.TempDir(), "token", cluster.token("shop", "agent", audienceSTS))

	l.mangru("role", "create", "pods", "--trust-service", audiencePods)
	l.mangru("role", "attach", "pods", writeAccess)
	l.mangru("pod-identity", "create", "--cluster", "prod", "-n", "shop", "--service-account", "agent", "--role", "pods")
	pods := writeFile(t, t.TempDir(), "token", cluster.token("shop", "agent", audiencePods))
	node := freePort(t)
	background(t, nil, binary(t), "pod-identity-agent", "--cluster", "prod", "--endpoint", l.endpoint(), "--listen", node)
	eventually(t, 20*time.Second, "the Pod Identity agent", func() error {
		res, err := http.Get("http://" + node + "/-/healthy")
		if err == nil {
			err = res.Body.Close()
		}
		return err
	})

	service := "AWS_ENDPOINT_URL_STS=" + l.endpoint()
	l.ways = []way{
		{"access key", isolated(key.env()...), "", userARN + "writer"},
		{"assumed role", isolated(append(key.env(), service)...), roleARN + "assumed", sessionARN + "assumed/"},
		{"web identity", isolated(service, "AWS_ROLE_ARN="+roleARN+"irsa", "AWS_WEB_IDENTITY_TOKEN_FILE="+irsa), "", sessionARN + "irsa/"},
		{"Pod Identity", isolated("AWS_CONTAINER_CREDENTIALS_FULL_URI=http://"+node+"/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="+pods), "", sessionARN + "pods/"},
	}
	return l
}

// agent is a program that scrapes the page and remote-writes it, signed.
type agent struct {
	name      string
	userAgent string // in the audit log
	program   func(t *testing.T) string
	// args returns the arguments that have it do so with a job's name.
	args func(l *lab, w way, dir, job string) []string
}

func agents() []agent {
	return []agent{
		{"mangru", "mangru", binary, func(l *lab, w way, dir, job string) []string {
			return []string{"collector", "--metrics-address", "127.0.0.1:0", "--config", l.collectorFile(w, dir, job)}
		}},
		{"OpenTelemetry Collector", "aws-sdk-go-v2", sigv4Collector, func(l *lab, w way, dir, job string) []string {
			return []string{"--config", l.collectorFile(w, dir, job)}
		}},
		{"Prometheus", "Prometheus", func(t *testing.T) string { return stockProgram(t, peer.Prometheus) }, func(l *lab, w way, dir, job string) []string {
			role := ""
			if w.role != "" {
				role = ", role_arn: " + w.role
			}
			file := writeFile(l.t, dir, "prometheus.yaml", fmt.Sprintf(`
global: {scrape_interval: 1s}
remote_write:
- {url: %q, sigv4: {region: us-east-1%s}, queue_config: {batch_send_deadline: 1s}}
scrape_configs:
- {job_name: %q, static_configs: [{targets: [%q]}]}
`, l.remote, role, job, l.page))
			return []string{"--agent", "--config.file=" + file, "--storage.agent.path=" + filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0"}
		}},
		{"vmagent", "vmagent", func(t *testing.T) string { return stockProgram(t, peer.VMAgent) }, func(l *lab, w way, dir, job string) []string {
			file := writeFile(l.t, dir, "scrape.yaml", fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs:\n- {job_name: %q, static_configs: [{targets: [%q]}]}\n", job, l.page))
			return []string{"-promscrape.config=" + file, "-httpListenAddr=127.0.0.1:0", "-remoteWrite.tmpDataPath=" + filepath.Join(dir, "data"),
				"-remoteWrite.url=" + l.remote, "-remoteWrite.aws.useSigv4", "-remoteWrite.aws.region=us-east-1",
				"-remoteWrite.aws.stsEndpoint=" + l.endpoint(), "-remoteWrite.aws.roleARN=" + w.role}
		}},
	}
}

// collectorFile is a configuration with the sigv4auth extension.
func (l *lab) collectorFile(w way, dir, job string) string {
	role := ""
	if w.role != "" {
		role = ", assume_role: {arn: " + w.role + "}"
	}
	return writeFile(l.t, dir, "collector.yaml", fmt.Sprintf(`
extensions:
  sigv4auth: {region: us-east-1, service: aps%s}
receivers:
  prometheus:
    config:
      global: {scrape_interval: 1s}
      scrape_configs:
      - {job_name: %q, static_configs: [{targets: [%q]}]}
exporters:
  prometheusremotewrite: {endpoint: %q, auth: {authenticator: sigv4auth}}
service:
  extensions: [sigv4auth]
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [prometheus], exporters: [prometheusremotewrite]}
`, role, job, l.page, l.remote))
}

// stockProgram is one of the collectors that the bench compares: a program in
// $MANGRU_PEERS, or one that the bench has built. MANGRU_BUILD_PEERS has it built
// here, which takes minutes.
func stockProgram(t *testing.T, name string) string {
	t.Helper()
	file := name
	if name == peer.VMAgent {
		file = "vmagent"
	}
	if dir := os.Getenv("MANGRU_PEERS"); dir != "" {
		if found := filepath.Join(dir, file); exists(found) {
			return found
		}
	}
	cache := benchCache(t)
	if os.Getenv("MANGRU_BUILD_PEERS") != "" {
		built, err := peer.Builder{Root: root, Cache: cache, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}.Build(t.Context(), name)
		require.NoError(t, err)
		return built
	}
	built, err := filepath.Glob(filepath.Join(cache, file+"-????????????"))
	require.NoError(t, err)
	if len(built) == 0 {
		t.Skipf("there is no %s: MANGRU_PEERS=DIR names a directory with it, MANGRU_BUILD_PEERS=1 builds one", file)
	}
	return built[0]
}

// sigv4Collector is the OpenTelemetry Collector with the sigv4auth extension,
// which the bench's has not.
func sigv4Collector(t *testing.T) string {
	t.Helper()
	const name = "otelcol-sigv4"
	if dir := os.Getenv("MANGRU_PEERS"); dir != "" {
		if found := filepath.Join(dir, name); exists(found) {
			return found
		}
	}
	module := filepath.Join("testdata", "otelcol")
	sum := sha256.New()
	for _, file := range []string{"go.mod", "go.sum", "main.go"} {
		text, err := os.ReadFile(filepath.Join(module, file))
		require.NoError(t, err)
		sum.Write(text)
	}
	built := filepath.Join(benchCache(t), name+"-"+hex.EncodeToString(sum.Sum(nil))[:12])
	if exists(built) {
		return built
	}
	if os.Getenv("MANGRU_BUILD_PEERS") == "" {
		t.Skipf("there is no %s: MANGRU_PEERS=DIR names a directory with it, MANGRU_BUILD_PEERS=1 builds one", name)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", built, ".")
	cmd.Dir, cmd.Env = module, append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return built
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func benchCache(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	return filepath.Join(cache, "mangru-bench")
}

// TestClients has the programs that people have get their credentials in every
// way there is and use them, with nothing changed but the endpoints.
func TestClients(t *testing.T) {
	l := newLab(t)
	for _, a := range agents() {
		t.Run(a.name, func(t *testing.T) { l.scrapes(t, a) })
	}
	t.Run("AWS SDK for Go", l.sdk)
	t.Run("AWS CLI", l.commandLine)
	t.Run("botocore", l.botocore)
	t.Run("curl", l.curls)
	for _, w := range l.ways {
		for _, name := range []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"} {
			if file := valueOf(w.env, name); file != "" {
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				require.NotContains(t, l.output(), string(text), "vmagent sends it in the URL")
			}
		}
	}
}

// in is the site for a part of the test.
func (s *site) in(t *testing.T) *site {
	in := *s
	in.process = &process{t: t}
	return &in
}

// scrapes runs an agent once with each way's credentials.
func (l *lab) scrapes(t *testing.T, a agent) {
	program := a.program(t)
	jobs := map[string]way{}
	for _, w := range l.ways {
		job := strings.ReplaceAll(a.name+" "+w.name, " ", "-")
		jobs[job] = w
		background(t, w.env, program, a.args(l, w, t.TempDir(), job)...)
	}
	for job, w := range jobs {
		in := l.in(t)
		in.expect(60*time.Second, fmt.Sprintf(`goods_sold_total{job=%q}`, job), 1, 7)
		by := in.expectAudit(a.name+" wrote as "+w.who, func(r auditRecord) bool {
			return r.Action == "aps:RemoteWrite" && r.Decision == "allow" && strings.HasPrefix(r.Principal, w.who) && strings.Contains(r.UserAgent, a.userAgent)
		})
		t.Logf("%s: %s, %s", w.name, by.Principal, by.UserAgent)
	}
}

// sdk asks with the Go SDK's default chain, as a service would that is written
// with it.
func (l *lab) sdk(t *testing.T) {
	for _, w := range l.ways {
		if w.role != "" {
			continue // takes a profile; agents have it
		}
		t.Run(w.name, func(t *testing.T) {
			for _, v := range w.env {
				name, value, _ := strings.Cut(v, "=")
				t.Setenv(name, value)
			}
			cfg, err := awsconfig.LoadDefaultConfig(t.Context())
			require.NoError(t, err)
			client := sts.NewFromConfig(cfg, func(o *sts.Options) { o.BaseEndpoint = aws.String(l.endpoint()) })
			me, err := client.GetCallerIdentity(t.Context(), nil)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(*me.Arn, w.who), *me.Arn)
		})
	}
}

type identity struct{ Arn, UserId, Account string }

// commandLine asks with the AWS CLIs of this machine: Debian's, and one of the
// PATH where it knows of endpoints in the environment.
func (l *lab) commandLine(t *testing.T) {
	for _, w := range l.ways {
		if w.role != "" {
			key := decode[struct{ Credentials keyPair }](t, run(t, w.env, awsCLI(), "--endpoint-url", l.endpoint(), "--output", "json",
				"sts", "assume-role", "--role-arn", w.role, "--role-session-name", "cli")).Credentials
			out, err := l.as(key, "sts", "get-caller-identity")
			require.NoError(t, err, out)
			require.Equal(t, w.who+"cli", decode[identity](t, out).Arn)
		}
		if w.name == "access key" {
			out := run(t, w.env, awsCLI(), "--endpoint-url", l.endpoint(), "--output", "json", "sts", "get-caller-identity")
			require.Equal(t, w.who, decode[identity](t, out).Arn)
		}
	}
	newer := newerCLI(t)
	if newer == "" {
		t.Log("there is no AWS CLI of 2023 or later in the PATH: Debian's knows no AWS_ENDPOINT_URL_STS")
		return
	}
	for _, w := range l.ways {
		if w.role != "" {
			continue
		}
		out := run(t, append(w.env, "AWS_ENDPOINT_URL="+l.endpoint()), newer, "--output", "json", "sts", "get-caller-identity")
		require.True(t, strings.HasPrefix(decode[identity](t, out).Arn, w.who), "%s: %s", w.name, out)
	}
}

// newerCLI is an AWS CLI that reads endpoints from the environment, or "".
func newerCLI(t *testing.T) string {
	t.Helper()
	file, err := exec.LookPath("aws")
	if err != nil {
		return ""
	}
	var major, minor int
	if _, err := fmt.Sscanf(run(t, nil, file, "--version"), "aws-cli/%d.%d", &major, &minor); err != nil {
		return ""
	}
	if major == 1 && minor >= 29 || major == 2 && minor >= 13 || major > 2 {
		return file
	}
	return ""
}

// botocoreScript writes nothing and asks something, signed with what botocore's
// chain finds, and prints both statuses and who it is.
const botocoreScript = `
import json, sys, urllib.error, urllib.request
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import get_session
endpoint, remote, query, role, token = sys.argv[1:]
session = get_session()
sts = session.create_client("sts", endpoint_url=endpoint)
if token:
    c = sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="botocore", WebIdentityToken=open(token).read())["Credentials"]
elif role:
    c = sts.assume_role(RoleArn=role, RoleSessionName="botocore")["Credentials"]
else:
    c = None
if c:
    session.set_credentials(c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"])
    sts = session.create_client("sts", endpoint_url=endpoint)
def send(method, url, data=None, **headers):
    r = AWSRequest(method, url, data=data, headers={k.replace("_", "-"): v for k, v in headers.items()})
    SigV4Auth(session.get_credentials(), "aps", "us-east-1").add_auth(r)
    p = r.prepare()
    try:
        return urllib.request.urlopen(urllib.request.Request(p.url, data=p.body, headers=dict(p.headers), method=method)).status
    except urllib.error.HTTPError as e:
        return e.code
print(json.dumps({"Arn": sts.get_caller_identity()["Arn"],
    "Write": send("POST", remote, b"\x00", Content_Type="application/x-protobuf", Content_Encoding="snappy"),
    "Query": send("GET", query + "?query=up")}))
`

func (l *lab) botocore(t *testing.T) {
	ran := 0
	for python, path := range map[string]string{"/usr/bin/python3": "/usr/lib/python3/dist-packages/awscli", "python3": ""} {
		if _, err := try(t, []string{"PYTHONPATH=" + path}, python, "-c", "import botocore.auth"); err != nil {
			t.Logf("%s has no botocore", python)
			continue
		}
		ran++
		for _, w := range l.ways {
			role, token := w.role, ""
			env := append([]string{"PYTHONPATH=" + path, "no_proxy=*"}, w.env...)
			switch w.name {
			case "web identity": // by hand, since older ones know one endpoint only
				role, token = roleARN+"irsa", valueOf(w.env, "AWS_WEB_IDENTITY_TOKEN_FILE")
				env = append(env, "AWS_WEB_IDENTITY_TOKEN_FILE=", "AWS_ROLE_ARN=", "AWS_ACCESS_KEY_ID=unused", "AWS_SECRET_ACCESS_KEY=unused")
			case "Pod Identity": // older ones do not read the token's file
				text, err := os.ReadFile(valueOf(w.env, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
				require.NoError(t, err)
				env = append(env, "AWS_CONTAINER_AUTHORIZATION_TOKEN="+string(text))
			}
			out := run(t, env, python, "-c", botocoreScript, l.endpoint(), l.remote, l.query, role, token)
			got := decode[struct {
				Arn          string
				Write, Query int
			}](t, out)
			require.True(t, strings.HasPrefix(got.Arn, w.who), "%s, %s: %s", python, w.name, out)
			require.Equal(t, http.StatusOK, got.Write, "%s, %s: %s", python, w.name, out)
			require.Equal(t, http.StatusForbidden, got.Query, "%s, %s: %s", python, w.name, out)
		}
	}
	if ran == 0 {
		t.Skip("there is no botocore: it comes with awscli")
	}
}

func valueOf(env []string, name string) string {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// curls signs with curl, a key of a user and one of a session.
func (l *lab) curls(t *testing.T) {
	user := l.ways[0]
	key := keyPair{ID: valueOf(user.env, "AWS_ACCESS_KEY_ID"), Secret: valueOf(user.env, "AWS_SECRET_ACCESS_KEY")}
	out, err := l.as(key, "sts", "assume-role", "--role-arn", roleARN+"assumed", "--role-session-name", "curl")
	require.NoError(t, err, out)
	session := decode[struct{ Credentials keyPair }](t, out).Credentials
	for who, k := range map[string]keyPair{userARN + "writer": key, sessionARN + "assumed/curl": session} {
		status, body := l.curlWrite(k, l.workspace, "written_by_curl", 1)
		require.Equal(t, "200", status, body)
		status, body = l.curlAs(k, l.query+"?query="+url.QueryEscape(`{job="x"}`)+"&time=1")
		require.Equal(t, "403", status, body)
		require.Contains(t, body, notAuthorized(who, "aps:QueryMetrics", workspaceARN(l.workspace)))
	}
	broken := session
	broken.Token = "x" + session.Token[1:]
	status, body := l.curlWrite(broken, l.workspace, "written_by_curl", 2)
	require.Equal(t, "403", status, body)
	require.NotContains(t, body, session.Token[10:40])
	status, body = l.curlWrite(keyPair{ID: session.ID, Secret: session.Secret}, l.workspace, "written_by_curl", 2)
	require.Equal(t, "403", status, body)
	l.expect(10*time.Second, "written_by_curl", 1, 1)
}
