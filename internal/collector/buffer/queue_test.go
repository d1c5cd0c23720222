package buffer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newQueue(t *testing.T, cfg Config, eps ...Endpoint) *Queue {
	t.Helper()
	q, err := New(cfg, eps, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return q
}

// frame makes a frame of n samples whose values are ts, ts+1, ...
func frame(target uint64, ts int64, n int) *model.Frame {
	sh := &model.Shape{Target: target, Series: make([]model.Series, n)}
	f := &model.Frame{Shape: sh, Time: ts, Values: make([]float64, n)}
	for i := range f.Values {
		sh.Series[i] = model.Series{Labels: []model.Label{{Name: "__name__", Value: "m"}}}
		f.Values[i] = float64(ts) + float64(i)
	}
	return f
}

func reader(t *testing.T, q *Queue, name string, shard int) *Reader {
	t.Helper()
	r, err := q.Reader(name, shard)
	require.NoError(t, err)
	return r
}

func TestNextWaitsForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, Config{}, Endpoint{"a", 1})
		r := reader(t, q, "a", 0)
		start := time.Now()
		q.Append(frame(1, 1, 3))
		spans, err := r.Next(t.Context(), 100, 5*time.Second)
		require.NoError(t, err)
		require.Len(t, spans, 1)
		require.Equal(t, 5*time.Second, time.Since(start))
		r.Settle(1)

		// A full request does not wait, not even for one that sleeps already.
		go func() {
			time.Sleep(time.Second) // fake time
			q.Append(frame(1, 2, 60))
			q.Append(frame(1, 3, 60))
		}()
		start = time.Now()
		spans, err = r.Next(t.Context(), 100, time.Hour)
		require.NoError(t, err)
		require.Len(t, spans, 1, "the second frame does not fit")
		require.Equal(t, time.Second, time.Since(start))
		r.Settle(0)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = r.Next(ctx, 1000, time.Hour)
		require.ErrorIs(t, err, context.Canceled)

		q.Close()
		spans, err = r.Next(t.Context(), 1000, time.Hour)
		require.NoError(t, err)
		require.Len(t, spans, 2)
		r.Settle(2)
		_, err = r.Next(t.Context(), 1000, time.Hour)
		require.ErrorIs(t, err, io.EOF)
		require.Zero(t, q.State().Bytes)
	})
}

func TestBytesBoundDropsOldestAndCountsExactly(t *testing.T) {
	one := frame(1, 1, 100)
	size := frameBytes(one)
	shape := (&Queue{shapes: map[shapeKey]*shapeUse{}}).retain(one.Shape)
	q := newQueue(t, Config{MaxBytes: 3*size + shape}, Endpoint{"a", 1}, Endpoint{"b", 1})
	a, b := reader(t, q, "a", 0), reader(t, q, "b", 0)
	for ts := range 3 {
		q.Append(frame(1, int64(ts), 100))
	}
	require.Equal(t, 3*size+shape, q.State().Bytes)
	// a has delivered frame 0 and 40 samples of frame 1; b nothing.
	spans, err := a.Next(t.Context(), 100, 0)
	require.NoError(t, err)
	require.Len(t, spans, 1)
	a.Settle(1)
	spans, err = a.Next(t.Context(), 40, 0)
	require.NoError(t, err)
	require.Equal(t, 40, spans[0].To)
	a.Settle(1)

	for ts := 3; ts < 5; ts++ { // pushes out frames 0 and 1
		q.Append(frame(1, int64(ts), 100))
	}
	st := q.State()
	require.Equal(t, int64(60), st.Endpoints[0].Dropped[ReasonBytes])
	require.Equal(t, int64(200), st.Endpoints[1].Dropped[ReasonBytes])
	require.Equal(t, int64(300), st.Endpoints[0].Samples)
	require.Equal(t, int64(300), st.Endpoints[1].Samples)

	// What is being sent is not dropped; the frame after it is.
	_, err = b.Next(t.Context(), 100, 0)
	require.NoError(t, err)
	q.Append(frame(1, 5, 100))
	st = q.State()
	require.Equal(t, int64(300), st.Endpoints[1].Samples)
	require.Equal(t, int64(300), st.Endpoints[1].Dropped[ReasonBytes])
	b.Settle(1)
	spans, err = b.Next(t.Context(), 100, 0)
	require.NoError(t, err)
	require.Equal(t, int64(4), spans[0].Frame.Time)

	// A frame larger than the bound is dropped itself and leaves no trace.
	b.Settle(0)
	q.Append(frame(2, 6, 10000))
	require.Equal(t, 3*size+shape, q.State().Bytes)
	require.Len(t, q.shapes, 1)
}

func TestAgeBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, Config{MaxAge: time.Minute}, Endpoint{"a", 2})
		q.Append(frame(0, 1, 7))
		time.Sleep(30 * time.Second)
		q.Append(frame(1, 2, 5))
		time.Sleep(31 * time.Second)
		st := q.State().Endpoints[0]
		require.Equal(t, int64(5), st.Samples)
		require.Equal(t, int64(7), st.Dropped[ReasonAge])
		require.Equal(t, 31*time.Second, st.OldestAge)
	})
}

func TestSetEndpoints(t *testing.T) {
	q := newQueue(t, Config{}, Endpoint{"a", 1}, Endpoint{"b", 2})
	for ts := range 20 {
		q.Append(frame(uint64(ts%5), int64(ts), 3))
	}
	a := reader(t, q, "a", 0)
	_, err := a.Next(t.Context(), 1, 0)
	require.NoError(t, err)
	a.Settle(1) // 1 of 60 delivered
	require.NoError(t, q.SetEndpoints([]Endpoint{{"a", 3}, {"c", 1}}))
	st := q.State()
	require.Equal(t, int64(59), st.Endpoints[0].Samples)
	require.Zero(t, st.Endpoints[1].Samples)
	q.Close()
	last := map[uint64]float64{}
	total := 0
	for shard := range 3 {
		r := reader(t, q, "a", shard)
		for {
			spans, err := r.Next(t.Context(), 4, 0)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			for _, s := range spans {
				v := s.Frame.Values[s.From]
				require.GreaterOrEqual(t, v, last[s.Frame.Shape.Target])
				last[s.Frame.Shape.Target] = v
				total += s.Samples()
			}
			r.Settle(len(spans))
		}
	}
	require.Equal(t, 59, total)
	require.Zero(t, q.State().Bytes)
	require.Error(t, q.SetEndpoints([]Endpoint{{"a", 0}}))
	require.Error(t, q.SetEndpoints([]Endpoint{{"a", 1}, {"a", 1}}))
}

// TestNothingIsLostUncounted drives the queue at random and audits it: every
// sample is delivered to each endpoint once, in order, or counted.
func TestNothingIsLostUncounted(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		q := newQueue(t, Config{MaxBytes: 60000}, Endpoint{"a", 2}, Endpoint{"b", 3})
		type key struct {
			endpoint string
			target   uint64
		}
		delivered := map[string]int{}
		last := map[key]float64{}
		var readers []*Reader
		for i := range 2 {
			readers = append(readers, reader(t, q, "a", i))
		}
		for i := range 3 {
			readers = append(readers, reader(t, q, "b", i))
		}
		open := make([][]model.Span, len(readers))
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // a wait ends at once
		total := 0
		step := func(i int) bool {
			r := readers[i]
			if open[i] == nil {
				spans, err := r.Next(ctx, 1+rnd.IntN(60), 0)
				open[i] = spans
				return err == nil
			}
			n := rnd.IntN(len(open[i]) + 1)
			for _, s := range open[i][:n] {
				for p := s.From; p < s.To; p++ {
					k := key{r.endpoint, s.Frame.Shape.Target}
					require.Greater(t, s.Frame.Values[p], last[k])
					last[k] = s.Frame.Values[p]
				}
				delivered[r.endpoint] += s.Samples()
			}
			r.Settle(n)
			open[i] = nil
			return true
		}
		for ts := 1; ts < 400; ts++ {
			n := 1 + rnd.IntN(100)
			q.Append(frame(rnd.Uint64N(7), int64(ts*1000), n))
			total += n
			for range rnd.IntN(6) {
				step(rnd.IntN(len(readers)))
			}
			require.LessOrEqual(t, q.State().Bytes, int64(60000))
		}
		q.Close()
		for i := range readers {
			for step(i) {
			}
		}
		for _, ep := range q.State().Endpoints {
			require.Zero(t, ep.Samples)
			require.Zero(t, ep.Bytes)
			require.Equal(t, total, delivered[ep.Name]+int(ep.Dropped[ReasonBytes]))
		}
		require.Zero(t, q.State().Bytes)
		require.Nil(t, q.oldest)
	}
}

func TestMetrics(t *testing.T) {
	q := newQueue(t, Config{MaxBytes: 1}, Endpoint{"a", 1})
	q.Append(frame(1, 1, 5))
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(q)
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP mangru_collector_queue_dropped_samples_total Samples that left the queue undelivered.
# TYPE mangru_collector_queue_dropped_samples_total counter
mangru_collector_queue_dropped_samples_total{endpoint="a",reason="endpoint_removed"} 0
mangru_collector_queue_dropped_samples_total{endpoint="a",reason="queue_age"} 0
mangru_collector_queue_dropped_samples_total{endpoint="a",reason="queue_bytes"} 5
mangru_collector_queue_dropped_samples_total{endpoint="a",reason="shutdown"} 0
`), "mangru_collector_queue_dropped_samples_total"))
}
