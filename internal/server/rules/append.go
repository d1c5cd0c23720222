package rules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/internal/wire"
)

// WriteFunc answers a remote-write request to a workspace. It is the one that
// serves senders, so that what rules write is bounded and counted like the rest.
type WriteFunc func(w http.ResponseWriter, r *http.Request, workspaceID string) error

// appender collects the results of a rule and writes them at Commit.
type appender struct {
	ctx       context.Context // of one evaluation
	write     WriteFunc
	workspace string
	logger    *slog.Logger
	results   prompb.WriteRequest
	stale     prompb.WriteRequest
}

var errUnsupported = errors.New("rules write samples and histograms only")

// Append implements storage.Appender.
func (a *appender) Append(_ storage.SeriesRef, l labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	to := &a.results
	if value.IsStaleNaN(v) {
		to = &a.stale
	}
	to.Timeseries = append(to.Timeseries, prompb.TimeSeries{Labels: prompb.FromLabels(l, nil), Samples: []prompb.Sample{{Timestamp: t, Value: v}}})
	return 0, nil
}

// AppendHistogram implements storage.Appender.
func (a *appender) AppendHistogram(_ storage.SeriesRef, l labels.Labels, t int64, h *histogram.Histogram, fh *histogram.FloatHistogram) (storage.SeriesRef, error) {
	series := prompb.TimeSeries{Labels: prompb.FromLabels(l, nil)}
	if h != nil {
		series.Histograms = []prompb.Histogram{prompb.FromIntHistogram(t, h)}
	} else {
		series.Histograms = []prompb.Histogram{prompb.FromFloatHistogram(t, fh)}
	}
	a.results.Timeseries = append(a.results.Timeseries, series)
	return 0, nil
}

// SetOptions implements storage.Appender. That samples out of order are not
// wanted is the writer's to judge.
func (*appender) SetOptions(*storage.AppendOptions) {}

// Rollback implements storage.Appender.
func (a *appender) Rollback() error {
	a.results, a.stale = prompb.WriteRequest{}, prompb.WriteRequest{}
	return nil
}

// Commit implements storage.Appender. Its error is the first one that the writer
// gave; the writer has counted what was left out. The marks of series that have
// ended go by themselves: one of them does not fit when another rule goes on with
// the series, and that is no fault of this rule.
func (a *appender) Commit() error {
	err := a.send(&a.results)
	if staleErr := a.send(&a.stale); staleErr != nil {
		var refused *refusedError
		if !errors.As(staleErr, &refused) || refused.status != http.StatusBadRequest {
			err = errors.Join(err, staleErr)
		} else {
			a.logger.Debug("end of series not written", "err", staleErr)
		}
	}
	return errors.Join(err, a.Rollback())
}

// refusedError is what the writer answered.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string { return e.text }

func (a *appender) send(req *prompb.WriteRequest) error {
	if len(req.Timeseries) == 0 {
		return nil
	}
	msg, err := req.Marshal()
	if err != nil {
		return fmt.Errorf("encode samples: %w", err)
	}
	r, err := http.NewRequestWithContext(a.ctx, http.MethodPost, "/", nil)
	if err != nil {
		return fmt.Errorf("write samples: %w", err)
	}
	b := wire.AppendSnappy(nil, msg)
	r.Body, r.ContentLength = &rawBody{Reader: bytes.NewReader(b), b: b}, int64(len(b))
	r.Header.Set("Content-Type", wire.ContentTypeV1)
	r.Header.Set("Content-Encoding", wire.ContentEncoding)
	r.Header.Set(wire.VersionHeader, wire.VersionHeaderValue)
	w := &response{header: make(http.Header), status: http.StatusOK}
	if err := a.write(w, r, a.workspace); err != nil {
		return fmt.Errorf("write samples: %w", err)
	}
	if w.status >= http.StatusMultipleChoices {
		return &refusedError{w.status, strings.TrimSpace(w.body.String())}
	}
	return nil
}

// rawBody is a request's body that the writer need not copy.
type rawBody struct {
	*bytes.Reader
	b []byte
}

// Bytes returns the body.
func (r *rawBody) Bytes() []byte { return r.b }

// Close implements io.Closer.
func (*rawBody) Close() error { return nil }

// response takes the writer's answer.
type response struct {
	header  http.Header
	status  int
	written bool
	body    bytes.Buffer
}

// maxAnswer is how much of an answer is kept.
const maxAnswer = 4 << 10

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if !w.written {
		w.status, w.written = status, true
	}
}

// Write implements http.ResponseWriter.
func (w *response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.body.Write(b[:min(len(b), max(0, maxAnswer-w.body.Len()))])
	return len(b), nil
}

// The rest of storage.Appender, which rules do not use.

// AppendExemplar implements storage.Appender.
func (*appender) AppendExemplar(storage.SeriesRef, labels.Labels, exemplar.Exemplar) (storage.SeriesRef, error) {
	return 0, errUnsupported
}

// UpdateMetadata implements storage.Appender.
func (*appender) UpdateMetadata(storage.SeriesRef, labels.Labels, metadata.Metadata) (storage.SeriesRef, error) {
	return 0, errUnsupported
}

// AppendSTZeroSample implements storage.Appender.
func (*appender) AppendSTZeroSample(storage.SeriesRef, labels.Labels, int64, int64) (storage.SeriesRef, error) {
	return 0, errUnsupported
}

// AppendHistogramSTZeroSample implements storage.Appender.
func (*appender) AppendHistogramSTZeroSample(storage.SeriesRef, labels.Labels, int64, int64, *histogram.Histogram, *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return 0, errUnsupported
}

var _ storage.Appender = (*appender)(nil)
