package model

import (
	"fmt"
	"testing"
)

func TestSpan(t *testing.T) {
	var b LabelsBuilder
	for i := range 5 {
		b.Append([]Label{{"__name__", fmt.Sprint("m", i)}})
	}
	shape := &Shape{Labels: b.Labels()}
	frames := []*Frame{
		{Shape: &Shape{}, Values: []float64{1, Absent(), 2}},
		{Shape: shape, Values: []float64{1, Absent(), 2, Stale(), Absent()}, Extras: []Extra{
			{Slot: 1}, {Slot: 1, Kind: ExtraExemplar}, {Slot: 4}, {Slot: 4, Kind: ExtraHistogram}, {Slot: 4},
		}},
	}
	whole := Whole(frames)
	want := frames[0].Samples() + frames[1].Samples()
	if got := whole.Samples(); got != want || want != 9 {
		t.Fatalf("%d samples, frames say %d, want 9", got, want)
	}
	for limit := 1; limit <= 10; limit++ {
		rest, total := whole, 0
		for rest.Samples() > 0 {
			p := rest.Prefix(limit)
			n := p.Samples()
			if n == 0 || n > max(limit, 3) {
				t.Fatalf("limit %d: prefix of %+v carries %d", limit, rest, n)
			}
			total += n
			rest.From = p.To
		}
		if total != want {
			t.Fatalf("limit %d: %d samples in all, want %d", limit, total, want)
		}
	}
}
