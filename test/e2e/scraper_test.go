//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/cluster"
)

// scraperJobs are added to the default configuration of scrapers.
const scraperJobs = `
  - job_name: kube-state-metrics
    static_configs: [{targets: ["ksm-kube-state-metrics.default.svc:8080"]}]
  - job_name: server
    static_configs: [{targets: ["127.0.0.1:9009"]}]
`

// scraper lets a server that is outside the cluster collect in it: the cluster is
// registered with one command, the scraper made as on AWS.
func scraper(t *testing.T, k *cluster.Cluster) {
	s := up(t, t.TempDir(), nil, nil, "--listen", "127.0.0.1:0", "--ui", "127.0.0.1:0", "--scrape-interval", "5s")
	out := s.mangru("cluster", "register", "prod", "--scraper", "--kubeconfig", k.Kubeconfig())
	t.Log("mangru cluster register --scraper:\n" + out)
	require.Contains(t, out, "may collect at "+k.APIServer())
	s.mangru("cluster", "register", "prod", "--scraper", "--kubeconfig", k.Kubeconfig()) // again changes nothing

	text, err := os.ReadFile(filepath.Join(root, "internal", "server", "api", "scraper.yaml"))
	require.NoError(t, err)
	blob := []byte(strings.Replace(string(text), "scrape_interval: 30s", "scrape_interval: 5s", 1) + scraperJobs)
	const account = "arn:aws:eks:us-east-1:000000000000:cluster/"
	body := map[string]any{
		"scrapeConfiguration": map[string]any{"configurationBlob": blob},
		"source":              map[string]any{"eksConfiguration": map[string]any{"clusterArn": account + "prod", "subnetIds": []string{"subnet-1"}}},
		"destination":         map[string]any{"ampConfiguration": map[string]any{"workspaceArn": "arn:aws:aps:us-east-1:000000000000:workspace/" + s.workspace}},
	}
	made := s.control(t, "POST", "/scrapers", body)
	path := "/scrapers/" + made["scraperId"].(string)
	eventually(t, 30*time.Second, "the scraper to be active", func() error {
		got := s.control(t, "GET", path, nil)["scraper"].(map[string]any)
		if status := got["status"].(map[string]any)["statusCode"]; status != "ACTIVE" {
			return fmt.Errorf("%v: %v", status, got["statusReason"])
		}
		return nil
	})
	s.expect(90*time.Second, `count(group by (node) (kubelet_node_name{job="kubelet"}))`, 1, nodes)
	s.expect(60*time.Second, `count(group by (instance) (apiserver_storage_objects))`, 1, 1)
	s.expect(60*time.Second, `count(group by (namespace, pod) (container_memory_working_set_bytes{namespace="default", pod=~"shop-.+", container!=""}))`, 1, 3)
	s.expect(60*time.Second, `max by (deployment) (kube_deployment_status_replicas_available{job="kube-state-metrics", namespace="default", deployment="shop"})`, 1, 3)
	s.expect(60*time.Second, `count(up{job=~"kubelet|cadvisor|kubernetes-apiservers|kube-state-metrics"} == 0) or vector(0)`, 1, 0)
	s.expect(10*time.Second, `count(up{job="server"}) or vector(0)`, 1, 0) // not of the cluster

	s.control(t, "DELETE", path, nil)
	out2, err := k.Kubectl(t.Context(), "auth", "can-i", "get", "secrets", "-A", "--as", "system:serviceaccount:mangru-scraper:mangru-scraper")
	require.Error(t, err)
	require.Contains(t, string(out2), "no")
	// Deleting the secret ends what the token may do.
	_, err = k.Kubectl(t.Context(), "delete", "namespace", "mangru-scraper")
	require.NoError(t, err)
	eventually(t, 2*time.Minute, "a scraper to fail, once the API server has forgotten the token", func() error {
		path := "/scrapers/" + s.control(t, "POST", "/scrapers", body)["scraperId"].(string)
		defer s.control(t, "DELETE", path, nil)
		var status, reason any = "CREATING", ""
		eventually(t, time.Minute, "a scraper that is no longer being made", func() error {
			got := s.control(t, "GET", path, nil)["scraper"].(map[string]any)
			status, reason = got["status"].(map[string]any)["statusCode"], got["statusReason"]
			if status == "CREATING" {
				return fmt.Errorf("%v", status)
			}
			return nil
		})
		if status != "CREATION_FAILED" || !strings.Contains(fmt.Sprint(reason), "refuses the token") {
			return fmt.Errorf("%v: %v", status, reason)
		}
		return nil
	})
	_, err = k.Kubectl(t.Context(), "delete", "clusterrole,clusterrolebinding", "mangru-scraper")
	require.NoError(t, err)
}

// control calls Managed Prometheus' control plane, which Debian's CLI is too old
// for where scrapers are meant.
func (s *site) control(t *testing.T, method, path string, body any) map[string]any {
	t.Helper()
	var text io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		require.NoError(t, err)
		text = strings.NewReader(string(b))
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.endpoint()+path, text)
	require.NoError(t, err)
	res, err := s.client().Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Less(t, res.StatusCode, 300, "%s %s: %s", method, path, answer)
	out := map[string]any{}
	if len(answer) > 0 {
		require.NoError(t, json.Unmarshal(answer, &out), string(answer))
	}
	return out
}
