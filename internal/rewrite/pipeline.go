package rewrite

import (
	"reflect"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/model"
)

// Pipeline is the way of a receiver's series to one exporter.
type Pipeline struct {
	// Receiver is what the receiver itself does to series.
	Receiver Receiver
	// Processors are in the pipeline's order.
	Processors []Program
	Export     Export
}

// Receiver is what the prometheus receiver does to series besides scraping.
type Receiver struct {
	// Labels are the global external_labels, which replace a series' own.
	Labels labels.Labels
	// TrimSuffixes takes type and unit off the metrics' names.
	TrimSuffixes bool
}

// touch says which parts of a series a step has to do with, besides its labels.
type touch uint8

const (
	// readsResource needs the attributes that the receiver gives a resource.
	readsResource touch = 1 << iota
	// writesResource changes resource attributes other than the next ones.
	writesResource
	// writesIdentity changes what becomes job and instance.
	writesIdentity
	// writesSeries changes or drops the series itself.
	writesSeries
	// renames changes the metric's name.
	renames
)

// toucher is implemented by steps that stand for processors.
type toucher interface {
	touches() touch
	// names returns the attribute names that the step may add to a series.
	names() []string
}

// resourceStep is implemented by steps that act on resources, whose outcome
// does not depend on any series.
type resourceStep interface {
	// onResource returns the part of the step that acts on the resource alone,
	// or nil.
	onResource() Step
}

func touchesOf(s Step) touch {
	if t, ok := s.(toucher); ok {
		return t.touches()
	}
	return writesSeries
}

// touchOfKey says what writing a resource attribute touches.
func touchOfKey(key string) touch {
	switch key {
	case serviceName, serviceInstance, serviceNamespace:
		return writesIdentity
	}
	return writesResource
}

// touchOfRead says what reading a resource attribute needs. What job and
// instance say is there in any case.
func touchOfRead(key string) touch {
	if key == serviceName || key == serviceInstance {
		return 0
	}
	return readsResource
}

// Series returns what is to be done to each series. Steps that have no effect on
// any series are left out, so that most pipelines give an empty program.
func (p Pipeline) Series() Program {
	steps := slices.Concat(p.Processors...)
	needs := p.Export.Convert.enabled()
	for _, s := range steps {
		needs = needs || touchesOf(s)&readsResource != 0
	}
	var out Program
	if !p.Receiver.Labels.IsEmpty() {
		out = append(out, ExternalLabels{Labels: p.Receiver.Labels, Override: true})
	}
	if needs {
		out = append(out, enter{Keep: podReads(steps)})
	}
	if p.Receiver.TrimSuffixes {
		out = append(out, trimSuffixes{})
	}
	last := finish{Export: p.Export}
	tidy := needs || p.Receiver.TrimSuffixes || p.Export.changesSeries()
	for _, s := range steps {
		t := touchesOf(s)
		if !needs && t&^writesResource == 0 {
			continue // nothing reads what it writes
		}
		out = append(out, s)
		tidy = tidy || t&(readsResource|writesResource|writesIdentity|renames) != 0
		if named, ok := s.(toucher); ok {
			last.add(named.names())
		}
	}
	if tidy || len(last.Names) > 0 {
		out = append(out, last)
	}
	return out
}

// Hidden returns the resource attributes that processors set and that no series
// will show, as nothing reads them and the exporter does not make labels of them:
// they are on target_info alone, or nowhere.
func (p Pipeline) Hidden() []string {
	var hidden []string
	steps := slices.Concat(p.Processors...)
	for i, s := range steps {
		w, ok := s.(interface{ resourceKeys() []string })
		if !ok {
			continue
		}
		for _, key := range w.resourceKeys() {
			shown := touchOfKey(key) == writesIdentity || p.Export.Convert.matches(key) || reads(steps[i:], key)
			if !shown && !slices.Contains(hidden, key) {
				hidden = append(hidden, key)
			}
		}
	}
	return hidden
}

// reads reports whether a step looks at a resource attribute.
func reads(steps Program, key string) bool {
	return slices.ContainsFunc(steps, func(s Step) bool {
		r, ok := s.(interface{ resourceReads() []string })
		return ok && slices.ContainsFunc(r.resourceReads(), func(k string) bool { return k == "" || k == key })
	})
}

// Discovered returns the names of the labels from discovery that the program
// reads: service discovery's __meta_ labels and __scheme__. Whoever runs it sets
// them in the builder beforehand; the program takes them out again.
func (p Program) Discovered() []string {
	if i := p.entrance(); i >= 0 {
		return p[i].(enter).reads()
	}
	return nil
}

// entrance returns the place of the step that makes a resource, or -1.
func (p Program) entrance() int {
	return slices.IndexFunc(p, func(s Step) bool { _, ok := s.(enter); return ok })
}

// Split divides the programs of several endpoints into what can be done once for
// all of them, first, and what remains for each. An endpoint's share is nil if
// nothing remains. What discovery knows is read in the first part alone; in
// between, a series can have labels that only the second part takes away.
func Split(programs []Program) (common Program, rest []Program) {
	rest = make([]Program, len(programs))
	if len(programs) == 0 {
		return nil, rest
	}
	programs = enterTogether(programs)
	n := len(programs[0])
	for _, p := range programs[1:] {
		n = min(n, len(p))
		for i := range n {
			if !reflect.DeepEqual(programs[0][i], p[i]) {
				n = i
				break
			}
		}
	}
	for i, p := range programs {
		if len(p) > n {
			rest[i] = p[n:]
		}
	}
	return programs[0][:n:n], rest
}

// enterTogether lets all programs make the resource alike if one of them needs
// it, so that this is a part of what they have in common. Those that don't need it
// take it away again.
func enterTogether(programs []Program) []Program {
	var keep []string
	some := false
	for _, p := range programs {
		if i := p.entrance(); i >= 0 {
			some = true
			keep = append(keep, p[i].(enter).Keep...)
		}
	}
	if !some {
		return programs
	}
	slices.Sort(keep)
	first := enter{Keep: slices.Compact(keep)}
	out := make([]Program, len(programs))
	for i, p := range programs {
		p = slices.Clone(p)
		if at := p.entrance(); at >= 0 {
			p[at] = first
			out[i] = p
			continue
		}
		at := 0
		if len(p) > 0 {
			if e, ok := p[0].(ExternalLabels); ok && e.Override {
				at = 1 // what the receiver does comes before
			}
		}
		p = slices.Insert(p, at, Step(first))
		if _, ok := p[len(p)-1].(finish); !ok {
			p = append(p, finish{})
		}
		out[i] = p
	}
	return out
}

// ExternalLabels adds labels to every series.
type ExternalLabels struct {
	Labels labels.Labels
	// Override replaces labels that a series has; otherwise it keeps them.
	Override bool
}

// Apply adds the labels.
func (e ExternalLabels) Apply(b *labels.Builder, _ model.Family) bool {
	e.Labels.Range(func(l labels.Label) {
		if e.Override || b.Get(l.Name) == "" {
			b.Set(l.Name, l.Value)
		}
	})
	return true
}
