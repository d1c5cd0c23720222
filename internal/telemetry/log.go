// Package telemetry sets up logging and keeps repeated messages few.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// NewLogger returns a logger that writes to w. Format is "text" or "json",
// level one of debug, info, warn, error.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: allowed are debug, info, warn, error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("log format %q: allowed are text, json", format)
}

// Throttle lets a message with a given key through once in an interval and
// counts what it held back.
type Throttle struct {
	Every time.Duration
	Now   func() time.Time // nil means time.Now

	mu   sync.Mutex
	last map[string]*throttled
}

type throttled struct {
	at     time.Time
	hidden int
}

// Allow reports whether the message may be logged now, and how many with the
// same key were held back since the last one.
func (t *Throttle) Allow(key string) (hidden int, ok bool) {
	now := time.Now
	if t.Now != nil {
		now = t.Now
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		t.last = make(map[string]*throttled)
	}
	at := now()
	e := t.last[key]
	if e == nil {
		t.last[key] = &throttled{at: at}
		return 0, true
	}
	if at.Sub(e.at) < t.Every {
		e.hidden++
		return 0, false
	}
	hidden, e.at, e.hidden = e.hidden, at, 0
	return hidden, true
}

// Demote returns a logger whose records all come out at the level given, for a
// part whose own idea of an error is not the reader's.
func Demote(logger *slog.Logger, level slog.Level) *slog.Logger {
	return slog.New(demoted{logger.Handler(), level})
}

type demoted struct {
	slog.Handler
	level slog.Level
}

func (d demoted) Enabled(ctx context.Context, _ slog.Level) bool {
	return d.Handler.Enabled(ctx, d.level)
}

func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = d.level
	return d.Handler.Handle(ctx, r)
}

func (d demoted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return demoted{d.Handler.WithAttrs(attrs), d.level}
}

func (d demoted) WithGroup(name string) slog.Handler {
	return demoted{d.Handler.WithGroup(name), d.level}
}
