package query

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
)

// Prometheus' own client reads samples, and chunks as a stream.
func TestRemoteRead(t *testing.T) {
	f := open(t, Config{}, map[string]string{"ws-1": script})
	var types []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = f.ServeWorkspace(w, r, "ws-1", "/read")
		types = append(types, w.Header().Get("Content-Type"))
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	client, err := remote.NewReadClient("test", &remote.ClientConfig{URL: &config.URL{URL: u}, Timeout: model.Duration(time.Minute), ChunkedReadLimit: 1 << 20})
	require.NoError(t, err)
	query, err := remote.ToQuery(60_000, 180_000, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "up")}, nil)
	require.NoError(t, err)
	{
		set, err := client.Read(context.Background(), query, true)
		require.NoError(t, err)
		got := map[string][]float64{}
		for set.Next() {
			s := set.At()
			for it := s.Iterator(nil); it.Next() == chunkenc.ValFloat; {
				_, v := it.At()
				got[s.Labels().Get("job")] = append(got[s.Labels().Get("job")], v)
			}
		}
		require.NoError(t, set.Err())
		require.Equal(t, map[string][]float64{"a": {1, 2, 3}, "b/c": {2, 4, 6}}, got)
	}
	body, err := (&prompb.ReadRequest{Queries: []*prompb.Query{query}}).Marshal()
	require.NoError(t, err)
	res, err := http.Post(server.URL, "application/x-protobuf", bytes.NewReader(snappy.Encode(nil, body)))
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	body, err = snappy.Decode(nil, body)
	require.NoError(t, err)
	var answer prompb.ReadResponse
	require.NoError(t, answer.Unmarshal(body))
	require.Len(t, answer.Results[0].Timeseries, 2)
	samples := map[string][]prompb.Sample{} // an answer of samples has no order of series
	for _, series := range answer.Results[0].Timeseries {
		for _, l := range series.Labels {
			if l.Name == "job" {
				samples[l.Value] = series.Samples
			}
		}
	}
	require.Equal(t, []prompb.Sample{{Value: 1, Timestamp: 60_000}, {Value: 2, Timestamp: 120_000}, {Value: 3, Timestamp: 180_000}}, samples["a"])
	require.Equal(t, []prompb.Sample{{Value: 2, Timestamp: 60_000}, {Value: 4, Timestamp: 120_000}, {Value: 6, Timestamp: 180_000}}, samples["b/c"])
	require.Contains(t, types, "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse")
	for _, e := range f.logged() {
		require.Equal(t, "read", e.Kind)
		require.Equal(t, 200, e.Status)
	}
	http.DefaultClient.CloseIdleConnections()
}
