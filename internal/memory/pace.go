package memory

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Bounds of the garbage collector's target percentage.
const (
	leastPercent = 12
	mostPercent  = 100
)

// How often the percentage is set: from while the heap grows to when it doesn't.
const (
	quickPace = 125 * time.Millisecond
	slowPace  = 5 * time.Second
)

// Pace sets the garbage collector's target percentage again and again, until
// ctx ends, so that the heap grows by spare bytes, and an eighth of what is live,
// before the next collection. The usual rule lets it double, which a process
// that allocates little per second pays for with memory that it never needs.
// One that allocates much, as with thousands of connections, would collect all
// the time: where that takes a good part of the process' own time, the heap may
// grow by more.
func Pace(ctx context.Context, spare int64) {
	var effort effort
	current, wait := 0, quickPace
	for {
		p := percent(int64(liveHeap()), spare, effort.factor(cpuSeconds()))
		if p != current {
			debug.SetGCPercent(p)
		}
		// A heap that grows, as at the start, is followed closely: what it is
		// allowed then is what the process keeps for long.
		if wait = min(2*wait, slowPace); p < current-2 {
			wait = quickPace
		}
		current = p
		select {
		case <-ctx.Done():
			debug.SetGCPercent(mostPercent)
			return
		case <-time.After(wait):
		}
	}
}

// percent returns the target percentage for a live heap, with factor times the
// room that it needs at the least.
func percent(live, spare int64, factor float64) int {
	live = max(live, 1<<20)
	p := int(factor * float64(100*(spare+live/8)/live))
	return max(leastPercent, min(mostPercent, p))
}

// The share of the process' time that may go into collecting before the heap is
// given more room, and the share below which it is taken back.
const (
	muchEffort   = 0.15
	littleEffort = 0.07
)

// effort watches what collecting costs.
type effort struct {
	collecting, working float64 // CPU seconds so far
	now                 float64 // the factor, from 1
}

// factor returns how many times the usual room the heap is to have. Both
// arguments are CPU seconds since the start. It moves in small steps, once
// there is a second of work to judge by.
func (e *effort) factor(collecting, working float64) float64 {
	e.now = max(1, e.now)
	spent := collecting - e.collecting + working - e.working
	if spent < 1 {
		return e.now
	}
	switch share := (collecting - e.collecting) / spent; {
	case share > muchEffort:
		e.now = min(8, 1.25*e.now)
	case share < littleEffort:
		e.now = max(1, e.now/1.1)
	}
	e.collecting, e.working = collecting, working
	return e.now
}

func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// cpuSeconds returns what the garbage collector and the program itself have
// used. The runtime counts both at the end of a collection.
func cpuSeconds() (collecting, working float64) {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/user:cpu-seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64(), s[1].Value.Float64()
}

// Heap returns the bytes of the heap that are in use or not yet swept.
func Heap() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
