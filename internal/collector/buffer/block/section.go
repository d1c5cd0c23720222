package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// MaxFrames is the most frames that a block can hold.
const MaxFrames = 64

// ErrCorrupt is what every error of Decode wraps.
var ErrCorrupt = errors.New("corrupt block")

func corrupt(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }

const (
	version    = 1
	headerSize = 1 + 4
	// What is shorter is not worth a try at compressing it.
	minCompress = 64
	// A payload may be this large, or maxRatio times what it was compressed to,
	// so that a few corrupt bytes cannot ask for gigabytes.
	freeSize = 1 << 20
	maxRatio = 256
	// How far back zstd looks; larger windows were measured to gain nothing.
	window = 256 << 10
)

// Numbers of the sections.
const (
	secFrames = iota
	secForms
	secWidths
	secNumbers
	secWords
	secMasks
	secOwn
	secRest
	secPlanes
	secBitPlanes = secPlanes + 8
	secStarts    = secBitPlanes + 8
	sections     = secStarts + 1
)

// Exponents of ten are 0 to maxExponent; expBits says that the integers are the
// bits of the values.
const (
	maxExponent = 9
	expBits     = 10
)

// Modes of columns.
const (
	modeConstant = iota
	modeLinear
	modeDelta
	modeCross // delta against the reference column's delta
	modeEqual // the reference column's delta
	modeDelta2
	modeNothing // all absent; no first value
	modes
)

const masked = 1 << 7

// Slots are taken in tiles, so that a frame is read, or written, a cache line at a time.
const tile = 16

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var pow10 = [maxExponent + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// scratch is what encoding or decoding needs besides its result. It is pooled:
// together with the zstd state it is half a megabyte and more.
type scratch struct {
	section [sections][]byte
	payload []byte
	zenc    *zstd.Encoder
	zdec    *zstd.Decoder

	cols  [tile][MaxFrames]uint64 // values, as bits
	times [tile][MaxFrames]int64  // distance of the values' times to the frame's

	x, d, r [MaxFrames]int64

	// refs are the deltas of the last column that moved, by exponent.
	refs     [maxExponent + 1][MaxFrames]int64
	refThere [maxExponent + 1]bool
	last     [maxExponent + 1]int64 // first value of the last column, by exponent

	own   ownTimes
	arena arena
}

// One encoder takes 0.6 MB; pooling also gives it back when nothing is encoded.
var pool = sync.Pool{New: func() any { return new(scratch) }}

// reset makes s ready for another block.
func (s *scratch) reset() {
	for i := range s.section {
		s.section[i] = s.section[i][:0]
	}
	s.refThere = [maxExponent + 1]bool{}
	s.last = [maxExponent + 1]int64{}
	s.own.reset()
}

// release keeps no more than what blocks of usual size need.
func (s *scratch) release() {
	const most = 4 << 20
	size := cap(s.payload) + s.arena.bytes() + s.own.bytes()
	for i := range s.section {
		size += cap(s.section[i])
	}
	if size > most {
		s.payload, s.section, s.arena, s.own = nil, [sections][]byte{}, arena{}, ownTimes{}
	}
	pool.Put(s)
}

// appendBlock appends the block that the sections make.
func (s *scratch) appendBlock(dst []byte) []byte {
	start := len(dst)
	s.payload = s.appendPayload(s.payload[:0])
	dst = append(dst, version<<1, 0, 0, 0, 0)
	dst = s.appendBody(dst, start)
	binary.LittleEndian.PutUint32(dst[start+1:], crc32.Checksum(dst[start+headerSize:], castagnoli))
	return dst
}

func (s *scratch) appendPayload(dst []byte) []byte {
	there := uint64(0)
	for i, b := range s.section {
		if len(b) > 0 {
			there |= 1 << i
		}
	}
	dst = binary.AppendUvarint(dst, there)
	for _, b := range s.section {
		if len(b) > 0 {
			dst = binary.AppendUvarint(dst, uint64(len(b)))
		}
	}
	for _, b := range s.section {
		dst = append(dst, b...)
	}
	return dst
}

func (s *scratch) appendBody(dst []byte, start int) []byte {
	if len(s.payload) >= minCompress {
		if s.zenc == nil {
			s.zenc = newEncoder()
		}
		body := len(dst)
		dst = binary.AppendUvarint(dst, uint64(len(s.payload)))
		dst = s.zenc.EncodeAll(s.payload, dst)
		size := len(dst) - body
		if size < len(s.payload) && len(s.payload) <= max(freeSize, maxRatio*size) {
			dst[start] |= 1
			return dst
		}
		dst = dst[:body]
	}
	return append(dst, s.payload...)
}

func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(window), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // only the options can be wrong
	}
	return e
}

func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err) // only the options can be wrong
	}
	return d
}

// open checks a block and cuts it into its sections. What it returns is valid
// until s is used again or b changes.
func (s *scratch) open(b []byte) (secs [sections][]byte, err error) {
	if len(b) < headerSize || b[0]>>1 != version {
		return secs, corrupt("unknown version")
	}
	if binary.LittleEndian.Uint32(b[1:]) != crc32.Checksum(b[headerSize:], castagnoli) {
		return secs, corrupt("wrong checksum")
	}
	payload := b[headerSize:]
	if b[0]&1 == 1 {
		if payload, err = s.decompress(payload); err != nil {
			return secs, err
		}
	}
	return cut(payload)
}

func (s *scratch) decompress(b []byte) ([]byte, error) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(max(freeSize, maxRatio*len(b))) {
		return nil, corrupt("implausible size")
	}
	if s.zdec == nil {
		s.zdec = newDecoder()
	}
	// The decoder writes past the end when it has the room, which is faster.
	const slack = 32
	if uint64(cap(s.payload)) < size+slack {
		s.payload = make([]byte, 0, size+slack)
	}
	out, err := s.zdec.DecodeAll(b[n:], s.payload[:0:size])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if uint64(len(out)) != size {
		return nil, corrupt("wrong size")
	}
	return out, nil
}

func cut(payload []byte) (secs [sections][]byte, err error) {
	there, n := binary.Uvarint(payload)
	if n <= 0 || there>>sections != 0 {
		return secs, corrupt("unknown sections")
	}
	payload = payload[n:]
	var length [sections]uint64
	for rest := there; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(rest)
		v, n := binary.Uvarint(payload)
		if n <= 0 || v > uint64(len(payload)) {
			return secs, corrupt("section too long")
		}
		length[i], payload = v, payload[n:]
	}
	for i, l := range length {
		if l > uint64(len(payload)) {
			return secs, corrupt("section too long")
		}
		secs[i], payload = payload[:l:l], payload[l:]
	}
	if len(payload) > 0 {
		return secs, corrupt("bytes after the last section")
	}
	return secs, nil
}

func zigzag(x int64) uint64   { return uint64(x<<1) ^ uint64(x>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
