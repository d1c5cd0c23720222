package api

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Refusals of callers that are not known come at once while there are few of
// them. Beyond that they are held back, so that whoever sends bad requests as
// fast as the answers come is slowed down by himself. Nobody who signs well
// waits, from whatever address.
const (
	// DefaultRefusals is how many refusals a second one address gets at once.
	DefaultRefusals = 50
	// allRefusals is how many times as many all addresses together get.
	allRefusals = 10
	// holdFor is how long one is held back.
	holdFor = time.Second
	// maxHeld is how many are held at a time. What is beyond costs the caller his
	// connection instead.
	maxHeld = 1024
	// maxSources is how many addresses are told apart in a generation.
	maxSources = 4096
)

// holdBack decides which refusals wait. Nil holds nothing back.
type holdBack struct {
	limit rate.Limit
	all   *rate.Limiter
	held  atomic.Int64
	late  *prometheus.CounterVec

	mu         sync.Mutex
	young, old map[netip.Prefix]*rate.Limiter
}

// newHoldBack returns one for so many refusals a second and address: 0 means
// DefaultRefusals, a negative number no bound.
func newHoldBack(perSecond int, reg prometheus.Registerer) (*holdBack, error) {
	if perSecond < 0 {
		return nil, nil
	}
	if perSecond == 0 {
		perSecond = DefaultRefusals
	}
	h := &holdBack{limit: rate.Limit(perSecond), all: rate.NewLimiter(rate.Limit(perSecond*allRefusals), perSecond*allRefusals),
		late: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mangru_api_refusals_late_total",
			Help: "Refusals of unknown callers beyond signatures.max_refusals, by what became of them: delayed, or the connection closed.",
		}, []string{"how"})}
	if reg != nil {
		if err := reg.Register(h.late); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// wait returns when a refusal may be answered, and whether the connection should
// end with it. It returns early when ctx ends.
func (h *holdBack) wait(ctx context.Context, from netip.Addr) (closing bool) {
	if h == nil || h.allow(from) {
		return false
	}
	defer h.held.Add(-1)
	if h.held.Add(1) > maxHeld {
		h.late.WithLabelValues("closed").Inc()
		return true
	}
	h.late.WithLabelValues("delayed").Inc()
	timer := time.NewTimer(holdFor)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// allow takes one from both budgets, and reports whether it was in both.
func (h *holdBack) allow(from netip.Addr) bool {
	own, all := h.source(from).Allow(), h.all.Allow()
	return own && all
}

// source returns the budget of an address. Of version 6 it is that of a network:
// everybody has as many addresses as he likes in his.
func (h *holdBack) source(from netip.Addr) *rate.Limiter {
	bits := 32
	if from = from.Unmap().WithZone(""); from.Is6() {
		bits = 64
	}
	key, _ := from.Prefix(bits) // no address is one as well
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.young[key]; l != nil {
		return l
	}
	l := h.old[key]
	if l == nil {
		l = rate.NewLimiter(h.limit, int(h.limit))
	}
	if h.young == nil || len(h.young) >= maxSources {
		h.young, h.old = make(map[netip.Prefix]*rate.Limiter), h.young
	}
	h.young[key] = l
	return l
}
