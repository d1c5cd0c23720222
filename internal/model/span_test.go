package model

import "testing"

func TestSpan(t *testing.T) {
	f := &Frame{
		Values: []float64{1, Absent(), 2, Stale(), Absent()},
		Extras: []Extra{{Slot: 1}, {Slot: 4}},
	}
	if got := f.Whole().Samples(); got != 5 || got != f.Samples() {
		t.Fatalf("whole frame: %d samples, frame says %d, want 5", got, f.Samples())
	}
	for limit := 1; limit <= 6; limit++ {
		rest, total := f.Whole(), 0
		for rest.Samples() > 0 {
			p := rest.Prefix(limit)
			n := p.Samples()
			if n == 0 || n > limit {
				t.Fatalf("limit %d: prefix of %+v carries %d", limit, rest, n)
			}
			total += n
			rest.From = p.To
		}
		if total != 5 {
			t.Fatalf("limit %d: %d samples in all, want 5", limit, total)
		}
	}
}
