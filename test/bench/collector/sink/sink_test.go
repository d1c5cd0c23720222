package sink

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"
)

const v2Type = "application/x-protobuf;proto=io.prometheus.write.v2.Request"

func post(t *testing.T, s *Sink, contentType, encoding string, body []byte) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/write", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Content-Encoding", encoding)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func timeSeries(name string, points ...prompb.Sample) prompb.TimeSeries {
	return prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: name}, {Name: "instance", Value: "a"}}, Samples: points}
}

func message(t *testing.T, list ...prompb.TimeSeries) []byte {
	t.Helper()
	msg, err := (&prompb.WriteRequest{Timeseries: list}).Marshal()
	require.NoError(t, err)
	return msg
}

func TestCountsV1(t *testing.T) {
	s, err := New(false)
	require.NoError(t, err)
	stale := math.Float64frombits(value.StaleNaN)
	bodies := [][]byte{
		message(t, timeSeries("a", prompb.Sample{Value: 1, Timestamp: 1000}, prompb.Sample{Value: 2, Timestamp: 2000}), timeSeries("up", prompb.Sample{Value: 1, Timestamp: 1000})),
		message(t, timeSeries("a", prompb.Sample{Value: 2, Timestamp: 2000}), timeSeries("b", prompb.Sample{Value: 2, Timestamp: 2000})),
		message(t, timeSeries("a", prompb.Sample{Value: 3, Timestamp: 1500}), timeSeries("b", prompb.Sample{Value: stale, Timestamp: 3000})),
	}
	for i, body := range bodies {
		if i == 1 { // VictoriaMetrics' own way
			z, err := zstd.NewWriter(nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusNoContent, post(t, s, "application/x-protobuf", "zstd", z.EncodeAll(body, nil)).StatusCode)
			continue
		}
		require.Equal(t, http.StatusNoContent, post(t, s, "application/x-protobuf", "snappy", s2.EncodeSnappy(nil, body)).StatusCode)
	}
	got := s.Stats()
	require.NotZero(t, got.FirstSample)
	require.Positive(t, got.Bytes)
	got.FirstSample, got.Bytes, got.RawBytes = 0, 0, 0
	require.Equal(t, Stats{Samples: 7, Page: 4, Synthetic: 1, Stale: 1, Duplicates: 1, OutOfOrder: 1, Series: 3, Targets: 1, Requests: 3}, got)
}

func TestCountsV2(t *testing.T) {
	request := &writev2.Request{
		Symbols: []string{"", "__name__", "up", "instance", "x", "a"},
		Timeseries: []writev2.TimeSeries{
			{LabelsRefs: []uint32{1, 2, 3, 4}, Samples: []writev2.Sample{{Value: 1, Timestamp: 1}}},
			{LabelsRefs: []uint32{1, 5, 3, 4}, Samples: []writev2.Sample{{Value: 1, Timestamp: 1}, {Value: 1, Timestamp: 2}}},
			{LabelsRefs: []uint32{1, 5, 3, 2}, Histograms: []writev2.Histogram{{Timestamp: 7}}, Exemplars: []writev2.Exemplar{{Value: 1}}},
		},
	}
	msg, err := request.Marshal()
	require.NoError(t, err)
	s, err := New(false)
	require.NoError(t, err)
	for range 2 {
		answer := post(t, s, v2Type, "snappy", s2.EncodeSnappy(nil, msg))
		require.Equal(t, http.StatusNoContent, answer.StatusCode)
		require.Equal(t, "3", answer.Header.Get("X-Prometheus-Remote-Write-Samples-Written"))
		require.Equal(t, "1", answer.Header.Get("X-Prometheus-Remote-Write-Histograms-Written"))
		require.Equal(t, "1", answer.Header.Get("X-Prometheus-Remote-Write-Exemplars-Written"))
	}
	got := s.Stats()
	got.FirstSample, got.Bytes, got.RawBytes = 0, 0, 0
	// The second time, the series with two samples goes back and then repeats.
	require.Equal(t, Stats{
		Samples: 8, Histograms: 2, Exemplars: 2, Metadata: 6, Page: 4, Synthetic: 2, Duplicates: 3, OutOfOrder: 1,
		Series: 3, Targets: 1, Requests: 2, V2: 2,
	}, got)

	only1, err := New(true)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnsupportedMediaType, post(t, only1, v2Type, "snappy", s2.EncodeSnappy(nil, msg)).StatusCode)
}

func TestOutage(t *testing.T) {
	s, err := New(false)
	require.NoError(t, err)
	control := func(path string) int {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, http.NoBody))
		return w.Code
	}
	body := s2.EncodeSnappy(nil, message(t, timeSeries("a", prompb.Sample{Value: 1, Timestamp: 1})))
	require.Equal(t, http.StatusBadRequest, control("/fail?status=200"))
	require.Equal(t, http.StatusOK, control("/fail?status=503"))
	require.Equal(t, http.StatusServiceUnavailable, post(t, s, "application/x-protobuf", "snappy", body).StatusCode)
	require.Equal(t, http.StatusOK, control("/recover"))
	require.Equal(t, http.StatusNoContent, post(t, s, "application/x-protobuf", "snappy", body).StatusCode)

	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/stats", http.NoBody))
	var got Stats
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	require.Equal(t, int64(1), got.Refused)
	require.Equal(t, int64(1), got.Samples)
}

func TestRefusesNonsense(t *testing.T) {
	s, err := New(false)
	require.NoError(t, err)
	for encoding, body := range map[string][]byte{
		"snappy": s2.EncodeSnappy(nil, []byte{0x0a, 0x7f, 1}),
		"zstd":   []byte("no zstd"),
		"gzip":   nil,
	} {
		require.Equal(t, http.StatusBadRequest, post(t, s, "application/x-protobuf", encoding, body).StatusCode, encoding)
	}
	require.Equal(t, int64(3), s.Stats().Bad)
	require.NotEmpty(t, s.Stats().LastError)
}

func FuzzDecode(f *testing.F) {
	msg, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{timeSeries("a", prompb.Sample{Value: 1, Timestamp: 1})}}).Marshal()
	require.NoError(f, err)
	f.Add(msg)
	s, err := New(false)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, msg []byte) {
		var want prompb.WriteRequest
		if want.Unmarshal(msg) != nil {
			return
		}
		samples := 0
		for _, ts := range want.Timeseries {
			samples += len(ts.Samples)
		}
		d := decoder{seed: s.seed}
		got, err := d.v1(msg, func(*batch) {})
		if err == nil {
			require.Equal(t, samples, got.samples)
		}
		_, _ = d.v2(msg, func(*batch) {}) // must not panic
	})
}
