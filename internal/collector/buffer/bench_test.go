package buffer

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/mangru/mangru/internal/model"
)

// cluster is the load of the benchmarks: targets whose series are a mixture as
// on the pages of a cluster.
type cluster struct {
	rnd    *rand.Rand
	shapes []*model.Shape
	values [][]float64
	kinds  []byte
	rates  []float64
}

func newCluster(targets, series int) *cluster {
	c := &cluster{rnd: rand.New(rand.NewPCG(1, 1))}
	for t := range targets {
		var b model.LabelsBuilder
		for s := range series {
			b.Append([]model.Label{
				{Name: "__name__", Value: fmt.Sprint("metric_", s/8)},
				{Name: "instance", Value: fmt.Sprint("10.0.0.", t, ":9100")},
				{Name: "job", Value: "node"},
				{Name: "part", Value: fmt.Sprint(s % 8)},
			})
		}
		b.Rest()
		c.shapes = append(c.shapes, &model.Shape{Target: uint64(t), Labels: b.Labels()})
		v := make([]float64, series)
		for i := range v {
			v[i] = math.Trunc(math.Exp(20 * c.rnd.Float64()))
		}
		c.values = append(c.values, v)
	}
	for range series {
		kind := c.rnd.IntN(100)
		switch {
		case kind < 60: // stands still
			c.kinds = append(c.kinds, 0)
		case kind < 80: // counter
			c.kinds = append(c.kinds, 1)
		case kind < 88: // bytes
			c.kinds = append(c.kinds, 2)
		case kind < 96: // seconds
			c.kinds = append(c.kinds, 3)
		default:
			c.kinds = append(c.kinds, 4)
		}
		c.rates = append(c.rates, math.Exp(8*c.rnd.Float64()))
	}
	return c
}

func (c *cluster) scrape(target int, ts int64) *model.Frame {
	v := c.values[target]
	for i, kind := range c.kinds {
		switch kind {
		case 1:
			v[i] += float64(c.rnd.IntN(1 + int(c.rates[i])))
		case 2:
			if c.rnd.IntN(3) == 0 {
				v[i] += 4096 * float64(c.rnd.IntN(40)-20)
			}
		case 3:
			v[i] = math.Round(v[i]*100+float64(c.rnd.IntN(200))) / 100
		case 4:
			v[i] *= 1 + 0.01*c.rnd.NormFloat64()
		}
	}
	return &model.Frame{Shape: c.shapes[target], Time: ts, Values: append([]float64(nil), v...)}
}

// used returns the CPU time of the process.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heapMiB() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// BenchmarkOutage is an endpoint that is away for an hour, at 223,000 series
// every ten seconds, and then reads all of it.
func BenchmarkOutage(b *testing.B) {
	const targets, series, rounds = 200, 1115, 360
	for b.Loop() {
		c := newCluster(targets, series)
		q := newQueue(b, Config{}, Endpoint{Name: "a"})
		empty := heapMiB()
		var appending time.Duration
		frames := make([]*model.Frame, targets)
		for round := range rounds {
			for t := range frames {
				frames[t] = c.scrape(t, int64(round)*10_000)
			}
			start := used()
			for _, f := range frames {
				q.Append(f)
			}
			appending += used() - start
		}
		clear(frames)
		st := q.State().Endpoints[0]
		samples := float64(st.Samples)
		b.ReportMetric(float64(appending.Nanoseconds())/samples, "cpu-ns/sample-in")
		b.ReportMetric(st.BytesPerSample, "B/sample")
		b.ReportMetric(float64(q.State().Bytes)/(1<<20), "MiB-counted")
		b.ReportMetric(heapMiB()-empty, "MiB-heap")
		f, err := q.Feed("a")
		if err != nil {
			b.Fatal(err)
		}
		r := f.Reader()
		start := used()
		requests := 0
		for f.Waiting() > 0 {
			spans, err := r.Next(context.Background(), 20_000, 0)
			if err != nil {
				b.Fatal(err)
			}
			r.Settle(len(spans))
			requests++
		}
		b.ReportMetric(float64((used()-start).Nanoseconds())/samples, "cpu-ns/sample-out")
		b.ReportMetric(samples/float64(requests), "samples/request")
		b.ReportMetric(heapMiB()-empty, "MiB-heap-after")
	}
}

// BenchmarkOutageOnDisk is the same with a directory, and a restart after it.
func BenchmarkOutageOnDisk(b *testing.B) {
	const targets, series, rounds = 200, 1115, 360
	for b.Loop() {
		c := newCluster(targets, series)
		opts := defaultSpool()
		opts.every, opts.after = time.Hour, 0 // by hand
		dir := b.TempDir()
		log := slog.New(slog.DiscardHandler)
		q, err := start(Config{Directory: dir}, []Endpoint{{Name: "a"}}, log, opts)
		if err != nil {
			b.Fatal(err)
		}
		var writing time.Duration
		for round := range rounds {
			for t := range targets {
				q.Append(c.scrape(t, int64(round)*10_000))
			}
			start := used()
			if err := q.flush(false); err != nil {
				b.Fatal(err)
			}
			writing += used() - start
		}
		st := q.State()
		samples := float64(st.Endpoints[0].Samples)
		b.ReportMetric(float64(writing.Nanoseconds())/samples, "cpu-ns/sample-disk")
		b.ReportMetric(float64(st.Directory.Bytes)/samples, "disk-B/sample")
		q.Discard()
		begin := time.Now()
		if q, err = start(Config{Directory: dir}, []Endpoint{{Name: "a"}}, log, opts); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(begin).Seconds(), "s-restart")
		if again := q.State().Endpoints[0].Samples; float64(again) != samples {
			b.Fatal(again, "samples, want", samples)
		}
		q.Discard()
	}
}

// BenchmarkSteady is what the queue costs while all is well.
func BenchmarkSteady(b *testing.B) {
	c := newCluster(200, 1115)
	q := newQueue(b, Config{MaxBytes: 80 << 20, MaxAge: time.Hour}, Endpoint{Name: "a"})
	f, err := q.Feed("a")
	if err != nil {
		b.Fatal(err)
	}
	r := f.Reader()
	frames := make([]*model.Frame, 200)
	for t := range frames {
		frames[t] = c.scrape(t, 1)
	}
	b.ReportAllocs()
	samples := 0
	for b.Loop() {
		for _, f := range frames {
			q.Append(f)
		}
		for f.Waiting() > 0 {
			spans, err := r.Next(context.Background(), 20_000, 0)
			if err != nil {
				b.Fatal(err)
			}
			r.Settle(len(spans))
		}
		samples += 223_000
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(samples), "ns/sample")
}
