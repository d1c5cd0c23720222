package inflate

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// bitWriter writes DEFLATE.
type bitWriter struct {
	out []byte
	n   uint
}

// bits writes an integer, low bit first.
func (w *bitWriter) bits(v, n uint) {
	for i := range n {
		if w.n%8 == 0 {
			w.out = append(w.out, 0)
		}
		w.out[len(w.out)-1] |= byte(v>>i&1) << (w.n % 8)
		w.n++
	}
}

// code writes a Huffman code, high bit first.
func (w *bitWriter) code(c, n uint) { w.bits(bits.Reverse(c)>>(bits.UintSize-n), n) }

// fixed writes a symbol of the fixed literal code.
func (w *bitWriter) fixed(sym uint) {
	switch {
	case sym < 144:
		w.code(0x30+sym, 8)
	case sym < 256:
		w.code(0x190+sym-144, 9)
	case sym < 280:
		w.code(sym-256, 7)
	default:
		w.code(0xc0+sym-280, 8)
	}
}

func (w *bitWriter) align() { w.n = uint(len(w.out)) * 8 }

// flush returns what is written.
func (w *bitWriter) flush() []byte { return w.out }

// codeOf returns the canonical code of some lengths.
func codeOf(lens []uint8) []uint {
	var count, next [17]uint
	for _, l := range lens {
		count[l]++
	}
	count[0] = 0
	for l := 1; l < 17; l++ {
		next[l] = (next[l-1] + count[l-1]) << 1
	}
	codes := make([]uint, len(lens))
	for i, l := range lens {
		codes[i] = next[l]
		next[l]++
	}
	return codes
}

// randomLens returns the lengths of a complete code of used symbols out of all;
// those of must have one. Some codes are balanced, some as deep as can be.
func randomLens(rng *rand.Rand, all, used, deepest int, must ...int) []uint8 {
	leaves := []uint8{0}
	skew := rng.IntN(3)
	for len(leaves) < used {
		i := rng.IntN(len(leaves))
		switch skew {
		case 1:
			i = len(leaves) - 1 // the deepest
		case 2:
			i = max(i, rng.IntN(len(leaves)))
		}
		if int(leaves[i]) >= deepest {
			i = rng.IntN(len(leaves))
			for int(leaves[i]) >= deepest {
				i = (i + 1) % len(leaves)
			}
		}
		leaves[i]++
		leaves = append(leaves, leaves[i])
	}
	lens := make([]uint8, all)
	order := rng.Perm(all)
	for i, sym := range must {
		for j := range order {
			if order[j] == sym {
				order[i], order[j] = order[j], order[i]
			}
		}
	}
	rng.Shuffle(len(leaves), func(i, j int) { leaves[i], leaves[j] = leaves[j], leaves[i] })
	for i, l := range leaves {
		lens[order[i]] = l
	}
	return lens
}

// spoil sometimes makes a code incomplete, oversubscribed, degenerate or empty.
func spoil(rng *rand.Rand, lens []uint8) {
	at := rng.IntN(len(lens))
	switch rng.IntN(24) {
	case 0:
		lens[at] = uint8(rng.IntN(16))
	case 1:
		clear(lens)
	case 2:
		clear(lens)
		lens[at] = 1
	case 3:
		clear(lens)
		lens[at] = uint8(rng.IntN(16))
	case 4:
		clear(lens)
		lens[at], lens[rng.IntN(len(lens))] = 1, 1
	}
}

// writeLens writes the head of a dynamic block.
func writeLens(w *bitWriter, rng *rand.Rand, lit, dist []uint8) {
	pre := randomLens(rng, preSyms, preSyms, preBits)
	if rng.IntN(30) == 0 {
		spoil(rng, pre)
		for i := range pre {
			pre[i] &= 7
		}
	}
	codes := codeOf(pre)
	w.bits(uint(len(lit)-257), 5)
	w.bits(uint(len(dist)-1), 5)
	w.bits(preSyms-4, 4)
	for _, sym := range preOrder {
		w.bits(uint(pre[sym]), 3)
	}
	put := func(sym uint8) { w.code(codes[sym], uint(pre[sym])) }
	lens := append(append([]uint8{}, lit...), dist...)
	for i := 0; i < len(lens); {
		run := 1
		for i+run < len(lens) && lens[i+run] == lens[i] {
			run++
		}
		switch {
		case rng.IntN(2) == 0 && run >= 3 && i > 0 && lens[i] == lens[i-1]:
			run = min(run, 6)
			put(16)
			w.bits(uint(run-3), 2)
		case rng.IntN(2) == 0 && run >= 11 && lens[i] == 0:
			run = min(run, 138)
			put(18)
			w.bits(uint(run-11), 7)
		case rng.IntN(2) == 0 && run >= 3 && lens[i] == 0:
			run = min(run, 10)
			put(17)
			w.bits(uint(run-3), 3)
		default:
			run = 1
			put(lens[i])
		}
		i += run
	}
}

// randomBlock writes a block of any kind that is valid more often than not.
// size is how much was written by the blocks before it.
func randomBlock(w *bitWriter, rng *rand.Rand, last uint, size *int) {
	w.bits(last, 1)
	kind := uint(rng.IntN(8))
	switch {
	case kind == 0:
		w.bits(0, 2)
		w.align()
		n := rng.IntN(2000) * rng.IntN(2)
		w.bits(uint(n), 16)
		if rng.IntN(50) == 0 {
			w.bits(uint(n), 16)
		} else {
			w.bits(^uint(n)&0xffff, 16)
		}
		for range n {
			w.bits(uint(rng.IntN(256)), 8)
		}
		*size += n
		return
	case kind == 1 && rng.IntN(10) == 0:
		w.bits(3, 2)
		return
	}
	lit, dist := fixedLens()
	if kind > 2 {
		w.bits(2, 2)
		used := []int{257, 286, 2, 20, 100}[rng.IntN(5)]
		all := maxLitSyms - rng.IntN(30)
		lit = randomLens(rng, all, min(all, max(2, used-rng.IntN(20))), maxCodeLen, 256)
		dist = randomLens(rng, 1+rng.IntN(maxDistSyms), 1, maxCodeLen)
		dist[0] = 1
		if len(dist) > 1 {
			dist = randomLens(rng, len(dist), 2+rng.IntN(len(dist)-1), maxCodeLen)
		}
		spoil(rng, lit)
		spoil(rng, dist)
		writeLens(w, rng, lit, dist)
	} else {
		w.bits(1, 2)
	}
	randomSymbols(w, rng, lit, dist, size)
}

func fixedLens() (lit, dist []uint8) {
	lit, dist = make([]uint8, fixedLitSyms), bytes.Repeat([]byte{5}, fixedDistSym)
	for i := range lit {
		lit[i] = [...]uint8{8, 9, 7}[(i+112)/256]
		if i >= 280 {
			lit[i] = 8
		}
	}
	return lit, dist
}

// randomSymbols writes the symbols of a block, all of the code alike often.
func randomSymbols(w *bitWriter, rng *rand.Rand, lit, dist []uint8, size *int) {
	litCodes, distCodes := codeOf(lit), codeOf(dist)
	mistakes := rng.IntN(10) == 0
	for range rng.IntN(1500) {
		sym := rng.IntN(len(lit))
		if lit[sym] == 0 || sym == 256 || sym > 285 && !mistakes {
			continue
		}
		if sym < 256 {
			w.code(litCodes[sym], uint(lit[sym]))
			*size++
			continue
		}
		d := rng.IntN(len(dist))
		base := distSymbols[d]
		if dist[d] == 0 || !mistakes && (d > 29 || int(base>>entryShift) > *size) {
			continue
		}
		w.code(litCodes[sym], uint(lit[sym]))
		e := litSymbols[sym]
		extra := uint(rng.IntN(1 << (e & 63)))
		w.bits(extra, uint(e&63))
		*size += int(e>>entryShift&0x1ff) + int(extra)
		w.code(distCodes[d], uint(dist[d]))
		extra = uint(rng.IntN(1 << (base & 63)))
		for !mistakes && int(base>>entryShift)+int(extra) > *size-3 && extra > 0 {
			extra /= 2
		}
		w.bits(extra, uint(base&63))
	}
	if rng.IntN(100) > 0 {
		w.code(litCodes[256], uint(lit[256]))
	}
}

// TestRandomBlocks compares with compress/flate on blocks that no compressor
// makes: the deepest codes, and broken ones.
func TestRandomBlocks(t *testing.T) {
	var r Reader
	rng := newRand(7)
	valid, failed := 0, 0
	for range 800 {
		var w bitWriter
		size := 0
		for n := rng.IntN(4); n >= 0; n-- {
			last := uint(0)
			if n == 0 {
				last = 1
			}
			randomBlock(&w, rng, last, &size)
		}
		if _, err := compare(t, &r, repair(member(w.flush(), nil)), rng); err != nil {
			failed++
		} else {
			valid++
		}
	}
	require.Greater(t, valid, 100)
	require.Greater(t, failed, 100)
}

// accepts says whether compress/flate takes the codes of a block that is one
// literal and the end.
func accepts(block []byte) bool {
	_, err := io.ReadAll(flate.NewReader(bytes.NewReader(block)))
	return err == nil
}

// TestCodes has the codes that are neither right nor wrong at first sight.
func TestCodes(t *testing.T) {
	lens := func(n int, of map[int]uint8) []uint8 {
		l := make([]uint8, n)
		for sym, bits := range of {
			l[sym] = bits
		}
		return l
	}
	full := lens(257, map[int]uint8{'a': 1, 256: 1})
	length := lens(258, map[int]uint8{'a': 1, 256: 2, 257: 2})
	for name, c := range map[string]struct {
		lit, dist []uint8
		symbols   []uint // literal symbols; 257 is followed by a distance bit
		want      bool
	}{
		"complete":                         {full, lens(1, nil), []uint{'a', 256}, true},
		"only an end of one bit":           {lens(257, map[int]uint8{256: 1}), lens(1, nil), []uint{256}, true},
		"only an end of two bits":          {lens(257, map[int]uint8{256: 2}), lens(1, nil), []uint{256}, false},
		"no literal code":                  {lens(257, nil), lens(1, nil), []uint{256}, false},
		"incomplete literals":              {lens(257, map[int]uint8{'a': 1, 256: 2}), lens(1, nil), []uint{'a', 256}, false},
		"oversubscribed literals":          {lens(257, map[int]uint8{'a': 1, 'b': 1, 256: 1}), lens(1, nil), []uint{'a', 256}, false},
		"oversubscribed and incomplete":    {lens(257, map[int]uint8{'a': 1, 'b': 1, 256: 15}), lens(1, nil), []uint{'a', 256}, false},
		"no distances, and none needed":    {length, lens(30, nil), []uint{'a', 256}, true},
		"no distances, but a match":        {length, lens(30, nil), []uint{'a', 257, 256}, false},
		"one distance of one bit":          {length, lens(1, map[int]uint8{0: 1}), []uint{'a', 257, 256}, true},
		"the bit that is no distance":      {length, lens(1, map[int]uint8{0: 1}), []uint{'a', 257 | 1<<16, 256}, false},
		"one distance of two bits":         {length, lens(1, map[int]uint8{0: 2}), []uint{'a', 256}, false},
		"two distances of one bit":         {length, lens(2, map[int]uint8{0: 1, 1: 1}), []uint{'a', 'a', 257 | 1<<16, 256}, true},
		"incomplete distances, not needed": {length, lens(3, map[int]uint8{0: 1, 2: 2}), []uint{'a', 256}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var w bitWriter
			w.bits(1, 1)
			w.bits(2, 2)
			writeLens(&w, newRand(8), c.lit, c.dist)
			codes := codeOf(c.lit)
			for _, sym := range c.symbols {
				w.code(codes[sym&0xffff], uint(c.lit[sym&0xffff]))
				if sym&0xffff == 257 {
					w.bits(sym>>16, 1)
				}
			}
			require.Equal(t, c.want, accepts(w.flush()), "compress/flate")
			var r Reader
			_, err := compare(t, &r, repair(member(w.flush(), nil)), newRand(8))
			require.Equal(t, c.want, err == nil)
			if !c.want {
				_, err = r.AppendAll(nil, 1000)
				require.NotErrorIs(t, err, ErrChecksum)
			}
		})
	}
}

// TestFastAndCareful has mistakes that either loop must find, in a member that
// does not start at the buffer's start.
func TestFastAndCareful(t *testing.T) {
	for name, c := range map[string]struct {
		lit, dist, extra uint
		want             error
	}{
		"distance 1":                  {257, 0, 0, nil},
		"distance to the start":       {257, 4, 0, nil}, // 5, 1 bit of extra value
		"distance before the start":   {257, 4, 1, ErrCorrupt},
		"distance before the buffer":  {257, 29, 8191, ErrCorrupt},
		"distance symbol 30":          {257, 30, 0, ErrCorrupt},
		"distance symbol 31":          {257, 31, 0, ErrCorrupt},
		"length symbol 286":           {286, 0, 0, ErrCorrupt},
		"length symbol 287":           {287, 0, 0, ErrCorrupt},
		"longest length symbol is OK": {285, 0, 0, nil},
	} {
		for _, padding := range []int{0, 1000} {
			t.Run(fmt.Sprintf("%s/%d", name, padding), func(t *testing.T) {
				var w bitWriter
				w.bits(1, 1)
				w.bits(1, 2)
				for range 5 {
					w.fixed('x')
				}
				w.fixed(c.lit)
				w.code(c.dist, 5)
				w.bits(c.extra, uint(distSymbols[c.dist]&63))
				for range padding {
					w.fixed('y')
				}
				w.fixed(256)
				src := append(packStd(t, []byte("a member before"), 6), repair(member(w.flush(), nil))...)
				var r Reader
				_, err := compare(t, &r, src, newRand(12))
				require.Equal(t, c.want == nil, err == nil)
				_, err = r.AppendAll(nil, 1<<20)
				require.ErrorIs(t, err, c.want)
			})
		}
	}
}

// TestMatchBeforeKept has a match that starts before its member, but in what the
// caller keeps.
func TestMatchBeforeKept(t *testing.T) {
	stored := func(w *bitWriter, last, n uint) {
		w.bits(last, 1)
		w.bits(0, 2)
		w.align()
		w.bits(n, 16)
		w.bits(^n&0xffff, 16)
		for range n {
			w.bits('s', 8)
		}
	}
	for before, want := range map[uint]bool{0: true, 1: false} {
		var first, second bitWriter
		stored(&first, 0, 60_000)
		stored(&first, 1, 60_000)
		const size = 20_000
		require.Greater(t, 120_000+size, windowSize)
		stored(&second, 0, size)
		second.bits(1, 1)
		second.bits(1, 2)
		second.fixed(257)
		second.code(28, 5) // 16385 and 13 bits
		second.bits(size-16385+before, 13)
		second.fixed(256)
		src := append(repair(member(first.flush(), nil)), member(second.flush(), bytes.Repeat([]byte{'s'}, size+3))...)
		_, err := reference(src)
		require.Equal(t, want, err == nil)
		for _, keep := range []func([]byte) int{nothing, func(chunk []byte) int { return len(chunk) }} {
			var r Reader
			r.Reset(src)
			_, err = readAll(t, &r, keep)
			require.Equal(t, want, err == nil)
		}
	}
}

// TestTableSizes builds complete codes of all shapes: building them goes out of
// bounds if a table is too small, and no entry may be left empty.
func TestTableSizes(t *testing.T) {
	rng := newRand(9)
	lit, dist := make([]uint32, litEntries), make([]uint32, distEntries)
	for range 2000 {
		clear(lit)
		clear(dist)
		used := maxLitSyms - rng.IntN(30)*rng.IntN(2)
		require.True(t, buildTable(lit, randomLens(rng, maxLitSyms, used, maxCodeLen), litSymbols[:], litBits))
		checkTable(t, lit, litBits)
		used = 2 + rng.IntN(maxDistSyms-1)
		require.True(t, buildTable(dist, randomLens(rng, maxDistSyms, used, maxCodeLen), distSymbols[:], distBits))
		checkTable(t, dist, distBits)
	}
	// The worst cases, which zlib's "enough" finds: as many subtables of as many
	// entries as a complete code can have.
	worst := func(symbols, tableBits int, table []uint32, of []uint32) {
		most := 0
		for longest := tableBits + 1; longest <= maxCodeLen; longest++ {
			lens := make([]uint8, 0, symbols)
			for l := 1; l < longest; l++ {
				lens = append(lens, uint8(l))
			}
			lens = append(lens, uint8(longest), uint8(longest))
			for i := 0; len(lens) < symbols; i = (i + 1) % len(lens) {
				if int(lens[i]) < longest {
					lens[i]++
					lens = append(lens, lens[i])
				}
			}
			clear(table)
			require.True(t, buildTable(table, lens, of, tableBits))
			most = max(most, checkTable(t, table, tableBits))
		}
		require.LessOrEqual(t, most, len(table))
	}
	worst(maxLitSyms, litBits, lit, litSymbols[:])
	worst(maxDistSyms, distBits, dist, distSymbols[:])
}

// checkTable sees that all entries up to the last one used are set, and returns
// how many those are.
func checkTable(t *testing.T, table []uint32, tableBits int) int {
	t.Helper()
	end := 1 << tableBits
	for _, e := range table[:1<<tableBits] {
		if e&(entrySubtable|entryLiteral) == entrySubtable {
			end = max(end, int(e>>entryShift)+1<<(e>>8&15))
		}
	}
	for i, e := range table[:end] {
		if e&63 == 0 {
			t.Fatalf("entry %d of %d is empty", i, end)
		}
	}
	return end
}
