package logs

import (
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mangru/mangru/internal/server/workspace"
)

// NewScraperHandler returns a handler that hands every message of a scraper on to
// next and, if the scraper has a log of its own, to write too, with the fields
// that Managed Prometheus' vended logs of collectors have. log is where the
// scraper's messages go at the moment; it may hold nil.
func NewScraperHandler(next slog.Handler, id string, log *atomic.Pointer[workspace.ScraperLog],
	write func(to workspace.LogDestination, line []byte)) slog.Handler {
	return &tap{Handler: next,
		wants: func(l slog.Level) bool { return l >= slog.LevelInfo && log.Load() != nil },
		tell: func(at time.Time, message map[string]any) {
			to, component := log.Load(), componentOf(message)
			if to == nil || !slices.ContainsFunc(to.Components, func(c workspace.ScraperComponent) bool { return c.Type == component }) {
				return
			}
			line, ok := encodeLine(struct {
				Time      string         `json:"timestamp"`
				Scraper   string         `json:"scrapeConfigId"`
				Component string         `json:"component"`
				Message   map[string]any `json:"message"`
			}{lineTime(at), id, component, message})
			if ok {
				write(to.Destination, line)
			}
		}}
}

// componentOf tells by a message's attributes which part of a scraper it is from.
func componentOf(message map[string]any) string {
	if _, ok := message["endpoint"]; ok {
		return "EXPORTER"
	}
	for _, key := range []string{"discovery", "config", "role"} { // of Prometheus' discovery
		if _, ok := message[key]; ok {
			return "SERVICE_DISCOVERY"
		}
	}
	return "COLLECTOR"
}
