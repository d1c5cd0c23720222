package block

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/mangru/mangru/internal/model"
)

// Decode returns the frames of a block. Shape is the longest of their shapes:
// all of them refer to it, and their values may be fewer than its slots, as
// they were. The frames do not refer to b. Every error wraps ErrCorrupt; what
// a corrupt block can make it allocate is bounded by the shape and len(b).
func Decode(b []byte, shape *model.Shape) ([]*model.Frame, error) {
	s := pool.Get().(*scratch)
	defer s.release()
	var d decoder
	if err := d.decode(s, b, shape, new(arena)); err != nil {
		return nil, err
	}
	return d.frames, nil
}

// Merge appends to dst the block that Encode would make of the frames of
// several blocks of one target and generation, oldest first, with MaxFrames
// frames at most in all. It is Decode and Encode without garbage. Shape is the
// longest of the frames' shapes.
func Merge(dst []byte, shape *model.Shape, blocks ...[]byte) ([]byte, error) {
	s := pool.Get().(*scratch)
	defer s.release()
	s.arena.reused = true
	defer s.arena.reset()
	var frames []*model.Frame
	for _, b := range blocks {
		var d decoder
		if err := d.decode(s, b, shape, &s.arena); err != nil {
			return dst, err
		}
		if frames = append(frames, d.frames...); len(frames) > MaxFrames {
			return dst, corrupt("too many frames to merge")
		}
	}
	if len(frames) == 0 {
		return dst, corrupt("nothing to merge")
	}
	return s.encode(dst, frames), nil
}

// arena is where decoded values, times and extras go. What it gave out stays as
// it is until reset.
type arena struct {
	values []float64
	times  []int64
	extras []model.Extra
	// reused says that there will be a reset. If not, there is nothing to gain
	// from keeping the times of several frames, which are asked for one by one,
	// in one piece.
	reused bool
}

func (a *arena) reset() {
	clear(a.extras)
	a.values, a.times, a.extras = a.values[:0], a.times[:0], a.extras[:0]
}

func (a *arena) bytes() int { return 8*cap(a.values) + 8*cap(a.times) + 72*cap(a.extras) }

func (a *arena) takeTimes(n int) []int64 {
	if !a.reused {
		return make([]int64, n)
	}
	return take(&a.times, n)
}

// take returns n items from an arena's list, of any content.
func take[T any](list *[]T, n int) []T {
	at := len(*list)
	if cap(*list)-at < n {
		*list, at = make([]T, 0, at+n), 0
	}
	*list = (*list)[:at+n]
	return (*list)[at : at+n : at+n]
}

// decoder reads one block.
type decoder struct {
	*scratch
	arena  *arena
	frames []*model.Frame
	slots  int // of the block
	limit  int // the shape's slots

	forms, widths, masks reader
	numbers, words       reader
	owns                 reader
	rest                 restReader
	starts               reader
	planes               [2 * 8]reader

	// Of the tile that is being decoded: each slot's distances to the frames'
	// times, and in which frames any of them may count.
	dist  [tile]*[MaxFrames]int64
	moved uint64
}

func (d *decoder) decode(s *scratch, b []byte, shape *model.Shape, a *arena) error {
	secs, err := s.open(b)
	if err != nil {
		return err
	}
	s.reset()
	d.scratch, d.arena, d.limit = s, a, shape.Slots()
	d.forms, d.widths, d.masks = reader{b: secs[secForms]}, reader{b: secs[secWidths]}, reader{b: secs[secMasks]}
	d.numbers, d.words = reader{b: secs[secNumbers]}, reader{b: secs[secWords]}
	d.owns, d.rest.b, d.starts = reader{b: secs[secOwn]}, secs[secRest], reader{b: secs[secStarts]}
	for i := range d.planes {
		d.planes[i].b = secs[secPlanes+i]
	}
	head := reader{b: secs[secFrames]}
	d.decodeFrames(&head, shape)
	for _, err := range []error{head.end(), d.rest.end(), d.starts.end()} {
		if err != nil {
			return err
		}
	}
	for from := 0; from < d.slots; from += tile {
		m := min(tile, d.slots-from)
		d.moved = 0
		for k := range m {
			form := d.forms.byte()
			stale, ok := d.decodeColumn(form, s.cols[k][:len(d.frames)])
			if !ok || len(d.owns.b) > 0 && !d.decodeOwn(k, form, stale) {
				return d.err()
			}
		}
		d.store(from, m)
	}
	return d.end()
}

// err returns why decoding stopped.
func (d *decoder) err() error {
	if err := d.end(); err != nil {
		return err
	}
	return corrupt("impossible value")
}

// end sees to it that every section was read to its end.
func (d *decoder) end() error {
	for _, r := range []*reader{&d.forms, &d.widths, &d.masks, &d.numbers, &d.words, &d.owns, &d.rest.reader} {
		if err := r.end(); err != nil {
			return err
		}
	}
	for i := range d.planes {
		if err := d.planes[i].end(); err != nil {
			return err
		}
	}
	return nil
}

// decodeFrames makes the frames, with room for values, and their extras.
func (d *decoder) decodeFrames(head *reader, shape *model.Shape) {
	n, slots := head.uvarint(), head.uvarint()
	if n < 1 || n > MaxFrames || slots > uint64(d.limit) || slots != uint64(len(d.forms.b)) {
		head.fail("impossible number of frames or slots")
		return
	}
	d.slots = int(slots)
	frames, list := make([]model.Frame, n), make([]*model.Frame, n)
	var short [MaxFrames]int
	var last, step int64
	total := 0
	for i := range frames {
		f := &frames[i]
		f.Shape = shape
		f.Time = last + step + head.varint()
		if last != 0 {
			step = f.Time - last
		}
		last = f.Time
		less := head.uvarint()
		if less > slots {
			head.fail("impossible number of values")
			return
		}
		short[i] = int(less)
		total += d.slots - short[i]
		list[i] = f
	}
	values := take(&d.arena.values, total)
	for i := range frames {
		size := d.slots - short[i]
		frames[i].Values, values = values[:size:size], values[size:]
	}
	d.frames = list
	if len(d.rest.b) > 0 {
		d.decodeExtras(head)
	}
	if len(d.starts.b) > 0 {
		d.decodeStarts()
	}
}

// decodeExtras reads the number of extras of each frame, and the extras.
func (d *decoder) decodeExtras(head *reader) {
	var count [MaxFrames]int
	total, most := 0, len(d.rest.b)/restMinSize
	for i := range d.frames {
		v := head.uvarint()
		if v > uint64(most-total) {
			head.fail("too many extras")
			return
		}
		count[i] = int(v)
		total += count[i]
	}
	extras := take(&d.arena.extras, total)
	for i, f := range d.frames {
		if count[i] == 0 {
			continue
		}
		f.Extras, extras = extras[:count[i]:count[i]], extras[count[i]:]
		last := int32(0)
		for k := range f.Extras {
			d.rest.next(&f.Extras[k], last, f.Time, d.limit)
			if d.rest.bad != "" {
				return
			}
			last = f.Extras[k].Slot
		}
	}
}

// decodeColumn reads a slot's values and says whether there may be stale
// markers among them.
func (d *decoder) decodeColumn(form byte, col []uint64) (mayStale, ok bool) {
	exp, mode := int(form&15), form>>4&7
	if exp > expBits || mode >= modes {
		return false, false
	}
	if mode == modeNothing {
		setAll(col, model.AbsentBits)
		return false, form == modeNothing<<4
	}
	var mask, stale uint64
	if form&masked != 0 {
		mask, stale = d.mask(len(col)), d.mask(len(col))
	}
	mayStale = stale != 0 || exp == expBits
	first := int64(0)
	if exp == expBits {
		first = int64(d.words.word())
	} else {
		first = d.last[exp] + d.numbers.varint()
		d.last[exp] = first
	}
	if mode == modeConstant {
		setAll(col, value(first, exp))
	} else if len(col) == 1 || !d.decodeDeltas(mode, exp, first, col) {
		return false, false
	}
	for ; mask != 0; mask &= mask - 1 {
		i := bits.TrailingZeros64(mask)
		if i >= len(col) {
			return false, false
		}
		col[i] = model.AbsentBits
		if stale>>i&1 == 1 {
			col[i] = model.StaleBits
		}
	}
	return mayStale, true
}

func setAll(col []uint64, c uint64) {
	for i := range col {
		col[i] = c
	}
}

func value(x int64, exp int) uint64 {
	switch exp {
	case 0:
		return math.Float64bits(float64(x))
	case expBits:
		return uint64(x)
	}
	return math.Float64bits(float64(x) / pow10[exp])
}

// decodeDeltas puts a first value and what follows it into col.
func (d *decoder) decodeDeltas(mode byte, exp int, first int64, col []uint64) bool {
	n := len(col) - 1
	deltas := d.d[:n]
	switch mode {
	case modeLinear:
		step := d.numbers.varint()
		for i := range deltas {
			deltas[i] = step
		}
	case modeDelta:
		if !d.readResiduals(exp, deltas) {
			return false
		}
	case modeDelta2:
		if n < 2 {
			return false
		}
		deltas[0] = d.numbers.varint()
		if !d.readResiduals(exp, deltas[1:]) {
			return false
		}
		for i := 1; i < n; i++ {
			deltas[i] += deltas[i-1]
		}
	case modeCross, modeEqual:
		if exp == expBits || !d.refThere[exp] {
			return false
		}
		ref := d.refs[exp][:n]
		if mode == modeEqual {
			copy(deltas, ref)
			break
		}
		if !d.readResiduals(exp, deltas) {
			return false
		}
		for i := range deltas {
			deltas[i] += ref[i]
		}
	}
	if exp <= maxExponent {
		d.refThere[exp] = true
		copy(d.refs[exp][:], deltas)
	}
	undelta(col, first, deltas, exp)
	return true
}

func undelta(col []uint64, x int64, deltas []int64, exp int) {
	col[0] = value(x, exp)
	col = col[1:][:len(deltas)]
	switch exp {
	case 0:
		for i, d := range deltas {
			x += d
			col[i] = math.Float64bits(float64(x))
		}
	case expBits:
		for i, d := range deltas {
			x += d
			col[i] = uint64(x)
		}
	default:
		p := pow10[exp]
		for i, d := range deltas {
			x += d
			col[i] = math.Float64bits(float64(x) / p)
		}
	}
}

// readResiduals reads len(r) of them from the planes.
func (d *decoder) readResiduals(exp int, r []int64) bool {
	planes := d.planes[:8]
	if exp == expBits {
		planes = d.planes[8:]
	}
	width := int(d.widths.byte())
	if width > 8 {
		return false
	}
	clear(r)
	for k := range width {
		plane := planes[k].take(uint64(len(r)))
		if len(plane) != len(r) {
			return false
		}
		for i, c := range plane {
			r[i] |= int64(c) << (8 * k)
		}
	}
	for i := range r {
		r[i] = unzigzag(uint64(r[i]))
	}
	return true
}

// mask reads a bit for each of n frames.
func (d *decoder) mask(n int) (m uint64) {
	for i, c := range d.masks.take(uint64(n+7) / 8) {
		m |= uint64(c) << (8 * i)
	}
	return m
}

// store puts m columns into the frames.
func (d *decoder) store(from, m int) {
	for i, f := range d.frames {
		values := f.Values[min(from, len(f.Values)):min(from+m, len(f.Values))]
		i &= MaxFrames - 1 // always so; it saves the bounds checks
		for k := range values {
			values[k] = math.Float64frombits(d.cols[k&(tile-1)][i])
		}
		if f.Times != nil || d.moved>>i&1 == 1 {
			d.storeTimes(f, i, from, len(values))
		}
	}
}

// reader reads a section. After the first failure it returns zeros.
type reader struct {
	b   []byte
	at  int
	bad string
}

func (r *reader) fail(what string) {
	if r.bad == "" {
		r.bad = what
	}
	r.at = len(r.b)
}

// end returns an error if reading failed or left something over.
func (r *reader) end() error {
	if r.bad != "" {
		return corrupt(r.bad)
	}
	if r.at != len(r.b) {
		return corrupt("section too long")
	}
	return nil
}

func (r *reader) byte() byte {
	if r.at >= len(r.b) {
		r.fail("section too short")
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) word() uint64 {
	b := r.take(8)
	if len(b) < 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// take returns n bytes, or none.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)-r.at) {
		r.fail("section too short")
		return nil
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at]
}

func (r *reader) uvarint() uint64 {
	if r.at < len(r.b) && r.b[r.at] < 0x80 {
		r.at++
		return uint64(r.b[r.at-1])
	}
	v, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 {
		r.fail("not a number")
		return 0
	}
	r.at += n
	return v
}

func (r *reader) varint() int64 { return unzigzag(r.uvarint()) }
