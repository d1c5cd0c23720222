// Package ingest measures what servers take to store and to answer: the same
// remote writes and the same queries for all of them, in one run.
package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/test/bench/server/blocks"
)

// perRequest is how many samples a request has: what Prometheus sends when it has
// much to send.
const perRequest = 2000

// writer turns scrapes into remote writes, version 1.0.
type writer struct {
	storage.Appender // the methods that no scrape of blocks uses

	series  [][]prompb.Label // by reference less one
	batch   prompb.WriteRequest
	samples int
	bodies  [][]byte
	err     error
}

// Append implements storage.Appender.
func (w *writer) Append(ref storage.SeriesRef, ls labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	if ref == 0 {
		all := make([]prompb.Label, 0, ls.Len())
		ls.Range(func(l labels.Label) { all = append(all, prompb.Label{Name: l.Name, Value: l.Value}) })
		w.series = append(w.series, all)
		ref = storage.SeriesRef(len(w.series))
	}
	w.batch.Timeseries = append(w.batch.Timeseries, prompb.TimeSeries{Labels: w.series[ref-1], Samples: []prompb.Sample{{Timestamp: t, Value: v}}})
	w.samples++
	if len(w.batch.Timeseries) >= perRequest {
		w.flush()
	}
	return ref, nil
}

func (w *writer) flush() {
	if len(w.batch.Timeseries) == 0 {
		return
	}
	text, err := w.batch.Marshal()
	if err != nil {
		w.err = err
	}
	w.bodies = append(w.bodies, snappy.Encode(nil, text))
	w.batch.Timeseries = w.batch.Timeseries[:0]
}

// scrape returns the requests with everything that is on the pages at a time.
func (w *writer) scrape(all []*blocks.Target, at time.Time) (bodies [][]byte, samples int, err error) {
	w.bodies, w.samples = nil, 0
	for _, t := range all {
		if _, err := t.Scrape(w, at); err != nil {
			return nil, 0, err
		}
	}
	w.flush()
	return w.bodies, w.samples, w.err
}

// post sends a request until it is taken.
func post(ctx context.Context, client *http.Client, url string, body []byte) error {
	for try := 0; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
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
		text, _ := io.ReadAll(io.LimitReader(res.Body, 512)) // the status says it
		_ = res.Body.Close()
		switch {
		case res.StatusCode < http.StatusMultipleChoices:
			return nil
		case res.StatusCode < http.StatusInternalServerError && res.StatusCode != http.StatusTooManyRequests, try == 20:
			return fmt.Errorf("%s: %s: %s", url, res.Status, bytes.TrimSpace(text))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
