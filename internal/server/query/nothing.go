package query

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// nothing stands for what a workspace has none of: it does not scrape, rules and
// alert managers have an API of their own.
type nothing struct{}

func (nothing) RuleGroups() []*rules.Group                 { return nil }
func (nothing) AlertingRules() []*rules.AlertingRule       { return nil }
func (nothing) TargetsActive() map[string][]*scrape.Target { return nil }
func (nothing) TargetsDropped() map[string][]*scrape.Target {
	return nil
}
func (nothing) TargetsDroppedCounts() map[string]int { return nil }
func (nothing) ScrapePools() []string                { return []string{} }
func (nothing) Alertmanagers() []*url.URL            { return nil }
func (nothing) DroppedAlertmanagers() []*url.URL     { return nil }
func (nothing) ScrapePoolConfig(pool string) (*config.ScrapeConfig, error) {
	return nil, fmt.Errorf("a workspace does not scrape, and has no pool %q", pool)
}

func noPools(context.Context) v1.ScrapePoolsRetriever          { return nothing{} }
func noTargets(context.Context) v1.TargetRetriever             { return nothing{} }
func noAlertmanagers(context.Context) v1.AlertmanagerRetriever { return nothing{} }
func noRules(context.Context) v1.RulesRetriever                { return nothing{} }

// serveNoSnapshot refuses what would write files that nobody could fetch.
func serveNoSnapshot(w http.ResponseWriter, _ *http.Request) {
	writeError(w, http.StatusNotFound, "not_found", "snapshots are not made over HTTP: use mangru workspace export")
}
