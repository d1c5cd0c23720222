package inflate

import (
	"encoding/binary"
	"unsafe"
)

// outcome is why decoding of a Huffman block stopped.
type outcome int

const (
	noInput     outcome = iota // too near the end of the input for the fast loop
	noRoom                     // the output is as long as asked for
	endOfBlock                 // the block is done
	truncated                  // the input ended
	badSymbol                  // bits that are no symbol
	badDistance                // a match from before the member
)

const (
	maxMatch   = 258
	maxHistory = 32 << 10

	// inSlack is how much input a round of the fast loop loads at most.
	inSlack = 8
	// outSlack is how far after its limit a round may write: a match that starts
	// just before it, and what the last step of the copy writes too much.
	outSlack = maxMatch + copyStep

	wordSize  = 16
	copyFirst = 2 * wordSize  // what is copied of any match
	copyStep  = 2 * copyFirst // in which steps a longer one is
)

// fast decodes until a block ends or there is too little input or room left to
// go on without looking at every byte. It needs outSlack bytes of buf after limit.
//
// All of its memory accesses go by pointers that are not checked: of src it reads
// 8 bytes at in <= inEnd; of the tables what the masks allow, or by checked
// index; and a match is written from pos < end onwards, and read from there less
// a distance of at most pos.
//
// A round consumes 48 bits at most (a code of 15 bits with 5 more for a length,
// and one of 15 with 13 for a distance), and starts with at least 56 that count
// and with 64 that are right. So those of the next symbol's main table entry are
// in acc after any round, and the entry is looked up before acc is refilled,
// which takes the load of input out of the chain of dependent instructions.
//
//nolint:funlen // a call per match costs a tenth of the speed
func (r *Reader) fast(limit int) outcome {
	in, inEnd := r.in, len(r.src)-inSlack
	if in > inEnd {
		return noInput
	}
	t := r.codes
	src := unsafe.Pointer(unsafe.SliceData(r.src))
	out := unsafe.Pointer(&r.buf[r.start])
	pos, end := uint(r.pos-r.start), uint(limit-r.start)
	acc, in, n := refill(src, in, r.acc, uint64(r.n))
	e := t.lit[acc&litMask]
	why := noRoom
	for pos < end {
		if in > inEnd {
			why = noInput
			break
		}
		if int32(e) < 0 { // entryLiteral
			acc, n = acc>>(e&63), n-uint64(e)
			*(*byte)(unsafe.Add(out, pos)) = byte(e >> entryShift)
			pos++
			e = t.lit[acc&litMask]
			acc, in, n = refill(src, in, acc, n)
			continue
		}
		length := value(e, acc)
		acc, n = acc>>(e&63), n-uint64(e)
		d := t.dist[acc&distMask]
		if e&entryException != 0 {
			if e&entrySubtable != 0 {
				e = t.lit[second(e, acc)]
				if int32(e) < 0 {
					continue // in and pos are as before, so that its turn comes now
				}
				length = value(e, acc)
				acc, n = acc>>(e&63), n-uint64(e)
				d = t.dist[acc&distMask]
			}
			if e&entryException != 0 {
				why = exception(e)
				break
			}
		}
		if d&entryException != 0 {
			acc, n = acc>>(d&63), n-uint64(d)
			if d&entrySubtable != 0 {
				d = t.dist[second(d, acc)]
			}
			if d&entryException != 0 {
				why = badSymbol
				break
			}
		}
		was := acc
		acc, n = acc>>(d&63), n-uint64(d)
		e = t.lit[acc&litMask]
		acc, in, n = refill(src, in, acc, n)
		dist := uint(value(d, was))
		if dist > pos {
			why = badDistance
			break
		}

		to := unsafe.Add(out, pos)
		from := unsafe.Add(to, -int(dist))
		pos += uint(length)
		// Of a word that overlaps its source the first dist bytes come out right,
		// so that from there on the source is twice as far behind.
		for ; dist < wordSize; dist *= 2 {
			copyWord(to, from)
			to = unsafe.Add(to, dist)
			length -= int(dist)
		}
		copyWords(to, from)
		for length > copyFirst {
			copyWords(unsafe.Add(to, copyFirst), unsafe.Add(from, copyFirst))
			to, from = unsafe.Add(to, copyStep), unsafe.Add(from, copyStep)
			copyWords(to, from)
			length -= copyStep
		}
	}
	r.in, r.pos = in, int(pos)+r.start
	r.acc, r.n = acc, uint(n&63)
	return why
}

// refill adds input to acc, of which the low byte of n says how many bits count.
// Afterwards they are at least 56; those above are input as well, which the next
// refill adds once more. It loads 8 bytes and advances in by up to 7.
func refill(src unsafe.Pointer, in int, acc, n uint64) (filled uint64, next int, count uint64) {
	acc |= binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(src, in))[:]) << (n & 63)
	return acc, in + int(^n>>3&7), n | 56
}

// value returns the length or distance of an entry and the bits it starts at.
func value(e uint32, acc uint64) int {
	return int(e>>entryShift) + int(acc&(1<<(e&63)-1)>>(e>>8&63))
}

// second returns where in the table the entry is that another one, whose bits
// are consumed, leads to.
func second(e uint32, acc uint64) uint64 {
	return uint64(e>>entryShift) + acc&(1<<(e>>8&15)-1)
}

// exception returns what an exceptional entry other than a subtable means.
func exception(e uint32) outcome {
	if e&entryEnd != 0 {
		return endOfBlock
	}
	return badSymbol
}

// copyWord copies 16 bytes.
func copyWord(to, from unsafe.Pointer) { *(*[wordSize]byte)(to) = *(*[wordSize]byte)(from) }

// copyWords copies copyFirst bytes, low ones first.
func copyWords(to, from unsafe.Pointer) {
	copyWord(to, from)
	copyWord(unsafe.Add(to, wordSize), unsafe.Add(from, wordSize))
}

// careful decodes as fast does, but up to the end of the input, and slower.
func (r *Reader) careful(limit int) outcome {
	t := r.codes
	for r.pos < limit {
		r.fill()
		e := t.lit[r.acc&litMask]
		if e&entrySubtable != 0 {
			if !r.take(e) {
				return truncated
			}
			e = t.lit[second(e, r.acc)]
		}
		length := value(e, r.acc)
		if !r.take(e) {
			return truncated
		}
		if e&entryLiteral != 0 {
			r.buf[r.pos] = byte(e >> entryShift)
			r.pos++
			continue
		}
		if e&entryException != 0 {
			return exception(e)
		}
		e = t.dist[r.acc&distMask]
		if e&entrySubtable != 0 {
			if !r.take(e) {
				return truncated
			}
			e = t.dist[second(e, r.acc)]
		}
		if e&entryException != 0 {
			return badSymbol
		}
		dist := value(e, r.acc)
		if !r.take(e) {
			return truncated
		}
		if dist > r.pos-r.start {
			return badDistance
		}
		for range length {
			r.buf[r.pos] = r.buf[r.pos-dist]
			r.pos++
		}
	}
	return noRoom
}
