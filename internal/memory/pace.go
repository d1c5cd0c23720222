package memory

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Bounds of the garbage collector's target percentage.
const (
	leastPercent = 8
	mostPercent  = 50
	usualPercent = 100
)

// How often the heap is looked at: from while it grows to when it doesn't.
const (
	quickPace = 125 * time.Millisecond
	slowPace  = time.Second
)

// idlePace is how soon after a collection another one may come only to give
// memory back.
const idlePace = time.Minute

// Pace collects garbage whenever the heap has grown by spare bytes and a twelfth
// of what is live, and gives what that frees back to the system, until ctx ends.
// The usual rule lets the heap double and keeps most of that, which a process
// that allocates little per second pays for with memory that it never needs;
// taking pages anew costs it far less than the collection itself. One that
// allocates much, as with thousands of connections, would collect all the time:
// where that takes a good part of the process' own time, the heap may grow by
// more. The runtime's own collections come at twice the growth, should the heap
// grow faster than it is looked at.
func Pace(ctx context.Context, spare int64) {
	var effort effort
	current, wait := 0, quickPace
	collected := time.Now()
	for {
		h := readHeap()
		p := percent(h.live, spare, effort.factor(h.cycles, h.scanned, processTime()))
		if p != current {
			debug.SetGCPercent(2 * p)
		}
		if h.objects-h.live > h.live*int64(p)/100 || h.idle > spare && time.Since(collected) > idlePace {
			debug.FreeOSMemory()
			collected = time.Now()
		}
		// A heap that grows, as at the start, is followed closely: what it is
		// allowed then is what the process keeps for long.
		if wait = min(2*wait, slowPace); p < current-2 {
			wait = quickPace
		}
		current = p
		select {
		case <-ctx.Done():
			debug.SetGCPercent(usualPercent)
			return
		case <-time.After(wait):
		}
	}
}

// percent returns the target percentage for a live heap, with factor times the
// room that it needs at the least.
func percent(live, spare int64, factor float64) int {
	live = max(live, 1<<20)
	p := int(factor * float64(100*(spare+live/12)/live))
	return max(leastPercent, min(mostPercent, p))
}

// The share of the process' time that may go into collecting before the heap is
// given more room, and the share below which it is taken back.
const (
	muchEffort   = 0.12
	littleEffort = 0.06
)

// markCost is about what the garbage collector takes to look at a byte. What the
// runtime itself says of its time is by the clock, and on a busy machine far from
// what it used.
const markCost = 1e-9 // seconds

// effort watches what collecting costs.
type effort struct {
	cycles uint64
	used   float64
	now    float64 // the factor, from 1
}

// factor returns how many times the usual room the heap is to have. It is told
// how many collections there have been and how many seconds of CPU the process
// has used, both since the start, and how many bytes a collection looks at. It
// moves in small steps, once there is a second of work to judge by.
func (e *effort) factor(cycles, scanned uint64, used float64) float64 {
	e.now = max(1, e.now)
	spent := used - e.used
	if spent < 1 {
		return e.now
	}
	switch share := float64(cycles-e.cycles) * float64(scanned) * markCost / spent; {
	case share > muchEffort:
		e.now = min(8, 1.25*e.now)
	case share < littleEffort:
		e.now = max(1, e.now/1.1)
	}
	e.cycles, e.used = cycles, used
	return e.now
}

// heap is the state of the heap, in bytes, and what collecting it means.
type heap struct {
	live    int64  // that the last collection found
	objects int64  // in use, or not yet swept
	idle    int64  // free, and not given back to the system
	cycles  uint64 // collections since the start
	scanned uint64 // that one has to look at: what holds pointers, stacks and globals
}

func readHeap() heap {
	s := [...]metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: heapObjects}, {Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/scan/total:bytes"}}
	metrics.Read(s[:])
	return heap{live: int64(s[0].Value.Uint64()), objects: int64(s[1].Value.Uint64()), idle: int64(s[2].Value.Uint64()),
		cycles: s[3].Value.Uint64(), scanned: s[4].Value.Uint64()}
}

const heapObjects = "/memory/classes/heap/objects:bytes"

// Heap returns the bytes of the heap that are in use or not yet swept.
func Heap() int64 {
	s := []metrics.Sample{{Name: heapObjects}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
