package app

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// testCluster signs service account tokens as an API server does.
type testCluster struct {
	t      *testing.T
	key    ed25519.PrivateKey
	issuer string
	jwks   string // file with the public key
}

func newTestCluster(t *testing.T) *testCluster {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	set := `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","alg":"EdDSA","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}]}`
	return &testCluster{t: t, key: key, issuer: "https://oidc.example/id/ABC", jwks: writeFile(t, "jwks.json", set)}
}

// token is that of a pod of a service account, for an audience.
func (c *testCluster) token(namespace, account, audience string, expires time.Time) string {
	c.t.Helper()
	payload, err := json.Marshal(map[string]any{"iss": c.issuer, "sub": serviceAccountSubject(namespace, account), "aud": []string{audience},
		"iat": time.Now().Add(-time.Minute).Unix(), "nbf": time.Now().Add(-time.Minute).Unix(), "exp": expires.Unix(),
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]string{"name": account, "uid": "u1"},
			"pod": map[string]string{"name": "collector-0", "uid": "u2"}}})
	require.NoError(c.t, err)
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"k1"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(c.key, []byte(text)))
}

// whoami asks the server whom credentials are of.
func (s *identityServer) whoami(creds aws.CredentialsProvider) (string, error) {
	client := sts.New(sts.Options{Region: defaultRegion, BaseEndpoint: aws.String(s.url), Credentials: creds, RetryMaxAttempts: 1})
	out, err := client.GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return *out.Arn, nil
}

// tokenText is a token as the SDK's provider takes it.
type tokenText string

func (t tokenText) GetIdentityToken() ([]byte, error) { return []byte(t), nil }

// From cluster register and irsa create to credentials, with the SDK's client.
func TestIRSAPath(t *testing.T) {
	s, c := newIdentityServer(t), newTestCluster(t)
	s.ok("cluster", "register", "prod", "--issuer", c.issuer, "--jwks", c.jwks)
	kube := fake.NewClientset()
	p, err := newIRSAPlan(t.Context(), s.client(), kube, ampSpec())
	require.NoError(t, err)
	require.NoError(t, p.run(t.Context()))
	sa, err := kube.CoreV1().ServiceAccounts("prometheus").Get(t.Context(), "amp-irsa-role", metav1.GetOptions{})
	require.NoError(t, err)

	in := time.Now().Add(time.Hour)
	try := func(token string) (string, error) {
		client := sts.New(sts.Options{Region: defaultRegion, BaseEndpoint: aws.String(s.url), RetryMaxAttempts: 1})
		return s.whoami(stscreds.NewWebIdentityRoleProvider(client, sa.Annotations[roleAnnotation], tokenText(token),
			func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = "session" }))
	}
	arn, err := try(c.token("prometheus", "amp-irsa-role", audienceSTS, in))
	require.NoError(t, err)
	require.Equal(t, "arn:aws:sts::000000000000:assumed-role/amp/session", arn)
	for name, token := range map[string]string{
		"account":   c.token("prometheus", "other", audienceSTS, in),
		"namespace": c.token("default", "amp-irsa-role", audienceSTS, in),
		"audience":  c.token("prometheus", "amp-irsa-role", "https://kubernetes.default.svc", in),
		"expired":   c.token("prometheus", "amp-irsa-role", audienceSTS, time.Now().Add(-time.Hour)),
		"cluster":   newTestCluster(t).token("prometheus", "amp-irsa-role", audienceSTS, in),
	} {
		_, err := try(token)
		require.Error(t, err, name)
	}

	// The commands find a pod's token as the SDKs do.
	t.Setenv("AWS_ROLE_ARN", sa.Annotations[roleAnnotation])
	t.Setenv("AWS_ENDPOINT_URL_STS", s.url)
	for token, want := range map[string]string{
		c.token("prometheus", "amp-irsa-role", audienceSTS, in): "ListUsers: AccessDenied: User: arn:aws:sts::000000000000:assumed-role/amp/",
		c.token("prometheus", "other", audienceSTS, in):         "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity",
	} {
		t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", writeFile(t, "token", token))
		code, _, errs := runMain("user", "list", "--endpoint", s.url)
		require.Equal(t, exitFailed, code, "the server refuses: %s", errs)
		require.Contains(t, errs, want)
	}
}

// A session ends with its role, and another role of the same name does not bring
// it back.
func TestSessionOfADeletedRole(t *testing.T) {
	s, c := newIdentityServer(t), newTestCluster(t)
	s.ok("cluster", "register", "prod", "--issuer", c.issuer, "--jwks", c.jwks)
	p, err := newIRSAPlan(t.Context(), s.client(), fake.NewClientset(), ampSpec())
	require.NoError(t, err)
	require.NoError(t, p.run(t.Context()))
	client := sts.New(sts.Options{Region: defaultRegion, BaseEndpoint: aws.String(s.url), RetryMaxAttempts: 1})
	creds, err := stscreds.NewWebIdentityRoleProvider(client, "arn:aws:iam::000000000000:role/amp",
		tokenText(c.token("prometheus", "amp-irsa-role", audienceSTS, time.Now().Add(time.Hour)))).Retrieve(t.Context())
	require.NoError(t, err)
	session := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return creds, nil })
	_, err = s.whoami(session)
	require.NoError(t, err)

	const gone = "InvalidClientTokenId: The security token included in the request is invalid."
	s.ok("role", "delete", "amp", "--force")
	_, err = s.whoami(session)
	require.ErrorContains(t, err, gone)
	s.ok("role", "create", "amp", "--trust-service", "pods.eks.amazonaws.com")
	_, err = s.whoami(session)
	require.ErrorContains(t, err, gone)
}

// newNode runs an agent before the server and returns how a pod's SDK asks it,
// and how a service account gets its role.
func (s *identityServer) newNode() (whoami func(token string) (string, error), associate func(account string, more ...string)) {
	s.t.Helper()
	reg := prometheus.NewRegistry()
	agent, err := newPodAgent(podAgentConfig{Listen: "127.0.0.1:0", Cluster: "prod", Endpoint: s.url}, reg, slog.New(slog.DiscardHandler))
	require.NoError(s.t, err)
	s.t.Cleanup(agent.client.CloseIdleConnections)
	node := httptest.NewServer(agent.handler(reg))
	s.t.Cleanup(node.Close)
	whoami = func(token string) (string, error) {
		return s.whoami(endpointcreds.New(node.URL+"/v1/credentials", func(o *endpointcreds.Options) {
			o.AuthorizationToken, o.HTTPClient = token, http.DefaultClient
		}))
	}
	associate = func(account string, more ...string) {
		s.t.Helper()
		s.ok(append([]string{"pod-identity", "create", "--cluster", "prod", "-n", "ns", "--service-account", account}, more...)...)
	}
	return whoami, associate
}

const audiencePods = "pods.eks.amazonaws.com"

// From a pod's token by the node's agent to credentials, with the SDK's client.
func TestPodIdentityPath(t *testing.T) {
	s, c := newIdentityServer(t), newTestCluster(t)
	s.ok("cluster", "register", "prod", "--issuer", c.issuer, "--jwks", c.jwks, "--no-oidc-provider")
	s.ok("role", "create", "pods", "--trust-service", audiencePods)
	s.ok("role", "create", "closed", "--trust-principal", "000000000000")
	whoami, associate := s.newNode()
	associate("direct", "--role", "pods")
	associate("untrusted", "--role", "closed")
	in := time.Now().Add(time.Hour)
	arn, err := whoami(c.token("ns", "direct", audiencePods, in))
	require.NoError(t, err)
	require.Regexp(t, `^arn:aws:sts::000000000000:assumed-role/pods/eks-prod-collector-0-`, arn)
	for name, d := range map[string]struct{ token, want string }{
		"no trust": {c.token("ns", "untrusted", audiencePods, in), "EKS does not have permissions"},
		"none":     {c.token("ns", "none", audiencePods, in), "no service account role association"},
		"audience": {c.token("ns", "direct", audienceSTS, in), "InvalidTokenException"},
		"cluster":  {newTestCluster(t).token("ns", "direct", audiencePods, in), "InvalidTokenException"},
	} {
		_, err := whoami(d.token)
		require.ErrorContains(t, err, d.want, name)
	}
}

// A target role can demand that one association asks for it.
func TestPodIdentityTargetRole(t *testing.T) {
	s, c := newIdentityServer(t), newTestCluster(t)
	s.ok("cluster", "register", "prod", "--issuer", c.issuer, "--jwks", c.jwks, "--no-oidc-provider")
	s.ok("role", "create", "pods", "--trust-service", audiencePods)
	s.ok("role", "create", "target", "--trust", writeFile(t, "t.json", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Principal":{"AWS":"arn:aws:iam::000000000000:role/pods"},"Action":["sts:AssumeRole","sts:TagSession"],
		"Condition":{"StringEquals":{"sts:ExternalId":"us-east-1/000000000000/prod/ns/chained"}}}]}`))
	whoami, associate := s.newNode()
	associate("chained", "--role", "pods", "--target-role", "arn:aws:iam::000000000000:role/target")
	associate("thief", "--role", "pods", "--target-role", "arn:aws:iam::000000000000:role/target")
	in := time.Now().Add(time.Hour)
	arn, err := whoami(c.token("ns", "chained", audiencePods, in))
	require.NoError(t, err)
	require.Regexp(t, `^arn:aws:sts::000000000000:assumed-role/target/`, arn)
	_, err = whoami(c.token("ns", "thief", audiencePods, in))
	require.ErrorContains(t, err, "EKS does not have permissions")
}

// The AWS CLI sees registered clusters as EKS' own.
func TestAWSCLIAndClusters(t *testing.T) {
	cli, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("there is no aws command")
	}
	s, k := newIdentityServer(t), newFakeAPIServer(t)
	s.ok("cluster", "register", "prod", "--kubeconfig", k.kubeconfig, "--tag", "env=prod")
	kubeconfig := filepath.Join(t.TempDir(), "config")
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), cli, append([]string{"--endpoint-url", s.url, "--region", defaultRegion, "--output", "text", "eks"}, args...)...)
		env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
		cmd.Env = append(env, "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(s.data, "credentials"), "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return strings.TrimSpace(string(out))
	}
	require.Equal(t, "prod", run("list-clusters", "--query", "clusters[]"))
	require.Equal(t, "https://kubernetes.default.svc.cluster.local\tACTIVE\tprod",
		run("describe-cluster", "--name", "prod", "--query", "cluster.[identity.oidc.issuer, status, tags.env]"))
	run("update-kubeconfig", "--name", "prod", "--kubeconfig", kubeconfig)
	text, err := os.ReadFile(kubeconfig)
	require.NoError(t, err)
	require.Contains(t, string(text), k.URL)
	require.Contains(t, string(text), pemOfServer(k.Server))
}
