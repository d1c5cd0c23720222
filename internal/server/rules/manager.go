package rules

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql"
	promrules "github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/internal/server/workspace"
)

// Config of a Manager. Zero values take the defaults named at the fields.
type Config struct {
	// Engine returns what runs the queries of a workspace's rules. Required.
	Engine func(workspaceID string) promql.QueryEngine
	// Open returns a workspace's samples to read, and a function that ends the
	// use. Required.
	Open func(ctx context.Context, workspaceID string) (storage.Queryable, func(), error)
	// Write takes in what rules result in. Required.
	Write WriteFunc
	// Notify is given alerts that fire or are resolved. It must not block for
	// long. Nil means that nobody is told.
	Notify func(workspaceID string, alerts ...*notifier.Alert)
	// QueryOffset is how far in the past the rules of a workspace look, unless
	// their group says something else. It is asked at every evaluation. Nil means
	// not at all.
	QueryOffset func(workspaceID string) time.Duration
	// ExternalURL is where people find the workspace; links of alerts begin with
	// it. Nil means that they have no host.
	ExternalURL func(workspaceID string) string
	// Interval is that of groups that name none.
	Interval time.Duration // 1m
	// MaxConcurrent is how many queries of rules run at once, and MaxPerWorkspace
	// how many of them are of one workspace.
	MaxConcurrent   int // the number of processors, at least 2
	MaxPerWorkspace int // half of it
	// ResendDelay is how often an alert that goes on is told again.
	ResendDelay time.Duration // 1m
	// OutageTolerance is how old the kept state of an alert may be at a start,
	// and ForGracePeriod how long an alert waits at least after it.
	OutageTolerance time.Duration // 1h
	ForGracePeriod  time.Duration // 10m
	// RetryAfter is the pause before a workspace that could not be loaded is
	// tried again, and Poll how often all are looked at without having been told.
	RetryAfter time.Duration // 5s
	Poll       time.Duration // 1m
	// Registerer takes the metrics. Nil means none are kept.
	Registerer prometheus.Registerer
}

func (c *Config) setDefaults() {
	if c.Notify == nil {
		c.Notify = func(string, ...*notifier.Alert) {}
	}
	if c.QueryOffset == nil {
		c.QueryOffset = func(string) time.Duration { return 0 }
	}
	if c.ExternalURL == nil {
		c.ExternalURL = func(string) string { return "" }
	}
	if c.Interval == 0 {
		c.Interval = time.Minute
	}
	if c.MaxConcurrent == 0 {
		c.MaxConcurrent = max(2, runtime.GOMAXPROCS(0))
	}
	if c.MaxPerWorkspace == 0 {
		c.MaxPerWorkspace = max(1, c.MaxConcurrent/2)
	}
	if c.ResendDelay == 0 {
		c.ResendDelay = time.Minute
	}
	if c.OutageTolerance == 0 {
		c.OutageTolerance = time.Hour
	}
	if c.ForGracePeriod == 0 {
		c.ForGracePeriod = 10 * time.Minute
	}
	if c.RetryAfter == 0 {
		c.RetryAfter = 5 * time.Second
	}
	if c.Poll == 0 {
		c.Poll = time.Minute
	}
}

// Manager evaluates the rules of all workspaces. A workspace without rules has
// nothing here. It is safe for concurrent use.
type Manager struct {
	cfg     Config
	records *Records
	logger  *slog.Logger
	slots   chan struct{}
	metrics *metrics

	mu       sync.Mutex
	runners  map[string]*runner
	applying map[string]bool
	retry    map[string]time.Time // not before
	gone     map[string]bool      // workspaces that were removed; ids are not used again
	closed   bool
	work     sync.WaitGroup
}

// NewManager returns a Manager of what is in records.
func NewManager(cfg Config, records *Records, logger *slog.Logger) (*Manager, error) {
	if cfg.Engine == nil || cfg.Open == nil || cfg.Write == nil {
		return nil, errors.New("rules: engine, open and write are required")
	}
	cfg.setDefaults()
	m := &Manager{cfg: cfg, records: records, logger: logger, slots: make(chan struct{}, cfg.MaxConcurrent),
		runners: make(map[string]*runner), applying: make(map[string]bool), retry: make(map[string]time.Time), gone: make(map[string]bool)}
	m.metrics = newMetrics(m)
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(m.metrics); err != nil {
			return nil, fmt.Errorf("rules: register metrics: %w", err)
		}
	}
	return m, nil
}

// Run keeps the evaluation as the records say until ctx is done, and then stops
// it.
func (m *Manager) Run(ctx context.Context) error {
	defer m.Close()
	poll := time.NewTicker(m.cfg.Poll)
	defer poll.Stop()
	for {
		var again <-chan time.Time
		if err := m.Sync(ctx); err != nil && ctx.Err() == nil {
			m.logger.Error("looking for changed rules failed, trying again", "err", err, "after", m.cfg.RetryAfter)
			again = time.After(m.cfg.RetryAfter)
		} else if m.waiting() {
			again = time.After(m.cfg.RetryAfter)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.records.changed:
		case <-again:
		case <-poll.C:
		}
	}
}

// waiting reports whether a workspace is to be tried again.
func (m *Manager) waiting() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.retry) > 0
}

// Sync begins to load what has changed. A workspace that takes its time, since
// an evaluation has to end first, does not hold up the others.
func (m *Manager) Sync(ctx context.Context) error {
	all, err := m.records.revisions(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	for id := range m.runners {
		if _, ok := all[id]; !ok {
			all[id] = nil
		}
	}
	for id, rows := range all {
		if m.applying[id] || m.gone[id] || time.Now().Before(m.retry[id]) || m.runners[id].isAt(rows) {
			continue
		}
		m.applying[id] = true
		m.work.Go(func() { m.applied(id, m.apply(ctx, id)) })
	}
	return nil
}

// applied ends the loading of a workspace.
func (m *Manager) applied(id string, err error) {
	m.mu.Lock()
	delete(m.applying, id)
	delete(m.retry, id)
	if err != nil && !m.closed && !m.gone[id] {
		m.metrics.failures.Add(1)
		m.retry[id] = time.Now().Add(m.cfg.RetryAfter)
		m.logger.Error("loading rules failed, trying again", "workspace", id, "err", err, "after", m.cfg.RetryAfter)
	}
	m.mu.Unlock()
	m.records.kick() // it may have changed meanwhile
}

// apply brings the evaluation of a workspace to what its records say, and notes
// in them that it has.
func (m *Manager) apply(ctx context.Context, id string) error {
	rows, err := m.records.load(ctx, id)
	if err != nil {
		return err
	}
	m.mu.Lock()
	r := m.runners[id]
	m.mu.Unlock()
	if r == nil && live(rows) > 0 {
		if r, err = newRunner(m, id); err != nil {
			return err
		}
	}
	if r != nil {
		if err := r.update(rows); err != nil {
			if m.keep(id, r, len(r.groups)) {
				return err
			}
			r.stop()
			return err
		}
		if !m.keep(id, r, live(rows)) {
			r.stop()
		}
	}
	var errs []error
	for i := range rows {
		to, reason := r.outcome(&rows[i])
		if to == workspace.Status(rows[i].Status) && reason == rows[i].StatusReason {
			continue
		}
		errs = append(errs, m.records.settle(ctx, &rows[i], to, reason))
	}
	return errors.Join(errs...)
}

// live counts the namespaces that are to be evaluated.
func live(rows []row) (n int) {
	for i := range rows {
		if workspace.Status(rows[i].Status) != workspace.StatusDeleting {
			n++
		}
	}
	return n
}

// keep makes a runner known as long as it has namespaces, and reports whether it
// is to go on.
func (m *Manager) keep(id string, r *runner, namespaces int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if namespaces == 0 || m.closed || m.gone[id] {
		delete(m.runners, id)
		return false
	}
	m.runners[id] = r
	return true
}

// Groups returns the groups of a workspace that are evaluated, by file and name.
func (m *Manager) Groups(workspaceID string) []*promrules.Group {
	m.mu.Lock()
	r := m.runners[workspaceID]
	m.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.manager.RuleGroups()
}

// Remove ends the evaluation of a workspace that is being deleted, before its
// samples are, and takes its records away. It may be called again.
func (m *Manager) Remove(ctx context.Context, workspaceID string) error {
	m.mu.Lock()
	m.gone[workspaceID] = true
	r := m.runners[workspaceID]
	delete(m.runners, workspaceID)
	m.mu.Unlock()
	if r != nil {
		r.stop()
	}
	return m.records.forget(ctx, workspaceID)
}

// Close ends all evaluation and waits for it.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	runners := m.runners
	m.runners = make(map[string]*runner)
	m.mu.Unlock()
	var stopping sync.WaitGroup
	for _, r := range runners {
		stopping.Go(r.stop)
	}
	stopping.Wait()
	m.work.Wait()
}

// acquire waits for a query's turn.
func (m *Manager) acquire(ctx context.Context, own chan struct{}) (func(), error) {
	select {
	case own <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		<-own
		return nil, ctx.Err()
	}
	return func() { <-m.slots; <-own }, nil
}
