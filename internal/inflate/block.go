package inflate

import "encoding/binary"

// preOrder is the order in which a block lists the lengths of the code that its
// code lengths are written in.
var preOrder = [preSyms]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// fill tops up acc to at least 56 bits, or to all that is left of the input.
func (r *Reader) fill() {
	if r.in+8 <= len(r.src) {
		r.acc |= binary.LittleEndian.Uint64(r.src[r.in:]) << (r.n & 63)
		r.in += int(63-r.n) >> 3
		r.n |= 56
		return
	}
	for r.n < 56 && r.in < len(r.src) {
		r.acc |= uint64(r.src[r.in]) << (r.n & 63)
		r.in++
		r.n += 8
	}
}

// take consumes the bits that a table entry says. It reports whether the input
// has that many.
func (r *Reader) take(entry uint32) bool {
	size := uint(entry & 63)
	r.acc >>= size
	r.n -= size
	return r.n <= 63
}

// bitsOf reads some bits, and reports whether the input has that many.
func (r *Reader) bitsOf(size uint32) (int, bool) {
	v := int(r.acc & (1<<size - 1))
	return v, r.take(size)
}

// align drops what is left of the byte that the last bits came from, and gives
// whole bytes that were read ahead back to the input.
func (r *Reader) align() {
	r.in -= int(r.n / 8)
	r.acc, r.n = 0, 0
}

// blockHeader reads the start of a block up to its data.
func (r *Reader) blockHeader() error {
	r.fill()
	if r.n < 3 {
		return r.truncated()
	}
	r.last = r.acc&1 != 0
	kind := r.acc >> 1 & 3
	r.take(3)
	switch kind {
	case 0:
		r.align()
		if len(r.src)-r.in < 4 {
			return r.truncated()
		}
		size := binary.LittleEndian.Uint16(r.src[r.in:])
		if size != ^binary.LittleEndian.Uint16(r.src[r.in+2:]) {
			return r.corrupt("the two lengths of a stored block differ")
		}
		r.in += 4
		r.stored = int(size)
		r.state = inStored
		return nil
	case 1:
		r.codes = fixedTables()
	case 2:
		r.codes = &r.dynamic
		if err := r.dynamicCodes(); err != nil {
			return err
		}
	default:
		return r.corrupt("unknown block type 3")
	}
	r.state = inHuffman
	return nil
}

// storedBlock copies what there is room for of a stored block.
func (r *Reader) storedBlock(limit int) error {
	size := min(r.stored, limit-r.pos)
	if len(r.src)-r.in < size {
		return r.truncated()
	}
	copy(r.buf[r.pos:], r.src[r.in:r.in+size])
	r.pos += size
	r.in += size
	r.stored -= size
	if r.stored == 0 {
		r.endBlock()
	}
	return nil
}

// huffmanBlock decodes what there is room for of a block of either code.
func (r *Reader) huffmanBlock(limit int) error {
	why := r.fast(limit)
	if why == noInput {
		why = r.careful(limit)
	}
	switch why {
	case endOfBlock:
		r.endBlock()
	case truncated:
		return r.truncated()
	case badSymbol:
		return r.corrupt("bits that are no symbol of the block's code")
	case badDistance:
		return r.corrupt("a match that starts before the data")
	}
	return nil
}

func (r *Reader) endBlock() {
	r.state = atBlock
	if r.last {
		r.align()
		r.state = atTrailer
	}
}

// dynamicCodes reads the codes of a block that defines its own.
func (r *Reader) dynamicCodes() error {
	if r.n < 14 {
		return r.truncated()
	}
	lit := int(r.acc&31) + 257
	dist := int(r.acc>>5&31) + 1
	pre := int(r.acc>>10&15) + 4
	r.take(14)
	if lit > maxLitSyms || dist > maxDistSyms {
		return r.corrupt("a code of too many symbols")
	}
	var lens [preSyms]uint8
	for _, sym := range preOrder[:pre] {
		if r.n < 3 {
			r.fill()
		}
		v, ok := r.bitsOf(3)
		if !ok {
			return r.truncated()
		}
		lens[sym] = uint8(v)
	}
	table := r.dynamic.lit[:preEntries] // the code that is wanted is built over it
	if !buildTable(table, lens[:], preSymbols[:], preBits) {
		return r.corrupt("an incomplete or oversubscribed code for code lengths")
	}
	if err := r.codeLengths((*[preEntries]uint32)(table), r.lens[:lit+dist]); err != nil {
		return err
	}
	if !buildTable(r.dynamic.lit[:], r.lens[:lit], litSymbols[:], litBits) {
		return r.corrupt("an incomplete or oversubscribed literal code")
	}
	if !buildTable(r.dynamic.dist[:], r.lens[lit:lit+dist], distSymbols[:], distBits) {
		return r.corrupt("an incomplete or oversubscribed distance code")
	}
	return nil
}

// codeLengths reads run-length coded code lengths until lens is full.
func (r *Reader) codeLengths(table *[preEntries]uint32, lens []uint8) error {
	for i := 0; i < len(lens); {
		if r.n < preBits+7 {
			r.fill()
		}
		e := table[r.acc&(preEntries-1)]
		if e&entryException != 0 {
			return r.corrupt("bits that are no code length")
		}
		if !r.take(e) {
			return r.truncated()
		}
		sym := uint8(e >> entryShift)
		if sym < 16 {
			lens[i] = sym
			i++
			continue
		}
		var value uint8
		size, least := uint32(3), 3
		switch sym {
		case 16:
			if i == 0 {
				return r.corrupt("a repeated code length before the first one")
			}
			value = lens[i-1]
			size = 2
		case 18:
			size, least = 7, 11
		}
		times, ok := r.bitsOf(size)
		if !ok {
			return r.truncated()
		}
		times += least
		if times > len(lens)-i {
			return r.corrupt("more code lengths than symbols")
		}
		for end := i + times; i < end; i++ {
			lens[i] = value
		}
	}
	return nil
}
