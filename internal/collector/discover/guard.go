package discover

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// How long to wait before a discovery that could not be set up is tried again.
const (
	retryFirst = time.Second
	retryMost  = time.Minute
)

// problems knows which discoveries do not work, and why, and which have not said
// yet what there is.
type problems struct {
	log    *slog.Logger
	mu     sync.Mutex
	now    map[string]string
	silent map[*patient]bool
}

func newProblems(log *slog.Logger) *problems {
	return &problems{log: log, now: make(map[string]string), silent: make(map[*patient]bool)}
}

// set notes why a discovery does not work, or with an empty text that it does,
// and reports whether that is new.
func (p *problems) set(name, text string) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.now[name]
	if text == "" {
		delete(p.now, name)
	} else {
		p.now[name] = text
	}
	return text != old
}

func (p *problems) list() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.now)
}

func (p *problems) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.now)
}

// await notes whether a discovery has yet to say for the first time what there is.
func (p *problems) await(d *patient, silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if silent {
		p.silent[d] = true
	} else {
		delete(p.silent, d)
	}
}

// complete reports whether every discovery has said what there is.
func (p *problems) complete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.silent) == 0
}

// guard wraps discoveries so that one that cannot be set up, say because a
// token or a kubeconfig is not there yet, is tried again instead of left out,
// that one which fails later is known to, and that one which repeats itself
// costs nothing.
func (p *problems) guard(in discovery.Configs) discovery.Configs {
	out := make(discovery.Configs, 0, len(in))
	for _, c := range in {
		if _, ok := c.(discovery.StaticConfig); !ok {
			c = guarded{Config: c, problems: p}
		}
		out = append(out, c)
	}
	return out
}

// guarded is a discovery's configuration. Two of them are equal where the
// configurations are, so that jobs still share one discovery.
type guarded struct {
	discovery.Config
	problems *problems
}

// NewDiscoverer implements discovery.Config.
func (g guarded) NewDiscoverer(o discovery.DiscovererOptions) (discovery.Discoverer, error) {
	d := &patient{cfg: g, opts: o, name: g.Name() + " of job " + o.SetName, log: g.problems.log}
	if o.Logger != nil {
		d.opts.Logger = slog.New(complaints{o.Logger.Handler(), d})
	}
	g.problems.await(d, true)
	return d, nil
}

// NewDiscovererMetrics implements discovery.Config.
func (g guarded) NewDiscovererMetrics(reg prometheus.Registerer, rmi discovery.RefreshMetricsInstantiator) discovery.DiscovererMetrics {
	return g.Config.NewDiscovererMetrics(reg, rmi)
}

// patient is a discovery that is set up when it runs.
type patient struct {
	cfg  guarded
	opts discovery.DiscovererOptions
	name string
	log  *slog.Logger
}

// Run implements discovery.Discoverer.
func (d *patient) Run(ctx context.Context, up chan<- []*targetgroup.Group) {
	defer d.cfg.problems.set(d.name, "")
	defer d.cfg.problems.await(d, false)
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		inner, err := d.cfg.Config.NewDiscoverer(d.opts)
		if err == nil {
			if d.cfg.problems.set(d.name, "") {
				d.log.Info("service discovery is set up", "discovery", d.name)
			}
			d.forward(ctx, inner, up)
			return
		}
		if d.cfg.problems.set(d.name, err.Error()) {
			d.log.Warn("service discovery cannot be set up, will try again", "discovery", d.name, "err", err)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// forward hands on what the discovery finds, but for groups that are what they
// were: many discoveries send all that they have each time that they look.
func (d *patient) forward(ctx context.Context, inner discovery.Discoverer, up chan<- []*targetgroup.Group) {
	in := make(chan []*targetgroup.Group)
	ended := make(chan struct{})
	go func() { defer close(ended); inner.Run(ctx, in) }()
	defer func() { <-ended }()
	table := groupTable{known: make(map[string]*targetgroup.Group), names: make(map[commonmodel.LabelName]commonmodel.LabelName)}
	for first := true; ; {
		var groups []*targetgroup.Group
		var ok bool
		select {
		case <-ctx.Done():
			return
		case groups, ok = <-in:
		}
		if !ok {
			return
		}
		d.cfg.problems.set(d.name, "") // whatever it was, this is news
		if groups = table.changes(groups); len(groups) == 0 && !first {
			continue
		}
		first = false
		select {
		case <-ctx.Done():
			return
		case up <- groups:
		}
		d.cfg.problems.await(d, false)
	}
}

// groupTable is what a discovery has found.
type groupTable struct {
	known map[string]*targetgroup.Group // by source, as the manager has them
	// names are the labels' names, each once: discoveries put them together
	// anew for each object, which is a third of what they keep of a pod.
	names map[commonmodel.LabelName]commonmodel.LabelName
}

// maxNames is when the names are collected anew, as some may be used no longer.
const maxNames = 20_000

// changes returns the groups that are not what they were, and notes what they
// are now.
func (t *groupTable) changes(groups []*targetgroup.Group) (out []*targetgroup.Group) {
	for _, g := range groups {
		if g == nil {
			continue
		}
		old := t.known[g.Source]
		switch {
		case len(g.Targets) == 0 && old == nil, old != nil && sameGroup(old, g):
			continue
		case len(g.Targets) == 0:
			delete(t.known, g.Source)
		default:
			g = t.compact(g)
			t.known[g.Source] = g
		}
		out = append(out, g)
	}
	return out
}

// compact returns a copy of a group that shares the names of its labels with
// others.
func (t *groupTable) compact(g *targetgroup.Group) *targetgroup.Group {
	if len(t.names) > maxNames {
		clear(t.names)
	}
	set := func(in commonmodel.LabelSet) commonmodel.LabelSet {
		if in == nil {
			return nil
		}
		out := make(commonmodel.LabelSet, len(in))
		for k, v := range in {
			name, ok := t.names[k]
			if !ok {
				name = k
				t.names[k] = k
			}
			out[name] = v
		}
		return out
	}
	out := &targetgroup.Group{Source: g.Source, Labels: set(g.Labels), Targets: make([]commonmodel.LabelSet, len(g.Targets))}
	for i, ls := range g.Targets {
		out.Targets[i] = set(ls)
	}
	return out
}

func sameGroup(a, b *targetgroup.Group) bool {
	if len(a.Targets) != len(b.Targets) || !maps.Equal(a.Labels, b.Labels) {
		return false
	}
	for i := range a.Targets {
		if !maps.Equal[commonmodel.LabelSet, commonmodel.LabelSet](a.Targets[i], b.Targets[i]) {
			return false
		}
	}
	return true
}

// complaints is a log handler that takes a discovery's warnings for problems,
// for as long as nothing is heard from it but them.
type complaints struct {
	slog.Handler
	d *patient
}

// Handle implements slog.Handler.
func (c complaints) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		text := r.Message
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "err" || a.Key == "error" {
				text += ": " + a.Value.String()
			}
			return true
		})
		c.d.cfg.problems.set(c.d.name, text)
	}
	if !c.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return c.Handler.Handle(ctx, r)
}

// Enabled implements slog.Handler.
func (c complaints) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn || c.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (c complaints) WithAttrs(attrs []slog.Attr) slog.Handler {
	return complaints{c.Handler.WithAttrs(attrs), c.d}
}

// WithGroup implements slog.Handler.
func (c complaints) WithGroup(name string) slog.Handler {
	return complaints{c.Handler.WithGroup(name), c.d}
}
