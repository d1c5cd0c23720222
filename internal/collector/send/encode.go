package send

import (
	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/wire"
)

// encoder makes remote-write requests and keeps the encoded labels of the
// series that it has seen, so that in the steady state they are only copied.
type encoder struct {
	external []model.Label
	targets  map[uint64]*block
	requests uint64

	raw     []byte // protobuf of the last request
	packed  []byte // the same, compressed
	groups  []group
	latest  map[uint64]int // the last group of a target
	samples []wire.Sample
	index   slotIndex
}

// group is the spans of one target in one request; their samples share series.
type group struct {
	shape *model.Shape // the longest
	spans []model.Span
	extra bool
}

// encode makes a request of the spans, in packed, and returns its samples.
// Samples of one series stand together, in the order of the spans.
func (e *encoder) encode(spans []model.Span) int {
	e.requests++
	e.raw = e.raw[:0]
	e.group(spans)
	n := 0
	for i := range e.groups {
		g := &e.groups[i]
		b := e.block(g.shape)
		switch {
		case g.extra:
			n += e.mixed(g, b)
		case len(g.spans) == 1:
			n += e.single(g.spans[0], b)
		default:
			n += e.columns(g, b)
		}
	}
	e.packed = wire.AppendSnappy(e.packed[:0], e.raw)
	e.evict()
	return n
}

func (e *encoder) group(spans []model.Span) {
	e.groups = e.groups[:0]
	clear(e.latest)
	for _, sp := range spans {
		shape := sp.Frame.Shape
		if i, ok := e.latest[shape.Target]; ok && e.groups[i].shape.Generation == shape.Generation {
			g := &e.groups[i]
			g.spans = append(g.spans, sp)
			g.extra = g.extra || len(sp.Frame.Extras) > 0
			if len(shape.Series) > len(g.shape.Series) {
				g.shape = shape
			}
			continue
		}
		if n := len(e.groups); n < cap(e.groups) {
			e.groups = e.groups[:n+1]
		} else {
			e.groups = append(e.groups, group{})
		}
		g := &e.groups[len(e.groups)-1]
		g.shape, g.extra = shape, len(sp.Frame.Extras) > 0
		g.spans = append(g.spans[:0], sp)
		if e.latest == nil {
			e.latest = make(map[uint64]int)
		}
		e.latest[shape.Target] = len(e.groups) - 1
	}
}

// slots returns which slots a span covers.
func slots(sp model.Span) (from, to int) {
	extras := len(sp.Frame.Extras)
	return max(0, sp.From-extras), max(0, sp.To-extras)
}

// single is the usual case: one frame, each series once.
func (e *encoder) single(sp model.Span, b *block) (n int) {
	from, to := slots(sp)
	var one [1]wire.Sample
	one[0].Time = sp.Frame.Time
	for slot := from; slot < to; slot++ {
		v := sp.Frame.Values[slot]
		if model.IsAbsent(v) {
			continue
		}
		one[0].Value = v
		e.raw = wire.AppendSeries(e.raw, b.labels(slot), one[:])
		n++
	}
	return n
}

// columns is the case of catching up: several frames, each series once with
// the samples of all.
func (e *encoder) columns(g *group, b *block) (n int) {
	for slot := range g.shape.Series {
		e.samples = e.samples[:0]
		for _, sp := range g.spans {
			from, to := slots(sp)
			if slot < from || slot >= to {
				continue
			}
			if v := sp.Frame.Values[slot]; !model.IsAbsent(v) {
				e.samples = append(e.samples, wire.Sample{Time: sp.Frame.Time, Value: v})
			}
		}
		if len(e.samples) > 0 {
			e.raw = wire.AppendSeries(e.raw, b.labels(slot), e.samples)
			n += len(e.samples)
		}
	}
	return n
}

// mixed is the general case, with samples that have times of their own.
func (e *encoder) mixed(g *group, b *block) (n int) {
	e.index.reset(len(g.shape.Series))
	for _, sp := range g.spans {
		extras := len(sp.Frame.Extras)
		for _, x := range sp.Frame.Extras[min(sp.From, extras):min(sp.To, extras)] {
			e.index.add(x.Slot, wire.Sample{Time: x.Time, Value: x.Value})
		}
		from, to := slots(sp)
		for slot := from; slot < to; slot++ {
			if v := sp.Frame.Values[slot]; !model.IsAbsent(v) {
				e.index.add(slot, wire.Sample{Time: sp.Frame.Time, Value: v})
			}
		}
	}
	for slot := range g.shape.Series {
		if e.samples = e.index.list(slot, e.samples[:0]); len(e.samples) > 0 {
			e.raw = wire.AppendSeries(e.raw, b.labels(slot), e.samples)
			n += len(e.samples)
		}
	}
	return n
}

// slotIndex collects samples by slot, in order, without a slice for each.
type slotIndex struct {
	first, last []int32 // by slot, index into samples plus one
	next        []int32 // by sample
	samples     []wire.Sample
}

func (x *slotIndex) reset(slots int) {
	if cap(x.first) < slots {
		x.first, x.last = make([]int32, slots), make([]int32, slots)
	}
	x.first, x.last = x.first[:slots], x.last[:slots]
	clear(x.first)
	clear(x.last)
	x.next, x.samples = x.next[:0], x.samples[:0]
}

func (x *slotIndex) add(slot int, s wire.Sample) {
	x.samples = append(x.samples, s)
	x.next = append(x.next, 0)
	at := int32(len(x.samples))
	if last := x.last[slot]; last != 0 {
		x.next[last-1] = at
	} else {
		x.first[slot] = at
	}
	x.last[slot] = at
}

func (x *slotIndex) list(slot int, dst []wire.Sample) []wire.Sample {
	for at := x.first[slot]; at != 0; at = x.next[at-1] {
		dst = append(dst, x.samples[at-1])
	}
	return dst
}

// block is the encoded labels of a target's series, one after the other.
type block struct {
	generation uint64
	bytes      []byte
	ends       []uint32
	used       uint64 // the last request that needed it
}

func (b *block) labels(slot int) []byte {
	from := uint32(0)
	if slot > 0 {
		from = b.ends[slot-1]
	}
	return b.bytes[from:b.ends[slot]]
}

// block returns the encoded labels of a shape. A shape is a prefix of its
// successors in the same generation, so only what is new is encoded.
func (e *encoder) block(s *model.Shape) *block {
	b := e.targets[s.Target]
	if b == nil || b.generation != s.Generation {
		b = &block{generation: s.Generation}
		if e.targets == nil {
			e.targets = make(map[uint64]*block)
		}
		e.targets[s.Target] = b
	}
	for slot := len(b.ends); slot < len(s.Series); slot++ {
		b.bytes = wire.AppendLabels(b.bytes, s.Series[slot].Labels, e.external)
		b.ends = append(b.ends, uint32(len(b.bytes)))
	}
	b.used = e.requests
	return b
}

// evict forgets now and then the targets that have not been seen for long.
func (e *encoder) evict() {
	const every = 4096
	if e.requests%every != 0 {
		return
	}
	for target, b := range e.targets {
		if e.requests-b.used > every {
			delete(e.targets, target)
		}
	}
}
