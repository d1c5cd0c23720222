package wire

import (
	"encoding/binary"
	"slices"

	"github.com/mangru/mangru/internal/model"
)

// Field tags of io.prometheus.write.v2.Request and what is inside it.
const (
	tagV2Symbols    = 4<<3 | 2
	tagV2Series     = 5<<3 | 2
	tagV2Refs       = 1<<3 | 2 // of TimeSeries, and of Exemplar
	tagV2Histograms = 3<<3 | 2
	tagV2Exemplars  = 4<<3 | 2
	tagV2Metadata   = 5<<3 | 2
	tagV2Help       = 3 << 3 // of Metadata
	tagV2Unit       = 4 << 3

	tagV2SampleStart    = 3 << 3
	tagV2HistogramStart = 17 << 3 // two bytes
)

// EncoderV2 writes a Request of remote write 2.0. Its methods are those of
// EncoderV1.
//
// A request begins with the table of all strings; series refer to it. A label
// number of a target is looked up once in a request; from then on a label costs
// a series a copy of a few bytes.
//
// See https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/.
type EncoderV2 struct {
	external external
	encoded  []labelRefs // the external labels, in this request
	labels   model.Labels
	refs     []labelRefs // by label number of the target; 0 is not known yet
	long     [][]byte    // references that do not fit into a labelRefs
	symbols  symbols
	tail     sampleTail

	buf       []byte // room for the symbols, then the series
	room      int
	exemplars []byte
	metadata  []byte
	from      int // where the open series begins
	bare      int // its length without samples
}

// labelRefs is the two references of a label, encoded: in the lower seven bytes
// the bytes themselves, in the uppermost one how many count and the label's rank
// among the external labels.
type labelRefs uint64

const (
	refsSize = 56       // bits of encoded references
	sizeBits = 3        // of the uppermost byte; size 0 says that the rest is a place in EncoderV2.long, from 1
	rankLong = 1<<5 - 1 // a rank that does not fit: ask external
)

func (r labelRefs) size() int    { return int(r>>refsSize) & (1<<sizeBits - 1) }
func (r labelRefs) rank() uint32 { return uint32(r >> (refsSize + sizeBits)) }

// NewEncoderV2 returns an encoder that adds the external labels to every series
// that does not have them.
func NewEncoderV2(external []model.Label) *EncoderV2 {
	e := &EncoderV2{external: newExternal(external)}
	e.encoded = make([]labelRefs, len(e.external.labels))
	e.Reset()
	return e
}

// Reset begins a request.
func (e *EncoderV2) Reset() {
	e.buf = slices.Grow(e.buf[:0], e.room)[:e.room]
	e.symbols.reset()
	e.long, e.metadata = e.long[:0], e.metadata[:0]
	for i, l := range e.external.labels {
		e.encoded[i] = e.pack(e.symbols.refString(l.Name), e.symbols.refString(l.Value))
	}
}

// Target says whose the numbers of the following series are. Their families are
// unknown.
func (e *EncoderV2) Target(l model.Labels) {
	e.labels, e.metadata = l, e.metadata[:0]
	n := l.Distinct()
	e.refs = slices.Grow(e.refs[:0], n)[:n]
	clear(e.refs)
	e.external.reset(l)
}

// pack encodes the references of a label.
func (e *EncoderV2) pack(name, value uint32) labelRefs {
	var b [2 * binary.MaxVarintLen32]byte
	n := binary.PutUvarint(b[:], uint64(name))
	n += binary.PutUvarint(b[n:], uint64(value))
	if n > refsSize/8 {
		e.long = append(e.long, slices.Clone(b[:n]))
		return labelRefs(len(e.long))
	}
	return labelRefs(binary.LittleEndian.Uint64(b[:8])) | labelRefs(n)<<refsSize
}

// resolve looks a label of the target up.
func (e *EncoderV2) resolve(number int) labelRefs {
	name, value := e.labels.Label(number)
	n := e.symbols.ref(name)
	r := e.pack(n, e.symbols.ref(value))
	if len(e.encoded) > 0 {
		r |= labelRefs(min(e.external.rank(number), rankLong)) << (refsSize + sizeBits)
	}
	e.refs[number] = r
	return r
}

// Open begins a series.
func (e *EncoderV2) Open(series int) {
	e.buf = append(e.buf, tagV2Series, 0)
	e.from = len(e.buf)
	e.buf = append(e.buf, tagV2Refs, 0)
	from := len(e.buf)
	var g gap
	for runs := e.labels.Runs(series); len(runs) > 0; {
		var first, count int
		first, count, runs = model.NextRun(runs)
		e.appendRun(first, count, &g)
	}
	e.appendExternal(&g, len(e.encoded), 0)
	e.buf = closeMessage(e.buf, from, 1)
	e.bare = len(e.buf)
}

// gap is where among the external labels a series' next label is expected.
type gap struct {
	next int    // the external label after it
	rank uint32 // of the label before it
}

// appendRun appends the references of count labels, and the external labels that
// sort before one of them.
func (e *EncoderV2) appendRun(first, count int, g *gap) {
	for end := first + count; first < end; first++ {
		n := len(e.buf)
		e.buf = slices.Grow(e.buf, 8*(end-first))
		b := e.buf[:n+8*(end-first)]
		for _, r := range e.refs[first:end] {
			size := r.size()
			if size == 0 || r.rank() != g.rank {
				break
			}
			binary.LittleEndian.PutUint64(b[n:n+8], uint64(r))
			n += size
			first++
		}
		e.buf = b[:n]
		if first < end {
			e.appendLabel(first, g)
		}
	}
}

// appendLabel appends a label that is not known yet, that has external labels
// before it, or whose references are long.
func (e *EncoderV2) appendLabel(number int, g *gap) {
	r := e.refs[number]
	if r == 0 {
		r = e.resolve(number)
	}
	g.rank = r.rank()
	if g.rank == rankLong {
		rank := e.external.rank(number)
		e.appendExternal(g, int(rank/2), int((rank+1)/2))
		g.rank = rankLong + 1 // every label from here on has to ask
	} else {
		e.appendExternal(g, int(g.rank/2), int((g.rank+1)/2))
	}
	e.buf = e.appendRefs(e.buf, r)
}

// appendExternal appends the external labels that come before end, and leaves
// out those before next.
func (e *EncoderV2) appendExternal(g *gap, end, next int) {
	for ; g.next < end; g.next++ {
		e.buf = e.appendRefs(e.buf, e.encoded[g.next])
	}
	g.next = max(g.next, next)
}

func (e *EncoderV2) appendRefs(dst []byte, r labelRefs) []byte {
	n := r.size()
	if n == 0 {
		return append(dst, e.long[r&(1<<refsSize-1)-1]...)
	}
	n += len(dst)
	return binary.LittleEndian.AppendUint64(dst, uint64(r))[:n]
}

// Sample adds a sample to the open series. Samples and histograms must not be
// mixed in one series.
func (e *EncoderV2) Sample(t int64, v float64) { e.buf = e.tail.appendSample(e.buf, t, v) }

// Started adds a sample of something that began to count at start, in milliseconds
// since the Unix epoch.
func (e *EncoderV2) Started(t, start int64, v float64) {
	from := len(e.buf)
	e.buf = e.tail.appendSample(e.buf, t, v)
	size := len(e.buf)
	e.buf = appendVarint(e.buf, tagV2SampleStart, uint64(start))
	e.buf[from+1] += byte(len(e.buf) - size) // a Sample has some thirty bytes at most
}

// Histogram adds a native histogram, an encoded Histogram message without a start
// timestamp; start is that, or 0.
func (e *EncoderV2) Histogram(msg []byte, start int64) {
	if start == 0 {
		e.buf = appendBytes(e.buf, tagV2Histograms, msg)
		return
	}
	var field [2 + binary.MaxVarintLen64]byte
	n := binary.PutUvarint(field[:], tagV2HistogramStart)
	n += binary.PutUvarint(field[n:], uint64(start))
	e.buf = binary.AppendUvarint(append(e.buf, tagV2Histograms), uint64(len(msg)+n))
	e.buf = append(append(e.buf, msg...), field[:n]...)
}

// Exemplar adds an exemplar to the open series.
func (e *EncoderV2) Exemplar(t int64, v float64, labels []model.Label) {
	b := append(e.exemplars, tagV2Exemplars, 0)
	from := len(b)
	if len(labels) > 0 {
		b = append(b, tagV2Refs, 0)
		refs := len(b)
		for _, l := range labels {
			b = binary.AppendUvarint(b, uint64(e.symbols.refString(l.Name)))
			b = binary.AppendUvarint(b, uint64(e.symbols.refString(l.Value)))
		}
		b = closeMessage(b, refs, 1)
	}
	b = appendExemplarSample(b, t, v)
	e.exemplars = closeMessage(b, from, 1)
}

// Family says what the family of the following series is; the zero value is
// unknown. Type and unit cost next to nothing, for they are the same from series
// to series; the text is sent if describe says so.
func (e *EncoderV2) Family(f model.Family, describe bool) {
	b := append(e.metadata[:0], tagV2Metadata, 0)
	b = appendVarint(b, tagMetadataType, uint64(f.Type))
	if describe {
		b = appendVarint(b, tagV2Help, uint64(e.symbols.refString(f.Help)))
	}
	b = appendVarint(b, tagV2Unit, uint64(e.symbols.refString(f.Unit)))
	if e.metadata = b[:0]; len(b) > 2 {
		e.metadata = closeMessage(b, 2, 1)
	}
}

// Close ends the open series. One without samples is taken back, for 2.0 does
// not allow it; Close then reports false if it had exemplars.
func (e *EncoderV2) Close() (exemplars bool) {
	exemplars = len(e.exemplars) == 0
	if len(e.buf) == e.bare {
		e.buf = e.buf[:e.from-2]
	} else {
		e.buf = append(e.buf, e.exemplars...)
		e.end()
		exemplars = true
	}
	e.exemplars = e.exemplars[:0]
	return exemplars
}

func (e *EncoderV2) end() {
	e.buf = append(e.buf, e.metadata...)
	e.buf = closeMessage(e.buf, e.from, 1)
}

// One writes a series with one sample, which is what nearly all are.
func (e *EncoderV2) One(series int, t int64, v float64) {
	e.Open(series)
	e.buf = e.tail.appendSample(e.buf, t, v)
	e.end()
}

// Finish returns the request, which is valid until the next Reset.
func (e *EncoderV2) Finish() []byte {
	table := e.symbols.text
	if len(table) > e.room {
		// The next request will hardly need more, and find room before it.
		room := len(table) + len(table)/4
		size := len(e.buf) - e.room
		e.buf = slices.Grow(e.buf, room-e.room)[:room+size]
		copy(e.buf[room:], e.buf[e.room:e.room+size])
		e.room = room
	}
	from := e.room - len(table)
	copy(e.buf[from:], table)
	return e.buf[from:]
}
