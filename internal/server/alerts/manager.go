package alerts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/notifier"

	"github.com/mangru/mangru/internal/server/workspace"
)

// Config of a Manager. Zero values take the defaults named at the fields.
type Config struct {
	// Dir returns the directory in which the alert manager of a workspace keeps
	// silences and what was told. The one above it is the workspace's and has to
	// be there. Required.
	Dir func(workspaceID string) string
	// ExternalURL is where people find a workspace's alert manager; links in
	// notifications begin with it. Nil means that they have no host.
	ExternalURL func(workspaceID string) string
	// Egress says where notifications may go to.
	Egress Egress
	// SNS takes notifications to topics whose receiver has no credentials.
	SNS SNS
	// MaxAlerts, MaxGroups, MaxSilences bound what a workspace may have, and
	// MaxSilenceBytes the size of a silence. Negative means no bound.
	MaxAlerts       int // 10,000
	MaxGroups       int // 1000
	MaxSilences     int // 1000
	MaxSilenceBytes int // 64 KiB
	// Retention is how long ended silences, and what was told, are remembered.
	Retention time.Duration // 120h
	// MaintenanceInterval is how often what is remembered goes to disk. Silences
	// also do at once.
	MaintenanceInterval time.Duration // 1m
	// GCInterval is how often resolved alerts are let go of, and
	// DispatchMaintenance empty groups.
	GCInterval          time.Duration // 30m
	DispatchMaintenance time.Duration // 30s
	// RetryAfter is the pause before a workspace that could not be started is
	// tried again, and Poll how often all are looked at without having been told.
	RetryAfter time.Duration // 5s
	Poll       time.Duration // 1m
	// Registerer takes the metrics. Nil means none are kept.
	Registerer prometheus.Registerer

	dial commoncfg.DialContextFunc // for tests: instead of Egress' own
}

func (c *Config) setDefaults() {
	if c.ExternalURL == nil {
		c.ExternalURL = func(string) string { return "" }
	}
	for _, f := range []struct {
		v   *int
		def int
	}{{&c.MaxAlerts, 10_000}, {&c.MaxGroups, 1000}, {&c.MaxSilences, 1000}, {&c.MaxSilenceBytes, 64 << 10}} {
		if *f.v == 0 {
			*f.v = f.def
		}
		*f.v = max(*f.v, 0) // the library's word for no bound
	}
	for _, f := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&c.Retention, 120 * time.Hour}, {&c.MaintenanceInterval, time.Minute}, {&c.GCInterval, 30 * time.Minute},
		{&c.DispatchMaintenance, 30 * time.Second}, {&c.RetryAfter, 5 * time.Second}, {&c.Poll, time.Minute}} {
		if *f.v == 0 {
			*f.v = f.def
		}
	}
}

// Manager runs the alert managers of all workspaces. A workspace without a
// definition has nothing here. It is safe for concurrent use.
type Manager struct {
	cfg     Config
	records *Records
	logger  *slog.Logger
	metrics *metrics

	mu        sync.Mutex
	instances map[string]*instance
	applying  map[string]bool
	retry     map[string]time.Time // not before
	gone      map[string]bool      // workspaces that were removed; ids are not used again
	closed    bool
	work      sync.WaitGroup
}

// NewManager returns a Manager of what is in records.
func NewManager(cfg Config, records *Records, logger *slog.Logger) (*Manager, error) {
	if cfg.Dir == nil {
		return nil, errors.New("alerts: no directory")
	}
	cfg.setDefaults()
	useUTF8()
	m := &Manager{cfg: cfg, records: records, logger: logger, instances: make(map[string]*instance),
		applying: make(map[string]bool), retry: make(map[string]time.Time), gone: make(map[string]bool)}
	m.metrics = newMetrics(m)
	if cfg.Registerer != nil {
		for _, c := range []prometheus.Collector{m.metrics, workspaces{m}} {
			if err := cfg.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("alerts: register metrics: %w", err)
			}
		}
	}
	return m, nil
}

// Run keeps the alert managers as the records say until ctx is done, and then
// stops them.
func (m *Manager) Run(ctx context.Context) error {
	defer m.Close()
	poll := time.NewTicker(m.cfg.Poll)
	defer poll.Stop()
	for {
		var again <-chan time.Time
		if err := m.Sync(ctx); err != nil && ctx.Err() == nil {
			m.logger.Error("looking for changed alert manager definitions failed, trying again", "err", err, "after", m.cfg.RetryAfter)
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

// Sync begins to apply what has changed. A workspace that takes its time, since
// notifications have to end first, does not hold up the others.
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
	for id := range m.instances {
		if _, ok := all[id]; !ok {
			all[id] = row{WorkspaceID: id}
		}
	}
	for id, r := range all {
		if m.applying[id] || m.gone[id] || time.Now().Before(m.retry[id]) || m.isAt(&r) {
			continue
		}
		m.applying[id] = true
		m.work.Go(func() { m.applied(id, m.apply(ctx, id)) })
	}
	return nil
}

// isAt reports whether all is as a record says, and the record says so. Called
// with the lock held.
func (m *Manager) isAt(r *row) bool {
	switch workspace.Status(r.Status) {
	case workspace.StatusActive:
		i := m.instances[r.WorkspaceID]
		return i != nil && i.revision == r.Revision
	case workspace.StatusUpdateFailed:
		return m.instances[r.WorkspaceID] != nil // the one from before
	case workspace.StatusCreationFailed:
		return true
	}
	return false
}

// applied ends the work on a workspace.
func (m *Manager) applied(id string, err error) {
	m.mu.Lock()
	delete(m.applying, id)
	delete(m.retry, id)
	if err != nil && !m.closed && !m.gone[id] {
		m.metrics.failures.Add(1)
		m.retry[id] = time.Now().Add(m.cfg.RetryAfter)
		m.logger.Error("starting the alert manager failed, trying again", "workspace", id, "err", err, "after", m.cfg.RetryAfter)
	}
	m.mu.Unlock()
	m.records.kick() // it may have changed meanwhile
}

// apply brings the alert manager of a workspace to what its record says, and
// notes in it that it has.
func (m *Manager) apply(ctx context.Context, id string) error {
	r, err := m.records.find(ctx, m.records.db, id)
	m.mu.Lock()
	i := m.instances[id]
	m.mu.Unlock()
	switch {
	case isNotFound(err) || err == nil && workspace.Status(r.Status) == workspace.StatusDeleting:
		if i != nil {
			m.mu.Lock()
			delete(m.instances, id)
			m.mu.Unlock()
			i.stop()
		}
		if r == nil {
			return nil
		}
		return m.records.settle(ctx, r, "", "")
	case err != nil:
		return err
	}
	d, issues := parse([]byte(r.Data))
	if len(issues) > 0 {
		return m.failed(ctx, r, i, joinIssues(issues))
	}
	if i == nil {
		if i, err = newInstance(&m.cfg, id, m.logger, func(reason string, n int) { m.metrics.drop(id, reason, n) }); err != nil {
			return err
		}
	}
	if err := i.apply(d); errors.Is(err, errStopped) {
		return nil
	} else if err != nil {
		if i.current.Load() == nil {
			i.stop()
			i = nil
		}
		return m.failed(ctx, r, i, err.Error())
	}
	m.mu.Lock()
	keep := !m.closed && !m.gone[id]
	if keep {
		i.revision = r.Revision
		m.instances[id] = i
	} else {
		delete(m.instances, id)
	}
	m.mu.Unlock()
	if !keep {
		i.stop()
		return nil
	}
	return m.records.settle(ctx, r, workspace.StatusActive, "")
}

// failed notes that a definition can't be applied. Whatever is wrong with it, it
// is not tried again.
func (m *Manager) failed(ctx context.Context, r *row, before *instance, reason string) error {
	to := workspace.StatusUpdateFailed
	if before == nil {
		to = workspace.StatusCreationFailed
	}
	// The reason may quote what is secret; it is in the record.
	m.logger.Warn("alert manager definition can't be applied", "workspace", r.WorkspaceID, "status", to)
	return m.records.settle(ctx, r, to, reason)
}

func (m *Manager) instance(id string) *instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.instances[id]
}

// Send takes in alerts of a workspace, such as its rules give. Without a
// definition nobody is told; what is dropped is counted.
func (m *Manager) Send(workspaceID string, alerts ...*notifier.Alert) {
	i := m.instance(workspaceID)
	if i == nil {
		m.metrics.drop(workspaceID, "no_definition", len(alerts))
		return
	}
	m.metrics.receive(workspaceID, len(alerts))
	invalid, err := i.put(context.Background(), alerts)
	m.metrics.drop(workspaceID, "invalid", invalid)
	if err != nil {
		m.logger.Error("alerts not taken in", "workspace", workspaceID, "err", err)
		m.metrics.drop(workspaceID, "failed", len(alerts)-invalid)
	}
}

// Remove stops the alert manager of a workspace that is being deleted, before its
// directory is, and takes its record away. It may be called again.
func (m *Manager) Remove(ctx context.Context, workspaceID string) error {
	m.mu.Lock()
	m.gone[workspaceID] = true
	i := m.instances[workspaceID]
	delete(m.instances, workspaceID)
	m.mu.Unlock()
	if i != nil {
		i.stop()
	}
	m.metrics.forget(workspaceID)
	return m.records.forget(ctx, workspaceID)
}

// Close stops all alert managers and waits for them.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	instances := m.instances
	m.instances = make(map[string]*instance)
	m.mu.Unlock()
	// Who is at work now may hold one of them, and lets go of it.
	m.work.Wait()
	var stopping sync.WaitGroup
	for _, i := range instances {
		stopping.Go(i.stop)
	}
	stopping.Wait()
}
