package model

// Span is a part of a frame's samples. Samples are numbered: the Extras come
// first, then the slots, because an extra is never newer than its frame.
type Span struct {
	Frame *Frame
	// From and To bound the sample numbers, To exclusive. Numbers of absent
	// slots count as well.
	From, To int
}

// Positions returns how many sample numbers the frame has.
func (f *Frame) Positions() int { return len(f.Extras) + len(f.Values) }

// Whole returns the span that covers the frame.
func (f *Frame) Whole() Span { return Span{Frame: f, To: f.Positions()} }

// Samples counts what the span carries.
func (s Span) Samples() int {
	extras := len(s.Frame.Extras)
	n := max(0, min(s.To, extras)-s.From)
	from, to := max(0, s.From-extras), max(0, s.To-extras)
	for _, v := range s.Frame.Values[from:to] {
		if !IsAbsent(v) {
			n++
		}
	}
	return n
}

// Prefix returns the longest span with the same start that carries at most
// limit samples.
func (s Span) Prefix(limit int) Span {
	extras := len(s.Frame.Extras)
	pos, n := s.From, 0
	if pos < extras {
		take := min(limit, min(s.To, extras)-pos)
		pos, n = pos+take, take
	}
	for pos >= extras && pos < s.To {
		if !IsAbsent(s.Frame.Values[pos-extras]) {
			if n == limit {
				break
			}
			n++
		}
		pos++
	}
	return Span{Frame: s.Frame, From: s.From, To: pos}
}
