package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/server/store"
	"github.com/mangru/mangru/internal/wire"
)

const contentTypeV2 = wire.ContentTypeV2

// requestV2 builds a request of 2.0.
type requestV2 struct {
	table writev2.SymbolsTable
	req   writev2.Request
}

func newRequestV2() *requestV2 { return &requestV2{table: writev2.NewSymbolTable()} }

// add adds a series, whose labels are pairs of name and value, and returns it.
func (r *requestV2) add(pairs ...string) *writev2.TimeSeries {
	var refs []uint32
	for _, s := range pairs {
		refs = append(refs, r.table.Symbolize(s))
	}
	r.req.Timeseries = append(r.req.Timeseries, writev2.TimeSeries{LabelsRefs: refs})
	return &r.req.Timeseries[len(r.req.Timeseries)-1]
}

func (r *requestV2) body(t testing.TB) []byte {
	t.Helper()
	r.req.Symbols = r.table.Symbols()
	msg, err := r.req.Marshal()
	require.NoError(t, err)
	return snappy.Encode(nil, msg)
}

func serveV2(t testing.TB, serve http.HandlerFunc, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentTypeV2)
	r.Header.Set("Content-Encoding", "snappy")
	serve(w, r)
	return w
}

func (f *fixture) serve(t testing.TB) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { require.NoError(t, f.ServeWorkspace(w, r, ws)) }
}

func (f *fixture) postV2(t testing.TB, r *requestV2) *httptest.ResponseRecorder {
	t.Helper()
	return serveV2(t, f.serve(t), r.body(t))
}

func writtenOf(w *httptest.ResponseRecorder) string {
	h := w.Header()
	return h.Get(wire.WrittenSamplesHeader) + " " + h.Get(wire.WrittenHistogramsHeader) + " " + h.Get(wire.WrittenExemplarsHeader)
}

// dump reads everything: series -> what its samples are, in order of time.
func dump(t testing.TB, db *store.Handle) map[string][]string {
	t.Helper()
	q, err := db.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer func() { _ = q.Close() }()
	out := map[string][]string{}
	set := q.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	for set.Next() {
		it := set.At().Iterator(nil)
		name := set.At().Labels().String()
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			s := ""
			switch typ {
			case chunkenc.ValFloat:
				ts, v := it.At()
				s = fmt.Sprint(ts, " ", math.Float64bits(v))
			case chunkenc.ValHistogram:
				ts, h := it.AtHistogram(nil)
				s = fmt.Sprint(ts, " ", h.String(), h.CustomValues)
			default:
				ts, h := it.AtFloatHistogram(nil)
				s = fmt.Sprint(ts, " float ", h.String(), h.CustomValues)
			}
			out[name] = append(out[name], s)
		}
		require.NoError(t, it.Err())
	}
	require.NoError(t, set.Err())
	return out
}

func (f *fixture) exemplars(t testing.TB) int {
	t.Helper()
	q, err := f.db(t).ExemplarQuerier(context.Background())
	require.NoError(t, err)
	got, err := q.Select(0, math.MaxInt64, []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+")})
	require.NoError(t, err)
	n := 0
	for _, s := range got {
		n += len(s.Exemplars)
	}
	return n
}

func TestV2TakesEverything(t *testing.T) {
	f := open(t, Limits{})
	now := f.now.UnixMilli()
	for i := range int64(3) {
		r := newRequestV2()
		c := r.add("__name__", "c_total", "job", "é")
		c.Samples = []writev2.Sample{{Value: float64(i), Timestamp: now + i, StartTimestamp: now - 1000}}
		c.Exemplars = []writev2.Exemplar{{LabelsRefs: []uint32{r.table.Symbolize("trace_id"), r.table.Symbolize("x")}, Value: 1, Timestamp: now + i}}
		c.Metadata = writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: r.table.Symbolize("what it counts"), UnitRef: r.table.Symbolize("bytes")}
		h := r.add("__name__", "h")
		h.Histograms = []writev2.Histogram{writev2.FromIntHistogram(now-500, now+i, tsdbutil.GenerateTestHistogram(i))}
		b := r.add("__name__", "n_bucket", "le", "1")
		b.Samples = []writev2.Sample{{Value: 1, Timestamp: now + i}}
		b.Metadata = writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_HISTOGRAM}
		custom := r.add("__name__", "custom")
		custom.Histograms = []writev2.Histogram{writev2.FromFloatHistogram(0, now+i, tsdbutil.GenerateTestCustomBucketsFloatHistogram(i))}
		w := f.postV2(t, r)
		require.Equal(t, 204, w.Code, w.Body)
		require.Equal(t, "2 2 1", writtenOf(w))
	}
	got := dump(t, f.db(t))
	zero := fmt.Sprint(now-1000, " ", 0)
	require.Equal(t, []string{zero, fmt.Sprint(now, " ", 0), fmt.Sprint(now+1, " ", math.Float64bits(1)), fmt.Sprint(now+2, " ", math.Float64bits(2))}, got[`{__name__="c_total", job="é"}`])
	require.Len(t, got[`{__name__="h"}`], 4, "three and where they began")
	require.Len(t, got[`{__name__="custom"}`], 3)
	require.Contains(t, got[`{__name__="custom"}`][0], "[0 1 2 3 4]")
	require.Equal(t, 3, f.exemplars(t))
	require.Equal(t, map[string][3]string{"c_total": {"counter", "what it counts", "bytes"}, "n": {"histogram", "", ""}}, f.metadata(t))
	require.Equal(t, 12.0, testutil.ToFloat64(f.metrics.stored.WithLabelValues(ws)))

	// A new start is a new zero.
	r := newRequestV2()
	r.add("__name__", "c_total", "job", "é").Samples = []writev2.Sample{{Value: 1, Timestamp: now + 5000, StartTimestamp: now + 4000}}
	require.Equal(t, 204, f.postV2(t, r).Code)
	require.Contains(t, dump(t, f.db(t))[`{__name__="c_total", job="é"}`], fmt.Sprint(now+4000, " ", 0))
}

func TestV2TextStaysWhenItIsNotRepeated(t *testing.T) {
	f := open(t, Limits{})
	for i, help := range []string{"text", "", "other", ""} {
		for _, name := range []string{"a", "b"} {
			r := newRequestV2()
			ts := r.add("__name__", "m", "x", name)
			ts.Samples = []writev2.Sample{{Value: 1, Timestamp: f.now.UnixMilli() + int64(i)}}
			ts.Metadata = writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_GAUGE, HelpRef: r.table.Symbolize(help)}
			require.Equal(t, 204, f.postV2(t, r).Code)
		}
	}
	require.Equal(t, map[string][3]string{"m": {"gauge", "other", ""}}, f.metadata(t))
}

func TestV2PartialAcceptance(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(r *requestV2, ts *writev2.TimeSeries)
		text  string
		want  reason
	}{
		"reference beyond the table": {func(_ *requestV2, ts *writev2.TimeSeries) { ts.LabelsRefs = []uint32{1, 999} }, "999 of", reasonLabelInvalid},
		"half a pair":                {func(_ *requestV2, ts *writev2.TimeSeries) { ts.LabelsRefs = ts.LabelsRefs[:3] }, "not pairs", reasonLabelInvalid},
		"help beyond the table":      {func(_ *requestV2, ts *writev2.TimeSeries) { ts.Metadata.HelpRef = 999 }, "999 of", reasonMetadataInvalid},
		"no samples":                 {func(_ *requestV2, ts *writev2.TimeSeries) { ts.Samples = nil }, "neither samples nor histograms", ""},
		"no name":                    {func(r *requestV2, ts *writev2.TimeSeries) { ts.LabelsRefs = ts.LabelsRefs[2:] }, "without a metric name", reasonNoName},
		"too old":                    {func(_ *requestV2, ts *writev2.TimeSeries) { ts.Samples[0].Timestamp = 1 }, "limits.max_sample_age", reasonTooOld},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, Limits{})
			r := newRequestV2()
			now := f.now.UnixMilli()
			good := r.add("__name__", "good")
			good.Samples = []writev2.Sample{{Value: 1, Timestamp: now}}
			bad := r.add("__name__", "bad", "a", "b")
			bad.Samples = []writev2.Sample{{Value: 1, Timestamp: now}}
			tc.spoil(r, bad)
			also := r.add("__name__", "also")
			also.Histograms = []writev2.Histogram{writev2.FromIntHistogram(0, now, tsdbutil.GenerateTestHistogram(1))}
			w := f.postV2(t, r)
			require.Equal(t, 400, w.Code)
			require.Contains(t, w.Body.String(), tc.text)
			require.Equal(t, "1 1 0", writtenOf(w))
			require.Len(t, dump(t, f.db(t)), 2)
			if tc.want != "" {
				require.Equal(t, 1.0, f.discarded(tc.want))
			}
		})
	}
}

func TestV2RefusedAsAWhole(t *testing.T) {
	f := open(t, Limits{})
	w := serveV2(t, f.serve(t), snappy.Encode(nil, []byte("\x2a\x05\x0a")))
	require.Equal(t, 400, w.Code)
	require.Equal(t, "0 0 0", writtenOf(w))
	f.commit = waiting{io.ErrShortWrite}
	r := newRequestV2()
	r.add("__name__", "a").Samples = []writev2.Sample{{Value: 1, Timestamp: f.now.UnixMilli()}}
	w = f.postV2(t, r)
	require.Equal(t, 503, w.Code)
	require.Equal(t, "5", w.Header().Get("Retry-After"))
	require.Equal(t, "0 0 0", writtenOf(w))
}

func TestZstd(t *testing.T) {
	f := open(t, Limits{MaxDecompressedBytes: 1000})
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	defer func() { _ = enc.Close() }()
	post := func(body []byte) int {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Encoding", "zstd")
		w := httptest.NewRecorder()
		require.NoError(t, f.ServeWorkspace(w, r, ws))
		return w.Code
	}
	msg, err := snappy.Decode(nil, encode(f.one(1, "__name__", "a")))
	require.NoError(t, err)
	require.Equal(t, 200, post(enc.EncodeAll(msg, nil)))
	require.Equal(t, map[string][]float64{`{__name__="a"}`: {1}}, f.read(t))
	require.Equal(t, 400, post([]byte("no zstd")))
	require.Equal(t, 413, post(enc.EncodeAll(make([]byte, 1001), nil)))
	// Several frames, of which only the first says how long it is.
	one := enc.EncodeAll(make([]byte, 900), nil)
	require.Equal(t, 413, post(append(bytes.Clone(one), one...)))
}

// generator makes requests of what senders send, and of what they should not.
type generator struct {
	rnd *rand.Rand
	now int64
}

func (g *generator) pairs() []string {
	pairs := []string{"__name__", fmt.Sprintf("m%d", g.rnd.IntN(12)), "job", fmt.Sprintf("j%d", g.rnd.IntN(3))}
	if pairs[1] == "m3" {
		pairs = append(pairs, "zone", "")
	}
	return pairs
}

// times returns one to three times, mostly rising and mostly new.
func (g *generator) times() []int64 {
	ts := []int64{g.now - g.rnd.Int64N(3)*1000}
	switch g.rnd.IntN(8) {
	case 0:
		ts = append(ts, ts[0]+1)
	case 1:
		ts = append(ts, ts[0]-20_000)
	case 2:
		ts[0] -= 90_000 // behind the window, if it is not new
	}
	return ts
}

func (g *generator) histogram() (*histogram.Histogram, *histogram.FloatHistogram) {
	i := g.rnd.Int64N(5)
	switch g.rnd.IntN(7) {
	case 0:
		return tsdbutil.GenerateTestCustomBucketsHistogram(i), nil
	case 1:
		return nil, tsdbutil.GenerateTestCustomBucketsFloatHistogram(i)
	case 2:
		return nil, tsdbutil.GenerateTestFloatHistogram(i)
	case 3:
		h := tsdbutil.GenerateTestHistogram(i)
		h.Schema = 12 // is brought down
		return h, nil
	case 4:
		h := tsdbutil.GenerateTestHistogram(i)
		h.Count += 100 // is wrong
		return h, nil
	}
	return tsdbutil.GenerateTestHistogram(i), nil
}

// fill gives a series samples or histograms.
func (g *generator) fill(r *requestV2, ts *writev2.TimeSeries, spoil bool) {
	start := int64(0)
	if g.rnd.IntN(3) == 0 {
		start = g.now - 5000 - g.now%60_000
	}
	for _, at := range g.times() {
		if g.rnd.IntN(4) == 0 {
			h, fh := g.histogram()
			if h != nil && h.Validate() != nil && h.Schema <= 8 {
				start = 0 // Prometheus keeps the zero of a histogram that it refuses
			}
			ts.Samples = nil // a series has the one or the other
			at += 500        // and which one is read of two with one time is not said
			if h != nil {
				ts.Histograms = append(ts.Histograms, writev2.FromIntHistogram(start, at, h))
			} else {
				ts.Histograms = append(ts.Histograms, writev2.FromFloatHistogram(start, at, fh))
			}
			break
		}
		ts.Samples = append(ts.Samples, writev2.Sample{Value: float64(g.rnd.IntN(3)), Timestamp: at, StartTimestamp: start})
	}
	if g.rnd.IntN(5) == 0 && len(ts.LabelsRefs) == 4 { // Prometheus looks in vain for series with empty labels
		ts.Exemplars = []writev2.Exemplar{{LabelsRefs: []uint32{r.table.Symbolize("t"), r.table.Symbolize(fmt.Sprint(g.rnd.IntN(9)))},
			Value: 1, Timestamp: g.now - g.rnd.Int64N(9000)}}
	}
	if g.rnd.IntN(3) == 0 {
		ts.Metadata = writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: r.table.Symbolize("help")}
	}
	if !spoil {
		return
	}
	switch g.rnd.IntN(12) {
	case 0:
		ts.LabelsRefs = append(ts.LabelsRefs, 9999, 9999)
	case 1:
		ts.LabelsRefs = append(ts.LabelsRefs, ts.LabelsRefs[:2]...)
	case 2:
		ts.Samples, ts.Histograms, ts.Exemplars = nil, nil, nil
	case 3:
		ts.Metadata.UnitRef = 9999
	case 4:
		ts.LabelsRefs = ts.LabelsRefs[2:]
	}
}

func prometheusHandler(db *store.Handle) http.Handler {
	return remote.NewWriteHandler(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), db.DB.DB,
		remoteapi.MessageTypes{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType}, true, false, false)
}

// differential opens our handler and Prometheus' over databases that are alike.
func differential(t *testing.T) (ours *fixture, theirs http.Handler, theirDB *store.Handle) {
	t.Helper()
	window := func(_ *Config, s *store.Config) { s.OutOfOrderWindow = time.Minute }
	l := Limits{OutOfOrderWindow: time.Minute, MaxSampleAge: -1}
	ours, other := open(t, l, window), open(t, l, window)
	ours.now = time.Now()
	theirDB = other.db(t)
	// Room for exemplars is made when one comes by the store's own appender, which
	// Prometheus' handler goes around.
	app := theirDB.Appender(t.Context())
	_, err := app.AppendExemplar(0, labels.FromStrings("__name__", "none"), exemplar.Exemplar{})
	require.Error(t, err)
	require.NoError(t, app.Rollback())
	return ours, prometheusHandler(theirDB), theirDB
}

// requireSame compares two dumps and shows the first samples that differ.
func requireSame(t testing.TB, want, got map[string][]string) {
	t.Helper()
	require.NotEmpty(t, want)
	require.Len(t, got, len(want))
	for name, samples := range want {
		for i := range samples {
			require.Less(t, i, len(got[name]), name)
			require.Equal(t, samples[i], got[name][i], name)
		}
		require.Len(t, got[name], len(samples), name)
	}
}

// TestV2AsPrometheus sends the same requests to Prometheus' own handler: the
// answers and what is stored have to be the same.
func TestV2AsPrometheus(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			f, theirs, theirDB := differential(t)
			g := &generator{rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Now().Add(-10 * time.Minute).UnixMilli()}
			for n := range 150 {
				g.now += 5000
				r := newRequestV2()
				seen := map[string]bool{}
				for range 1 + g.rnd.IntN(15) {
					pairs := g.pairs()
					if key := fmt.Sprint(pairs[1], pairs[3]); !seen[key] {
						seen[key] = true
						g.fill(r, r.add(pairs...), seed%2 == 1)
					}
				}
				body := r.body(t)
				a, b := serveV2(t, f.serve(t), body), serveV2(t, theirs.ServeHTTP, body)
				require.Equal(t, b.Code, a.Code, "request %d: %s\n%s", n, a.Body, b.Body)
				require.Equal(t, writtenOf(b), writtenOf(a), "request %d: %s\n%s", n, a.Body, b.Body)
			}
			requireSame(t, dump(t, theirDB), dump(t, f.db(t)))
		})
	}
}

// TestV1AsPrometheus is the same for 1.0, with what is good only: for the rest
// Prometheus takes nothing of a request, and we take the rest.
func TestV1AsPrometheus(t *testing.T) {
	f, theirs, theirDB := differential(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	now := time.Now().Add(-10 * time.Minute).UnixMilli()
	for range 150 {
		now += 2000
		var req prompb.WriteRequest
		for i := range 20 {
			ts := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "m"}, {Name: "i", Value: fmt.Sprint(i)}}}
			switch {
			case rnd.IntN(3) == 0:
				continue
			case i < 5:
				ts.Histograms = []prompb.Histogram{prompb.FromIntHistogram(now, tsdbutil.GenerateTestHistogram(rnd.Int64N(9)))}
			case i < 8:
				ts.Histograms = []prompb.Histogram{prompb.FromFloatHistogram(now, tsdbutil.GenerateTestCustomBucketsFloatHistogram(rnd.Int64N(9)))}
			default:
				ts.Samples = []prompb.Sample{{Timestamp: now, Value: float64(rnd.IntN(3))}, {Timestamp: now + 500, Value: 1}}
			}
			req.Timeseries = append(req.Timeseries, ts)
		}
		rnd.Shuffle(len(req.Timeseries), func(i, j int) { req.Timeseries[i], req.Timeseries[j] = req.Timeseries[j], req.Timeseries[i] })
		body := encode(req.Timeseries...)
		code, text := f.post(t, body)
		require.Equal(t, 200, code, text)
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Encoding", "snappy")
		theirs.ServeHTTP(w, r)
		require.Equal(t, 204, w.Code, w.Body)
	}
	want := dump(t, theirDB)
	require.Len(t, want, 20)
	requireSame(t, want, dump(t, f.db(t)))
}
