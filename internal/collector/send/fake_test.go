package send

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
	"unique"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/otelconf"
	"github.com/mangru/mangru/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeQueue is a Queue over a list of spans, oldest first.
type fakeQueue struct {
	mu      sync.Mutex
	entries []*fakeEntry
	closed  bool
	changed chan struct{} // closed at the next change
	readers int
}

type fakeEntry struct {
	span   model.Span
	at     time.Time
	leased *fakeReader
}

// newQueue returns a queue that is closed: readers get all at once, then io.EOF.
func newQueue(spans ...model.Span) *fakeQueue {
	q := &fakeQueue{changed: make(chan struct{})}
	q.push(spans...)
	q.close()
	return q
}

func (q *fakeQueue) push(spans ...model.Span) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, sp := range spans {
		q.entries = append(q.entries, &fakeEntry{span: sp, at: time.Now()})
	}
	q.change()
}

func (q *fakeQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.change()
}

func (q *fakeQueue) change() {
	close(q.changed)
	q.changed = make(chan struct{})
}

func (q *fakeQueue) Reader() Source {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.readers++
	return &fakeReader{q: q}
}

func (q *fakeQueue) Waiting() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.entries {
		if e.leased == nil {
			n += e.span.Samples()
		}
	}
	return n
}

type fakeReader struct {
	q      *fakeQueue
	leased []*fakeEntry
	spans  []model.Span
}

func (r *fakeReader) Next(ctx context.Context, limit int, wait time.Duration) ([]model.Span, error) {
	for {
		r.q.mu.Lock()
		if len(r.leased) > 0 {
			panic("Next without Settle")
		}
		due, any := r.lease(limit, wait)
		closed, left, changed := r.q.closed, len(r.q.entries), r.q.changed
		r.q.mu.Unlock()
		if any {
			return r.spans, nil
		}
		if closed && left == 0 {
			return nil, io.EOF
		}
		var timer <-chan time.Time
		if due > 0 {
			t := time.NewTimer(due)
			defer t.Stop()
			timer = t.C
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		case <-timer:
		}
	}
}

// lease takes what it may, if that is enough or has waited for long enough.
func (r *fakeReader) lease(limit int, wait time.Duration) (due time.Duration, any bool) {
	locked := map[uint64]bool{}
	for _, e := range r.q.entries {
		if e.leased != nil {
			locked[e.span.Shape().Target] = true
		}
	}
	var free []*fakeEntry
	total := 0
	for _, e := range r.q.entries {
		if !locked[e.span.Shape().Target] {
			free = append(free, e)
			total += e.span.Samples()
		}
	}
	if len(free) == 0 {
		return 0, false
	}
	if due = wait - time.Since(free[0].at); total < limit && !r.q.closed && due > 0 {
		return due, false
	}
	r.spans = r.spans[:0]
	for _, e := range free {
		n := e.span.Samples()
		sp := e.span
		if n > limit {
			if len(r.spans) > 0 {
				break
			}
			sp = sp.Prefix(limit)
		}
		limit -= n
		e.leased = r
		r.leased, r.spans = append(r.leased, e), append(r.spans, sp)
	}
	return 0, true
}

func (r *fakeReader) Settle(n int) {
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	for i, e := range r.leased {
		e.leased = nil
		if i < n {
			e.span.From = r.spans[i].To
		}
	}
	var rest []*fakeEntry
	for _, e := range r.q.entries {
		if e.leased != nil || e.span.Samples() > 0 {
			rest = append(rest, e)
		}
	}
	r.q.entries, r.leased = rest, r.leased[:0]
	r.q.change()
}

// point is a sample or a histogram as it was stored.
type point struct {
	t    int64
	bits uint64 // of the value, or of the histogram's sum
	hist bool
}

// action is what a sink does with a request.
type action struct {
	status int
	header map[string]string
	body   string
	keep   int // how many samples are stored, -1 for all
	hang   bool
	reset  bool
	silent bool // 2.0 is answered without the headers that say what was written
}

// sink is a receiver of both versions that does as it is told.
type sink struct {
	mu         sync.Mutex
	got        map[string][]point
	exemplars  map[string]int
	families   map[string]model.Family
	typed      int // 2.0 series with a type
	requests   int
	underWay   int
	most       int // requests under way at once
	versions   []version
	kept       int
	answer     func(n int, v version, samples int) action
	onlyV1     string // what 2.0 requests get: "415", "silent", "400", "404"
	onlyV2     bool
	bodyLimit  int
	latency    time.Duration
	lastHeader http.Header
}

// seen returns how many requests there were, and how many at once.
func (s *sink) seen() (requests, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests, s.most
}

var errReset = errors.New("connection reset by peer")

// RoundTrip implements http.RoundTripper.
func (s *sink) RoundTrip(r *http.Request) (*http.Response, error) {
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.underWay++
	s.most = max(s.most, s.underWay)
	s.mu.Unlock()
	if s.latency > 0 {
		time.Sleep(s.latency)
	}
	rec := httptest.NewRecorder()
	err = s.serve(r, body, rec)
	s.mu.Lock()
	s.underWay--
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

func (s *sink) serve(r *http.Request, body []byte, rec *httptest.ResponseRecorder) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.lastHeader = r.Header
	v := v1
	if r.Header.Get("Content-Type") == wire.ContentTypeV2 {
		v = v2
	}
	s.versions = append(s.versions, v)
	raw, err := snappy.Decode(nil, body)
	if err != nil {
		panic(err)
	}
	content := readContent(v, raw)
	act := action{status: 204, keep: -1}
	switch {
	case s.bodyLimit > 0 && len(body) > s.bodyLimit:
		act = action{status: 413, body: "body too large"}
	case v == v2 && s.onlyV1 == "silent":
		act = action{status: 200, silent: true}
	case v == v2 && s.onlyV1 != "":
		act.keep = 0
		act.status, _ = strconv.Atoi(s.onlyV1)
		act.silent = true
	case v == v1 && s.onlyV2:
		act = action{status: 415}
	case s.answer != nil:
		if a := s.answer(s.requests, v, len(content.points)); a.status != 0 || a.hang || a.reset {
			act = a
		}
	}
	kept := s.store(content, act.keep)
	if act.hang {
		s.mu.Unlock()
		<-r.Context().Done()
		s.mu.Lock()
		return r.Context().Err()
	}
	if act.reset {
		return errReset
	}
	for k, val := range act.header {
		rec.Header().Set(k, val)
	}
	if v == v2 && !act.silent && act.status < 500 && act.status != 413 && act.status != 415 && act.status != 429 {
		h := 0
		for _, p := range content.points[:kept] {
			if p.hist {
				h++
			}
		}
		rec.Header().Set(wire.WrittenSamplesHeader, strconv.Itoa(kept-h))
		rec.Header().Set(wire.WrittenHistogramsHeader, strconv.Itoa(h))
		rec.Header().Set(wire.WrittenExemplarsHeader, strconv.Itoa(content.exemplarCount()))
	}
	rec.WriteHeader(act.status)
	rec.Body.WriteString(act.body)
	return nil
}

// store keeps the first samples of a request.
func (s *sink) store(c *requestContent, keep int) int {
	if s.got == nil {
		s.got, s.exemplars, s.families = map[string][]point{}, map[string]int{}, map[string]model.Family{}
	}
	if keep < 0 || keep > len(c.points) {
		keep = len(c.points)
	}
	for i, p := range c.points[:keep] {
		s.got[c.series[i]] = append(s.got[c.series[i]], p)
	}
	s.kept += keep
	if keep == len(c.points) && keep > 0 {
		for k, n := range c.exemplars {
			s.exemplars[k] += n
		}
		for k, f := range c.families {
			s.families[k] = f
		}
		s.typed += c.typed
	}
	return keep
}

// requestContent is a request as the reference decoders read it.
type requestContent struct {
	points    []point
	series    []string // of each point
	exemplars map[string]int
	families  map[string]model.Family // those with a text, by family or, in 2.0, by series' name
	typed     int
}

func (c *requestContent) exemplarCount() (n int) {
	for _, k := range c.exemplars {
		n += k
	}
	return n
}

func (c *requestContent) add(key string, p point) {
	c.points, c.series = append(c.points, p), append(c.series, key)
}

func readContent(v version, raw []byte) *requestContent {
	c := &requestContent{exemplars: map[string]int{}, families: map[string]model.Family{}}
	b := labels.NewScratchBuilder(0)
	if v == v1 {
		var req prompb.WriteRequest
		if err := req.Unmarshal(raw); err != nil {
			panic(err)
		}
		for _, ts := range req.Timeseries {
			key := ts.ToLabels(&b, nil).String()
			for _, s := range ts.Samples {
				c.add(key, point{s.Timestamp, math.Float64bits(s.Value), false})
			}
			for _, h := range ts.Histograms {
				c.add(key, point{h.Timestamp, math.Float64bits(h.Sum), true})
			}
			c.exemplars[key] += len(ts.Exemplars)
		}
		for _, m := range req.Metadata {
			c.families[m.MetricFamilyName] = model.Family{Name: m.MetricFamilyName, Help: m.Help, Unit: m.Unit, Type: model.MetricType(m.Type)}
		}
		return c
	}
	var req writev2.Request
	if err := req.Unmarshal(raw); err != nil {
		panic(err)
	}
	for _, ts := range req.Timeseries {
		ls, err := ts.ToLabels(&b, req.Symbols)
		if err != nil {
			panic(err)
		}
		key := ls.String()
		for _, s := range ts.Samples {
			c.add(key, point{s.Timestamp, math.Float64bits(s.Value), false})
		}
		for _, h := range ts.Histograms {
			c.add(key, point{h.Timestamp, math.Float64bits(h.Sum), true})
		}
		c.exemplars[key] += len(ts.Exemplars)
		f := model.Family{Name: ls.Get("__name__"), Help: req.Symbols[ts.Metadata.HelpRef], Unit: req.Symbols[ts.Metadata.UnitRef], Type: model.MetricType(ts.Metadata.Type)}
		if f.Help != "" {
			c.families[f.Name] = f
		}
		if f.Type != 0 {
			c.typed++
		}
	}
	return c
}

func histogramBytes(t int64, sum float64) []byte {
	p := prompb.FromIntHistogram(t, &histogram.Histogram{
		Schema: 1, Count: 5, Sum: sum, PositiveSpans: []histogram.Span{{Length: 2}}, PositiveBuckets: []int64{2, 1},
	})
	b, err := p.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

// targetFrames makes the frames of a target, in spans of some frames each, with
// everything that a frame can have.
func targetFrames(rnd *rand.Rand, target uint64, n int) (out []model.Span) {
	gen, version := uint64(0), uint64(0)
	var b *model.LabelsBuilder
	var shape *model.Shape
	var frames []*model.Frame
	flush := func() {
		if len(frames) > 0 {
			out = append(out, model.Whole(frames))
			frames = nil
		}
	}
	for ts := range n {
		if b == nil || rnd.IntN(20) == 0 { // a new list
			flush()
			gen++
			b, shape = &model.LabelsBuilder{}, &model.Shape{}
		}
		if k := rnd.IntN(3); k > 0 || b.Len() == 0 {
			version++
			family := append([]uint16(nil), shape.Family...)
			families := append(shape.Families[:0:0], shape.Families...)
			for range k + 1 {
				b.Append([]model.Label{{Name: "__name__", Value: fmt.Sprintf("m%d", b.Len())}, {Name: "t", Value: fmt.Sprint(target)}})
				if rnd.IntN(2) == 0 {
					families = append(families, unique.Make(model.Family{Name: fmt.Sprintf("m%d", b.Len()-1), Help: "about m", Type: model.TypeGauge}))
					family = append(family, uint16(len(families)))
				} else {
					family = append(family, 0)
				}
			}
			shape = &model.Shape{Families: families, Family: family}
			shape.Labels, shape.Target, shape.Generation, shape.Version = b.Labels(), target, gen, version
		}
		frames = append(frames, randomFrame(rnd, shape, int64(1000*(ts+1))))
		if rnd.IntN(2) == 0 {
			flush()
		}
	}
	flush()
	return out
}

func randomFrame(rnd *rand.Rand, shape *model.Shape, t int64) *model.Frame {
	f := &model.Frame{Shape: shape, Time: t, Values: make([]float64, shape.Slots())}
	if rnd.IntN(3) == 0 {
		for range f.Values {
			f.Times = append(f.Times, t-rnd.Int64N(100))
		}
	}
	busy := rnd.IntN(3) == 0
	for i := range f.Values {
		switch rnd.IntN(8) {
		case 0:
			f.Values[i] = model.Absent()
		case 1:
			f.Values[i] = model.Stale()
		default:
			f.Values[i] = rnd.Float64()
		}
		for k := 0; busy && k < 4 && rnd.IntN(3) == 0; k++ {
			x := model.Extra{Slot: int32(i), Kind: model.ExtraKind(rnd.IntN(3)), Time: t - 500 + int64(k), Value: rnd.Float64()}
			switch x.Kind {
			case model.ExtraHistogram:
				x.Histogram = histogramBytes(x.Time, rnd.Float64())
			case model.ExtraExemplar:
				x.Labels = []model.Label{{Name: "trace_id", Value: fmt.Sprint(rnd.Uint64())}}
			}
			f.Extras = append(f.Extras, x)
		}
	}
	return f
}

// expect lists every sample of the spans by series, in order; external has a
// label that all series get.
func expect(all ...[]model.Span) map[string][]point {
	want := map[string][]point{}
	for _, spans := range all {
		for _, sp := range spans {
			for c := sp.From; c < sp.To; c++ {
				slot, f := sp.Cell(c)
				if slot >= f.Shape.Slots() {
					continue
				}
				ls := []string{"zone", "ext"}
				for _, l := range sp.Shape().Labels.Append(nil, slot) {
					ls = append(ls, l.Name, l.Value)
				}
				key := labels.FromStrings(ls...).String()
				for _, x := range f.ExtrasOf(slot) {
					switch x.Kind {
					case model.ExtraSample:
						want[key] = append(want[key], point{x.Time, math.Float64bits(x.Value), false})
					case model.ExtraHistogram:
						var h prompb.Histogram
						if err := h.Unmarshal(x.Histogram); err != nil {
							panic(err)
						}
						want[key] = append(want[key], point{x.Time, math.Float64bits(h.Sum), true})
					}
				}
				if v := f.Values[slot]; !model.IsAbsent(v) {
					at := f.Time
					if f.Times != nil {
						at = f.Times[slot]
					}
					want[key] = append(want[key], point{at, math.Float64bits(v), false})
				}
			}
		}
	}
	return want
}

func total(spans ...[]model.Span) (n int) {
	for _, list := range spans {
		for _, sp := range list {
			n += sp.Samples()
		}
	}
	return n
}

// audit checks that what was stored is what there was: every sample once, and
// each series in order. A sample may come again later, with the same value, after
// an answer that got lost. It returns how many did, and how many never came.
func audit(t *testing.T, want, got map[string][]point) (repeated, missing int) {
	t.Helper()
	for key := range got {
		if want[key] == nil {
			t.Fatalf("stored series %s is nobody's", key)
		}
	}
	for key, w := range want {
		pos := 0
		for _, p := range got[key] {
			next := pos
			for next < len(w) && w[next] != p {
				next++
			}
			if next < len(w) {
				missing += next - pos
				pos = next + 1
				continue
			}
			if !slices.Contains(w[:pos], p) {
				t.Fatalf("%s: stored %+v is nobody's", key, p)
			}
			repeated++
		}
		missing += len(w) - pos
	}
	return repeated, missing
}

func config() Config {
	return Config{
		Endpoint: otelconf.Endpoint{
			Name: "test", URL: "http://sink.test/write?token=hidden", Timeout: 5 * time.Second, MaxShards: 4,
			MaxRequestBytes: 1 << 20, MaxSamplesPerRequest: 50, SendExemplars: true, SendNativeHistograms: true, SendMetadata: true,
			Retry:          otelconf.Retry{Initial: time.Second, Max: 30 * time.Second},
			ExternalLabels: labels.FromStrings("zone", "ext", "t", "never"),
		},
		BatchTimeout: time.Second,
		UserAgent:    "mangru/test",
	}
}

func newSender(t *testing.T, cfg Config, transport http.RoundTripper) (*Sender, *prometheus.Registry) {
	t.Helper()
	cfg.Transport = transport
	reg := prometheus.NewPedanticRegistry()
	s, err := New(cfg, NewMetrics(reg), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return s, reg
}

func refusal(status int, body string) action {
	return action{status: status, body: body}
}

// handler is a transport that calls a handler.
type handler struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (h handler) RoundTrip(r *http.Request) (*http.Response, error) {
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	in.Body = io.NopCloser(bytes.NewReader(body))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, in)
	return rec.Result(), nil
}
