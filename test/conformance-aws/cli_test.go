package conformance

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// cli is a real AWS CLI against the server.
type cli struct {
	t    *testing.T
	path string
	url  string
	env  []string
}

// TestCLI walks the control plane with every AWS CLI that is installed. Older
// ones know fewer operations.
func TestCLI(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	versions := map[string]string{}
	for _, name := range []string{"/usr/bin/aws", "aws"} {
		if path, err := exec.LookPath(name); err == nil {
			out, err := exec.CommandContext(t.Context(), path, "--version").CombinedOutput()
			require.NoError(t, err, string(out))
			versions[strings.Fields(string(out))[0]] = path
		}
	}
	if len(versions) == 0 {
		t.Skip("needs the AWS CLI")
	}
	for version, path := range versions {
		t.Run(strings.ReplaceAll(version, "/", "-"), func(t *testing.T) {
			s := start(t, nil)
			home := t.TempDir()
			env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
			c := &cli{t: t, path: path, url: s.url, env: append(env, "HOME="+home, "AWS_CONFIG_FILE="+filepath.Join(home, "config"), "AWS_PAGER=",
				"AWS_EC2_METADATA_DISABLED=true", "AWS_DEFAULT_REGION="+region, "AWS_MAX_ATTEMPTS=1",
				"AWS_ACCESS_KEY_ID="+s.key.ID, "AWS_SECRET_ACCESS_KEY="+s.key.Secret)}
			id := c.walkWorkspaces()
			c.walkDefinitions(id)
			_, complaint, err := c.run("describe-workspace-configuration", "--workspace-id", id)
			if err != nil && strings.Contains(complaint, "Invalid choice") {
				t.Logf("%s does not know the newer operations", version)
			} else {
				c.walkNewer(id)
			}
			c.must("delete-workspace", "--workspace-id", id)
			c.must("wait", "workspace-deleted", "--workspace-id", id)
		})
	}
}

// run runs `aws amp ...` and returns what it printed.
func (c *cli) run(args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(c.t.Context(), c.path, append([]string{"--endpoint-url", c.url, "--output", "json", "amp"}, args...)...)
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

func (c *cli) file(text string) string {
	c.t.Helper()
	name := filepath.Join(c.t.TempDir(), "blob")
	require.NoError(c.t, os.WriteFile(name, []byte(text), 0o600))
	return "fileb://" + name
}

func at(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func (c *cli) walkWorkspaces() string {
	t := c.t
	made := c.must("create-workspace", "--alias", "eks-workshop", "--tags", "env=eks-workshop", "--client-token", "token")
	id, arn := made["workspaceId"].(string), made["arn"].(string)
	require.Equal(t, map[string]any{"statusCode": "CREATING"}, made["status"])
	require.Equal(t, map[string]any{"env": "eks-workshop"}, made["tags"])
	c.must("wait", "workspace-active", "--workspace-id", id)
	require.Equal(t, id, c.must("create-workspace", "--alias", "eks-workshop", "--tags", "env=eks-workshop", "--client-token", "token")["workspaceId"])
	c.fails("(ConflictException)", "create-workspace", "--alias", "else", "--client-token", "token")
	c.must("create-workspace", "--alias", "eks-2")
	require.Len(t, c.must("list-workspaces", "--alias", "eks-w")["workspaces"], 1)
	require.Len(t, c.must("list-workspaces", "--page-size", "1")["workspaces"], 2)
	first := c.must("list-workspaces", "--max-items", "1")
	rest := c.must("list-workspaces", "--starting-token", first["NextToken"].(string))
	require.Len(t, rest["workspaces"], 1)
	ws := c.must("describe-workspace", "--workspace-id", id)
	require.Equal(t, c.url+"/workspaces/"+id+"/", at(ws, "workspace", "prometheusEndpoint"))
	c.must("update-workspace-alias", "--workspace-id", id, "--alias", " renamed ")
	require.Equal(t, "renamed", at(c.must("describe-workspace", "--workspace-id", id), "workspace", "alias"))
	c.must("tag-resource", "--resource-arn", arn, "--tags", "team=a,tier=b")
	c.must("untag-resource", "--resource-arn", arn, "--tag-keys", "env", "tier")
	require.Equal(t, map[string]any{"team": "a"}, c.must("list-tags-for-resource", "--resource-arn", arn)["tags"])
	c.fails("(ResourceNotFoundException)", "describe-workspace", "--workspace-id", "ws-00000000-0000-0000-0000-000000000000")
	c.fails("(ValidationException)", "list-workspaces", "--starting-token", "eyJuZXh0VG9rZW4iOiAieCJ9")
	return id
}

func (c *cli) walkDefinitions(id string) {
	t := c.t
	rules := c.must("create-rule-groups-namespace", "--workspace-id", id, "--name", "team rules", "--data", c.file("groups: []\n"), "--tags", "a=b")
	require.Equal(t, "team rules", rules["name"])
	c.fails("(ConflictException)", "create-rule-groups-namespace", "--workspace-id", id, "--name", "team rules", "--data", c.file("groups: []\n"))
	c.must("put-rule-groups-namespace", "--workspace-id", id, "--name", "team rules", "--data", c.file("groups:\n"))
	got := c.must("describe-rule-groups-namespace", "--workspace-id", id, "--name", "team rules")
	require.Equal(t, "Z3JvdXBzOgo=", at(got, "ruleGroupsNamespace", "data"))
	require.Len(t, c.must("list-rule-groups-namespaces", "--workspace-id", id, "--name", "team")["ruleGroupsNamespaces"], 1)
	require.Equal(t, map[string]any{"a": "b"}, c.must("list-tags-for-resource", "--resource-arn", rules["arn"].(string))["tags"])
	c.must("delete-rule-groups-namespace", "--workspace-id", id, "--name", "team rules")
	c.fails("(ResourceNotFoundException)", "describe-rule-groups-namespace", "--workspace-id", id, "--name", "team rules")

	alerts := c.file("alertmanager_config: |\n  route: {receiver: a}\n  receivers: [{name: a}]\n")
	c.must("create-alert-manager-definition", "--workspace-id", id, "--data", alerts)
	c.must("put-alert-manager-definition", "--workspace-id", id, "--data", alerts)
	require.Equal(t, "ACTIVE", at(c.must("describe-alert-manager-definition", "--workspace-id", id), "alertManagerDefinition", "status", "statusCode"))
	c.must("delete-alert-manager-definition", "--workspace-id", id)
	c.fails("(ResourceNotFoundException)", "delete-alert-manager-definition", "--workspace-id", id)

	c.must("create-logging-configuration", "--workspace-id", id, "--log-group-arn", logs)
	c.must("update-logging-configuration", "--workspace-id", id, "--log-group-arn", logs)
	require.Equal(t, logs, at(c.must("describe-logging-configuration", "--workspace-id", id), "loggingConfiguration", "logGroupArn"))
	c.must("delete-logging-configuration", "--workspace-id", id)
}

func (c *cli) walkNewer(id string) {
	t := c.t
	c.must("update-workspace-configuration", "--workspace-id", id, "--retention-period-in-days", "30",
		"--limits-per-label-set", `[{"labelSet":{"team":"a"},"limits":{"maxSeries":5}}]`)
	cfg := c.must("describe-workspace-configuration", "--workspace-id", id)
	require.Equal(t, 30.0, at(cfg, "workspaceConfiguration", "retentionPeriodInDays"))
	c.fails("(ValidationException)", "update-workspace-configuration", "--workspace-id", id)

	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"aps:RemoteWrite","Resource":"*"}]}`
	put := c.must("put-resource-policy", "--workspace-id", id, "--policy-document", document, "--revision-id", "NO_POLICY")
	require.Equal(t, document, c.must("describe-resource-policy", "--workspace-id", id)["policyDocument"])
	c.fails("(ConflictException)", "delete-resource-policy", "--workspace-id", id, "--revision-id", "other")
	c.must("delete-resource-policy", "--workspace-id", id, "--revision-id", put["revisionId"].(string))

	to := `[{"cloudWatchLogs":{"logGroupArn":"` + logs + `"},"filters":{"qspThreshold":1000}}]`
	c.must("create-query-logging-configuration", "--workspace-id", id, "--destinations", to)
	c.must("update-query-logging-configuration", "--workspace-id", id, "--destinations", to)
	require.Equal(t, "ACTIVE", at(c.must("describe-query-logging-configuration", "--workspace-id", id), "queryLoggingConfiguration", "status", "statusCode"))
	c.must("delete-query-logging-configuration", "--workspace-id", id)

	standard := c.must("get-default-scraper-configuration")["configuration"].(string)
	made := c.must("create-scraper", "--alias", "s", "--scrape-configuration", "configurationBlob="+standard,
		"--source", `{"eksConfiguration":{"clusterArn":"`+cluster+`","subnetIds":["subnet-0a"]}}`,
		"--destination", `{"ampConfiguration":{"workspaceArn":"arn:aws:aps:`+region+`:`+account+`:workspace/`+id+`"}}`)
	scraper := made["scraperId"].(string)
	c.must("wait", "scraper-active", "--scraper-id", scraper)
	require.Len(t, c.must("list-scrapers", "--filters", "alias=s,status=ACTIVE")["scrapers"], 1)
	c.must("update-scraper", "--scraper-id", scraper, "--alias", "t")
	c.must("wait", "scraper-active", "--scraper-id", scraper)
	require.Equal(t, "t", at(c.must("describe-scraper", "--scraper-id", scraper), "scraper", "alias"))
	c.must("update-scraper-logging-configuration", "--scraper-id", scraper, "--logging-destination", `{"cloudWatchLogs":{"logGroupArn":"`+logs+`"}}`)
	require.Len(t, c.must("describe-scraper-logging-configuration", "--scraper-id", scraper)["scraperComponents"], 3)
	c.must("delete-scraper-logging-configuration", "--scraper-id", scraper)
	c.must("delete-scraper", "--scraper-id", scraper)
	c.must("wait", "scraper-deleted", "--scraper-id", scraper)
}
