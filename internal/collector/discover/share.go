package discover

import (
	"fmt"
	"strconv"
	"time"

	"github.com/mangru/mangru/internal/collector/discover/members"
)

// Membership says who shares the targets: members.Watch, a fixed shard, or other
// programs.
type Membership interface {
	// Self is the name under which this collector owns its share; empty if it has
	// none.
	Self() string
	// Ring says who owns what from now on; nil while nothing is known.
	Ring() *members.Ring
	// Changed returns a channel that is closed when Ring is no longer what it was.
	Changed() <-chan struct{}
}

// Shard is a fixed share of the targets: one of Count, counted from 0.
type Shard struct{ Index, Count int }

func (s Shard) check() error {
	if s.Count < 1 || s.Index < 0 || s.Index >= s.Count {
		return fmt.Errorf("shard %d/%d: the first number must be from 0 to one less than the second", s.Index, s.Count)
	}
	return nil
}

// Self implements Membership.
func (s Shard) Self() string { return strconv.Itoa(s.Index) }

// Ring implements Membership.
func (s Shard) Ring() *members.Ring {
	names := make([]string, s.Count)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return members.Fixed(names...)
}

// Changed implements Membership: it never does.
func (Shard) Changed() <-chan struct{} { return nil }

// Collectors returns a Membership of other programs with these names, among which
// this one only divides the targets.
func Collectors(names ...string) Membership { return &collectors{members.Fixed(names...)} }

type collectors struct{ ring *members.Ring }

// Self implements Membership: this program is none of them.
func (*collectors) Self() string { return "" }

// Ring implements Membership.
func (c *collectors) Ring() *members.Ring { return c.ring }

// Changed implements Membership: it never does.
func (*collectors) Changed() <-chan struct{} { return nil }

// share is who owns what at one moment.
type share struct {
	ring *members.Ring
	self string
	now  time.Time
	all  bool // nobody to share with
}

func shareOf(m Membership, now time.Time) share {
	if m == nil {
		return share{all: true, now: now}
	}
	return share{ring: m.Ring(), self: m.Self(), now: now}
}

// of returns when this replica scrapes the target with the key, and whether it
// does at all.
func (s *share) of(key uint64) (members.Span, bool) {
	if s.all {
		return members.Span{}, true
	}
	return s.ring.Share(key, s.self, s.now)
}

// divide puts the targets of a job that are this replica's into its list, and
// the others into Moved.
func (s *share) divide(job *Job) {
	list := job.found
	job.Total = len(list)
	job.Targets = make([]Target, 0, len(list)/max(1, len(s.ring.Members(s.now))))
	for i := range list {
		f := &list[i]
		span, mine := s.of(f.key)
		if !mine {
			f.made = nil
			job.Moved = append(job.Moved, f.id)
			continue
		}
		t := f.target(job.Config)
		if t == nil {
			continue
		}
		// A time that has come stays as it is, so that the target does too.
		if !span.From.IsZero() || t.From.After(s.now) {
			t.From = span.From
		}
		t.ID, t.Until = f.id, span.Until
		job.Targets = append(job.Targets, *t)
	}
}
