package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/mangru/mangru/internal/server/workspace"
)

// workspaceKey is the attribute that says which workspace a message is about.
const workspaceKey = "workspace"

// tap hands every message on and tells some to somebody else too. Groups are
// left out of what it tells.
type tap struct {
	slog.Handler
	// wants says which messages may be told: what the program itself does not log,
	// somebody may want.
	wants func(l slog.Level) bool
	tell  func(at time.Time, message map[string]any)
	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (h *tap) Enabled(ctx context.Context, l slog.Level) bool {
	return h.Handler.Enabled(ctx, l) || h.wants(l)
}

// WithAttrs implements slog.Handler.
func (h *tap) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithAttrs(attrs)
	c.attrs = append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)
	return &c
}

// WithGroup implements slog.Handler.
func (h *tap) WithGroup(name string) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithGroup(name)
	return &c
}

// Handle implements slog.Handler.
func (h *tap) Handle(ctx context.Context, r slog.Record) error {
	if h.wants(r.Level) {
		message := map[string]any{"log": r.Message, "level": r.Level.String()}
		add := func(a slog.Attr) bool {
			if _, taken := message[a.Key]; !taken && a.Value.Kind() != slog.KindGroup {
				message[a.Key] = a.Value.Resolve().String()
			}
			return true
		}
		for _, a := range h.attrs {
			add(a)
		}
		r.Attrs(add)
		h.tell(r.Time, message)
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// NewHandler returns a handler that hands every message on to next and, if it is
// about a workspace that logs its messages, to write too, as JSON with the fields
// that Managed Prometheus' vended logs have. component names who speaks, such as
// ruler; destination returns where a workspace's messages go, nil for nowhere.
func NewHandler(next slog.Handler, component string, destination func(workspaceID string) *workspace.LogDestination,
	write func(to workspace.LogDestination, line []byte)) slog.Handler {
	return &tap{Handler: next,
		wants: func(l slog.Level) bool { return l >= slog.LevelInfo },
		tell: func(at time.Time, message map[string]any) {
			id, _ := message[workspaceKey].(string)
			if id == "" {
				return
			}
			delete(message, workspaceKey)
			to := destination(id)
			if to == nil {
				return
			}
			if line, ok := Line(at, id, component, message); ok {
				write(*to, line)
			}
		}}
}

// Line returns a line of a workspace's log.
func Line(at time.Time, workspaceID, component string, message map[string]any) ([]byte, bool) {
	return encodeLine(struct {
		Time      string         `json:"timestamp"`
		Workspace string         `json:"workspaceId"`
		Component string         `json:"component"`
		Message   map[string]any `json:"message"`
	}{lineTime(at), workspaceID, component, message})
}

func lineTime(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

func encodeLine(v any) ([]byte, bool) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err == nil
}
