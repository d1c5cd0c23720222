// Package httpserver holds what every listener of the program has in common:
// it claims its port before anything else starts, bounds what a client may
// send and how long it may take, writes one log line a request, survives a
// handler's panic, and stops in order.
//
// It hands the request to the handler as it arrived: no path cleaning and no
// redirect happens before a signature over the raw path could be checked.
// Request and response bodies belong to the handler.
package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Config says where and how a Server listens. Zero values take the defaults
// named at the fields.
type Config struct {
	// Name tells listeners apart in logs and metrics, such as "api" or "ui".
	Name string
	// Addr is the TCP address to listen on, such as "127.0.0.1:9009". Port 0
	// picks a free one; see Server.Addr.
	Addr string
	// TLS makes the listener speak HTTPS. Nil means plain HTTP.
	TLS *tls.Config
	// H2C accepts HTTP/2 without TLS beside HTTP/1.1.
	H2C bool

	ReadHeaderTimeout time.Duration // 10s
	ReadTimeout       time.Duration // 1m, header and body together
	WriteTimeout      time.Duration // 5m, negative for none
	IdleTimeout       time.Duration // 2m
	MaxHeaderBytes    int           // 64 KiB
	// DrainTimeout bounds the wait for running requests at the stop.
	DrainTimeout time.Duration // 10s

	// RequestIDHeader is the response header that carries the request's id.
	RequestIDHeader string // X-Request-Id
	// LogLevel is the level of the line of a request that went well; failed
	// ones (5xx) are logged as errors.
	LogLevel slog.Level
	// Registerer takes the listener's metrics. Nil means none are kept.
	Registerer prometheus.Registerer
}

func (c *Config) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.ReadHeaderTimeout, 10*time.Second)
	def(&c.ReadTimeout, time.Minute)
	def(&c.WriteTimeout, 5*time.Minute)
	def(&c.IdleTimeout, 2*time.Minute)
	def(&c.DrainTimeout, 10*time.Second)
	if c.WriteTimeout < 0 {
		c.WriteTimeout = 0
	}
	if c.MaxHeaderBytes == 0 {
		c.MaxHeaderBytes = 64 << 10
	}
	if c.RequestIDHeader == "" {
		c.RequestIDHeader = "X-Request-Id"
	}
	if c.Name == "" {
		c.Name = "http"
	}
}

const (
	strangersPerSecond = 10
	strangersAtOnce    = 100
)

// Server is one listener with its handler. Make it with New, then Run it once.
type Server struct {
	cfg      Config
	logger   *slog.Logger
	listener net.Listener
	http     *http.Server
	requests atomic.Int64 // running now
	// strangers bounds the log's lines about refused callers that nobody knows.
	strangers *rate.Limiter
	unlogged  prometheus.Counter
	idle      chan struct{}
	cancel    context.CancelFunc
}

// New claims the address and returns a Server that answers once Run is called;
// connections made before wait in the listener's queue.
func New(cfg Config, handler http.Handler, logger *slog.Logger) (*Server, error) {
	cfg.setDefaults()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for %s on %s: %w", cfg.Name, cfg.Addr, err)
	}
	m, err := newMetrics(cfg.Name, cfg.Registerer)
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("metrics of listener %s: %w", cfg.Name, err)
	}
	s := &Server{cfg: cfg, logger: logger.With("listener", cfg.Name), listener: l, idle: make(chan struct{}, 1),
		strangers: rate.NewLimiter(strangersPerSecond, strangersAtOnce), unlogged: m.unlogged}
	// Requests live in a context of their own: a stop lets them finish, and
	// only the drain deadline cancels them.
	base, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.http = &http.Server{
		Handler:           s.observe(handler, m),
		TLSConfig:         cfg.TLS,
		ReadHeaderTimeout: cfg.ReadHeaderTimeout,
		ReadTimeout:       cfg.ReadTimeout,
		WriteTimeout:      cfg.WriteTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
		Protocols:         new(http.Protocols),
	}
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetHTTP2(cfg.TLS != nil)
	s.http.Protocols.SetUnencryptedHTTP2(cfg.H2C)
	return s, nil
}

// Addr returns the address that is listened on, with the real port.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Loopback reports whether only this machine can reach the listener.
func (s *Server) Loopback() bool {
	a, ok := s.listener.Addr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// Close gives the port back without running. It is for a start that fails
// halfway; after Run it does nothing.
func (s *Server) Close() error {
	s.cancel()
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Run answers requests until ctx is done, then takes no more connections,
// waits for the running requests up to DrainTimeout, cancels what is left and
// says how much that was. Being asked to stop is not an error.
func (s *Server) Run(ctx context.Context) error {
	defer s.cancel()
	failed := make(chan error, 1)
	go func() {
		if s.cfg.TLS != nil {
			failed <- s.http.ServeTLS(s.listener, "", "")
			return
		}
		failed <- s.http.Serve(s.listener)
	}()
	select {
	case err := <-failed:
		_ = s.http.Close()
		return fmt.Errorf("serve %s on %s: %w", s.cfg.Name, s.Addr(), err)
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	err := s.http.Shutdown(deadline)
	if errors.Is(err, context.DeadlineExceeded) {
		s.logger.Warn("requests cut off at stop", "requests", s.requests.Load(), "waited", s.cfg.DrainTimeout)
		s.cancel()
		err = s.http.Close()
		s.waitHandlers(time.Second)
	}
	// Serve says only that it was stopped.
	if serveErr := <-failed; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	if err != nil {
		return fmt.Errorf("stop listener %s: %w", s.cfg.Name, err)
	}
	return nil
}

// waitHandlers gives handlers whose context has just ended a moment to return,
// so that what they use may be closed behind them.
func (s *Server) waitHandlers(limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	for s.requests.Load() > 0 {
		select {
		case <-s.idle:
		case <-t.C:
			s.logger.Error("handlers still running after stop", "requests", s.requests.Load())
			return
		}
	}
}
