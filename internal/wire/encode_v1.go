package wire

import (
	"github.com/mangru/mangru/internal/model"
)

// Field tags of prometheus.WriteRequest and what is inside it. Those of labels
// are written by package model.
const (
	tagV1Series     = 1<<3 | 2
	tagV1Metadata   = 3<<3 | 2
	tagV1Exemplars  = 3<<3 | 2 // of TimeSeries
	tagV1Histograms = 4<<3 | 2
	tagV1Family     = 2<<3 | 2 // of MetricMetadata
	tagV1Help       = 4<<3 | 2
	tagV1Unit       = 5<<3 | 2
)

// EncoderV1 writes a WriteRequest of remote write 1.0, target by target and
// series by series:
//
//	Reset { Target { Family { One | Open { Sample | Histogram | Exemplar } Close } } } Finish
//
// Nothing is allocated once the buffers have
// grown to what a request needs. It is for one goroutine.
//
// See https://prometheus.io/docs/specs/prw/remote_write_spec/.
type EncoderV1 struct {
	external external
	encoded  [][]byte // the external labels
	labels   model.Labels
	tail     sampleTail

	buf       []byte
	metadata  []byte
	exemplars []byte // of the open series
	from      int    // where the open series begins
	bare      int    // its length without samples
}

// NewEncoderV1 returns an encoder that adds the external labels to every series
// that does not have them.
func NewEncoderV1(external []model.Label) *EncoderV1 {
	e := &EncoderV1{external: newExternal(external)}
	for _, l := range e.external.labels {
		e.encoded = append(e.encoded, model.AppendLabel(nil, l))
	}
	return e
}

// Reset begins a request.
func (e *EncoderV1) Reset() { e.buf, e.metadata = e.buf[:0], e.metadata[:0] }

// Target says whose the numbers of the following series are.
func (e *EncoderV1) Target(l model.Labels) {
	e.labels = l
	e.external.reset(l)
}

// roomV1 is how many bytes are left for a series' length: most have 128 or more.
const roomV1 = 2

// Open begins a series.
func (e *EncoderV1) Open(series int) {
	e.buf = append(e.buf, tagV1Series, 0, 0)
	e.from = len(e.buf)
	e.buf = e.appendLabels(e.buf, e.labels.Runs(series))
	e.bare = len(e.buf)
}

func (e *EncoderV1) appendLabels(dst, runs []byte) []byte {
	next := 0
	for len(runs) > 0 {
		var first, count int
		first, count, runs = model.NextRun(runs)
		if len(e.encoded) == 0 {
			dst = append(dst, e.labels.Encoded(first, count)...)
			continue
		}
		for count > 0 {
			before, n, after := e.external.place(first, count)
			for ; next < before; next++ {
				dst = append(dst, e.encoded[next]...)
			}
			dst = append(dst, e.labels.Encoded(first, n)...)
			next, first, count = max(next, after), first+n, count-n
		}
	}
	for ; next < len(e.encoded); next++ {
		dst = append(dst, e.encoded[next]...)
	}
	return dst
}

// Sample adds a sample to the open series. Samples and histograms must not be
// mixed in one series: receivers take all of the one before the other.
func (e *EncoderV1) Sample(t int64, v float64) { e.buf = e.tail.appendSample(e.buf, t, v) }

// Started adds a sample of something that began to count at start, for which 1.0
// has no place.
func (e *EncoderV1) Started(t, _ int64, v float64) { e.Sample(t, v) }

// Histogram adds a native histogram, an encoded Histogram message. 1.0 has no place
// for when it began to count.
func (e *EncoderV1) Histogram(msg []byte, _ int64) { e.buf = appendBytes(e.buf, tagV1Histograms, msg) }

// Exemplar adds an exemplar to the open series.
func (e *EncoderV1) Exemplar(t int64, v float64, labels []model.Label) {
	e.exemplars = append(e.exemplars, tagV1Exemplars, 0)
	from := len(e.exemplars)
	for _, l := range labels {
		e.exemplars = model.AppendLabel(e.exemplars, l)
	}
	e.exemplars = appendExemplarSample(e.exemplars, t, v)
	e.exemplars = closeMessage(e.exemplars, from, 1)
}

// Close ends the open series; one that got nothing is taken back. It reports
// whether the exemplars went with it, which they always do in 1.0.
func (e *EncoderV1) Close() (exemplars bool) {
	if len(e.exemplars) > 0 {
		e.buf = append(e.buf, e.exemplars...)
		e.exemplars = e.exemplars[:0]
	}
	if len(e.buf) == e.bare {
		e.buf = e.buf[:e.from-roomV1-1]
		return true
	}
	e.buf = closeMessage(e.buf, e.from, roomV1)
	return true
}

// One writes a series with one sample, which is what nearly all are.
func (e *EncoderV1) One(series int, t int64, v float64) {
	e.Open(series)
	e.buf = e.tail.appendSample(e.buf, t, v)
	e.buf = closeMessage(e.buf, e.from, roomV1)
}

// Family says what the family of the following series is. In 1.0 that is a
// message of its own, a MetricMetadata, and is sent if describe says so.
func (e *EncoderV1) Family(f model.Family, describe bool) {
	if !describe {
		return
	}
	e.metadata = append(e.metadata, tagV1Metadata, 0)
	from := len(e.metadata)
	e.metadata = appendVarint(e.metadata, tagMetadataType, uint64(f.Type))
	e.metadata = appendBytes(e.metadata, tagV1Family, f.Name)
	if f.Help != "" {
		e.metadata = appendBytes(e.metadata, tagV1Help, f.Help)
	}
	if f.Unit != "" {
		e.metadata = appendBytes(e.metadata, tagV1Unit, f.Unit)
	}
	e.metadata = closeMessage(e.metadata, from, 1)
}

// Finish returns the request, which is valid until the next Reset.
func (e *EncoderV1) Finish() []byte {
	e.buf = append(e.buf, e.metadata...)
	return e.buf
}
