package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/server/store"
)

// load is a number of series as a collector sends them: in the same requests, in
// the same order, every ten seconds. A value in two is what it was before.
type load struct {
	messages [][]byte
	times    [][]int // where the timestamps are in the messages
	values   [][]int
	bodies   [][]byte
	now      int64
	series   int
}

const (
	benchSeries  = 223_000
	benchRequest = 2000
)

// benchStart is the time of the first sample; Prometheus' handler goes by the
// real clock.
func benchStart() int64 { return time.Now().Add(-time.Hour).UnixMilli() }

func benchLabels(i int) []string {
	return []string{"__name__", fmt.Sprintf("container_metric_%d_seconds_total", i%300), "container", "app", "cluster", "production", "cpu", "total",
		"id", fmt.Sprintf("/kubepods/burstable/pod%08x/%016x", i/300, i/300*7919), "instance", fmt.Sprintf("ip-10-0-%d-%d", i/300/250, i/300%250),
		"job", "kubelet", "namespace", fmt.Sprintf("team-%d", i/300%40), "pod", fmt.Sprintf("service-%d-5d9c7b7f6b-x%dz", i/300%100, i/300)}
}

// benchValue is not zero, so that it takes the same room at all times.
const benchValue = 12345.5

func newLoad(b testing.TB, series, perRequest int, v2 bool) *load {
	l := &load{series: series, now: benchStart()}
	for from := 0; from < series; from += perRequest {
		var (
			req  prompb.WriteRequest
			req2 writev2.Request
			tab  = writev2.NewSymbolTable()
		)
		for i := from; i < min(from+perRequest, series); i++ {
			pairs := benchLabels(i)
			if v2 {
				req2.Timeseries = append(req2.Timeseries, writev2.TimeSeries{LabelsRefs: tab.SymbolizeLabels(labels.FromStrings(pairs...), nil),
					Samples: []writev2.Sample{{Value: benchValue, Timestamp: l.now}}})
				continue
			}
			ts := prompb.TimeSeries{Samples: []prompb.Sample{{Value: benchValue, Timestamp: l.now}}}
			for j := 0; j < len(pairs); j += 2 {
				ts.Labels = append(ts.Labels, prompb.Label{Name: pairs[j], Value: pairs[j+1]})
			}
			req.Timeseries = append(req.Timeseries, ts)
		}
		req2.Symbols = tab.Symbols()
		msg, err := req.Marshal()
		if v2 {
			msg, err = req2.Marshal()
		}
		require.NoError(b, err)
		l.messages = append(l.messages, msg)
		pattern := append([]byte{9}, binary.LittleEndian.AppendUint64(nil, math.Float64bits(benchValue))...)
		pattern = append(pattern, 16)
		var times, values []int
		for at := 0; ; {
			n := bytes.Index(msg[at:], pattern)
			if n < 0 {
				break
			}
			values, times = append(values, at+n+1), append(times, at+n+len(pattern))
			at += n + len(pattern)
		}
		require.Len(b, times, min(perRequest, series-from))
		l.times, l.values = append(l.times, times), append(l.values, values)
	}
	l.bodies = make([][]byte, len(l.messages))
	return l
}

// next makes the bodies of the next ten seconds.
func (l *load) next() {
	l.now += 10_000
	for i, msg := range l.messages {
		for n, at := range l.times[i] {
			binary.PutUvarint(msg[at:], uint64(l.now))
			if v := msg[l.values[i][n]:]; (n+int(l.now/10_000))%2 == 0 {
				binary.LittleEndian.PutUint64(v, math.Float64bits(math.Float64frombits(binary.LittleEndian.Uint64(v))+float64(n%50)))
			}
		}
		l.bodies[i] = snappy.Encode(l.bodies[i][:cap(l.bodies[i])], msg)
	}
}

// cpuTime is what the process has used, of all threads.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type discardWriter struct {
	header http.Header
	status int
}

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *discardWriter) WriteHeader(status int)      { w.status = status }

type memoryBody struct{ *bytes.Reader }

func (memoryBody) Close() error { return nil }

// benchServe measures a handler under the load. It reports CPU time, which other
// programs on the machine disturb less than the clock.
func benchServe(b *testing.B, v2 bool, serve func(w http.ResponseWriter, r *http.Request)) {
	l := newLoad(b, benchSeries, benchRequest, v2)
	contentType := "application/x-protobuf"
	if v2 {
		contentType += ";proto=io.prometheus.write.v2.Request"
	}
	reader := bytes.NewReader(nil)
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/", nil)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Content-Encoding", "snappy")
	w := &discardWriter{header: http.Header{}}
	round := func() {
		for _, body := range l.bodies {
			reader.Reset(body)
			r.Body = memoryBody{reader}
			w.status = 0
			if serve(w, r); w.status/100 != 2 {
				b.Fatal("status", w.status)
			}
		}
	}
	l.next()
	round()
	l.next()
	round()
	runtime.GC()
	var cpu time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		l.next()
		b.StartTimer()
		before := cpuTime()
		round()
		cpu += cpuTime() - before
	}
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N)/benchSeries, "cpu-ns/sample")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchSeries, "ns/sample")
}

func benchFixture(b *testing.B) *fixture {
	return open(b, Limits{MaxSampleRate: -1, MaxSampleAge: -1, MaxSampleFuture: -1}, func(_ *Config, s *store.Config) { s.MaxExemplars = 10_000 })
}

func BenchmarkWrite(b *testing.B) {
	for _, v2 := range []bool{false, true} {
		version := map[bool]string{false: "1.0", true: "2.0"}[v2]
		b.Run("mangru/"+version, func(b *testing.B) {
			f := benchFixture(b)
			benchServe(b, v2, func(w http.ResponseWriter, r *http.Request) {
				if err := f.ServeWorkspace(w, r, ws); err != nil {
					b.Fatal(err)
				}
			})
		})
		b.Run("prometheus/"+version, func(b *testing.B) {
			f := benchFixture(b)
			h := remote.NewWriteHandler(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), f.db(b).DB.DB,
				remoteapi.MessageTypes{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType}, true, false, false)
			benchServe(b, v2, h.ServeHTTP)
		})
	}
}

// BenchmarkTSDB is what the database takes of BenchmarkWrite.
func BenchmarkTSDB(b *testing.B) {
	f := benchFixture(b)
	db := f.db(b).DB.DB
	refs := make([]storage.SeriesRef, benchSeries)
	now, value := benchStart(), benchValue
	round := func() {
		now += 10_000
		for from := 0; from < len(refs); from += benchRequest {
			app := db.Appender(context.Background())
			for i := from; i < min(from+benchRequest, len(refs)); i++ {
				l := labels.EmptyLabels()
				if refs[i] == 0 {
					l = labels.FromStrings(benchLabels(i)...)
				}
				ref, err := app.Append(refs[i], l, now, value+float64(now/10_000/2)*float64(i%50))
				if err != nil {
					b.Fatal(err)
				}
				refs[i] = ref
			}
			require.NoError(b, app.Commit())
		}
	}
	round()
	round()
	runtime.GC()
	before := cpuTime()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		round()
	}
	b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N)/benchSeries, "cpu-ns/sample")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchSeries, "ns/sample")
}

// BenchmarkReplay is what samples cost that are in order in their series, but
// more than an hour behind the workspace: 150 of each of 2000 series.
func BenchmarkReplay(b *testing.B) {
	for _, behind := range []time.Duration{10 * time.Minute, 3 * time.Hour} {
		b.Run(behind.String(), func(b *testing.B) {
			var cpu time.Duration
			var heap uint64
			for b.Loop() {
				b.StopTimer()
				f := benchFixture(b)
				ahead := f.one(1, "__name__", "ahead")
				ahead.Samples[0].Timestamp = time.Now().UnixMilli()
				code, text := f.post(b, encode(ahead))
				require.Equal(b, 200, code, text)
				l := newLoad(b, benchRequest, benchRequest, false)
				l.now = time.Now().Add(-behind).UnixMilli()
				for range 150 {
					l.now -= 6000 // a sample every four seconds
					l.next()
					b.StartTimer()
					before := cpuTime()
					code, text := f.post(b, l.bodies[0])
					cpu += cpuTime() - before
					b.StopTimer()
					require.Equal(b, 200, code, text)
				}
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				heap = m.HeapAlloc
				b.StartTimer()
			}
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N)/150/benchRequest, "cpu-ns/sample")
			b.ReportMetric(float64(heap)/150/benchRequest, "heap-B/sample")
		})
	}
}
