package buffer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
)

// check counts everything anew and compares it with what the queue keeps.
func check(t testing.TB, q *Queue) {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	c := &recount{q: q, sums: make(map[*endpoint]*sums)}
	for _, ep := range q.endpoints {
		c.sums[ep] = &sums{}
	}
	c.entries()
	for _, tg := range q.targets {
		c.target(tg)
		for _, l := range tg.lanes {
			if l != nil {
				c.lane(l)
			}
		}
		for e := tg.first; e != nil; e = e.next {
			c.equal("entry.inside", c.inside[e], e.inside)
			c.equal("entry.leases", c.leases[e], e.leases)
		}
	}
	for _, ep := range q.endpoints {
		c.equal("sums of "+ep.Name, *c.sums[ep],
			sums{ep.samples, ep.leased, ep.available, ep.frames, ep.packed, len(ep.ready), ep.bytes, ep.open})
	}
	for _, e := range q.idle {
		c.that("idle", e.open != nil && e.leases == 0 && e.inside > 0)
	}
	c.equal("bytes", c.bytes, q.bytes)
	require.Empty(t, c.wrong)
}

type recount struct {
	q              *Queue
	wrong          []string
	bytes          int64
	sums           map[*endpoint]*sums
	inside, leases map[*entry]int32
}

type sums struct {
	samples, leased, available, frames, packed, ready int
	bytes, open                                       int64
}

func (c *recount) that(what string, ok bool) {
	if !ok {
		c.wrong = append(c.wrong, what)
	}
}

func (c *recount) equal(what string, want, got any) {
	if want != got {
		c.wrong = append(c.wrong, fmt.Sprintf("%s: %v, want %v", what, got, want))
	}
}

func (c *recount) entries() {
	var last *entry
	for e := c.q.oldest; e != nil; e = e.newer {
		c.that("older", e.older == last)
		c.that("order by age", last == nil || e.last >= last.last)
		last = e
		c.bytes += e.bytes
		if e.open != nil {
			c.bytes += e.plain
			c.that("open without need", e.leases > 0 || e.inside > 0)
		}
		c.that("nobody waits", e.waiting != 0)
		c.that("gone", !e.gone)
		c.that("form", (e.frame[0] == nil) == e.isBlock() && (e.isBlock() || e.frames == 1))
	}
	c.that("newest", c.q.newest == last)
}

func (c *recount) target(tg *target) {
	c.bytes += targetBytes
	c.inside, c.leases = make(map[*entry]int32), make(map[*entry]int32)
	gens := make(map[*generation]int)
	n := 0
	var last *entry
	for e := tg.first; e != nil; e = e.next {
		c.that("prev", e.prev == last)
		c.that("order in target", last == nil || e.seq > last.seq)
		last = e
		n++
		gens[e.gen]++
	}
	c.that("last of target", tg.last == last)
	c.equal("target.entries", n, tg.entries)
	c.equal("target.gens", len(gens), len(tg.gens))
	for _, g := range tg.gens {
		c.bytes += g.bytes
		c.equal("generation.bytes", shapeBytes(g.shape), g.bytes)
		c.equal("generation.entries", gens[g], g.entries)
	}
}

func (c *recount) lane(l *lane) {
	c.bytes += laneBytes
	s, samples := c.sums[l.ep], 0
	var head *entry
	for e := l.target.first; e != nil; e = e.next {
		if !e.waiting.has(l.ep.slot) {
			continue
		}
		if head == nil {
			head = e
		}
		s.bytes += e.bytes
		samples += e.samples
		if e.isBlock() {
			s.packed += int(e.frames)
		} else {
			s.frames++
		}
	}
	c.that("lane.head", l.head == head)
	if head != nil {
		samples += l.left - head.samples
		if l.cell > 0 {
			c.inside[head]++
		}
	}
	c.equal("lane.samples", samples, l.samples)
	s.samples += samples
	e := l.head
	for range l.leased {
		c.leases[e]++
		if e.isBlock() {
			s.open += e.plain
		}
		e = l.after(e)
	}
	if l.reader == nil {
		s.available += samples
		c.that("free lane", l.leased == 0 && l.cursor == l.head && (head != nil) == (l.index >= 0))
	} else {
		c.that("lane with a reader", l.leased > 0 && l.index == -1)
		for i := range l.reader.leases {
			if ls := &l.reader.leases[i]; ls.lane == l {
				s.leased += ls.held
			}
		}
	}
	if l.index >= 0 {
		s.ready++
		up := l.ep.ready[max(0, l.index-1)/2]
		c.that("heap", l.ep.ready[l.index] == l && (up == l || up.cursor.seq < l.cursor.seq))
	}
}

// source makes frames whose series come and go. Every sample's value is larger
// than all before it.
type source struct {
	rnd    *rand.Rand
	target uint64
	gen    uint64
	labels model.LabelsBuilder
	clock  int64
}

func (s *source) next() *model.Frame {
	if s.rnd.IntN(40) == 0 {
		s.labels, s.gen = model.LabelsBuilder{}, s.gen+1
	}
	for s.labels.Len() == 0 || s.rnd.IntN(4) == 0 {
		s.labels.Append([]model.Label{{Name: "n", Value: fmt.Sprint(s.gen, " ", s.labels.Len())}})
	}
	f := &model.Frame{
		Shape: &model.Shape{Target: s.target, Generation: s.gen, Job: fmt.Sprint("j", s.target%3), Labels: s.labels.Labels()},
		Time:  s.clock,
	}
	for slot := range f.Shape.Slots() {
		if s.rnd.IntN(30) == 0 {
			s.clock++
			f.Extras = append(f.Extras, model.Extra{Slot: int32(slot), Time: s.clock, Value: float64(s.clock)})
		}
		s.clock++
		v := float64(s.clock)
		if s.rnd.IntN(20) == 0 {
			v = model.Absent()
		}
		f.Values = append(f.Values, v)
	}
	return f
}

// ledger sees what one endpoint delivers.
type ledger struct {
	mu        sync.Mutex
	last      map[[3]uint64]float64 // by target, generation, slot
	delivered int64
	err       error
}

func (l *ledger) finish(s model.Span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	see := func(slot int, v float64) {
		k := [3]uint64{s.Shape().Target, s.Shape().Generation, uint64(slot)}
		if v <= l.last[k] && l.err == nil {
			l.err = fmt.Errorf("series %v: %v after %v", k, v, l.last[k])
		}
		l.last[k] = v
		l.delivered++
	}
	for c := s.From; c < s.To; c++ {
		slot, f := s.Cell(c)
		for _, x := range f.ExtrasOf(slot) {
			see(slot, x.Value)
		}
		if slot < len(f.Values) && !model.IsAbsent(f.Values[slot]) {
			see(slot, f.Values[slot])
		}
	}
}

// end finishes a lease at random: all, nothing, some, and the last in part.
func (l *ledger) end(rnd *rand.Rand, r *Reader, spans []model.Span) {
	n := len(spans)
	switch rnd.IntN(6) {
	case 0:
		n = 0
	case 1:
		n = rnd.IntN(n + 1)
	case 2:
		n = 1 + rnd.IntN(n)
		if s := &spans[n-1]; s.Samples() > 1 {
			*s = s.Prefix(1 + rnd.IntN(s.Samples()))
		}
	}
	for _, s := range spans[:n] {
		l.finish(s)
	}
	r.Settle(n)
}

func newLedgers(names ...string) map[string]*ledger {
	out := map[string]*ledger{}
	for _, n := range names {
		out[n] = &ledger{last: map[[3]uint64]float64{}}
	}
	return out
}

// TestNothingIsLostUncounted drives the queue at random and audits it: every
// sample is delivered to each endpoint once, in order, or counted; and the
// queue's own counts are right at every step.
func TestNothingIsLostUncounted(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { drive(t, seed) })
	}
}

func drive(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	const bound = 60000
	q := newQueue(t, Config{MaxBytes: bound}, Endpoint{Name: "a"}, Endpoint{Name: "b"}, Endpoint{Name: "c", Jobs: []string{"j1"}})
	names := []string{"a", "b", "c"}
	ledgers := newLedgers(names...)
	wanted := map[string]int64{}
	var readers []*Reader
	for range 3 {
		for _, name := range names {
			readers = append(readers, feed(t, q, name).Reader())
		}
	}
	open := make([][]model.Span, len(readers))
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a wait ends at once
	step := func(i int) bool {
		r := readers[i]
		if open[i] == nil {
			spans, err := r.Next(ctx, 1+rnd.IntN(200), 0)
			open[i] = spans
			return err == nil
		}
		ledgers[r.ep.Name].end(rnd, r, open[i])
		open[i] = nil
		return true
	}
	var sources []*source
	for target := range uint64(6) {
		sources = append(sources, &source{rnd: rnd, target: target})
	}
	pace := 1 + rnd.IntN(8)
	packed := 0
	for i := range 1500 {
		if i%300 == 299 {
			pace = rnd.IntN(9)
		}
		f := sources[rnd.IntN(len(sources))].next()
		for _, name := range names {
			if name != "c" || f.Shape.Job == "j1" {
				wanted[name] += int64(f.Samples())
			}
		}
		q.Append(f)
		if f.Samples() > 0 && q.State().Bytes > bound {
			for e := q.oldest; e != nil; e = e.newer {
				require.Positive(t, e.leases, "the bound is for what nobody has")
			}
		}
		for range rnd.IntN(1 + pace) {
			step(rnd.IntN(len(readers)))
		}
		check(t, q)
		packed = max(packed, q.State().Endpoints[0].CompressedFrames)
	}
	q.Close()
	for left := true; left; {
		left = false
		for i := range readers {
			left = step(i) || left
		}
	}
	check(t, q)
	require.Positive(t, packed)
	for _, ep := range q.State().Endpoints {
		require.NoError(t, ledgers[ep.Name].err)
		require.Zero(t, ep.Samples)
		require.Zero(t, ep.Bytes)
		require.Equal(t, wanted[ep.Name], ledgers[ep.Name].delivered+ep.Dropped[ReasonBytes])
	}
	require.Zero(t, q.State().Bytes)
	require.Nil(t, q.oldest)
	require.Empty(t, q.targets)
}

// TestManyReaders is the same with goroutines, readers that come and go, and an
// endpoint that comes and goes.
func TestManyReaders(t *testing.T) {
	for _, bound := range []int64{0, 400_000} {
		t.Run(fmt.Sprint(bound), func(t *testing.T) { driveAtOnce(t, bound) })
	}
}

func driveAtOnce(t *testing.T, bound int64) {
	q := newQueue(t, Config{MaxBytes: bound}, Endpoint{Name: "a"}, Endpoint{Name: "b"})
	ledgers := newLedgers("a", "b")
	total := make(chan int64, 20)
	var writers, readers sync.WaitGroup
	for target := range uint64(20) {
		writers.Go(func() {
			rnd := rand.New(rand.NewPCG(target, 2))
			s := &source{rnd: rnd, target: target}
			sum := int64(0)
			for range 400 {
				f := s.next()
				sum += int64(f.Samples())
				q.Append(f)
			}
			total <- sum
		})
	}
	for i := range 40 {
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 3))
			name := []string{"a", "b"}[i%2]
			f := feed(t, q, name)
			r := f.Reader()
			for {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rnd.IntN(5000))*time.Microsecond)
				spans, err := r.Next(ctx, 1+rnd.IntN(500), time.Duration(rnd.IntN(1000))*time.Microsecond)
				cancel()
				switch {
				case errors.Is(err, io.EOF):
					return
				case err != nil:
					r = f.Reader()
				default:
					ledgers[name].end(rnd, r, spans)
				}
			}
		})
	}
	stop := make(chan struct{})
	var churn sync.WaitGroup
	churn.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			list := []Endpoint{{Name: "a"}, {Name: "b"}, {Name: "c", Jobs: []string{"j1"}}}
			if err := q.SetEndpoints(list[:2+i%2]); err != nil {
				t.Error(err)
			}
			if f, err := q.Feed("c"); err == nil {
				r := f.Reader()
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				spans, err := r.Next(ctx, 50, 0)
				cancel()
				if err == nil && i%3 == 0 {
					r.Settle(len(spans) / 2)
				}
			}
			check(t, q)
		}
	})
	writers.Wait()
	close(stop)
	churn.Wait()
	require.NoError(t, q.SetEndpoints([]Endpoint{{Name: "a"}, {Name: "b"}}))
	q.Close()
	readers.Wait()
	close(total)
	want := int64(0)
	for n := range total {
		want += n
	}
	check(t, q)
	for _, ep := range q.State().Endpoints {
		require.NoError(t, ledgers[ep.Name].err)
		require.Equal(t, want, ledgers[ep.Name].delivered+ep.Dropped[ReasonBytes], ep.Name)
	}
	require.Zero(t, q.State().Bytes)
}
