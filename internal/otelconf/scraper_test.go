package otelconf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

var testCluster = ScraperCluster{Endpoint: "https://10.0.0.1:6443", CA: "PEM", Token: "secret"}

func TestScraperDefaultConfiguration(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "server", "api", "scraper.yaml"))
	require.NoError(t, err)
	cfg, err := Scraper(text, testCluster)
	require.NoError(t, err)
	require.Len(t, cfg.ScrapeConfigs, 4)
	require.Empty(t, cfg.Endpoints)
	require.Empty(t, cfg.MetricsAddress)
	require.False(t, cfg.Sharding.Auto)
	for _, sc := range cfg.ScrapeConfigs {
		require.Equal(t, maxScraperPage, sc.BodySizeLimit)
		require.Nil(t, sc.HTTPClientConfig.Authorization, "the token is for the API server, which the caller's transport shows it")
		sd := sc.ServiceDiscoveryConfigs[0].(*kubernetes.SDConfig)
		require.Equal(t, "https://10.0.0.1:6443", sd.APIServer.String())
		require.Equal(t, "secret", string(sd.HTTPClientConfig.Authorization.Credentials))
		require.Equal(t, "PEM", sd.HTTPClientConfig.TLSConfig.CA)
	}
}

// What those who use a server write must not read the server's files, variables
// or network.
func TestScraperStaysInItsCluster(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.key")
	require.NoError(t, os.WriteFile(secret, []byte("hidden-bytes"), 0o600))
	t.Setenv("MANGRU_TEST_SECRET", "hidden-variable")
	job := func(text string) string { return "scrape_configs:\n- job_name: a\n  " + text }
	const pods = "kubernetes_sd_configs: [{role: pod}]\n  "
	for name, tc := range map[string]struct{ text, want string }{
		"no jobs":           {"global: {}", "at least one job"},
		"nothing":           {"", ""},
		"remote write":      {"remote_write: [{url: http://a/b}]\n" + job(pods), "remote_write"},
		"collector":         {"receivers: {prometheus: {config: {scrape_configs: []}}}\nexporters: {prometheusremotewrite: {endpoint: http://a/b}}\nservice: {pipelines: {metrics: {receivers: [prometheus], exporters: [prometheusremotewrite]}}}", "allowed is a Prometheus configuration"},
		"file of a config":  {"scrape_config_files: [" + secret + "]\n" + job(pods), "permission denied"},
		"files of a config": {"scrape_config_files: [/none/*.yml]\n" + job(pods), "scrape_config_files"},
		"token file":        {job(pods + "authorization: {credentials_file: " + secret + "}"), "allowed are authorization with"},
		"old token file":    {job(pods + "bearer_token_file: " + secret), "allowed are authorization with"},
		"password file":     {job(pods + "basic_auth: {username: a, password_file: " + secret + "}"), "allowed are"},
		"certificate":       {job(pods + "tls_config: {cert_file: " + secret + ", key_file: " + secret + "}"), "allowed are"},
		"CA":                {job(pods + "tls_config: {ca_file: " + secret + "}"), "allowed are"},
		"proxy":             {job(pods + "proxy_url: http://10.0.0.9:3128"), "allowed are"},
		"proxy of process":  {job(pods + "proxy_from_environment: true"), "allowed are"},
		"headers":           {job(pods + "http_headers: {A: {files: [" + secret + "]}}"), "allowed are"},
		"oauth":             {job(pods + "oauth2: {client_id: a, client_secret: b, token_url: http://169.254.169.254}"), "allowed are"},
		"own API server":    {job("kubernetes_sd_configs: [{role: pod, api_server: http://169.254.169.254}]"), "those of the scraper's cluster"},
		"kubeconfig":        {job("kubernetes_sd_configs: [{role: pod, kubeconfig_file: " + secret + "}]"), "those of the scraper's cluster"},
		"own namespace":     {job("kubernetes_sd_configs: [{role: pod, namespaces: {own_namespace: true}}]"), "own_namespace"},
		"ingress":           {job("kubernetes_sd_configs: [{role: ingress}]"), "found role ingress"},
		"files":             {job("file_sd_configs: [{files: [" + secret + ".yml]}]"), "file_sd_configs"},
		"http":              {job("http_sd_configs: [{url: http://169.254.169.254/}]"), "http_sd_configs"},
		"dns":               {job("dns_sd_configs: [{names: [a]}]"), "dns_sd_configs"},
		"hurry":             {"global: {scrape_interval: 10ms, scrape_timeout: 10ms}\n" + job(pods), "at least 1s"},
		"long pages":        {job(pods + "body_size_limit: 1GiB"), "body_size_limit: found 1GiB, allowed are at most 128MiB"},
		"unknown field":     {job(pods + "nonsense: 1"), "nonsense"},
	} {
		_, err := Scraper([]byte(tc.text), testCluster)
		require.ErrorContains(t, err, tc.want, name)
		require.NotContains(t, err.Error(), "hidden", name)
	}
	cfg, err := Scraper([]byte("global: {external_labels: {a: $MANGRU_TEST_SECRET, b: b}}\n"+job(pods)), testCluster)
	require.NoError(t, err)
	require.NotContains(t, cfg.Global.ExternalLabels.String(), "hidden")
}

func TestThroughAPIServer(t *testing.T) {
	const k = "__meta_kubernetes_"
	pod := labels.FromStrings("__address__", "10.1.0.5:8080", k+"namespace", "shop", k+"pod_name", "web-0", k+"pod_ip", "10.1.0.5", k+"pod_node_name", "n1", k+"pod_host_ip", "10.0.0.7")
	node := labels.FromStrings("__address__", "10.0.0.7:10250", k+"node_name", "n1", k+"node_address_InternalIP", "10.0.0.7", k+"node_address_Hostname", "n1")
	api := labels.FromStrings("__address__", "10.0.0.1:6443", k+"namespace", "default", k+"service_name", "kubernetes")
	kubelet := labels.FromStrings("__address__", "10.0.0.7:10250", k+"namespace", "kube-system", k+"endpoint_address_target_kind", "Node", k+"endpoint_address_target_name", "n1")
	none := labels.FromStrings("__address__", "a:80")
	const base = "https://kubernetes.default.svc/api/v1/"
	for _, tc := range []struct {
		url  string
		of   labels.Labels
		want string
	}{
		{"http://10.1.0.5:8080/metrics", pod, base + "namespaces/shop/pods/web-0:8080/proxy/metrics"},
		{"https://10.1.0.5:9443/a?b=c", pod, base + "namespaces/shop/pods/https:web-0:9443/proxy/a?b=c"},
		{"http://10.1.0.5/metrics", pod, base + "namespaces/shop/pods/web-0/proxy/metrics"},
		{"http://10.0.0.7:9100/metrics", pod, base + "nodes/n1:9100/proxy/metrics"},
		{"https://10.0.0.7:10250/metrics/cadvisor", node, base + "nodes/n1/proxy/metrics/cadvisor"},
		{"http://10.0.0.7:9100/metrics", node, base + "nodes/n1:9100/proxy/metrics"},
		{"http://n1:9100/metrics", node, base + "nodes/n1:9100/proxy/metrics"},
		{"https://10.0.0.7:10250/metrics", kubelet, base + "nodes/https:n1:10250/proxy/metrics"},
		{"https://10.0.0.1:6443/metrics", api, "https://kubernetes.default.svc/metrics"},
		{"https://kubernetes.default.svc:443/api/v1/nodes/n1/proxy/metrics", node, base + "nodes/n1/proxy/metrics"},
		{"http://ksm.kube-system.svc.cluster.local:8080/metrics", none, base + "namespaces/kube-system/services/ksm:8080/proxy/metrics"},
		{"http://ksm.kube-system.svc/metrics", none, base + "namespaces/kube-system/services/ksm/proxy/metrics"},
		{"http://[fd00::5]:80/m", labels.FromStrings(k+"namespace", "a", k+"pod_name", "p", k+"pod_ip", "fd00:0::5"), base + "namespaces/a/pods/p:80/proxy/m"},
		// Nothing else is reached.
		{"http://169.254.169.254/latest", pod, ""},
		{"http://127.0.0.1:9009/metrics", node, ""},
		{"http://a:80/metrics", none, ""},
		{"http://10.0.0.2:6443/metrics", api, ""},
		{"http://svc/metrics", none, ""},
		{"http://a.b.c.svc/metrics", none, ""},
		{"http://10.0.0.9:9100/metrics", kubelet, ""},
		{"http://%zz/", none, ""},
	} {
		got, err := ThroughAPIServer(tc.url, tc.of)
		if tc.want == "" {
			require.Error(t, err, tc.url)
			continue
		}
		require.NoError(t, err, tc.url)
		require.Equal(t, tc.want, got)
	}
}

// FuzzThroughAPIServer: whatever the target, nothing but the API server is asked.
func FuzzThroughAPIServer(f *testing.F) {
	f.Add("http://10.1.0.5:8080/metrics?a=b", "10.1.0.5:8080", "10.1.0.5", "web-0")
	f.Add("http://a.b.svc@evil/../x", "[::1]:80", "::1", "p/../..")
	f.Add("https://kubernetes.default.svc:443//evil.example/x", "a", "a", "")
	f.Fuzz(func(t *testing.T, target, address, ip, pod string) {
		const k = "__meta_kubernetes_"
		got, err := ThroughAPIServer(target, labels.FromStrings("__address__", address, k+"pod_ip", ip, k+"pod_name", pod, k+"namespace", "n", k+"node_name", pod))
		if err == nil && !strings.HasPrefix(got, "https://"+KubernetesAPIHost+"/") && got != "https://"+KubernetesAPIHost {
			t.Fatalf("%q leads to %q", target, got)
		}
	})
}
