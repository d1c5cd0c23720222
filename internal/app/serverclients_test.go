package app

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/stretchr/testify/require"

	signer "github.com/mangru/mangru/internal/auth/sigv4"
)

// awsCLI returns the AWS CLI of this machine, the packaged one first.
func awsCLI(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"/usr/bin/aws", "aws"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	t.Skip("no aws command: apt-get install awscli")
	return ""
}

// clientEnv gives a program the administrator's key and nothing of this
// machine's own AWS configuration.
func (s *testServer) clientEnv(t *testing.T) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_ACCESS_KEY_ID=" + s.key.ID,
		"AWS_SECRET_ACCESS_KEY=" + s.key.Secret, "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1"}
}

func TestServerAWSCLI(t *testing.T) {
	cli := awsCLI(t)
	s := startServer(t, testConfig(t.TempDir()))
	env := s.clientEnv(t)
	run := func(args ...string) (map[string]any, string, error) {
		cmd := exec.Command(cli, append([]string{"--endpoint-url", s.URL(), "--output", "json", "amp"}, args...)...)
		cmd.Env = env
		out, err := cmd.Output()
		var exit *exec.ExitError
		stderr := ""
		if errors.As(err, &exit) {
			stderr = string(exit.Stderr)
		}
		var v map[string]any
		if len(out) > 0 {
			require.NoError(t, json.Unmarshal(out, &v), string(out))
		}
		return v, stderr, err
	}
	must := func(args ...string) map[string]any {
		t.Helper()
		v, stderr, err := run(args...)
		require.NoError(t, err, "%v: %s", args, stderr)
		return v
	}

	made := must("create-workspace", "--alias", "eks-workshop", "--tags", "env=eks-workshop")
	id, arn := made["workspaceId"].(string), made["arn"].(string)
	require.Equal(t, "arn:aws:aps:us-east-1:000000000000:workspace/"+id, arn)
	require.Equal(t, map[string]any{"statusCode": "CREATING"}, made["status"])
	require.Equal(t, map[string]any{"env": "eks-workshop"}, made["tags"])
	must("wait", "workspace-active", "--workspace-id", id)
	must("create-workspace", "--alias", "other")

	list := must("list-workspaces", "--alias", "eks-work")["workspaces"].([]any)
	require.Len(t, list, 1)
	require.Equal(t, id, list[0].(map[string]any)["workspaceId"])
	paged := must("list-workspaces", "--page-size", "1")["workspaces"].([]any)
	require.Len(t, paged, 2)

	ws := must("describe-workspace", "--workspace-id", id)["workspace"].(map[string]any)
	require.Equal(t, s.URL()+"/workspaces/"+id+"/", ws["prometheusEndpoint"])
	require.Equal(t, "eks-workshop", ws["alias"])
	require.NotEmpty(t, ws["createdAt"])

	must("update-workspace-alias", "--workspace-id", id, "--alias", "renamed")
	require.Equal(t, "renamed", must("describe-workspace", "--workspace-id", id)["workspace"].(map[string]any)["alias"])
	must("tag-resource", "--resource-arn", arn, "--tags", "team=a,tier=b")
	must("untag-resource", "--resource-arn", arn, "--tag-keys", "env", "tier")
	require.Equal(t, map[string]any{"team": "a"}, must("list-tags-for-resource", "--resource-arn", arn)["tags"])

	_, stderr, err := run("describe-workspace", "--workspace-id", "ws-00000000-0000-0000-0000-000000000000")
	require.Error(t, err)
	require.Contains(t, stderr, "(ResourceNotFoundException)")
	must("delete-workspace", "--workspace-id", id)
	must("wait", "workspace-deleted", "--workspace-id", id)
	require.NoDirExists(t, filepath.Join(s.dir, "workspaces", id))

	env = append(env, "AWS_SECRET_ACCESS_KEY=wrong")
	_, stderr, err = run("list-workspaces")
	require.Error(t, err)
	require.Contains(t, stderr, "(InvalidSignatureException)")
}

func TestServerCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl command")
	}
	s := startServer(t, testConfig(t.TempDir()))
	ws := s.newWorkspace(t, "eks-workshop")
	require.Equal(t, 200, s.write(t, ws, writeRequest(oneSeries("scrape_samples_scraped", 6, time.Now()))).status)
	endpoint := s.Endpoint(ws)
	run := func(secret string, args ...string) string {
		cmd := exec.Command(curl, append([]string{"-s", "--aws-sigv4", "aws:amz:us-east-1:aps", "--user", s.key.ID + ":" + secret}, args...)...)
		out, err := cmd.Output()
		require.NoError(t, err)
		return string(out)
	}
	for name, args := range map[string][]string{
		"as in the workshop": {endpoint + "api/v1/query?query=scrape_samples_scraped"},
		"unsorted":           {endpoint + "api/v1/query?time=" + url.QueryEscape(time.Now().Add(time.Second).UTC().Format(time.RFC3339)) + "&query=scrape_samples_scraped"},
		"selector":           {"-G", "--data-urlencode", `query=scrape_samples_scraped{job="test"}`, endpoint + "api/v1/query"},
		"form":               {"--data-urlencode", `query=scrape_samples_scraped{job="test"}`, endpoint + "api/v1/query"},
		"doubled slash":      {endpoint + "/api/v1/query?query=scrape_samples_scraped"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, run(s.key.Secret, args...), `"value":[`)
		})
	}
	require.JSONEq(t, `{"message":"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}`,
		run("wrong", endpoint+"api/v1/query?query=up"))
	out, err := exec.Command(curl, "-s", endpoint+"api/v1/query?query=up").Output()
	require.NoError(t, err)
	require.JSONEq(t, `{"message":"Missing Authentication Token"}`, string(out))
}

// TestServerPrometheusRemoteWrite sends with Prometheus' own client.
func TestServerPrometheusRemoteWrite(t *testing.T) {
	s := startServer(t, testConfig(t.TempDir()))
	ws := s.newWorkspace(t, "default")
	u, err := url.Parse(s.Endpoint(ws) + "api/v1/remote_write")
	require.NoError(t, err)
	client, err := remote.NewWriteClient("test", &remote.ClientConfig{
		URL: &commoncfg.URL{URL: u}, Timeout: model.Duration(10 * time.Second),
	})
	require.NoError(t, err)
	rt, err := signer.NewSigner(signer.SignConfig{Region: "us-east-1", Service: "aps", AccessKey: s.key.ID, SecretKey: s.key.Secret}, s.client.Transport)
	require.NoError(t, err)
	client.(*remote.Client).Client.Transport = rt
	msg, err := (&prompb.WriteRequest{
		Timeseries: []prompb.TimeSeries{oneSeries("up", 9, time.Now())},
		Metadata:   []prompb.MetricMetadata{{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: "up", Help: "Whether it is."}},
	}).Marshal()
	require.NoError(t, err)
	_, err = client.Store(context.Background(), snappy.Encode(nil, msg), 0)
	require.NoError(t, err)
	require.Equal(t, "9", s.value(t, ws, "up"))
	md := s.call(t, "GET", "/workspaces/"+ws+"/api/v1/metadata?metric=up", "")
	require.JSONEq(t, `{"status":"success","data":{"up":[{"type":"gauge","help":"Whether it is.","unit":""}]}}`, md.body)
}

// TestServerVirtualHosts reaches both planes by host name.
func TestServerVirtualHosts(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Domain = "mangru.test"
	s := startServer(t, cfg)
	ws := s.newWorkspace(t, "default")
	_, port, err := net.SplitHostPort(s.Addr().String())
	require.NoError(t, err)
	r := signedRequest(t, "GET", "http://aps.us-east-1.mangru.test:"+port+"/workspaces/"+ws, nil, s.key, "aps", "us-east-1", time.Now(), nil)
	r.URL.Host = s.Addr().String()
	res := s.do(t, r)
	require.Equal(t, 200, res.status, res.body)
	require.Contains(t, res.body, "http://aps-workspaces.us-east-1.mangru.test:"+port+"/workspaces/"+ws+"/")
}
