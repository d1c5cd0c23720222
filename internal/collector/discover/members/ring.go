package members

import (
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Ring says which member owns which key, from the time at which it was made
// until its last known change and beyond. It is immutable; a nil Ring and one
// without members own nothing.
//
// The owner of a key is the member with the highest hash of both (rendezvous
// hashing): when one of N members leaves or joins, one N-th of the keys changes
// hands and the others stay.
type Ring struct {
	epochs []epoch // in the order of time; the first begins before everything
}

// epoch is a span of time in which the members stay the same.
type epoch struct {
	from    time.Time
	members []member // by name
}

type member struct {
	name string
	hash uint64
}

func newMember(name string) member { return member{name: name, hash: xxhash.Sum64String(name)} }

// Fixed returns a ring whose members never change.
func Fixed(names ...string) *Ring {
	e := epoch{}
	for _, n := range slices.Sorted(slices.Values(names)) {
		e.members = append(e.members, newMember(n))
	}
	return &Ring{epochs: []epoch{e}}
}

// Then returns a ring that is like r until a time, which must be after all that r
// has, and from then on has the given members.
func (r *Ring) Then(at time.Time, names ...string) *Ring {
	e := Fixed(names...).epochs[0]
	e.from = at
	return &Ring{epochs: append(slices.Clone(r.epochs), e)}
}

// Span is a time in which a member owns a key: From <= t < Until. A zero time
// is no bound.
type Span struct {
	From, Until time.Time
}

// Contains reports whether t lies in the span.
func (s Span) Contains(t time.Time) bool {
	return !t.Before(s.From) && (s.Until.IsZero() || t.Before(s.Until))
}

// Owner returns the name of the member that owns a key at a time that is not
// before the ring's own; empty if nobody does.
func (r *Ring) Owner(key uint64, at time.Time) string {
	if r == nil || len(r.epochs) == 0 {
		return ""
	}
	return r.epochs[r.at(at)].owner(key)
}

// at returns the place of the epoch that is on at a time.
func (r *Ring) at(t time.Time) int {
	i := 0
	for i+1 < len(r.epochs) && !t.Before(r.epochs[i+1].from) {
		i++
	}
	return i
}

// Share returns the first span, not over at now, in which self owns the key. Its
// From is zero if the span has begun. A self without a name owns nothing.
func (r *Ring) Share(key uint64, self string, now time.Time) (s Span, ok bool) {
	if r == nil || len(r.epochs) == 0 || self == "" {
		return Span{}, false
	}
	first := r.at(now)
	for i := first; i < len(r.epochs); i++ {
		own := r.epochs[i].owner(key) == self
		switch {
		case own && !ok:
			ok = true
			if i > first {
				s.From = r.epochs[i].from
			}
		case !own && ok:
			s.Until = r.epochs[i].from
			return s, true
		}
	}
	return s, ok
}

// Next returns when the members change for the first time after now; zero if no
// change is known.
func (r *Ring) Next(now time.Time) time.Time {
	if r == nil || len(r.epochs) == 0 {
		return time.Time{}
	}
	if i := r.at(now) + 1; i < len(r.epochs) {
		return r.epochs[i].from
	}
	return time.Time{}
}

// Members returns the names of the owners at a time, sorted.
func (r *Ring) Members(at time.Time) (names []string) {
	if r == nil || len(r.epochs) == 0 {
		return nil
	}
	for _, m := range r.epochs[r.at(at)].members {
		names = append(names, m.name)
	}
	return names
}

// owns reports whether a member owns anything at now or later.
func (r *Ring) owns(name string, now time.Time) bool {
	for i := r.at(now); i < len(r.epochs); i++ {
		if slices.ContainsFunc(r.epochs[i].members, func(m member) bool { return m.name == name }) {
			return true
		}
	}
	return false
}

func (r *Ring) equal(other *Ring) bool {
	return slices.EqualFunc(r.epochs, other.epochs, func(a, b epoch) bool {
		return a.from.Equal(b.from) && slices.Equal(a.members, b.members)
	})
}

// owner returns the member with the highest hash of itself and the key.
func (e *epoch) owner(key uint64) (name string) {
	var most uint64
	for i := range e.members {
		// Equal hashes go to the first name, so that they go the same way everywhere.
		if score := mix(key ^ e.members[i].hash); name == "" || score > most {
			most, name = score, e.members[i].name
		}
	}
	return name
}

// mix spreads every bit of its input over all bits of its output (the finaliser
// of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h
}

func byName(a, b member) int { return strings.Compare(a.name, b.name) }
