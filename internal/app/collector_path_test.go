package app

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/collector/buffer"
	"github.com/mangru/mangru/internal/collector/scrape"
	"github.com/mangru/mangru/internal/collector/send"
	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/otelconf"
)

// receiver is a remote-write endpoint that keeps what it accepts and insists on
// order.
type receiver struct {
	v2 bool // speaks 2.0 as well

	mu         sync.Mutex
	series     map[string][]prompb.Sample
	outOfOrder int
	repeated   int
	refuse     func() int // status code to refuse with, 0 to accept
}

// message is a request as 1.0 has it.
func (r *receiver) message(req *http.Request, body []byte) (wr prompb.WriteRequest, err error) {
	raw, err := snappy.Decode(nil, body)
	if err != nil {
		return wr, err
	}
	if !r.v2 || !strings.Contains(req.Header.Get("Content-Type"), "io.prometheus.write.v2.Request") {
		return wr, wr.Unmarshal(raw)
	}
	var v2 writev2.Request
	if err := v2.Unmarshal(raw); err != nil {
		return wr, err
	}
	b := labels.NewScratchBuilder(8)
	for _, ts := range v2.Timeseries {
		out := prompb.TimeSeries{}
		ls, err := ts.ToLabels(&b, v2.Symbols)
		if err != nil {
			return wr, err
		}
		ls.Range(func(l labels.Label) { out.Labels = append(out.Labels, prompb.Label{Name: l.Name, Value: l.Value}) })
		for _, s := range ts.Samples {
			out.Samples = append(out.Samples, prompb.Sample{Timestamp: s.Timestamp, Value: s.Value})
		}
		wr.Timeseries = append(wr.Timeseries, out)
	}
	return wr, nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		if code := r.refuse(); code != 0 {
			http.Error(w, "refused by the test", code)
			return
		}
	}
	wr, err2 := r.message(req, body)
	if err := errors.Join(err, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n := r.store(wr.Timeseries)
	if r.v2 {
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(n))
		w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
		w.Header().Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
	}
}

// store keeps samples. One that it has already, which a retry after an unknown
// outcome may bring, is kept once.
func (r *receiver) store(list []prompb.TimeSeries) (n int) {
	if r.series == nil {
		r.series = map[string][]prompb.Sample{}
	}
	for _, ts := range list {
		key := seriesKey(ts)
		for _, s := range ts.Samples {
			n++
			switch at, found := r.find(key, s); {
			case found:
				r.repeated++
				continue
			case at < len(r.series[key]):
				r.outOfOrder++
			}
			r.series[key] = append(r.series[key], s)
		}
	}
	return n
}

func seriesKey(ts prompb.TimeSeries) string {
	b := labels.NewScratchBuilder(len(ts.Labels))
	for _, l := range ts.Labels {
		b.Add(l.Name, l.Value)
	}
	return b.Labels().String()
}

// find returns where a sample is, or would be.
func (r *receiver) find(key string, s prompb.Sample) (at int, found bool) {
	have := r.series[key]
	at, found = slices.BinarySearchFunc(have, s.Timestamp, func(a prompb.Sample, t int64) int { return cmp.Compare(a.Timestamp, t) })
	return at, found && math.Float64bits(have[at].Value) == math.Float64bits(s.Value)
}

// hasAny reports whether some sample of a request is here already.
func (r *receiver) hasAny(req *http.Request, body []byte) bool {
	wr, _ := r.message(req, body)
	for _, ts := range wr.Timeseries {
		for _, s := range ts.Samples {
			if _, found := r.find(seriesKey(ts), s); found {
				return true
			}
		}
	}
	return false
}

// get returns a copy of what was accepted for a series.
func (r *receiver) get(key string) []prompb.Sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]prompb.Sample(nil), r.series[key]...)
}

// bubble runs a test in fake time. Compressors that an earlier bubble has left in
// pools hold its channels, which must not be used in another one.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	runtime.GC()
	runtime.GC() // what the first leaves, the second takes
	synctest.Test(t, f)
}

// inMemory is a transport that calls a handler, so that time can be fake.
type inMemory struct{ h http.Handler }

func (t *inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	t.h.ServeHTTP(rec, r)
	return rec.Result(), nil
}

// tee notes all frames on their way into the queue.
type tee struct {
	mu    sync.Mutex
	want  map[string][]prompb.Sample
	queue *buffer.Queue
}

func (s *tee) Append(f *model.Frame) {
	s.mu.Lock()
	for i, v := range f.Values {
		if !model.IsAbsent(v) {
			b := labels.NewScratchBuilder(8)
			for _, l := range f.Shape.Labels.Append(nil, i) {
				b.Add(l.Name, l.Value)
			}
			key := b.Labels().String()
			s.want[key] = append(s.want[key], prompb.Sample{Timestamp: f.TimeOf(i), Value: v})
		}
	}
	s.mu.Unlock()
	s.queue.Append(f)
}

// TestEndpointAwayForAMinute takes the endpoint away in several ways while
// targets with changing series are scraped, and audits every sample.
func TestEndpointAwayForAMinute(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		start := time.Now()
		rcv := &receiver{}
		rcv.refuse = func() int {
			since := time.Since(start)
			switch {
			case since < 20*time.Second || since > 80*time.Second:
				return 0
			case since < 40*time.Second:
				return http.StatusServiceUnavailable
			default:
				return http.StatusTooManyRequests
			}
		}
		queue, err := buffer.New(buffer.Config{MaxBytes: 64 << 20, MaxAge: time.Hour}, []buffer.Endpoint{{Name: "far"}}, log)
		require.NoError(t, err)
		sink := &tee{want: map[string][]prompb.Sample{}, queue: queue}
		reg := prometheus.NewRegistry()
		scraper := scrape.New(scrape.Config{UserAgent: "test"}, sink, reg, log)

		page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := int(time.Since(start) / time.Second)
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			if n%17 == 3 {
				w.WriteHeader(http.StatusInternalServerError)
			}
			for i := range 20 + n%7 {
				fmt.Fprintf(w, "m{i=\"%d\"} %d\n", (i+n/10)%30, n)
			}
		})
		cfg, err := config.Load("scrape_configs: [{job_name: j, scrape_interval: 1s, scrape_timeout: 1s}]", log)
		require.NoError(t, err)
		job := scrape.Job{Config: cfg.ScrapeConfigs[0], Transport: &inMemory{page}}
		for i := range 10 {
			job.Targets = append(job.Targets, scrape.Target{
				ID: uint64(i * 7919), URL: fmt.Sprintf("http://target-%d/metrics", i), Interval: time.Second, Timeout: time.Second,
				Labels: labels.FromStrings("job", "j", "instance", fmt.Sprint(i)),
			})
		}
		require.NoError(t, scraper.Apply([]scrape.Job{job}))

		sender, err := send.New(send.Config{
			Endpoint: otelconf.Endpoint{
				Name: "far", URL: "http://far/write", Timeout: 5 * time.Second, MaxShards: 3,
				MaxRequestBytes: 4000, MaxSamplesPerRequest: 300, Retry: otelconf.Retry{Initial: 50 * time.Millisecond, Max: 5 * time.Second},
			},
			BatchTimeout: time.Second, Transport: &inMemory{rcv},
		}, send.NewMetrics(reg), log)
		require.NoError(t, err)
		waiting, err := queue.Feed("far")
		require.NoError(t, err)
		done := make(chan struct{})
		go func() { defer close(done); sender.Run(t.Context(), feed{waiting}) }()

		time.Sleep(79 * time.Second)
		require.Greater(t, queue.State().Endpoints[0].Samples, int64(10000), "the queue holds what could not be sent")
		time.Sleep(41 * time.Second)
		require.Less(t, queue.State().Endpoints[0].OldestAge, 10*time.Second, "caught up while scraping goes on")
		scraper.Stop()
		queue.Close()
		<-done

		require.Zero(t, sender.State().Refused)
		require.Zero(t, sink.audit(t, rcv))
	})
}

// audit compares what was scraped with what arrived, and returns how many samples
// are missing.
func (s *tee) audit(t *testing.T, rcv *receiver) (missing int) {
	t.Helper()
	require.Zero(t, rcv.outOfOrder)
	total := 0
	for key, want := range s.want {
		got := rcv.get(key)
		total += len(want)
		for _, w := range want {
			if len(got) == 0 || got[0].Timestamp != w.Timestamp {
				missing++
				continue
			}
			require.Equal(t, math.Float64bits(w.Value), math.Float64bits(got[0].Value), key)
			got = got[1:]
		}
		require.Empty(t, got, "%s: samples that nobody scraped", key)
	}
	for key := range rcv.series {
		require.Contains(t, s.want, key)
	}
	require.Greater(t, total, 25000)
	return missing
}

func TestCollectorFromPageToEndpoint(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintln(w, `answer{x="1"} 42`)
	}))
	defer target.Close()
	first, second := &receiver{}, &receiver{}
	firstSrv, secondSrv := httptest.NewServer(first), httptest.NewServer(second)
	defer firstSrv.Close()
	defer secondSrv.Close()

	load := func(job string, endpoints ...string) *otelconf.Config {
		cfg := otelconf.New()
		cfg.MetricsAddress, cfg.HealthAddress = "127.0.0.1:0", "127.0.0.1:0"
		cfg.BatchTimeout = 20 * time.Millisecond
		cfg.Global.ExternalLabels = labels.FromStrings("cluster", "test")
		pc, err := config.Load(fmt.Sprintf(`
scrape_configs:
- {job_name: %s, scrape_interval: 100ms, scrape_timeout: 100ms, static_configs: [{targets: [%q], labels: {instance: it}}]}
- {job_name: twin, scrape_interval: 1m, static_configs: [{targets: [%q]}]}
`, job, target.Listener.Addr(), target.Listener.Addr()), slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		cfg.ScrapeConfigs, err = pc.GetScrapeConfigs()
		require.NoError(t, err)
		for i, u := range endpoints {
			e, err := otelconf.NewEndpoint(fmt.Sprintf("e%d", i), u)
			require.NoError(t, err)
			cfg.AddEndpoint(e)
		}
		return cfg
	}
	logs := &syncBuffer{}
	reg := prometheus.NewRegistry()
	c, err := NewCollector(load("j", firstSrv.URL), CollectorDeps{
		Logger: slog.New(slog.NewTextHandler(logs, nil)), Registerer: reg, Gatherer: reg, DrainTimeout: 5 * time.Second,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- c.Run(ctx) }()

	eventually := func(what string, ok func() bool) {
		t.Helper()
		require.Eventually(t, ok, 30*time.Second, 5*time.Millisecond, what)
	}
	series := func(job string) string {
		return fmt.Sprintf(`{__name__="answer", cluster="test", instance="it", job=%q, x="1"}`, job)
	}
	eventually("delivered", func() bool { return len(first.get(series("j"))) >= 3 })
	require.Equal(t, 42.0, first.get(series("j"))[0].Value)

	// Its state tells what goes on.
	fetch := func(i int, path string) (int, string) {
		resp, err := http.Get("http://" + c.Addrs()[i].String() + path)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(b)
	}
	code, body := fetch(0, "/targets")
	require.Equal(t, 200, code)
	require.Contains(t, body, `"health":"up"`)
	require.Contains(t, body, `"__address__":"`+target.Listener.Addr().String())
	require.Contains(t, body, `"jobs":["j","twin"]`)
	_, body = fetch(0, "/queue")
	require.Contains(t, body, `"status":"ok"`)
	_, body = fetch(0, "/metrics")
	require.Contains(t, body, "mangru_collector_duplicate_targets 1")
	require.Contains(t, body, `mangru_collector_sent_samples_total{endpoint="e0"}`)
	for _, name := range []string{
		`otelcol_receiver_accepted_metric_points{receiver="prometheus",transport="http"}`, `otelcol_exporter_sent_metric_points{exporter="e0"}`,
		`otelcol_exporter_queue_size{data_type="metrics",exporter="e0"}`, "otelcol_process_uptime", "otelcol_process_memory_rss",
	} {
		require.Contains(t, body, name)
	}
	code, _ = fetch(1, "/")
	require.Equal(t, 200, code)
	require.Contains(t, logs.String(), "jobs scrape the same targets")

	// A second endpoint joins and another job takes over; the old series end.
	require.NoError(t, c.Reload(load("k", firstSrv.URL, secondSrv.URL)))
	eventually("both endpoints get the new job", func() bool {
		return len(first.get(series("k"))) >= 2 && len(second.get(series("k"))) >= 2
	})
	eventually("the old job's series are stale", func() bool {
		got := first.get(series("j"))
		return model.IsStale(got[len(got)-1].Value)
	})
	// A bad configuration changes nothing.
	bad := load("k", firstSrv.URL)
	bad.Endpoints[0].Timeout = 0
	require.Error(t, c.Reload(bad))
	n := len(second.get(series("k")))
	eventually("still running", func() bool { return len(second.get(series("k"))) > n })

	cancel()
	require.NoError(t, <-result)
	require.Contains(t, logs.String(), "stopped with everything delivered")
	require.Zero(t, first.outOfOrder+second.outOfOrder)
}

func TestCollectorStopsInTimeAndSaysWhatIsLeft(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintln(w, "m 1")
	}))
	defer target.Close()
	away := httptest.NewServer(&receiver{refuse: func() int { return 503 }})
	defer away.Close()
	cfg := otelconf.New()
	cfg.MetricsAddress = ""
	cfg.BatchTimeout = time.Millisecond
	pc, err := config.Load(fmt.Sprintf("scrape_configs: [{job_name: j, scrape_interval: 50ms, scrape_timeout: 50ms, static_configs: [{targets: [%q]}]}]", target.Listener.Addr()), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	cfg.ScrapeConfigs = pc.ScrapeConfigs
	e, err := otelconf.NewEndpoint("away", away.URL)
	require.NoError(t, err)
	cfg.AddEndpoint(e)
	logs := &syncBuffer{}
	c, err := NewCollector(cfg, CollectorDeps{
		Logger: slog.New(slog.NewTextHandler(logs, nil)), Registerer: prometheus.NewRegistry(), DrainTimeout: 100 * time.Millisecond,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- c.Run(ctx) }()
	require.Eventually(t, func() bool {
		return c.Queue().Queue.Endpoints[0].Samples > 0 && c.Queue().Senders[0].Status == send.StatusRetrying
	}, 30*time.Second, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-result)
	require.Contains(t, logs.String(), "stopped with samples undelivered")
	st := c.Queue().Queue.Endpoints[0]
	require.Zero(t, st.Samples)
	require.Positive(t, st.Dropped[buffer.ReasonShutdown])
}

// syncBuffer is a buffer for logs of many goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
