package store

import (
	"sync"
	"syscall"
	"time"
)

// diskGauge knows the free space, asking at most once a second.
type diskGauge struct {
	path string
	free func(string) (uint64, error)
	now  func() time.Time

	mu    sync.Mutex
	asked time.Time
	last  uint64
	err   error
}

func (g *diskGauge) get() (uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.now(); g.asked.IsZero() || now.Sub(g.asked) >= time.Second || now.Before(g.asked) {
		g.last, g.err = g.free(g.path)
		g.asked = now
	}
	return g.last, g.err
}

// freeBytes asks for the space that an ordinary user may still fill.
func freeBytes(path string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}
