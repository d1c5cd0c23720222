//go:build e2e

package e2e

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/mangru/mangru/test/cluster"
)

// TestIRSA has pods of a real cluster get credentials with nothing but the token
// of their service account, and do with them what their role may, and nothing else.
func TestIRSA(t *testing.T) {
	k := startIdentityCluster(t)
	require.NoError(t, k.LoadImage(t.Context(), cluster.Image{Tag: "mangru:e2e", Binary: binary(t)}))
	control := k.ControlCommand(t.Context(), "true").Args
	c := &clusterLab{k: k, client: newKubeClient(t, k), prefix: control[:len(control)-1], listen: k.ControlAddress().String() + ":9009"}
	c.site = serve(t, c.prefix, c.listen)

	t.Run("register the cluster", c.register)
	t.Run("irsa create", c.createIRSA)
	c.collector(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"the collector writes as the role", c.collected},
		{"a token from the pod, and stock clients", c.stockClients},
		{"a policy for one workspace", c.narrow},
		{"other pods get nothing", c.otherPods},
		{"other tokens get nothing", c.otherTokens},
		{"Pod Identity", c.podIdentity},
		{"a new secret key, and a restart", c.renew},
		{"irsa delete", c.deleteIRSA},
	} {
		require.True(t, t.Run(part.name, part.run), part.name)
	}
}

// startIdentityCluster starts one node and nothing on it, beside a cluster that
// another test may have.
func startIdentityCluster(t *testing.T) *cluster.Cluster {
	t.Helper()
	began := time.Now()
	k, err := cluster.Up(t.Context(), cluster.Options{Nodes: 1, NoAddons: true, Name: "mgi", Net: "10.234", Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		require.NoError(t, k.Down(ctx))
	})
	t.Logf("cluster is up after %s", time.Since(began).Round(time.Second))
	return k
}

// clusterLab is a server, and a cluster whose pods call it.
type clusterLab struct {
	*site
	k      *cluster.Cluster
	client kubernetes.Interface
	prefix []string // runs a command where pods reach it
	listen string

	role  string // of the collector
	token string // of the collector's pod, as it was mounted
	keys  keyPair
	who   string // the session of keys
}

// kube runs a command that also asks the cluster.
func (c *clusterLab) kube(args ...string) string {
	c.t.Helper()
	return c.mangru(append(args, "--kubeconfig", c.k.Kubeconfig())...)
}

func (c *clusterLab) register(t *testing.T) {
	out := c.kube("cluster", "register", "prod")
	t.Log("mangru cluster register prod:\n" + out)
	require.Contains(t, out, c.k.APIServer())
	require.NotContains(t, c.kube("cluster", "register", "prod"), "updated")
	described := c.aws("eks", "describe-cluster", "--name", "prod")
	require.Equal(t, c.k.APIServer(), decode[struct {
		Cluster struct {
			Identity struct{ Oidc struct{ Issuer string } }
		}
	}](t, described).Cluster.Identity.Oidc.Issuer)
	require.Contains(t, c.aws("eks", "list-clusters"), `"prod"`)
	require.Contains(t, c.aws("iam", "list-open-id-connect-providers"), "oidc-provider/"+strings.TrimPrefix(c.k.APIServer(), "https://"))
}

type irsaSteps struct {
	Steps []struct{ Kind, Name, Result string }
}

// createIRSA runs the command of the documentation three times: it says what it
// would do, does it, and finds nothing left to do.
func (c *clusterLab) createIRSA(t *testing.T) {
	command := []string{"irsa", "create", "--namespace", "prometheus", "--service-account", "amp-irsa-role", "--policy", writeAccess}
	dry := c.kube(append(command, "--dry-run")...)
	t.Log("--dry-run:\n" + dry)
	require.Contains(t, dry, "system:serviceaccount:prometheus:amp-irsa-role")
	_, err := c.client.CoreV1().Namespaces().Get(t.Context(), "prometheus", metav1.GetOptions{})
	require.Error(t, err, "a dry run makes nothing")
	require.NotContains(t, c.mangru("role", "list"), "amp-irsa-role")

	for i, result := range []string{"created", "unchanged"} {
		out := c.kube(append(command, "-o", "json")...)
		kinds := []string{}
		for _, step := range decode[irsaSteps](t, out).Steps {
			kinds = append(kinds, step.Kind)
			want := result
			if step.Kind == "policy" && i == 0 {
				want = "attached"
			}
			require.Equal(t, want, step.Result, step.Name)
		}
		require.Equal(t, []string{"role", "policy", "namespace", "service account"}, kinds)
	}
	t.Log("the third time:\n" + c.kube(command...))
	account, err := c.client.CoreV1().ServiceAccounts("prometheus").Get(t.Context(), "amp-irsa-role", metav1.GetOptions{})
	require.NoError(t, err)
	c.role = account.Annotations["eks.amazonaws.com/role-arn"]
	require.True(t, strings.HasPrefix(c.role, roleARN), c.role)
	list := c.kube("irsa", "list", "--cluster", "prod")
	t.Log("mangru irsa list:\n" + list)
	require.Regexp(t, `prometheus +amp-irsa-role +`+c.role+` +ok`, list)
}

// fill puts a site's addresses into a manifest of testdata.
func (c *clusterLab) fill(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	require.NoError(t, err)
	return strings.NewReplacer("IRSA_ROLE", c.role, "SERVER_URL", c.endpoint(), "AMP_WORKSPACE_URL", c.remote).Replace(string(text))
}

func (c *clusterLab) apply(t *testing.T, manifest string) {
	t.Helper()
	require.NoError(t, c.k.Apply(t.Context(), []byte(manifest)))
}

// collector starts the workshop's collector in a pod without a key.
func (c *clusterLab) collector(t *testing.T) {
	t.Helper()
	object := strings.Replace(everyFiveSeconds(collectorObject(t, c.site)), "timeout: 60s", "timeout: 2s", 1)
	_, rights, _ := strings.Cut(object, "\n---\n")
	conf, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]string{"name": "collector", "namespace": "prometheus"},
		"data": map[string]string{"collector.yaml": object},
	})
	require.NoError(t, err)
	for _, part := range []string{rights, string(conf), c.fill(t, "run-irsa.yaml")} {
		c.apply(t, part)
	}
	require.NoError(t, c.k.WaitRollout(t.Context(), "prometheus", "deployment", "observability-collector"))
	t.Cleanup(func() {
		if t.Failed() {
			out, err := c.k.Kubectl(context.WithoutCancel(t.Context()), "-n", "prometheus", "logs", "deployment/observability-collector", "--tail=40")
			t.Logf("collector: %s %v", out, err)
		}
	})
}

func (c *clusterLab) session() string {
	return sessionARN + strings.TrimPrefix(c.role, roleARN) + "/"
}

func (c *clusterLab) collected(t *testing.T) {
	s := c.in(t)
	s.expect(60*time.Second, `count(group by (node) (kubelet_node_name))`, 1, 1)
	s.expect(20*time.Second, `count(group by (pod) (container_memory_working_set_bytes{namespace="prometheus", container="collector"}))`, 1, 1)
	by := s.expectAudit("the collector wrote as its role", func(r auditRecord) bool {
		return r.Action == "aps:RemoteWrite" && strings.HasPrefix(r.Principal, c.session())
	})
	require.Equal(t, "allow", by.Decision)
	require.Equal(t, workspaceARN(c.workspace), by.Resource)
	t.Logf("%s writes, by %s", by.Principal, by.Policy)
}

// mounted reads a token where the kubelet has put it, on the node.
func (c *clusterLab) mounted(t *testing.T, selector, volume, file string) string {
	t.Helper()
	list, err := c.client.CoreV1().Pods("prometheus").List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	require.NoError(t, err)
	require.Len(t, list.Items, 1)
	cmd, err := c.k.NodeCommand(t.Context(), c.k.Nodes()[0].Name, "cat",
		"/var/lib/kubelet/pods/"+string(list.Items[0].UID)+"/volumes/kubernetes.io~projected/"+volume+"/"+file)
	require.NoError(t, err)
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

// exchange has Debian's AWS CLI exchange a token.
func (c *clusterLab) exchange(t *testing.T, role, token string) keyPair {
	t.Helper()
	out, err := c.in(t).as(keyPair{}, "sts", "assume-role-with-web-identity", "--role-arn", role, "--role-session-name", "debian",
		"--web-identity-token", token)
	require.NoError(t, err, out)
	return decode[struct{ Credentials keyPair }](t, out).Credentials
}

func (c *clusterLab) stockClients(t *testing.T) {
	s := c.in(t)
	c.token = c.mounted(t, "app=observability-collector", "aws-iam-token", "token")
	c.keys, c.who = c.exchange(t, c.role, c.token), c.session()+"debian"
	out, err := s.as(c.keys, "sts", "get-caller-identity")
	require.NoError(t, err, out)
	t.Log("aws sts get-caller-identity:\n" + out)
	require.Equal(t, c.who, decode[identity](t, out).Arn)

	status, body := s.curlWrite(c.keys, c.workspace, "written_by_hand", 5)
	require.Equal(t, "200", status, body)
	s.expect(10*time.Second, "written_by_hand", 1, 5)
	workspace := workspaceARN(c.workspace)
	for path, action := range map[string]string{
		"query?query=up": "QueryMetrics", "query_range?query=up&start=0&end=1&step=1": "QueryMetrics", "labels": "GetLabels",
		"label/job/values": "GetLabels", "series?match%5B%5D=up": "GetSeries", "metadata": "GetMetricMetadata",
	} {
		status, body = s.curlAs(c.keys, s.dataPlane(c.workspace, path))
		require.Equal(t, "403", status, body)
		require.Contains(t, body, notAuthorized(c.who, "aps:"+action, workspace))
	}
	t.Log("curl --aws-sigv4 .../api/v1/metadata or another:\n" + body)

	for _, refused := range []struct{ command, action, resource string }{
		{"amp create-workspace --alias mine", "aps:CreateWorkspace", ""},
		{"amp describe-workspace --workspace-id " + c.workspace, "aps:DescribeWorkspace", workspace},
		{"amp delete-workspace --workspace-id " + c.workspace, "aps:DeleteWorkspace", workspace},
		{"iam create-access-key --user-name admin", "iam:CreateAccessKey", userARN + "admin"},
		{"iam attach-role-policy --policy-arn arn:aws:iam::aws:policy/AdministratorAccess --role-name " + strings.TrimPrefix(c.role, roleARN), "iam:AttachRolePolicy", c.role},
		{"sts assume-role --role-session-name again --role-arn " + c.role, "sts:AssumeRole", c.role},
	} {
		out, err := s.as(c.keys, strings.Fields(refused.command)...)
		require.Error(t, err, out)
		require.Contains(t, out, "(AccessDenied", refused.command)
		require.Contains(t, out, "User: "+c.who+" is not authorized to perform: "+refused.action+" on resource: "+refused.resource, refused.command)
		t.Log("aws " + refused.command + ":" + out)
	}
	c.newerCLI(t)
}

// newerCLI has the AWS CLI find the token by itself, as it does in a pod.
func (c *clusterLab) newerCLI(t *testing.T) {
	t.Helper()
	program := newerCLI(t)
	if program == "" {
		t.Log("there is no AWS CLI of 2023 or later in the PATH")
		return
	}
	env := isolated("AWS_ENDPOINT_URL="+c.endpoint(), "AWS_ROLE_ARN="+c.role, "AWS_WEB_IDENTITY_TOKEN_FILE="+writeFile(t, t.TempDir(), "token", c.token))
	require.True(t, strings.HasPrefix(decode[identity](t, run(t, env, program, "--output", "json", "sts", "get-caller-identity")).Arn, c.session()))
	out, err := try(t, env, program, "amp", "create-workspace")
	require.Error(t, err)
	require.Contains(t, out, "AccessDeniedException")
}

// narrow makes a role for one workspace. Of others its bearer does not even learn
// whether they are there.
func (c *clusterLab) narrow(t *testing.T) {
	s := c.in(t)
	other := s.newWorkspace("other")
	document := writeFile(t, t.TempDir(), "p.json", fmt.Sprintf(
		`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "aps:RemoteWrite", "Resource": %q}]}`, workspaceARN(s.workspace)))
	s.mangru("policy", "create", "write-default", "--document", document)
	c.kube("irsa", "create", "--cluster", "prod", "-n", "prometheus", "--service-account", "narrow", "--policy", "write-default", "--role-name", "narrow")
	token, err := c.k.Kubectl(t.Context(), "create", "token", "narrow", "-n", "prometheus", "--audience", audienceSTS)
	require.NoError(t, err)
	keys := c.exchange(t, roleARN+"narrow", strings.TrimSpace(string(token)))
	status, body := s.curlWrite(keys, s.workspace, "written_narrowly", 1)
	require.Equal(t, "200", status, body)
	for _, id := range []string{other, "ws-00000000-0000-4000-8000-000000000000"} {
		status, body = s.curlWrite(keys, id, "written_narrowly", 1)
		require.Equal(t, "403", status, body)
		require.Contains(t, body, notAuthorized(sessionARN+"narrow/debian", "aps:RemoteWrite", workspaceARN(id)))
	}
	t.Log("to a workspace that is not there:\n" + body)
}

// asker is a pod that does one thing as the role and ends: mangru's own commands
// use the SDK's default chain. What it says is returned.
func (c *clusterLab) asker(t *testing.T, name, namespace, account string, env map[string]string, audience, file string) func() string {
	t.Helper()
	const dir = "/var/run/secrets/token"
	vars := []map[string]string{{"name": "AWS_REGION", "value": "us-east-1"}, {"name": "AWS_EC2_METADATA_DISABLED", "value": "true"}}
	for k, v := range env {
		vars = append(vars, map[string]string{"name": k, "value": strings.ReplaceAll(v, "TOKEN", dir+"/"+file)})
	}
	pod, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name, "namespace": namespace},
		"spec": map[string]any{
			"restartPolicy": "Never", "serviceAccountName": account, "automountServiceAccountToken": false,
			"containers": []map[string]any{{"name": "asker", "image": "mangru:e2e", "args": []string{"user", "list", "--endpoint", c.endpoint()},
				"env": vars, "volumeMounts": []map[string]any{{"name": "token", "mountPath": dir}}}},
			"volumes": []map[string]any{{"name": "token", "projected": map[string]any{"sources": []map[string]any{
				{"serviceAccountToken": map[string]any{"audience": audience, "path": file, "expirationSeconds": 3600}}}}}},
		},
	})
	require.NoError(t, err)
	serviceAccount, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "ServiceAccount",
		"metadata": map[string]any{"name": account, "namespace": namespace}})
	require.NoError(t, err)
	if _, err := c.client.CoreV1().ServiceAccounts(namespace).Get(t.Context(), account, metav1.GetOptions{}); err != nil {
		c.apply(t, string(serviceAccount))
	}
	c.apply(t, string(pod))
	return func() string {
		t.Helper()
		eventually(t, 60*time.Second, "pod "+name+" to end", func() error {
			p, err := c.client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
			if err == nil && p.Status.Phase != corev1.PodFailed {
				err = fmt.Errorf("it is %s", p.Status.Phase)
			}
			return err
		})
		out, err := c.k.Kubectl(t.Context(), "-n", namespace, "logs", name)
		require.NoError(t, err)
		return strings.TrimSpace(string(out))
	}
}

// otherPods are pods that name the role as the collector's does.
func (c *clusterLab) otherPods(t *testing.T) {
	env := map[string]string{"AWS_ROLE_ARN": c.role, "AWS_WEB_IDENTITY_TOKEN_FILE": "TOKEN", "AWS_ENDPOINT_URL_STS": c.endpoint()}
	same := c.asker(t, "same", "prometheus", "amp-irsa-role", env, audienceSTS, "token")
	account := c.asker(t, "account", "prometheus", "default", env, audienceSTS, "token")
	namespace := c.asker(t, "namespace", "default", "amp-irsa-role", env, audienceSTS, "token")
	audience := c.asker(t, "audience", "prometheus", "amp-irsa-role", env, "https://kubernetes.default.svc", "token")

	out := same()
	t.Log("the same service account: " + out)
	require.Contains(t, out, "User: "+c.session())
	require.Contains(t, out, "is not authorized to perform: iam:ListUsers")
	for _, said := range []string{account(), namespace()} {
		t.Log("another one: " + said)
		require.Contains(t, said, "api error AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity")
	}
	out = audience()
	t.Log("another audience: " + out)
	require.Contains(t, out, "InvalidIdentityToken")
	require.Contains(t, out, "Incorrect token audience")
}

// stsReply is all that who sends a token learns, apart from the request's id.
type stsReply struct {
	Status        int
	Code, Message string
	Headers       string // their names
	Body          string // without the request's id
}

// offer sends a token and returns what came back.
func (c *clusterLab) offer(t *testing.T, role, token string) stsReply {
	t.Helper()
	res, err := http.PostForm(c.endpoint()+"/", url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"},
		"RoleArn": {role}, "RoleSessionName": {"stranger"}, "WebIdentityToken": {token}})
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	if res.StatusCode == http.StatusOK {
		return stsReply{Status: res.StatusCode}
	}
	var reply struct {
		Error     struct{ Code, Message string }
		RequestID string `xml:"RequestId"`
	}
	require.NoError(t, xml.Unmarshal(text, &reply), string(text))
	require.NotContains(t, string(text), token[len(token)-20:])
	return stsReply{res.StatusCode, reply.Error.Code, reply.Error.Message, strings.Join(slices.Sorted(maps.Keys(res.Header)), " "),
		strings.Replace(string(text), reply.RequestID, "", 1)}
}

// signingKey is the key by which the cluster's own API server signs tokens.
func (c *clusterLab) signingKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(c.k.CAFile()), "tokens.key"))
	require.NoError(t, err)
	block, _ := pem.Decode(text)
	require.NotNil(t, block)
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	require.NoError(t, err)
	return key
}

const saysDenied = "Not authorized to perform sts:AssumeRoleWithWebIdentity"

// otherTokens changes one thing at a time in the token of the collector's pod.
func (c *clusterLab) otherTokens(t *testing.T) {
	s := c.in(t)
	key, good := c.signingKey(t), parseToken(t, c.token)
	require.Equal(t, http.StatusOK, c.offer(t, c.role, c.token).Status)
	require.Equal(t, http.StatusOK, c.offer(t, c.role, good.sign(t, key)).Status, "signed with the cluster's key again, it is as good")

	// A second cluster, registered too, with a service account of the same name.
	second := newIssuer(t, "https://oidc.example/id/SECOND")
	s.mangru("cluster", "register", "second", "--issuer", second.url, "--jwks", second.keySet())
	unknown := newIssuer(t, "https://oidc.example/id/THIRD")
	forged := good.with(nil)
	forged.header = map[string]any{"alg": "RS256", "kid": "k"}
	none := good.with(nil)
	none.header = map[string]any{"alg": "none", "kid": good.header["kid"]}
	invalid := func(message string) stsReply {
		return stsReply{Status: http.StatusBadRequest, Code: "InvalidIdentityToken", Message: message}
	}
	denied := stsReply{Status: http.StatusForbidden, Code: "AccessDenied", Message: saysDenied}
	malformed := invalid("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	now, headers, bodies := time.Now(), "", map[string]string{}
	for _, d := range []struct {
		name, role, token string
		want              stsReply
	}{
		{"no such role", roleARN + "nonesuch", c.token, denied},
		{"the other role", roleARN + "narrow", c.token, denied},
		{"service account", c.role, c.request(t, "prometheus", "default", audienceSTS), denied},
		{"namespace", c.role, c.request(t, "default", "amp-irsa-role", audienceSTS), denied},
		{"registered cluster", c.role, second.token("prometheus", "amp-irsa-role", audienceSTS), denied},

		{"alg none, no signature", c.role, none.unsigned(t) + ".", malformed},
		{"alg none, signature", c.role, none.sign(t, key), malformed},
		{"signature changed", c.role, tamper(t, c.token), malformed},
		{"claims changed", c.role, good.with(map[string]any{"exp": now.Add(48 * time.Hour).Unix()}).unsigned(t) + c.token[strings.LastIndexByte(c.token, '.'):], malformed},
		{"another key, its id kept", c.role, good.sign(t, second.key), malformed},
		{"another key and its id", c.role, forged.sign(t, second.key),
			invalid("Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements")},
		{"cluster that is not registered", c.role, unknown.token("prometheus", "amp-irsa-role", audienceSTS),
			invalid("No OpenIDConnect provider found in your account for " + unknown.url)},
		{"audience", c.role, c.request(t, "prometheus", "amp-irsa-role", "https://kubernetes.default.svc"), invalid("Incorrect token audience")},
		{"not valid yet", c.role, good.with(map[string]any{"nbf": now.Unix() + 600}).sign(t, key), invalid("The token is not valid yet")},
		// The API server makes no token for less than ten minutes. This one is signed with
		// its key, and nothing but its times is different.
		{"expired", c.role, good.with(map[string]any{"iat": now.Unix() - 7200, "nbf": now.Unix() - 7200, "exp": now.Unix() - 60}).sign(t, key),
			stsReply{Status: http.StatusBadRequest, Code: "ExpiredTokenException", Message: "Token expired: current date/time"}},
	} {
		got := c.offer(t, d.role, d.token)
		t.Logf("%s: %d %s: %s", d.name, got.Status, got.Code, got.Message)
		if d.want.Code == "ExpiredTokenException" {
			require.Contains(t, got.Message, d.want.Message)
			got.Message = d.want.Message
		}
		if headers == "" {
			headers = got.Headers
		}
		d.want.Headers, d.want.Body = headers, got.Body
		require.Equal(t, d.want, got, d.name)
		if same, ok := bodies[got.Message]; ok {
			require.Equal(t, same, got.Body, "%s: no other byte tells either", d.name)
		}
		bodies[got.Message] = got.Body
	}
	// Why is in the server's log, without the token.
	require.Contains(t, c.output(), "reason=")
	require.NotContains(t, c.output(), c.token[strings.LastIndexByte(c.token, '.')+1:])
	require.NotContains(t, c.output(), c.keys.Token)
	s.expectAudit("who tried what", func(r auditRecord) bool {
		return r.Action == "sts:AssumeRoleWithWebIdentity" && r.Decision == "deny" && strings.Contains(r.Reason, `subject "system:serviceaccount:prometheus:default"`)
	})
}

// tamper changes one bit of a token's signature.
func tamper(t *testing.T, token string) string {
	t.Helper()
	at := strings.LastIndexByte(token, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(token[at:])
	require.NoError(t, err)
	signature[len(signature)/2] ^= 1
	return token[:at] + base64.RawURLEncoding.EncodeToString(signature)
}

// request has the API server make a token.
func (c *clusterLab) request(t *testing.T, namespace, account, audience string) string {
	t.Helper()
	out, err := c.k.Kubectl(t.Context(), "create", "token", account, "-n", namespace, "--audience", audience)
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// podIdentity runs the agent on the node, and pods that only know its address.
func (c *clusterLab) podIdentity(t *testing.T) {
	s := c.in(t)
	s.mangru("role", "create", "collector", "--trust-service", audiencePods)
	s.mangru("role", "attach", "collector", writeAccess)
	t.Log(s.mangru("pod-identity", "create", "--cluster", "prod", "-n", "prometheus", "--service-account", "collector", "--role", "collector"))
	for part := range strings.SplitSeq(c.fill(t, "run-pod-identity.yaml"), "---\n") {
		c.apply(t, part)
	}
	require.NoError(t, c.k.WaitRollout(t.Context(), "kube-system", "daemonset", "pod-identity-agent"))
	require.NoError(t, c.k.WaitRollout(t.Context(), "prometheus", "deployment", "itself"))
	const file = "eks-pod-identity-token"
	env := map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "TOKEN"}
	same := c.asker(t, "pod-same", "prometheus", "collector", env, audiencePods, file)
	account := c.asker(t, "pod-account", "prometheus", "default", env, audiencePods, file)
	namespace := c.asker(t, "pod-namespace", "default", "collector", env, audiencePods, file)
	audience := c.asker(t, "pod-audience", "prometheus", "collector", env, audienceSTS, file)

	s.expect(60*time.Second, `count(up{job="itself"})`, 1, 1)
	by := s.expectAudit("the collector wrote as its role", func(r auditRecord) bool {
		return r.Action == "aps:RemoteWrite" && r.Decision == "allow" && strings.HasPrefix(r.Principal, sessionARN+"collector/eks-prod-itself-")
	})
	t.Log(by.Principal + " writes")
	s.expectAudit("and who gave it credentials", func(r auditRecord) bool {
		return r.Action == "eks-auth:AssumeRoleForPodIdentity" && r.Principal == by.Principal && r.Subject == "system:serviceaccount:prometheus:collector"
	})
	out := same()
	t.Log("the same service account: " + out)
	require.Contains(t, out, "User: "+sessionARN+"collector/eks-prod-pod-same-")
	require.Contains(t, out, "is not authorized to perform: iam:ListUsers")
	for _, said := range []string{account(), namespace()} {
		t.Log("another one: " + said)
		require.Contains(t, said, "(ResourceNotFoundException): The token included in the request has no service account role association for it.")
	}
	out = audience()
	t.Log("another audience: " + out)
	require.Contains(t, out, "InvalidTokenException")

	// What IRSA takes Pod Identity does not, and the other way round; and a token
	// that is of no pod is taken by none.
	token := c.mounted(t, "app=itself", "eks-pod-identity-token", file)
	require.Equal(t, "Incorrect token audience", c.offer(t, c.role, token).Message)
	status, code := c.offerToPodIdentity(t, token)
	require.Equal(t, http.StatusOK, status, code)
	for name, token := range map[string]string{
		"IRSA's": c.token, "of no pod": c.request(t, "prometheus", "collector", audiencePods), "changed": tamper(t, token),
		"of another cluster": newIssuer(t, c.k.APIServer()).token("prometheus", "collector", audiencePods),
	} {
		status, code := c.offerToPodIdentity(t, token)
		require.Equal(t, http.StatusBadRequest, status, name)
		require.Equal(t, "InvalidTokenException", code, name)
	}
}

func (c *clusterLab) offerToPodIdentity(t *testing.T, token string) (status int, code string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"token": token})
	require.NoError(t, err)
	res, err := http.Post(c.endpoint()+"/clusters/prod/assume-role-for-pod-identity", "application/json", strings.NewReader(string(body)))
	require.NoError(t, err)
	defer res.Body.Close()
	code, _, _ = strings.Cut(res.Header.Get("X-Amzn-Errortype"), ":")
	return res.StatusCode, code
}

// renew changes the key that protects the server's secrets while it runs, and
// then the server. Sessions go on, and so do collectors.
func (c *clusterLab) renew(t *testing.T) {
	out := run(t, nil, binary(t), "server", "rotate-key", "--data", c.data)
	t.Log("mangru server rotate-key: " + out)
	works := func() {
		t.Helper()
		for _, keys := range []keyPair{c.keys, c.exchange(t, c.role, c.token)} {
			status, body := c.in(t).curlWrite(keys, c.workspace, "written_by_hand", 6)
			require.Equal(t, "200", status, body)
		}
	}
	works()
	require.Zero(t, c.stop())
	c.start(c.t, c.prefix, c.listen)
	back := time.Now().Unix()
	works()
	c.in(t).expect(30*time.Second, fmt.Sprintf(`timestamp(up{job=~"itself|kubernetes-nodes"}) > bool %d`, back), 2, 1)
}

// deleteIRSA takes the role away. What was handed out before is worth nothing.
func (c *clusterLab) deleteIRSA(t *testing.T) {
	s := c.in(t)
	t.Log(c.kube("irsa", "delete", "--cluster", "prod", "-n", "prometheus", "--service-account", "amp-irsa-role"))
	status, body := s.curlWrite(c.keys, c.workspace, "written_too_late", 1)
	t.Log("with a session of the role: " + status + " " + body)
	require.Equal(t, "403", status)
	require.Equal(t, saysDenied, c.offer(t, c.role, c.token).Message)
	_, err := c.client.CoreV1().ServiceAccounts("prometheus").Get(t.Context(), "amp-irsa-role", metav1.GetOptions{})
	require.Error(t, err)
	require.Contains(t, c.kube("irsa", "list", "--cluster", "prod"), "narrow")
}
