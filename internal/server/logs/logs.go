// Package logs delivers the logs of workspaces and scrapers to where their owners
// want them: a file that stands for a log group of CloudWatch, or a URL that is
// posted to. Whoever logs never waits: what a destination does not take in time
// is dropped and counted.
package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mangru/mangru/internal/server/workspace"
	"github.com/mangru/mangru/internal/telemetry"
)

// Config of Sinks. Zero values take the defaults named at the fields.
type Config struct {
	// Dir is the folder of the files, one folder an account. Required.
	Dir string
	// MaxSize in bytes is how large a file grows before it is renamed to FILE.1,
	// that one to FILE.2 and so on; MaxFiles is how many old ones are kept.
	MaxSize  int64 // 64 MiB
	MaxFiles int   // 5
	// MaxWaiting bounds what waits for a destination, in bytes.
	MaxWaiting int // 1 MiB
	// Every is how often what waits is written.
	Every time.Duration // 1s
	// Client posts to URLs. Nil means one that follows no redirects.
	Client *http.Client
	// Registerer takes the metrics. Nil means none are kept.
	Registerer prometheus.Registerer
}

func (c *Config) setDefaults() {
	if c.MaxSize == 0 {
		c.MaxSize = 64 << 20
	}
	if c.MaxFiles == 0 {
		c.MaxFiles = 5
	}
	if c.MaxWaiting == 0 {
		c.MaxWaiting = 1 << 20
	}
	if c.Every == 0 {
		c.Every = time.Second
	}
	if c.Client == nil {
		c.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
}

// postTimeout bounds one attempt to post, lastTry what is tried when all stops.
const (
	postTimeout = 10 * time.Second
	lastTry     = 3 * time.Second
	maxPause    = 30 * time.Second
)

// Sinks implement workspace.LogSinks. They are safe for concurrent use.
type Sinks struct {
	cfg     Config
	logger  *slog.Logger
	written prometheus.Counter
	dropped *prometheus.CounterVec

	mu     sync.Mutex
	sinks  map[string]*sink // by target
	closed bool
	work   sync.WaitGroup
	stop   chan struct{}
}

// sink is what waits for one destination.
type sink struct {
	to workspace.LogDestination

	mu      sync.Mutex
	waiting []byte // whole lines
	lines   int
}

// New returns Sinks. Nothing is delivered before there is something to deliver.
func New(cfg Config, logger *slog.Logger) (*Sinks, error) {
	cfg.setDefaults()
	if cfg.Dir == "" {
		return nil, errors.New("logs: no directory")
	}
	s := &Sinks{cfg: cfg, logger: logger, sinks: make(map[string]*sink), stop: make(chan struct{}),
		written: prometheus.NewCounter(prometheus.CounterOpts{Name: "mangru_log_lines_total", Help: "Lines of workspaces' logs delivered."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mangru_log_lines_dropped_total",
			Help: "Lines of workspaces' logs not delivered, by reason."}, []string{"reason"})}
	if cfg.Registerer != nil {
		for _, c := range []prometheus.Collector{s.written, s.dropped} {
			if err := cfg.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("logs: register metrics: %w", err)
			}
		}
	}
	return s, nil
}

// Check implements workspace.LogSinks: the file of a log group can be written.
func (s *Sinks) Check(_ context.Context, _ workspace.LogKind, d workspace.LogDestination) error {
	name, ok := d.File()
	if !ok {
		return nil // whether a URL takes anything shows with the first line
	}
	f := s.file(name)
	if err := f.Open(); err != nil {
		s.logger.Error("log file cannot be written", "err", err)
		return errors.New("the file of the log group cannot be written")
	}
	return f.Close()
}

// file returns the file of a name with slashes.
func (s *Sinks) file(name string) *telemetry.RotatingFile {
	return &telemetry.RotatingFile{Path: filepath.Join(s.cfg.Dir, filepath.FromSlash(name)), MaxSize: s.cfg.MaxSize, MaxFiles: s.cfg.MaxFiles}
}

// Write has a line, without its end, delivered to a destination. It keeps nothing
// of line and never blocks.
func (s *Sinks) Write(to workspace.LogDestination, line []byte) {
	k := s.sink(to)
	if k == nil {
		s.dropped.WithLabelValues("stopping").Inc()
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.waiting)+len(line)+1 > s.cfg.MaxWaiting {
		s.dropped.WithLabelValues("destination_slow").Inc()
		return
	}
	k.waiting = append(append(k.waiting, line...), '\n')
	k.lines++
}

func (s *Sinks) sink(to workspace.LogDestination) *sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	k := s.sinks[to.Target]
	if k == nil {
		k = &sink{to: to}
		s.sinks[to.Target] = k
		s.work.Go(func() { s.deliver(k) })
	}
	return k
}

// take returns what waits.
func (k *sink) take(into []byte) ([]byte, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	into = append(into[:0], k.waiting...)
	n := k.lines
	k.waiting, k.lines = k.waiting[:0], 0
	return into, n
}

// idleAfter is how many empty looks end the delivery to a destination.
const idleAfter = 60

// deliver writes what waits for a destination until there has been nothing for a
// while, or all stops.
func (s *Sinks) deliver(k *sink) {
	every := time.NewTicker(s.cfg.Every)
	defer every.Stop()
	var buf []byte
	var w writer = &poster{sinks: s, url: k.to.Target}
	if name, ok := k.to.File(); ok {
		w = filer{s.file(name)}
	}
	defer func() { _ = w.Close() }()
	for idle := 0; ; {
		stopping := false
		select {
		case <-every.C:
		case <-s.stop:
			stopping = true
		}
		var n int
		if buf, n = k.take(buf); n > 0 {
			idle = 0
			s.write(w, k, buf, n)
		} else if idle++; idle >= idleAfter && s.forget(k) {
			return
		}
		if stopping {
			return
		}
	}
}

func (s *Sinks) write(w writer, k *sink, lines []byte, n int) {
	reason, err := w.write(lines)
	if err == nil {
		s.written.Add(float64(n))
		return
	}
	s.dropped.WithLabelValues(reason).Add(float64(n))
	s.logger.Warn("log lines not delivered", "destination", k.to.Target, "lines", n, "err", err)
}

// forget takes a sink away that nothing waits for.
func (s *Sinks) forget(k *sink) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lines > 0 {
		return false
	}
	delete(s.sinks, k.to.Target)
	return true
}

// Close delivers what waits, in a few seconds at most, and ends. Lines that are
// written afterwards are dropped.
func (s *Sinks) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.stop)
	s.mu.Unlock()
	s.work.Wait()
	s.cfg.Client.CloseIdleConnections()
	return nil
}

// writer takes lines somewhere.
type writer interface {
	// write returns why the lines were not taken.
	write(lines []byte) (reason string, err error)
	io.Closer
}

// filer writes lines to a file.
type filer struct{ *telemetry.RotatingFile }

func (f filer) write(lines []byte) (string, error) {
	_, err := f.Write(lines)
	return "file", err
}

// poster posts lines to a URL until they are taken.
type poster struct {
	sinks *Sinks
	url   string
}

func (p *poster) write(lines []byte) (string, error) {
	pause := time.Second
	for {
		retry, err := p.post(lines)
		if err == nil {
			return "", nil
		}
		if !retry {
			return "destination_refused", err
		}
		select {
		case <-p.sinks.stop:
			return "stopping", err
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

func (p *poster) post(lines []byte) (retry bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), postTimeout)
	defer cancel()
	// An attempt that is under way when all stops gets a little more time.
	go func() {
		select {
		case <-ctx.Done():
		case <-p.sinks.stop:
			select {
			case <-ctx.Done():
			case <-time.After(lastTry):
				cancel()
			}
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(lines))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := p.sinks.cfg.Client.Do(req)
	if err != nil {
		return true, err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	switch {
	case res.StatusCode < http.StatusMultipleChoices:
		return false, nil
	case res.StatusCode >= http.StatusInternalServerError || res.StatusCode == http.StatusTooManyRequests:
		return true, fmt.Errorf("answered %s", res.Status)
	}
	return false, fmt.Errorf("answered %s", res.Status)
}

// Close implements io.Closer.
func (*poster) Close() error { return nil }
