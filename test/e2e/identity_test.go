//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
)

const (
	audienceSTS  = "sts.amazonaws.com"
	audiencePods = "pods.eks.amazonaws.com"
)

var listensAt = regexp.MustCompile(`msg="server listens" url=(http://\S+)`)

// serve runs `mangru server` and makes a workspace as the administrator. Every
// call of the data plane is recorded in the audit log.
func serve(t *testing.T, prefix []string, listen string) *site {
	t.Helper()
	s := &site{data: t.TempDir()}
	s.start(t, prefix, listen)
	s.workspace = s.newWorkspace("default")
	s.remote, s.query = s.dataPlane(s.workspace, "remote_write"), s.dataPlane(s.workspace, "query")
	return s
}

// start runs a server on the site's data.
func (s *site) start(t *testing.T, prefix []string, listen string) {
	t.Helper()
	config := writeFile(t, t.TempDir(), "server.yaml", "audit: {data_plane: 1}\n")
	s.process = launch(t, nil, prefix, "server", "--config", config, "--data", s.data, "--listen", listen, "--ui", "")
	eventually(t, 60*time.Second, "the server", func() error {
		select {
		case <-s.exited:
			t.Fatalf("mangru server ended:\n%s", s.output())
		default:
		}
		at := listensAt.FindStringSubmatch(s.output())
		if at == nil {
			return errors.New("it does not listen yet")
		}
		if s.remote == "" {
			s.remote = at[1] + "/"
		}
		return nil
	})
}

func (s *site) newWorkspace(alias string) string {
	s.t.Helper()
	id := decode[workspaceRecord](s.t, s.aws("amp", "create-workspace", "--alias", alias)).WorkspaceID
	s.aws("amp", "wait", "workspace-active", "--workspace-id", id)
	return id
}

func (s *site) dataPlane(workspace, path string) string {
	return s.endpoint() + "/workspaces/" + workspace + "/api/v1/" + path
}

func workspaceARN(id string) string { return "arn:aws:aps:us-east-1:000000000000:workspace/" + id }

// mangru runs a command as the administrator.
func (s *site) mangru(args ...string) string {
	s.t.Helper()
	return run(s.t, nil, binary(s.t), append(args, "--endpoint", s.endpoint(), "--data", s.data)...)
}

// auditRecord is a line of the audit log, as far as tests look at it.
type auditRecord struct {
	Principal, Subject, Action, Resource, Decision, Code, Reason, Policy string
	SourceIP                                                             string `json:"source_ip"`
	UserAgent                                                            string `json:"user_agent"`
}

// audit returns what the audit log has.
func (s *site) audit() (list []auditRecord) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.data, "audit", "audit.jsonl"))
	require.NoError(s.t, err)
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		list = append(list, decode[auditRecord](s.t, lines.Text()))
	}
	return list
}

// expectAudit waits until the audit log has a record.
func (s *site) expectAudit(what string, is func(auditRecord) bool) auditRecord {
	s.t.Helper()
	var found auditRecord
	eventually(s.t, 20*time.Second, "the audit log to say that "+what, func() error {
		list := s.audit()
		i := slices.IndexFunc(list, is)
		if i < 0 {
			return fmt.Errorf("none of %d records does", len(list))
		}
		found = list[i]
		return nil
	})
	return found
}

// isolated is an environment for AWS' clients that knows nothing of this
// machine's own.
func isolated(more ...string) []string {
	return append([]string{"AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
		"AWS_CONFIG_FILE=/nonexistent", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent", "AWS_MAX_ATTEMPTS=1", "NO_PROXY=*"}, more...)
}

// keyPair are credentials, as AWS' tools print them.
type keyPair struct {
	ID     string `json:"AccessKeyId"`
	Secret string `json:"SecretAccessKey"`
	Token  string `json:"SessionToken"`
}

func (k keyPair) env() []string {
	out := []string{"AWS_ACCESS_KEY_ID=" + k.ID, "AWS_SECRET_ACCESS_KEY=" + k.Secret}
	if k.Token != "" {
		out = append(out, "AWS_SESSION_TOKEN="+k.Token)
	}
	return out
}

// as runs the AWS CLI with credentials. What it prints may be a refusal.
func (s *site) as(k keyPair, args ...string) (string, error) {
	s.t.Helper()
	return try(s.t, isolated(k.env()...), awsCLI(), append([]string{"--endpoint-url", s.endpoint(), "--output", "json"}, args...)...)
}

// curlAs calls a URL of the data plane with curl's own signatures, and returns
// status and body.
func (s *site) curlAs(k keyPair, address string, more ...string) (status, body string) {
	s.t.Helper()
	args := append([]string{"-sS", "--noproxy", "*", "-w", "\n%{http_code}", "--aws-sigv4", "aws:amz:us-east-1:aps", "--user", k.ID + ":" + k.Secret}, more...)
	if k.Token != "" {
		args = append(args, "-H", "X-Amz-Security-Token: "+k.Token)
	}
	out := run(s.t, nil, "curl", append(args, address)...)
	at := strings.LastIndexByte(out, '\n')
	return out[at+1:], strings.TrimSpace(out[:max(at, 0)])
}

// curlWrite remote-writes one sample with curl.
func (s *site) curlWrite(k keyPair, workspace, name string, value float64) (status, body string) {
	s.t.Helper()
	msg := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:  []prompb.Label{{Name: "__name__", Value: name}},
		Samples: []prompb.Sample{{Timestamp: time.Now().UnixMilli(), Value: value}},
	}}}
	text, err := msg.Marshal()
	require.NoError(s.t, err)
	file := writeFile(s.t, s.t.TempDir(), "write", string(s2.EncodeSnappy(nil, text)))
	return s.curlAs(k, s.dataPlane(workspace, "remote_write"), "--data-binary", "@"+file, "-H", "Content-Type: application/x-protobuf",
		"-H", "Content-Encoding: snappy", "-H", "X-Prometheus-Remote-Write-Version: 0.1.0")
}

// notAuthorized is what AWS tells whom no policy allows an action.
func notAuthorized(who, action, resource string) string {
	return "User: " + who + " is not authorized to perform: " + action + " on resource: " + resource +
		" because no identity-based policy allows the " + action + " action"
}

// webToken is a JSON Web Token with its parts.
type webToken struct{ header, claims map[string]any }

func parseToken(t *testing.T, token string) webToken {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	part := func(i int) map[string]any {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		require.NoError(t, err)
		return decode[map[string]any](t, string(text))
	}
	return webToken{part(0), part(1)}
}

// with returns the token with other claims.
func (w webToken) with(claims map[string]any) webToken {
	all := maps.Clone(w.claims)
	maps.Copy(all, claims)
	return webToken{w.header, all}
}

// unsigned returns what a signature is over.
func (w webToken) unsigned(t *testing.T) string {
	t.Helper()
	header, err := json.Marshal(w.header)
	require.NoError(t, err)
	claims, err := json.Marshal(w.claims)
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
}

// sign returns the token, signed with RS256.
func (w webToken) sign(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	text := w.unsigned(t)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	require.NoError(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// issuer is an issuer of service account tokens that needs no cluster.
type issuer struct {
	t   *testing.T
	url string
	key *rsa.PrivateKey
}

func newIssuer(t *testing.T, address string) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return &issuer{t, address, key}
}

// keySet is a file with the public key.
func (i *issuer) keySet() string {
	i.t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	return writeFile(i.t, i.t.TempDir(), "jwks.json", fmt.Sprintf(`{"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k", "n": %q, "e": %q}]}`,
		b64(i.key.N.Bytes()), b64(big.NewInt(int64(i.key.E)).Bytes())))
}

// token is one of a pod of a service account, as the API server makes them.
func (i *issuer) token(namespace, account, audience string) string {
	i.t.Helper()
	now := time.Now()
	return webToken{map[string]any{"alg": "RS256", "kid": "k"}, map[string]any{
		"iss": i.url, "sub": "system:serviceaccount:" + namespace + ":" + account, "aud": []string{audience},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]string{"name": account, "uid": "a"},
			"pod": map[string]string{"name": account + "-0", "uid": "b"}},
	}}.sign(i.t, i.key)
}

// background runs a program until the test is over.
func background(t *testing.T, env []string, program string, args ...string) (output func() string) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	cmd := exec.Command(program, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	cmd.Stdout, cmd.Stderr = file, file
	require.NoError(t, cmd.Start())
	output = func() string {
		text, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		return string(text)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s %s:\n%s", filepath.Base(program), strings.Join(args, " "), tail(output(), 40))
		}
		require.NoError(t, file.Close())
	})
	return output
}

// freePort returns a loopback address that nobody listens on just now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}
