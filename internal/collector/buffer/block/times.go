package block

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/mangru/mangru/internal/model"
)

// How section own says which column of times a slot has.
const (
	codeExpected   = iota // the expected one
	codeNew               // a new one
	codeNewOfStale        // likewise, with times of stale markers
	codeNumber            // the one with the number that is added
)

const allFrames = ^uint64(0)

// mostTried is how many columns of times are looked at for one that fits where
// it matters.
const mostTried = 128

// loadTimes takes the distances of the values' times to the frames' times, of m
// slots of all frames.
func (s *scratch) loadTimes(frames []*model.Frame, from, m int) {
	for i, f := range frames {
		i &= MaxFrames - 1 // always so; it saves the bounds checks
		times := f.Times[min(from, len(f.Times)):min(from+m, len(f.Times))]
		for k, t := range times {
			s.times[k&(tile-1)][i] = t - f.Time
		}
		for k := len(times); k < m; k++ {
			s.times[k&(tile-1)][i] = 0
		}
	}
}

// encodeOwn stores which times a slot has: t are the distances, absent and
// stale the frames without a value and with a stale marker. It changes t.
func (s *scratch) encodeOwn(t []int64, absent, stale uint64) {
	if absent == allFrames {
		return // its time may be any, and whatever follows it is as if it were not there
	}
	code, fresh := s.own.code(t, absent, stale)
	s.section[secOwn] = binary.AppendUvarint(s.section[secOwn], code)
	if !fresh {
		return
	}
	deltas, last := s.d[:len(t)], int64(0)
	for i, v := range t {
		deltas[i] = v - last
		last = v
	}
	s.encodeResiduals(0, deltas)
}

// timeColumn is a column of distances to the frames' times, which many slots
// have in common.
type timeColumn struct {
	dist [MaxFrames]int64
	// ofStale says that the times are those of stale markers as well. These
	// usually have the frame's time, which would make the column of a series
	// that ends another one than that of its container.
	ofStale bool
	moved   uint64 // in which frames there is a distance; only known when decoding
}

// fits reports whether c is right about each value's time.
func (c *timeColumn) fits(t []int64, absent, stale uint64, ofStale bool) bool {
	free := absent
	if !c.ofStale {
		if ofStale {
			return false
		}
		free |= stale
	}
	if free == 0 {
		return slices.Equal(c.dist[:len(t)], t)
	}
	for i, v := range t {
		if c.dist[i&(MaxFrames-1)] != v && free>>i&1 == 0 {
			return false
		}
	}
	return true
}

// ownTimes numbers the distinct columns of times. Number 0 has no distances.
type ownTimes struct {
	cols  []timeColumn
	known map[uint64]int // by hash; only when encoding
	// after says which number followed each one last time: pages list the
	// containers in the same order for each metric.
	after []int
	last  int
}

func (o *ownTimes) reset() {
	o.cols, o.after, o.last = append(o.cols[:0], timeColumn{}), append(o.after[:0], 0), 0
	clear(o.known)
}

func (o *ownTimes) bytes() int { return (8*MaxFrames + 16) * cap(o.cols) }

// any reports whether any column has distances.
func (o *ownTimes) any() bool { return len(o.cols) > 1 }

// expected is the number that the next slot has if pages go on as they did.
func (o *ownTimes) expected() int { return o.after[o.last] }

// follow notes the number of a slot.
func (o *ownTimes) follow(number int) {
	o.after[o.last] = number
	o.last = number
}

// add makes c the last column.
func (o *ownTimes) add(c *timeColumn) {
	o.cols = append(o.cols, *c)
	o.after = append(o.after, 0)
}

// code returns how to say which column has the times of a slot, and whether it
// is a new one, which then is in t.
func (o *ownTimes) code(t []int64, absent, stale uint64) (code uint64, fresh bool) {
	ofStale := false
	for m := stale; m != 0; m &= m - 1 {
		i := bits.TrailingZeros64(m)
		ofStale = ofStale || i < len(t) && t[i] != 0
	}
	number := o.expected()
	if o.cols[number].fits(t, absent, stale, ofStale) {
		o.follow(number)
		return 0, false
	}
	free := absent
	if !ofStale {
		free |= stale
	}
	if free != 0 {
		fill(t, free)
	}
	h := hash(t)
	number = o.known[h]
	if !o.cols[number].fits(t, absent, stale, ofStale) {
		number = o.search(t, absent, stale, ofStale)
	}
	code, fresh = codeNumber+uint64(number), number == len(o.cols)
	if fresh {
		c := timeColumn{ofStale: ofStale}
		copy(c.dist[:], t)
		o.add(&c)
		if o.known == nil {
			o.known = make(map[uint64]int)
		}
		o.known[h] = number
		code = codeNew
		if ofStale {
			code = codeNewOfStale
		}
	}
	o.follow(number)
	return code, fresh
}

// search looks for a column that fits if not all times of t matter. It returns
// the number of the next new column if there is none.
func (o *ownTimes) search(t []int64, absent, stale uint64, ofStale bool) (number int) {
	if absent|stale == 0 {
		return len(o.cols)
	}
	for i := max(0, len(o.cols)-mostTried); i < len(o.cols); i++ {
		if o.cols[i].fits(t, absent, stale, ofStale) {
			return i
		}
	}
	return len(o.cols)
}

func hash(t []int64) uint64 {
	h := uint64(len(t))
	for _, v := range t {
		hi, lo := bits.Mul64(h^uint64(v), 0x9e3779b97f4a7c15)
		h = hi ^ lo
	}
	return h
}

// decodeOwn reads which times slot k of the tile has. MayStale says that there
// may be stale markers among its values.
func (d *decoder) decodeOwn(k int, form byte, mayStale bool) bool {
	if form == modeNothing<<4 {
		d.dist[k] = &d.own.cols[0].dist
		return true
	}
	number := d.own.expected()
	switch code := d.owns.uvarint(); code {
	case codeExpected:
	case codeNew, codeNewOfStale:
		number = len(d.own.cols)
		if !d.decodeTimes(code == codeNewOfStale) {
			return false
		}
	default:
		if code -= codeNumber; code >= uint64(len(d.own.cols)) {
			return false
		}
		number = int(code)
	}
	d.own.follow(number)
	c := &d.own.cols[number]
	d.dist[k] = &c.dist
	d.moved |= c.moved
	if mayStale && c.moved != 0 && !c.ofStale {
		dist := &d.times[k]
		*dist = c.dist
		for i, v := range d.cols[k][:len(d.frames)] {
			if v == model.StaleBits {
				dist[i] = 0
			}
		}
		d.dist[k] = dist
	}
	return true
}

// decodeTimes reads a new column of times.
func (d *decoder) decodeTimes(ofStale bool) bool {
	c := timeColumn{ofStale: ofStale}
	deltas, last := d.d[:len(d.frames)], int64(0)
	if !d.readResiduals(0, deltas) {
		return false
	}
	for i, v := range deltas {
		last += v
		c.dist[i] = last
		if last != 0 {
			c.moved |= 1 << i
		}
	}
	d.own.add(&c)
	return true
}

// storeTimes puts the times of n columns into frame i.
func (d *decoder) storeTimes(f *model.Frame, i, from, n int) {
	if n == 0 || f.Times == nil && !d.needsTimes(f, i, from, n) {
		return
	}
	times := f.Times[from : from+n]
	for k := range times {
		times[k] = f.Time + d.dist[k&(tile-1)][i&(MaxFrames-1)]
	}
}

// needsTimes gives frame i times if one of n slots has a value with another time
// than the frame's, and reports whether so. No slot before them has.
func (d *decoder) needsTimes(f *model.Frame, i, from, n int) bool {
	for k := range n {
		if d.dist[k][i] == 0 || d.cols[k][i] == model.AbsentBits {
			continue
		}
		f.Times = d.arena.takeTimes(len(f.Values))
		for at := range f.Times[:from] {
			f.Times[at] = f.Time
		}
		return true
	}
	return false
}
