package iamapi

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
)

// cli is the real AWS CLI against our API.
type cli struct {
	t   *testing.T
	url string
	env []string
}

func openCLI(t *testing.T) (*cli, *fixture) {
	t.Helper()
	t.Parallel()
	if testing.Short() {
		t.Skip("starts many processes")
	}
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("needs the AWS CLI")
	}
	f := open(t)
	server := httptest.NewServer(f.router)
	t.Cleanup(server.Close)
	home := t.TempDir()
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	return &cli{t: t, url: server.URL, env: append(env, "HOME="+home, "AWS_CONFIG_FILE="+filepath.Join(home, "config"), "AWS_PAGER=",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_DEFAULT_REGION=ap-northeast-2",
		"AWS_ACCESS_KEY_ID="+f.admin.ID, "AWS_SECRET_ACCESS_KEY="+f.admin.Secret)}, f
}

// run runs `aws iam ...` and returns what it printed.
func (c *cli) run(args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(c.t.Context(), "aws", append([]string{"iam", "--endpoint-url", c.url, "--output", "json"}, args...)...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &complaint, c.env
	err = cmd.Run()
	return out.String(), complaint.String(), err
}

// must runs a command that has to succeed and returns its JSON.
func (c *cli) must(args ...string) map[string]any {
	c.t.Helper()
	out, complaint, err := c.run(args...)
	require.NoError(c.t, err, "%v: %s", args, complaint)
	answer := make(map[string]any)
	if strings.TrimSpace(out) != "" {
		require.NoError(c.t, json.Unmarshal([]byte(out), &answer), "%v: %s", args, out)
	}
	return answer
}

func (c *cli) fails(want string, args ...string) {
	c.t.Helper()
	_, complaint, err := c.run(args...)
	require.Error(c.t, err, "%v", args)
	require.Contains(c.t, complaint, want, "%v", args)
}

func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// What a person does who gives a service account its rights by hand.
func TestCLIRoleForServiceAccount(t *testing.T) {
	c, _ := openCLI(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "trust.json")
	const provider = "arn:aws:iam::000000000000:oidc-provider/oidc.test/id/AB"
	require.NoError(t, os.WriteFile(file, []byte(`{
  "Version": "2012-10-17",
  "Statement": [{
    "Effect": "Allow",
    "Principal": {"Federated": "`+provider+`"},
    "Action": "sts:AssumeRoleWithWebIdentity",
    "Condition": {"StringEquals": {"oidc.test/id/AB:sub": "system:serviceaccount:prometheus:amp-irsa-role", "oidc.test/id/AB:aud": "sts.amazonaws.com"}}
  }]
}
`), 0o600))
	made := c.must("create-open-id-connect-provider", "--url", "https://oidc.test/id/AB", "--client-id-list", "sts.amazonaws.com",
		"--thumbprint-list", strings.Repeat("9e", 20))
	require.Equal(t, provider, made["OpenIDConnectProviderArn"])

	role := c.must("create-role", "--role-name", "amp-irsa-role", "--assume-role-policy-document", "file://"+file, "--tags", "Key=team,Value=obs")
	require.Equal(t, "arn:aws:iam::000000000000:role/amp-irsa-role", at(role, "Role", "Arn"))
	c.must("attach-role-policy", "--role-name", "amp-irsa-role", "--policy-arn", iam.PolicyPrometheusWrite)
	attached := c.must("list-attached-role-policies", "--role-name", "amp-irsa-role")
	require.Equal(t, iam.PolicyPrometheusWrite, at(attached, "AttachedPolicies", 0, "PolicyArn"))
	got := c.must("get-role", "--role-name", "amp-irsa-role")
	require.Equal(t, provider, at(got, "Role", "AssumeRolePolicyDocument", "Statement", 0, "Principal", "Federated"), "the CLI decoded the document")
	require.Equal(t, "obs", at(got, "Role", "Tags", 0, "Value"))
	sim := c.must("simulate-principal-policy", "--policy-source-arn", "arn:aws:iam::000000000000:role/amp-irsa-role", "--action-names", "aps:RemoteWrite", "aps:QueryMetrics")
	require.Equal(t, "allowed", at(sim, "EvaluationResults", 0, "EvalDecision"))
	require.Equal(t, "implicitDeny", at(sim, "EvaluationResults", 1, "EvalDecision"))
	c.must("detach-role-policy", "--role-name", "amp-irsa-role", "--policy-arn", iam.PolicyPrometheusWrite)
	c.must("delete-role", "--role-name", "amp-irsa-role")
	c.fails("An error occurred (NoSuchEntity) when calling the GetRole operation: The role with name amp-irsa-role cannot be found.",
		"get-role", "--role-name", "amp-irsa-role")
}

func TestCLIUsersAndPolicies(t *testing.T) {
	c, f := openCLI(t)
	require.Equal(t, "admin", at(c.must("get-user"), "User", "UserName"))
	c.must("create-user", "--user-name", "ann", "--tags", "Key=a,Value=b")
	key := c.must("create-access-key", "--user-name", "ann")
	require.Len(t, at(key, "AccessKey", "SecretAccessKey"), 40)
	policy := c.must("create-policy", "--policy-name", "own", "--policy-document", writeDoc)
	arn, _ := at(policy, "Policy", "Arn").(string)
	version := c.must("get-policy-version", "--policy-arn", arn, "--version-id", "v1")
	require.Equal(t, "Allow", at(version, "PolicyVersion", "Document", "Statement", 0, "Effect"))
	// The CLI asks for page after page.
	f.must("CreateGroup", nil, "GroupName", "g1")
	f.must("CreateGroup", nil, "GroupName", "g2")
	f.must("CreateGroup", nil, "GroupName", "g3")
	groups, _ := c.must("list-groups", "--page-size", "1")["Groups"].([]any)
	require.Len(t, groups, 3)
	c.env = append(c.env, "AWS_ACCESS_KEY_ID="+at(key, "AccessKey", "AccessKeyId").(string), "AWS_SECRET_ACCESS_KEY="+at(key, "AccessKey", "SecretAccessKey").(string))
	c.fails("User: arn:aws:iam::000000000000:user/ann is not authorized to perform: iam:ListUsers on resource: arn:aws:iam::000000000000:user/ "+
		"because no identity-based policy allows the iam:ListUsers action", "list-users")
}
