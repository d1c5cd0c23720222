package scrape

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/mangru/mangru/internal/model"
)

// answer is what the target says to one scrape.
type answer struct {
	name        string
	status      int
	contentType string
	body        string
}

const textType = "text/plain; version=0.0.4; charset=utf-8"

const protoType = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

// nativeHistogram is a page in protobuf with a histogram in both forms, so many
// native buckets, and with exemplars.
func nativeHistogram(buckets int) string {
	deltas := make([]int64, max(1, buckets))
	count, in := int64(1), int64(0)
	for i := range deltas {
		deltas[i] = int64(1 - 2*(i%2))
		if i == 0 {
			deltas[i] = 2
		}
		in += deltas[i]
		count += in
	}
	if buckets == 0 {
		count = 77 // more than the buckets have
	}
	h := &dto.Histogram{
		SampleCount: proto.Uint64(uint64(count)), SampleSum: proto.Float64(3.5), Schema: proto.Int32(5),
		ZeroThreshold: proto.Float64(1e-9), ZeroCount: proto.Uint64(1),
		PositiveSpan:  []*dto.BucketSpan{{Offset: proto.Int32(-2), Length: proto.Uint32(uint32(len(deltas)))}},
		PositiveDelta: deltas,
		Bucket: []*dto.Bucket{
			{UpperBound: proto.Float64(1), CumulativeCount: proto.Uint64(3)},
			{UpperBound: proto.Float64(2), CumulativeCount: proto.Uint64(uint64(count))},
		},
	}
	var b bytes.Buffer
	for _, mf := range []*dto.MetricFamily{
		{Name: proto.String("native"), Help: proto.String("both"), Type: dto.MetricType_HISTOGRAM.Enum(), Metric: []*dto.Metric{{Histogram: h}}},
		{Name: proto.String("plain"), Type: dto.MetricType_COUNTER.Enum(), Metric: []*dto.Metric{{Counter: &dto.Counter{Value: proto.Float64(2)}}}},
	} {
		if _, err := protodelim.MarshalTo(&b, mf); err != nil {
			panic(err)
		}
	}
	return b.String()
}

// script is a life of a target with everything that bends the rules. now is in
// milliseconds.
func script(now int64) []answer {
	ts := func(seconds int64) string { return fmt.Sprint(now + 1000*seconds) }
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "many{i=\"%d\"} %d\n", i, i)
		}
		return b.String()
	}
	first := `# HELP a help
# TYPE a gauge
a{x="1"} 1
a{x="2"} 2
nan NaN
inf{s="+"} +Inf
inf{s="-"} -Inf
zero -0
lab{job="exposed",instance="me",exported_job="deep"} 7
utf{x="grüß \"q\" \\ \n"} 1
# TYPE h histogram
h_bucket{le="1"} 3
h_bucket{le="+Inf"} 4
h_sum 5
h_count 4
drop_me 1
`
	return []answer{
		{"first", 200, textType, first},
		{"same again", 200, textType, first},
		{"order changed, one gone, one new", 200, textType, "new 1\na{x=\"2\"} 5\nzero 0\nnan 1\n"},
		{"server error", 500, textType, "a 1\n"},
		{"back", 200, textType, first},
		{"parse error at once", 200, textType, "a{x=\n"},
		{"back", 200, textType, first},
		{"same text twice", 200, textType, "a{x=\"1\"} 1\na{x=\"1\"} 2\nb 1\nb 1\n"},
		{"same series, two texts", 200, textType, "c{x=\"1\",y=\"2\"} 1\nc{y=\"2\",x=\"1\"} 1\nd{x=\"1\",y=\"2\"} 1\nd{y=\"2\",x=\"1\"} 2\n"},
		{"joined by relabelling", 200, textType, "merge{cut=\"1\"} 1\nmerge{cut=\"2\"} 2\nmerge_same{cut=\"1\"} 4\nmerge_same{cut=\"2\"} 4\n"},
		{"own times", 200, textType, "o 1 " + ts(-60) + "\np 1 " + ts(-50) + "\nq 9 " + ts(3600) + "\nplain 1\n"},
		{"own times again and back", 200, textType, "o 1 " + ts(-60) + "\np 2 " + ts(-55) + "\nplain 1\n"},
		{"own times on and equal", 200, textType, "o 2 " + ts(-40) + "\np 3 " + ts(-50) + "\n"},
		{"two own times of one", 200, textType, "o 3 " + ts(-39) + "\no 4 " + ts(-38) + "\no 5 " + ts(-39) + "\n"},
		{"own time, then none", 200, textType, "o 6\n"},
		{"back", 200, textType, first},
		{"empty page", 200, textType, ""},
		{"back", 200, textType, first},
		{"exposes up", 200, textType, "up 5\nscrape_series_added 9\na{x=\"1\"} 1\n"},
		{"no content type", 200, "", "a{x=\"1\"} 3\n"},
		{"unknown content type", 200, "application/x-thing", "a{x=\"1\"} 4\n"},
		{"openmetrics", 200, "application/openmetrics-text; version=1.0.0", "# TYPE om counter\nom_total 5 " + fmt.Sprint(now/1000) + " # {trace=\"1\"} 1\nom_created 123\n# TYPE g gauge\ng 1\n# EOF\n"},
		{"openmetrics cut off", 200, "application/openmetrics-text; version=1.0.0", "# TYPE g gauge\n"},
		{"back", 200, textType, first},
		{"label too long", 200, textType, "long{l=\"" + strings.Repeat("x", 300) + "\"} 1\n"},
		{"many", 200, textType, many(40)},
		{"fewer", 200, textType, many(10)},
		{"more again", 200, textType, many(40)},
		{"protobuf", 200, protoType, nativeHistogram(4)},
		{"protobuf, grown", 200, protoType, nativeHistogram(9)},
		{"protobuf, wrong count", 200, protoType, nativeHistogram(0)},
		{"protobuf, too fine", 200, protoType, nativeHistogram(400)},
		{"label twice", 200, textType, "a{x=\"1\",x=\"2\"} 1\n"},
		{"back", 200, textType, first},
		{"name twice", 200, textType, "a{__name__=\"b\"} 1\n"},
		{"all gone", 200, textType, "last 1\n"},
		{"end", 200, textType, first},
	}
}

// stage serves a script, to each user agent at its own pace.
type stage struct {
	mu    sync.Mutex
	steps []answer
	at    map[string]int
	head  map[string]http.Header // of the last request
}

// done reports whether an agent has seen all pages of all jobs.
func (s *stage) done(agent string, jobs []*config.ScrapeConfig, scrapes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range jobs {
		if s.at[agent+j.MetricsPath] <= scrapes {
			return false
		}
	}
	return true
}

func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	who := r.Header.Get("User-Agent") + r.URL.Path
	i := s.at[who]
	s.at[who]++
	s.head[who] = r.Header.Clone()
	a := s.steps[min(i, len(s.steps)-1)]
	s.mu.Unlock()
	w.Header()["Content-Type"] = nil
	if a.contentType != "" {
		w.Header().Set("Content-Type", a.contentType)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write([]byte(a.body))
}

// history is what a receiver has at the end: by series, by time, bits of value.
type history map[string]map[int64]uint64

func (h history) add(series string, t int64, v float64) {
	if h[series] == nil {
		h[series] = map[int64]uint64{}
	}
	h[series][t] = math.Float64bits(v)
}

// addHistogram stands for a histogram by a hash of what it says.
func (h history) addHistogram(series string, t int64, fh *histogram.FloatHistogram) {
	h.add(series, t, float64(xxhash.Sum64String(fh.String())))
}

func decodeHistogram(b []byte) *histogram.FloatHistogram {
	var m prompb.Histogram
	if err := m.Unmarshal(b); err != nil {
		panic(err)
	}
	return m.ToFloatHistogram()
}

// frames is a sink.
type frames struct {
	mu   sync.Mutex
	list []*model.Frame
	more chan struct{}
}

func newFrames() *frames { return &frames{more: make(chan struct{}, 1)} }

func (s *frames) Append(f *model.Frame) {
	s.mu.Lock()
	s.list = append(s.list, f)
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func key(ls []model.Label) string {
	b := labels.NewScratchBuilder(len(ls))
	for _, l := range ls {
		b.Add(l.Name, l.Value)
	}
	return b.Labels().String()
}

func (s *frames) history() history {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := history{}
	for _, f := range s.list {
		for _, x := range f.Extras {
			if x.Kind == model.ExtraHistogram {
				h.addHistogram(key(f.Shape.Labels.Append(nil, int(x.Slot))), x.Time, decodeHistogram(x.Histogram))
				continue
			}
			h.add(key(f.Shape.Labels.Append(nil, int(x.Slot))), x.Time, x.Value)
		}
		for i, v := range f.Values {
			if !model.IsAbsent(v) {
				h.add(key(f.Shape.Labels.Append(nil, i)), f.TimeOf(i), v)
			}
		}
	}
	return h
}

func dump(t *testing.T, db *tsdb.DB) history {
	t.Helper()
	q, err := db.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer func() { require.NoError(t, q.Close()) }()
	h := history{}
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	for set.Next() {
		s := set.At()
		it := s.Iterator(nil)
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			if typ == chunkenc.ValFloat {
				ts, v := it.At()
				h.add(s.Labels().String(), ts, v)
				continue
			}
			ts, fh := it.AtFloatHistogram(nil)
			if value.IsStaleNaN(fh.Sum) { // the store's form of a marker
				h.add(s.Labels().String(), ts, model.Stale())
				continue
			}
			h.addHistogram(s.Labels().String(), ts, fh)
		}
		require.NoError(t, it.Err())
	}
	require.NoError(t, set.Err())
	return h
}

// lines writes a history down by the number of the scrape, for comparing.
func lines(h history, job string, scrapes int) []string {
	var times []int64
	up := fmt.Sprintf(`{__name__="up", instance="it", job=%q}`, job)
	for t := range h[up] {
		times = append(times, t)
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	number := map[int64]int{}
	for i, t := range times {
		number[t] = i
	}
	var out []string
	for series, samples := range h {
		if strings.Contains(series, "scrape_duration_seconds") || !strings.Contains(series, fmt.Sprintf("job=%q", job)) {
			continue
		}
		var last int64
		for t := range samples {
			last = max(last, t)
		}
		for t, bits := range samples {
			v := fmt.Sprint(math.Float64frombits(bits))
			if bits == model.StaleBits {
				v = "stale"
			}
			n, ok := number[t]
			switch {
			case !ok:
				out = append(out, fmt.Sprintf("own time %d: %s %s", t, series, v))
			case n < scrapes:
				out = append(out, fmt.Sprintf("scrape %02d: %s %s", n, series, v))
			case t == last:
				out = append(out, fmt.Sprintf("in the end: %s %s", series, v))
			}
		}
	}
	sort.Strings(out)
	return out
}

// TestAgainstPrometheus lets Prometheus' own scrape manager, writing to its own
// store, and ours scrape the same target through the same life, and compares
// every sample and marker.
func TestAgainstPrometheus(t *testing.T) {
	now := time.Now().UnixMilli()
	st := &stage{steps: script(now), at: map[string]int{}, head: map[string]http.Header{}}
	srv := httptest.NewServer(st)
	defer srv.Close()
	variants := map[string]string{
		"plain":   "honor_labels: false",
		"honor":   "honor_labels: true",
		"untimed": "honor_timestamps: false",
		"tracked": "track_timestamps_staleness: true",
		"extra":   "extra_scrape_metrics: true",
		"native":  "scrape_native_histograms: true",
		"both":    "scrape_native_histograms: true\n  always_scrape_classic_histograms: true\n  native_histogram_bucket_limit: 100",
		"coarse":  "scrape_native_histograms: true\n  native_histogram_min_bucket_factor: 1.5",
		"custom":  "scrape_native_histograms: true\n  convert_classic_histograms_to_nhcb: true",
	}
	text := "scrape_configs:"
	for name, extra := range variants {
		text += fmt.Sprintf(`
- job_name: %s
  metrics_path: /%s
  scrape_interval: 200ms
  scrape_timeout: 200ms
  label_value_length_limit: 200
  fallback_scrape_protocol: PrometheusText0.0.4
  %s
  static_configs: [{targets: [%q], labels: {instance: it}}]
  metric_relabel_configs:
  - {source_labels: [__name__], regex: drop_me, action: drop}
  - {regex: cut, action: labeldrop}
`, name, name, extra, strings.TrimPrefix(srv.URL, "http://"))
	}
	cfg := loadConfig(t, text)
	scrapes := len(st.steps) - 1
	ours := startOurs(t, cfg, srv.URL, false)
	want := runPrometheus(t, cfg, st, scrapes, promscrape.Options{})
	got := ours(st, scrapes)
	for name := range variants {
		t.Run(name, func(t *testing.T) {
			for _, h := range []string{"Accept", "Accept-Encoding", "X-Prometheus-Scrape-Timeout-Seconds"} {
				require.NotEmpty(t, st.head["ours/"+name].Get(h))
				require.Equal(t, st.head[promscrape.UserAgent+"/"+name].Get(h), st.head["ours/"+name].Get(h), h)
			}
			require.Empty(t, differences(lines(want, name, scrapes), lines(got, name, scrapes)))
		})
	}
}

// TestStartTimesAgainstPrometheus compares the zeroes that both add where series
// say when they began.
func TestStartTimesAgainstPrometheus(t *testing.T) {
	const om = "application/openmetrics-text; version=1.0.0"
	now := time.Now().Unix()
	page := func(created int64, v int) answer {
		return answer{"", 200, om, fmt.Sprintf("# TYPE c counter\nc_total %d\nc_created %d\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} %d\nh_count %d\nh_sum 1\nh_created %d\n# TYPE g gauge\ng 1\n# EOF\n", v, created, v, v, created)}
	}
	st := &stage{steps: []answer{
		page(now-100, 1), page(now-100, 2), page(now-90, 1), page(now-90, 3), page(now+3600, 1), page(now-90, 4),
		{"", 200, protoType, nativeHistogram(4)}, page(now-80, 1), page(now-80, 1),
	}, at: map[string]int{}, head: map[string]http.Header{}}
	srv := httptest.NewServer(st)
	defer srv.Close()
	cfg := loadConfig(t, fmt.Sprintf("scrape_configs: [{job_name: zero, metrics_path: /zero, scrape_interval: 200ms, scrape_timeout: 200ms, static_configs: [{targets: [%q], labels: {instance: it}}]}]",
		strings.TrimPrefix(srv.URL, "http://")))
	scrapes := len(st.steps) - 1
	ours := startOurs(t, cfg, srv.URL, true)
	want := runPrometheus(t, cfg, st, scrapes, promscrape.Options{EnableStartTimestampZeroIngestion: true})
	got := ours(st, scrapes)
	require.Contains(t, strings.Join(lines(want, "zero", scrapes), "\n"), fmt.Sprintf("own time %d", 1000*(now-100)))
	require.Empty(t, differences(lines(want, "zero", scrapes), lines(got, "zero", scrapes)))
}

// onPurpose says where we part from Prometheus v0.315, and why.
var onPurpose = map[string]string{
	// A page that exposed up itself and does so no more: Prometheus writes a
	// marker in place of its own up, and so loses one sample of it.
	`- scrape 19: {__name__="up", stale`:                  "up is always reported",
	`+ scrape 19: {__name__="up", 1`:                      "up is always reported",
	`- scrape 19: {__name__="scrape_series_added", stale`: "scrape_* are always reported",
	`+ scrape 19: {__name__="scrape_series_added", 0`:     "scrape_* are always reported",
}

// differences lists the lines that only one side has, save those on purpose.
func differences(want, got []string) (out []string) {
	n := map[string]int{}
	for _, l := range want {
		n[l]--
	}
	for _, l := range got {
		n[l]++
	}
	for l, k := range n {
		sign := "- "
		if k > 0 {
			sign = "+ "
		}
		short, _, _ := strings.Cut(l, " instance=")
		if _, ok := onPurpose[sign+short+l[strings.LastIndex(l, " "):]]; k != 0 && !ok {
			out = append(out, sign+l)
		}
	}
	sort.Strings(out)
	return out
}

func loadConfig(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Load(text, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	_, err = cfg.GetScrapeConfigs()
	require.NoError(t, err)
	return cfg
}

const patience = 60 * time.Second

func runPrometheus(t *testing.T, cfg *config.Config, st *stage, scrapes int, o promscrape.Options) history {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), nil, nil, tsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	o.DiscoveryReloadInterval = commonmodel.Duration(20 * time.Millisecond)
	mgr, err := promscrape.NewManager(&o, nil, nil, db, nil, prometheus.NewRegistry())
	require.NoError(t, err)
	require.NoError(t, mgr.ApplyConfig(cfg))
	tsets := make(chan map[string][]*targetgroup.Group)
	done := make(chan struct{})
	go func() { defer close(done); _ = mgr.Run(tsets) }()
	groups, none := map[string][]*targetgroup.Group{}, map[string][]*targetgroup.Group{}
	for _, sc := range cfg.ScrapeConfigs {
		groups[sc.JobName] = sc.ServiceDiscoveryConfigs[0].(discovery.StaticConfig)
		none[sc.JobName] = nil
	}
	tsets <- groups
	require.Eventually(t, func() bool { return st.done(promscrape.UserAgent, cfg.ScrapeConfigs, scrapes) }, patience, 5*time.Millisecond)
	tsets <- none
	require.Eventually(t, func() bool { return ended(dump(t, db), cfg.ScrapeConfigs) }, patience, 50*time.Millisecond)
	mgr.Stop()
	<-done
	return dump(t, db)
}

// ended reports whether the newest sample of up is a staleness marker.
func ended(h history, jobs []*config.ScrapeConfig) bool {
	for _, j := range jobs {
		samples := h[fmt.Sprintf(`{__name__="up", instance="it", job=%q}`, j.JobName)]
		var last int64
		for t := range samples {
			last = max(last, t)
		}
		if samples[last] != model.StaleBits {
			return false
		}
	}
	return true
}

func startOurs(t *testing.T, cfg *config.Config, target string, zeroes bool) func(st *stage, scrapes int) history {
	t.Helper()
	sink := newFrames()
	m := New(Config{UserAgent: "ours"}, sink, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	t.Cleanup(m.Stop)
	var jobs, none []Job
	for i, sc := range cfg.ScrapeConfigs {
		none = append(none, Job{Config: sc})
		jobs = append(jobs, Job{Config: sc, CreatedZeroes: zeroes, Targets: []Target{{
			ID: uint64(i), URL: target + sc.MetricsPath,
			Interval: time.Duration(sc.ScrapeInterval), Timeout: time.Duration(sc.ScrapeTimeout),
			Labels: labels.FromStrings("job", sc.JobName, "instance", "it", "__address__", "x"),
		}}})
	}
	require.NoError(t, m.Apply(jobs))
	return func(st *stage, scrapes int) history {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		sink.await(t, ctx, func() bool { return st.done("ours", cfg.ScrapeConfigs, scrapes) })
		require.NoError(t, m.Apply(none))
		sink.await(t, ctx, func() bool { return ended(sink.history(), cfg.ScrapeConfigs) })
		return sink.history()
	}
}

// await waits until a frame has come for which the condition holds.
func (s *frames) await(t *testing.T, ctx context.Context, ok func() bool) {
	t.Helper()
	for !ok() {
		select {
		case <-s.more:
		case <-ctx.Done():
			t.Fatal("waited in vain")
		}
	}
}
