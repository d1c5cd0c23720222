package wire

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/klauspost/compress/s2"

	"github.com/mangru/mangru/internal/model"
)

// Headers of a remote write 1.0 request.
const (
	ContentTypeV1      = "application/x-protobuf"
	ContentEncoding    = "snappy"
	VersionHeader      = "X-Prometheus-Remote-Write-Version"
	VersionHeaderValue = "0.1.0"
)

// Field tags of prometheus.WriteRequest and what is inside it.
const (
	tagRequestSeries = 1<<3 | 2
	tagSeriesLabels  = 1<<3 | 2
	tagSeriesSamples = 2<<3 | 2
	tagLabelName     = 1<<3 | 2
	tagLabelValue    = 2<<3 | 2
	tagSampleValue   = 1<<3 | 1
	tagSampleTime    = 2 << 3
)

// AppendLabels appends the labels fields of one TimeSeries and returns the
// longer slice. Both lists are sorted by name; a label of external is taken
// where own has none of that name. The result is what AppendSeries takes, so a
// series that is sent again and again is encoded once.
func AppendLabels(dst []byte, own, external []model.Label) []byte {
	for len(own) > 0 || len(external) > 0 {
		switch {
		case len(external) == 0 || (len(own) > 0 && own[0].Name < external[0].Name):
			dst = appendLabel(dst, own[0])
			own = own[1:]
		case len(own) > 0 && own[0].Name == external[0].Name:
			external = external[1:]
		default:
			dst = appendLabel(dst, external[0])
			external = external[1:]
		}
	}
	return dst
}

func appendLabel(dst []byte, l model.Label) []byte {
	size := 1 + uvarintLen(uint64(len(l.Name))) + len(l.Name) +
		1 + uvarintLen(uint64(len(l.Value))) + len(l.Value)
	dst = append(dst, tagSeriesLabels)
	dst = binary.AppendUvarint(dst, uint64(size))
	dst = append(dst, tagLabelName)
	dst = binary.AppendUvarint(dst, uint64(len(l.Name)))
	dst = append(dst, l.Name...)
	dst = append(dst, tagLabelValue)
	dst = binary.AppendUvarint(dst, uint64(len(l.Value)))
	return append(dst, l.Value...)
}

// Sample is a value at a time in milliseconds since the Unix epoch.
type Sample struct {
	Time  int64
	Value float64
}

// AppendSeries appends one TimeSeries of a WriteRequest: labels as AppendLabels
// wrote them, and the samples in their order.
func AppendSeries(dst, labels []byte, samples []Sample) []byte {
	size := len(labels)
	for _, s := range samples {
		size += 2 + sampleLen(s) // a sample is shorter than 128 bytes
	}
	dst = append(dst, tagRequestSeries)
	dst = binary.AppendUvarint(dst, uint64(size))
	dst = append(dst, labels...)
	for _, s := range samples {
		dst = append(dst, tagSeriesSamples, byte(sampleLen(s)))
		// A field with its zero value is left out, as proto3 has it. Negative
		// zero is not the zero value.
		if b := math.Float64bits(s.Value); b != 0 {
			dst = append(dst, tagSampleValue)
			dst = binary.LittleEndian.AppendUint64(dst, b)
		}
		if s.Time != 0 {
			dst = append(dst, tagSampleTime)
			dst = binary.AppendUvarint(dst, uint64(s.Time))
		}
	}
	return dst
}

func sampleLen(s Sample) int {
	n := 0
	if math.Float64bits(s.Value) != 0 {
		n += 9
	}
	if s.Time != 0 {
		n += 1 + uvarintLen(uint64(s.Time))
	}
	return n
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// AppendSnappy appends src as a snappy block and returns the longer slice.
func AppendSnappy(dst, src []byte) []byte {
	n := len(dst)
	need := s2.MaxEncodedLen(len(src))
	if cap(dst)-n < need {
		grown := make([]byte, n, n+need)
		copy(grown, dst)
		dst = grown
	}
	out := s2.EncodeSnappy(dst[n:n+need], src)
	return dst[:n+len(out)]
}
