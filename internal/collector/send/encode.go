package send

import (
	"math"
	"time"
	"unique"

	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/wire"
)

// version is a version of remote write.
type version uint8

// The versions of remote write.
const (
	v1 version = 1
	v2 version = 2
)

// String implements fmt.Stringer.
func (v version) String() string {
	if v == v2 {
		return "2.0"
	}
	return "1.0"
}

// message is a request that is being written, in one of the versions.
type message interface {
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

// counts is what is in a request, and what of its spans is not.
type counts struct {
	samples, histograms, exemplars int
	// filtered are samples of series that the endpoint's rules drop, unwanted
	// histograms, and unwantedExemplars exemplars, that it is not to get.
	filtered, unwanted, unwantedExemplars int
	// custom are histograms with buckets of their own, which 1.0 cannot carry.
	custom int
	// old are samples beyond the endpoint's age limit.
	old int
	// bare are exemplars that 2.0 has no place for, as they have no sample.
	bare int
}

// sent is the samples of the request.
func (c counts) sent() int { return c.samples + c.histograms }

// total is the samples of the spans.
func (c counts) total() int { return c.sent() + c.filtered + c.unwanted + c.custom + c.old }

// encoder makes remote-write requests of spans. What it needs is kept, so that
// in the steady state nothing is allocated. It is for one goroutine.
type encoder struct {
	*endpoint
	rewriter rewriter

	// Of the last request:
	counts    counts
	packed    []byte // compressed
	described []unique.Handle[model.Family]
	oldest    int64 // time of a frame that is not too old

	// Of the span at hand:
	out     message
	first   bool // it is of version 1.0
	shape   *model.Shape
	room    *model.Room // to open labels in
	labels  model.Labels
	meta    familyState
	cursors []int // into the frames' extras
}

// familyState is what a span needs to know to say what its families are.
type familyState struct {
	wanted  bool
	known   bool // none of them is to be described now
	now     time.Time
	family  uint16 // of the last series, plus one
	pending bool   // the last series described it, the next need not
	quiet   time.Time
}

func newEncoder(ep *endpoint) *encoder {
	return &encoder{endpoint: ep, rewriter: rewriter{program: ep.cfg.Rewrite, external: ep.external}}
}

// encode makes a request of the spans, in packed.
func (e *encoder) encode(v version, spans []model.Span, now time.Time) {
	d := e.drafts.borrow()
	defer e.drafts.giveBack(d)
	e.room = &d.room
	d.packed = wire.AppendSnappy(d.packed[:0], e.write(d.message(e.endpoint, v), spans, now))
	e.packed = append(e.packed[:0], d.packed...)
	e.room, e.labels = nil, model.Labels{} // they are the draft's
}

// write makes a request of the spans in out, not compressed, which is valid
// until the next use of out. Samples of one series are in the order of the spans.
func (e *encoder) write(out message, spans []model.Span, now time.Time) []byte {
	e.counts, e.described = counts{}, e.described[:0]
	e.oldest = math.MinInt64
	if limit := e.cfg.SampleAgeLimit; limit > 0 {
		e.oldest = now.Add(-limit).UnixMilli()
	}
	e.out = out
	defer func() { e.out = nil }()
	e.out.Reset()
	_, e.first = out.(*wire.EncoderV1)
	for _, sp := range spans {
		e.span(sp, now)
	}
	return e.out.Finish()
}

func (e *encoder) span(sp model.Span, now time.Time) {
	e.shape = sp.Shape()
	rules := len(e.cfg.Rewrite) > 0
	if !rules {
		e.labels = e.shape.Labels.Open(e.room)
	}
	e.meta = familyState{wanted: e.cfg.SendMetadata && len(e.shape.Family) > 0, now: now}
	if rules || e.meta.wanted {
		t := e.targets.get(e.shape.Target, now)
		t.mu.Lock()
		defer t.mu.Unlock()
		if rules {
			e.labels = e.rewriter.labels(t, e.shape).Open(e.room)
		}
		e.meta.known = t.version == e.shape.Version && now.Before(t.quiet)
		defer e.rest(t, sp)
	}
	e.out.Target(e.labels)
	if f := sp.Frames[0]; len(sp.Frames) == 1 && len(f.Extras) == 0 && f.Starts == nil {
		e.page(sp, rules)
		return
	}
	e.columns(sp, rules)
}

// rest notes until when nothing of the target's families is to be described. A
// part of a page knows of a part of the families only.
func (e *encoder) rest(t *target, sp model.Span) {
	if e.meta.wanted && !e.meta.known && sp.From == 0 && sp.To == len(sp.Frames)*e.shape.Slots() {
		t.version, t.quiet = e.shape.Version, e.meta.quiet
	}
}

// page is the usual case: one frame, and one sample a series.
func (e *encoder) page(sp model.Span, rules bool) {
	f := sp.Frames[0]
	if f.Time < e.oldest {
		e.counts.old += sp.Samples()
		return
	}
	at := f.Time
	for slot := sp.From; slot < min(sp.To, len(f.Values)); slot++ {
		v := f.Values[slot]
		if model.IsAbsent(v) {
			continue
		}
		if rules && len(e.labels.Runs(slot)) == 0 {
			e.counts.filtered++
			continue
		}
		if e.meta.wanted {
			e.family(slot)
		}
		if f.Times != nil {
			at = f.Times[slot]
		}
		e.out.One(slot, at, v)
		e.counts.samples++
	}
}

// family tells of which family the series is that comes next.
func (e *encoder) family(slot int) {
	m, id := &e.meta, e.shape.Family[slot]
	if id+1 == m.family && !m.pending {
		return
	}
	m.family, m.pending = id+1, false
	if id == 0 {
		e.out.Family(model.Family{}, false)
		return
	}
	h := e.shape.Families[id-1]
	if !m.known {
		m.pending = e.due(h)
	}
	e.out.Family(h.Value(), m.pending)
}

// due reports whether this request is to describe the family.
func (e *encoder) due(h unique.Handle[model.Family]) bool {
	next := e.known.due(h)
	if e.meta.now.Before(next) {
		if e.meta.quiet.IsZero() || next.Before(e.meta.quiet) {
			e.meta.quiet = next
		}
		return false
	}
	e.meta.quiet = e.meta.now // ask again until the endpoint has it
	for _, d := range e.described {
		if d == h {
			return false
		}
	}
	e.described = append(e.described, h)
	return true
}

// columns is the general case: some frames, samples beside the values, or start
// timestamps.
func (e *encoder) columns(sp model.Span, rules bool) {
	e.cursors = e.cursors[:0]
	for range sp.Frames {
		e.cursors = append(e.cursors, 0)
	}
	frames := len(sp.Frames)
	for c := sp.From; c < sp.To; {
		slot, first := c/frames, c%frames
		last := min(frames, first+sp.To-c)
		if rules && len(e.labels.Runs(slot)) == 0 {
			e.counts.filtered += cells(sp, c, last-first).Samples()
		} else {
			e.series(sp, slot, first, last)
		}
		c += last - first
	}
}

// cells returns some cells of a span.
func cells(sp model.Span, from, count int) model.Span {
	return model.Span{Frames: sp.Frames, From: from, To: from + count}
}

// series writes what the frames from first to last have in a slot.
func (e *encoder) series(sp model.Span, slot, first, last int) {
	s := series{encoder: e, slot: slot}
	for i := first; i < last; i++ {
		f := sp.Frames[i]
		if f.Time < e.oldest {
			e.counts.old += cells(sp, slot*len(sp.Frames)+i, 1).Samples()
			continue
		}
		if len(f.Extras) > 0 {
			s.extras(f, e.extras(f, i, slot))
		}
		if slot >= len(f.Values) || model.IsAbsent(f.Values[slot]) {
			continue
		}
		at := f.Time
		if f.Times != nil {
			at = f.Times[slot]
		}
		s.want(floats)
		s.float(f, at, f.Values[slot])
	}
	s.close()
}

// extras returns what a frame has in a slot. Slots are asked for in order.
func (e *encoder) extras(f *model.Frame, frame, slot int) []model.Extra {
	from := e.cursors[frame]
	for from < len(f.Extras) && int(f.Extras[from].Slot) < slot {
		from++
	}
	to := from
	for to < len(f.Extras) && int(f.Extras[to].Slot) == slot {
		to++
	}
	e.cursors[frame] = to
	return f.Extras[from:to]
}

// series is one slot on its way into the message. Floats and histograms of one
// slot go into series of their own, so that a receiver takes them in order.
type series struct {
	*encoder
	slot      int
	content   content
	exemplars int
}

type content uint8

const (
	closed content = iota
	nothing
	floats
	histograms
)

func (s *series) want(c content) {
	if s.content == c || (c == nothing && s.content != closed) {
		return
	}
	if s.content == floats || s.content == histograms {
		s.close()
	}
	if s.content == closed {
		if s.meta.wanted {
			s.family(s.slot)
		}
		s.out.Open(s.slot)
	}
	s.content = c
}

// float writes a sample. The end of a series has no start timestamp.
func (s *series) float(f *model.Frame, at int64, v float64) {
	if start := f.Start(s.slot, at); start != 0 && !model.IsStale(v) {
		s.out.Started(at, start, v)
	} else {
		s.out.Sample(at, v)
	}
	s.counts.samples++
}

func (s *series) extras(f *model.Frame, list []model.Extra) {
	for i := range list {
		x := &list[i]
		switch x.Kind {
		case model.ExtraSample:
			s.want(floats)
			s.float(f, x.Time, x.Value)
		case model.ExtraHistogram:
			if !s.cfg.SendNativeHistograms {
				s.counts.unwanted++
				continue
			}
			if s.first && wire.CustomBuckets(x.Histogram) {
				s.counts.custom++
				continue
			}
			s.want(histograms)
			s.out.Histogram(x.Histogram, f.Start(s.slot, x.Time))
			s.counts.histograms++
		case model.ExtraExemplar:
			if !s.cfg.SendExemplars {
				s.counts.unwantedExemplars++
				continue
			}
			s.want(nothing)
			s.out.Exemplar(x.Time, x.Value, x.Labels)
			s.exemplars++
		}
	}
}

func (s *series) close() {
	if s.content == closed {
		return
	}
	if s.out.Close() {
		s.counts.exemplars += s.exemplars
	} else {
		s.counts.bare += s.exemplars
	}
	s.content, s.exemplars = closed, 0
}
