//go:build e2e

package e2e

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
)

// push remote-writes one sample and reports whether it was acknowledged.
func push(t *testing.T, client *http.Client, address, name string, ms int64, value float64) bool {
	t.Helper()
	msg := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:  []prompb.Label{{Name: "__name__", Value: name}},
		Samples: []prompb.Sample{{Timestamp: ms, Value: value}},
	}}}
	text, err := msg.Marshal()
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), "POST", address, bytes.NewReader(s2.EncodeSnappy(nil, text)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode/100 == 2
}
