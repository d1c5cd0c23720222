// Package model holds the few values that travel the whole data path. It
// imports the standard library only (import level 0).
package model

import (
	"math"
	"unique"
)

// Bit patterns of the two values that are not samples of the target.
const (
	// StaleBits is Prometheus' staleness marker: the series has ended.
	StaleBits uint64 = 0x7ff0000000000002
	// AbsentBits marks a slot for which a scrape had nothing and for which
	// nothing is to be sent: the series ended earlier, or was not yet there.
	AbsentBits uint64 = 0x7ff0000000000a11
)

// Stale returns Prometheus' staleness marker.
func Stale() float64 { return math.Float64frombits(StaleBits) }

// Absent returns the value of a slot that carries no sample.
func Absent() float64 { return math.Float64frombits(AbsentBits) }

// IsStale reports whether v is the staleness marker. Other NaNs are samples.
func IsStale(v float64) bool { return math.Float64bits(v) == StaleBits }

// IsAbsent reports whether v stands for "no sample here".
func IsAbsent(v float64) bool { return math.Float64bits(v) == AbsentBits }

// Label is a name and a value, both UTF-8.
type Label struct{ Name, Value string }

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
	// Job is the target's job name: which endpoints get the target's frames.
	Job string
	// Labels has the finished label set of each slot, __name__ among them.
	Labels Labels
	// Families are the metric families of which something is known, and Family
	// says for each slot which one it belongs to: its index plus one, or 0. What
	// a target says can change from version to version. Family is empty, or as
	// long as the list of series.
	Families []unique.Handle[Family] // handles: many targets say the same
	Family   []uint16
}

// Slots returns how many series the shape has.
func (s *Shape) Slots() int { return s.Labels.Len() }

// MetricType is the type of a metric family, by its number in remote write 2.0.
type MetricType uint8

// The types of metric families.
const (
	TypeUnknown MetricType = iota
	TypeCounter
	TypeGauge
	TypeHistogram
	TypeGaugeHistogram
	TypeSummary
	TypeInfo
	TypeStateset
)

// Family is what a target says about a metric family.
type Family struct {
	Name, Help, Unit string
	Type             MetricType
}

// Frame is the outcome of one scrape: for each slot of Shape a value, at one
// time. A Frame is immutable once handed on; whoever holds it may keep it.
type Frame struct {
	Shape *Shape
	// Time is in milliseconds since the Unix epoch.
	Time int64
	// Values has one entry for each of the Shape's slots; see Absent.
	Values []float64
	// Times, if not nil, has a time for each entry of Values, for targets that
	// put their own times on samples (cAdvisor does); nil means Time for all.
	Times []int64
	// Starts, if not nil, says since when the slots' samples count. Frames share it.
	Starts *Starts
	// Extras are what does not fit the one-time, one-float form, by slot, and
	// within a slot in the order in which they are to be delivered: before the
	// slot's own value.
	Extras []Extra
}

// Starts are start timestamps by slot: when a counter, histogram or summary began
// to count, in milliseconds since the Unix epoch, 0 where that is not known. There
// may be fewer of them than slots. They hardly ever change, so the frames of a
// target have the same ones; they are immutable.
type Starts []int64

// Start returns the start timestamp of what the frame has in a slot at a time, or
// 0. What would have begun after its own time has none: two clocks differ there.
func (f *Frame) Start(slot int, at int64) int64 {
	if f.Starts == nil || slot >= len(*f.Starts) {
		return 0
	}
	if start := (*f.Starts)[slot]; start <= at {
		return start
	}
	return 0
}

// ExtraKind says what an Extra is.
type ExtraKind uint8

// The kinds of extras.
const (
	ExtraSample    ExtraKind = iota // one more float for the slot, older than its value
	ExtraHistogram                  // a native histogram
	ExtraExemplar                   // an example for the slot's series
)

// Extra is a sample that does not fit the one-time, one-float form.
type Extra struct {
	Slot int32
	Kind ExtraKind
	// Time is in milliseconds since the Unix epoch.
	Time int64
	// Value is that of a sample or an exemplar.
	Value float64
	// Histogram is the encoded Histogram message of remote write, whose fields
	// both versions share, with its timestamp. It must not be changed.
	Histogram []byte
	// Labels are those of an exemplar, in its own order.
	Labels []Label
}

// IsSample reports whether the extra counts as a sample; exemplars do not.
func (x *Extra) IsSample() bool { return x.Kind != ExtraExemplar }

// TimeOf returns the time of a slot's value.
func (f *Frame) TimeOf(slot int) int64 {
	if f.Times != nil {
		return f.Times[slot]
	}
	return f.Time
}

// Samples counts what the frame carries, stale markers and histograms included.
func (f *Frame) Samples() int { return countValues(f.Values) + countExtras(f.Extras) }

func countValues(values []float64) (n int) {
	for _, v := range values {
		if !IsAbsent(v) {
			n++
		}
	}
	return n
}

func countExtras(extras []Extra) (n int) {
	for i := range extras {
		if extras[i].IsSample() {
			n++
		}
	}
	return n
}
