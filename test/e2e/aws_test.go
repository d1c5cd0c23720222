//go:build e2e

package e2e

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type workspaceRecord struct {
	WorkspaceID        string `json:"workspaceId"`
	Alias, Arn         string
	PrometheusEndpoint string
	Status             struct{ StatusCode string }
	Tags               map[string]string
}

// TestWorkshopCommands runs the lines of the workshop's AMP part with the real
// AWS CLI and curl; only the endpoint differs.
func TestWorkshopCommands(t *testing.T) {
	s := up(t, t.TempDir(), nil, nil, "--listen", "127.0.0.1:0", "--ui", "127.0.0.1:0", "--scrape-interval", "1s")

	text := s.aws("amp", "create-workspace", "--alias", "eks-workshop", "--tags", "env=eks-workshop")
	t.Log("aws amp create-workspace:\n" + text)
	made := decode[workspaceRecord](t, text)
	require.Regexp(t, `^ws-[0-9a-f-]{36}$`, made.WorkspaceID)
	require.Equal(t, "arn:aws:aps:us-east-1:000000000000:workspace/"+made.WorkspaceID, made.Arn)
	require.Equal(t, map[string]string{"env": "eks-workshop"}, made.Tags)

	text = s.aws("amp", "list-workspaces", "--alias", "eks-workshop")
	list := decode[struct{ Workspaces []workspaceRecord }](t, text)
	require.Len(t, list.Workspaces, 1)
	require.Equal(t, made.WorkspaceID, list.Workspaces[0].WorkspaceID)

	s.aws("amp", "wait", "workspace-active", "--workspace-id", made.WorkspaceID)
	text = s.aws("amp", "describe-workspace", "--workspace-id", made.WorkspaceID)
	t.Log("aws amp describe-workspace:\n" + text)
	described := decode[struct{ Workspace workspaceRecord }](t, text).Workspace
	require.Equal(t, "ACTIVE", described.Status.StatusCode)
	require.Equal(t, s.endpoint()+"/workspaces/"+made.WorkspaceID+"/", described.PrometheusEndpoint)

	s.aws("amp", "update-workspace-alias", "--workspace-id", made.WorkspaceID, "--alias", "renamed")
	s.aws("amp", "tag-resource", "--resource-arn", made.Arn, "--tags", "team=shop")
	s.aws("amp", "untag-resource", "--resource-arn", made.Arn, "--tag-keys", "env")
	tags := decode[struct{ Tags map[string]string }](t, s.aws("amp", "list-tags-for-resource", "--resource-arn", made.Arn))
	require.Equal(t, map[string]string{"team": "shop"}, tags.Tags)

	// The default workspace has samples: the workshop's query finds them.
	endpoint := strings.TrimSuffix(s.remote, "api/v1/remote_write")
	var got string
	eventually(t, 30*time.Second, "samples", func() error {
		got = s.curl(endpoint + "api/v1/query?query=scrape_samples_scraped")
		if !strings.Contains(got, `"job":"node-exporter"`) {
			return errorString(got)
		}
		return nil
	})
	t.Log("curl --aws-sigv4:\n" + got)
	require.Contains(t, s.curl(endpoint+"api/v1/query?time=1&query=vector(1)%2B1"), `"value":[1,"2"]`, "curl does not sort what it signs")

	s.aws("amp", "delete-workspace", "--workspace-id", made.WorkspaceID)
	s.aws("amp", "wait", "workspace-deleted", "--workspace-id", made.WorkspaceID)
	s.refusals(endpoint)
}

type errorString string

func (e errorString) Error() string { return string(e) }

func (s *site) curl(address string, more ...string) string {
	id, secret := s.keys()
	args := append([]string{"-sS", "--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:aps", "--user", id + ":" + secret, address}, more...)
	return run(s.t, nil, "curl", args...)
}

// refusals checks what callers without a right get.
func (s *site) refusals(endpoint string) {
	t := s.t
	t.Helper()
	id, secret := s.keys()
	query := endpoint + "api/v1/query?query=up"
	for _, c := range []struct {
		name, scope, user, want string
		status                  string
	}{
		{"wrong secret", "aws:amz:us-east-1:aps", id + ":wrong", "The request signature we calculated does not match the signature you provided", "403"},
		{"unknown key", "aws:amz:us-east-1:aps", "AKIAIOSFODNN7EXAMPLE:" + secret, "The security token included in the request is invalid", "403"},
		{"wrong service", "aws:amz:us-east-1:s3", id + ":" + secret, "Credential should be scoped to correct service", "403"},
		{"wrong region", "aws:amz:eu-west-1:aps", id + ":" + secret, "Credential should be scoped to a valid region", "403"},
	} {
		out := run(t, nil, "curl", "-sS", "--noproxy", "*", "-w", "\n%{http_code}", "--aws-sigv4", c.scope, "--user", c.user, query)
		t.Log(c.name + ": " + out)
		require.Contains(t, out, c.want, c.name)
		require.True(t, strings.HasSuffix(out, "\n"+c.status), "%s: %s", c.name, out)
	}
	out := run(t, nil, "curl", "-sS", "--noproxy", "*", "-w", "\n%{http_code}", query)
	require.Equal(t, "{\"message\":\"Missing Authentication Token\"}\n403", out)
	// Signed an hour ago.
	out = run(t, nil, "curl", "-sS", "--noproxy", "*", "-w", "\n%{http_code}", "-H", "X-Amz-Date: 20200101T000000Z",
		"-H", "Authorization: AWS4-HMAC-SHA256 Credential="+id+"/20200101/us-east-1/aps/aws4_request, SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("0", 64), query)
	require.Contains(t, out, "Signature expired")
	require.True(t, strings.HasSuffix(out, "\n403"), out)
}

// TestBadInput sends what is wrong and expects an answer that says so, from a
// program that lives on.
func TestBadInput(t *testing.T) {
	s := up(t, t.TempDir(), nil, nil, "--listen", "127.0.0.1:0", "--ui", "127.0.0.1:0")
	post := func(body, kind string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.remote, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Content-Encoding", "snappy")
		res, err := s.client().Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		text := new(strings.Builder)
		_, err = copyTo(text, res)
		require.NoError(t, err)
		return res.StatusCode, text.String()
	}
	for _, c := range []struct {
		name, body, kind string
		status           int
	}{
		{"not snappy", "\xff\xff\xff", "application/x-protobuf", 400},
		{"broken protobuf", "\x03\x08\xff\xff\xff", "application/x-protobuf", 400},
		{"lies about its size", "\xff\xff\xff\xff\x0f\x00", "application/x-protobuf", 413},
		{"too large", strings.Repeat("x", 32<<20), "application/x-protobuf", 413},
		{"wrong type", "{}", "application/json", 415},
	} {
		status, text := post(c.body, c.kind)
		t.Logf("%s: %d %s", c.name, status, text)
		require.Equal(t, c.status, status, "%s: %s", c.name, text)
		require.NotEmpty(t, text)
	}
	res, err := s.client().Get(s.query + "?query=sum(")
	require.NoError(t, err)
	text := new(strings.Builder)
	_, err = copyTo(text, res)
	require.NoError(t, err)
	require.Equal(t, 400, res.StatusCode)
	require.Contains(t, text.String(), "parse error")
	_, err = s.ask("vector(1)")
	require.NoError(t, err)
}

// TestBadConfiguration expects exit code 2 and the place of the mistake.
func TestBadConfiguration(t *testing.T) {
	dir := t.TempDir()
	for name, c := range badConfigurations {
		file := writeFile(t, dir, "config.yaml", c.text)
		for _, args := range [][]string{{"check-config", file}, {"collector", "--config", file}} {
			out, err := try(t, nil, binary(t), args...)
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "%s: %s", name, out)
			require.Equal(t, 2, exit.ExitCode(), "%s: %s", name, out)
			for _, want := range c.want {
				require.Contains(t, out, want, name)
			}
		}
	}
	for _, args := range [][]string{{}, {"nonsense"}, {"up", "--nonsense"}, {"up", "--scrape-interval", "fast"}, {"up", "extra"}} {
		out, err := try(t, nil, binary(t), args...)
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%v: %s", args, out)
		require.Equal(t, 2, exit.ExitCode(), "%v: %s", args, out)
	}
}
