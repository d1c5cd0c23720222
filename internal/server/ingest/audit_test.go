package ingest

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/server/store"
)

func at(ts prompb.TimeSeries, t time.Time) prompb.TimeSeries {
	ts.Samples[0].Timestamp = t.UnixMilli()
	return ts
}

// TestOutageIsReplayed: one collector goes on while another one cannot reach us,
// and then sends what it has kept, in order, series by series.
func TestOutageIsReplayed(t *testing.T) {
	for _, outage := range []time.Duration{50 * time.Minute, 2 * time.Hour, 20 * time.Hour} {
		t.Run(outage.String(), func(t *testing.T) {
			f := open(t, Limits{OutOfOrderWindow: time.Minute})
			start := f.now
			send := func(at time.Time, name string) {
				ts := f.one(float64(at.Unix()), "__name__", name)
				ts.Samples[0].Timestamp = at.UnixMilli()
				code, text := f.post(t, encode(ts))
				require.Equal(t, 200, code, "%s at %s: %s", name, at.Sub(start), text)
			}
			step := outage / 100
			var want []float64
			send(start, "late")
			want = append(want, float64(start.Unix()))
			for i := range 101 {
				f.now = start.Add(time.Duration(i) * step)
				send(f.now, "steady")
			}
			for i := 1; i < 101; i++ {
				at := start.Add(time.Duration(i) * step)
				send(at, "late")
				want = append(want, float64(at.Unix()))
			}
			got := f.read(t)
			require.Equal(t, want, got[`{__name__="late"}`])
			require.Len(t, got[`{__name__="steady"}`], 101)
			// Once it has caught up, disorder is what it is for everyone.
			ts := f.one(7, "__name__", "late")
			ts.Samples[0].Timestamp -= 90_000
			code, _ := f.post(t, encode(ts))
			require.Equal(t, 400, code)
			require.Equal(t, 1.0, f.discarded(reasonBehindWindow))
		})
	}
}

func TestNoDisorder(t *testing.T) {
	f := open(t, Limits{OutOfOrderWindow: -1})
	ts := f.one(1, "__name__", "a")
	code, text := f.post(t, encode(ts))
	require.Equal(t, 200, code, text)
	code, _ = f.post(t, encode(at(ts, f.now.Add(-time.Second))))
	require.Equal(t, 400, code)
	require.Equal(t, 1.0, f.discarded(reasonOutOfOrder))
}

func TestConflictsInsideARequest(t *testing.T) {
	for _, known := range []bool{false, true} {
		t.Run(fmt.Sprint("known ", known), func(t *testing.T) {
			f := open(t, Limits{})
			if known {
				code, _ := f.post(t, encode(f.one(1, "__name__", "a"), f.one(0, "__name__", "zero")))
				require.Equal(t, 200, code)
				f.now = f.now.Add(time.Second)
			}
			// The same series twice: first the same sample, then another value.
			code, text := f.post(t, encode(f.one(5, "__name__", "a"), f.one(0, "__name__", "zero"), f.one(5, "__name__", "a"), f.one(0, "__name__", "zero")))
			require.Equal(t, 200, code, text)
			f.now = f.now.Add(time.Second)
			code, text = f.post(t, encode(f.one(5, "__name__", "a"), f.one(6, "__name__", "a")))
			require.Equal(t, 400, code)
			require.Contains(t, text, "duplicate sample for timestamp")
			require.Equal(t, 1.0, f.discarded(reasonDuplicate))
			v := f.read(t)[`{__name__="a"}`]
			require.Equal(t, 5.0, v[len(v)-1], "the first one stays")
			stored := 5.0
			if known {
				stored += 2
			}
			require.Equal(t, stored, testutil.ToFloat64(f.metrics.stored.WithLabelValues(ws)))
		})
	}
}

// TestConflictsOfNewSeries: the database finds these only at commit, and says
// nothing.
func TestConflictsOfNewSeries(t *testing.T) {
	f := open(t, Limits{})
	code, text := f.post(t, encode(f.one(5, "__name__", "a", "x", "1"), f.one(1, "__name__", "good"), f.one(6, "__name__", "a", "x", "1"), f.one(5, "__name__", "a", "x", "1")))
	require.Equal(t, 400, code)
	require.Contains(t, text, `duplicate sample for timestamp`)
	require.Contains(t, text, `{__name__="a", x="1"}`)
	require.Equal(t, 1.0, f.discarded(reasonDuplicate))
	require.Equal(t, 3.0, testutil.ToFloat64(f.metrics.stored.WithLabelValues(ws)))
	require.Equal(t, map[string][]float64{`{__name__="a", x="1"}`: {5}, `{__name__="good"}`: {1}}, f.read(t))

	h := func(i int64) prompb.TimeSeries {
		return prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "h"}}, Histograms: []prompb.Histogram{prompb.FromIntHistogram(f.now.UnixMilli(), tsdbutil.GenerateTestHistogram(i))}}
	}
	code, _ = f.post(t, encode(h(1), h(1)))
	require.Equal(t, 200, code)
	code, _ = f.post(t, encode(h(1)))
	require.Equal(t, 200, code)
	code, _ = f.post(t, encode(h(2)))
	require.Equal(t, 400, code)
	require.Equal(t, 2.0, f.discarded(reasonDuplicate))
}

// TestRepetitionAfterRestart: a sender repeats what it got no answer for, to a
// server that has forgotten all about it.
func TestRepetitionAfterRestart(t *testing.T) {
	f := open(t, Limits{})
	var series []prompb.TimeSeries
	for i := range 50 {
		series = append(series, f.one(float64(i), "__name__", "m", "i", fmt.Sprint(i)))
	}
	series = append(series, prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "h"}},
		Histograms: []prompb.Histogram{prompb.FromIntHistogram(f.now.UnixMilli(), tsdbutil.GenerateTestHistogram(1)), prompb.FromFloatHistogram(f.now.UnixMilli()+1, tsdbutil.GenerateTestCustomBucketsFloatHistogram(2))}})
	code, text := f.post(t, encode(series...))
	require.Equal(t, 200, code, text)
	require.NoError(t, f.reopen(t))
	code, text = f.post(t, encode(series...))
	require.Equal(t, 200, code, text)
	require.Equal(t, 104.0, testutil.ToFloat64(f.metrics.stored.WithLabelValues(ws)))
	require.NoError(t, f.reopen(t))
	series[3].Samples[0].Value = 99
	code, text = f.post(t, encode(series...))
	require.Equal(t, 400, code)
	require.Contains(t, text, `i="3"`)
	require.Equal(t, 1.0, f.discarded(reasonDuplicate))
	require.Len(t, f.read(t), 50)
	// From now on it is known, and costs nothing.
	code, text = f.post(t, encode(series[0]))
	require.Equal(t, 200, code, text)
}

// TestFailedCommitIsRepeated: what was not committed is not taken for known.
func TestFailedCommitIsRepeated(t *testing.T) {
	f := open(t, Limits{})
	code, _ := f.post(t, encode(f.one(1, "__name__", "a")))
	require.Equal(t, 200, code)
	f.now = f.now.Add(time.Second)
	f.commit = waiting{fmt.Errorf("no space")}
	code, _ = f.post(t, encode(f.one(2, "__name__", "a"), f.one(2, "__name__", "b")))
	require.Equal(t, 503, code)
	f.commit = nil
	code, _ = f.post(t, encode(f.one(2, "__name__", "a"), f.one(2, "__name__", "b")))
	require.Equal(t, 200, code)
	require.Equal(t, map[string][]float64{`{__name__="a"}`: {1, 2}, `{__name__="b"}`: {2}}, f.read(t))
}

// TestAudit lets writers of both versions write series of their own and shared
// ones at once, with repetitions, while the cache is thrown away: what was
// acknowledged has to be there, once, with its value, and what was not stored has
// to be counted.
func TestAudit(t *testing.T) {
	const (
		writers = 6
		rounds  = 60
		shared  = 20
	)
	f := open(t, Limits{OutOfOrderWindow: -1}, func(_ *Config, s *store.Config) { s.OutOfOrderWindow = -1 })
	base := f.now.UnixMilli()
	var (
		wg       sync.WaitGroup
		sent     atomic.Int64
		refusals atomic.Int64
	)
	post := func(v2 bool, names []string, at int64, v float64) int {
		body := encodeSamples(t, v2, names, at, v)
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		if v2 {
			r.Header.Set("Content-Type", contentTypeV2)
		}
		w := httptest.NewRecorder()
		if err := f.ServeWorkspace(w, r, ws); err != nil {
			t.Error(err)
		}
		sent.Add(int64(len(names)))
		if w.Code == 400 {
			refusals.Add(1)
		}
		return w.Code
	}
	for w := range writers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 7))
			own := make([]string, 30)
			for i := range own {
				own[i] = fmt.Sprintf("own_%d_%d", w, i)
			}
			for i := range int64(rounds) {
				times := 1 + rnd.IntN(2) // sometimes it is not sure that it arrived
				for range times {
					if code := post(w%2 == 0, own, base+i*1000, float64(i)); code/100 != 2 {
						t.Errorf("writer %d round %d: %d", w, i, code)
					}
				}
				if rnd.IntN(3) == 0 { // all know the same about the shared ones
					names := make([]string, shared)
					for j := range names {
						names[j] = fmt.Sprintf("shared_%d", j)
					}
					post(w%2 == 0, names, base+i*1000, float64(i))
				}
				if rnd.IntN(10) == 0 {
					c := f.cache(t)
					c.mu.Lock()
					c.clear()
					c.mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	got := f.read(t)
	for w := range writers {
		for i := range 30 {
			v := got[fmt.Sprintf(`{__name__="own_%d_%d"}`, w, i)]
			require.Len(t, v, rounds)
			for n := range v {
				require.Equal(t, float64(n), v[n])
			}
		}
	}
	for j := range shared {
		v := got[fmt.Sprintf(`{__name__="shared_%d"}`, j)]
		require.NotEmpty(t, v)
		for n := 1; n < len(v); n++ {
			require.Less(t, v[n-1], v[n])
		}
	}
	var discarded float64
	for _, r := range []reason{reasonOutOfOrder, reasonOutOfBounds, reasonDuplicate, reasonBehindWindow, reasonOther} {
		discarded += f.discarded(r)
	}
	require.Zero(t, f.discarded(reasonOther))
	require.Equal(t, float64(sent.Load()), discarded+testutil.ToFloat64(f.metrics.stored.WithLabelValues(ws)))
	require.Equal(t, refusals.Load() > 0, discarded > 0)
}

func encodeSamples(t testing.TB, v2 bool, names []string, at int64, v float64) []byte {
	if v2 {
		r := newRequestV2()
		for _, n := range names {
			r.add("__name__", n).Samples = sampleV2(at, v)
		}
		return r.body(t)
	}
	var req prompb.WriteRequest
	for _, n := range names {
		req.Timeseries = append(req.Timeseries, prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: n}},
			Samples: []prompb.Sample{{Timestamp: at, Value: v}}})
	}
	msg, err := req.Marshal()
	require.NoError(t, err)
	return snappy.Encode(nil, msg)
}

// TestKnownSeriesCostNoAllocations compares requests of different sizes: the
// samples of known series must not make a difference.
func TestKnownSeriesCostNoAllocations(t *testing.T) {
	const runs = 20
	for _, v2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "1.0", true: "2.0"}[v2], func(t *testing.T) {
			allocations := func(series int) float64 {
				f := open(t, Limits{})
				l := newLoad(t, series, series, v2)
				l.now = f.now.UnixMilli()
				var bodies [][]byte
				for range runs + 4 {
					l.next()
					bodies = append(bodies, bytes.Clone(l.bodies[0]))
				}
				f.now = time.UnixMilli(l.now)
				r := httptest.NewRequest("POST", "/", nil)
				if v2 {
					r.Header.Set("Content-Type", contentTypeV2)
				}
				w, n := &discardWriter{header: map[string][]string{}}, 0
				serve := func() {
					r.Body = memoryBody{bytes.NewReader(bodies[n])}
					n++
					if err := f.ServeWorkspace(w, r, ws); err != nil || w.status/100 != 2 {
						t.Fatal(err, w.status)
					}
				}
				serve()
				serve()
				return testing.AllocsPerRun(runs, serve)
			}
			few, many := allocations(100), allocations(3000)
			// The database makes lists longer now and then.
			require.Less(t, many-few, 60.0, "%v for 100 samples, %v for 3000", few, many)
		})
	}
}

func TestStaleMarkOfHistograms(t *testing.T) {
	f := open(t, Limits{})
	h := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "h"}}, Histograms: []prompb.Histogram{prompb.FromIntHistogram(f.now.UnixMilli(), tsdbutil.GenerateTestHistogram(1))}}
	code, _ := f.post(t, encode(h))
	require.Equal(t, 200, code)
	stale := f.one(math.Float64frombits(value.StaleNaN), "__name__", "h")
	stale.Samples[0].Timestamp++
	for range 2 {
		code, text := f.post(t, encode(stale))
		require.Equal(t, 200, code, text)
	}
	require.Len(t, dump(t, f.db(t))[`{__name__="h"}`], 2)
}
