package httpserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// record is what is known about a running request.
type record struct {
	id string

	mu        sync.Mutex
	principal string
	attrs     []slog.Attr
}

type recordKey struct{}

// newID returns the id of a request, a random UUID. It is no secret, so it need
// not cost a call of the system.
func newID() string {
	var id uuid.UUID
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // version 4, RFC 9562's variant
	return id.String()
}

// RequestID returns the id of the request that ctx belongs to, "" outside one.
func RequestID(ctx context.Context) string {
	if r, ok := ctx.Value(recordKey{}).(*record); ok {
		return r.id
	}
	return ""
}

// SetPrincipal names the authenticated caller for the request log.
func SetPrincipal(ctx context.Context, name string) {
	if r, ok := ctx.Value(recordKey{}).(*record); ok {
		r.mu.Lock()
		r.principal = name
		r.mu.Unlock()
	}
}

// Annotate adds attributes to the request's log line, such as why it was
// refused. They must hold nothing secret.
func Annotate(ctx context.Context, attrs ...slog.Attr) {
	if r, ok := ctx.Value(recordKey{}).(*record); ok {
		r.mu.Lock()
		r.attrs = append(r.attrs, attrs...)
		r.mu.Unlock()
	}
}

// Notes returns who was named as the caller, and the value of an attribute that
// Annotate added as text, "" for what there is not. It lets what records
// requests elsewhere say the same as the log.
func Notes(ctx context.Context, attr string) (principal, value string) {
	r, ok := ctx.Value(recordKey{}).(*record)
	if !ok {
		return "", ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.attrs {
		if a.Key == attr {
			value = a.Value.String()
		}
	}
	return r.principal, value
}

// observe wraps the handler with request id, log line, metrics and recovery.
func (s *Server) observe(next http.Handler, m *metrics) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &record{id: newID()}
		w.Header().Set(s.cfg.RequestIDHeader, rec.id)
		rw := &responseRecorder{ResponseWriter: w}
		s.requests.Add(1)
		defer func() {
			if s.requests.Add(-1) == 0 {
				select {
				case s.idle <- struct{}{}:
				default:
				}
			}
		}()
		defer func() {
			p := recover()
			if p != nil && !isAbort(p) {
				s.logger.Error("handler panicked", "request_id", rec.id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				if rw.status == 0 {
					rw.Header().Set("Content-Type", "application/json")
					rw.WriteHeader(http.StatusInternalServerError)
					_, _ = fmt.Fprintf(rw, "{\"message\":\"internal error, request %s\"}\n", rec.id)
				}
			}
			took := time.Since(start)
			s.logRequest(r, rw, rec, took)
			m.observe(r.Method, rw.code(), took)
			if p != nil && isAbort(p) {
				panic(p) // net/http closes the connection
			}
		}()
		next.ServeHTTP(rw, r.WithContext(context.WithValue(r.Context(), recordKey{}, rec)))
	})
}

func isAbort(p any) bool {
	err, ok := p.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// logRequest writes the request's line. The query string and the headers stay
// out of it: both may carry signatures, tokens or what somebody looked for.
func (s *Server) logRequest(r *http.Request, rw *responseRecorder, rec *record, took time.Duration) {
	level := s.cfg.LogLevel
	if rw.code() >= 500 {
		level = slog.LevelError
	}
	if !s.logger.Enabled(r.Context(), level) {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	// Anybody can be refused as often as he can send; the log is for others too.
	if code := rw.code(); rec.principal == "" && code >= 400 && code < 500 && !s.strangers.Allow() {
		s.unlogged.Inc()
		return
	}
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("path", r.URL.EscapedPath()),
		slog.Int("status", rw.code()), slog.Int64("bytes", rw.bytes),
		slog.Duration("duration", took), slog.String("remote", r.RemoteAddr),
		slog.String("request_id", rec.id),
	}
	if rec.principal != "" {
		attrs = append(attrs, slog.String("principal", rec.principal))
	}
	s.logger.LogAttrs(r.Context(), level, "request", append(attrs, rec.attrs...)...)
}

// responseRecorder notes status and size of a response.
type responseRecorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap lets http.ResponseController reach the real writer.
func (w *responseRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseRecorder) WriteHeader(code int) {
	if w.status == 0 && code >= 200 {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *responseRecorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Flush implements http.Flusher for handlers that stream.
func (w *responseRecorder) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

func (w *responseRecorder) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// metrics of one listener.
type metrics struct {
	duration *prometheus.HistogramVec
	unlogged prometheus.Counter
}

func newMetrics(name string, reg prometheus.Registerer) (*metrics, error) {
	labels := prometheus.Labels{"listener": name}
	m := &metrics{duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "mangru_http_request_duration_seconds", Help: "Time from the request's header to the end of the response.",
		ConstLabels: labels, Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10, 60},
	}, []string{"method", "code"}), unlogged: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "mangru_http_requests_unlogged_total", ConstLabels: labels,
		Help: "Refused requests of callers that nobody knows which have no line in the log, as there were too many.",
	})}
	if reg == nil {
		return m, nil
	}
	var err error
	// A listener of this name may have been here before, at another address.
	if m.duration, err = register(reg, m.duration); err != nil {
		return nil, err
	}
	m.unlogged, err = register(reg, m.unlogged)
	return m, err
}

// register returns the collector that counts: c, or the one of the same name
// that is there already.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) (C, error) {
	err := reg.Register(c)
	if known := (prometheus.AlreadyRegisteredError{}); errors.As(err, &known) {
		if old, ok := known.ExistingCollector.(C); ok {
			return old, nil
		}
	}
	return c, err
}

func (m *metrics) observe(method string, code int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		method = "other" // the caller chooses the method: keep the label bounded
	}
	m.duration.WithLabelValues(method, strconv.Itoa(code)).Observe(took.Seconds())
}
