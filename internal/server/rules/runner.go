package rules

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	promrules "github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/internal/server/workspace"
)

// runner evaluates the rules of one workspace. update and outcome are called by
// one goroutine at a time.
type runner struct {
	m       *Manager
	id      string
	logger  *slog.Logger
	manager *promrules.Manager
	metrics *registered
	slots   chan struct{}
	running sync.WaitGroup
	stopped sync.Once
	// ctx is done when queries are to be given up.
	ctx    context.Context
	cancel context.CancelFunc

	// What is evaluated: groups by namespace, of which revision, and why newer
	// ones are not.
	groups map[string]*rulefmt.RuleGroups
	failed map[string]string
	mu     sync.Mutex
	at     map[string]int64 // guarded by mu
}

func newRunner(m *Manager, id string) (*runner, error) {
	external := m.cfg.ExternalURL(id)
	u, err := url.Parse(external)
	if err != nil {
		return nil, fmt.Errorf("external URL of workspace %s: %w", id, err)
	}
	r := &runner{m: m, id: id, logger: m.logger.With("workspace", id), slots: make(chan struct{}, m.cfg.MaxPerWorkspace),
		groups: make(map[string]*rulefmt.RuleGroups), failed: make(map[string]string), at: make(map[string]int64)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.metrics = &registered{}
	if m.cfg.Registerer != nil {
		r.metrics.Registerer = prometheus.WrapRegistererWith(prometheus.Labels{"workspace": id},
			prometheus.WrapRegistererWithPrefix("mangru_", m.cfg.Registerer))
	}
	r.manager = promrules.NewManager(&promrules.ManagerOptions{
		NameValidationScheme: model.UTF8Validation,
		ExternalURL:          u,
		QueryFunc:            r.query,
		NotifyFunc:           promrules.SendAlerts(r, external),
		// Writing goes on when queries are given up: what was found is written.
		Context:    context.Background(),
		Appendable: r, Queryable: r,
		Logger: r.logger, Metrics: promrules.NewGroupMetrics(r.metrics),
		OutageTolerance: m.cfg.OutageTolerance, ForGracePeriod: m.cfg.ForGracePeriod, ResendDelay: m.cfg.ResendDelay,
		GroupLoader:            loader{r},
		DefaultRuleQueryOffset: func() time.Duration { return m.cfg.QueryOffset(id) },
	})
	r.running.Go(r.manager.Run)
	return r, nil
}

// isAt reports whether what is evaluated is what the records say and that they
// say so.
func (r *runner) isAt(rows []row) bool {
	for i := range rows {
		switch workspace.Status(rows[i].Status) {
		case workspace.StatusCreating, workspace.StatusUpdating, workspace.StatusDeleting:
			return false
		}
	}
	if r == nil {
		return len(rows) == 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(rows) != len(r.at) || len(rows) == 0 {
		return false
	}
	for i := range rows {
		if r.at[rows[i].Name] != rows[i].Revision {
			return false
		}
	}
	return true
}

// update loads the namespaces in rows. Of one that does not load, the rules that
// were evaluated before stay. Groups that have not changed go on undisturbed.
func (r *runner) update(rows []row) error {
	groups, failed, at := make(map[string]*rulefmt.RuleGroups), make(map[string]string), make(map[string]int64)
	var names []string
	for i := range rows {
		n := &rows[i]
		if workspace.Status(n.Status) == workspace.StatusDeleting {
			continue
		}
		at[n.Name] = n.Revision
		parsed, issues := Parse([]byte(n.Data))
		if len(issues) > 0 {
			failed[n.Name] = joinIssues(issues)
			parsed = r.groups[n.Name]
		}
		if parsed != nil {
			groups[n.Name] = parsed
			names = append(names, n.Name)
		}
	}
	before := r.groups
	r.groups = groups
	if err := r.manager.Update(r.m.cfg.Interval, names, labels.EmptyLabels(), r.m.cfg.ExternalURL(r.id), nil); err != nil {
		r.groups = before
		return fmt.Errorf("update rules of workspace %s: %w", r.id, err)
	}
	r.failed = failed
	r.mu.Lock()
	r.at = at
	r.mu.Unlock()
	return nil
}

// outcome returns the state that a namespace of the last update has come to, ""
// for none any more.
func (r *runner) outcome(n *row) (workspace.Status, string) {
	if workspace.Status(n.Status) == workspace.StatusDeleting {
		return "", ""
	}
	if r == nil || r.failed[n.Name] == "" {
		return workspace.StatusActive, ""
	}
	if st := workspace.Status(n.Status); st == workspace.StatusCreating || st == workspace.StatusCreationFailed {
		return workspace.StatusCreationFailed, r.failed[n.Name]
	}
	return workspace.StatusUpdateFailed, r.failed[n.Name]
}

// stop gives up queries, waits for evaluations to end and forgets the metrics.
func (r *runner) stop() {
	r.stopped.Do(func() {
		r.cancel()
		r.manager.Stop()
		r.running.Wait()
		r.metrics.unregister()
	})
}

// query is the rules' promrules.QueryFunc. The result stays good after the
// samples are closed: it is made of copies.
func (r *runner) query(ctx context.Context, expr string, t time.Time) (promql.Vector, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	done, err := r.m.acquire(ctx, r.slots)
	if err != nil {
		return nil, canceled(err)
	}
	defer done()
	st, release, err := r.m.cfg.Open(ctx, r.id)
	if err != nil {
		return nil, canceled(err)
	}
	defer release()
	return promrules.EngineQueryFunc(r.m.cfg.Engine(r.id), st)(ctx, expr, t)
}

// canceled makes the end of evaluation no failure of a rule.
func canceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return promql.ErrQueryCanceled("rule evaluation")
	}
	return err
}

// Querier implements storage.Queryable, for the state of alerts at the start.
func (r *runner) Querier(mint, maxt int64) (storage.Querier, error) {
	done, err := r.m.acquire(r.ctx, r.slots)
	if err != nil {
		return nil, err
	}
	st, release, err := r.m.cfg.Open(r.ctx, r.id)
	if err != nil {
		done()
		return nil, err
	}
	q, err := st.Querier(mint, maxt)
	if err != nil {
		release()
		done()
		return nil, err
	}
	return &releasing{q, func() { release(); done() }}, nil
}

// releasing ends the use of the samples when it is closed.
type releasing struct {
	storage.Querier
	release func()
}

// Close implements storage.Querier.
func (q *releasing) Close() error {
	defer q.release()
	return q.Querier.Close()
}

// Appender implements storage.Appendable.
func (r *runner) Appender(ctx context.Context) storage.Appender {
	return &appender{ctx: ctx, write: r.m.cfg.Write, workspace: r.id, logger: r.logger}
}

// Send implements promrules.Sender.
func (r *runner) Send(alerts ...*notifier.Alert) { r.m.cfg.Notify(r.id, alerts...) }

// loader gives the groups of a namespace to Prometheus' manager.
type loader struct{ r *runner }

// Load implements promrules.GroupLoader.
func (l loader) Load(name string, _ bool, _ model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	if g := l.r.groups[name]; g != nil {
		return g, nil
	}
	return nil, []error{fmt.Errorf("namespace %q is not loaded", name)}
}

// Parse implements promrules.GroupLoader.
func (loader) Parse(query string) (parser.Expr, error) {
	return parser.NewParser(parser.Options{}).ParseExpr(query)
}
