package ingest

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/mangru/mangru/internal/server/store"
)

func (f *fixture) postOTLP(t testing.TB, body []byte, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("Content-Type", mediaProtobuf)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	require.NoError(t, f.ServeOTLP(w, r, ws))
	return w
}

// otlpMetrics has one metric of each kind, with data points at a time.
func otlpMetrics(now time.Time, n int) pmetric.Metrics {
	at, start := pcommon.NewTimestampFromTime(now), pcommon.NewTimestampFromTime(now.Add(-time.Minute))
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "shop")
	rm.Resource().Attributes().PutStr("host.name", "h1")
	ms := rm.ScopeMetrics().AppendEmpty().Metrics()
	g := ms.AppendEmpty()
	g.SetName("queue.size")
	p := g.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(at)
	p.SetIntValue(int64(n))
	p.Attributes().PutStr("queue.name", "mail")
	c := ms.AppendEmpty()
	c.SetName("http.requests")
	c.SetDescription("what came in")
	c.SetUnit("By")
	c.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	c.Sum().SetIsMonotonic(true)
	cp := c.Sum().DataPoints().AppendEmpty()
	cp.SetTimestamp(at)
	cp.SetStartTimestamp(start)
	cp.SetDoubleValue(float64(10 + n))
	x := cp.Exemplars().AppendEmpty()
	x.SetDoubleValue(1)
	x.SetTimestamp(at)
	h := ms.AppendEmpty()
	h.SetName("latency")
	h.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	hp := h.Histogram().DataPoints().AppendEmpty()
	hp.SetTimestamp(at)
	hp.ExplicitBounds().FromRaw([]float64{1, 2})
	hp.BucketCounts().FromRaw([]uint64{1, 2, 3})
	hp.SetCount(6)
	hp.SetSum(9)
	e := ms.AppendEmpty()
	e.SetName("native")
	e.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	ep := e.ExponentialHistogram().DataPoints().AppendEmpty()
	ep.SetTimestamp(at)
	ep.SetScale(2)
	ep.SetCount(3)
	ep.Positive().BucketCounts().FromRaw([]uint64{1, 2})
	return md
}

func marshalOTLP(t testing.TB, md pmetric.Metrics) []byte {
	t.Helper()
	b, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	require.NoError(t, err)
	return b
}

func TestOTLPAsPrometheus(t *testing.T) {
	f := open(t, Limits{})
	other := open(t, Limits{}).db(t)
	theirs := remote.NewOTLPWriteHandler(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), other.DB.DB,
		func() config.Config { return config.DefaultConfig }, remote.OTLPOptions{})
	f.now = time.Now()
	start := f.now.Add(-5 * time.Minute)
	for i := range 4 {
		body := marshalOTLP(t, otlpMetrics(start.Add(time.Duration(i)*30*time.Second), i))
		w := f.postOTLP(t, body)
		require.Equal(t, 200, w.Code, w.Body)
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", mediaProtobuf)
		rec := httptest.NewRecorder()
		theirs.ServeHTTP(rec, r)
		require.Equal(t, 200, rec.Code, rec.Body)
	}
	want, got := dump(t, other), dump(t, f.db(t))
	counter := `{__name__="http_requests_bytes_total", job="shop"}`
	require.Len(t, got[counter], 5, "four and where it began")
	got[counter] = got[counter][1:] // Prometheus does that only when told to
	requireSame(t, want, got)
	require.Equal(t, 4, f.exemplars(t))
	require.Equal(t, [3]string{"counter", "what came in", "bytes"}, f.metadata(t)["http_requests_bytes_total"])
}

func TestOTLPForms(t *testing.T) {
	f := open(t, Limits{})
	md := otlpMetrics(f.now, 1)
	text, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalJSON()
	require.NoError(t, err)
	w := f.postOTLP(t, text, "Content-Type", "application/json; charset=utf-8")
	require.Equal(t, 200, w.Code, w.Body)
	require.JSONEq(t, `{"partialSuccess":{}}`, w.Body.String())
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	series := len(dump(t, f.db(t)))
	require.Equal(t, 9, series)

	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err = z.Write(marshalOTLP(t, otlpMetrics(f.now.Add(time.Second), 2)))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	w = f.postOTLP(t, zipped.Bytes(), "Content-Encoding", "gzip")
	require.Equal(t, 200, w.Code, w.Body)
	require.Len(t, dump(t, f.db(t)), series)

	require.Equal(t, 415, f.postOTLP(t, text, "Content-Type", "text/plain").Code)
	require.Equal(t, 415, f.postOTLP(t, text, "Content-Encoding", "br").Code)
	require.Equal(t, 400, f.postOTLP(t, text, "Content-Encoding", "gzip").Code)
	w = f.postOTLP(t, []byte("{"), "Content-Type", "application/json")
	require.Equal(t, 400, w.Code)
	var status struct {
		Code    int
		Message string
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &status))
	require.Equal(t, 3, status.Code)
	require.Contains(t, status.Message, "decode OTLP")
	small := open(t, Limits{MaxDecompressedBytes: 10, MaxSamplesPerRequest: 2})
	require.Equal(t, 413, small.postOTLP(t, zipped.Bytes(), "Content-Encoding", "gzip").Code)
	small.cfg.Limits.MaxDecompressedBytes = 1 << 20
	require.Equal(t, 413, small.postOTLP(t, zipped.Bytes(), "Content-Encoding", "gzip").Code)
	small.commit = waiting{io.ErrShortWrite}
	small.cfg.Limits.MaxSamplesPerRequest = -1
	w = small.postOTLP(t, marshalOTLP(t, md))
	require.Equal(t, 503, w.Code)
	require.Equal(t, "5", w.Header().Get("Retry-After"))
}

func TestOTLPPartialSuccess(t *testing.T) {
	f := open(t, Limits{MaxSampleFuture: time.Minute}, func(c *Config, _ *store.Config) {
		c.OTLP.OTLPConfig = config.DefaultOTLPConfig
		c.OTLP.PromoteResourceAttributes = []string{"host.name"}
	})
	md := otlpMetrics(f.now, 1)
	ms := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	ms.At(0).Gauge().DataPoints().At(0).SetTimestamp(pcommon.NewTimestampFromTime(f.now.Add(time.Hour)))
	d := ms.AppendEmpty()
	d.SetName("delta")
	d.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	d.Sum().DataPoints().AppendEmpty()
	d.Sum().DataPoints().AppendEmpty()
	w := f.postOTLP(t, marshalOTLP(t, md))
	require.Equal(t, 200, w.Code, w.Body)
	res := pmetricotlp.NewExportResponse()
	require.NoError(t, res.UnmarshalProto(w.Body.Bytes()))
	require.Equal(t, 2.0, f.discarded(reasonTranslation))
	// The future gauge, and target_info of its time.
	require.Equal(t, 2+f.discarded(reasonFuture), float64(res.PartialSuccess().RejectedDataPoints()))
	require.NotZero(t, f.discarded(reasonFuture))
	require.Contains(t, res.PartialSuccess().ErrorMessage(), `metric "delta"`)
	require.Contains(t, dump(t, f.db(t)), `{__name__="http_requests_bytes_total", host_name="h1", job="shop"}`)
	require.Positive(t, testutil.ToFloat64(f.metrics.stored.WithLabelValues(ws)))
	// The same again is known.
	before := testutil.ToFloat64(f.metrics.stored.WithLabelValues(ws))
	f.postOTLP(t, marshalOTLP(t, md))
	require.Equal(t, 2*before, testutil.ToFloat64(f.metrics.stored.WithLabelValues(ws)))
}
