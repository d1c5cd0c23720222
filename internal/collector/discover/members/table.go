package members

import (
	"cmp"
	"slices"
	"time"
)

// DefaultSettle is how long after it happened a change takes effect. It has to
// be longer than the API server's news takes to reach every replica, plus the
// second to which its times are cut off.
const DefaultSettle = 5 * time.Second

// podState is what the API server says about a pod, in times that everybody who
// watches it sees alike.
type podState struct {
	uid, name string
	created   time.Time
	// ready is the Ready condition, and since its last transition.
	ready bool
	since time.Time
	// leaving is when the deletion was asked for, zero while it was not; grace
	// is how much time the pod had from then on.
	leaving time.Time
	grace   time.Duration
	// ended pods run no more and will not again.
	ended bool
}

// wasReady reports whether the pod was ready when it was asked to leave.
func (p podState) wasReady() bool {
	return !p.leaving.IsZero() && (p.ready || p.since.After(p.leaving))
}

// table knows when each pod serves. Its answers depend on what the API server
// said and hardly on when: a watcher that hears of a change late, but before it
// takes effect, arrives at the same table.
//
// A table is not safe for concurrent use.
type table struct {
	settle time.Duration
	pods   map[string]*entry // by UID: a StatefulSet gives names out again
}

// entry is a pod and when it serves.
type entry struct {
	name    string
	created time.Time
	// stays are the times in which it serves, in order. Only the last may have
	// no end.
	stays []Span
	// leaving is when it was asked to leave, until when that takes effect, and
	// limit when it no longer stands in for those who are not there yet. All are
	// zero while it is not leaving.
	leaving, until, limit time.Time
	// served is whether it was ready when it was asked to leave.
	served bool
}

func newTable(settle time.Duration) *table {
	return &table{settle: settle, pods: make(map[string]*entry)}
}

// put takes over what the API server says about a pod.
func (t *table) put(p podState) {
	e := t.pods[p.uid]
	if e == nil {
		e = &entry{name: p.name, created: p.created}
		t.pods[p.uid] = e
	}
	switch {
	case p.ready && p.leaving.IsZero() && !p.ended && e.leaving.IsZero():
		e.begin(p.since.Add(t.settle))
	case p.ready && e.leaving.IsZero():
		// Becoming ready was not seen before it was asked to leave.
		e.begin(p.since.Add(t.settle))
	case p.wasReady() && len(e.stays) == 0 && e.leaving.IsZero():
		// Seen for the first time, and it no longer is.
		e.begin(p.created)
	case !p.ready || p.ended:
		e.end(p.since.Add(t.settle))
	}
	if p.ended && e.leaving.IsZero() {
		e.leave(p.since, p.since.Add(t.settle), p.since)
	}
	if !p.leaving.IsZero() && e.leaving.IsZero() {
		// What little grace there is, is for scraping on and for sending. The
		// grace first seen counts: the kubelet takes it away when it is done.
		notice := min(t.settle, p.grace/2)
		e.leave(p.leaving, p.leaving.Add(notice), p.leaving.Add(max(notice, p.grace/2)))
	}
	if !p.leaving.IsZero() {
		e.served = p.wasReady()
		if over := p.since.Add(t.settle); !p.ready && over.Before(e.limit) {
			e.limit = later(over, e.until)
		}
	}
}

// remove takes over that a pod is gone.
func (t *table) remove(uid string, now time.Time) {
	e := t.pods[uid]
	if e == nil {
		return
	}
	if e.leaving.IsZero() {
		// Deleted by force: no time comes with that, so the members go by when
		// they hear of it, to the second.
		now = now.Truncate(time.Second)
		e.leave(now, now.Add(t.settle), now)
	}
	// Nobody is there to stand in any more. Before its time no other member
	// takes over, but one that is alone and waits for that can.
	if e.limit.After(now) {
		e.limit = now
	}
}

// keep drops all pods that are not among the given ones.
func (t *table) keep(uids map[string]bool, now time.Time) {
	for uid := range t.pods {
		if !uids[uid] {
			t.remove(uid, now)
		}
	}
}

// begin lets the pod serve from a time on, unless it does already.
func (e *entry) begin(at time.Time) {
	if n := len(e.stays); n > 0 {
		last := &e.stays[n-1]
		if last.Until.IsZero() {
			// Its Ready condition may have gone away and come back without being
			// seen in between; going on is the better guess.
			return
		}
		if !at.After(last.Until) {
			last.Until = time.Time{}
			return
		}
	}
	e.stays = append(e.stays, Span{From: at})
}

// end lets the pod serve until a time, or until the one that was set before if
// that is earlier.
func (e *entry) end(at time.Time) {
	n := len(e.stays)
	if n == 0 {
		return
	}
	last := &e.stays[n-1]
	if last.Until.IsZero() || at.Before(last.Until) {
		last.Until = at
	}
	if !last.Until.After(last.From) {
		e.stays = e.stays[:n-1]
	}
}

// leave lets the pod serve until a time at most, and stand in until limit.
func (e *entry) leave(asked, until, limit time.Time) {
	e.leaving, e.until, e.limit = asked, until, limit
	e.end(until)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (e *entry) serves(at time.Time) bool {
	return slices.ContainsFunc(e.stays, func(s Span) bool { return s.Contains(at) })
}

// prune forgets what is over.
func (t *table) prune(now time.Time) {
	over := func(s Span) bool { return !s.Until.IsZero() && !s.Until.After(now) }
	for uid, e := range t.pods {
		e.stays = slices.DeleteFunc(e.stays, over)
		if !e.limit.IsZero() && !e.limit.After(now) && len(e.stays) == 0 {
			// A pod that is still there, only leaving, comes back with the next
			// list, and again as one that is over.
			delete(t.pods, uid)
		}
	}
}

// ring returns who owns what from now on.
func (t *table) ring(now time.Time) *Ring {
	var times []time.Time
	note := func(at time.Time) {
		if at.After(now) {
			times = append(times, at)
		}
	}
	for _, e := range t.pods {
		note(e.until)
		note(e.limit)
		for _, s := range e.stays {
			note(s.From)
			note(s.Until)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	times = slices.CompactFunc(times, time.Time.Equal)
	r := &Ring{epochs: []epoch{{members: t.membersAt(now)}}}
	for _, at := range times {
		m := t.membersAt(at)
		if !slices.Equal(m, r.epochs[len(r.epochs)-1].members) {
			r.epochs = append(r.epochs, epoch{from: at, members: m})
		}
	}
	return r
}

// membersAt returns who shares the keys at a time: those who serve or, if nobody
// does, the one that stands in.
func (t *table) membersAt(at time.Time) (out []member) {
	for _, e := range t.pods {
		if e.serves(at) {
			out = append(out, newMember(e.name))
		}
	}
	if len(out) == 0 {
		if e := t.standIn(at); e != nil {
			out = append(out, newMember(e.name))
		}
	}
	slices.SortFunc(out, byName)
	return out
}

// standIn returns who owns everything while nobody serves: a collector that has
// just been put up, one whose readiness fails, or the last that leaves before
// its successor is ready. The order is one that a pod which comes later cannot
// change, so that the first replica of all may begin at once.
func (t *table) standIn(at time.Time) (first *entry) {
	rank := func(e *entry) (class int, left time.Time) {
		switch {
		case e.leaving.IsZero(), at.Before(e.until):
			return 1, left
		case e.served:
			// It knows its targets, and the successor is not there yet. Those that
			// left before it could have gone by now.
			return 0, e.until
		}
		return 2, left
	}
	before := func(a, b *entry) bool {
		classA, leftA := rank(a)
		classB, leftB := rank(b)
		return cmp.Or(cmp.Compare(classA, classB), leftB.Compare(leftA), a.created.Compare(b.created), cmp.Compare(a.name, b.name)) < 0
	}
	for _, e := range t.pods {
		if !e.limit.IsZero() && !at.Before(e.limit) || t.hasGone(e, at) {
			continue
		}
		if first == nil || before(e, first) {
			first = e
		}
	}
	return first
}

// handedOver reports whether a pod is leaving and others know, and it no longer
// owns anything from now on or has nobody to leave it to. If not, again is when to ask next; zero
// if nothing is known yet that would change the answer.
func (t *table) handedOver(uid string, now time.Time) (done bool, again time.Time) {
	e := t.pods[uid]
	if e == nil {
		return true, time.Time{}
	}
	if e.leaving.IsZero() {
		return false, time.Time{}
	}
	// Until then not everybody knows that this one leaves, and one that is to
	// replace it may not be known here.
	if now.Before(e.until) {
		return false, e.until
	}
	r := t.ring(now)
	if !r.owns(e.name, now) {
		return true, time.Time{}
	}
	return false, r.Next(now)
}

// hasGone reports whether a pod that is leaving has ended by a time, for want of
// anybody to leave its targets to: a pod that is made later cannot wait for it. It
// may be there for long yet, sending what it has.
func (t *table) hasGone(e *entry, at time.Time) bool {
	if e.leaving.IsZero() || at.Before(e.until) {
		return false
	}
	// What is to replace any of those that leave may be the successor.
	last := e.until
	for _, o := range t.pods {
		if !o.leaving.After(e.until) {
			last = later(last, o.until)
		}
	}
	if at.Before(last) {
		return false
	}
	for _, o := range t.pods {
		if o.created.Before(last) && (o.leaving.IsZero() || !o.leaving.Before(last)) {
			return false
		}
	}
	return true
}
