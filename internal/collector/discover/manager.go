package discover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/mangru/mangru/internal/otelconf"
)

// longestDelay is the longest that news of a discovery waits for more. Prometheus
// lets it be five seconds, where more may come all the time: a fresh collector, whose
// discoveries answer one after the other, would begin as much later, and replicas
// would differ by as much in what they know. Lists are made anew in a few
// milliseconds for a thousand targets.
const longestDelay = time.Second

// State is the latest outcome of discovery.
type State struct {
	Jobs       []Job
	Duplicates []Duplicate
	// Problems say, by discovery, why it does not work. Each is tried again.
	Problems map[string]string
}

// Config says what to look for.
type Config struct {
	// Jobs are the scrape configurations, in their order.
	Jobs []*config.ScrapeConfig
	// FirstJobWins leaves a target that several jobs have to the first.
	FirstJobWins bool
	// Members share the targets of Jobs; nil if this collector has no replicas.
	// A member that does not change keeps being the same value.
	Members Membership
	// Allocators hand out more jobs, whose targets they have shared already.
	Allocators []otelconf.TargetAllocator
	// Shard is $(SHARD) in the jobs that Allocators hand out; "0" if empty.
	Shard string
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
	woken    chan struct{} // has room for one: the members are to be looked at again

	applying sync.Mutex // one change of configuration at a time
	stopped  bool       // guarded by applying

	mu         sync.Mutex
	cfg        Config
	allocators []*allocatorClient
	jobs       []job
	builders   map[string]*jobTargets
	groups     map[string][]*targetgroup.Group
	reported   map[string]bool // jobs whose doubles were logged
	surplus    int
	state      State
}

// job is a scrape configuration and whether its targets are to be shared.
type job struct {
	cfg    *config.ScrapeConfig
	shared bool
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
		log: log, apply: apply, ctx: ctx, cancel: cancel, problems: newProblems(log), woken: make(chan struct{}, 1),
		builders: make(map[string]*jobTargets), reported: make(map[string]bool),
	}
	m.manager = discovery.NewManager(ctx, log, reg, sd, discovery.Name("scrape"), discovery.Updatert(longestDelay))
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
	m.running.Go(m.followMembers)
}

// Apply replaces what is looked for. A discovery whose settings stay goes on
// with what it has found, and so does an allocator.
func (m *Manager) Apply(cfg Config) error {
	m.applying.Lock()
	defer m.applying.Unlock()
	if m.stopped {
		return errStopped
	}
	if s, ok := cfg.Members.(Shard); ok {
		if err := s.check(); err != nil {
			return err
		}
	}
	clients, err := m.allocatorClients(cfg)
	if err != nil {
		return err
	}
	m.mu.Lock()
	old := m.allocators
	m.cfg, m.allocators = cfg, clients
	m.mu.Unlock()
	for _, c := range old {
		if !slices.Contains(clients, c) {
			c.stop()
		}
	}
	for _, c := range clients {
		if !slices.Contains(old, c) {
			m.running.Go(func() { c.run(m.allocated) })
		}
	}
	select {
	case m.woken <- struct{}{}:
	default:
	}
	return m.update()
}

// allocated takes over that an allocator hands out other jobs.
func (m *Manager) allocated() {
	m.applying.Lock()
	defer m.applying.Unlock()
	if err := m.update(); err != nil {
		m.log.Error("the jobs of a target allocator could not be taken over", "err", err)
	}
}

// update runs the discoveries of the jobs that there are now. The caller holds
// applying.
func (m *Manager) update() error {
	m.mu.Lock()
	m.jobs = m.jobs[:0:0]
	named := make(map[string]bool)
	for _, sc := range m.cfg.Jobs {
		m.jobs = append(m.jobs, job{sc, true})
		named[sc.JobName] = true
	}
	for _, c := range m.allocators {
		var twice []string
		for _, sc := range c.current() {
			if named[sc.JobName] {
				twice = append(twice, sc.JobName)
				continue
			}
			named[sc.JobName] = true
			m.jobs = append(m.jobs, job{sc, false})
		}
		c.refused(twice)
	}
	builders := make(map[string]*jobTargets, len(m.jobs))
	sds := make(map[string]discovery.Configs, len(m.jobs))
	for _, j := range m.jobs {
		b := m.builders[j.cfg.JobName]
		if b == nil || !reflect.DeepEqual(b.cfg, j.cfg) {
			b = &jobTargets{cfg: j.cfg}
		}
		builders[j.cfg.JobName] = b
		sds[j.cfg.JobName] = m.problems.guard(j.cfg.ServiceDiscoveryConfigs)
	}
	m.builders = builders
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

// followMembers makes the lists anew when the members change, or a time comes
// that they have set.
func (m *Manager) followMembers() {
	for {
		m.mu.Lock()
		who := m.cfg.Members
		m.mu.Unlock()
		var changed <-chan struct{}
		var due <-chan time.Time
		var timer *time.Timer
		if who != nil {
			changed = who.Changed() // before Ring, so that no change is missed
			m.rebuild(nil)
			if next := who.Ring().Next(time.Now()); !next.IsZero() {
				timer = time.NewTimer(time.Until(next))
				due = timer.C
			}
		}
		select {
		case <-m.ctx.Done():
		case <-m.woken:
		case <-changed:
		case <-due:
		}
		if timer != nil {
			timer.Stop()
		}
		if m.ctx.Err() != nil {
			return
		}
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
	jobs := make([]Job, len(m.jobs))
	lists := make([][]found, len(m.jobs))
	for i, j := range m.jobs {
		jobs[i], lists[i] = m.builders[j.cfg.JobName].find(m.groups[j.cfg.JobName])
	}
	dups, surplus := duplicates(jobs, lists, m.cfg.FirstJobWins)
	ours := shareOf(m.cfg.Members, time.Now())
	everything := share{all: true, now: ours.now}
	for i, j := range m.jobs {
		s := &everything
		if j.shared {
			s = &ours
		}
		jobs[i].found, jobs[i].shared = lists[i], j.shared
		s.divide(&jobs[i])
	}
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

// HandedOver waits until replicas scrape all targets of this collector, which is
// about to end, or until it is clear that none will; see members.Watch. It
// returns nil at once if there is nobody to share with. Until then, the lists
// must go on being scraped.
func (m *Manager) HandedOver(ctx context.Context) error {
	m.mu.Lock()
	who := m.cfg.Members
	m.mu.Unlock()
	if w, ok := who.(interface{ HandedOver(context.Context) error }); ok {
		return w.HandedOver(ctx)
	}
	return nil
}

// Stop ends all discoveries and waits for them.
func (m *Manager) Stop() {
	m.cancel()
	m.applying.Lock()
	m.stopped = true // nothing is started any more
	m.applying.Unlock()
	m.running.Wait()
}

// errStopped refuses a configuration for a manager that has ended.
var errStopped = errors.New("service discovery has stopped")
