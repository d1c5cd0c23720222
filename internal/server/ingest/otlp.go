package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mangru/mangru/internal/wire"
)

// OTLP says what becomes of OpenTelemetry's metrics: section otlp of a
// Prometheus configuration. The zero value is Prometheus' default.
type OTLP struct {
	config.OTLPConfig
}

func (o *OTLP) settings() prometheusremotewrite.Settings {
	c := o.OTLPConfig
	if c.TranslationStrategy == "" {
		c.TranslationStrategy = config.DefaultOTLPConfig.TranslationStrategy
	}
	return prometheusremotewrite.Settings{
		AddMetricSuffixes:                    c.TranslationStrategy.ShouldAddSuffixes(),
		AllowUTF8:                            !c.TranslationStrategy.ShouldEscape(),
		PromoteResourceAttributes:            prometheusremotewrite.NewPromoteResourceAttributes(c),
		KeepIdentifyingResourceAttributes:    c.KeepIdentifyingResourceAttributes,
		ConvertHistogramsToNHCB:              c.ConvertHistogramsToNHCB,
		PromoteScopeMetadata:                 c.PromoteScopeMetadata,
		LabelNameUnderscoreSanitization:      c.LabelNameUnderscoreSanitization,
		LabelNamePreserveMultipleUnderscores: c.LabelNamePreserveMultipleUnderscores,
	}
}

// otlpPool holds converters, which keep buffers.
type otlpPool struct{ pool sync.Pool }

func (p *otlpPool) get(app storage.AppenderV2) *prometheusremotewrite.PrometheusConverter {
	c, ok := p.pool.Get().(*prometheusremotewrite.PrometheusConverter)
	if !ok {
		return prometheusremotewrite.NewPrometheusConverter(app)
	}
	c.Reset(app)
	return c
}

func (p *otlpPool) put(c *prometheusremotewrite.PrometheusConverter) {
	c.Reset(nil)
	p.pool.Put(c)
}

// Media types of OTLP.
const (
	mediaProtobuf = "application/x-protobuf"
	mediaJSON     = "application/json"
)

// ServeOTLP answers an export of OpenTelemetry's metrics over HTTP, as protobuf
// or JSON. The caller has bounded the body's size. What cannot be taken is said in
// the answer's partial success. The error, if any, is one for the caller to
// answer: the workspace could not be opened.
//
// See https://opentelemetry.io/docs/specs/otlp/#otlphttp.
func (h *Handler) ServeOTLP(w http.ResponseWriter, r *http.Request, workspaceID string) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != mediaProtobuf && media != mediaJSON {
		h.metrics.refused.WithLabelValues(workspaceID, "media_type").Inc()
		http.Error(w, fmt.Sprintf("Content-Type %q: expected %s or %s", r.Header.Get("Content-Type"), mediaProtobuf, mediaJSON), http.StatusUnsupportedMediaType)
		return nil
	}
	q := h.pool.Get().(*request)
	defer h.put(q)
	l := h.limits(workspaceID)
	res := pmetricotlp.NewExportResponse()
	err = h.readOTLP(q, r, &l)
	if err == nil {
		err = h.storeOTLP(r.Context(), q, workspaceID, &l, media, res)
	}
	if err != nil {
		return h.answerOTLP(w, workspaceID, media, err)
	}
	return writeOTLP(w, media, res)
}

// readOTLP reads and decompresses the body into the request's buffer.
func (h *Handler) readOTLP(q *request, r *http.Request, l *Limits) error {
	body, err := q.readBody(r)
	if err != nil {
		return &badRequestError{http.StatusBadRequest, "body", 0, errors.New("the request body could not be read")}
	}
	limit := l.MaxDecompressedBytes
	if limit < 0 {
		limit = maxDecompressed
	}
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		q.msg = append(q.msg[:0], body...)
	case "gzip":
		if q.msg, err = gunzip(q.msg[:0], body, limit); err != nil {
			return &badRequestError{http.StatusBadRequest, "bad_gzip", 0, fmt.Errorf("decompress gzip: %w", err)}
		}
	case encodingZstd, wire.ContentEncoding:
		return h.decompress(q, body, encoding, limit)
	default:
		return &badRequestError{http.StatusUnsupportedMediaType, "media_type", 0, fmt.Errorf("Content-Encoding %q: expected gzip, zstd or snappy", encoding)}
	}
	if len(q.msg) > limit {
		return &badRequestError{http.StatusRequestEntityTooLarge, "too_large", 0, fmt.Errorf("more than %d bytes (setting limits.max_decompressed_bytes)", limit)}
	}
	return nil
}

// gunzip decompresses at most one byte more than limit.
func gunzip(dst, src []byte, limit int) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(src))
	if err != nil {
		return dst, err
	}
	out := bytes.NewBuffer(dst)
	_, err = out.ReadFrom(io.LimitReader(z, int64(limit)+1))
	return out.Bytes(), err
}

// storeOTLP stores what is in the request's buffer, and says in res what it could
// not.
func (h *Handler) storeOTLP(ctx context.Context, q *request, workspaceID string, l *Limits, media string, res pmetricotlp.ExportResponse) error {
	req := pmetricotlp.NewExportRequest()
	unmarshal := req.UnmarshalProto
	if media == mediaJSON {
		unmarshal = req.UnmarshalJSON
	}
	if err := unmarshal(q.msg); err != nil {
		return &badRequestError{http.StatusBadRequest, "bad_otlp", 0, fmt.Errorf("decode OTLP metrics: %w", err)}
	}
	md := req.Metrics()
	points := md.DataPointCount()
	if over(points, l.MaxSamplesPerRequest) {
		return &badRequestError{http.StatusRequestEntityTooLarge, "too_large", 0,
			fmt.Errorf("%d data points, allowed are %d (setting limits.max_samples_per_request)", points, l.MaxSamplesPerRequest)}
	}
	t, err := h.cfg.Open(ctx, workspaceID)
	if err != nil {
		return err
	}
	defer t.Release()
	q.begin(h, t, workspaceID, l, messageOTLP)
	if q.exhausted() {
		rate, size := q.rate()
		return q.rateLimited(points, 0, h.buckets.get(workspaceID).wait(q.now, points, rate, size))
	}
	if err := q.store(ctx, func() error { return q.takeOTLP(ctx, md) }); err != nil {
		return err
	}
	rejected := 0
	for _, n := range q.discarded {
		rejected += n
	}
	if rejected > 0 || q.first != "" {
		res.PartialSuccess().SetRejectedDataPoints(int64(rejected))
		res.PartialSuccess().SetErrorMessage(q.first)
	}
	return nil
}

// takeOTLP translates metrics and takes the series that come out.
func (q *request) takeOTLP(ctx context.Context, md pmetric.Metrics) error {
	q.dropDeltas(md)
	app := &otlpAppender{q: q}
	c := q.h.otlp.get(app)
	defer q.h.otlp.put(c)
	_, err := c.FromMetrics(ctx, md, q.h.cfg.OTLP.settings())
	if ctx.Err() != nil {
		return fmt.Errorf("translate OTLP metrics: %w", ctx.Err())
	}
	if err != nil {
		// Each one is a metric that has no name here, or parts of a resource.
		n := 1
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			n = len(many.Unwrap())
		}
		q.discard(reasonTranslation, n, err.Error())
	}
	return nil
}

// dropDeltas removes the metrics that say what was added since the last time:
// they would need a state that nobody keeps here.
func (q *request) dropDeltas(md pmetric.Metrics) {
	drop := func(m pmetric.Metric) bool {
		t, n := pmetric.AggregationTemporalityCumulative, 0
		switch m.Type() {
		case pmetric.MetricTypeSum:
			t, n = m.Sum().AggregationTemporality(), m.Sum().DataPoints().Len()
		case pmetric.MetricTypeHistogram:
			t, n = m.Histogram().AggregationTemporality(), m.Histogram().DataPoints().Len()
		case pmetric.MetricTypeExponentialHistogram:
			t, n = m.ExponentialHistogram().AggregationTemporality(), m.ExponentialHistogram().DataPoints().Len()
		case pmetric.MetricTypeEmpty, pmetric.MetricTypeGauge, pmetric.MetricTypeSummary:
		}
		if t == pmetric.AggregationTemporalityCumulative {
			return false
		}
		q.discard(reasonTranslation, n, fmt.Sprintf("metric %q has temporality %s: send cumulative metrics", m.Name(), t))
		return true
	}
	for _, r := range md.ResourceMetrics().All() {
		for _, s := range r.ScopeMetrics().All() {
			s.Metrics().RemoveIf(drop)
		}
	}
}

// otlpAppender takes series from the translator and gives them to the request,
// which counts what is not taken; the translator is never stopped by that.
type otlpAppender struct {
	q   *request
	buf []byte
}

// Append implements storage.AppenderV2.
func (a *otlpAppender) Append(_ storage.SeriesRef, l labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	q := a.q
	q.breathe(len(q.sets))
	q.sets = append(q.sets, l.Copy())
	sent := q.sets[len(q.sets)-1]
	a.buf = sent.Bytes(a.buf[:0])
	q.s = series{sent: sent, key: q.cache.bytesKey(a.buf), ordinal: uint32(len(q.sets) - 1)}
	if !q.enter(1, len(opts.Exemplars)) {
		return 0, nil
	}
	if h != nil || fh != nil {
		q.appendDecoded(t, st, 0, storedHistogram{h, fh})
	} else {
		q.appendFloat(t, v, st)
	}
	for _, e := range opts.Exemplars {
		q.keepExemplar(e)
	}
	a.describe(&opts)
	return q.s.ref, nil
}

// describe keeps what is said about the family, once for series in a row.
func (a *otlpAppender) describe(opts *storage.AOptions) {
	q, md := a.q, &opts.Metadata
	if md.IsEmpty() || opts.MetricFamilyName == "" {
		return
	}
	if key := q.cache.symbolKey([]byte(opts.MetricFamilyName)).a; key != q.lastFamily {
		q.lastFamily = key
		if len(opts.MetricFamilyName)+len(md.Help)+len(md.Unit) > maxDescription ||
			!q.target.SetMetadata(opts.MetricFamilyName, string(md.Type), md.Help, md.Unit) {
			addIf(q.h.metrics.metadata, 1, q.workspace)
		}
	}
}

// Commit implements storage.AppenderV2. The request commits.
func (*otlpAppender) Commit() error { return nil }

// Rollback implements storage.AppenderV2.
func (*otlpAppender) Rollback() error { return nil }

func writeOTLP(w http.ResponseWriter, media string, res pmetricotlp.ExportResponse) error {
	marshal := res.MarshalProto
	if media == mediaJSON {
		marshal = res.MarshalJSON
	}
	body, err := marshal()
	if err != nil {
		return fmt.Errorf("encode OTLP answer: %w", err)
	}
	w.Header().Set("Content-Type", media)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
	return nil
}

// answerOTLP answers an error with a google.rpc.Status, as OTLP demands.
func (h *Handler) answerOTLP(w http.ResponseWriter, workspaceID, media string, err error) error {
	status, text, ok := h.status(w, workspaceID, err)
	if !ok {
		return err
	}
	code := map[int]int{http.StatusTooManyRequests: 8, http.StatusServiceUnavailable: 14}[status] // RESOURCE_EXHAUSTED, UNAVAILABLE
	if code == 0 {
		code = 3 // INVALID_ARGUMENT
	}
	var body []byte
	if media == mediaJSON {
		body, err = json.Marshal(map[string]any{"code": code, "message": text})
		if err != nil {
			return fmt.Errorf("encode OTLP answer: %w", err)
		}
	} else {
		body = protowire.AppendTag(body, 1, protowire.VarintType)
		body = protowire.AppendVarint(body, uint64(code))
		body = protowire.AppendTag(body, 2, protowire.BytesType)
		body = protowire.AppendString(body, text)
	}
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}
