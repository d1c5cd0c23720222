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

// Pace sets the garbage collector's target percentage again and again, until
// ctx ends, so that the heap grows by spare bytes, and an eighth of what is live,
// before the next collection. The usual rule lets it double, which a process
// that allocates little per second pays for with memory that it never needs.
func Pace(ctx context.Context, spare int64) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	current := 0
	for {
		if p := percent(int64(liveHeap()), spare); p != current {
			debug.SetGCPercent(p)
			current = p
		}
		select {
		case <-ctx.Done():
			debug.SetGCPercent(mostPercent)
			return
		case <-tick.C:
		}
	}
}

// percent returns the target percentage for a live heap.
func percent(live, spare int64) int {
	live = max(live, 1<<20)
	p := 100 * (spare + live/8) / live
	return int(max(leastPercent, min(mostPercent, p)))
}

func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// Heap returns the bytes of the heap that are in use or not yet swept.
func Heap() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
