package inflate

import (
	"math/bits"
	"sync"
)

// The alphabets of RFC 1951 section 3.2.
const (
	maxCodeLen   = 15
	maxLitSyms   = 286 // what a dynamic block may define
	maxDistSyms  = 30
	fixedLitSyms = 288 // the fixed code has two symbols more, which are invalid
	fixedDistSym = 32
	preSyms      = 19
	maxLens      = maxLitSyms + maxDistSyms
)

// How many bits a main table is looked up by. A larger literal table needs
// fewer second look-ups, but takes longer to build and more of the L1 cache.
const (
	litBits  = 11
	distBits = 8
	preBits  = 7

	litMask  = 1<<litBits - 1
	distMask = 1<<distBits - 1
)

// How many entries the worst complete code needs, its subtables included (as
// computed by zlib's examples/enough.c for these bits and numbers of symbols).
const (
	litEntries  = 2342
	distEntries = 402
	preEntries  = 1 << preBits
)

// A table entry says all there is to know about the symbol that the next bits
// of input start with. From the low end:
//
//	bits 0-5    how many bits to consume, those of the extra value included
//	bits 8-11   how many of those are the code: where the extra value starts
//	bit  13     the end of the block
//	bit  14     a subtable: its first entry is at bits 16-30, bits 8-11 say how
//	            many bits index it, and the bits consumed are the main table's
//	bit  15     an exception: bit 13 or 14 is set, or the bits are no symbol
//	bits 16-30  the literal, or the base of the length or distance
//	bit  31     a literal
//
// The bits between may be subtracted from a bit count along with the low ones,
// because only the count's low byte is used.
const (
	entryEnd       = 1 << 13
	entrySubtable  = 1 << 14
	entryException = 1 << 15
	entryLiteral   = 1 << 31

	entryShift   = 16
	entryInvalid = entryException
)

// tables are the two codes of a Huffman block.
type tables struct {
	lit  [litEntries]uint32
	dist [distEntries]uint32
}

// fixedTables returns the codes of RFC 1951 section 3.2.6.
var fixedTables = sync.OnceValue(func() *tables {
	var lens [fixedLitSyms]uint8
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		default:
			lens[i] = 8
		}
	}
	t := new(tables)
	buildTable(t.lit[:], lens[:], litSymbols[:], litBits)
	for i := range fixedDistSym {
		lens[i] = 5
	}
	buildTable(t.dist[:], lens[:fixedDistSym], distSymbols[:], distBits)
	return t
})

// litSymbols, distSymbols and preSymbols are the entries of each symbol, without
// the bits of the code.
var (
	litSymbols  = newLitSymbols()
	distSymbols = newDistSymbols()
	preSymbols  = newPreSymbols()
)

func newLitSymbols() (s [fixedLitSyms]uint32) {
	for i := range 256 {
		s[i] = entryLiteral | uint32(i)<<entryShift
	}
	s[256] = entryException | entryEnd
	base := uint32(3)
	for i := 257; i < 285; i++ {
		var extra uint32
		if i >= 265 {
			extra = uint32(i-261) / 4
		}
		s[i] = base<<entryShift | extra
		base += 1 << extra
	}
	s[285] = 258 << entryShift
	s[286], s[287] = entryInvalid, entryInvalid
	return s
}

func newDistSymbols() (s [fixedDistSym]uint32) {
	base := uint32(1)
	for i := range maxDistSyms {
		var extra uint32
		if i >= 4 {
			extra = uint32(i-2) / 2
		}
		s[i] = base<<entryShift | extra
		base += 1 << extra
	}
	s[30], s[31] = entryInvalid, entryInvalid
	return s
}

func newPreSymbols() (s [preSyms]uint32) {
	for i := range s {
		s[i] = uint32(i) << entryShift
	}
	return s
}

// buildTable fills a table that is looked up by tableBits bits with the
// canonical code that has these lengths. It refuses codes that are neither
// complete nor one of the two that encoders make for blocks without matches:
// no symbol at all, and a single symbol of one bit. In those the bits that are
// no symbol get an entry that says so.
func buildTable(table []uint32, lens []uint8, symbols []uint32, tableBits int) bool {
	var count [maxCodeLen + 1]int
	for _, l := range lens {
		count[l&maxCodeLen]++
	}
	count[0] = 0
	var next [maxCodeLen + 2]int // where the symbols of a length start in order
	longest, code := 0, 0        // code: of all 15-bit strings, those that are taken
	for l := 1; l <= maxCodeLen; l++ {
		next[l+1] = next[l] + count[l]
		code += count[l] << (maxCodeLen - l)
		if count[l] != 0 {
			longest = l
		}
	}
	if code != 1<<maxCodeLen {
		return buildDegenerate(table[:1<<tableBits], lens, symbols, count[1], next[maxCodeLen+1])
	}
	var order [fixedLitSyms]uint16
	at := next
	for sym, l := range lens {
		if l != 0 {
			order[at[l&maxCodeLen]] = uint16(sym)
			at[l&maxCodeLen]++
		}
	}
	// Entries of codes of up to n bits depend on n bits of input: the table for
	// n+1 bits is the one for n twice, and in it the codes of n+1 bits.
	code = 0
	for l := 1; l <= tableBits; l++ {
		size := 1 << l
		copy(table[size/2:size], table[:size/2])
		code <<= 1
		for _, sym := range order[next[l]:next[l+1]] {
			table[reverse(code, l)] = symbols[sym] + uint32(l<<8|l)
			code++
		}
	}
	if longest > tableBits {
		buildSubtables(table, order[next[tableBits+1]:next[longest+1]], lens, symbols, tableBits, code, &count)
	}
	return true
}

// reverse returns the bits of a code as they come out of the input.
func reverse(code, length int) int {
	return int(bits.Reverse16(uint16(code)) >> (16 - length))
}

// buildDegenerate builds the incomplete codes that are valid.
func buildDegenerate(table []uint32, lens []uint8, symbols []uint32, ones, all int) bool {
	if all > 1 || all != ones {
		return false
	}
	for i := range table {
		table[i] = entryInvalid
	}
	for sym, l := range lens {
		if l == 0 {
			continue
		}
		for i := 0; i < len(table); i += 2 {
			table[i] = symbols[sym] + (1<<8 | 1)
		}
	}
	return true
}

// buildSubtables appends a table for each start of tableBits bits that codes
// longer than that have; code is the last code of tableBits bits plus one.
func buildSubtables(table []uint32, order []uint16, lens []uint8, symbols []uint32, tableBits, code int, count *[maxCodeLen + 1]int) {
	end := 1 << tableBits
	var sub []uint32
	prefix, last := -1, tableBits
	left := *count // symbols of each length that are still to come
	for _, sym := range order {
		l := int(lens[sym])
		code <<= l - last
		last = l
		rest := l - tableBits
		if p := code >> rest; p != prefix {
			prefix = p
			// As large as the longest code in it: those that follow fill it up.
			n := rest
			for room := left[l]; room < 1<<n; {
				n++
				room = room<<1 + left[tableBits+n]
			}
			table[reverse(p, tableBits)] = uint32(end<<entryShift) | entryException | entrySubtable | uint32(n<<8|tableBits)
			sub = table[end : end+1<<n]
			end += 1 << n
		}
		e := symbols[sym] + uint32(rest<<8|rest)
		for i := reverse(code&(1<<rest-1), rest); i < len(sub); i += 1 << rest {
			sub[i] = e
		}
		code++
		left[l]--
	}
}
