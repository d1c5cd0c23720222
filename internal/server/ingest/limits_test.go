package ingest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/server/store"
)

// changeable gives a workspace limits that a test changes.
type changeable struct {
	mu sync.Mutex
	l  *Limits
}

func (c *changeable) Limits(string) *Limits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.l
}

func (c *changeable) set(l Limits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.l = &l
}

func TestLimitsOfAWorkspace(t *testing.T) {
	own := &changeable{}
	f := open(t, Limits{MaxLabels: 2}, func(c *Config, _ *store.Config) { c.Overrides = own })
	three := func(name string) []byte { return encode(f.one(1, "__name__", name, "a", "1", "b", "2")) }
	code, text := f.post(t, three("x"))
	require.Equal(t, 400, code)
	require.Contains(t, text, "actual: 3, limit: 2")
	own.set(Limits{MaxLabels: 3})
	code, text = f.post(t, three("x"))
	require.Equal(t, 200, code, text)
	own.set(Limits{MaxLabelName: 7}) // the others are the server's
	code, _ = f.post(t, three("y"))
	require.Equal(t, 400, code)
}

func TestSampleRate(t *testing.T) {
	f := open(t, Limits{MaxSampleRate: 10, MaxSamplesPerRequest: 20})
	send := func(n int) (int, string, string) {
		var ts []prompb.TimeSeries
		for i := range n {
			ts = append(ts, f.one(1, "__name__", "m", "i", fmt.Sprint(i)))
		}
		msg, err := (&prompb.WriteRequest{Timeseries: ts, Metadata: []prompb.MetricMetadata{{MetricFamilyName: "m"}}}).Marshal()
		require.NoError(t, err)
		w := httptest.NewRecorder()
		require.NoError(t, f.ServeWorkspace(w, httptest.NewRequest("POST", "/", bytes.NewReader(snappy.Encode(nil, msg))), ws))
		return w.Code, strings.TrimSpace(w.Body.String()), w.Header().Get("Retry-After")
	}
	code, text, _ := send(19) // 30 are there, 20 go
	require.Equal(t, 200, code, text)
	f.now = f.now.Add(time.Millisecond)
	code, text, wait := send(15)
	require.Equal(t, 429, code)
	require.Contains(t, text, "ingestion rate limit (10) exceeded while adding 15 samples and 1 metadata")
	require.Equal(t, "1", wait)
	require.Equal(t, 15.0, f.discarded(reasonRate))
	require.Equal(t, 19.0, testutil.ToFloat64(f.metrics.stored.WithLabelValues(ws)))
	code, _, _ = send(9) // exactly what is left
	require.Equal(t, 200, code)
	f.now = f.now.Add(time.Millisecond)
	code, text, wait = send(20) // is not even tried
	require.Equal(t, 429, code)
	require.Contains(t, text, "adding 20 samples and 1 metadata")
	require.Equal(t, "3", wait)
	require.Equal(t, 35.0, f.discarded(reasonRate))
	f.now = f.now.Add(3 * time.Second)
	code, text, _ = send(20)
	require.Equal(t, 200, code, text)
	for name, v := range f.read(t) {
		require.LessOrEqual(t, len(v), 3, name)
	}
}

func TestSeriesPerMetric(t *testing.T) {
	own := &changeable{}
	own.set(Limits{MaxSeriesPerMetric: 2})
	f := open(t, Limits{}, func(c *Config, _ *store.Config) { c.Overrides = own })
	send := func(i int) (int, string) { return f.post(t, encode(f.one(1, "__name__", "m", "i", fmt.Sprint(i)))) }
	for i := range 2 {
		code, text := send(i)
		require.Equal(t, 200, code, text)
	}
	code, text := send(2)
	require.Equal(t, 400, code)
	require.Contains(t, text, "per-metric series limit of 2 exceeded")
	require.Equal(t, 1.0, f.discarded(reasonMetricSeriesLimit))
	code, text = f.post(t, encode(f.one(1, "__name__", "other")))
	require.Equal(t, 200, code, text)
	// One that is there is spared, whatever the order of its labels.
	f.now = f.now.Add(time.Second)
	code, text = f.post(t, encode(f.one(1, "i", "0", "__name__", "m")))
	require.Equal(t, 200, code, text)
	// What was not counted so far is counted when there is a limit.
	own.set(Limits{})
	code, _ = send(2)
	require.Equal(t, 200, code)
	own.set(Limits{MaxSeriesPerMetric: 3})
	code, _ = send(3)
	require.Equal(t, 400, code)
	own.set(Limits{MaxSeriesPerMetric: 4})
	code, _ = send(3)
	require.Equal(t, 200, code)
}

func TestLabelSetLimits(t *testing.T) {
	own := &changeable{}
	team := LabelSetLimit{Labels: map[string]string{"team": "a"}, MaxSeries: 2}
	own.set(Limits{LabelSets: []LabelSetLimit{team, {MaxSeries: 1}}})
	f := open(t, Limits{}, func(c *Config, _ *store.Config) { c.Overrides = own })
	send := func(team, i string) (int, string) {
		return f.post(t, encode(f.one(1, "__name__", "m", "team", team, "i", i)))
	}
	for _, i := range []string{"1", "2"} {
		code, text := send("a", i)
		require.Equal(t, 200, code, text)
	}
	code, text := send("a", "3")
	require.Equal(t, 400, code)
	require.Contains(t, text, `per-labelset series limit of 2 exceeded (labelSet: {team="a"})`)
	code, _ = send("b", "1")
	require.Equal(t, 200, code)
	code, text = send("c", "1") // the rest is one set
	require.Equal(t, 400, code)
	require.Contains(t, text, `(labelSet: {})`)
	require.Equal(t, 2.0, f.discarded(reasonLabelSetLimit))
	team.MaxSeries = 3
	own.set(Limits{LabelSets: []LabelSetLimit{team, {MaxSeries: 1}}})
	code, text = send("a", "3")
	require.Equal(t, 200, code, text)
	code, _ = send("a", "4")
	require.Equal(t, 400, code)
	// Series that end make room.
	count := f.cfg.Series.get(ws)
	count.PostDeletion(map[chunks.HeadSeriesRef]labels.Labels{1: labels.FromStrings("__name__", "m", "team", "a", "i", "1")})
	code, text = send("a", "4")
	require.Equal(t, 200, code, text)
	// After the database was opened anew, what is in its log is counted.
	require.NoError(t, f.reopen(t))
	code, _ = send("d", "1")
	require.Equal(t, 400, code)
}

// reopen closes the workspace's database.
func (f *fixture) reopen(t testing.TB) error {
	t.Helper()
	if err := f.store.Close(context.Background()); err != nil {
		return err
	}
	var err error
	f.store, err = store.New(f.storeConfig, slog.New(slog.DiscardHandler))
	return err
}

func TestHistogramBuckets(t *testing.T) {
	f := open(t, Limits{MaxHistogramBuckets: 6})
	send := func(name string, h prompb.Histogram) (int, string) {
		return f.post(t, encode(prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: name}}, Histograms: []prompb.Histogram{h}}))
	}
	code, text := send("h", prompb.FromIntHistogram(f.now.UnixMilli(), tsdbutil.GenerateTestHistogram(1))) // has 8
	require.Equal(t, 200, code, text)
	require.Contains(t, dump(t, f.db(t))[`{__name__="h"}`][0], "(2,4]", "with half the resolution")
	code, text = send("c", prompb.FromIntHistogram(f.now.UnixMilli(), tsdbutil.GenerateTestCustomBucketsHistogram(1))) // has 4
	require.Equal(t, 200, code, text)
	f.cfg.Limits.MaxHistogramBuckets = 3
	code, text = send("d", prompb.FromIntHistogram(f.now.UnixMilli(), tsdbutil.GenerateTestCustomBucketsHistogram(1)))
	require.Equal(t, 400, code)
	require.Contains(t, text, "limits.max_histogram_buckets")
	require.Equal(t, 1.0, f.discarded(reasonHistogramBuckets))
}

func haSeries(f *fixture, v float64, replica string, name string) prompb.TimeSeries {
	return f.one(v, "__name__", name, "__replica__", replica, "cluster", "c")
}

func TestHADeduplication(t *testing.T) {
	f := open(t, Limits{HA: HA{Enabled: true}})
	send := func(replica string, v float64) (int, string) {
		return f.post(t, encode(haSeries(f, v, replica, "m"), haSeries(f, v, replica, "n")))
	}
	for i := range 5 {
		f.now = f.now.Add(10 * time.Second)
		code, text := send("a", float64(i))
		require.Equal(t, 200, code, text)
		code, text = send("b", 100+float64(i))
		require.Equal(t, 202, code, text)
		require.Contains(t, text, "replica=b, elected=a")
	}
	require.Equal(t, map[string][]float64{`{__name__="m", cluster="c"}`: {0, 1, 2, 3, 4}, `{__name__="n", cluster="c"}`: {0, 1, 2, 3, 4}}, f.read(t))
	require.Equal(t, 10.0, testutil.ToFloat64(f.metrics.deduplicated.WithLabelValues(ws)))
	require.Equal(t, 4, f.cache(t).size(), "the one that is not elected is known too")

	// The elected one falls silent; the other one takes over after the timeout.
	f.now = f.now.Add(30 * time.Second)
	code, _ := send("b", 200)
	require.Equal(t, 202, code)
	f.now = f.now.Add(time.Millisecond)
	code, text := send("b", 201)
	require.Equal(t, 200, code, text)
	code, _ = send("a", 5)
	require.Equal(t, 202, code)
	require.Equal(t, []float64{0, 1, 2, 3, 4, 201}, f.read(t)[`{__name__="m", cluster="c"}`])
	require.Equal(t, 1.0, testutil.ToFloat64(f.metrics.elections.WithLabelValues(ws)))

	// What has not both labels is taken from everyone, and a request with both kinds is a success.
	code, text = f.post(t, encode(f.one(1, "__name__", "x", "__replica__", "q"), haSeries(f, 1, "a", "m")))
	require.Equal(t, 200, code, text)
	require.Equal(t, []float64{1}, f.read(t)[`{__name__="x", __replica__="q"}`])
}

func TestHAOffAndOn(t *testing.T) {
	own := &changeable{}
	own.set(Limits{})
	f := open(t, Limits{}, func(c *Config, _ *store.Config) { c.Overrides = own })
	code, _ := f.post(t, encode(haSeries(f, 1, "a", "m")))
	require.Equal(t, 200, code)
	require.Contains(t, f.read(t), `{__name__="m", __replica__="a", cluster="c"}`)
	own.set(Limits{HA: HA{Enabled: true}})
	code, _ = f.post(t, encode(haSeries(f, 1, "a", "m")))
	require.Equal(t, 200, code)
	require.Contains(t, f.read(t), `{__name__="m", cluster="c"}`)
	code, _ = f.post(t, encode(haSeries(f, 1, "b", "m")))
	require.Equal(t, 202, code)
	own.set(Limits{})
	code, _ = f.post(t, encode(haSeries(f, 1, "b", "m")))
	require.Equal(t, 200, code)
}

func TestHAClusters(t *testing.T) {
	f := open(t, Limits{HA: HA{Enabled: true, MaxClusters: 2}})
	send := func(cluster string) (int, string) {
		return f.post(t, encode(f.one(1, "__name__", "m", "__replica__", "a", "cluster", cluster)))
	}
	for _, c := range []string{"1", "2"} {
		code, text := send(c)
		require.Equal(t, 200, code, text)
	}
	code, text := send("3")
	require.Equal(t, 400, code)
	require.Contains(t, text, "too many HA clusters (limit: 2")
	require.Equal(t, 1.0, f.discarded(reasonHAClusters))
	f.now = f.now.Add(time.Hour) // silent clusters make room
	code, text = send("3")
	require.Equal(t, 200, code, text)
}

func TestHAIn2IsNoFailure(t *testing.T) {
	f := open(t, Limits{HA: HA{Enabled: true}})
	for _, replica := range []string{"a", "b"} {
		r := newRequestV2()
		r.add("__name__", "m", "cluster", "c", "__replica__", replica).Samples = sampleV2(f.now.UnixMilli(), 1)
		w := f.postV2(t, r)
		require.Equal(t, 2, w.Code/100)
		require.Equal(t, "1 0 0", writtenOf(w), "a sender takes zero for a failure")
	}
}

func TestForgetClearsBuckets(t *testing.T) {
	f := open(t, Limits{MaxSampleRate: 1, MaxSamplesPerRequest: 1})
	code, _ := f.post(t, encode(f.one(1, "__name__", "a")))
	require.Equal(t, 200, code)
	f.Forget(ws)
	require.Empty(t, f.buckets.m)
}

func sampleV2(t int64, v float64) []writev2.Sample { return []writev2.Sample{{Timestamp: t, Value: v}} }
