package wire

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/s2"
)

// Headers of a remote-write request.
const (
	ContentTypeV1   = "application/x-protobuf"
	ContentTypeV2   = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
	ContentEncoding = "snappy"
	VersionHeader   = "X-Prometheus-Remote-Write-Version"
	// VersionHeaderValue and VersionHeaderValueV2 say which version is spoken.
	VersionHeaderValue   = "0.1.0"
	VersionHeaderValueV2 = "2.0.0"
)

// Headers of the answer to a remote write 2.0 request: how much of it was
// written. A receiver of 1.0 does not send them.
const (
	WrittenSamplesHeader    = "X-Prometheus-Remote-Write-Samples-Written"
	WrittenHistogramsHeader = "X-Prometheus-Remote-Write-Histograms-Written"
	WrittenExemplarsHeader  = "X-Prometheus-Remote-Write-Exemplars-Written"
)

// Field tags that both versions share: of Sample, and of what Exemplar and
// Metadata have in common.
const (
	tagSampleValue   = 1<<3 | 1
	tagSampleTime    = 2 << 3
	tagSeriesSamples = 2<<3 | 2
	tagExemplarValue = 2<<3 | 1
	tagExemplarTime  = 3 << 3
	tagMetadataType  = 1 << 3
)

// Sample is a value at a time in milliseconds since the Unix epoch.
type Sample struct {
	Time  int64
	Value float64
}

// sampleTail is the end of an encoded Sample: its timestamp, which the samples
// of one scrape share, and which is therefore encoded once.
type sampleTail struct {
	time  int64
	size  int
	bytes [16]byte // what is beyond size does not count
}

// set makes the tail that of a time. A field with its zero value is left out,
// as proto3 has it.
func (s *sampleTail) set(t int64) {
	s.time, s.size = t, 0
	if t != 0 {
		s.bytes[0] = tagSampleTime
		s.size = 1 + binary.PutUvarint(s.bytes[1:], uint64(t))
	}
}

// maxSample is the most bytes that appendSample writes, and scribbles on.
const maxSample = 3 + 8 + 16

// appendSample appends a Sample as a field of a TimeSeries, the same one in both
// versions. Negative zero is not the zero value.
func (s *sampleTail) appendSample(dst []byte, t int64, v float64) []byte {
	if t != s.time {
		s.set(t)
	}
	n := len(dst)
	dst = slices.Grow(dst, maxSample)[:n+maxSample]
	b := dst[n : n+maxSample]
	b[0] = tagSeriesSamples
	value := math.Float64bits(v)
	if value == 0 {
		b[1] = byte(s.size)
		*(*[16]byte)(b[2:]) = s.bytes
		return dst[:n+2+s.size]
	}
	b[1], b[2] = byte(9+s.size), tagSampleValue
	binary.LittleEndian.PutUint64(b[3:], value)
	*(*[16]byte)(b[11:]) = s.bytes
	return dst[:n+11+s.size]
}

// appendExemplarSample appends the fields after the labels of an Exemplar.
func appendExemplarSample(dst []byte, t int64, v float64) []byte {
	if value := math.Float64bits(v); value != 0 {
		dst = append(dst, tagExemplarValue)
		dst = binary.LittleEndian.AppendUint64(dst, value)
	}
	if t != 0 {
		dst = append(dst, tagExemplarTime)
		dst = binary.AppendUvarint(dst, uint64(t))
	}
	return dst
}

// appendBytes appends a field that is bytes, a string or a message.
func appendBytes[T []byte | string](dst []byte, tag byte, v T) []byte {
	dst = append(dst, tag)
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	return append(dst, v...)
}

// appendVarint appends a field of one of the integer types, unless it is zero.
func appendVarint(dst []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.AppendUvarint(append(dst, tag), v)
}

// closeMessage writes the length of a message that begins at from and ends with
// b. Before it, room bytes have been left for the length; where that is not what
// the length takes, the message is moved.
func closeMessage(b []byte, from, room int) []byte {
	size := len(b) - from
	need := uvarintLen(uint64(size))
	if need != room {
		if need > room {
			b = slices.Grow(b, need-room)
		}
		b = b[:len(b)+need-room]
		copy(b[from+need-room:], b[from:from+size])
	}
	binary.PutUvarint(b[from-room:], uint64(size))
	return b
}

// CustomBuckets reports whether an encoded Histogram has buckets with boundaries
// of its own. Remote write 1.0 has no field for them; Prometheus does not send
// such histograms in it.
func CustomBuckets(msg []byte) bool {
	const tagSchema, customSchema = 4 << 3, -53
	for len(msg) > 0 {
		tag, n := binary.Uvarint(msg)
		if n <= 0 {
			return false
		}
		msg = msg[n:]
		switch tag & 7 {
		case 0:
			v, n := binary.Uvarint(msg)
			if n <= 0 {
				return false
			}
			if tag == tagSchema {
				return int64(v>>1)^-int64(v&1) == customSchema
			}
			msg = msg[n:]
		case 1:
			msg = msg[min(8, len(msg)):]
		default: // fields with a length come after the schema
			return false
		}
	}
	return false
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
