// Package ingest is the remote-write endpoint. It decompresses a request into a
// buffer of its own, walks over it without copying, finds each series by a hash
// of its encoded labels and appends by reference; only a series not seen before
// has its labels read, checked and copied, by the store.
//
// What is good in a request is stored even when something else in it is not;
// the answer then is 400 with the first error, as from Managed Prometheus, and
// every sample that was left out is counted by workspace and reason.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/internal/wire"
)

// Target is a workspace's database for the time of one request.
type Target interface {
	Appender(ctx context.Context) storage.Appender
	// NumSeries returns how many series are in memory.
	NumSeries() uint64
	// Value returns what create made for key since the database was opened.
	Value(key any, create func() any) any
	// SetMetadata keeps what a sender said about a metric family and reports
	// whether there was room.
	SetMetadata(family, typ, help, unit string) bool
	// Release ends the use.
	Release()
}

// Limits bound what a sender may send. Zero values take the defaults named at
// the fields; negative ones mean no limit.
type Limits struct {
	MaxDecompressedBytes int           // 32 MiB
	MaxSeriesPerRequest  int           // 500,000
	MaxSamplesPerRequest int           // 1,000,000
	MaxLabels            int           // 150, the metric's name among them
	MaxLabelName         int           // 1024 bytes
	MaxLabelValue        int           // 7168 bytes
	MaxSeries            int           // 2,000,000 in memory
	MaxSampleAge         time.Duration // 24h
	MaxSampleFuture      time.Duration // 10m
}

func (l *Limits) setDefaults() {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.MaxDecompressedBytes, 32<<20)
	def(&l.MaxSeriesPerRequest, 500_000)
	def(&l.MaxSamplesPerRequest, 1_000_000)
	def(&l.MaxLabels, 150)
	def(&l.MaxLabelName, 1024)
	def(&l.MaxLabelValue, 7168)
	def(&l.MaxSeries, 2_000_000)
	if l.MaxSampleAge == 0 {
		l.MaxSampleAge = 24 * time.Hour
	}
	if l.MaxSampleFuture == 0 {
		l.MaxSampleFuture = 10 * time.Minute
	}
}

// Config of a Handler.
type Config struct {
	Limits Limits
	// Open returns a workspace's database, ready to append to. Required. An
	// error with a method Unavailable() bool is answered with 503.
	Open func(ctx context.Context, workspaceID string) (Target, error)
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Registerer takes the metrics. Nil means none are kept.
	Registerer prometheus.Registerer
}

// Handler answers remote-write requests. It is safe for concurrent use.
type Handler struct {
	cfg     Config
	logger  *slog.Logger
	metrics *metrics
	pool    sync.Pool // of *request
}

// New returns a Handler.
func New(cfg Config, logger *slog.Logger) (*Handler, error) {
	if cfg.Open == nil {
		return nil, errors.New("ingest: no way to open a workspace")
	}
	cfg.Limits.setDefaults()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	return &Handler{cfg: cfg, logger: logger, metrics: m, pool: sync.Pool{New: func() any { return new(request) }}}, nil
}

// Forget drops what is counted about a workspace that is gone.
func (h *Handler) Forget(workspaceID string) { h.metrics.forget(workspaceID) }

// rawBody is a body that is in memory already.
type rawBody interface{ Bytes() []byte }

// ServeWorkspace answers a remote-write request to a workspace. The caller has
// bounded the body's size. The error, if any, is one for the caller to answer:
// the workspace could not be opened.
func (h *Handler) ServeWorkspace(w http.ResponseWriter, r *http.Request, workspaceID string) error {
	if status, msg := checkHeaders(r.Header); status != 0 {
		h.metrics.refused.WithLabelValues(workspaceID, "media_type").Inc()
		http.Error(w, msg, status)
		return nil
	}
	body, err := readBody(r)
	if err != nil {
		http.Error(w, "The request body could not be read.", http.StatusBadRequest)
		return nil
	}
	q := h.pool.Get().(*request)
	defer h.put(q)
	limit := h.cfg.Limits.MaxDecompressedBytes
	if q.msg, err = wire.Decompress(q.msg[:0], body, limit); err != nil {
		status, reason := http.StatusBadRequest, "bad_snappy"
		if errors.Is(err, wire.ErrTooLarge) {
			status, reason = http.StatusRequestEntityTooLarge, "too_large"
			err = fmt.Errorf("%w (setting limits.max_decompressed_bytes)", err)
		}
		h.metrics.refused.WithLabelValues(workspaceID, reason).Inc()
		http.Error(w, err.Error(), status)
		return nil
	}
	t, err := h.cfg.Open(r.Context(), workspaceID)
	if err != nil {
		return h.answer(w, workspaceID, err)
	}
	defer t.Release()
	q.begin(h, t, workspaceID)
	if err := q.store(r.Context()); err != nil {
		return h.answer(w, workspaceID, err)
	}
	if q.first != "" {
		http.Error(w, q.first, http.StatusBadRequest)
		return nil
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// answer turns an error about the whole request into a response, or hands it
// back when it says nothing that a sender could act on.
func (h *Handler) answer(w http.ResponseWriter, workspaceID string, err error) error {
	var bad *badRequestError
	if errors.As(err, &bad) {
		h.metrics.refused.WithLabelValues(workspaceID, bad.reason).Inc()
		http.Error(w, bad.Error(), bad.status)
		return nil
	}
	var wait interface {
		error
		Unavailable() bool
	}
	if errors.As(err, &wait) && wait.Unavailable() {
		h.metrics.refused.WithLabelValues(workspaceID, "unavailable").Inc()
		h.logger.Warn("remote write refused", "workspace", workspaceID, "err", err)
		w.Header().Set("Retry-After", "5")
		http.Error(w, wait.Error(), http.StatusServiceUnavailable)
		return nil
	}
	return err
}

// maxPooled keeps a rare huge message from staying in memory for good.
const maxPooled = 8 << 20

func (h *Handler) put(q *request) {
	q.end()
	if cap(q.msg) <= maxPooled {
		h.pool.Put(q)
	}
}

// checkHeaders demands remote write 1.0. What is not said is taken as that.
func checkHeaders(header http.Header) (int, string) {
	if ct := header.Get("Content-Type"); ct != "" {
		typ, params, err := mime.ParseMediaType(ct)
		if err != nil || typ != wire.ContentTypeV1 {
			return http.StatusUnsupportedMediaType, fmt.Sprintf("Content-Type %q: expected application/x-protobuf", ct)
		}
		if proto := params["proto"]; proto != "" && proto != "prometheus.WriteRequest" {
			return http.StatusUnsupportedMediaType, fmt.Sprintf("remote write message %q is not supported: send prometheus.WriteRequest (1.0)", proto)
		}
	}
	if ce := header.Get("Content-Encoding"); ce != "" && !strings.EqualFold(ce, wire.ContentEncoding) {
		return http.StatusUnsupportedMediaType, fmt.Sprintf("Content-Encoding %q: expected snappy", ce)
	}
	return 0, ""
}

func readBody(r *http.Request) ([]byte, error) {
	if b, ok := r.Body.(rawBody); ok {
		return b.Bytes(), nil
	}
	return io.ReadAll(r.Body)
}

// badRequestError is a request that cannot be read at all.
type badRequestError struct {
	status int
	reason string
	err    error
}

func (e *badRequestError) Error() string { return e.err.Error() }
func (e *badRequestError) Unwrap() error { return e.err }
