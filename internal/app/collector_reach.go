package app

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/mangru/mangru/internal/collector/discover"
	"github.com/mangru/mangru/internal/collector/scrape"
)

// Reach leads a collector's requests.
type Reach struct {
	// Route returns the URL by which a target is reached. A target with an error
	// is left out.
	Route func(t *discover.Target) (string, error)
	// Targets sends the requests to targets. Its type must be comparable.
	Targets http.RoundTripper
	// Endpoints sends what was collected.
	Endpoints http.RoundTripper
}

// maxUnreachable bounds how many targets are remembered as said to be left out.
const maxUnreachable = 1000

// route says how a target is reached, and reports whether it can be.
func (c *Collector) route(job string, t *discover.Target, st *scrape.Target) bool {
	url, err := c.deps.Reach.Route(t)
	if err == nil {
		st.URL = url
		return true
	}
	if key := job + " " + st.URL; !c.unreachable[key] {
		if len(c.unreachable) >= maxUnreachable {
			clear(c.unreachable)
		}
		c.unreachable[key] = true
		c.log.Warn("target left out", "job", job, "target", st.URL, "err", err)
	}
	return false
}

// awaitReady waits until a collector that has just been started can be given
// another configuration, or has ended.
func (c *Collector) awaitReady(ctx context.Context, done <-chan struct{}) error {
	for !c.ready.Load() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-done:
			return errors.New("the collector has ended")
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}
