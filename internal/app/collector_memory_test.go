package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/otelconf"
)

func TestPressure(t *testing.T) {
	var p pressure
	heap, collections := int64(50), 0
	now := time.Unix(1000, 0)
	check := func() (bool, bool) {
		now = now.Add(time.Second)
		return p.isShort(now, func() int64 { return heap }, func() { collections++ })
	}
	short, _ := check()
	require.False(t, short, "no limit")
	p.set(otelconf.MemoryLimit{CheckInterval: time.Second, LimitPercent: 80, SpikePercent: 20, MinGCIntervalSoft: 10 * time.Second}, 100)
	for _, step := range []struct {
		heap           int64
		short, changed bool
		collections    int
	}{{50, false, false, 0}, {61, true, true, 1}, {62, true, false, 1}, {90, true, false, 2}, {60, false, true, 2}} {
		heap = step.heap
		short, changed := check()
		require.Equal(t, step.short, short, step)
		require.Equal(t, step.changed, changed, step)
		require.Equal(t, step.collections, collections, step)
	}
	heap = 1000
	check()
	p.set(otelconf.MemoryLimit{}, 100)
	short, _ = check()
	require.False(t, short, "the limit was taken away")
}

func TestBoundQueue(t *testing.T) {
	for _, c := range []struct{ max, limit, want int64 }{{0, 0, 0}, {100, 0, 100}, {0, 80, 40}, {100, 80, 40}, {30, 80, 30}} {
		cfg := &otelconf.Config{Queue: otelconf.Queue{MaxBytes: c.max}}
		boundQueue(cfg, c.limit)
		require.Equal(t, c.want, cfg.Queue.MaxBytes)
	}
}
