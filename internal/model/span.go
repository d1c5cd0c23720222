package model

import "sort"

// Span is a part of consecutive frames of one target and generation. Its cells
// are numbered slot by slot: cell slot*len(Frames)+i is what Frames[i] has in
// slot, extras included. Delivering cells in order keeps each series in order,
// and names it once for all its samples.
type Span struct {
	// Frames are oldest first; the last one has the longest shape.
	Frames []*Frame
	// From and To bound the cells, To exclusive. Empty cells count as well.
	From, To int
}

// Whole returns the span that covers the frames.
func Whole(frames []*Frame) Span {
	return Span{Frames: frames, To: len(frames) * frames[len(frames)-1].Shape.Slots()}
}

// Shape returns the longest of the frames' shapes.
func (s Span) Shape() *Shape { return s.Frames[len(s.Frames)-1].Shape }

// Cell returns the slot and the frame of a cell.
func (s Span) Cell(n int) (slot int, f *Frame) {
	return n / len(s.Frames), s.Frames[n%len(s.Frames)]
}

// Extras returns the extras that a frame has in a slot.
func (f *Frame) ExtrasOf(slot int) []Extra {
	if len(f.Extras) == 0 {
		return nil
	}
	from := sort.Search(len(f.Extras), func(i int) bool { return int(f.Extras[i].Slot) >= slot })
	to := from
	for to < len(f.Extras) && int(f.Extras[to].Slot) == slot {
		to++
	}
	return f.Extras[from:to]
}

// samples counts those of one cell.
func (f *Frame) samples(slot int) int {
	n := countExtras(f.ExtrasOf(slot))
	if slot < len(f.Values) && !IsAbsent(f.Values[slot]) {
		n++
	}
	return n
}

// Samples counts what the span carries.
func (s Span) Samples() (n int) {
	if len(s.Frames) == 1 && len(s.Frames[0].Extras) == 0 {
		return countValues(s.Frames[0].Values[s.From:min(s.To, len(s.Frames[0].Values))])
	}
	for c := s.From; c < s.To; c++ {
		slot, f := s.Cell(c)
		n += f.samples(slot)
	}
	return n
}

// Prefix returns the longest span with the same start that carries at most
// limit samples. A cell is not divided: if the first one with anything in it
// has more, the span ends with it.
func (s Span) Prefix(limit int) Span {
	n, c := 0, s.From
	for ; c < s.To; c++ {
		slot, f := s.Cell(c)
		in := f.samples(slot)
		if n > 0 && n+in > limit {
			break
		}
		if n += in; n > limit {
			c++
			break
		}
	}
	return Span{Frames: s.Frames, From: s.From, To: c}
}
