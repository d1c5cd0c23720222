package scrape

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/rewrite"
)

// Sink takes frames. It must not wait for anything, and owns what it is given.
type Sink interface {
	Append(*model.Frame)
}

// Job is one scrape configuration and the targets that it has at the moment.
type Job struct {
	// Config has been validated. It must not be changed any more.
	Config *config.ScrapeConfig
	// Transport, if not nil, takes the place of the one that Config describes.
	// Its type must be comparable: another value means other connections.
	Transport http.RoundTripper
	// Program changes or drops the series of all targets, also those about the
	// scrape itself, after metric relabelling.
	Program rewrite.Program
	// TargetInfo, if not nil, makes a target_info series for each target.
	TargetInfo *rewrite.TargetInfo
	// Exemplars says that somebody wants them.
	Exemplars bool
	// CreatedZeroes adds a sample of 0 at the time at which a series says that
	// it began, in place of _created series.
	CreatedZeroes bool
	// StartTimestamps puts that time beside each of the series' samples.
	StartTimestamps bool
	Targets         []Target
	// Total counts the targets of all collectors that share them, for
	// target_limit; 0 means that Targets are all.
	Total int
	// Moved are the IDs of targets that another collector scrapes: where this one
	// has done so, their series go on.
	Moved []uint64
}

// Target is one place to scrape.
type Target struct {
	// ID stays the same for as long as the target is the same to its users: the
	// same job, address and visible labels.
	ID uint64
	// Labels are the labels after relabelling; names that start with __ are
	// settings and do not show on the series.
	Labels labels.Labels
	// Discovered are the labels before relabelling; Program and TargetInfo may
	// look at them.
	Discovered labels.Labels
	URL        string
	Interval   time.Duration
	Timeout    time.Duration
	// From and Until, where not zero, bound the times at which scrapes are due,
	// Until exclusive: outside, another collector scrapes the target.
	From, Until time.Time
}

// Config has the settings that all targets share.
type Config struct {
	// OffsetSeed moves the scrape times of this collector against those of its
	// replicas.
	OffsetSeed uint64
	UserAgent  string
	// FirstWithin, where not 0, bounds the wait for the first scrape of a target
	// that was just found: who starts a pod, or a collector, wants to see it.
	// The scrapes after it come in the usual rhythm.
	FirstWithin time.Duration
	// Parallel bounds how many pages are parsed at once; 0 means one per CPU.
	Parallel int
	// Hold, if not nil, is asked before each scrape; where it returns true the
	// scrape is left out, counted, and nothing is said about the target.
	Hold func() bool
}

// Manager scrapes the targets that it was last told of.
type Manager struct {
	cfg     Config
	sink    Sink
	log     *slog.Logger
	metrics *metrics
	tokens  chan struct{}   // one is held while parsing
	ctx     context.Context // of requests
	cancel  context.CancelFunc
	ending  context.Context // done when no scrape is to begin any more
	end     context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	plans   map[string]*plan // by job name
	targets map[uint64]*target

	generation atomic.Uint64 // the last given to a list of series

	counting sync.Mutex
	counts   map[string]Count // by job
}

// New returns a manager without targets.
func New(cfg Config, sink Sink, reg prometheus.Registerer, log *slog.Logger) *Manager {
	if cfg.Parallel < 1 {
		cfg.Parallel = runtime.GOMAXPROCS(0)
	}
	m := &Manager{
		cfg: cfg, sink: sink, log: log, tokens: make(chan struct{}, cfg.Parallel),
		plans: make(map[string]*plan), targets: make(map[uint64]*target), counts: make(map[string]Count),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.ending, m.end = context.WithCancel(m.ctx)
	m.metrics = newMetrics(reg, m)
	return m
}

// Apply makes the manager scrape exactly the given targets. A target that was
// there before keeps its series and its scrape times, also when settings of its
// job change. The series of a target that is gone are marked stale when two
// more scrapes would have been due, unless it comes back. A job that cannot be
// set up keeps its former settings, or is left out; the error names it.
func (m *Manager) Apply(jobs []Job) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	plans := make(map[string]*plan, len(jobs))
	wanted := make(map[uint64]bool)
	for _, job := range jobs {
		p, err := m.plan(job)
		if err != nil {
			errs = append(errs, fmt.Errorf("job %q: %w", job.Config.JobName, err))
		}
		if p == nil {
			continue
		}
		plans[job.Config.JobName] = p
		forced := targetLimit(job)
		for _, t := range job.Targets {
			wanted[t.ID] = true
			m.set(t, p, forced)
		}
	}
	moved := make(map[uint64]bool)
	for _, job := range jobs {
		for _, id := range job.Moved {
			moved[id] = true
		}
	}
	for id, t := range m.targets {
		if !wanted[id] {
			t.end(moved[id])
		}
	}
	for name, old := range m.plans {
		if plans[name] != old {
			old.close()
		}
	}
	m.plans = plans
	return errors.Join(errs...)
}

// plan returns the plan of a job: the one in use if nothing has changed.
func (m *Manager) plan(job Job) (*plan, error) {
	old := m.plans[job.Config.JobName]
	if old != nil && old.transport == job.Transport &&
		old.exemplars == job.Exemplars && old.zeroes == job.CreatedZeroes && old.starts == job.StartTimestamps && reflect.DeepEqual(old.program, job.Program) && reflect.DeepEqual(old.info, job.TargetInfo) &&
		(old.cfg == job.Config || reflect.DeepEqual(old.cfg, job.Config)) {
		return old, nil
	}
	p, err := newPlan(job, m.cfg.UserAgent)
	if err != nil {
		return old, err
	}
	return p, nil
}

func targetLimit(job Job) error {
	n := max(job.Total, len(job.Targets))
	if limit := int(job.Config.TargetLimit); limit > 0 && n > limit {
		return fmt.Errorf("target_limit exceeded (number of targets: %d, limit: %d)", n, limit)
	}
	return nil
}

func (m *Manager) set(t Target, p *plan, forced error) {
	sp := &spec{Target: t, plan: p, forced: forced, public: publicLabels(t.Labels)}
	cur := m.targets[t.ID]
	if cur != nil {
		if old := cur.current(); old == nil || !old.same(sp) {
			cur.update(sp)
		}
		return
	}
	cur = &target{
		id: t.ID, m: m, spec: sp, heir: !t.From.IsZero(), changed: make(chan struct{}, 1),
		cache: newCache(t.ID, m.generation.Add(1), p.cfg.JobName), log: m.log.With("job", p.cfg.JobName, "target", t.URL),
	}
	m.targets[t.ID] = cur
	m.running.Go(func() { cur.run(m.ending) })
}

func publicLabels(ls labels.Labels) labels.Labels {
	b := labels.NewBuilder(ls)
	ls.Range(func(l labels.Label) {
		if strings.HasPrefix(l.Name, commonmodel.ReservedLabelPrefix) {
			b.Del(l.Name)
		}
	})
	return b.Labels()
}

// retire ends a target that has been gone for long enough: it marks its series
// stale at the given time, save those that another target with the same
// visible labels has taken over. It reports false when the target is back.
func (m *Manager) retire(t *target, last *spec, at time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.current() != nil {
		return false
	}
	delete(m.targets, t.id)
	if at.IsZero() {
		return true
	}
	var heirs []*cache
	for _, o := range m.targets {
		if sp := o.current(); sp != nil && labels.Equal(sp.public, last.public) {
			o.work.Lock()
			defer o.work.Unlock()
			heirs = append(heirs, o.cache)
		}
	}
	t.work.Lock()
	defer t.work.Unlock()
	state := passStates.Get().(*passState)
	defer passStates.Put(state)
	if f := t.cache.end(at.UnixMilli(), state, heirs); f != nil {
		m.count(last.plan.cfg.JobName, &scrapeResult{framed: f.Samples()})
		m.sink.Append(f) // under the lock: a newcomer with this ID comes after it
	}
	return true
}

// Finish lets no scrape begin any more and waits for those that have begun, but
// no longer than the given time. Who takes the targets over does not make them
// again. Stop comes after it.
func (m *Manager) Finish(within time.Duration) {
	m.end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.running.Wait()
	}()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		m.cancel() // lets the goroutine above end
		<-done
	}
}

// Stop ends all scraping and waits for it. It marks nothing stale but the series
// of targets that are gone already: with the others another collector, or this
// one after a restart, goes on.
func (m *Manager) Stop() {
	m.cancel()
	m.running.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.plans {
		p.close()
	}
}

// Targets returns the state of all targets, by job and address.
func (m *Manager) Targets() []TargetState {
	m.mu.Lock()
	list := make([]*target, 0, len(m.targets))
	for _, t := range m.targets {
		list = append(list, t)
	}
	m.mu.Unlock()
	out := make([]TargetState, 0, len(list))
	for _, t := range list {
		if st, ok := t.snapshot(); ok {
			out = append(out, st)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Job != out[j].Job {
			return out[i].Job < out[j].Job
		}
		return out[i].URL < out[j].URL
	})
	return out
}

// offset returns how long after now the target's next scrape is due. Times are
// pinned to the clock, so a restart does not move them.
func offset(id, seed uint64, interval time.Duration, now time.Time) time.Duration {
	var b [8]byte
	for i := range b {
		b[i] = byte(id >> (8 * i))
	}
	at := (xxhash.Sum64(b[:]) ^ seed) % uint64(interval)
	next := int64(interval) - now.UnixNano()%int64(interval) + int64(at)
	return time.Duration(next % int64(interval))
}
