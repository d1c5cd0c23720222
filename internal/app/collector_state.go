package app

import (
	"encoding/json"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mangru/mangru/internal/collector/buffer"
	"github.com/mangru/mangru/internal/collector/discover"
	"github.com/mangru/mangru/internal/collector/scrape"
	"github.com/mangru/mangru/internal/collector/send"
)

// CollectorTargets is what /targets shows.
type CollectorTargets struct {
	Jobs       []CollectorJob       `json:"jobs"`
	Duplicates []discover.Duplicate `json:"duplicates"`
	// Problems are discoveries that cannot be set up, and why.
	Problems map[string]string `json:"problems"`
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
	for _, j := range found.Jobs {
		job := CollectorJob{
			Job: j.Config.JobName, Targets: []CollectorTarget{},
			Dropped: append([]discover.Dropped{}, j.Dropped...), DroppedCounts: j.DroppedCounts,
		}
		for _, t := range j.Targets {
			if st, ok := states[t.ID]; ok {
				job.Targets = append(job.Targets, CollectorTarget{st, t.Discovered.Map()})
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

// Addrs returns the addresses that the collector listens on: metrics, health.
func (c *Collector) Addrs() (out []net.Addr) {
	for _, s := range c.servers {
		out = append(out, s.Addr())
	}
	return out
}

// Handler serves /targets, /queue, /-/healthy, /-/ready and /metrics.
func (c *Collector) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /targets", func(w http.ResponseWriter, _ *http.Request) { c.writeJSON(w, c.Targets()) })
	mux.HandleFunc("GET /queue", func(w http.ResponseWriter, _ *http.Request) { c.writeJSON(w, c.Queue()) })
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

func (c *Collector) writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		c.log.Error("writing the state failed", "err", err)
		http.Error(w, "the state cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n'))
}
