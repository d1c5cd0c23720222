package send

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Names of the versions of remote write, as they are configured.
const (
	ProtocolV1 = "1.0"
	ProtocolV2 = "2.0"
)

// retryV2 is when 2.0 is tried again with an endpoint that did not take it.
const retryV2 = 6 * time.Hour

// doubtful is at how many 5xx answers in a row to an endpoint's first 2.0 request
// the same samples are tried as 1.0: it may be the message that breaks it.
const doubtful = 3

// negotiation decides which version an endpoint is spoken to in. Where none is
// configured it starts with 2.0, and learns that the endpoint speaks only 1.0
//
//   - from 415 Unsupported Media Type, as the specification has it;
//   - from an acceptance without the headers that say how much was written: a
//     receiver of 1.0 reads a 2.0 message as an empty one, and takes it;
//   - from another refusal of 2.0, if the same samples are accepted as 1.0 and the
//     endpoint has never taken 2.0.
//
// In each case the same samples are sent again as 1.0 at once, so none is lost.
type negotiation struct {
	fixed bool

	mu      sync.Mutex
	current version
	proven  bool      // the endpoint has confirmed a 2.0 request
	again   time.Time // when to try 2.0, while current is v1
	doubts  int
}

func newNegotiation(protocol string) (*negotiation, error) {
	switch protocol {
	case "":
		return &negotiation{current: v2}, nil
	case ProtocolV1:
		return &negotiation{current: v1, fixed: true}, nil
	case ProtocolV2:
		return &negotiation{current: v2, fixed: true}, nil
	}
	return nil, fmt.Errorf("protocol %q is not known; %q and %q are, and none to negotiate", protocol, ProtocolV1, ProtocolV2)
}

// version returns the one that the endpoint is believed to speak.
func (n *negotiation) version() version {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current
}

// pick returns the version for the next request. It gives 2.0 another try now
// and then, to one caller.
func (n *negotiation) pick(now time.Time) version {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.fixed && n.current == v1 && !now.Before(n.again) {
		n.again = now.Add(retryV2)
		return v2
	}
	return n.current
}

// learn takes note of an answer. It returns the version in which the same
// samples are to be sent again at once, if they are.
func (n *negotiation) learn(v version, r reply, now time.Time) (next version, again bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fixed {
		return 0, false
	}
	if r.written.confirmed {
		n.current, n.proven, n.doubts = v2, true, 0
		return 0, false
	}
	switch {
	case v == v1 && r.err == nil:
		if n.current == v2 && !n.proven {
			n.fallBack(now)
		}
	case v == v1:
		return v2, r.status == http.StatusUnsupportedMediaType
	case r.unconfirmed, r.status == http.StatusUnsupportedMediaType:
		n.fallBack(now)
		return v1, true
	case n.proven:
	case r.refused(), r.status == http.StatusNotImplemented:
		return v1, true
	case r.status >= 500:
		n.doubts++
		return v1, n.doubts%doubtful == 0
	}
	return 0, false
}

func (n *negotiation) fallBack(now time.Time) {
	n.current, n.proven, n.doubts, n.again = v1, false, 0, now.Add(retryV2)
}
