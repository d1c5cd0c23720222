package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/mangru/mangru/internal/telemetry"
)

// LogEntry is a query, or another request for data, and what it took.
type LogEntry struct {
	Time      time.Time
	Workspace string
	// Who asked, by the ARN of the caller, and whence; "rules" for rules.
	Who, Source, UserAgent string
	// Kind is the path, such as query_range; that of a label's values is
	// label_values.
	Kind string
	// Query is the expression, or the selectors of a request without one.
	Query string
	// Start, End and Step are as the request has them; an instant query has its
	// time in End.
	Start, End, Step string
	// Samples are those processed, by AMP's way of counting: each once for every
	// step that it was in the window of. Read counts them once. Peak is how many
	// were in memory.
	Samples, Read int64
	Peak          int
	// Queue is the time spent waiting for others, Eval that of the evaluation.
	Queue, Eval time.Duration
	Status      int // of HTTP
	Error       string
}

// QueryLog takes entries. It must not block, and be safe for concurrent use.
type QueryLog interface {
	LogQuery(LogEntry)
}

// maxLogText is how many bytes of a text from outside are logged.
const maxLogText = 16 << 10

func cut(s string) string {
	if len(s) <= maxLogText {
		return s
	}
	n := maxLogText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// AppendJSON appends the entry as one line of JSON, without the end of the line.
func (e *LogEntry) AppendJSON(b []byte) []byte {
	text, err := json.Marshal(e.line())
	if err != nil { // of no type here
		return append(b, "{}"...)
	}
	return append(b, text...)
}

// Fields returns the entry by the names that its line has.
func (e *LogEntry) Fields() map[string]any {
	var out map[string]any
	if err := json.Unmarshal(e.AppendJSON(nil), &out); err != nil { // it was just encoded
		return nil
	}
	delete(out, "time")
	delete(out, "workspace")
	return out
}

// logLine is an entry as it is written.
type logLine struct {
	Time      string  `json:"time"`
	Workspace string  `json:"workspace"`
	Who       string  `json:"who,omitempty"`
	Source    string  `json:"source,omitempty"`
	UserAgent string  `json:"user_agent,omitempty"`
	Kind      string  `json:"kind"`
	Query     string  `json:"query,omitempty"`
	Start     string  `json:"start,omitempty"`
	End       string  `json:"end,omitempty"`
	Step      string  `json:"step,omitempty"`
	Samples   int64   `json:"samples"`
	Read      int64   `json:"samples_read"`
	Peak      int     `json:"samples_peak"`
	Queue     float64 `json:"queue_seconds"`
	Eval      float64 `json:"eval_seconds"`
	Status    int     `json:"status"`
	Error     string  `json:"error,omitempty"`
}

func (e *LogEntry) line() logLine {
	return logLine{e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), e.Workspace, e.Who, e.Source, cut(e.UserAgent), e.Kind, cut(e.Query), cut(e.Start), cut(e.End), cut(e.Step),
		e.Samples, e.Read, e.Peak, e.Queue.Seconds(), e.Eval.Seconds(), e.Status, cut(e.Error)}
}

// FileLogConfig is where a FileLog writes. Zero values take the defaults named
// at the fields.
type FileLogConfig struct {
	// File is written to. When it is full it is renamed to FILE.1, that one to
	// FILE.2 and so on. Required.
	File string
	// MaxSize in bytes says when a file is full.
	MaxSize int64 // 64 MiB
	// MaxFiles is how many full ones are kept.
	MaxFiles int // 5
}

// FileLog is a QueryLog that writes lines of JSON to a file. What the disk
// refuses is lost, and counted by Lost.
type FileLog struct {
	logger *slog.Logger

	mu         sync.Mutex
	file       telemetry.RotatingFile
	lost       int64
	complained time.Time
	line       []byte
}

// OpenFileLog opens the file, so that what can fail fails now.
func OpenFileLog(cfg FileLogConfig, logger *slog.Logger) (*FileLog, error) {
	if cfg.File == "" {
		return nil, errors.New("query log: a file is required")
	}
	if cfg.MaxSize < 0 || cfg.MaxFiles < 0 {
		return nil, errors.New("query log: sizes and numbers must not be negative")
	}
	if cfg.MaxSize == 0 {
		cfg.MaxSize = 64 << 20
	}
	if cfg.MaxFiles == 0 {
		cfg.MaxFiles = 5
	}
	l := &FileLog{logger: logger, file: telemetry.RotatingFile{Path: cfg.File, MaxSize: cfg.MaxSize, MaxFiles: cfg.MaxFiles}}
	if err := l.file.Open(); err != nil {
		return nil, fmt.Errorf("query log: %w", err)
	}
	return l, nil
}

// LogQuery implements QueryLog. A line goes to the operating system at once, in
// the time that takes, which is that of a copy.
func (l *FileLog) LogQuery(e LogEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = append(e.AppendJSON(l.line[:0]), '\n')
	if _, err := l.file.Write(l.line); err != nil {
		l.lost++
		if now := time.Now(); now.Sub(l.complained) >= time.Minute {
			l.complained = now
			l.logger.Error("query log", "err", err, "lost", l.lost)
		}
	}
}

// Lost returns how many entries could not be written.
func (l *FileLog) Lost() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// Close closes the file.
func (l *FileLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
