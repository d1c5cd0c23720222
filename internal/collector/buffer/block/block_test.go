package block

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
)

func shapeOf(slots int) *model.Shape {
	var b model.LabelsBuilder
	for i := range slots {
		b.Append([]model.Label{{Name: "s", Value: fmt.Sprint(i)}})
	}
	return &model.Shape{Labels: b.Labels()}
}

// sameFrames compares bit by bit; NaN payloads and the sign of zero count. What
// is absent may have any time.
func sameFrames(t testing.TB, want, got []*model.Frame, shape *model.Shape) {
	t.Helper()
	require.Len(t, got, len(want))
	for i, w := range want {
		g := got[i]
		require.Same(t, shape, g.Shape)
		require.Equal(t, w.Time, g.Time)
		require.Len(t, g.Values, len(w.Values))
		for s := range w.Values {
			if math.Float64bits(w.Values[s]) != math.Float64bits(g.Values[s]) {
				t.Fatalf("frame %d slot %d is %v (%#x), want %v (%#x)", i, s,
					g.Values[s], math.Float64bits(g.Values[s]), w.Values[s], math.Float64bits(w.Values[s]))
			}
		}
		sameTimes(t, w, g)
		require.Equal(t, w.Starts, g.Starts)
		require.Len(t, g.Extras, len(w.Extras), "frame %d", i)
		for k := range w.Extras {
			x, y := w.Extras[k], g.Extras[k]
			require.Equal(t, math.Float64bits(x.Value), math.Float64bits(y.Value))
			x.Value, y.Value = 0, 0
			require.Equal(t, x, y)
		}
	}
}

// sameTimes also sees to it that only frames that need times have them.
func sameTimes(t testing.TB, want, got *model.Frame) {
	t.Helper()
	needed := false
	for s, v := range want.Values {
		if !model.IsAbsent(v) {
			require.Equal(t, want.TimeOf(s), got.TimeOf(s), "slot %d", s)
			needed = needed || want.TimeOf(s) != want.Time
		}
	}
	require.Equal(t, needed, got.Times != nil)
	if needed {
		require.Len(t, got.Times, len(got.Values))
	}
}

func roundTrip(t testing.TB, frames []*model.Frame, shape *model.Shape) []byte {
	t.Helper()
	b := Encode([]byte("before"), frames)
	require.True(t, bytes.HasPrefix(b, []byte("before")))
	b = b[len("before"):]
	got, err := Decode(b, shape)
	require.NoError(t, err)
	sameFrames(t, frames, got, shape)
	return b
}

func samplesOf(frames []*model.Frame) (n int) {
	for _, f := range frames {
		n += f.Samples()
	}
	return n
}

func TestPages(t *testing.T) {
	// How many bytes a sample may take at most, in blocks of 16.
	limits := map[string]float64{
		"node-exporter": 1, "cadvisor": 0.6, "cadvisor-only-new": 0.85, "kubelet": 0.6, "kube-state-metrics": 0.1, "apiserver": 0.6,
	}
	for name, page := range pages {
		t.Run(name, func(t *testing.T) {
			all := page().frames(MaxFrames)
			for _, n := range []int{1, 2, 3, 7, 8, 9, 16, MaxFrames} {
				frames := all[len(all)-n:]
				b := roundTrip(t, frames, frames[n-1].Shape)
				if size := float64(len(b)) / float64(samplesOf(frames)); n == 16 && size > limits[name] {
					t.Errorf("%.2f bytes a sample, want %.2f at most", size, limits[name])
				}
				frames = all[:n] // while the shape grows
				roundTrip(t, frames, frames[n-1].Shape)
			}
		})
	}
}

// special are values that a codec is likely to get wrong.
var special = []float64{
	0, math.Copysign(0, -1), 1, -1, 0.1, 0.07, 1e-9, 1e-10, 1.1e9, 123456.789, 1 << 53, 1<<53 + 2, -1 << 53, 1<<53 - 1,
	math.MaxInt64, math.MinInt64, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64,
	math.Inf(1), math.Inf(-1), math.NaN(), math.Float64frombits(0xfff8000000000123), math.Float64frombits(0x7ff0000000000001),
	model.Stale(), model.Absent(), 9007199.254740993, 9007199254.740993, 9007199254740.993, 1.0 / 3, math.Pi * 1e8,
}

func randomValue(r *rand.Rand, last float64) float64 {
	switch r.IntN(8) {
	case 0:
		return special[r.IntN(len(special))]
	case 1:
		return math.Float64frombits(r.Uint64())
	case 2:
		return math.Round(last*100+float64(r.IntN(10))) / 100
	case 3:
		return last + float64(r.IntN(1000))
	case 4:
		return model.Absent()
	case 5:
		return last + r.Float64()
	}
	return last
}

func randomExtra(r *rand.Rand, slot int, now int64) model.Extra {
	x := model.Extra{Slot: int32(slot), Kind: model.ExtraKind(r.IntN(3)), Time: now - int64(r.IntN(10_000))}
	switch {
	case x.Kind == model.ExtraHistogram:
		x.Histogram = bytes.Repeat([]byte{byte(r.Uint32())}, 1+r.IntN(50))
		return x
	case x.Kind == model.ExtraExemplar && r.IntN(4) > 0:
		for range 1 + r.IntN(3) {
			x.Labels = append(x.Labels, model.Label{Name: "trace_id", Value: fmt.Sprint(r.Uint32())})
		}
	case r.IntN(20) == 0:
		x.Time = int64(r.Uint64()) // a target may say anything
	}
	x.Value = randomValue(r, 1)
	return x
}

func randomFrames(r *rand.Rand, n, slots int) []*model.Frame {
	frames := make([]*model.Frame, n)
	now := int64(r.IntN(1e12))
	kinds, lasts := make([]int, slots), make([]float64, slots)
	for s := range kinds {
		kinds[s] = r.IntN(6)
		lasts[s] = randomValue(r, 5)
	}
	withExtras, withTimes := r.IntN(2) == 0, r.IntN(2) == 0
	for i := range frames {
		now += int64(r.IntN(20_000))
		f := &model.Frame{Time: now, Values: make([]float64, slots-r.IntN(1+slots/4))}
		for s := range f.Values {
			switch kinds[s] {
			case 0, 1:
			case 2:
				lasts[s]++
			default:
				lasts[s] = randomValue(r, lasts[s])
			}
			f.Values[s] = lasts[s]
			if !withExtras {
				continue
			}
			for range max(0, r.IntN(20)-16) {
				f.Extras = append(f.Extras, randomExtra(r, s, now))
			}
		}
		if withTimes && r.IntN(8) > 0 {
			f.Times = randomTimes(r, f)
		}
		frames[i] = f
	}
	return frames
}

// randomTimes returns times like those of a page of several containers, some of
// which the page shows for the second time, and with whatever may happen else.
func randomTimes(r *rand.Rand, f *model.Frame) []int64 {
	times := make([]int64, len(f.Values))
	containers := make([]int64, 1+r.IntN(5))
	for i := range containers {
		containers[i] = f.Time - int64(r.IntN(10_000))
	}
	repeated := r.IntN(2 * len(containers))
	for s, v := range f.Values {
		c := s % len(containers)
		times[s] = containers[c]
		switch {
		case model.IsStale(v) && r.IntN(20) > 0:
			times[s] = f.Time
		case r.IntN(100) == 0:
			times[s] = int64(r.Uint64()) // a target may say anything
		case c == repeated:
			f.Values[s] = model.Absent()
		case r.IntN(50) == 0:
			f.Values[s] = model.Stale()
			times[s] = f.Time
		case s%7 == 6:
			times[s] = f.Time
		}
	}
	return times
}

// withStarts gives frames start timestamps as targets have them, and not only so.
func withStarts(r *rand.Rand, frames []*model.Frame) []*model.Frame {
	var starts *model.Starts
	for _, f := range frames {
		switch r.IntN(8) {
		case 0:
			starts = nil
		case 1:
			list := make(model.Starts, r.IntN(len(f.Values)+1))
			for i := range list {
				list[i] = []int64{0, f.Time - 1000, f.Time, int64(r.Uint64())}[r.IntN(4)]
			}
			starts = &list
		case 2:
			if starts != nil {
				same := slices.Clone(*starts)
				starts = &same
			}
		}
		f.Starts = starts
	}
	return frames
}

func TestRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	shape := shapeOf(100)
	for range 1000 {
		frames := randomFrames(r, 1+r.IntN(MaxFrames), 1+r.IntN(100))
		roundTrip(t, frames, shape)
		roundTrip(t, withStarts(r, frames), shape)
	}
}

// TestStartsCostNothing: a block of frames with start timestamps that stand still is
// hardly larger than one without, and its frames share them.
func TestStartsCostNothing(t *testing.T) {
	frames := pages["apiserver"]().frames(16)
	shape := frames[15].Shape
	plain := len(Encode(nil, frames))
	starts := make(model.Starts, shape.Slots())
	for i := range starts {
		starts[i] = frames[0].Time - 3_600_000
		if i%50 == 0 {
			starts[i] += int64(i)
		}
	}
	for _, f := range frames {
		f.Starts = &starts
	}
	b := roundTrip(t, frames, shape)
	require.Less(t, len(b)-plain, len(starts)/4, "of %d bytes", plain)
	got, err := Decode(b, shape)
	require.NoError(t, err)
	require.Same(t, got[0].Starts, got[15].Starts)
}

func TestSpecialValues(t *testing.T) {
	var all []*model.Frame
	for i, a := range special {
		for k, b := range special {
			all = append(all, &model.Frame{Time: int64(i*100 + k), Values: []float64{a, b, a, special[(i+k)%len(special)]}})
		}
	}
	shape := shapeOf(5)
	for n := 1; n <= 5; n++ {
		for at := 0; at+n <= len(all); at++ {
			roundTrip(t, all[at:at+n], shape)
		}
	}
}

func TestEdges(t *testing.T) {
	shape := shapeOf(3)
	for name, frames := range map[string][]*model.Frame{
		"no values":     {{Time: 5}, {Time: -7}},
		"extreme times": {{Time: math.MinInt64, Values: []float64{1}}, {Time: math.MaxInt64}, {Time: 0}, {Time: 1}},
		"fewer values":  {{Values: []float64{1, 2, 3}}, {Values: []float64{1}}, {Values: []float64{1, 2}}},
		"only absent":   {{Values: []float64{model.Absent(), model.Absent()}}, {Values: []float64{model.Absent(), model.Stale()}}},
		"extras beyond the values": {
			{Time: 1, Values: []float64{1}, Extras: []model.Extra{{Slot: 0, Time: 1}, {Slot: 2, Time: 1, Value: 1}}},
		},
		"second samples": {
			{Time: 9, Values: []float64{model.Absent()}, Extras: []model.Extra{{Time: 9, Value: 1}}},
			{Time: 9, Values: []float64{1}, Extras: []model.Extra{{Time: 7, Value: 1}, {Time: 8, Value: 1}}},
			{Time: 9, Values: []float64{model.Absent()}, Extras: []model.Extra{{Time: 9, Value: model.Stale()}}},
			{Time: 9, Values: []float64{model.Absent()}, Extras: []model.Extra{{Time: 9, Value: model.Absent()}}},
			{Time: 9, Values: []float64{2}, Times: []int64{8}, Extras: []model.Extra{{Time: math.MaxInt64, Value: 1}}},
		},
		"all kinds of extras": {
			{Time: 9, Values: []float64{model.Absent(), 1, model.Absent()}, Times: []int64{0, 7, 0}, Extras: []model.Extra{
				{Slot: 0, Time: 8, Value: 1},
				{Slot: 1, Kind: model.ExtraExemplar, Time: 7, Value: 2, Labels: []model.Label{{Name: "a", Value: ""}, {Name: "", Value: "b"}}},
				{Slot: 1, Kind: model.ExtraHistogram, Time: 9, Histogram: []byte("h")},
				{Slot: 2, Time: 8, Value: 3},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) { roundTrip(t, frames, shape) })
	}
}

func TestTimes(t *testing.T) {
	absent, stale := model.Absent(), model.Stale()
	shape := shapeOf(3)
	for name, frames := range map[string][]*model.Frame{
		"like the frame's": {{Time: 9, Values: []float64{1, 2}, Times: []int64{9, 9}}, {Time: 10, Values: []float64{1, 2}}},
		"of nothing":       {{Time: 9, Values: []float64{1, absent}, Times: []int64{9, 5}}, {Time: 10, Values: []float64{1, 2}}},
		"in one frame":     {{Time: 9, Values: []float64{1, 2}}, {Time: 10, Values: []float64{1, 2}, Times: []int64{10, 3}}},
		"fewer values": {
			{Time: 9, Values: []float64{1}, Times: []int64{9}},
			{Time: 9, Values: []float64{1, 2, 3}, Times: []int64{9, 9, 8}},
			{Time: 9},
		},
		"far away": {
			{Time: math.MaxInt64, Values: []float64{1, 2}, Times: []int64{math.MinInt64, 0}},
			{Time: 0, Values: []float64{1, 2}, Times: []int64{math.MaxInt64, math.MinInt64}},
			{Time: math.MinInt64, Values: []float64{1, 2}, Times: []int64{math.MaxInt64, math.MinInt64}},
			{Time: -1, Values: []float64{1, 2}, Times: []int64{math.MinInt64, math.MaxInt64}},
		},
		"of stale markers": {
			{Time: 9, Values: []float64{1, 2, 3}, Times: []int64{8, 8, 8}},
			{Time: 19, Values: []float64{1, stale, stale}, Times: []int64{18, 18, 19}},
			{Time: 29, Values: []float64{1, stale, absent}, Times: []int64{28, 29, 0}},
		},
		"of nothing but stale markers": {
			{Time: 9, Values: []float64{1, stale, stale}, Times: []int64{8, 8, 9}},
			{Time: 9, Values: []float64{1, stale, stale}, Times: []int64{8, 8, 9}},
		},
	} {
		t.Run(name, func(t *testing.T) { roundTrip(t, frames, shape) })
	}
}

// ownColumns returns how many columns of times a block of frames has.
func ownColumns(frames []*model.Frame) int {
	s := new(scratch)
	s.encode(nil, frames)
	return len(s.own.cols) - 1
}

// The series of a container share their column, also where some of them are
// absent, begin, or end.
func TestSharedTimes(t *testing.T) {
	const containers, metrics, n = 10, 30, 12
	shape := shapeOf(containers * metrics)
	var frames []*model.Frame
	for i := range n {
		f := &model.Frame{Time: int64(1e12 + i*10_000)}
		for m := range metrics {
			for c := range containers {
				v, at := float64(i*m), f.Time-int64((c*977+i*331)%5000)-1
				switch gone := 5 + m%5; {
				case m > 0 && (i+m)%7 == 0:
					v, at = model.Absent(), int64(m)
				case c == 3 && m > 10 && i == gone:
					v, at = model.Stale(), f.Time
				case c == 3 && m > 10 && i > gone, c == 4 && m > 0 && i < m%4:
					v, at = model.Absent(), f.Time
				}
				f.Values, f.Times = append(f.Values, v), append(f.Times, at)
			}
		}
		frames = append(frames, f)
	}
	roundTrip(t, frames, shape)
	require.Equal(t, containers, ownColumns(frames))
	require.Zero(t, ownColumns(parsePage(kubeletPage(), 1, 600).frames(5)))
}

func TestEncodeRefuses(t *testing.T) {
	require.Panics(t, func() { Encode(nil, nil) })
	require.Panics(t, func() { Encode(nil, make([]*model.Frame, MaxFrames+1)) })
}

func TestMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	shape := shapeOf(100)
	for range 50 {
		frames := withStarts(r, randomFrames(r, MaxFrames, 100))
		var blocks [][]byte
		for at := 0; at < len(frames); {
			n := min(1+r.IntN(20), len(frames)-at)
			blocks = append(blocks, Encode(nil, frames[at:at+n]))
			at += n
		}
		merged, err := Merge([]byte("x"), shape, blocks...)
		require.NoError(t, err)
		require.Equal(t, Encode(nil, frames), merged[1:])
		_, err = Merge(nil, shape, append(blocks, blocks[0])...)
		require.ErrorIs(t, err, ErrCorrupt)
	}
	_, err := Merge(nil, shape)
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestDecodeSmallShape(t *testing.T) {
	b := Encode(nil, []*model.Frame{{Values: []float64{1, 2, 3}}})
	_, err := Decode(b, shapeOf(2))
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestDecodeDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	shape := shapeOf(40)
	for _, n := range []int{1, 10} {
		b := Encode(nil, randomFrames(r, n, 40))
		for i := range b {
			_, err := Decode(b[:i], shape)
			require.ErrorIs(t, err, ErrCorrupt, "cut at %d", i)
			for bit := range 8 {
				b[i] ^= 1 << bit
				_, err := Decode(b, shape)
				require.ErrorIs(t, err, ErrCorrupt, "bit %d of byte %d", bit, i)
				b[i] ^= 1 << bit
			}
		}
	}
}

// sealed returns a block with a body, well-formed or not, and a right checksum.
func sealed(compressed bool, body []byte) []byte {
	b := append([]byte{version << 1, 0, 0, 0, 0}, body...)
	if compressed {
		b[0]++
	}
	binary.LittleEndian.PutUint32(b[1:], crc32.Checksum(body, castagnoli))
	return b
}

// What a block claims must not decide how much memory is asked for.
func TestDecodeBoundsMemory(t *testing.T) {
	claim := binary.AppendUvarint(nil, 1<<40)
	shape := shapeOf(1000)
	frames := []*model.Frame{{Values: make([]float64, 1000)}}
	body := Encode(nil, frames)[headerSize:]
	_, n := binary.Uvarint(body)
	small := binary.AppendUvarint(nil, 10) // less than the zstd frame says
	for name, b := range map[string][]byte{
		"length":       sealed(true, append(claim, body[n:]...)),
		"small length": sealed(true, append(small, body[n:]...)),
		"section":      sealed(false, append([]byte{1}, claim...)),
		"slots":        sealed(false, append([]byte{1, 10, 1}, claim...)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(b, shape)
			require.ErrorIs(t, err, ErrCorrupt)
		})
	}
}

// Numbers and counts that no section has anything for.
func TestDecodeImpossible(t *testing.T) {
	shape := shapeOf(2)
	timed := []*model.Frame{{Time: 5, Values: []float64{1, 2}, Times: []int64{4, 3}}}
	extra := []*model.Frame{{Values: []float64{1}, Extras: []model.Extra{{Value: 1}}}}
	for name, c := range map[string]struct {
		frames  []*model.Frame
		section int
		change  func(b []byte) []byte
	}{
		"unchanged":           {timed, secOwn, func(b []byte) []byte { return b }},
		"column of times":     {timed, secOwn, func([]byte) []byte { return []byte{codeNew, codeNumber + 2} }},
		"far column of times": {timed, secOwn, func([]byte) []byte { return binary.AppendUvarint([]byte{codeNew}, math.MaxUint64) }},
		"too few columns":     {timed, secOwn, func(b []byte) []byte { return b[:1] }},
		"too many columns":    {timed, secOwn, func(b []byte) []byte { return append(b, codeExpected) }},
		"no residuals":        {timed, secPlanes, func([]byte) []byte { return nil }},
		"number of extras":    {extra, secFrames, func(b []byte) []byte { return append(b[:len(b)-1], 10) }},
		"far too many extras": {extra, secFrames, func(b []byte) []byte { return binary.AppendUvarint(b[:len(b)-1], 1<<45) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := new(scratch)
			s.encode(nil, c.frames)
			s.section[c.section] = c.change(s.section[c.section])
			frames, err := Decode(sealed(false, s.appendPayload(nil)), shape)
			if name == "unchanged" {
				require.NoError(t, err)
				sameFrames(t, c.frames, frames, shape)
				return
			}
			require.ErrorIs(t, err, ErrCorrupt)
		})
	}
}

// A payload that compresses more than Decode would believe is stored as it is.
func TestImplausiblyGood(t *testing.T) {
	shape := shapeOf(1)
	frames := []*model.Frame{{Values: []float64{1}, Extras: []model.Extra{
		{Kind: model.ExtraHistogram, Histogram: make([]byte, 2*freeSize)},
	}}}
	roundTrip(t, frames, shape)
}

func TestEncodeAllocatesNothing(t *testing.T) {
	frames := newCadvisor().frames(8)
	dst := Encode(nil, frames)
	// The pool may be emptied in between, so not every run has to be free.
	least := math.Inf(1)
	for range 20 {
		least = min(least, testing.AllocsPerRun(1, func() { dst = Encode(dst[:0], frames) }))
	}
	require.Zero(t, least)
}

var update = flag.Bool("update", false, "write testdata anew")

// Blocks are kept in files across versions: what was written once stays readable.
func TestFormatIsStable(t *testing.T) {
	const file = "testdata/v1.block"
	r := rand.New(rand.NewPCG(9, 10))
	frames := randomFrames(r, 20, 60)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, Encode(nil, frames), 0o644))
	}
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	shape := shapeOf(60)
	got, err := Decode(b, shape)
	require.NoError(t, err)
	sameFrames(t, frames, got, shape)
}

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(11, 12))
	for i := range 40 {
		s := new(scratch)
		s.encode(nil, withStarts(r, randomFrames(r, 1+i%9, 1+i)))
		f.Add(false, append([]byte(nil), s.payload...))
		f.Add(true, s.encode(nil, randomFrames(r, 20, 40))[headerSize:])
	}
	shape := shapeOf(64)
	f.Fuzz(func(t *testing.T, compressed bool, body []byte) {
		frames, err := Decode(sealed(compressed, body), shape)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.NotEmpty(t, frames)
		for _, f := range frames {
			require.LessOrEqual(t, len(f.Values), shape.Slots())
			sameTimes(t, f, f)
			for i := range f.Extras {
				require.Less(t, int(f.Extras[i].Slot), shape.Slots())
				require.GreaterOrEqual(t, f.Extras[i].Slot, int32(0))
			}
		}
		roundTrip(t, frames, shape)
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(uint64(1), uint8(3), []byte("12345678abcdefgh"))
	shape := shapeOf(64)
	f.Fuzz(func(t *testing.T, seed uint64, n uint8, values []byte) {
		r := rand.New(rand.NewPCG(seed, 1))
		frames := randomFrames(r, 1+int(n)%MaxFrames, 1+r.IntN(64))
		for _, f := range frames {
			for s := range f.Values {
				if len(values) < 8 {
					break
				}
				f.Values[s], values = math.Float64frombits(binary.LittleEndian.Uint64(values)), values[8:]
			}
		}
		if seed%2 == 0 {
			withStarts(r, frames)
		}
		roundTrip(t, frames, shape)
	})
}

func BenchmarkBlock(b *testing.B) {
	for name, page := range pages {
		all := page().frames(MaxFrames)
		for _, n := range []int{1, 16, MaxFrames} {
			frames := all[len(all)-n:]
			shape, samples := frames[n-1].Shape, float64(samplesOf(frames))
			block := Encode(nil, frames)
			perSample := func(b *testing.B) {
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/samples, "ns/sample")
			}
			b.Run(fmt.Sprintf("%s/%d/encode", name, n), func(b *testing.B) {
				b.ReportAllocs()
				dst := Encode(nil, frames)
				for b.Loop() {
					dst = Encode(dst[:0], frames)
				}
				perSample(b)
				b.ReportMetric(float64(len(block))/samples, "B/sample")
			})
			b.Run(fmt.Sprintf("%s/%d/decode", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Decode(block, shape); err != nil {
						b.Fatal(err)
					}
				}
				perSample(b)
			})
		}
	}
}
