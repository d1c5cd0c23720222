package scrape

import (
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"sort"
	"unique"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/model"
)

// What a line that is no series of ours has in place of a slot.
const (
	dropped  int32 = -1 // metric relabelling drops the series
	filtered int32 = -2 // the job's program drops it
	comment  int32 = -3 // a comment that says nothing; below it, see familyLine
)

// familyLine returns the slot of a line about the family with an index. A TYPE
// line says which type as well; others have 0, a TYPE line its number plus one.
func familyLine(family int, typ int32) int32 { return comment - 1 - 16*int32(family) - typ }

// lineFamily undoes familyLine.
func lineFamily(slot int32) (family int, typ int32) {
	n := comment - 1 - slot
	return int(n / 16), n % 16
}

// line is what is known about one line of the target's page: a series up to its
// value, or a whole comment. The text itself is not kept; its hash is seeded
// anew in each process, so no page can be made to clash.
type line struct {
	hash uint64
	slot int32
	size uint16 // of the text in bytes; longLine stands for all that are longer
	seen uint16 // stamp of the pass that last took its sample, see known; 0 for none
}

// longLine is the size of lines that are not expected, only looked up.
const longLine = math.MaxUint16

func lineSize(n int) uint16 { return uint16(min(n, longLine)) }

// cache is what is known about the series of one target. All of it serves one
// pass over a page: begin, read, succeed or fail, report, frame.
type cache struct {
	target uint64
	job    string
	seed   maphash.Seed
	sp     *spec

	// Finished series. Slots are only ever added, so shapes share their front.
	shape     *model.Shape
	labels    model.LabelsBuilder
	flags     []uint8   // by slot
	own       []ownTime // by slot; nil until a sample has a time of its own
	families  []unique.Handle[model.Family]
	family    []uint16               // by slot, as in model.Shape
	retold    bool                   // there is to be a new shape, also if no series is new
	exemplars map[int32]seenExemplar // by slot; nil until there is one
	starts    map[int32]begun        // when series began, by slot; nil until one says
	since     *model.Starts          // the same, for start timestamps; nil until one says

	// Lines in the order of the last good page, then those that failed pages
	// have added. table finds them by hash; it is made when it is needed.
	lines   []line
	table   []int32 // line number plus one, open addressing
	reports [reportCount]int32

	pass        uint32 // number of this pass
	lastSuccess uint32 // number of the last pass over a page without an error
	stamp       uint16 // of this pass
	live        int    // series of the target that have not ended
	calm        int    // good passes since something was new
	wakeful     uint8  // see patience
	restedAt    int    // number of the pass after which it came to rest last, or 0
	fitted      bool   // it has been at rest, and grows slowly
	restless    int    // good passes in a row whose order was another

	*passState
}

// passState is what only a pass needs. It is borrowed for its time.
type passState struct {
	now     int64
	values  []float64
	times   []int64 // nil until a sample has a time of its own
	extras  []model.Extra
	next    int  // the line that is expected
	moved   bool // some line was not the one expected
	kept    int  // lines at the front that were met in order, if moved
	order   []int32
	met     []uint64 // a bit for each line that was met since moved
	undo    []undo
	current int              // family of the last comment plus one, or 0
	typ     model.MetricType // of the last TYPE line
	added   bool             // there was a new line
	begun   bool             // cache.since is this pass's own, and no frame's yet

	builder  labels.Builder
	finished []model.Label
	tail     []byte // a last line and its line feed
	piece    []byte // for Prometheus' parser
}

// Flags of a slot.
const (
	tracked  uint8 = 1 << iota // seen in this pass, so far as staleness goes
	live                       // tracked at the end of the pass before
	filled                     // has a value of this pass, at the pass's time
	timed                      // has a value of this pass, with its own time
	hasOwn                     // has had a sample with its own time, see cache.own
	isReport                   // about the scrape itself
)

// ownTime is the last sample of a series that had a time of its own.
type ownTime struct {
	time int64
	bits uint64
}

// undo restores a slot's own time when the pass fails.
type undo struct {
	slot int32
	was  uint8 // hasOwn or 0
	had  ownTime
}

func newCache(target, generation uint64, job string) *cache {
	c := &cache{target: target, job: job, pass: 1, seed: maphash.MakeSeed()}
	c.shape = &model.Shape{Target: target, Generation: generation, Job: job}
	c.forgetTexts()
	return c
}

// use prepares for passes under a spec. When the settings that finish a series
// have changed, every text is judged anew, while the series that were live
// stay so: those that do not come up again end with the next frame.
func (c *cache) use(sp *spec) {
	if c.sp == sp {
		return
	}
	if c.sp != nil && (!sp.plan.relabelsLike(c.sp.plan) || !labels.Equal(sp.public, c.sp.public) ||
		sp.plan.looksAtDiscovery() && !labels.Equal(sp.Discovered, c.sp.Discovered)) {
		c.forgetTexts()
	}
	if c.sp = sp; !sp.plan.starts {
		c.since = nil
	}
}

func (c *cache) forgetTexts() {
	c.lines, c.table = nil, nil
	for i := range c.reports {
		c.reports[i] = math.MinInt32
	}
}

// begin starts a pass at a time in milliseconds since the Unix epoch.
func (c *cache) begin(now int64, state *passState) {
	c.pass++
	c.stamp = uint16(c.pass%stamps) + 1
	c.passState = state
	state.now, state.next, state.moved, state.kept = now, 0, false, 0
	state.order, state.undo = state.order[:0], state.undo[:0]
	state.current, state.typ, state.added, state.begun = 0, model.TypeUnknown, false, false
	for i, f := range c.flags {
		c.flags[i] = f&(hasOwn|isReport) | f&tracked<<1
	}
	c.clearFrame()
}

func (c *cache) clearFrame() {
	n := len(c.flags)
	c.values = make([]float64, n, n+n/64+reportCount)
	for i := range c.values {
		c.values[i] = model.Absent()
	}
	c.times, c.extras = nil, nil
}

// find returns the number of the line with a text, or -1.
func (c *cache) find(hash uint64, size int) int32 {
	if c.next < len(c.lines) {
		if l := &c.lines[c.next]; l.hash == hash && l.size == lineSize(size) {
			return int32(c.next)
		}
	}
	if c.table == nil {
		c.makeTable()
	}
	mask := uint64(len(c.table) - 1)
	for at := hash & mask; c.table[at] != 0; at = (at + 1) & mask {
		if l := &c.lines[c.table[at]-1]; l.hash == hash && l.size == lineSize(size) {
			return c.table[at] - 1
		}
	}
	return -1
}

func (c *cache) makeTable() {
	c.table = make([]int32, 1<<bits.Len(uint(max(15, 2*len(c.lines)))))
	for i := range c.lines {
		c.enter(int32(i))
	}
}

func (c *cache) enter(id int32) {
	mask := uint64(len(c.table) - 1)
	at := c.lines[id].hash & mask
	for c.table[at] != 0 {
		at = (at + 1) & mask
	}
	c.table[at] = id + 1
}

// addLine remembers what a text stands for.
func (c *cache) addLine(hash uint64, size int, slot int32) int32 {
	id := int32(len(c.lines))
	if c.fitted && len(c.lines) == cap(c.lines) { // it is large, and few come at a time
		c.lines = append(make([]line, 0, len(c.lines)+len(c.lines)/32+4), c.lines...)
	}
	c.lines = append(c.lines, line{hash: hash, size: lineSize(size), slot: slot})
	c.added = true
	switch {
	case c.table == nil:
	case 2*len(c.lines) > len(c.table):
		c.makeTable()
	default:
		c.enter(id)
	}
	return id
}

// visit notes that the page has a line, and expects the one after it.
func (c *cache) visit(id int32) *line {
	if c.moved || int(id) != c.next {
		c.meet(id)
	}
	c.next = int(id) + 1
	return &c.lines[id]
}

// meet notes a line on a page whose order is another than before.
func (c *cache) meet(id int32) {
	if !c.moved {
		c.moved, c.kept = true, c.next
		clear(c.met)
	}
	if int(id) < c.kept {
		return
	}
	word, bit := int(id)/64, uint64(1)<<(id%64)
	if word >= len(c.met) {
		c.met = append(c.met, make([]uint64, word+1-len(c.met))...)
	}
	if c.met[word]&bit == 0 {
		c.met[word] |= bit
		c.order = append(c.order, id)
	}
}

// stamps is how many passes have different stamps.
const stamps = math.MaxUint16

// known reports whether Prometheus would have the line in its cache: it was on
// the last good page or has come up since.
func (c *cache) known(l *line) bool {
	if l.seen == 0 {
		return false
	}
	age := int(c.stamp) - int(l.seen)
	if age < 0 {
		age += stamps
	}
	return uint32(age) <= c.pass-c.lastSuccess
}

// slotFor returns the slot of a finished label set, a new one if need be.
func (c *cache) slotFor(ls labels.Labels) int32 {
	c.finished = appendLabels(c.finished[:0], ls)
	id, added := c.labels.Add(c.finished)
	if added {
		c.addSlot(0, c.familyOf(ls.Get(commonmodel.MetricNameLabel)))
		c.values = append(c.values, model.Absent())
		if c.times != nil {
			c.times = append(c.times, c.now)
		}
	}
	return int32(id)
}

// addSlot makes the lists by slot longer by one.
func (c *cache) addSlot(flags uint8, family uint16) {
	c.flags = append(c.flags, flags)
	c.family = append(c.family, family)
	if c.own != nil {
		c.own = append(c.own, ownTime{})
	}
}

// appendLabels converts labels, leaving out those without a value. The strings
// are borrowed.
func appendLabels(dst []model.Label, ls labels.Labels) []model.Label {
	ls.Range(func(l labels.Label) {
		if l.Value != "" {
			dst = append(dst, model.Label{Name: l.Name, Value: l.Value})
		}
	})
	return dst
}

// has reports whether a series is live.
func (c *cache) has(ls []model.Label) bool {
	id := c.labels.Find(ls)
	return id >= 0 && c.flags[id]&tracked != 0
}

// succeed ends a good pass: series that have not come up are marked stale.
func (c *cache) succeed() {
	for i, f := range c.flags {
		if f&(live|tracked|isReport) == live {
			c.markStale(int32(i))
		}
	}
	c.lastSuccess = c.pass
	c.settle()
}

// settle puts the lines into the order of the page, without those that are no
// longer on it, and lets go of what a target at rest does not need.
func (c *cache) settle() {
	if c.moved {
		if c.restless++; c.restless < 3 || c.kept+len(c.order) < len(c.lines) {
			lines := make([]line, 0, c.kept+len(c.order))
			lines = append(lines, c.lines[:c.kept]...)
			for _, id := range c.order {
				lines = append(lines, c.lines[id])
			}
			c.lines, c.table = lines, nil
		}
	} else if c.restless = 0; c.next < len(c.lines) {
		c.lines, c.table = c.lines[:c.next], nil
	}
	if c.added {
		c.calm = 0
	} else {
		c.calm++
	}
	if c.calm >= c.patience() {
		c.rest()
	}
}

// longestPatience bounds how many passes without anything new come before a target
// is at rest.
const longestPatience = 8

// patience is how many good passes without anything new it takes this time. Most
// targets are soon themselves again after something new; those that hardly are at
// rest before the next new thing comes are left alone for longer, for waking up
// costs about as much as a pass.
func (c *cache) patience() int { return 1 << c.wakeful }

// rest lets go of what a target only needs when something is new.
func (c *cache) rest() {
	if c.restless == 0 {
		c.table = nil
	}
	if !c.labels.Awake() {
		return
	}
	if rested := int(c.pass) - c.restedAt; rested > 4*longestPatience {
		c.wakeful = 0
	} else if c.restedAt > 0 && c.patience() < longestPatience {
		c.wakeful++
	}
	c.restedAt = int(c.pass)
	c.lines, c.flags, c.family, c.own = fit(c.lines), fit(c.flags), fit(c.family), fit(c.own)
	c.fitted = true
	c.labels.Rest()
	if c.labels.Labels().Packed() {
		c.retold = true // so that the shape has them so, too
	}
}

// fit returns s without room to grow, if that saves an eighth or more.
func fit[T any](s []T) []T {
	if cap(s)-len(s) <= len(s)/8 {
		return s
	}
	return slices.Clip(append(make([]T, 0, len(s)), s...))
}

// fail ends a pass without a page, or with a bad one: all series are marked
// stale and nothing of the page is kept.
func (c *cache) fail() {
	c.clearFrame()
	for i := len(c.undo) - 1; i >= 0; i-- {
		u := &c.undo[i]
		c.own[u.slot] = u.had
		c.flags[u.slot] = c.flags[u.slot]&^hasOwn | u.was
	}
	for i := range c.flags {
		c.flags[i] &^= filled | timed | tracked
		if c.flags[i]&(live|isReport) == live {
			c.markStale(int32(i))
		}
	}
}

// markStale ends a series in this frame, unless a sample with a time of its own
// came after it.
func (c *cache) markStale(id int32) {
	if c.flags[id]&hasOwn != 0 && c.own[id].time >= c.now {
		return
	}
	c.put(id, model.Stale())
	if b, ok := c.starts[id]; ok {
		b.last = c.now
		c.starts[id] = b
	}
}

// put fills a slot at the pass's time. A sample with its own time that was
// there goes before it.
func (c *cache) put(id int32, v float64) {
	f := c.flags[id]
	if c.times != nil {
		if f&timed != 0 {
			c.extras = append(c.extras, model.Extra{Slot: id, Time: c.times[id], Value: c.values[id]})
			f &^= timed
		}
		c.times[id] = c.now
	}
	c.values[id] = v
	c.flags[id] = f | filled
}

// frame returns the outcome of the pass and makes it the past.
func (c *cache) frame() *model.Frame {
	if c.labels.Len() > c.shape.Slots() || c.retold {
		c.shape = &model.Shape{
			Target: c.target, Job: c.job, Generation: c.shape.Generation, Version: c.shape.Version + 1,
			Labels: c.labels.Labels(), Families: slices.Clip(c.families), Family: slices.Clip(c.family),
		}
		c.retold = false
	}
	c.live = 0
	for _, f := range c.flags {
		c.live += int(f & tracked)
	}
	bySlot := func(i, j int) bool { return c.extras[i].Slot < c.extras[j].Slot }
	if !sort.SliceIsSorted(c.extras, bySlot) {
		sort.SliceStable(c.extras, bySlot)
	}
	f := &model.Frame{Shape: c.shape, Time: c.now, Values: c.values, Times: c.times, Extras: c.extras, Starts: c.since}
	c.values, c.times, c.extras = nil, nil, nil
	return f
}

// end returns a frame that marks every live series stale, save those that an
// heir shows; nil if there is nothing to mark.
func (c *cache) end(at int64, state *passState, heirs []*cache) *model.Frame {
	c.begin(at, state)
	defer func() { c.passState = nil }()
	list, n := c.labels.Labels().Open(nil), 0
	var ls []model.Label
	for i, f := range c.flags {
		if f&live == 0 {
			continue
		}
		ls = list.Append(ls[:0], i)
		if slices.ContainsFunc(heirs, func(h *cache) bool { return h.has(ls) }) {
			continue
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
// ended, so that memory follows what is live. It is for between two passes.
func (c *cache) compact(generation func() uint64) {
	const slack = 1000
	// A target that fails for a while keeps what it showed last.
	keep := 2*max(c.live, len(c.lines)) + slack
	if c.labels.Len() <= keep {
		return
	}
	old := *c
	c.shape = &model.Shape{Target: c.target, Job: c.job, Generation: generation()}
	c.labels, c.flags, c.own, c.family, c.retold = model.LabelsBuilder{}, nil, nil, nil, true
	c.exemplars, c.starts, c.since = nil, nil, nil
	if old.own != nil {
		c.own = []ownTime{}
	}
	list := old.labels.Labels().Open(nil)
	moved := make([]int32, len(old.flags))
	var ls []model.Label
	move := func(id int32) int32 {
		if moved[id] == 0 {
			ls = list.Append(ls[:0], int(id))
			to := c.labels.Append(ls)
			c.addSlot(old.flags[id], old.family[id])
			if old.own != nil {
				c.own[to] = old.own[id]
			}
			c.moveStart(int32(to), old.since, int(id))
			moved[id] = int32(to) + 1
		}
		return moved[id] - 1
	}
	for i, f := range old.flags {
		if f&tracked != 0 {
			move(int32(i))
		}
	}
	for i := range c.lines {
		if slot := c.lines[i].slot; slot >= 0 {
			c.lines[i].slot = move(slot)
		}
	}
	for i, slot := range c.reports {
		if slot >= 0 {
			c.reports[i] = move(slot)
		}
	}
}

// plainNaN makes every NaN but the staleness marker the same one, so that no
// target can speak in the values that mean something to us.
func plainNaN(v float64) float64 {
	if !math.IsNaN(v) || model.IsStale(v) {
		return v
	}
	return math.Float64frombits(0x7ff8000000000001)
}
