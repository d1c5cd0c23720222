package wire

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
)

// encoder is what both versions do.
type encoder interface {
	Reset()
	Target(l model.Labels)
	Family(f model.Family, describe bool)
	One(series int, t int64, v float64)
	Open(series int)
	Sample(t int64, v float64)
	Started(t, start int64, v float64)
	Histogram(msg []byte, start int64)
	Exemplar(t int64, v float64, labels []model.Label)
	Close() (exemplars bool)
	Finish() []byte
}

// content is what a series of a request holds, in neither version's form.
type content struct {
	labels     []model.Label
	samples    []Sample
	starts     []int64  // of samples and histograms; none in 1.0
	histograms []string // encoded
	exemplars  []exemplar
	kind       model.MetricType
	help, unit string
}

type exemplar struct {
	Sample
	labels []model.Label
}

// plain makes NaNs comparable.
func (c content) String() string {
	s := fmt.Sprint(c.labels, c.kind, c.help, c.unit, c.histograms, c.starts)
	for _, x := range c.samples {
		s += fmt.Sprint(x.Time, math.Float64bits(x.Value))
	}
	for _, x := range c.exemplars {
		s += fmt.Sprint(x.labels, x.Time, math.Float64bits(x.Value))
	}
	return s
}

func readV1(tb testing.TB, msg []byte) (out []content, families []prompb.MetricMetadata) {
	var req prompb.WriteRequest
	require.NoError(tb, req.Unmarshal(msg))
	list := func(in []prompb.Label) (out []model.Label) {
		for _, l := range in {
			out = append(out, model.Label{Name: l.Name, Value: l.Value})
		}
		return out
	}
	for _, ts := range req.Timeseries {
		c := content{labels: list(ts.Labels)}
		for _, s := range ts.Samples {
			c.samples = append(c.samples, Sample{s.Timestamp, s.Value})
		}
		for _, h := range ts.Histograms {
			b, err := h.Marshal()
			require.NoError(tb, err)
			c.histograms = append(c.histograms, string(b))
		}
		for _, e := range ts.Exemplars {
			c.exemplars = append(c.exemplars, exemplar{Sample{e.Timestamp, e.Value}, list(e.Labels)})
		}
		out = append(out, c)
	}
	return out, req.Metadata
}

func readV2(tb testing.TB, msg []byte) (out []content) {
	var req writev2.Request
	require.NoError(tb, req.Unmarshal(msg))
	require.Empty(tb, req.Symbols[0], "the first symbol must be empty")
	unique := map[string]bool{}
	for _, s := range req.Symbols {
		require.False(tb, unique[s], "symbol %q is there twice", s)
		unique[s] = true
	}
	list := func(refs []uint32) (out []model.Label) {
		for ; len(refs) > 0; refs = refs[2:] {
			out = append(out, model.Label{Name: req.Symbols[refs[0]], Value: req.Symbols[refs[1]]})
		}
		return out
	}
	for _, ts := range req.Timeseries {
		m := ts.Metadata
		c := content{labels: list(ts.LabelsRefs), kind: model.MetricType(m.Type), help: req.Symbols[m.HelpRef], unit: req.Symbols[m.UnitRef]}
		require.NotZero(tb, len(ts.Samples)+len(ts.Histograms), "a series needs a sample")
		for _, s := range ts.Samples {
			c.samples = append(c.samples, Sample{s.Timestamp, s.Value})
			c.starts = append(c.starts, s.StartTimestamp)
		}
		for _, h := range ts.Histograms {
			c.starts = append(c.starts, h.StartTimestamp)
			h.StartTimestamp = 0
			b, err := h.Marshal()
			require.NoError(tb, err)
			c.histograms = append(c.histograms, string(b))
		}
		for _, e := range ts.Exemplars {
			c.exemplars = append(c.exemplars, exemplar{Sample{e.Timestamp, e.Value}, list(e.LabelsRefs)})
		}
		out = append(out, c)
	}
	return out
}

// merged is what external labels make of a series' own.
func merged(own, external []model.Label) []model.Label {
	out := slices.Clone(own)
	for _, x := range external {
		if x.Value != "" && !slices.ContainsFunc(own, func(l model.Label) bool { return l.Name == x.Name }) {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b model.Label) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func encodedHistogram(r *rand.Rand) []byte {
	h := &histogram.Histogram{
		Schema: 2, Count: r.Uint64N(100) + 1, Sum: r.Float64(), ZeroThreshold: 1e-9, ZeroCount: 1,
		PositiveSpans: []histogram.Span{{Offset: -3, Length: 2}}, PositiveBuckets: []int64{3, -1},
	}
	p := prompb.FromIntHistogram(r.Int64N(1e12), h)
	b, err := p.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

// randomName returns names of every length class, some of them usual.
func randomName(r *rand.Rand) string {
	if r.IntN(20) == 0 {
		return string(bytes.Repeat([]byte{byte('a' + r.IntN(26))}, r.IntN(400)))
	}
	return fmt.Sprintf("l%d", r.IntN(60))
}

func randomLabels(r *rand.Rand) (out []model.Label) {
	for range 1 + r.IntN(12) {
		n := randomName(r)
		if !slices.ContainsFunc(out, func(l model.Label) bool { return l.Name == n }) {
			out = append(out, model.Label{Name: n, Value: fmt.Sprint("v", r.IntN(50))})
		}
	}
	slices.SortFunc(out, func(a, b model.Label) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// write puts random targets with some series each into the encoder and returns
// what should come out.
func write(e encoder, r *rand.Rand, external []model.Label, size int) (want []content, described []model.Family) {
	_, second := e.(*EncoderV2)
	e.Reset()
	for range 1 + r.IntN(4) {
		var b model.LabelsBuilder
		var series [][]model.Label
		for range 1 + r.IntN(size) {
			series = append(series, randomLabels(r))
			b.Append(series[len(series)-1])
		}
		e.Target(b.Labels())
		var f model.Family
		describe := false
		for range size {
			if r.IntN(3) == 0 {
				describe = r.IntN(2) == 0
				f = model.Family{Name: randomName(r), Help: randomName(r), Unit: []string{"", "seconds"}[r.IntN(2)], Type: model.MetricType(r.IntN(8))}
				e.Family(f, describe)
				if describe {
					described = append(described, f)
				}
			}
			n := r.IntN(len(series))
			c := content{labels: merged(series[n], external), kind: f.Type, unit: f.Unit}
			if describe {
				c.help = f.Help
			}
			random := func() Sample {
				v := []float64{0, 1, math.Copysign(0, -1), math.NaN(), model.Stale(), math.Inf(-1), r.Float64()}[r.IntN(7)]
				return Sample{[]int64{0, 1, -1, math.MinInt64, math.MaxInt64, 1732278000123}[r.IntN(6)], v}
			}
			if r.IntN(2) == 0 {
				c.samples = []Sample{random()}
				if second {
					c.starts = []int64{0}
				}
				e.One(n, c.samples[0].Time, c.samples[0].Value)
				want = append(want, c)
				continue
			}
			e.Open(n)
			for range r.IntN(3) {
				x := exemplar{random(), randomLabels(r)[:r.IntN(2)]}
				c.exemplars = append(c.exemplars, x)
				e.Exemplar(x.Time, x.Value, x.labels)
			}
			for kind, k := r.IntN(2), r.IntN(4); k > 0; k-- {
				start := []int64{0, 1, -1, 1732278000123}[r.IntN(4)]
				switch x := random(); {
				case kind == 1:
					h := encodedHistogram(r)
					c.histograms = append(c.histograms, string(h))
					e.Histogram(h, start)
				case start == 0:
					c.samples = append(c.samples, x)
					e.Sample(x.Time, x.Value)
				default:
					c.samples = append(c.samples, x)
					e.Started(x.Time, start, x.Value)
				}
				if second {
					c.starts = append(c.starts, start)
				}
			}
			bare := len(c.samples)+len(c.histograms) == 0
			if kept := e.Close(); kept != (!second || !bare || len(c.exemplars) == 0) {
				panic("Close reports the wrong thing about exemplars")
			}
			if !bare || (!second && len(c.exemplars) > 0) {
				want = append(want, c)
			}
		}
	}
	return want, described
}

func checkBoth(tb testing.TB, r *rand.Rand, external []model.Label, size int) {
	first, second := NewEncoderV1(external), NewEncoderV2(external)
	for range 2 { // buffers are used again
		seed := r.Uint64()
		want, families := write(first, rand.New(rand.NewPCG(seed, 1)), external, size)
		for i := range want {
			want[i].kind, want[i].help, want[i].unit = 0, "", ""
		}
		got, described := readV1(tb, first.Finish())
		same(tb, want, got)
		require.Len(tb, described, len(families))
		for i, f := range families {
			d := described[i]
			require.Equal(tb, f, model.Family{Name: d.MetricFamilyName, Help: d.Help, Unit: d.Unit, Type: model.MetricType(d.Type)})
		}
		want, _ = write(second, rand.New(rand.NewPCG(seed, 1)), external, size)
		same(tb, want, readV2(tb, second.Finish()))
	}
}

func same(tb testing.TB, want, got []content) {
	tb.Helper()
	require.Len(tb, got, len(want))
	for i := range want {
		require.Equal(tb, want[i].String(), got[i].String(), "series %d", i)
	}
}

func TestEncodersAgainstTheReference(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		var external []model.Label
		for range r.IntN(30) { // more than fit beside the references, sometimes
			external = append(external, model.Label{Name: fmt.Sprintf("l%d", r.IntN(70)), Value: fmt.Sprint(r.IntN(2))})
		}
		slices.SortFunc(external, func(a, b model.Label) int { return cmp.Compare(a.Name, b.Name) })
		external = slices.CompactFunc(external, func(a, b model.Label) bool { return a.Name == b.Name })
		checkBoth(t, r, external, 60)
	}
}

func FuzzEncoders(f *testing.F) {
	f.Add(uint64(1), "cluster", "c", "zone", "")
	f.Add(uint64(2), "l1", "x", "l30", "y")
	f.Fuzz(func(t *testing.T, seed uint64, n1, v1, n2, v2 string) {
		external := []model.Label{{Name: n1, Value: v1}, {Name: n2, Value: v2}}
		if n1 == n2 {
			external = external[:1]
		}
		// What is no UTF-8 is no label, and is refused long before.
		for i := range external {
			external[i].Name, external[i].Value = string([]rune(external[i].Name)), string([]rune(external[i].Value))
		}
		if len(external) == 2 && external[0].Name == external[1].Name {
			external = external[:1]
		}
		checkBoth(t, rand.New(rand.NewPCG(seed, 7)), external, 4)
	})
}

// TestSameBytesAsTheReference: nothing is wasted.
func TestSameBytesAsTheReference(t *testing.T) {
	first, second := NewEncoderV1(nil), NewEncoderV2(nil)
	var b model.LabelsBuilder
	b.Append([]model.Label{{Name: "__name__", Value: "up"}, {Name: "job", Value: "ä"}})
	for _, e := range []encoder{first, second} {
		e.Reset()
		e.Target(b.Labels())
		e.Family(model.Family{Name: "up", Help: "h", Type: model.TypeGauge}, true)
		e.One(0, 1732278000123, 0)
		e.Open(0)
		e.Sample(5, 1.5)
		e.Exemplar(7, 2, []model.Label{{Name: "trace_id", Value: "x"}})
		e.Close()
	}
	var one prompb.WriteRequest
	require.NoError(t, one.Unmarshal(first.Finish()))
	want, err := one.Marshal()
	require.NoError(t, err)
	require.Equal(t, want, first.Finish()[:len(want)])

	var two writev2.Request
	require.NoError(t, two.Unmarshal(second.Finish()))
	require.NoError(t, err)
	want, err = two.Marshal()
	require.NoError(t, err)
	require.Equal(t, want, second.Finish())
}

func TestLongReferences(t *testing.T) {
	e := NewEncoderV2(nil)
	for _, refs := range [][2]uint32{{1, 2}, {127, 128}, {1 << 20, 1 << 27}, {1 << 21, 1 << 30}, {math.MaxUint32, math.MaxUint32}} {
		b := e.appendRefs([]byte("x"), e.pack(refs[0], refs[1]))
		name, n := binary.Uvarint(b[1:])
		value, m := binary.Uvarint(b[1+n:])
		require.Equal(t, refs, [2]uint32{uint32(name), uint32(value)})
		require.Len(t, b, 1+n+m)
	}
	require.Len(t, e.long, 2)
}

func TestEncodersDoNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var targets []model.Labels
	for range 3 {
		var b model.LabelsBuilder
		for range 300 {
			b.Append(randomLabels(r))
		}
		targets = append(targets, b.Labels())
	}
	external := []model.Label{{Name: "l3", Value: "x"}, {Name: "l45", Value: "y"}}
	h := encodedHistogram(r)
	ex := []model.Label{{Name: "trace_id", Value: "x"}}
	for _, e := range []encoder{NewEncoderV1(external), NewEncoderV2(external)} {
		request := func() {
			e.Reset()
			for _, l := range targets {
				e.Target(l)
				for i := range l.Len() {
					e.Family(model.Family{Name: "a", Help: "text", Type: model.TypeCounter}, i == 0)
					e.One(i, 1732278000123, 1)
				}
				e.Open(0)
				e.Histogram(h, 0)
				e.Exemplar(1, 1, ex)
				e.Close()
			}
			e.Finish()
		}
		request()
		request() // room for the symbols is made by the first
		require.Zero(t, testing.AllocsPerRun(10, request), "%T", e)
	}
}

func TestAppendSnappyKeepsWhatIsThere(t *testing.T) {
	src := bytes.Repeat([]byte("mangru "), 1000)
	for _, room := range []int{0, 10, 100000} {
		dst := append(make([]byte, 0, 3+room), "abc"...)
		dst = AppendSnappy(dst, src)
		require.Equal(t, "abc", string(dst[:3]))
		got, err := snappy.Decode(nil, dst[3:])
		require.NoError(t, err)
		require.Equal(t, src, got)
	}
}

func TestCustomBuckets(t *testing.T) {
	for name, c := range map[string]struct {
		h    prompb.Histogram
		want bool
	}{
		"exponential": {prompb.FromIntHistogram(1, &histogram.Histogram{Schema: 3, Count: 5, Sum: 2, ZeroThreshold: 1e-128, PositiveSpans: []histogram.Span{{Offset: 1, Length: 1}}, PositiveBuckets: []int64{5}}), false},
		"coarse":      {prompb.FromIntHistogram(1, &histogram.Histogram{Schema: -4, Count: 5, Sum: 2}), false},
		"empty":       {prompb.FromIntHistogram(1, &histogram.Histogram{}), false},
		"custom": {prompb.FromIntHistogram(1, &histogram.Histogram{
			Schema: histogram.CustomBucketsSchema, Count: 5, Sum: 2, CustomValues: []float64{1, 2},
			PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []int64{5},
		}), true},
		"custom floats": {prompb.FromFloatHistogram(1, &histogram.FloatHistogram{
			Schema: histogram.CustomBucketsSchema, Count: 5, Sum: 2, CustomValues: []float64{1, 2},
			PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []float64{5},
		}), true},
	} {
		msg, err := c.h.Marshal()
		require.NoError(t, err)
		require.Equal(t, c.want, CustomBuckets(msg), name)
		for n := range msg {
			CustomBuckets(msg[:n]) // also of what is cut off
		}
	}
}
