package app

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/internal/server/alerts"
	"github.com/mangru/mangru/internal/server/ingest"
	"github.com/mangru/mangru/internal/server/logs"
	"github.com/mangru/mangru/internal/server/rules"
	"github.com/mangru/mangru/internal/server/workspace"
)

// serverRules is what evaluates a Server's rules and tells of alerts.
type serverRules struct {
	ruleRecords  *rules.Records
	alertRecords *alerts.Records
	rules        *rules.Manager
	alerts       *alerts.Manager
}

// openRules makes rules and alert managers over what openData made.
func (s *Server) openRules(ctx context.Context) (err error) {
	c, r := s.cfg, &s.rules
	external := func(id string) string { return strings.TrimSuffix(s.Endpoint(id), "/") }
	cfg, err := c.Alerts.config(ctx)
	if err != nil {
		return err
	}
	cfg.Registerer, cfg.ExternalURL = s.registry, external
	cfg.Dir = func(id string) string { return filepath.Join(c.Data, "workspaces", id, "alertmanager") }
	r.alertRecords = alerts.NewRecords(alerts.RecordsConfig{MaxBytes: int(c.Alerts.MaxBytes)}, s.records)
	if r.alerts, err = alerts.NewManager(cfg, r.alertRecords, s.workspaceLogger("alertmanager")); err != nil {
		return err
	}
	r.ruleRecords = rules.NewRecords(c.Rules.records(), s.records)
	r.rules, err = rules.NewManager(rules.Config{
		Engine: s.query.RuleEngine, Write: s.ingest.ServeWorkspace, Notify: r.alerts.Send,
		Registerer: s.registry, ExternalURL: external,
		Open: func(ctx context.Context, id string) (storage.Queryable, func(), error) {
			h, err := s.store.AcquireRead(ctx, id)
			if err != nil {
				return nil, nil, storeError(err)
			}
			return h.DB, h.Release, nil
		},
		QueryOffset: func(id string) time.Duration {
			if settings := s.workspaces.Settings(id); settings != nil {
				return settings.RuleQueryOffset
			}
			return 0
		},
		Interval: time.Duration(c.Rules.Interval), MaxConcurrent: c.Rules.MaxConcurrent, MaxPerWorkspace: c.Rules.MaxPerWorkspace,
		ResendDelay: time.Duration(c.Rules.ResendDelay), OutageTolerance: time.Duration(c.Rules.OutageTolerance),
		ForGracePeriod: time.Duration(c.Rules.ForGracePeriod),
	}, r.ruleRecords, s.workspaceLogger("ruler"))
	return err
}

// workspaceLogger logs for a part what workspaces may want to have in their own
// logs too.
func (s *Server) workspaceLogger(component string) *slog.Logger {
	return slog.New(logs.NewHandler(s.logger.Handler(), component, func(id string) *workspace.LogDestination {
		if settings := s.workspaces.Settings(id); settings != nil {
			return settings.Log
		}
		return nil
	}, s.logs.Write))
}

func (r *serverRules) close() {
	if r.rules != nil {
		r.rules.Close()
	}
	if r.alerts != nil {
		r.alerts.Close()
	}
}

// remove forgets a workspace's rules and alerts.
func (r *serverRules) remove(ctx context.Context, id string) error {
	if err := r.rules.Remove(ctx, id); err != nil {
		return err
	}
	return r.alerts.Remove(ctx, id)
}

// workspaceLimits are the limits that a workspace's own settings set.
type workspaceLimits struct {
	of func(id string) *ingest.Limits
}

// Limits implements ingest.Overrides.
func (l workspaceLimits) Limits(id string) *ingest.Limits { return l.of(id) }

func limitsOf(settings func(id string) *workspace.Settings) workspaceLimits {
	return workspaceLimits{of: workspace.Derive(settings, func(w *workspace.Settings) *ingest.Limits {
		l := &ingest.Limits{OutOfOrderWindow: w.OutOfOrderWindow}
		if l.OutOfOrderWindow == 0 {
			l.OutOfOrderWindow = -1
		}
		for _, x := range w.LabelSets {
			l.LabelSets = append(l.LabelSets, ingest.LabelSetLimit{Labels: x.Labels, MaxSeries: int(x.MaxSeries)})
		}
		return l
	})}
}
