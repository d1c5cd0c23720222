package app

import (
	"cmp"
	"net"
	"net/http"
	"net/url"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.yaml.in/yaml/v2"

	"github.com/mangru/mangru/internal/collector/buffer"
	"github.com/mangru/mangru/internal/collector/discover"
	"github.com/mangru/mangru/internal/collector/discover/members"
	"github.com/mangru/mangru/internal/collector/scrape"
	"github.com/mangru/mangru/internal/collector/send"
	"github.com/mangru/mangru/internal/otelconf"
)

// CollectorTargets is what /targets shows.
type CollectorTargets struct {
	Jobs       []CollectorJob       `json:"jobs"`
	Duplicates []discover.Duplicate `json:"duplicates"`
	// Problems are discoveries that cannot be set up, and why.
	Problems map[string]string `json:"problems"`
	// Members are the replicas that share the targets, where there are any.
	Members *members.State `json:"members,omitempty"`
}

// CollectorJob is one job's targets.
type CollectorJob struct {
	Job           string                  `json:"job"`
	Targets       []CollectorTarget       `json:"targets"`
	Dropped       []discover.Dropped      `json:"dropped"`
	DroppedCounts map[discover.Reason]int `json:"droppedCounts"`
}

// CollectorTarget is a target with its labels before relabelling.
type CollectorTarget struct {
	scrape.TargetState
	Discovered map[string]string `json:"discoveredLabels"`
}

// CollectorQueue is what /queue shows.
type CollectorQueue struct {
	Queue   buffer.State `json:"queue"`
	Senders []send.State `json:"senders"`
}

// Targets returns what is scraped, what is not, and why.
func (c *Collector) Targets() CollectorTargets {
	found := c.finder.State()
	states := make(map[uint64]scrape.TargetState)
	for _, t := range c.scraper.Targets() {
		states[t.ID] = t
	}
	// Empty lists are written as such, so that a reader needs no case for null.
	out := CollectorTargets{
		Jobs: []CollectorJob{}, Duplicates: append([]discover.Duplicate{}, found.Duplicates...), Problems: found.Problems,
	}
	c.mu.Lock()
	if w, ok := c.sharing.members.(*members.Watch); ok {
		st := w.State()
		out.Members = &st
	}
	c.mu.Unlock()
	for _, j := range found.Jobs {
		job := CollectorJob{
			Job: j.Config.JobName, Targets: []CollectorTarget{},
			Dropped: append([]discover.Dropped{}, j.Dropped()...), DroppedCounts: j.DroppedCounts,
		}
		for _, t := range j.Targets {
			if st, ok := states[t.ID]; ok {
				job.Targets = append(job.Targets, CollectorTarget{st, t.Discovered().Map()})
			}
		}
		out.Jobs = append(out.Jobs, job)
	}
	return out
}

// Queue returns what waits, and how the endpoints do.
func (c *Collector) Queue() CollectorQueue {
	out := CollectorQueue{Queue: c.queue.State(), Senders: []send.State{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.endpoints {
		out.Senders = append(out.Senders, r.sender.State())
	}
	return out
}

// CollectorConfig is what /config shows: what runs, without secrets.
type CollectorConfig struct {
	Form     string             `json:"form"`
	Warnings []otelconf.Warning `json:"warnings"`
	Notes    []otelconf.Warning `json:"notes"`
	YAML     string             `json:"yaml"`
}

// Config returns the configuration that runs, as Prometheus would have it.
func (c *Collector) Config() CollectorConfig {
	c.mu.Lock()
	cfg := c.cfg
	c.mu.Unlock()
	out := CollectorConfig{
		Form:     cfg.Form,
		Warnings: append([]otelconf.Warning{}, cfg.Warnings...), Notes: append([]otelconf.Warning{}, cfg.Notes...),
	}
	// Prometheus' types write secrets as <secret>.
	b, err := yaml.Marshal(struct {
		Global  any `yaml:"global"`
		Scrapes any `yaml:"scrape_configs"`
	}{cfg.Global, cfg.ScrapeConfigs})
	if err != nil {
		c.log.Error("writing the configuration failed", "err", err)
		out.YAML = "# cannot be written: " + err.Error()
		return out
	}
	out.YAML = string(b) + endpointsYAML(cfg.Endpoints)
	return out
}

// endpointsYAML writes down where samples go.
func endpointsYAML(list []otelconf.Endpoint) string {
	type endpoint struct {
		Name      string   `yaml:"name"`
		URL       string   `yaml:"url"`
		Protocol  string   `yaml:"protocol,omitempty"`
		Jobs      []string `yaml:"jobs,omitempty"`
		Signed    string   `yaml:"sigv4_region,omitempty"`
		MaxShards int      `yaml:"max_shards"`
	}
	var out struct {
		Endpoints []endpoint `yaml:"endpoints"`
	}
	for _, e := range list {
		w := endpoint{Name: e.Name, URL: e.URL, Protocol: e.Protocol, Jobs: e.Jobs, MaxShards: e.MaxShards}
		if u, err := url.Parse(e.URL); err == nil {
			u.RawQuery = "" // it may hold a secret
			w.URL = u.Redacted()
		}
		if e.SigV4 != nil {
			w.Signed = cmp.Or(e.SigV4.Region, "from the environment")
		}
		out.Endpoints = append(out.Endpoints, w)
	}
	b, err := yaml.Marshal(out)
	if err != nil {
		return "# " + err.Error()
	}
	return string(b)
}

// Addrs returns the addresses that the collector listens on: metrics, health,
// profiles, target allocator, as far as they are configured.
func (c *Collector) Addrs() (out []net.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range []string{"collector-metrics", "collector-health", "collector-pprof", "collector-allocator"} {
		if l := c.listeners[name]; l != nil {
			out = append(out, l.server.Addr())
		}
	}
	return out
}

// Handler serves /targets, /queue, /config, /-/healthy, /-/ready and /metrics.
func (c *Collector) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /targets", func(w http.ResponseWriter, r *http.Request) { c.serveState(w, r, "targets", c.Targets()) })
	mux.HandleFunc("GET /queue", func(w http.ResponseWriter, r *http.Request) { c.serveState(w, r, "queue", c.Queue()) })
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, r *http.Request) { c.serveState(w, r, "config", c.Config()) })
	mux.Handle("GET /{$}", http.RedirectHandler("targets", http.StatusFound))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /-/ready", c.serveReady)
	if c.deps.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(c.deps.Gatherer, promhttp.HandlerOpts{}))
	}
	return mux
}

func (c *Collector) serveReady(w http.ResponseWriter, _ *http.Request) {
	if !c.ready.Load() {
		http.Error(w, "starting or stopping", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}
