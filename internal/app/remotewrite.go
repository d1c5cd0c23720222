package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
)

// writeSample writes one sample by remote write 1.0.
func writeSample(ctx context.Context, client *http.Client, url string, labels map[string]string, value float64, at time.Time) error {
	series := prompb.TimeSeries{Samples: []prompb.Sample{{Value: value, Timestamp: at.UnixMilli()}}}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		series.Labels = append(series.Labels, prompb.Label{Name: name, Value: labels[name]})
	}
	body, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{series}}).Marshal()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(s2.EncodeSnappy(nil, body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 == 2 {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1024)) // the status says it
	return fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(text))
}
