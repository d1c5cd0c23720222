package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/server/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ws = "ws-1"

// target is a real workspace, with commits that fail when told to.
type target struct {
	*store.Handle
	f *fixture
}

func (t target) Appender(ctx context.Context) storage.Appender {
	app := t.Handle.Appender(ctx)
	if t.f.commit != nil {
		return failingAppender{app, t.f.commit}
	}
	return app
}

type failingAppender struct {
	storage.Appender
	err error
}

func (a failingAppender) Commit() error {
	_ = a.Rollback()
	return a.err
}

type fixture struct {
	*Handler
	store       *store.Store
	storeConfig store.Config
	now         time.Time
	commit      error
}

// open makes a handler over a store. The limits are those of change, if given.
func open(t testing.TB, l Limits, change ...func(*Config, *store.Config)) *fixture {
	t.Helper()
	f := &fixture{now: time.UnixMilli(1_800_000_000_000)}
	cfg := Config{Limits: l, Now: func() time.Time { return f.now }, Registerer: prometheus.NewRegistry(), Series: NewSeriesCounts(),
		Open: func(ctx context.Context, id string) (Target, error) {
			h, err := f.store.AcquireWrite(ctx, id)
			return target{h, f}, err
		}}
	storeCfg := store.Config{Dir: t.TempDir(), MaxExemplars: 100, MinFreeDisk: -1, SeriesCallback: cfg.Series.Callback}
	for _, c := range change {
		c(&cfg, &storeCfg)
	}
	f.storeConfig = storeCfg
	var err error
	f.store, err = store.New(storeCfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.store.Close(context.Background())) })
	require.NoError(t, f.store.Create(context.Background(), ws))
	f.Handler, err = New(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return f
}

// db returns the workspace's database for the time of the test.
func (f *fixture) db(t testing.TB) *store.Handle {
	t.Helper()
	h, err := f.store.AcquireRead(context.Background(), ws)
	require.NoError(t, err)
	t.Cleanup(h.Release)
	return h
}

func (f *fixture) cache(t testing.TB) *seriesCache {
	t.Helper()
	return f.db(t).Value(cacheKey{}, nil).(*seriesCache)
}

func encode(series ...prompb.TimeSeries) []byte {
	msg, err := (&prompb.WriteRequest{Timeseries: series}).Marshal()
	if err != nil {
		panic(err)
	}
	return snappy.Encode(nil, msg)
}

// one makes a series with a sample at f.now and those after it in seconds.
func (f *fixture) one(value float64, pairs ...string) prompb.TimeSeries {
	ts := prompb.TimeSeries{Samples: []prompb.Sample{{Value: value, Timestamp: f.now.UnixMilli()}}}
	for i := 0; i < len(pairs); i += 2 {
		ts.Labels = append(ts.Labels, prompb.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return ts
}

func (f *fixture) post(t testing.TB, body []byte) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	require.NoError(t, f.ServeWorkspace(w, httptest.NewRequest("POST", "/", bytes.NewReader(body)), ws))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func (f *fixture) read(t testing.TB) map[string][]float64 {
	t.Helper()
	q, err := f.db(t).Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer func() { _ = q.Close() }()
	out := map[string][]float64{}
	set := q.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			_, v := it.At()
			out[set.At().Labels().String()] = append(out[set.At().Labels().String()], v)
		}
	}
	require.NoError(t, set.Err())
	return out
}

func (f *fixture) metadata(t testing.TB) map[string][3]string {
	t.Helper()
	out := map[string][3]string{}
	f.db(t).EachMetadata("", func(family, typ, help, unit string) bool {
		out[family] = [3]string{typ, help, unit}
		return true
	})
	return out
}

func (f *fixture) discarded(r reason) float64 {
	return testutil.ToFloat64(f.metrics.discarded.WithLabelValues(ws, string(r)))
}

func TestLabelsComeOutRight(t *testing.T) {
	f := open(t, Limits{})
	// Unsorted, with an empty value, and with UTF-8.
	code, body := f.post(t, encode(f.one(1, "job", "a", "__name__", "up", "gone", "", "é.x", "ü")))
	require.Equal(t, 200, code, body)
	require.Empty(t, body)
	require.Equal(t, map[string][]float64{`{__name__="up", job="a", "é.x"="ü"}`: {1}}, f.read(t))
}

func TestKnownSeriesGoByReference(t *testing.T) {
	f := open(t, Limits{})
	for i := range 3 {
		code, body := f.post(t, encode(f.one(float64(i), "__name__", "a"), f.one(float64(10+i), "__name__", "b")))
		require.Equal(t, 200, code, body)
		f.now = f.now.Add(time.Second)
	}
	require.Equal(t, map[string][]float64{`{__name__="a"}`: {0, 1, 2}, `{__name__="b"}`: {10, 11, 12}}, f.read(t))
	cache := f.cache(t)
	require.Equal(t, 2, cache.size())

	// A reference to a series that has left memory is found out and renewed.
	msg := f.one(5, "__name__", "a")
	at := cache.find(cache.bytesKey(mustLabelBytes(t, msg)), 0)
	require.NotZero(t, cache.entries[at].ref)
	cache.entries[at].ref = 999_999
	code, body := f.post(t, encode(msg))
	require.Equal(t, 200, code, body)
	require.Equal(t, []float64{0, 1, 2, 5}, f.read(t)[`{__name__="a"}`])
	require.NotEqual(t, storage.SeriesRef(999_999), cache.entries[at].ref)
}

func mustLabelBytes(t testing.TB, ts prompb.TimeSeries) []byte {
	t.Helper()
	ts.Samples = nil
	b, err := ts.Marshal()
	require.NoError(t, err)
	return b
}

func TestEndedSeriesLeaveTheCache(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := newSeriesCache(now)
	a, b := c.bytesKey([]byte("a")), c.bytesKey([]byte("b"))
	require.NotEqual(t, a, b)
	c.add(a, 1, 0)
	c.add(b, 2, 0)
	for range 3 {
		now = now.Add(cacheTurn)
		c.tidy(now, 2)
		at := c.find(a, 0)
		require.Equal(t, storage.SeriesRef(1), c.entries[at].ref)
		c.entries[at].touch(c.turn)
	}
	require.Negative(t, c.find(b, 0))
	require.Equal(t, 1, c.size())
}

func TestCacheIsBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := newSeriesCache(now)
	for i := range minCache + 5 {
		k := c.bytesKey(fmt.Append(nil, i))
		c.add(k, storage.SeriesRef(i+1), 0)
		require.Equal(t, storage.SeriesRef(i+1), c.entries[c.find(k, 0)].ref)
	}
	c.tidy(now, 2)
	require.Equal(t, minCache+5, c.size(), "four for each series are no reason")
	c.tidy(now, 1)
	require.Zero(t, c.size())
	c.add(c.bytesKey([]byte("x")), 1, 0)
	require.Equal(t, 1, c.size())
}

func TestDiscards(t *testing.T) {
	limits := Limits{OutOfOrderWindow: time.Minute, MaxLabels: 3, MaxLabelName: 10, MaxLabelValue: 10, MaxSeries: 3, MaxSampleAge: time.Hour, MaxSampleFuture: time.Minute}
	late := func(f *fixture, d time.Duration) prompb.TimeSeries {
		ts := f.one(1, "__name__", "ok")
		ts.Samples[0].Timestamp += d.Milliseconds()
		return ts
	}
	for name, tc := range map[string]struct {
		series func(f *fixture) prompb.TimeSeries
		want   reason
		text   string
	}{
		"no name":           {func(f *fixture) prompb.TimeSeries { return f.one(1, "a", "b") }, reasonNoName, "without a metric name"},
		"empty name":        {func(f *fixture) prompb.TimeSeries { return f.one(1, "__name__", "") }, reasonNoName, "without a metric name"},
		"no labels":         {func(f *fixture) prompb.TimeSeries { return f.one(1) }, reasonNoName, "without a metric name"},
		"label count":       {func(f *fixture) prompb.TimeSeries { return f.one(1, "__name__", "x", "a", "1", "b", "1", "c", "1") }, reasonLabelCount, "limits.max_labels"},
		"name length":       {func(f *fixture) prompb.TimeSeries { return f.one(1, "__name__", "x", "abcdefghijk", "1") }, reasonNameLength, "limits.max_label_name"},
		"value length":      {func(f *fixture) prompb.TimeSeries { return f.one(1, "__name__", "x", "a", "12345678901") }, reasonValueLength, "limits.max_label_value"},
		"label twice":       {func(f *fixture) prompb.TimeSeries { return f.one(1, "__name__", "x", "a", "1", "a", "2") }, reasonDuplicateLabel, `duplicate label name "a"`},
		"label not UTF-8":   {func(f *fixture) prompb.TimeSeries { return f.one(1, "__name__", "x", "a", "\xff") }, reasonLabelInvalid, "not valid UTF-8"},
		"metric not UTF-8":  {func(f *fixture) prompb.TimeSeries { return f.one(1, "__name__", "\xff") }, reasonMetricName, "not valid UTF-8"},
		"nameless label":    {func(f *fixture) prompb.TimeSeries { return f.one(1, "__name__", "x", "", "y") }, reasonLabelInvalid, "no name"},
		"too old":           {func(f *fixture) prompb.TimeSeries { return late(f, -time.Hour-time.Second) }, reasonTooOld, "limits.max_sample_age"},
		"in the future":     {func(f *fixture) prompb.TimeSeries { return late(f, time.Minute+time.Second) }, reasonFuture, "limits.max_sample_future"},
		"behind the window": {func(f *fixture) prompb.TimeSeries { return late(f, -61*time.Second) }, reasonBehindWindow, `{__name__="ok"}`},
		"other value":       {func(f *fixture) prompb.TimeSeries { ts := late(f, 0); ts.Samples[0].Value = 7; return ts }, reasonDuplicate, `{__name__="ok"}`},
		"series limit":      {func(f *fixture) prompb.TimeSeries { return f.one(1, "__name__", "fourth") }, reasonSeriesLimit, "per-user series limit of 3 exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, limits)
			code, body := f.post(t, encode(f.one(1, "__name__", "ok"), f.one(1, "__name__", "second"), f.one(1, "__name__", "third")))
			require.Equal(t, 200, code, body)
			f.now = f.now.Add(0)
			// The good one in the same request is stored.
			good := f.one(2, "__name__", "second")
			good.Samples[0].Timestamp += 1000
			code, body = f.post(t, encode(tc.series(f), good))
			require.Equal(t, 400, code)
			require.Contains(t, body, tc.text)
			require.Equal(t, 1.0, f.discarded(tc.want))
			require.Equal(t, []float64{1, 2}, f.read(t)[`{__name__="second"}`])
			require.Equal(t, 4.0, testutil.ToFloat64(f.metrics.stored.WithLabelValues(ws)))
		})
	}
}

func TestSeriesLimitSparesKnownSeries(t *testing.T) {
	f := open(t, Limits{MaxSeries: 1})
	code, body := f.post(t, encode(f.one(1, "__name__", "a", "x", "1")))
	require.Equal(t, 200, code, body)
	f.now = f.now.Add(time.Second)
	// The same series with its labels in another order is not in the cache.
	code, body = f.post(t, encode(f.one(2, "x", "1", "__name__", "a")))
	require.Equal(t, 200, code, body)
	require.Equal(t, []float64{1, 2}, f.read(t)[`{__name__="a", x="1"}`])
}

func TestOutOfOrderInsideTheWindow(t *testing.T) {
	f := open(t, Limits{})
	ts := f.one(1, "__name__", "a")
	ts.Samples = append(ts.Samples, prompb.Sample{Value: 0, Timestamp: ts.Samples[0].Timestamp - 30_000})
	code, body := f.post(t, encode(ts))
	require.Equal(t, 200, code, body)
	require.Equal(t, []float64{0, 1}, f.read(t)[`{__name__="a"}`])
	// The same again is no error: senders retry.
	code, body = f.post(t, encode(ts))
	require.Equal(t, 200, code, body)
}

func TestHistogramsExemplarsMetadata(t *testing.T) {
	f := open(t, Limits{})
	h := prompb.FromIntHistogram(f.now.UnixMilli(), &histogram.Histogram{Schema: 1, Count: 2, Sum: 3, PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []int64{2}})
	series := f.one(1, "__name__", "c")
	series.Exemplars = []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "t"}}, Value: 1, Timestamp: f.now.UnixMilli()}}
	hist := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "h"}}, Histograms: []prompb.Histogram{h}}
	msg, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{series, hist},
		Metadata: []prompb.MetricMetadata{{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "c", Help: "H", Unit: "U"}}}).Marshal()
	require.NoError(t, err)
	code, body := f.post(t, snappy.Encode(nil, msg))
	require.Equal(t, 200, code, body)
	require.Equal(t, map[string][3]string{"c": {"counter", "H", "U"}}, f.metadata(t))
	require.Equal(t, 2.0, testutil.ToFloat64(f.metrics.stored.WithLabelValues(ws)))
	q, err := f.db(t).Querier(0, math.MaxInt64)
	require.NoError(t, err)
	defer func() { _ = q.Close() }()
	set := q.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "h"))
	require.True(t, set.Next())
	require.Equal(t, chunkenc.ValHistogram, set.At().Iterator(nil).Next())
	eq, err := f.db(t).ExemplarQuerier(context.Background())
	require.NoError(t, err)
	got, err := eq.Select(0, math.MaxInt64, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "c")})
	require.NoError(t, err)
	require.Len(t, got, 1)

	broken := prompb.TimeSeries{Labels: hist.Labels, Histograms: []prompb.Histogram{{Timestamp: f.now.UnixMilli() + 1, Schema: 1, Count: &prompb.Histogram_CountInt{CountInt: 9}}}}
	code, _ = f.post(t, encode(broken))
	require.Equal(t, 400, code)
}

func TestWholeRequestRefused(t *testing.T) {
	f := open(t, Limits{MaxDecompressedBytes: 1000, MaxSeriesPerRequest: 2})
	post := func(change func(*http.Request), body []byte) int {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		change(r)
		w := httptest.NewRecorder()
		require.NoError(t, f.ServeWorkspace(w, r, ws))
		return w.Code
	}
	set := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	good := encode(f.one(1, "__name__", "a"))
	require.Equal(t, 415, post(set("Content-Type", "application/json"), good))
	require.Equal(t, 415, post(set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v3.Request"), good))
	require.Equal(t, 415, post(set("Content-Encoding", "gzip"), good))
	require.Equal(t, 200, post(set("Content-Type", "application/x-protobuf;proto=prometheus.WriteRequest"), good))
	require.Equal(t, 400, post(set("A", "b"), []byte("x")))
	require.Equal(t, 413, post(set("A", "b"), snappy.Encode(nil, make([]byte, 1001))))
	require.Equal(t, 413, post(set("A", "b"), encode(f.one(1, "__name__", "b"), f.one(1, "__name__", "c"), f.one(1, "__name__", "d"))))
	// Nothing of a message that breaks off half way is kept.
	msg, _ := snappy.Decode(nil, encode(f.one(1, "__name__", "half")))
	require.Equal(t, 400, post(set("A", "b"), snappy.Encode(nil, append(msg, 0x0a, 0x05))))
	require.Len(t, f.read(t), 1)
}

type waiting struct{ error }

func (waiting) Unavailable() bool { return true }

func TestFailureToStoreIsNotAcknowledged(t *testing.T) {
	f := open(t, Limits{})
	f.commit = waiting{errors.New("no space left")}
	code, body := f.post(t, encode(f.one(1, "__name__", "a")))
	require.Equal(t, 503, code)
	require.Contains(t, body, "no space left")
	require.Zero(t, testutil.ToFloat64(f.metrics.stored.WithLabelValues(ws)))
	f.commit = errors.New("broken")
	err := f.ServeWorkspace(httptest.NewRecorder(), httptest.NewRequest("POST", "/", bytes.NewReader(encode(f.one(1, "__name__", "a")))), ws)
	require.ErrorContains(t, err, "broken")
	f.commit = nil
	code, _ = f.post(t, encode(f.one(1, "__name__", "a")))
	require.Equal(t, 200, code)
	require.Equal(t, []float64{1}, f.read(t)[`{__name__="a"}`])
}

func TestForget(t *testing.T) {
	f := open(t, Limits{})
	f.post(t, encode(f.one(1, "__name__", "a")))
	require.Equal(t, 1, testutil.CollectAndCount(f.metrics.stored))
	f.Forget(ws)
	require.Zero(t, testutil.CollectAndCount(f.metrics.stored))
}

func TestParallelWriters(t *testing.T) {
	f := open(t, Limits{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				ts := f.one(float64(j), "__name__", fmt.Sprintf("m%d", i))
				ts.Samples[0].Timestamp += int64(j)
				w := httptest.NewRecorder()
				if err := f.ServeWorkspace(w, httptest.NewRequest("POST", "/", bytes.NewReader(encode(ts))), ws); err != nil || w.Code != 200 {
					t.Error(err, w.Code, w.Body)
				}
			}
		})
	}
	wg.Wait()
	for name, v := range f.read(t) {
		require.Len(t, v, 50, name)
	}
}
