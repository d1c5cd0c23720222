// Package ingest is where samples come in: remote write 1.0 and 2.0, and OTLP
// metrics. It decompresses a request into a buffer of its own, walks over it
// without copying, finds each series by a hash of what the sender wrote of it and
// appends by reference; only a series not seen before has its labels read, checked
// and copied, by the store.
//
// What is good in a request is stored even when something else in it is not;
// the answer then is 400 with the first error, as from Managed Prometheus, and
// every sample that was left out is counted by workspace and reason.
package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/internal/wire"
)

// Target is a workspace's database for the time of one request.
type Target interface {
	// Appender returns an appender. If it has a method LeftOut() int, that tells
	// after Commit how many of the samples that Append took are not stored.
	Appender(ctx context.Context) storage.Appender
	// Querier reads what is between two times in milliseconds, both included.
	Querier(mint, maxt int64) (storage.Querier, error)
	// NumSeries returns how many series are in memory.
	NumSeries() uint64
	// MaxTime returns the newest sample's time in milliseconds, the lowest time
	// there is if there is none.
	MaxTime() int64
	// EachSeries calls f for every series in memory.
	EachSeries(ctx context.Context, f func(labels.Labels)) error
	// Value returns what create made for key since the database was opened.
	Value(key any, create func() any) any
	// SetMetadata keeps what a sender said about a metric family and reports
	// whether there was room.
	SetMetadata(family, typ, help, unit string) bool
	// AddMetadata is SetMetadata for a family about which nothing may be known yet.
	AddMetadata(family, typ, unit string) bool
	// Release ends the use.
	Release()
}

// Overrides knows the limits of workspaces.
type Overrides interface {
	// Limits returns those of a workspace, which nobody changes afterwards. Nil,
	// and values that are zero, mean those of the Config. It is called for every
	// request.
	Limits(workspaceID string) *Limits
}

// Config of a Handler.
type Config struct {
	// Limits of workspaces that have no others.
	Limits Limits
	// Overrides has the limits of single workspaces. Nil means that all have Limits.
	Overrides Overrides
	// Series counts series for limits per metric and label set, which do nothing
	// without it. The databases have to call it.
	Series *SeriesCounts
	// Open returns a workspace's database, ready to append to. Required. An
	// error with a method Unavailable() bool is answered with 503.
	Open func(ctx context.Context, workspaceID string) (Target, error)
	// OTLP says how OpenTelemetry's metrics are named here.
	OTLP OTLP
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Registerer takes the metrics. Nil means none are kept.
	Registerer prometheus.Registerer
}

// Handler answers write requests. It is safe for concurrent use.
type Handler struct {
	cfg     Config
	logger  *slog.Logger
	metrics *metrics
	buckets buckets
	pool    sync.Pool // of *request
	otlp    otlpPool
	zstd    *zstd.Decoder
}

// New returns a Handler.
func New(cfg Config, logger *slog.Logger) (*Handler, error) {
	if cfg.Open == nil {
		return nil, errors.New("ingest: no way to open a workspace")
	}
	cfg.Limits.setDefaults(&Limits{})
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	h := &Handler{cfg: cfg, logger: logger, metrics: m, pool: sync.Pool{New: func() any { return new(request) }}}
	most := cfg.Limits.MaxDecompressedBytes
	if most < 0 {
		most = maxDecompressed
	}
	h.zstd, err = zstd.NewReader(nil, zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(max(most, minZstd))))
	if err != nil {
		return nil, fmt.Errorf("ingest: zstd: %w", err)
	}
	return h, nil
}

// minZstd is the least memory with which zstd reads anything.
const minZstd = 1 << 20

// maxDecompressed bounds a message that no limit bounds.
const maxDecompressed = 1 << 30

// Forget drops what is known about a workspace that is gone.
func (h *Handler) Forget(workspaceID string) {
	h.metrics.forget(workspaceID)
	h.buckets.forget(workspaceID)
	h.cfg.Series.forget(workspaceID)
}

// limits returns the limits of a workspace.
func (h *Handler) limits(workspaceID string) Limits {
	if h.cfg.Overrides != nil {
		if own := h.cfg.Overrides.Limits(workspaceID); own != nil {
			l := *own
			l.setDefaults(&h.cfg.Limits)
			return l
		}
	}
	return h.cfg.Limits
}

// rawBody is a body that is in memory already.
type rawBody interface{ Bytes() []byte }

// ServeWorkspace answers a remote-write request to a workspace. The caller has
// bounded the body's size. The error, if any, is one for the caller to answer:
// the workspace could not be opened.
func (h *Handler) ServeWorkspace(w http.ResponseWriter, r *http.Request, workspaceID string) error {
	m, encoding, err := negotiate(r.Header)
	if err != nil {
		h.metrics.refused.WithLabelValues(workspaceID, "media_type").Inc()
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return nil
	}
	q := h.pool.Get().(*request)
	defer h.put(q)
	body, err := q.readBody(r)
	if err != nil {
		http.Error(w, "The request body could not be read.", http.StatusBadRequest)
		return nil
	}
	l := h.limits(workspaceID)
	if m == messageV2 {
		writeWritten(w, written{}) // until there is more to say
	}
	if err := h.decompress(q, body, encoding, l.MaxDecompressedBytes); err != nil {
		return h.answer(w, workspaceID, err)
	}
	t, err := h.cfg.Open(r.Context(), workspaceID)
	if err != nil {
		return h.answer(w, workspaceID, err)
	}
	defer t.Release()
	q.begin(h, t, workspaceID, &l, m)
	take := q.takeV1
	if m == messageV2 {
		take = q.takeV2
	}
	if q.exhausted() {
		err = q.countOnly()
	} else {
		err = q.store(r.Context(), take)
	}
	if err != nil {
		return h.answer(w, workspaceID, err)
	}
	q.respond(w)
	return nil
}

// respond answers a request of which as much is stored as can be.
func (q *request) respond(w http.ResponseWriter) {
	status := http.StatusOK
	if q.message == messageV2 {
		done := q.written
		if q.deduplicated > 0 {
			// The elected replica's samples stand for these. A sender that reads
			// that nothing was written takes it for a failure.
			done.samples += q.deduplicated
		}
		writeWritten(w, done)
		status = http.StatusNoContent
	}
	switch {
	case q.first != "":
		http.Error(w, q.first, http.StatusBadRequest)
	case q.fullyDuplicate():
		own, elected := q.cache.groups.elected(q.duplicate)
		http.Error(w, fmt.Sprintf("replicas did not match, samples not stored: replica=%s, elected=%s", own, elected), http.StatusAccepted)
	default:
		w.WriteHeader(status)
	}
}

func writeWritten(w http.ResponseWriter, n written) {
	w.Header().Set(wire.WrittenSamplesHeader, strconv.Itoa(n.samples))
	w.Header().Set(wire.WrittenHistogramsHeader, strconv.Itoa(n.histograms))
	w.Header().Set(wire.WrittenExemplarsHeader, strconv.Itoa(n.exemplars))
}

// countOnly reads a request of which nothing can be taken for now, so that it
// can be said what was refused. It always returns an error.
func (q *request) countOnly() error {
	samples, metadata := 0, 0
	if q.message == messageV2 {
		for q.v2.Reset(q.msg, q.wireLimits()); q.v2.Next(); {
			samples += len(q.v2.Series().Samples) + len(q.v2.Series().Histograms)
		}
		if err := q.v2.Err(); err != nil {
			return unreadable(err)
		}
	} else {
		for q.v1.Reset(q.msg, q.wireLimits()); q.v1.Next(); {
			samples += len(q.v1.Series().Samples) + len(q.v1.Series().Histograms)
		}
		if err := q.v1.Err(); err != nil {
			return unreadable(err)
		}
		metadata = len(q.v1.Metadata())
	}
	rate, size := q.rate()
	return q.rateLimited(samples, metadata, q.h.buckets.get(q.workspace).wait(q.now, samples+metadata, rate, size))
}

// answer turns an error about the whole request into a response, or hands it
// back when it says nothing that a sender could act on.
func (h *Handler) answer(w http.ResponseWriter, workspaceID string, err error) error {
	status, text, ok := h.status(w, workspaceID, err)
	if !ok {
		return err
	}
	http.Error(w, text, status)
	return nil
}

// status says how an error about the whole request is answered, and counts it.
func (h *Handler) status(w http.ResponseWriter, workspaceID string, err error) (status int, text string, ok bool) {
	var bad *badRequestError
	if errors.As(err, &bad) {
		h.metrics.refused.WithLabelValues(workspaceID, bad.reason).Inc()
		if bad.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(bad.retryAfter))
		}
		return bad.status, bad.Error(), true
	}
	var wait interface {
		error
		Unavailable() bool
	}
	if errors.As(err, &wait) && wait.Unavailable() {
		h.metrics.refused.WithLabelValues(workspaceID, "unavailable").Inc()
		h.logger.Warn("write refused", "workspace", workspaceID, "err", err)
		w.Header().Set("Retry-After", "5")
		return http.StatusServiceUnavailable, wait.Error(), true
	}
	return 0, "", false
}

func (h *Handler) put(q *request) {
	q.end()
	if q.small() {
		h.pool.Put(q)
	}
}

// Encodings of a message.
const encodingZstd = "zstd"

// negotiate says what is in a request: 1.0 unless it says 2.0, and in snappy
// unless it says zstd, which no version demands.
func negotiate(header http.Header) (message, string, error) {
	m := messageV1
	if ct := header.Get("Content-Type"); ct != "" {
		typ, params, err := mime.ParseMediaType(ct)
		if err != nil || typ != wire.ContentTypeV1 {
			return m, "", fmt.Errorf("Content-Type %q: expected application/x-protobuf", ct)
		}
		switch proto := params["proto"]; proto {
		case "", "prometheus.WriteRequest":
		case "io.prometheus.write.v2.Request":
			m = messageV2
		default:
			return m, "", fmt.Errorf("remote write message %q is not supported: send prometheus.WriteRequest (1.0) or io.prometheus.write.v2.Request (2.0)", proto)
		}
	}
	encoding := strings.ToLower(header.Get("Content-Encoding"))
	switch encoding {
	case "", wire.ContentEncoding, encodingZstd:
		return m, encoding, nil
	}
	return m, "", fmt.Errorf("Content-Encoding %q: expected snappy or zstd", encoding)
}

// decompress reads the message into the request's own buffer.
func (h *Handler) decompress(q *request, body []byte, encoding string, limit int) error {
	reason, err := "bad_snappy", error(nil)
	if limit < 0 {
		limit = maxDecompressed
	}
	if encoding == encodingZstd {
		reason = "bad_zstd"
		q.msg, err = h.unzstd(q.msg[:0], body, limit)
	} else {
		var msg []byte
		if msg, err = wire.Decompress(q.msg[:0], body, limit); err == nil {
			q.msg = msg
		}
	}
	if errors.Is(err, wire.ErrTooLarge) {
		return &badRequestError{http.StatusRequestEntityTooLarge, "too_large", 0, fmt.Errorf("%w (setting limits.max_decompressed_bytes)", err)}
	}
	if err != nil {
		return &badRequestError{http.StatusBadRequest, reason, 0, err}
	}
	return nil
}

// unzstd is wire.Decompress for zstd.
func (h *Handler) unzstd(dst, src []byte, limit int) ([]byte, error) {
	var header zstd.Header
	if err := header.Decode(src); err != nil {
		return dst, fmt.Errorf("decompress zstd: %w", err)
	}
	if header.HasFCS && header.FrameContentSize > uint64(limit) {
		return dst, fmt.Errorf("decompress zstd: %d bytes, allowed are %d: %w", header.FrameContentSize, limit, wire.ErrTooLarge)
	}
	out, err := h.zstd.DecodeAll(src, dst)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) || len(out) > limit:
		return dst, fmt.Errorf("decompress zstd: allowed are %d bytes: %w", limit, wire.ErrTooLarge)
	case err != nil:
		return dst, fmt.Errorf("decompress zstd: %w", err)
	}
	return out, nil
}

// readBody returns the body, which stays the request's or the caller's.
func (q *request) readBody(r *http.Request) ([]byte, error) {
	if b, ok := r.Body.(rawBody); ok {
		return b.Bytes(), nil
	}
	buf := bytes.NewBuffer(q.body[:0])
	_, err := buf.ReadFrom(r.Body)
	q.body = buf.Bytes()
	return q.body, err
}
