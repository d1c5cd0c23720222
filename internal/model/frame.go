// Package model holds the few values that travel the whole data path. It
// imports the standard library only (import level 0).
package model

import "math"

// Bit patterns of the two values that are not samples of the target.
const (
	// StaleBits is Prometheus' staleness marker: the series has ended.
	StaleBits uint64 = 0x7ff0000000000002
	// absentBits marks a slot for which a scrape had nothing and for which
	// nothing is to be sent: the series ended earlier, or was not yet there.
	absentBits uint64 = 0x7ff0000000000a11
)

// Stale returns Prometheus' staleness marker.
func Stale() float64 { return math.Float64frombits(StaleBits) }

// Absent returns the value of a slot that carries no sample.
func Absent() float64 { return math.Float64frombits(absentBits) }

// IsStale reports whether v is the staleness marker. Other NaNs are samples.
func IsStale(v float64) bool { return math.Float64bits(v) == StaleBits }

// IsAbsent reports whether v stands for "no sample here".
func IsAbsent(v float64) bool { return math.Float64bits(v) == absentBits }

// Label is a name and a value, both UTF-8.
type Label struct{ Name, Value string }

// Series is one finished series of a target, as it goes on the wire.
type Series struct {
	// Labels are sorted by name, non-empty, with __name__ among them.
	Labels []Label
}

// Shape is the list of series that a target has shown so far. It is immutable:
// when a target shows a new series, a longer Shape with the same Target and the
// old list as its prefix takes its place. Frames of one target and generation
// are therefore comparable slot by slot.
type Shape struct {
	// Target identifies the target for as long as it is scraped; samples of
	// one Target are delivered in the order in which they were scraped.
	Target uint64
	// Generation grows when the list was made anew without the series that
	// ended; slots of different generations have nothing to do with each other.
	Generation uint64
	// Version grows with every replacement.
	Version uint64
	// Series has one entry a slot.
	Series []Series
}

// Frame is the outcome of one scrape: for each slot of Shape a value, at one
// time. A Frame is immutable once handed on; whoever holds it may keep it.
type Frame struct {
	Shape *Shape
	// Time is in milliseconds since the Unix epoch.
	Time int64
	// Values has one entry for each of the Shape's slots; see Absent.
	Values []float64
	// Extras are the samples that do not fit the one-time, one-float form.
	Extras []Extra
}

// Extra is a sample with a time of its own.
type Extra struct {
	Slot  int
	Time  int64 // milliseconds since the Unix epoch
	Value float64
}

// Samples counts what the frame carries, stale markers included.
func (f *Frame) Samples() int {
	n := len(f.Extras)
	for _, v := range f.Values {
		if !IsAbsent(v) {
			n++
		}
	}
	return n
}
