package differential

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/differential/program"
	"github.com/mangru/mangru/test/differential/sink"
)

func TestMain(m *testing.M) { program.Main(m) }

// patience is how many intervals anything may take; more means that it does not
// happen.
const patience = 70

// job is a scrape job with a single target.
type job struct {
	name   string
	script string
	more   string // of its configuration, a line each
}

// config returns the jobs as a Prometheus file has them.
func scrapeConfigs(addr string, jobs []job, every time.Duration) string {
	var b strings.Builder
	for _, j := range jobs {
		fmt.Fprintf(&b, "- job_name: %s\n", j.name)
		if !strings.Contains(j.more, "metrics_path:") {
			fmt.Fprintf(&b, "  metrics_path: /%s/%s\n", j.script, j.name)
		}
		if !strings.Contains(j.more, "_configs: [{targets") && !strings.Contains(j.more, "file_sd_configs") {
			fmt.Fprintf(&b, "  static_configs: [{targets: [%q], labels: {t: %s}}]\n", addr, j.name)
		}
		for line := range strings.Lines(j.more) {
			fmt.Fprintf(&b, "  %s\n", strings.TrimRight(line, "\n"))
		}
	}
	return strings.NewReplacer("SLOW", model.Duration(slowness*every).String(), "SHORT", model.Duration(shorter(every)).String()).Replace(b.String())
}

// shorter is a timeout that is less than the interval.
func shorter(every time.Duration) time.Duration { return every - 100*time.Millisecond }

// slow is for pages that take their time; slowness is by how much.
const (
	slow     = "scrape_interval: SLOW\nscrape_timeout: SLOW\n"
	slowness = 2
)

const relabelling = `metric_relabel_configs:
- {source_labels: [__name__], regex: "drop_.*|h_bucket", action: drop}
- {regex: cut, action: labeldrop}
- {source_labels: [x], regex: "(.+)", target_label: copy, replacement: "v-$1"}
- {source_labels: [__name__], regex: "(req)_total", target_label: __name__, replacement: "${1}uests_total"}
- {source_labels: [job, x], separator: "/", target_label: hashed, action: hashmod, modulus: 17}
- {source_labels: [code], target_label: upper, action: uppercase}
- {source_labels: [job], regex: life-relabel, target_label: env, replacement: test}
- {regex: "exported_(.+)", action: labelmap, replacement: "was_$1"}`

// promJobs are what a scrape configuration can say.
func promJobs() []job {
	return []job{
		{"life", "life", ""},
		{"life-honor", "life", "honor_labels: true"},
		{"life-timeless", "life", "honor_timestamps: false"},
		{"life-track", "life", "track_timestamps_staleness: true"},
		{"life-relabel", "life", relabelling},
		{"life-extra", "life", "extra_scrape_metrics: true"},
		{"life-legacy", "life", "metric_name_validation_scheme: legacy\nmetric_name_escaping_scheme: underscores"},
		{"life-plain", "life", "enable_compression: false\nfallback_scrape_protocol: PrometheusText0.0.4"},
		{"life-fallback-om", "life", "fallback_scrape_protocol: OpenMetricsText1.0.0"},
		{"broken", "broken", "extra_scrape_metrics: true"},
		{"broken-straight", "broken", "follow_redirects: false\nfallback_scrape_protocol: PrometheusText0.0.4"},
		{"limit-samples", "limits", "sample_limit: 10\nextra_scrape_metrics: true"},
		{"limit-dropped", "limits", "sample_limit: 10\nmetric_relabel_configs: [{source_labels: [__name__], regex: 'drop.*', action: drop}]"},
		{"limit-labels", "limits", "label_limit: 7"},
		{"limit-names", "limits", "label_name_length_limit: 20"},
		{"limit-values", "limits", "label_value_length_limit: 50"},
		{"limit-body", "limits", "body_size_limit: 2KB\nextra_scrape_metrics: true"},
		{"limit-body-plain", "limits", "body_size_limit: 2KB\nenable_compression: false"},
		{"om", "om", ""},
		{"om-track", "om", "honor_timestamps: true\ntrack_timestamps_staleness: true"},
		{"om-nhcb", "om", "convert_classic_histograms_to_nhcb: true"},
		{"om-nhcb-both", "om", "convert_classic_histograms_to_nhcb: true\nalways_scrape_classic_histograms: true"},
		{"utf8", "text1", ""},
		{"utf8-legacy", "text1", "metric_name_validation_scheme: legacy"},
		{"proto", "proto", "scrape_native_histograms: true"},
		{"proto-classic", "proto", "scrape_native_histograms: false\nscrape_protocols: [PrometheusProto, PrometheusText0.0.4]"},
		{"proto-both", "proto", "scrape_native_histograms: true\nalways_scrape_classic_histograms: true"},
		{"proto-buckets", "proto", "scrape_native_histograms: true\nnative_histogram_bucket_limit: 10"},
		{"proto-factor", "proto", "scrape_native_histograms: true\nnative_histogram_min_bucket_factor: 1.2"},
		{"proto-nhcb", "proto", "scrape_native_histograms: true\nconvert_classic_histograms_to_nhcb: true"},
		{"node-exporter", "node-exporter", slow},
		{"kubelet", "kubelet", slow + "honor_labels: true"},
		{"cadvisor", "cadvisor", slow},
		{"kube-state-metrics", "kube-state-metrics", slow + "honor_labels: true"},
		{"apiserver", "apiserver", slow + "metric_relabel_configs: [{source_labels: [__name__], regex: 'apiserver_request_body.*|etcd_.*', action: drop}]"},
	}
}

// awkwardJobs have targets of their own.
func awkwardJobs(addr, refused string) []job {
	return []job{
		{"refused", "life", fmt.Sprintf("static_configs: [{targets: [%q], labels: {t: refused}}]", refused)},
		{"too-many", "life", fmt.Sprintf("target_limit: 1\nstatic_configs: [{targets: [%q], labels: {t: too-many}}, {targets: [%q], labels: {t: too-many2}}]", addr, refused)},
		{"found", "params", fmt.Sprintf(`metrics_path: /nowhere
params: {module: [http_2xx], a: ["1", "2"]}
static_configs: [{targets: [%q, "gone:1"], labels: {t: found, __meta_kept: "k", team: "x"}}]
basic_auth: {username: me, password: secret}
http_headers: {X-Test: {values: [yes]}}
relabel_configs:
- {source_labels: [__address__], regex: "gone:.*", action: drop}
- {target_label: __metrics_path__, replacement: /params/found}
- {source_labels: [__meta_kept], target_label: kept}
- {target_label: __param_module, replacement: changed}
- {source_labels: [__param_module], target_label: module}
- {target_label: instance, replacement: renamed}
- {target_label: __scrape_timeout__, replacement: SHORT}
- {action: labeldrop, regex: team}`, addr)},
		{"external", "life", fmt.Sprintf("static_configs: [{targets: [%q], labels: {t: external, cluster: mine}}]", addr)},
	}
}

const remoteWrite = `
- {name: v1, url: %[1]q, protobuf_message: prometheus.WriteRequest, %[2]s}
- {name: v2, url: %[3]q, protobuf_message: io.prometheus.write.v2.Request, %[2]s}
- name: few
  url: %[4]q
  queue_config: {min_shards: 1, max_shards: 1, batch_send_deadline: 50ms}
  write_relabel_configs:
  - {source_labels: [__name__, t], regex: "(a|up|zero|native_seconds|om_total);(life|proto|om)", action: keep}
  - {regex: instance, action: labeldrop}
  - {target_label: written, replacement: by_rule}`

// paths are where a collector sends to, one stream each.
func paths() []string { return []string{"v1", "v2", "few"} }

func promConfig(addr, sinkURL string, jobs []job, every time.Duration) string {
	settings := "send_exemplars: true, send_native_histograms: true, metadata_config: {send_interval: 1s}, queue_config: {min_shards: 1, max_shards: 1, batch_send_deadline: 50ms}"
	return fmt.Sprintf("global: {scrape_interval: %s, scrape_timeout: %s, external_labels: {cluster: test, t_ext: e}}\nscrape_configs:\n", model.Duration(every), model.Duration(every)) +
		scrapeConfigs(addr, jobs, every) + "remote_write:" +
		fmt.Sprintf(remoteWrite, sinkURL+"/v1", settings, sinkURL+"/v2", sinkURL+"/few")
}

// lab is a place where two collectors scrape and send the same.
type lab struct {
	t       *testing.T
	every   time.Duration // the interval
	dir     string
	targets *targets
	sink    *sink.Sink
	url     string // of the sink
	refused string // an address at which nobody listens
	running []*program.Process
}

// start starts a collector.
func (l *lab) start(p program.Program, args ...string) *program.Process {
	l.t.Helper()
	x := program.Start(l.t, p, nil, args...)
	l.running = append(l.running, x)
	return x
}

func newLab(t *testing.T, every time.Duration) *lab {
	scripts := recorded(t)
	scripts["life"] = pages(life()...)
	scripts["broken"] = pages(broken()...)
	scripts["limits"] = pages(limits()...)
	scripts["om"] = pages(openMetricsPages()...)
	scripts["text1"] = pages(newText()...)
	scripts["proto"] = pages(protobufPages()...)
	scripts["params"] = pages(text("p 1\n"))
	scripts["steady"] = pages(text(usual))
	l := &lab{t: t, every: every, dir: t.TempDir(), targets: newTargets(t, scripts, every), sink: &sink.Sink{}}
	l.targets.check = func(r *http.Request) error {
		if !strings.HasPrefix(r.URL.Path, "/params/") {
			return nil
		}
		if u, p, _ := r.BasicAuth(); u != "me" || p != "secret" || r.Header.Get("X-Test") != "yes" ||
			r.URL.RawQuery != "a=1&a=2&module=changed" || r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds") != fmt.Sprint(shorter(every).Seconds()) {
			return fmt.Errorf("unexpected request: %s %v", r.URL, r.Header)
		}
		return nil
	}
	srv := httptest.NewServer(l.sink.Handler(func(r *http.Request) string { return who(r) + r.URL.Path }))
	t.Cleanup(srv.Close)
	l.url = srv.URL
	refused := httptest.NewServer(nil)
	l.refused = refused.Listener.Addr().String()
	refused.Close()
	return l
}

func (l *lab) write(name, text string) string {
	l.t.Helper()
	file := filepath.Join(l.dir, name)
	require.NoError(l.t, os.WriteFile(file+".new", []byte(text), 0o600))
	require.NoError(l.t, os.Rename(file+".new", file))
	return file
}

// await waits until a condition holds for all streams.
func (l *lab) await(what string, streams []string, ok func(stream string, s *sink.Stream) bool) {
	l.t.Helper()
	deadline := time.Now().Add(patience * l.every)
	for _, name := range streams {
		for {
			done := false
			l.sink.With(name, func(s *sink.Stream) { done = s != nil && ok(name, s) })
			if done {
				break
			}
			for _, p := range l.running {
				require.True(l.t, p.Running(), "a collector has ended")
			}
			require.True(l.t, time.Now().Before(deadline), "%s: not within %s in stream %s", what, patience*l.every, name)
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// ups counts the points of up of each target.
func ups(s *sink.Stream) map[string]int {
	n := make(map[string]int)
	for _, x := range s.Series {
		if x.Labels.Get(model.MetricNameLabel) == "up" {
			n[x.Labels.Get("t")] += len(x.Points)
		}
	}
	return n
}

func streams(who ...string) (all []string) {
	for _, w := range who {
		for _, p := range paths() {
			all = append(all, w+"/"+p)
		}
	}
	return all
}

// full are the streams that hold everything.
func full(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return strings.HasSuffix(s, "/few") })
}

// paces are the intervals at which it is tried. A scrape that is late because the
// machine does something else tells nothing about who made it; then it is tried
// again, slower.
func paces() []time.Duration { return []time.Duration{1500 * time.Millisecond, 4 * time.Second} }

// atSomePace runs a comparison until no scrape was late, and reports what differs.
func atSomePace(t *testing.T, file string, run func(every time.Duration) (all []difference, late []string)) {
	t.Helper()
	for _, every := range paces() {
		all, late := run(every)
		if len(late) == 0 {
			report(t, file, all)
			return
		}
		t.Logf("with an interval of %s, scrapes were late: %v", every, late[:min(3, len(late))])
	}
	t.Fatal("the machine is too busy: scrapes were late at any pace")
}

// TestPrometheus lets Prometheus, in agent mode, and ours run the same file side
// by side.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	atSomePace(t, "testdata/prometheus.differences", func(every time.Duration) ([]difference, []string) {
		return besidePrometheus(t, every)
	})
}

func besidePrometheus(t *testing.T, every time.Duration) ([]difference, []string) {
	l := newLab(t, every)
	addr := l.targets.addr()
	jobs := slices.Concat(promJobs(), awkwardJobs(addr, l.refused))
	discovered := l.write("found.json", foundFile(addr, "first"))
	before := []job{
		{"comes-and-goes", "steady", fmt.Sprintf("file_sd_configs: [{files: [%q], refresh_interval: 1s}]", discovered)},
		{"ends", "steady", ""},
		{"changes", "steady", "metric_relabel_configs: [{source_labels: [__name__], regex: 'inf|zero', action: drop}]"},
		{"renamed", "steady", "relabel_configs: [{target_label: generation, replacement: one}]"},
	}
	after := []job{
		before[0],
		{"changes", "steady", "metric_relabel_configs: [{source_labels: [__name__], regex: 'nan|long', action: drop}]"},
		{"renamed", "steady", "relabel_configs: [{target_label: generation, replacement: two}]"},
		{"begins", "steady", ""},
	}
	file := l.write("prometheus.yml", promConfig(addr, l.url, slices.Concat(jobs, before), every))
	mangru := l.start(program.Mangru(t), "collector", "--config", file, "--metrics-address", "127.0.0.1:0")
	prom := l.start(program.Prometheus(t), "--agent", "--config.file="+file, "--storage.agent.path="+filepath.Join(l.dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--scrape.discovery-reload-interval=500ms", "--enable-feature=metadata-wal-records")
	all := full(streams(ours, theirs))
	l.comeAndGo(all)
	l.reload(file, promConfig(addr, l.url, slices.Concat(jobs, after), every), all, mangru, prom)
	l.scraped(jobs, all)
	late := append(l.late(ours), l.late(theirs)...)
	require.NoError(t, mangru.Stop())
	require.NoError(t, prom.Stop())
	var diffs []difference
	for _, path := range paths() {
		diffs = append(diffs, differences(path, l.read(theirs+"/"+path), l.read(ours+"/"+path))...)
	}
	return diffs, late
}

// late lists the scrapes that took too long though the target answered at once.
func (l *lab) late(who string) (all []string) {
	meant := make(map[int]bool)
	for n, a := range broken() {
		meant[n] = a.fault == faultStall || a.fault == faultDrip
	}
	l.sink.With(who+"/v1", func(s *sink.Stream) {
		for _, x := range s.Series {
			if x.Labels.Get(model.MetricNameLabel) != "scrape_duration_seconds" {
				continue
			}
			t := x.Labels.Get("t")
			limit := l.every
			if scrapesOf(t) == slowScrapes {
				limit *= slowness
			}
			for n, p := range x.Points {
				if p.Value > 0.85*limit.Seconds() && !p.Stale() && p.Value < 60 && !(meant[n] && strings.HasPrefix(t, "broken")) {
					all = append(all, fmt.Sprintf("%s: scrape %d of %s took %.1fs", who, n, t, p.Value))
				}
			}
		}
	})
	return all
}

// How many scrapes of each target are compared.
const (
	scrapes     = 36
	slowScrapes = 16
)

// scrapesOf is how many those of a target are.
func scrapesOf(target string) int {
	for _, j := range promJobs() {
		if j.name == target && strings.HasPrefix(j.more, slow) {
			return slowScrapes
		}
	}
	return scrapes
}

// scraped waits until that many have arrived of all jobs.
func (l *lab) scraped(jobs []job, streams []string) {
	l.t.Helper()
	l.await("all scrapes", streams, func(_ string, s *sink.Stream) bool {
		n := ups(s)
		return !slices.ContainsFunc(jobs, func(j job) bool { return n[j.name] < scrapesOf(j.name)+2 })
	})
}

func foundFile(addr, generation string) string {
	if addr == "" {
		return "[]"
	}
	return fmt.Sprintf(`[{"targets": [%q], "labels": {"t": "comes-and-goes", "generation": %q}}]`, addr, generation)
}

// comeAndGo takes a target away, lets it come back as it was, and then under
// another label.
func (l *lab) comeAndGo(streams []string) {
	l.t.Helper()
	last := func(generation string, stale bool) {
		l.t.Helper()
		l.await("target "+generation, streams, func(_ string, s *sink.Stream) bool {
			for _, x := range s.Series {
				if x.Labels.Get(model.MetricNameLabel) == "up" && x.Labels.Get("t") == "comes-and-goes" && x.Labels.Get("generation") == generation {
					n := len(x.Points)
					return n > 1 && x.Points[n-1].Stale() == stale && (stale || !x.Points[n-2].Stale())
				}
			}
			return false
		})
	}
	last("first", false)
	l.write("found.json", foundFile("", ""))
	last("first", true)
	l.write("found.json", foundFile(l.targets.addr(), "first"))
	last("first", false)
	l.write("found.json", foundFile(l.targets.addr(), "second"))
	last("first", true)
	last("second", false)
}

// reload puts another configuration in place.
func (l *lab) reload(file, text string, streams []string, processes ...*program.Process) {
	l.t.Helper()
	require.NoError(l.t, os.WriteFile(file, []byte(text), 0o600))
	for _, p := range processes {
		require.NoError(l.t, p.Reload())
	}
	l.await("the other configuration", streams, func(stream string, s *sink.Stream) bool {
		var ended, renamed, begun, changed bool
		for _, x := range s.Series {
			n := len(x.Points)
			stale := n > 0 && x.Points[n-1].Stale()
			switch name, t := x.Labels.Get(model.MetricNameLabel), x.Labels.Get("t"); {
			case name == "up" && t == "ends":
				ended = stale
			case name == "up" && t == "renamed" && x.Labels.Get("generation") == "one":
				renamed = stale
			case name == "up" && t == "begins":
				begun = n > 2
			case name == "inf" && t == "changes":
				changed = n > 2
			}
		}
		// Prometheus leaves the series of a job that is no more as they are.
		return (ended || strings.HasPrefix(stream, theirs)) && renamed && begun && changed
	})
}

// free reports whether it is not known how often a target is scraped before
// something happens to it.
func free(target string) bool {
	target, _, _ = strings.Cut(target, "/")
	return slices.Contains([]string{"comes-and-goes", "ends", "changes", "renamed", "begins"}, target)
}

// read returns what a stream holds.
func (l *lab) read(stream string) (c canonical) {
	l.t.Helper()
	sender, _, _ := strings.Cut(stream, "/")
	_, port, _ := strings.Cut(l.targets.addr(), ":")
	r := &reader{
		scrapes: scrapesOf, free: free, own: func(target string) map[int64]string { return l.targets.own(sender, target) },
		hide: strings.NewReplacer(l.targets.addr(), "target:80", `"`+port+`"`, `"80"`, `"127.0.0.1"`, `"target"`, l.refused, "refused:80"),
	}
	l.sink.With(stream, func(s *sink.Stream) {
		require.NotNil(l.t, s, stream)
		require.Empty(l.t, s.Faults, "%s breaks the protocol", stream)
		c = r.read(s)
	})
	return c
}
