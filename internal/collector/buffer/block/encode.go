package block

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/mangru/mangru/internal/model"
)

// Encode appends a block of frames to dst: 1 to MaxFrames of them, of one
// target and generation, oldest first. It panics when there are none or too
// many. The frames are only read; the block does not refer to them.
func Encode(dst []byte, frames []*model.Frame) []byte {
	if len(frames) == 0 || len(frames) > MaxFrames {
		panic(fmt.Sprintf("block: %d frames", len(frames)))
	}
	s := pool.Get().(*scratch)
	defer s.release()
	return s.encode(dst, frames)
}

func (s *scratch) encode(dst []byte, frames []*model.Frame) []byte {
	s.reset()
	slots := 0
	for _, f := range frames {
		slots = max(slots, len(f.Values))
	}
	s.encodeFrames(frames, slots)
	n := len(frames)
	timed := slices.ContainsFunc(frames, func(f *model.Frame) bool { return f.Times != nil })
	for from := 0; from < slots; from += tile {
		m := min(tile, slots-from)
		s.load(frames, from, m)
		if timed {
			s.loadTimes(frames, from, m)
		}
		for k := range m {
			absent, stale := s.encodeColumn(s.cols[k][:n])
			if timed {
				s.encodeOwn(s.times[k][:n], absent, stale)
			}
		}
	}
	if !s.own.any() {
		s.section[secOwn] = s.section[secOwn][:0]
	}
	return s.appendBlock(dst)
}

// encodeFrames stores what there is to say about each frame as a whole, and its
// extras.
func (s *scratch) encodeFrames(frames []*model.Frame, slots int) {
	b := binary.AppendUvarint(s.section[secFrames], uint64(len(frames)))
	b = binary.AppendUvarint(b, uint64(slots))
	extras := 0
	var last, step int64
	for _, f := range frames {
		b = binary.AppendVarint(b, f.Time-last-step)
		if last != 0 {
			step = f.Time - last
		}
		last = f.Time
		b = binary.AppendUvarint(b, uint64(slots-len(f.Values)))
		extras += len(f.Extras)
	}
	if extras > 0 {
		for _, f := range frames {
			b = binary.AppendUvarint(b, uint64(len(f.Extras)))
			s.encodeExtras(f)
		}
	}
	s.section[secFrames] = b
	if slices.ContainsFunc(frames, func(f *model.Frame) bool { return f.Starts != nil }) {
		s.encodeStarts(frames)
	}
}

// load takes m slots of all frames, transposed.
func (s *scratch) load(frames []*model.Frame, from, m int) {
	for i, f := range frames {
		i &= MaxFrames - 1 // always so; it saves the bounds checks
		values := f.Values[min(from, len(f.Values)):min(from+m, len(f.Values))]
		for k, v := range values {
			s.cols[k&(tile-1)][i] = math.Float64bits(v)
		}
		for k := len(values); k < m; k++ {
			s.cols[k&(tile-1)][i] = model.AbsentBits
		}
	}
}

// encodeColumn stores a slot's values and says in which frames there are none,
// and in which ones stale markers. It changes col.
func (s *scratch) encodeColumn(col []uint64) (absent, stale uint64) {
	differ := uint64(0)
	for _, c := range col {
		differ |= c ^ col[0]
	}
	if differ == 0 {
		return s.encodeConstant(col[0])
	}
	form := byte(0)
	mask, stale := noSamples(col)
	if mask != 0 {
		form = masked
		s.section[secMasks] = appendMask(appendMask(s.section[secMasks], mask, len(col)), stale, len(col))
		fill(col, mask)
	}
	exp := s.integers(col)
	s.encodeFirst(exp, s.x[0])
	mode := s.encodeDeltas(exp, len(col))
	s.section[secForms] = append(s.section[secForms], form|mode<<4|byte(exp))
	return mask &^ stale, stale
}

func (s *scratch) encodeConstant(c uint64) (absent, stale uint64) {
	if c == model.AbsentBits {
		s.section[secForms] = append(s.section[secForms], modeNothing<<4)
		return allFrames, 0
	}
	one := [1]uint64{c}
	exp := s.integers(one[:])
	s.encodeFirst(exp, s.x[0])
	s.section[secForms] = append(s.section[secForms], modeConstant<<4|byte(exp))
	if c == model.StaleBits {
		return 0, allFrames
	}
	return 0, 0
}

// noSamples says where a column has no sample, and where for being stale.
func noSamples(col []uint64) (mask, stale uint64) {
	for i, c := range col {
		switch c {
		case model.AbsentBits:
			mask |= 1 << i
		case model.StaleBits:
			mask |= 1 << i
			stale |= 1 << i
		}
	}
	return mask, stale
}

func appendMask(dst []byte, mask uint64, n int) []byte {
	for ; n > 0; n -= 8 {
		dst = append(dst, byte(mask))
		mask >>= 8
	}
	return dst
}

// fill puts the value before, or the first one, where there is no sample.
func fill[T int64 | uint64](col []T, mask uint64) {
	last := T(0)
	if first := bits.TrailingZeros64(^mask); first < len(col) {
		last = col[first]
	}
	for i := range col {
		if mask>>i&1 == 1 {
			col[i] = last
		}
		last = col[i]
	}
}

// integers puts the integers that stand for the values into s.x, and returns
// the power of ten that they are to be divided by, or expBits.
func (s *scratch) integers(col []uint64) int {
	x := s.x[:len(col)]
	for i, c := range col {
		v := math.Float64frombits(c)
		// False for NaN as well. Up to here all integers are floats.
		if !(v > -1<<53 && v < 1<<53) {
			return s.bits(col)
		}
		x[i] = int64(v)
		if math.Float64bits(float64(x[i])) != c {
			return s.decimals(col)
		}
	}
	return 0
}

func (s *scratch) bits(col []uint64) int {
	for i, c := range col {
		s.x[i] = int64(c)
	}
	return expBits
}

func (s *scratch) decimals(col []uint64) int {
	x := s.x[:len(col)]
	for exp := maxExponent; exp > 0; exp -= 3 {
		if scaled(x, col, pow10[exp]) {
			return shorten(x, exp)
		}
	}
	return s.bits(col)
}

// scaled puts the values times p into x and reports whether dividing gives the
// same bits back.
func scaled(x []int64, col []uint64, p float64) bool {
	for i, c := range col {
		y := math.RoundToEven(math.Float64frombits(c) * p)
		if !(y > -1<<53 && y < 1<<53) {
			return false
		}
		x[i] = int64(y)
		if math.Float64bits(float64(x[i])/p) != c { // -0 has no integer
			return false
		}
	}
	return true
}

// shorten divides by ten while no digit is lost. Dividing the smaller integer
// by the smaller power of ten is the same fraction, so it gives the same float.
func shorten(x []int64, exp int) int {
	p, e := int64(1), exp
	for e > 0 && x[0]%(10*p) == 0 {
		p *= 10
		e--
	}
	for _, y := range x {
		for y%p != 0 {
			p /= 10
			e++
		}
	}
	if p > 1 {
		for i := range x {
			x[i] /= p
		}
	}
	return e
}

func (s *scratch) encodeFirst(exp int, x int64) {
	if exp == expBits {
		s.section[secWords] = binary.LittleEndian.AppendUint64(s.section[secWords], uint64(x))
		return
	}
	s.section[secNumbers] = binary.AppendVarint(s.section[secNumbers], x-s.last[exp])
	s.last[exp] = x
}

// encodeDeltas stores how the n integers in s.x go on after the first, and
// returns the mode.
func (s *scratch) encodeDeltas(exp, n int) (mode byte) {
	x, d := s.x[:n], s.d[:n-1]
	step := x[1] - x[0]
	differ, cost := int64(0), 0
	for i := range d {
		d[i] = x[i+1] - x[i]
		differ |= d[i] ^ step
		cost += bits.Len64(zigzag(d[i]))
	}
	if differ == 0 && step == 0 {
		return modeConstant // where there are samples
	}
	mode = modeDelta
	if differ == 0 {
		mode = modeLinear
	}
	if exp <= maxExponent {
		ref := s.refs[exp][:n-1]
		if s.refThere[exp] {
			if slices.Equal(ref, d) {
				return modeEqual
			}
			if c := crossCost(d, ref); mode == modeDelta && c < cost {
				mode, cost = modeCross, c
			}
		}
	}
	if mode != modeLinear && delta2Cost(d) < cost {
		mode = modeDelta2
	}
	if mode == modeLinear || mode == modeDelta2 {
		s.section[secNumbers] = binary.AppendVarint(s.section[secNumbers], step)
	}
	if mode != modeLinear {
		s.encodeResiduals(exp, s.residuals(mode, exp, d))
	}
	if exp <= maxExponent {
		s.refThere[exp] = true
		copy(s.refs[exp][:], d)
	}
	return mode
}

func (s *scratch) residuals(mode byte, exp int, d []int64) []int64 {
	switch mode {
	case modeCross:
		r, ref := s.r[:len(d)], s.refs[exp][:len(d)]
		for i := range r {
			r[i] = d[i] - ref[i]
		}
		return r
	case modeDelta2:
		r := s.r[:len(d)-1]
		for i := range r {
			r[i] = d[i+1] - d[i]
		}
		return r
	}
	return d
}

// The costs are in bits.

func crossCost(d, ref []int64) (cost int) {
	for i := range d {
		cost += bits.Len64(zigzag(d[i] - ref[i]))
	}
	return cost
}

func delta2Cost(d []int64) int {
	cost := 8 + bits.Len64(zigzag(d[0]))
	for i := range d[1:] {
		cost += bits.Len64(zigzag(d[i+1] - d[i]))
	}
	return cost
}

// encodeResiduals puts each byte of the residuals into a plane of its own.
func (s *scratch) encodeResiduals(exp int, r []int64) {
	all := uint64(0)
	for _, v := range r {
		all |= zigzag(v)
	}
	width := (bits.Len64(all) + 7) / 8
	s.section[secWidths] = append(s.section[secWidths], byte(width))
	first := secPlanes
	if exp == expBits {
		first = secBitPlanes
	}
	for k := range width {
		plane := s.section[first+k]
		at := len(plane)
		plane = slices.Grow(plane, len(r))[:at+len(r)]
		out := plane[at:]
		for i, v := range r {
			out[i] = byte(zigzag(v) >> (8 * k))
		}
		s.section[first+k] = plane
	}
}
