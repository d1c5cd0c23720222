// Package inflate decompresses gzip (RFC 1952, RFC 1951) whose input is wholly
// in memory. It accepts what compress/gzip accepts and gives the same bytes.
package inflate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Errors of a stream; those with an offset wrap one of these.
var (
	// ErrTruncated means that the input ends before the stream does.
	ErrTruncated = fmt.Errorf("gzip: truncated: %w", io.ErrUnexpectedEOF)
	// ErrHeader means that a member, or what follows one, does not start as
	// gzip does, or that its header has a wrong checksum.
	ErrHeader = errors.New("gzip: invalid header")
	// ErrCorrupt means that the compressed data are not DEFLATE.
	ErrCorrupt = errors.New("gzip: corrupt")
	// ErrChecksum means that the data do not have the checksum or the size that
	// their member says.
	ErrChecksum = errors.New("gzip: invalid checksum or size")
	// ErrTooLarge means that there are more data than AppendAll was allowed.
	ErrTooLarge = errors.New("gzip: larger than the limit")
)

const (
	// chunkSize is how many bytes Next makes at a time, unless the stream ends.
	chunkSize = 96 << 10
	// windowSize is what the buffer takes as long as keep is at most maxHistory.
	windowSize = maxHistory + chunkSize + outSlack
	// minGrowth is what AppendAll allocates at least, unless limit is less.
	minGrowth = 4 << 10
	// maxRatio is more than DEFLATE can shrink anything by.
	maxRatio = 1040
)

// state is what the next bits of input are.
type state int

const (
	atMember state = iota
	atBlock
	inStored
	inHuffman
	atTrailer
)

// Reader decompresses one gzip stream, all of its members, a window at a time.
// The zero Reader is one of empty input. It belongs to one goroutine at a time.
type Reader struct {
	src []byte
	in  int    // what of src is loaded into acc, or read
	acc uint64 // bits of src not consumed, the next one lowest
	n   uint   // how many of them count; higher ones are right or zero

	buf    []byte
	pos    int // buf[:pos] is filled
	start  int // buf[start:pos] is what matches may refer to
	summed int // buf[:summed] is in crc and size
	made   int // how many bytes Next returned last
	crc    uint32
	size   uint32

	err    error // final
	state  state
	last   bool // the block is the last of its member
	begun  bool // there was a member
	stored int  // bytes to come of a stored block

	codes   *tables // of the block
	lens    [maxLens]uint8
	dynamic tables
}

// Reset starts over with another stream, which must stay unchanged while it is
// read. The buffer is kept, unless a large keep made it grow.
func (r *Reader) Reset(src []byte) {
	if len(r.buf) > windowSize {
		r.buf = nil
	}
	r.rewind(src)
}

func (r *Reader) rewind(src []byte) {
	r.src, r.in, r.acc, r.n = src, 0, 0, 0
	r.pos, r.start, r.summed, r.made = 0, 0, 0, 0
	r.err, r.state, r.begun = nil, atMember, false
}

// Release frees the buffer and forgets the input.
func (r *Reader) Release() {
	r.buf = nil
	r.rewind(nil)
}

// Next returns the last keep bytes of the chunk before, followed by the ones
// that come next, at least one of them if err is nil. With the end of the stream
// err is io.EOF, and the chunk may still have new bytes; by then all checksums
// were right. With any other error the chunk is nil. A chunk is valid, and to
// be read only, until the next call of any method.
func (r *Reader) Next(keep int) (chunk []byte, err error) {
	if keep < 0 || keep > r.made {
		panic("inflate: more to keep than was returned")
	}
	if r.err == nil {
		r.slide(keep)
		from := r.pos - keep
		r.err = r.run(len(r.buf) - outSlack)
		r.made = r.pos - from
	} else {
		r.made = keep
	}
	if r.err != nil && !errors.Is(r.err, io.EOF) {
		r.made = 0
		return nil, r.err
	}
	return r.buf[r.pos-r.made : r.pos : r.pos], r.err
}

// slide makes room for a chunk after the bytes that are kept, for the caller or
// for matches to refer to.
func (r *Reader) slide(keep int) {
	held := max(keep, min(r.pos-r.start, maxHistory))
	to := r.buf
	// More than is needed now, so that a caller who keeps all of each chunk does
	// not have all before it moved for every one.
	if need := windowSize + 2*max(0, held-maxHistory); need > len(to) {
		to = make([]byte, need)
	}
	gone := r.pos - held
	copy(to, r.buf[gone:r.pos])
	r.buf = to
	r.start = max(r.start-gone, 0)
	r.summed -= gone
	r.pos = held
}

// AppendAll appends the whole stream to dst, from its beginning whatever Next
// has returned of it, or returns dst and an error if it is not a valid stream of
// at most limit bytes. What dst has room for after its end is used as scratch.
// Afterwards the Reader is as Reset leaves it.
func (r *Reader) AppendAll(dst []byte, limit int64) ([]byte, error) {
	window := r.buf
	r.rewind(r.src)
	defer func() {
		r.rewind(r.src)
		r.buf = window
	}()
	// One byte more shows that the stream is too large.
	most := int(min(max(limit, 0), math.MaxInt/4)) + 1
	base := len(dst)
	r.buf = dst[:cap(dst)]
	r.pos, r.start, r.summed = base, base, base
	for {
		if len(r.buf) <= r.pos+outSlack {
			r.grow(base + min(most, max(r.sizeHint(), 2*(r.pos-base), minGrowth)) + outSlack)
		}
		err := r.run(min(r.pos+chunkSize, base+most, len(r.buf)-outSlack))
		switch {
		case r.pos-base >= most:
			return dst, ErrTooLarge
		case errors.Is(err, io.EOF):
			return r.buf[:r.pos], nil
		case err != nil:
			return dst, err
		}
	}
}

// grow moves what AppendAll has so far to a buffer of another size.
func (r *Reader) grow(size int) {
	grown := make([]byte, size)
	copy(grown, r.buf[:r.pos])
	r.buf = grown
}

// sizeHint returns the size of a stream that is as large as its end says, and
// one byte more so that there is room until its end is reached. What cannot be
// true is not believed.
func (r *Reader) sizeHint() int {
	if len(r.src) < headerSize+trailerSize {
		return 0
	}
	said := binary.LittleEndian.Uint32(r.src[len(r.src)-4:])
	return int(min(int64(said), int64(len(r.src))*maxRatio, math.MaxInt/4)) + 1
}

// run decompresses until buf has limit bytes or more, but never as many as
// outSlack more. It returns io.EOF at the end.
func (r *Reader) run(limit int) (err error) {
	for err == nil && r.pos < limit {
		switch r.state {
		case atMember:
			if r.begun && r.in == len(r.src) {
				err = io.EOF
				break
			}
			r.begun = true
			err = r.header()
		case atBlock:
			err = r.blockHeader()
		case inStored:
			err = r.storedBlock(limit)
		case inHuffman:
			err = r.huffmanBlock(limit)
		case atTrailer:
			err = r.trailer()
		}
	}
	r.sum()
	return err
}

func (r *Reader) truncated() error { return ErrTruncated }

// corrupt returns an error that says what is wrong, and where.
func (r *Reader) corrupt(what string) error {
	return fmt.Errorf("%w before byte %d: %s", ErrCorrupt, r.in-int(r.n/8), what)
}
