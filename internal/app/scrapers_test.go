package app

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetest "k8s.io/client-go/testing"

	"github.com/mangru/mangru/internal/server/cluster"
	"github.com/mangru/mangru/internal/server/workspace"
)

// scrapedCluster is an API server with a node and a pod that have metrics, which
// are got through it.
type scrapedCluster struct {
	*httptest.Server
	mu    sync.Mutex
	token string
	seen  map[string]int
}

func newScrapedCluster(t *testing.T) *scrapedCluster {
	t.Helper()
	k := &scrapedCluster{token: "token-1", seen: map[string]int{}}
	k.Server = httptest.NewUnstartedServer(http.HandlerFunc(k.serve))
	k.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	k.StartTLS()
	t.Cleanup(k.Close)
	return k
}

func (k *scrapedCluster) setToken(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.token = token
}

func (k *scrapedCluster) times(path string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seen[path]
}

func (k *scrapedCluster) serve(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	k.seen[r.URL.Path]++
	good := r.Header.Get("Authorization") == "Bearer "+k.token
	k.mu.Unlock()
	if !good {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	node := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "1"}, Status: corev1.NodeStatus{
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.7"}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: 10250}}}}
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "shop", UID: "2", Annotations: map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}},
		Spec:   corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.1.0.5", HostIP: "10.0.0.7"}}
	list := func(kind string, items any) {
		switch q := r.URL.Query(); {
		case q.Get("sendInitialEvents") != "":
			w.WriteHeader(http.StatusUnprocessableEntity) // an older server: lists, then watches
		case q.Get("watch") != "":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"kind": kind, "apiVersion": "v1", "metadata": map[string]string{"resourceVersion": "1"}, "items": items})
		}
	}
	switch r.URL.Path {
	case "/api":
		_, _ = w.Write([]byte(`{"versions":["v1"]}`))
	case "/api/v1/nodes":
		list("NodeList", []corev1.Node{node})
	case "/api/v1/pods":
		list("PodList", []corev1.Pod{pod})
	case "/api/v1/nodes/n1/proxy/metrics":
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprintln(w, "kubelet_running_pods 3")
	case "/api/v1/namespaces/shop/pods/web-0:8080/proxy/metrics":
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprintln(w, "orders_total 7")
	default:
		http.NotFound(w, r)
	}
}

func (k *scrapedCluster) registration(token *string) cluster.Registration {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Certificate().Raw})
	return cluster.Registration{Endpoint: k.URL, CA: base64.StdEncoding.EncodeToString(ca), Issuer: "https://issuer.example", JWKS: testKeySet, ScraperToken: token}
}

const scrapedJobs = `
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: kubelet
  scheme: https
  authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}
  tls_config: {ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt, insecure_skip_verify: true}
  kubernetes_sd_configs: [{role: node}]
- job_name: pods
  kubernetes_sd_configs: [{role: pod}]
  relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: "true", action: keep}
  - {source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port], regex: "(.+);(.+)", replacement: "$1:$2", target_label: __address__}
- job_name: outside
  static_configs: [{targets: ["169.254.169.254:80"]}]
`

// scraperCall makes, changes or reads a scraper as clients do.
func (s *testServer) scraperCall(t *testing.T, status int, method, path string, body any) map[string]any {
	t.Helper()
	text := ""
	if body != nil {
		b, err := json.Marshal(body)
		require.NoError(t, err)
		text = string(b)
	}
	res := s.call(t, method, path, text)
	require.Equal(t, status, res.status, res.body)
	var out map[string]any
	if res.body != "" {
		require.NoError(t, json.Unmarshal([]byte(res.body), &out))
	}
	return out
}

func scraperBody(ws *workspace.Workspace, clusterName, jobs string) map[string]any {
	return map[string]any{"alias": "all", "scrapeConfiguration": map[string]any{"configurationBlob": []byte(jobs)},
		"source":      map[string]any{"eksConfiguration": map[string]any{"clusterArn": cluster.ARN("us-east-1", ws.AccountID, clusterName), "subnetIds": []string{"subnet-1"}}},
		"destination": map[string]any{"ampConfiguration": map[string]any{"workspaceArn": ws.ARN()}}}
}

// state waits until a scraper has come to rest and returns its state and reason.
func (s *testServer) state(t *testing.T, id string) (status, reason string) {
	t.Helper()
	require.Eventually(t, func() bool {
		sc := s.scraperCall(t, 200, "GET", "/scrapers/"+id, nil)["scraper"].(map[string]any)
		status = sc["status"].(map[string]any)["statusCode"].(string)
		reason, _ = sc["statusReason"].(string)
		return status != "CREATING" && status != "UPDATING"
	}, time.Minute, 20*time.Millisecond)
	return status, reason
}

func (s *testServer) awaitValue(t *testing.T, ws, promql, want string) {
	t.Helper()
	require.Eventually(t, func() bool { return s.value(t, ws, promql) == want }, time.Minute, 50*time.Millisecond, "%s", promql)
}

func TestScrapers(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	k := newScrapedCluster(t)
	defer k.Close()
	cfg := testConfig(t.TempDir())
	s := startServer(t, cfg)
	defer s.stop()
	ctx := t.Context()
	ws, err := s.Workspaces().Ensure(ctx, s.Account(), "default")
	require.NoError(t, err)

	bad := s.scraperCall(t, 400, "POST", "/scrapers", scraperBody(ws, "none", scrapedJobs))
	require.Contains(t, fmt.Sprint(bad), "mangru cluster register")
	_, err = s.identity.clusters.Register(ctx, s.Account(), cluster.RegisterInput{Name: "prod", Registration: k.registration(nil)})
	require.NoError(t, err)
	bad = s.scraperCall(t, 400, "POST", "/scrapers", scraperBody(ws, "prod", "scrape_configs: [{job_name: a, file_sd_configs: [{files: [a.yml]}]}]"))
	require.Contains(t, fmt.Sprint(bad), "file_sd_configs")

	// A cluster that gave no token, and one that refuses it.
	id := s.scraperCall(t, 202, "POST", "/scrapers", scraperBody(ws, "prod", scrapedJobs))["scraperId"].(string)
	status, reason := s.state(t, id)
	require.Equal(t, "CREATION_FAILED", status)
	require.Contains(t, reason, "--scraper")
	wrong, right := "wrong", "token-1"
	_, err = s.identity.clusters.Update(ctx, s.Account(), "prod", k.registration(&wrong))
	require.NoError(t, err)
	failed := s.scraperCall(t, 202, "POST", "/scrapers", scraperBody(ws, "prod", scrapedJobs))["scraperId"].(string)
	status, reason = s.state(t, failed)
	require.Equal(t, "CREATION_FAILED", status)
	require.Contains(t, reason, "refuses the token")
	require.NotContains(t, reason, wrong)
	s.scraperCall(t, 202, "DELETE", "/scrapers/"+failed, nil)

	// With the right one, the failed one is made good by a change.
	_, err = s.identity.clusters.Update(ctx, s.Account(), "prod", k.registration(&right))
	require.NoError(t, err)
	group := "arn:aws:logs:us-east-1:" + s.Account() + ":log-group:scrapers:*"
	s.scraperCall(t, 202, "PUT", "/scrapers/"+id+"/logging-configuration", map[string]any{"loggingDestination": map[string]any{"cloudWatchLogs": map[string]any{"logGroupArn": group}}})
	s.scraperCall(t, 202, "PUT", "/scrapers/"+id, map[string]any{"alias": "both"})
	status, reason = s.state(t, id)
	require.Equal(t, "ACTIVE", status, reason)
	s.awaitValue(t, ws.ID, `kubelet_running_pods{job="kubelet",instance="n1"}`, "3")
	s.awaitValue(t, ws.ID, `orders_total{job="pods",instance="10.1.0.5:8080"}`, "7")
	require.Equal(t, "2", s.value(t, ws.ID, `count(up == 1)`))
	require.Empty(t, s.value(t, ws.ID, `up{job="outside"}`))
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(filepath.Join(s.dir, "logs", s.Account(), "scrapers.log"))
		return err == nil && strings.Contains(string(text), `"scrapeConfigId":"`+id+`","component":"COLLECTOR"`) && strings.Contains(string(text), "169.254.169.254")
	}, time.Minute, 50*time.Millisecond, "a target that is not in the cluster is left out, and the log says so")
	res, err := http.Get(s.URL() + "/metrics")
	require.NoError(t, err)
	metrics, status2 := readAll(t, res), res.StatusCode
	require.Equal(t, 200, status2)
	require.Contains(t, metrics, `scraper="`+id+`"`)

	// A token that is rotated is followed.
	next := "token-2"
	k.setToken(next)
	_, err = s.identity.clusters.Update(ctx, s.Account(), "prod", k.registration(&next))
	require.NoError(t, err)
	s.scrapers.follow(ctx)
	before := k.times("/api/v1/nodes/n1/proxy/metrics")
	require.Eventually(t, func() bool { return k.times("/api/v1/nodes/n1/proxy/metrics") > before+1 }, time.Minute, 20*time.Millisecond)
	s.awaitValue(t, ws.ID, `count(up == 1)`, "2")

	// Without one it ends, and with one it goes on.
	run, none := s.scrapers.get(id), ""
	_, err = s.identity.clusters.Update(ctx, s.Account(), "prod", k.registration(&none))
	require.NoError(t, err)
	s.scrapers.follow(ctx)
	<-run.done
	s.scrapers.follow(ctx)
	_, err = s.identity.clusters.Update(ctx, s.Account(), "prod", k.registration(&next))
	require.NoError(t, err)
	s.scrapers.follow(ctx)
	require.NotSame(t, run, s.scrapers.get(id))
	before = k.times("/api/v1/nodes/n1/proxy/metrics")
	require.Eventually(t, func() bool { return k.times("/api/v1/nodes/n1/proxy/metrics") > before }, time.Minute, 20*time.Millisecond)

	// It runs again after a restart, and ends when it is deleted.
	s.stop()
	s2 := startServer(t, cfg)
	s2.key = s.key
	defer s2.stop()
	before = k.times("/api/v1/nodes/n1/proxy/metrics")
	require.Eventually(t, func() bool { return k.times("/api/v1/nodes/n1/proxy/metrics") > before }, time.Minute, 20*time.Millisecond)
	s2.scraperCall(t, 202, "DELETE", "/scrapers/"+id, nil)
	require.Eventually(t, func() bool {
		return s2.call(t, "GET", "/scrapers/"+id, "").status == 404
	}, time.Minute, 20*time.Millisecond)
	s2.scrapers.work.Wait() // ends when its collector has
}

func readAll(t *testing.T, res *http.Response) string {
	t.Helper()
	defer func() { _ = res.Body.Close() }()
	var b strings.Builder
	buf := make([]byte, 32<<10)
	for {
		n, err := res.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}

// A token goes to its own API server and nowhere else.
func TestScraperTransport(t *testing.T) {
	k := newScrapedCluster(t)
	reg := k.registration(nil)
	ca, err := base64.StdEncoding.DecodeString(reg.CA)
	require.NoError(t, err)
	api, err := newAPITransport(cluster.Access{Endpoint: k.URL, CA: string(ca), Token: "token-1"})
	require.NoError(t, err)
	defer api.CloseIdleConnections()
	require.NoError(t, api.probe(t.Context()))
	for _, bad := range []struct{ method, url string }{
		{"GET", "https://elsewhere.example/"}, {"GET", k.URL + "/api"}, {"POST", "https://kubernetes.default.svc/api"}, {"GET", "https://kubernetes.default.svc:444/api"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), bad.method, bad.url, http.NoBody)
		require.NoError(t, err)
		res, err := api.RoundTrip(req)
		if err == nil {
			_ = res.Body.Close()
		}
		require.ErrorContains(t, err, "only", bad.url)
	}
	// Nor to what is beside it, behind the same address.
	require.NoError(t, api.set(cluster.Access{Endpoint: k.URL + "/clusters/c", CA: string(ca), Token: "token-1"}))
	for _, path := range []string{"/../../api", "/%2e%2e/%2E%2e/api", "/api/v1/nodes/n1/proxy/../../../../../../../api", "/..", "/a/./b"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://kubernetes.default.svc"+path, http.NoBody)
		require.NoError(t, err)
		res, err := api.RoundTrip(req)
		if err == nil {
			_ = res.Body.Close()
		}
		require.ErrorContains(t, err, "without . and ..", path)
	}
	require.ErrorContains(t, api.probe(t.Context()), "404")
	require.Equal(t, 1, k.times("/clusters/c/api"))
	require.NoError(t, api.set(cluster.Access{Endpoint: "https://127.0.0.1:1", Token: "t"}))
	require.ErrorContains(t, api.probe(t.Context()), "does not answer")
	_, err = newAPITransport(cluster.Access{CA: "no PEM"})
	require.ErrorContains(t, err, "CA")
}

func TestScraperAccess(t *testing.T) {
	kube := fake.NewClientset()
	kube.PrependReactor("get", "secrets", func(kubetest.Action) (bool, runtime.Object, error) {
		return true, &corev1.Secret{Data: map[string][]byte{"token": []byte("issued")}}, nil
	})
	for range 2 { // what is there already stays
		token, err := ensureScraperAccess(t.Context(), kube)
		require.NoError(t, err)
		require.Equal(t, "issued", token)
	}
	role, err := kube.RbacV1().ClusterRoles().Get(t.Context(), scraperObjects, metav1.GetOptions{})
	require.NoError(t, err)
	role.Rules = nil
	_, err = kube.RbacV1().ClusterRoles().Update(t.Context(), role, metav1.UpdateOptions{})
	require.NoError(t, err)
	_, err = ensureScraperAccess(t.Context(), kube)
	require.NoError(t, err)
	role, err = kube.RbacV1().ClusterRoles().Get(t.Context(), scraperObjects, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, scraperRules(), role.Rules)
	for _, r := range role.Rules {
		require.NotContains(t, r.Verbs, "*")
		require.NotContains(t, r.Verbs, "create")
		require.NotContains(t, r.Resources, "secrets")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never := fake.NewClientset()
	_, err = ensureScraperAccess(ctx, never)
	require.ErrorContains(t, err, "wait for the token")
}

func TestClusterRegisterScraperToken(t *testing.T) {
	s := newIdentityServer(t)
	k := newFakeAPIServer(t)
	file := writeFile(t, "token", "the.secret.token\n")
	out := s.ok("cluster", "register", "prod", "--kubeconfig", k.kubeconfig, "--scraper-token", file)
	require.Contains(t, out, "may collect at "+k.URL)
	for _, args := range [][]string{{"cluster", "describe", "prod"}, {"cluster", "describe", "prod", "-o", "json"}, {"cluster", "list", "-o", "json"}} {
		require.NotContains(t, s.ok(args...), "the.secret.token")
	}
	require.Contains(t, s.ok("cluster", "describe", "prod"), "may collect here")
	s.ok("cluster", "register", "prod", "--kubeconfig", k.kubeconfig)
	require.Contains(t, s.ok("cluster", "describe", "prod"), "may collect here", "registered anew without a token, it keeps the one that it has")
	s.fails(2, "scraper", "cluster", "register", "prod", "--kubeconfig", k.kubeconfig, "--scraper", "--scraper-token", file)
	s.fails(2, "scraper-token", "cluster", "register", "prod", "--kubeconfig", k.kubeconfig, "--scraper-token", "/no/such")
}
