package sigv4

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// callers remembers from where which access keys have been good lately. Whoever
// only knows the id of somebody's key is a stranger still: he sends from
// somewhere else.
//
// It keeps two generations of callers, each for callersFor.
type callers struct {
	mu         sync.Mutex
	young, old map[caller]struct{}
	began      time.Time // the young generation
}

type caller struct {
	addr        netip.Addr
	accessKeyID string
}

const (
	callersFor = 10 * time.Minute
	maxCallers = 16384 // a generation
)

// know notes that a request of c was good.
func (s *callers) know(c caller, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age(now)
	if _, ok := s.young[c]; ok {
		return
	}
	if len(s.young) >= maxCallers {
		s.young, s.old, s.began = nil, s.young, now
	}
	if s.young == nil {
		s.young = make(map[caller]struct{})
	}
	// The id is a part of the request's header, which shall not stay.
	c.accessKeyID = strings.Clone(c.accessKeyID)
	s.young[c] = struct{}{}
}

func (s *callers) knows(c caller, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age(now)
	_, young := s.young[c]
	_, old := s.old[c]
	return young || old
}

func (s *callers) age(now time.Time) {
	if now.Sub(s.began) < callersFor {
		return
	}
	if s.old = s.young; now.Sub(s.began) >= 2*callersFor {
		s.old = nil
	}
	s.young, s.began = nil, now
}

// callerOf says who sent a request, as far as it claims.
func (v *Verifier) callerOf(r *http.Request, p *Parsed) caller {
	if v.cfg.Proxies != nil {
		return caller{v.cfg.Proxies.ClientAddr(r), p.AccessKeyID}
	}
	ap, _ := netip.ParseAddrPort(r.RemoteAddr) // none is an address as well
	return caller{ap.Addr().Unmap(), p.AccessKeyID}
}

// allowance is the memory that the bodies of a request may take before its
// signature is known to be good. Nil has no bound.
type allowance struct {
	pool  *atomic.Int64 // what all of them take
	limit int64
	taken int64
}

// allow returns the allowance of a request: callers that are known have no
// bound but that of a body, strangers share one.
func (v *Verifier) allow(r *http.Request, p *Parsed) *allowance {
	if v.callers.knows(v.callerOf(r, p), v.cfg.Now()) {
		return nil
	}
	return &allowance{pool: &v.unverified, limit: v.cfg.MaxUnverified}
}

// take asks for more bytes.
func (a *allowance) take(n int64) bool {
	if a == nil {
		return true
	}
	a.taken += n
	return a.pool.Add(n) <= a.limit
}

// giveBack ends it.
func (a *allowance) giveBack() {
	if a != nil {
		a.pool.Add(-a.taken)
		a.taken = 0
	}
}
