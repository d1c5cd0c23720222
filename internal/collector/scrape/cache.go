package scrape

import (
	"math"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/model"
)

// dropped is the slot of a series that relabelling drops.
const dropped int32 = -1

// cache is what is known about the series of one target. All of it serves one
// pass over a page: begin, read, succeed or fail, report, frame.
type cache struct {
	target uint64
	sp     *spec

	// Finished series. list only ever grows, so shapes share its front.
	shape    *model.Shape
	list     []model.Series
	slots    []slot
	byLabels map[uint64]int32 // hash of the finished labels; slots chain by same
	strings  map[string]string

	// Series by their text on the page.
	entries []entry
	byText  map[uint64]int32 // hash of the text; entries chain by same
	text    []byte           // the texts, one after the other
	order   []int32          // entries in the order of the last page
	reorder []int32          // and of this one

	pass        uint32 // number of this pass
	lastSuccess uint32 // number of the last pass over a page without an error
	live        int    // series of the target that have not ended

	// This pass.
	now    int64
	values []float64
	extras []model.Extra
	pos    int // where in order the next series is expected
	undo   []undo

	builder labels.Builder
}

// slot is one finished series.
type slot struct {
	same    int32  // the next slot with the same hash, or -1
	filled  uint32 // the pass that put a value in
	tracked uint32 // the pass that last saw it, so far as staleness goes
	live    bool   // tracked when last a frame was made
	report  bool   // about the scrape itself
	own     *ownTime
}

// ownTime is the last sample of a series that had a time of its own.
type ownTime struct {
	time int64
	bits uint64
}

// undo restores a slot's own time when the pass fails.
type undo struct {
	slot int32
	had  ownTime
}

// entry is one text by which the target has shown a series.
type entry struct {
	hash      uint64
	from, len uint32 // in text
	slot      int32
	same      int32  // the next entry with the same hash, or -1
	rank      int32  // place in order
	seen      uint32 // the pass that last saw it
}

func newCache(target, generation uint64) *cache {
	return &cache{
		target: target, pass: 1,
		shape:    &model.Shape{Target: target, Generation: generation},
		byLabels: make(map[uint64]int32), byText: make(map[uint64]int32),
		strings: make(map[string]string), builder: *labels.NewBuilder(labels.EmptyLabels()),
	}
}

// use prepares for passes under a spec. When the settings that finish a series
// have changed, every text is judged anew, while the series that were live
// stay so: those that do not come up again end with the next frame.
func (c *cache) use(sp *spec) {
	if c.sp == sp {
		return
	}
	if c.sp != nil && (!sp.plan.relabelsLike(c.sp.plan) || !labels.Equal(sp.public, c.sp.public)) {
		c.forgetTexts()
	}
	c.sp = sp
}

func (c *cache) forgetTexts() {
	c.entries, c.text, c.order = c.entries[:0], c.text[:0], c.order[:0]
	clear(c.byText)
}

func (c *cache) begin(now int64) {
	c.pass++
	c.now, c.pos = now, 0
	c.reorder, c.undo = c.reorder[:0], c.undo[:0]
	c.clearFrame()
}

func (c *cache) clearFrame() {
	c.values = make([]float64, len(c.list), len(c.list)+len(c.list)/16+8)
	for i := range c.values {
		c.values[i] = model.Absent()
	}
	c.extras = nil
}

// find returns the entry of a text that follows the one found last, or -1.
func (c *cache) find(text []byte, hash uint64) int32 {
	// Most pages list the same series in the same order as the one before.
	if c.pos < len(c.order) {
		id := c.order[c.pos]
		if e := &c.entries[id]; e.hash == hash && string(c.text[e.from:e.from+e.len]) == string(text) {
			c.pos++
			return id
		}
	}
	id := c.findApart(text, hash)
	if id >= 0 {
		if rank := int(c.entries[id].rank); rank < len(c.order) && c.order[rank] == id {
			c.pos = rank + 1
		}
	}
	return id
}

// findApart returns the entry of a text wherever it stands, or -1.
func (c *cache) findApart(text []byte, hash uint64) int32 {
	id, ok := c.byText[hash]
	if !ok {
		return -1
	}
	for ; id >= 0; id = c.entries[id].same {
		if e := &c.entries[id]; string(c.text[e.from:e.from+e.len]) == string(text) {
			return id
		}
	}
	return -1
}

// addEntry remembers what a text stands for.
func (c *cache) addEntry(text []byte, hash uint64, slot int32) int32 {
	id := int32(len(c.entries))
	same := int32(-1)
	if first, ok := c.byText[hash]; ok {
		same = first
	}
	c.byText[hash] = id
	c.entries = append(c.entries, entry{
		hash: hash, from: uint32(len(c.text)), len: uint32(len(text)), slot: slot, same: same,
	})
	c.text = append(c.text, text...)
	return id
}

// known reports whether Prometheus would have the entry in its cache: it was on
// the last good page or has come up since.
func (c *cache) known(e *entry) bool { return e.seen >= c.lastSuccess && e.seen > 0 }

// slotFor returns the slot of a finished label set, a new one if need be.
func (c *cache) slotFor(ls labels.Labels) int32 {
	hash := ls.Hash()
	first, ok := c.byLabels[hash]
	if !ok {
		first = -1
	}
	for id := first; id >= 0; id = c.slots[id].same {
		if equalLabels(c.list[id].Labels, ls) {
			return id
		}
	}
	id := int32(len(c.list))
	c.byLabels[hash] = id
	c.slots = append(c.slots, slot{same: first})
	c.list = append(c.list, c.series(ls))
	c.values = append(c.values, model.Absent())
	return id
}

func equalLabels(a []model.Label, b labels.Labels) bool {
	i, same := 0, true
	b.Range(func(l labels.Label) {
		same = same && i < len(a) && a[i].Name == l.Name && a[i].Value == l.Value
		i++
	})
	return same && i == len(a)
}

// series copies labels out of the library's form, each string once per target.
func (c *cache) series(ls labels.Labels) model.Series {
	out := make([]model.Label, 0, ls.Len())
	ls.Range(func(l labels.Label) {
		if l.Value != "" {
			out = append(out, model.Label{Name: c.intern(l.Name), Value: c.intern(l.Value)})
		}
	})
	return model.Series{Labels: out}
}

func (c *cache) intern(s string) string {
	if known, ok := c.strings[s]; ok {
		return known
	}
	own := strings.Clone(s)
	c.strings[own] = own
	return own
}

// has reports whether a series is live.
func (c *cache) has(s model.Series) bool {
	b := labels.NewScratchBuilder(len(s.Labels))
	for _, l := range s.Labels {
		b.Add(l.Name, l.Value)
	}
	ls := b.Labels()
	id, ok := c.byLabels[ls.Hash()]
	if !ok {
		return false
	}
	for ; id >= 0; id = c.slots[id].same {
		if equalLabels(c.list[id].Labels, ls) {
			return c.slots[id].live
		}
	}
	return false
}

// succeed ends a good pass: series that have not come up are marked stale.
func (c *cache) succeed() {
	for i := range c.slots {
		s := &c.slots[i]
		if s.live && s.tracked != c.pass && !s.report {
			c.markStale(int32(i))
		}
	}
	c.lastSuccess = c.pass
	c.order, c.reorder = c.reorder, c.order
}

// fail ends a pass without a page, or with a bad one: all series are marked
// stale and nothing of the page is kept.
func (c *cache) fail() {
	c.clearFrame()
	for i := len(c.undo) - 1; i >= 0; i-- {
		*c.slots[c.undo[i].slot].own = c.undo[i].had
	}
	for i := range c.slots {
		s := &c.slots[i]
		s.filled, s.tracked = 0, 0
		if s.live && !s.report {
			c.markStale(int32(i))
		}
	}
}

// markStale ends a series in this frame, unless a sample with a time of its own
// came after it.
func (c *cache) markStale(id int32) {
	s := &c.slots[id]
	if s.own != nil && s.own.time >= c.now {
		return
	}
	c.values[id] = model.Stale()
	s.filled = c.pass
}

// frame returns the outcome of the pass and makes it the past.
func (c *cache) frame() *model.Frame {
	if len(c.list) > len(c.shape.Series) {
		c.shape = &model.Shape{
			Target: c.target, Generation: c.shape.Generation, Version: c.shape.Version + 1,
			Series: c.list[:len(c.list):len(c.list)],
		}
	}
	c.live = 0
	for i := range c.slots {
		s := &c.slots[i]
		if s.live = s.tracked == c.pass; s.live {
			c.live++
		}
	}
	return &model.Frame{Shape: c.shape, Time: c.now, Values: c.values, Extras: c.extras}
}

// end returns a frame that marks every live series stale, save those that an
// heir shows; nil if there is nothing to mark.
func (c *cache) end(at int64, heirs []*cache) *model.Frame {
	c.begin(at)
	n := 0
next:
	for i := range c.slots {
		if !c.slots[i].live {
			continue
		}
		for _, h := range heirs {
			if h.has(c.list[i]) {
				continue next
			}
		}
		c.markStale(int32(i))
		n++
	}
	if n == 0 {
		return nil
	}
	return c.frame()
}

// compact makes the lists anew when most of them is about series that have
// ended, so that memory follows what is live.
func (c *cache) compact(generation func() uint64) {
	const slack = 1000
	// A target that fails for a while keeps what it showed last.
	keep := 2*max(c.live, len(c.order)) + slack
	if len(c.entries) <= keep && len(c.list) <= keep {
		return
	}
	old := *c
	fresh := newCache(c.target, generation())
	fresh.sp, fresh.pass, fresh.lastSuccess, fresh.live = c.sp, c.pass, c.lastSuccess, c.live
	*c = *fresh
	moved := make([]int32, len(old.list))
	move := func(id int32) int32 {
		if moved[id] == 0 {
			b := labels.NewScratchBuilder(len(old.list[id].Labels))
			for _, l := range old.list[id].Labels {
				b.Add(l.Name, l.Value)
			}
			to := c.slotFor(b.Labels())
			s := old.slots[id]
			s.same = c.slots[to].same
			c.slots[to] = s
			moved[id] = to + 1
		}
		return moved[id] - 1
	}
	for i := range old.slots {
		if old.slots[i].live {
			move(int32(i))
		}
	}
	for _, id := range old.order {
		e := old.entries[id]
		to := e.slot
		if to != dropped {
			to = move(to)
		}
		at := c.addEntry(old.text[e.from:e.from+e.len], e.hash, to)
		c.entries[at].seen, c.entries[at].rank = e.seen, int32(len(c.order))
		c.order = append(c.order, at)
	}
}

func hashText(b []byte) uint64 { return xxhash.Sum64(b) }

// plainNaN makes every NaN but the staleness marker the same one, so that no
// target can speak in the values that mean something to us.
func plainNaN(v float64) float64 {
	if !math.IsNaN(v) || model.IsStale(v) {
		return v
	}
	return math.Float64frombits(0x7ff8000000000001)
}
