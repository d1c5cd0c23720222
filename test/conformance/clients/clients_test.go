// Package clients lets Alertmanager's and Prometheus' own tools work against the
// built program. It is a module of its own, so that they stay out of ours.
package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/sigv4"
)

// lab is a server of ours with a workspace, and a proxy before it that signs, for
// the tools cannot.
type lab struct {
	t         *testing.T
	bin, dir  string
	url       string // of the server
	env       []string
	workspace string
	proxy     string // the workspace's endpoint, without a slash at the end
}

var listens = regexp.MustCompile(`server listens.* url=(http://\S+)`)

func newLab(t *testing.T) *lab {
	t.Helper()
	bin := os.Getenv("MANGRU")
	if bin == "" {
		bin = filepath.Join("..", "..", "..", "bin", "mangru")
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Skipf("no program to test, make build makes it: %v", err)
	}
	l := &lab{t: t, bin: bin, dir: t.TempDir()}
	l.serve()
	text, err := os.ReadFile(filepath.Join(l.dir, "credentials"))
	if err != nil {
		t.Fatal(err)
	}
	id, secret := setting(t, text, "aws_access_key_id"), setting(t, text, "aws_secret_access_key")
	l.env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+id, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_REGION=us-east-1")
	out := l.mangru("workspace", "create", "clients")
	l.workspace, _, _ = strings.Cut(out, "\n")
	signer, err := sigv4.NewSigV4RoundTripper(&sigv4.SigV4Config{Region: "us-east-1", AccessKey: id, SecretKey: config.Secret(secret)}, http.DefaultTransport)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(l.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Transport: signer, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = target.Host
	}})
	t.Cleanup(proxy.Close)
	l.proxy = proxy.URL + "/workspaces/" + l.workspace
	return l
}

func setting(t *testing.T, text []byte, name string) string {
	t.Helper()
	m := regexp.MustCompile(name + ` = (\S+)`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no %s in the credentials", name)
	}
	return string(m[1])
}

// serve starts the server on a port of its own.
func (l *lab) serve() {
	l.t.Helper()
	config := filepath.Join(l.dir, "server.yml")
	if err := os.WriteFile(config, []byte("rules: {min_interval: 1s, interval: 1s}\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command(l.bin, "server", "--config", config, "--data", l.dir, "--listen", "127.0.0.1:0", "--ui", "")
	log, err := cmd.StderrPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	drained := make(chan struct{})
	l.t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			l.t.Error(err)
		}
		<-drained
		if err := cmd.Wait(); err != nil {
			l.t.Error(err)
		}
	})
	lines := bufio.NewReader(log)
	for l.url == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			close(drained)
			l.t.Fatalf("the server did not start: %v %s", err, line)
		}
		if m := listens.FindStringSubmatch(line); m != nil {
			l.url = m[1]
		}
	}
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, lines) // so that it can go on writing
	}()
}

// run runs a program and returns what it prints.
func (l *lab) run(bin string, args ...string) string {
	l.t.Helper()
	cmd := exec.Command(bin, args...)
	cmd.Env = l.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("%s %q: %v\n%s%s", filepath.Base(bin), args, err, out, stderr.String())
	}
	return string(out)
}

func (l *lab) mangru(args ...string) string {
	l.t.Helper()
	return l.run(l.bin, append(args, "--endpoint", l.url)...)
}

// tool returns the path of a tool, which is built the first time.
func (l *lab) tool(name string) string {
	l.t.Helper()
	out, err := exec.Command("go", "tool", "-n", name).Output()
	if err != nil {
		l.t.Fatalf("building %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

func (l *lab) amtool(args ...string) string {
	l.t.Helper()
	return l.run(l.tool("amtool"), append(args, "--alertmanager.url="+l.proxy+"/alertmanager")...)
}

// wants fails unless all of it is in the output.
func (l *lab) wants(out string, all ...string) {
	l.t.Helper()
	for _, want := range all {
		if !strings.Contains(out, want) {
			l.t.Fatalf("no %q in\n%s", want, out)
		}
	}
}

// TestAmtool fires, finds, silences and groups alerts of a workspace.
func TestAmtool(t *testing.T) {
	l := newLab(t)
	text := "alertmanager_config: |\n  route:\n    receiver: nobody\n    group_by: [team]\n    routes:\n    - matchers: [team=web]\n      receiver: web\n  receivers:\n  - name: nobody\n  - name: web\n"
	l.define(text)
	l.amtool("alert", "add", "alertname=Broken", "team=web", "--annotation=summary=it is")
	eventually(t, func() bool { return strings.Contains(l.amtool("alert", "query", "--output=extended"), "Broken") })
	l.wants(l.amtool("alert", "query", "team=web", "--output=json"), `"alertname":"Broken"`, `"summary":"it is"`)
	id := strings.TrimSpace(l.amtool("silence", "add", "alertname=Broken", "--author=me", "--comment=known", "--duration=1h"))
	l.wants(l.amtool("silence", "query", "--output=extended"), id, "alertname", "known")
	eventually(t, func() bool { return !strings.Contains(l.amtool("alert", "query"), "Broken") })
	l.wants(l.amtool("alert", "query", "--silenced"), "Broken")
	l.amtool("silence", "expire", id)
	eventually(t, func() bool { return strings.Contains(l.amtool("alert", "query"), "Broken") })
	l.wants(l.amtool("silence", "query", "--expired"), id)
	l.wants(l.amtool("config", "show"), "receiver: nobody")
	l.wants(l.amtool("config", "routes", "test", "team=web"), "web")
	l.amtool("cluster", "show")
}

// define sets the workspace's alert manager definition.
func (l *lab) define(text string) {
	l.t.Helper()
	body, err := json.Marshal(map[string]any{"data": []byte(text)})
	if err != nil {
		l.t.Fatal(err)
	}
	res, err := http.Post(l.proxy+"/alertmanager/definition", "application/json", strings.NewReader(string(body)))
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusAccepted {
		l.t.Fatalf("%d: %s", res.StatusCode, answer)
	}
}

// promtool returns the path of Prometheus' tool: a program in $MANGRU_PEERS, or one
// that MANGRU_BUILD_PEERS has built here, which takes minutes.
func (l *lab) promtool() string {
	l.t.Helper()
	if have := filepath.Join(os.Getenv("MANGRU_PEERS"), "promtool"); os.Getenv("MANGRU_PEERS") != "" {
		if _, err := os.Stat(have); err == nil {
			return have
		}
	}
	if os.Getenv("MANGRU_BUILD_PEERS") == "" {
		l.t.Skip("there is no promtool: MANGRU_PEERS=DIR names a directory with it, MANGRU_BUILD_PEERS=1 builds one")
	}
	out := filepath.Join(l.dir, "promtool")
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "remove_all_sd", "-o", out, "github.com/prometheus/prometheus/cmd/promtool")
	cmd.Dir = filepath.Join("..", "..", "bench", "peers", "prometheus")
	if text, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("building promtool: %v\n%s", err, text)
	}
	return out
}

// page is what promtool pushes.
const page = `# HELP orders_total Orders.
# TYPE orders_total counter
orders_total{shop="a"} 7
orders_total{shop="b"} 5
`

// groups are rules that are pushed, read back, and tested.
const groups = `groups:
- name: shop
  interval: 1s
  rules:
  - record: shop:orders:sum
    expr: sum(orders_total)
  - alert: FewOrders
    expr: shop:orders:sum < 20
    for: 1s
    labels: {team: shop}
    annotations: {summary: "{{ $value }} orders"}
`

// units are unit tests of them: one that passes, and one that does not.
const units = `rule_files: [rules.yml]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - {series: 'orders_total{shop="a"}', values: '7+0x5'}
  promql_expr_test:
  - {expr: shop:orders:sum, eval_time: 3m, exp_samples: [{labels: shop:orders:sum, value: WANT}]}
  alert_rule_test:
  - eval_time: 3m
    alertname: FewOrders
    exp_alerts: [{exp_labels: {team: shop}, exp_annotations: {summary: "7 orders"}}]
`

// TestPromtool pushes samples and rules, and reads what becomes of them.
func TestPromtool(t *testing.T) {
	l := newLab(t)
	promtool := l.promtool()
	file := func(name, text string) string {
		path := filepath.Join(l.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	metrics := file("page.txt", page)
	// Version 1.0 only: promtool v0.315 labels the same message 2.0 when it is asked for that.
	l.wants(l.run(promtool, "push", "metrics", "--label=job=pushed", l.proxy, metrics), "SUCCESS")
	l.wants(l.run(promtool, "query", "instant", l.proxy, `sum(orders_total{job="pushed"})`), "{} => 12 @")
	l.wants(l.run(promtool, "query", "labels", l.proxy, "shop"), "a\nb\n")
	l.wants(l.run(promtool, "query", "series", "--match=orders_total", l.proxy), `{__name__="orders_total", job="pushed", shop="a"}`)
	now := time.Now()
	l.wants(l.run(promtool, "query", "range", "--step=1m", "--start="+now.Add(-time.Minute).Format(time.RFC3339), "--end="+now.Add(time.Minute).Format(time.RFC3339),
		l.proxy, `count(orders_total)`), "{} =>\n2 @")

	// Rules pass both tools' checks and tests, and are in the workspace as they were pushed.
	rules := file("rules.yml", groups)
	l.wants(l.run(promtool, "check", "rules", rules), "SUCCESS: 2 rules found")
	l.run(l.bin, "rules", "check", rules)
	for want, passes := range map[string]bool{"7": true, "8": false} {
		unit := file("units-"+want+".yml", strings.Replace(units, "WANT", want, 1))
		for _, tool := range [][]string{{promtool, "test", "rules", unit}, {l.bin, "rules", "test", unit}} {
			if err := exec.Command(tool[0], tool[1:]...).Run(); (err == nil) != passes {
				t.Errorf("%q: %v, wanted to pass: %v", tool, err, passes)
			}
		}
	}
	l.mangru("rules", "push", l.workspace, rules, "--namespace", "shop")
	eventually(t, func() bool {
		return strings.Contains(l.run(promtool, "query", "instant", l.proxy, `ALERTS{alertname="FewOrders", alertstate="firing"}`), "FewOrders")
	})
	l.wants(l.run(promtool, "query", "instant", l.proxy, "shop:orders:sum"), "shop:orders:sum => 12 @")
}

// eventually looks from the test's own goroutine, for f may fail the test.
func eventually(t *testing.T, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond) // each look is a process
	defer tick.Stop()
	for !f() {
		select {
		case <-ctx.Done():
			t.Fatal("not within a minute")
		case <-tick.C:
		}
	}
}
