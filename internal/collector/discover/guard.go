package discover

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// How long to wait before a discovery that could not be set up is tried again.
const (
	retryFirst = time.Second
	retryMost  = time.Minute
)

// problems knows which discoveries could not be set up, and why.
type problems struct {
	log *slog.Logger
	mu  sync.Mutex
	now map[string]string
}

func (p *problems) set(name, text string) {
	p.mu.Lock()
	old := p.now[name]
	if text == "" {
		delete(p.now, name)
	} else {
		p.now[name] = text
	}
	p.mu.Unlock()
	switch {
	case text != "" && text != old:
		p.log.Warn("service discovery cannot be set up, will try again", "discovery", name, "err", text)
	case text == "" && old != "":
		p.log.Info("service discovery is set up", "discovery", name)
	}
}

func (p *problems) list() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.now)
}

// guard wraps discoveries so that one that cannot be set up, say because a
// token or a kubeconfig is not there yet, is tried again instead of left out.
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
	return &patient{cfg: g, opts: o, name: g.Name() + " of job " + o.SetName}, nil
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
}

// Run implements discovery.Discoverer.
func (d *patient) Run(ctx context.Context, up chan<- []*targetgroup.Group) {
	defer d.cfg.problems.set(d.name, "")
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		inner, err := d.cfg.Config.NewDiscoverer(d.opts)
		if err == nil {
			d.cfg.problems.set(d.name, "")
			inner.Run(ctx, up)
			return
		}
		d.cfg.problems.set(d.name, err.Error())
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}
