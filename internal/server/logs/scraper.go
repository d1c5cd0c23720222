package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/mangru/mangru/internal/server/workspace"
)

// ScraperHandler hands every message of a scraper on and writes it to the
// scraper's own log too, if it has one, with the fields that Managed Prometheus'
// vended logs of collectors have.
type ScraperHandler struct {
	slog.Handler
	// ID is the scraper's.
	ID string
	// Log is where the scraper's messages go at the moment; it may hold nil.
	Log *atomic.Pointer[workspace.ScraperLog]
	// Write takes lines.
	Write func(to workspace.LogDestination, line []byte)

	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (h *ScraperHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.Handler.Enabled(ctx, l) || l >= slog.LevelInfo && h.Log.Load() != nil
}

// WithAttrs implements slog.Handler.
func (h *ScraperHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithAttrs(attrs)
	c.attrs = append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)
	return &c
}

// WithGroup implements slog.Handler. Groups are left out of the scraper's lines.
func (h *ScraperHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithGroup(name)
	return &c
}

// Handle implements slog.Handler.
func (h *ScraperHandler) Handle(ctx context.Context, r slog.Record) error {
	if to := h.Log.Load(); to != nil && r.Level >= slog.LevelInfo {
		h.tell(to, r)
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h *ScraperHandler) tell(to *workspace.ScraperLog, r slog.Record) {
	component := "COLLECTOR"
	message := map[string]any{"log": r.Message, "level": r.Level.String()}
	add := func(a slog.Attr) bool {
		switch a.Key {
		case "endpoint":
			component = "EXPORTER"
		case "discovery", "config", "role": // attributes of Prometheus' discovery
			component = "SERVICE_DISCOVERY"
		}
		if _, taken := message[a.Key]; !taken && a.Value.Kind() != slog.KindGroup {
			message[a.Key] = a.Value.Resolve().String()
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	if !slices.ContainsFunc(to.Components, func(c workspace.ScraperComponent) bool { return c.Type == component }) {
		return
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(struct {
		Time      string         `json:"timestamp"`
		Scraper   string         `json:"scrapeConfigId"`
		Component string         `json:"component"`
		Message   map[string]any `json:"message"`
	}{r.Time.UTC().Format("2006-01-02T15:04:05.000Z"), h.ID, component, message})
	if err == nil {
		h.Write(to.Destination, []byte(strings.TrimSuffix(b.String(), "\n")))
	}
}
