package discover

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// State is the latest outcome of discovery.
type State struct {
	Jobs       []Job
	Duplicates []Duplicate
	// Problems say, by discovery, why it does not run. Each is tried again.
	Problems map[string]string
}

// Config says what to look for.
type Config struct {
	// Jobs are the scrape configurations, in their order.
	Jobs []*config.ScrapeConfig
	// FirstJobWins leaves a target that several jobs have to the first.
	FirstJobWins bool
}

// Manager runs the discoveries of all jobs.
type Manager struct {
	log      *slog.Logger
	apply    func([]Job)
	cancel   context.CancelFunc
	ctx      context.Context
	manager  *discovery.Manager
	problems *problems
	running  sync.WaitGroup

	mu       sync.Mutex
	cfg      Config
	builders map[string]*jobTargets
	groups   map[string][]*targetgroup.Group
	reported map[string]bool // jobs whose doubles were logged
	surplus  int
	state    State
}

// New returns a manager that is to be started. It calls apply, one call at a time, whenever the lists
// of targets may have changed.
func New(apply func([]Job), reg prometheus.Registerer, log *slog.Logger) (*Manager, error) {
	sd, err := discovery.CreateAndRegisterSDMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("registering the metrics of service discovery: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{
		log: log, apply: apply, ctx: ctx, cancel: cancel,
		problems: &problems{log: log, now: make(map[string]string)},
		builders: make(map[string]*jobTargets), reported: make(map[string]bool),
	}
	m.manager = discovery.NewManager(ctx, log, reg, sd, discovery.Name("scrape"))
	if m.manager == nil {
		cancel()
		return nil, fmt.Errorf("service discovery could not register its metrics")
	}
	reg.MustRegister(collector{m})
	return m, nil
}

// Start lets the discoveries run that Apply names.
func (m *Manager) Start() {
	m.running.Go(func() { _ = m.manager.Run() }) // ends with ctx, and says only that
	m.running.Go(m.receive)
}

// Apply replaces what is looked for. A discovery whose settings stay goes on
// with what it has found.
func (m *Manager) Apply(cfg Config) error {
	m.mu.Lock()
	builders := make(map[string]*jobTargets, len(cfg.Jobs))
	sds := make(map[string]discovery.Configs, len(cfg.Jobs))
	for _, sc := range cfg.Jobs {
		b := m.builders[sc.JobName]
		if b == nil || !reflect.DeepEqual(b.cfg, sc) {
			b = &jobTargets{cfg: sc}
		}
		builders[sc.JobName] = b
		sds[sc.JobName] = m.problems.guard(sc.ServiceDiscoveryConfigs)
	}
	m.cfg, m.builders = cfg, builders
	m.mu.Unlock()
	if err := m.manager.ApplyConfig(sds); err != nil {
		return fmt.Errorf("starting service discovery: %w", err)
	}
	m.rebuild(nil)
	return nil
}

func (m *Manager) receive() {
	for groups := range m.manager.SyncCh() {
		m.rebuild(groups)
	}
}

// rebuild makes the lists anew; nil groups stand for those of the last time.
func (m *Manager) rebuild(groups map[string][]*targetgroup.Group) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return
	}
	if groups != nil {
		m.groups = groups
	}
	if m.groups == nil {
		return // nothing is known yet
	}
	jobs := make([]Job, 0, len(m.cfg.Jobs))
	for _, sc := range m.cfg.Jobs {
		jobs = append(jobs, m.builders[sc.JobName].build(m.groups[sc.JobName]))
	}
	dups, surplus := duplicates(jobs, m.cfg.FirstJobWins)
	m.report(dups)
	m.surplus = surplus
	m.state = State{Jobs: jobs, Duplicates: dups}
	m.apply(jobs)
}

// report logs doubles once for each combination of jobs.
func (m *Manager) report(dups []Duplicate) {
	n := make(map[string]int)
	first := make(map[string]Duplicate)
	for _, d := range dups {
		key := strings.Join(d.Jobs, ", ")
		if n[key]++; n[key] == 1 {
			first[key] = d
		}
	}
	for key, d := range first {
		if m.reported[key] {
			continue
		}
		m.reported[key] = true
		if d.Dropped {
			m.log.Info("jobs have targets in common; only the first job scrapes them", "jobs", key, "targets", n[key], "example", d.URL)
		} else {
			m.log.Warn("jobs scrape the same targets, so their series are there twice; dedupe: first-job-wins would leave them to the first job",
				"jobs", key, "targets", n[key], "example", d.URL)
		}
	}
}

// State returns the latest outcome. The lists in it must not be changed.
func (m *Manager) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.state
	st.Problems = m.problems.list()
	return st
}

// Stop ends all discoveries and waits for them.
func (m *Manager) Stop() {
	m.cancel()
	m.running.Wait()
}

type collector struct{ m *Manager }

var (
	descDuplicates = prometheus.NewDesc("mangru_collector_duplicate_targets",
		"Targets that another one before them reads too, at the same address, path and parameters.", nil, nil)
	descDropped = prometheus.NewDesc("mangru_collector_dropped_targets",
		"Discovered targets that are not scraped, by reason.", []string{"job", "reason"}, nil)
	descProblems = prometheus.NewDesc("mangru_collector_failed_discoveries",
		"Service discoveries that could not be set up and are tried again.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descDuplicates
	ch <- descDropped
	ch <- descProblems
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	c.m.mu.Lock()
	surplus, jobs := c.m.surplus, c.m.state.Jobs
	c.m.mu.Unlock()
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	gauge(descDuplicates, surplus)
	gauge(descProblems, len(c.m.problems.list()))
	for _, j := range jobs {
		for reason, n := range maps.All(j.DroppedCounts) {
			gauge(descDropped, n, j.Config.JobName, string(reason))
		}
	}
}
