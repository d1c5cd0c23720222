package send

import (
	"math/rand/v2"
	"sync"
	"time"
	"unique"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/rewrite"
)

// targetIdle is how long a target's state is kept that has nothing to send.
const targetIdle = 15 * time.Minute

// targets is what an endpoint keeps about each target between requests.
type targets struct {
	mu    sync.Mutex
	byID  map[uint64]*target
	sweep time.Time // when to look for idle ones again
}

// target is for whoever holds mu; that is one worker, for the queue gives a
// target to one at a time.
type target struct {
	used time.Time // guarded by targets.mu

	mu         sync.Mutex
	generation uint64
	rewritten  model.LabelsBuilder // one series a slot; a dropped one is empty
	// Until quiet, no family that the shape's version has is to be described.
	quiet   time.Time
	version uint64
}

// get returns the state of a target, a new one if need be.
func (ts *targets) get(id uint64, now time.Time) *target {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if now.After(ts.sweep) {
		for id, t := range ts.byID {
			if now.Sub(t.used) > targetIdle {
				delete(ts.byID, id)
			}
		}
		ts.sweep = now.Add(targetIdle / 4)
	}
	t := ts.byID[id]
	if t == nil {
		if ts.byID == nil {
			ts.byID = make(map[uint64]*target)
		}
		t = &target{}
		ts.byID[id] = t
	}
	t.used = now
	return t
}

// rewriter changes series as an endpoint wants them: it adds the external labels,
// then runs the program, as Prometheus does with write_relabel_configs.
type rewriter struct {
	program  rewrite.Program
	external []model.Label

	own     []model.Label
	scratch labels.ScratchBuilder
	builder *labels.Builder
}

// labels returns the shape's series as the program leaves them, one for each
// slot; a dropped one has no labels. Each series goes through it once.
func (r *rewriter) labels(t *target, s *model.Shape) model.Labels {
	if t.generation != s.Generation {
		t.generation, t.rewritten = s.Generation, model.LabelsBuilder{}
	}
	if t.rewritten.Len() < s.Slots() {
		from := s.Labels.Open(nil)
		for slot := t.rewritten.Len(); slot < s.Slots(); slot++ {
			t.rewritten.Append(r.apply(s, from, slot))
		}
		t.rewritten.Rest()
	}
	return t.rewritten.Labels()
}

// apply returns the labels of one series; none to drop it.
func (r *rewriter) apply(s *model.Shape, from model.Labels, slot int) []model.Label {
	r.own = from.Append(r.own[:0], slot)
	r.scratch.Reset()
	for _, l := range r.own {
		r.scratch.Add(l.Name, l.Value)
	}
	base := r.scratch.Labels()
	if r.builder == nil {
		r.builder = labels.NewBuilder(base)
	}
	r.builder.Reset(base)
	for _, l := range r.external {
		if !base.Has(l.Name) {
			r.builder.Set(l.Name, l.Value)
		}
	}
	family := model.Family{Name: base.Get(commonmodel.MetricNameLabel)}
	if len(s.Family) > slot && s.Family[slot] > 0 {
		family = s.Families[s.Family[slot]-1].Value()
	}
	r.own = r.own[:0]
	if r.program.Apply(r.builder, family) {
		r.builder.Labels().Range(func(l labels.Label) {
			r.own = append(r.own, model.Label{Name: l.Name, Value: l.Value})
		})
	}
	return r.own
}

// described knows which metric families have been described to the endpoint, by
// any target. It is done again every so often: receivers that keep it in memory
// forget what they have not heard for some minutes.
type described struct {
	every time.Duration

	mu    sync.RWMutex
	next  map[unique.Handle[model.Family]]time.Time // when to describe it again
	sweep time.Time
}

// due returns when the family is to be described next.
func (d *described) due(f unique.Handle[model.Family]) time.Time {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.next[f]
}

// done notes that the endpoint knows the families now.
func (d *described) done(list []unique.Handle[model.Family], now time.Time) {
	if len(list) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next == nil {
		d.next = make(map[unique.Handle[model.Family]]time.Time)
	}
	for _, f := range list {
		// Not all of them at the same time for ever.
		d.next[f] = now.Add(d.every - rand.N(d.every/4+1))
	}
	if now.After(d.sweep) {
		for f, next := range d.next {
			if now.Sub(next) > targetIdle+d.every {
				delete(d.next, f) // nobody has it any more
			}
		}
		d.sweep = now.Add(targetIdle)
	}
}
