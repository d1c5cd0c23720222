package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/server/workspace"
)

// workspaceKey is the attribute that says which workspace a message is about.
const workspaceKey = "workspace"

// Handler hands every message on and, if it is about a workspace that logs its
// messages, to that destination too, as JSON with the fields that Managed
// Prometheus' vended logs have.
type Handler struct {
	slog.Handler
	// Component names who speaks, such as ruler.
	Component string
	// Destination returns where a workspace's messages go, nil for nowhere.
	Destination func(workspaceID string) *workspace.LogDestination
	// Write takes lines.
	Write func(to workspace.LogDestination, line []byte)

	attrs []slog.Attr
}

// Enabled implements slog.Handler. What the program itself does not log, a
// workspace may want.
func (h *Handler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithAttrs(attrs)
	c.attrs = append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)
	return &c
}

// WithGroup implements slog.Handler. Groups are left out of the workspace's lines.
func (h *Handler) WithGroup(name string) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithGroup(name)
	return &c
}

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	h.tell(r)
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h *Handler) tell(r slog.Record) {
	id := ""
	message := map[string]any{"log": r.Message, "level": r.Level.String()}
	add := func(a slog.Attr) bool {
		if a.Key == workspaceKey {
			id = a.Value.String()
		} else if _, taken := message[a.Key]; !taken && a.Value.Kind() != slog.KindGroup {
			message[a.Key] = a.Value.Resolve().String()
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	if id == "" {
		return
	}
	to := h.Destination(id)
	if to == nil {
		return
	}
	if line, ok := Line(r.Time, id, h.Component, message); ok {
		h.Write(*to, line)
	}
}

// Line returns a line of a workspace's log.
func Line(at time.Time, workspaceID, component string, message map[string]any) ([]byte, bool) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(struct {
		Time      string         `json:"timestamp"`
		Workspace string         `json:"workspaceId"`
		Component string         `json:"component"`
		Message   map[string]any `json:"message"`
	}{at.UTC().Format("2006-01-02T15:04:05.000Z"), workspaceID, component, message})
	return []byte(strings.TrimSuffix(b.String(), "\n")), err == nil
}
