package app

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mangru/mangru/internal/memory"
	"github.com/mangru/mangru/internal/otelconf"
)

// spareHeap is how much the heap of a collector may grow between collections,
// see memory.Pace.
const spareHeap = 3 << 20

// pressure knows whether the heap is above the bounds that a memory_limiter set.
type pressure struct {
	mu         sync.Mutex
	limit      otelconf.MemoryLimit
	soft, hard int64
	checked    time.Time
	collected  time.Time
	short      bool
}

// set takes the bounds of a configuration for a process that may use total bytes.
func (p *pressure) set(limit otelconf.MemoryLimit, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = limit
	p.soft, p.hard = limit.Bounds(total)
	p.checked = time.Time{}
	if limit.IsZero() {
		p.short = false
	}
}

// isShort reports whether scrapes are to be left out, and whether that is new.
func (p *pressure) isShort(now time.Time, heap func() int64, collect func()) (short, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit.IsZero() || p.soft <= 0 || now.Sub(p.checked) < p.limit.CheckInterval {
		return p.short, false
	}
	p.checked = now
	used, was := heap(), p.short
	pause := p.limit.MinGCIntervalSoft
	if used > p.hard {
		pause = p.limit.MinGCIntervalHard
	}
	if used > p.soft && now.Sub(p.collected) >= pause {
		p.collected = now
		collect()
		used = heap()
	}
	p.short = used > p.soft
	return p.short, p.short != was
}

// memoryShort implements scrape.Config.Hold.
func (c *Collector) memoryShort() bool {
	short, changed := c.pressure.isShort(time.Now(), memory.Heap, runtime.GC)
	switch {
	case changed && short:
		c.log.Warn("memory is short: scrapes are left out until it is not", "heap_bytes", memory.Heap(), "knob", "memory_limiter")
	case changed:
		c.log.Info("memory is no longer short: scrapes go on")
	}
	return short
}

// totalMemory is what the process may use: the limit of its control groups, or
// else all that the machine has.
func totalMemory(root fs.FS) int64 {
	if n := memory.Limit(root); n > 0 {
		return n
	}
	return memory.Total(root)
}

// useLimit makes the runtime respect the limit of the process' control groups,
// unless GOMEMLIMIT says something else, and returns that limit, or 0.
func useLimit(log *slog.Logger) int64 {
	limit := memory.Limit(os.DirFS("/"))
	if limit == 0 {
		return 0
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
	log.Info("memory limit of the control group", "bytes", limit)
	return limit
}

// boundQueue keeps the queue to half of what the process may use.
func boundQueue(cfg *otelconf.Config, limit int64) {
	if limit > 0 && (cfg.Queue.MaxBytes == 0 || cfg.Queue.MaxBytes > limit/2) {
		cfg.Queue.MaxBytes = limit / 2
	}
}

// keepSmall lets the process give back what it does not need, until ctx ends.
func keepSmall(ctx context.Context, log *slog.Logger) {
	go memory.Pace(ctx, spareHeap)
	go memory.Processors(ctx)
	forgetProgram(ctx, log)
}

// forgetProgram gives back the pages of the program that only starting up needed:
// soon after the start, when clients and the first targets are set up, again when
// everything has run for a while, and then now and then.
func forgetProgram(ctx context.Context, log *slog.Logger) {
	for wait := 10 * time.Second; pause(ctx, wait); wait = min(4*wait, 5*time.Minute) {
		err := memory.FineProgram()
		if err == nil {
			err = memory.ForgetProgram()
		}
		if err != nil {
			log.Debug("pages of the program stay in memory", "err", err)
			return
		}
	}
}

// pause waits and reports whether ctx still runs.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// profileMemory has the runtime sample allocations only while somebody can ask
// for them: the table takes more than a megabyte.
func profileMemory(wanted bool) {
	rate := 0
	if wanted {
		rate = 512 << 10 // the runtime's default
	}
	runtime.MemProfileRate = rate
}
