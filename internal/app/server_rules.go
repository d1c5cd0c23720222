package app

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/internal/server/alerts"
	"github.com/mangru/mangru/internal/server/ingest"
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
func (s *Server) openRules() (err error) {
	c, r := s.cfg, &s.rules
	external := func(id string) string { return strings.TrimSuffix(s.Endpoint(id), "/") }
	networks, err := parseNetworks(c.Alerts.AllowNetworks)
	if err != nil {
		return err
	}
	r.alertRecords = alerts.NewRecords(alerts.RecordsConfig{}, s.records)
	r.alerts, err = alerts.NewManager(alerts.Config{
		Registerer: s.registry, ExternalURL: external,
		Dir:    func(id string) string { return filepath.Join(c.Data, "workspaces", id, "alertmanager") },
		Egress: alerts.Egress{AllowPrivate: c.Alerts.AllowPrivate, Allow: networks},
	}, r.alertRecords, s.logger)
	if err != nil {
		return err
	}
	r.ruleRecords = rules.NewRecords(rules.RecordsConfig{}, s.records)
	r.rules, err = rules.NewManager(rules.Config{
		Engine: s.query.Engine(), Write: s.ingest.ServeWorkspace, Notify: r.alerts.Send,
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
	}, r.ruleRecords, s.logger)
	return err
}

func parseNetworks(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for i, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, &ExitError{Code: exitUsage, Err: fmt.Errorf("alerts.allow_networks[%d]: %q is no network such as 10.0.0.0/8", i, text)}
		}
		out = append(out, p)
	}
	return out, nil
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
