// Package sink is a remote-write endpoint that keeps all that arrives, decoded by
// Prometheus' own libraries, apart for each sender and path.
package sink

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// Point is a sample or a native histogram.
type Point struct {
	Time  int64 // milliseconds since the Unix epoch
	Value float64
	// Histogram is a native histogram as text, or empty.
	Histogram string
}

// Stale reports whether the point marks the end of its series.
func (p Point) Stale() bool { return value.IsStaleNaN(p.Value) }

// Same reports whether two points are equal, NaNs by their bits.
func (p Point) Same(o Point) bool {
	return p.Time == o.Time && math.Float64bits(p.Value) == math.Float64bits(o.Value) && p.Histogram == o.Histogram
}

// Exemplar is one that came with a series.
type Exemplar struct {
	Time   int64
	Value  float64
	Labels string
}

// Metadata is what is said about a metric family or, in 2.0, a series.
type Metadata struct{ Name, Type, Help, Unit string }

// Series is what arrived of one series, in the order of arrival.
type Series struct {
	Labels    labels.Labels
	Points    []Point
	Exemplars []Exemplar
	newest    int64
}

// Stream is what one sender has sent to one path.
type Stream struct {
	Series   map[string]*Series // by labels
	Metadata map[Metadata]bool
	// Requests counts those that were kept.
	Requests int
	// Repeated counts points that had come before, as they do when an answer got
	// lost; they are kept once.
	Repeated int
	// Faults are breaches of the protocol.
	Faults []string
}

// Points returns the number of distinct points.
func (s *Stream) Points() (n int) {
	for _, x := range s.Series {
		n += len(x.Points)
	}
	return n
}

// Get returns the series whose labels are exactly the given ones, or nil.
func (s *Stream) Get(ls labels.Labels) *Series { return s.Series[ls.String()] }

// Sink keeps streams. Take is its way in for those who want to answer requests
// themselves.
type Sink struct {
	mu      sync.Mutex
	streams map[string]*Stream
}

// Request is a decoded one.
type Request struct {
	V2       bool
	series   []Series
	metadata []Metadata
	faults   []string
}

// Counts returns how many samples, histograms and exemplars there are.
func (r *Request) Counts() (samples, histograms, exemplars int) {
	for _, s := range r.series {
		for _, p := range s.Points {
			if p.Histogram != "" {
				histograms++
			} else {
				samples++
			}
		}
		exemplars += len(s.Exemplars)
	}
	return samples, histograms, exemplars
}

// Half returns a request with every other series.
func (r *Request) Half() *Request {
	h := *r
	h.series = nil
	for i := range r.series {
		if i%2 == 0 {
			h.series = append(h.series, r.series[i])
		}
	}
	return &h
}

// Decode reads a request.
func Decode(r *http.Request) (*Request, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	raw, err := s2.Decode(nil, body)
	if err != nil {
		return nil, err
	}
	out := &Request{V2: strings.Contains(r.Header.Get("Content-Type"), "io.prometheus.write.v2.Request")}
	if e := r.Header.Get("Content-Encoding"); e != "snappy" {
		out.fault("Content-Encoding %q", e)
	}
	if out.V2 {
		return out, out.readV2(raw)
	}
	return out, out.readV1(raw)
}

func (r *Request) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

func (r *Request) add(ls labels.Labels, points []Point, exemplars []Exemplar) {
	s := Series{Labels: ls, Points: points, Exemplars: exemplars}
	last := ""
	ls.Range(func(l labels.Label) {
		if l.Name <= last {
			r.fault("labels are not sorted, or not unique: %s", ls)
		}
		if last = l.Name; l.Value == "" {
			r.fault("empty label: %s", ls)
		}
	})
	for i := 1; i < len(points); i++ {
		if points[i].Time < points[i-1].Time && (points[i].Histogram == "") == (points[i-1].Histogram == "") {
			r.fault("points of one request are out of order: %s at %d after %d", ls, points[i].Time, points[i-1].Time)
		}
	}
	r.series = append(r.series, s)
}

func (r *Request) readV1(raw []byte) error {
	var msg prompb.WriteRequest
	if err := msg.Unmarshal(raw); err != nil {
		return err
	}
	b := labels.NewScratchBuilder(16)
	for i := range msg.Timeseries {
		ts := &msg.Timeseries[i]
		b.Reset()
		for _, l := range ts.Labels {
			b.Add(l.Name, l.Value)
		}
		var points []Point
		for _, s := range ts.Samples {
			points = append(points, Point{Time: s.Timestamp, Value: s.Value})
		}
		for _, h := range ts.Histograms {
			p := Point{Time: h.Timestamp}
			if h.IsFloatHistogram() {
				fh := h.ToFloatHistogram()
				p.Value, p.Histogram = fh.Sum, fh.TestExpression()
			} else {
				ih := h.ToIntHistogram()
				p.Value, p.Histogram = ih.Sum, ih.ToFloat(nil).TestExpression()
			}
			points = append(points, p)
		}
		var exemplars []Exemplar
		for _, e := range ts.Exemplars {
			eb := labels.NewScratchBuilder(4)
			for _, l := range e.Labels {
				eb.Add(l.Name, l.Value)
			}
			exemplars = append(exemplars, Exemplar{Time: e.Timestamp, Value: e.Value, Labels: eb.Labels().String()})
		}
		r.add(b.Labels(), points, exemplars)
	}
	for _, m := range msg.Metadata {
		r.metadata = append(r.metadata, Metadata{Name: m.MetricFamilyName, Type: strings.ToLower(m.Type.String()), Help: m.Help, Unit: m.Unit})
	}
	return nil
}

func (r *Request) readV2(raw []byte) error {
	var msg writev2.Request
	if err := msg.Unmarshal(raw); err != nil {
		return err
	}
	if len(msg.Symbols) > 0 && msg.Symbols[0] != "" {
		return errors.New("the first symbol is not empty")
	}
	b := labels.NewScratchBuilder(16)
	for i := range msg.Timeseries {
		ts := &msg.Timeseries[i]
		ls, err := ts.ToLabels(&b, msg.Symbols)
		if err != nil {
			return err
		}
		var points []Point
		for _, s := range ts.Samples {
			points = append(points, Point{Time: s.Timestamp, Value: s.Value})
		}
		for _, h := range ts.Histograms {
			p := Point{Time: h.Timestamp}
			if h.IsFloatHistogram() {
				fh := h.ToFloatHistogram()
				p.Value, p.Histogram = fh.Sum, fh.TestExpression()
			} else {
				ih := h.ToIntHistogram()
				p.Value, p.Histogram = ih.Sum, ih.ToFloat(nil).TestExpression()
			}
			points = append(points, p)
		}
		if len(ts.Samples) > 0 && len(ts.Histograms) > 0 {
			r.fault("samples and histograms in one series: %s", ls)
		}
		var exemplars []Exemplar
		for _, e := range ts.Exemplars {
			x, err := e.ToExemplar(&b, msg.Symbols)
			if err != nil {
				return err
			}
			exemplars = append(exemplars, Exemplar{Time: x.Ts, Value: x.Value, Labels: x.Labels.String()})
		}
		r.add(ls, points, exemplars)
		m, err := ts.ToMetadata(msg.Symbols)
		if err != nil {
			return err
		}
		if m.Type != "" && m.Type != "unknown" || m.Help != "" || m.Unit != "" {
			r.metadata = append(r.metadata, Metadata{Name: ls.Get(model.MetricNameLabel), Type: string(m.Type), Help: m.Help, Unit: m.Unit})
		}
	}
	return nil
}

// Keep adds a request to the stream of its sender and path.
func (s *Sink) Keep(stream string, r *Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams == nil {
		s.streams = make(map[string]*Stream)
	}
	st := s.streams[stream]
	if st == nil {
		st = &Stream{Series: make(map[string]*Series), Metadata: make(map[Metadata]bool)}
		s.streams[stream] = st
	}
	st.keep(r)
}

func (s *Stream) keep(r *Request) {
	s.Requests++
	if room := 20 - len(s.Faults); room > 0 {
		s.Faults = append(s.Faults, r.faults[:min(room, len(r.faults))]...)
	}
	for _, m := range r.metadata {
		s.Metadata[m] = true
	}
	for i := range r.series {
		in := &r.series[i]
		key := in.Labels.String()
		have := s.Series[key]
		if have == nil {
			have = &Series{Labels: in.Labels}
			s.Series[key] = have
		}
		for _, p := range in.Points {
			if have.has(p) {
				s.Repeated++
				continue
			}
			have.Points = append(have.Points, p)
			have.newest = max(have.newest, p.Time)
		}
		for _, e := range in.Exemplars {
			if !slices.Contains(have.Exemplars, e) {
				have.Exemplars = append(have.Exemplars, e)
			}
		}
	}
}

// has reports whether a point has come before.
func (s *Series) has(p Point) bool {
	return p.Time <= s.newest && slices.ContainsFunc(s.Points, p.Same)
}

// With calls f with a stream, which may be nil, while nothing is added.
func (s *Sink) With(stream string, f func(*Stream)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.streams[stream])
}

// Streams lists the names of the streams.
func (s *Sink) Streams() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.streams))
}

// Accept answers that a request was written.
func Accept(w http.ResponseWriter, r *Request) {
	if r.V2 {
		samples, histograms, exemplars := r.Counts()
		h := w.Header()
		h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(samples))
		h.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(histograms))
		h.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(exemplars))
	}
	w.WriteHeader(http.StatusNoContent)
}

// Handler keeps all requests, in streams that name gives them.
func (s *Sink) Handler(name func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := Decode(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.Keep(name(r), req)
		Accept(w, req)
	})
}
