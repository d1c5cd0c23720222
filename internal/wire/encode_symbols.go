package wire

import (
	"hash/maphash"
	"slices"
)

// symbols is the table of strings of a remote write 2.0 request, each of them
// once, encoded as fields of the Request.
type symbols struct {
	text  []byte
	spans []symbolSpan // by reference
	index []uint32     // references plus one, by hash, open addressing
	seed  maphash.Seed
}

// symbolSpan is where a string stands in text.
type symbolSpan struct{ from, to uint32 }

// reset empties the table, which then holds the empty string as it must.
func (s *symbols) reset() {
	if s.index == nil {
		s.seed = maphash.MakeSeed()
		s.index = make([]uint32, 1<<10)
	}
	clear(s.index)
	s.text, s.spans = s.text[:0], s.spans[:0]
	s.ref(nil)
}

func (s *symbols) refString(v string) uint32 {
	return lookup(s, maphash.String(s.seed, v), v)
}

// ref returns the reference of a string, a new one if need be.
func (s *symbols) ref(v []byte) uint32 { return lookup(s, maphash.Bytes(s.seed, v), v) }

func lookup[T []byte | string](s *symbols, hash uint64, v T) uint32 {
	mask := uint64(len(s.index) - 1)
	at := hash & mask
	for ; s.index[at] != 0; at = (at + 1) & mask {
		n := s.index[at] - 1
		if sp := s.spans[n]; int(sp.to-sp.from) == len(v) && string(s.text[sp.from:sp.to]) == string(v) {
			return n
		}
	}
	s.text = appendBytes(s.text, tagV2Symbols, v)
	end := uint32(len(s.text))
	s.spans = append(s.spans, symbolSpan{end - uint32(len(v)), end})
	s.index[at] = uint32(len(s.spans))
	if 2*len(s.spans) > len(s.index) {
		s.grow()
	}
	return uint32(len(s.spans) - 1)
}

func (s *symbols) grow() {
	size := 2 * len(s.index)
	s.index = slices.Grow(s.index[:0], size)[:size]
	clear(s.index)
	mask := uint64(size - 1)
	for n, sp := range s.spans {
		at := maphash.Bytes(s.seed, s.text[sp.from:sp.to]) & mask
		for s.index[at] != 0 {
			at = (at + 1) & mask
		}
		s.index[at] = uint32(n + 1)
	}
}
