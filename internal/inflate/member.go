package inflate

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// The member header of RFC 1952 section 2.3.
const (
	headerSize  = 10
	trailerSize = 8

	flagHeaderCRC = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4

	// maxString is how long compress/gzip lets a name or a comment be, its
	// closing zero included.
	maxString = 512
)

// header reads a member's header.
func (r *Reader) header() error {
	src := r.src[r.in:]
	if len(src) < headerSize {
		return r.truncated()
	}
	if src[0] != 0x1f || src[1] != 0x8b || src[2] != 8 {
		return ErrHeader
	}
	flags := src[3]
	at := headerSize
	if flags&flagExtra != 0 {
		if len(src)-at < 2 {
			return r.truncated()
		}
		at += 2 + int(binary.LittleEndian.Uint16(src[at:]))
		if at > len(src) {
			return r.truncated()
		}
	}
	for _, flag := range [...]byte{flagName, flagComment} {
		if flags&flag == 0 {
			continue
		}
		text := src[at:min(len(src), at+maxString)]
		end := bytes.IndexByte(text, 0)
		if end < 0 && len(text) < maxString {
			return r.truncated()
		}
		if end < 0 {
			return ErrHeader
		}
		at += end + 1
	}
	if flags&flagHeaderCRC != 0 {
		if len(src)-at < 2 {
			return r.truncated()
		}
		if binary.LittleEndian.Uint16(src[at:]) != uint16(crc32.ChecksumIEEE(src[:at])) {
			return ErrHeader
		}
		at += 2
	}
	r.in += at
	r.start, r.summed = r.pos, r.pos
	r.crc, r.size = 0, 0
	r.state = atBlock
	return nil
}

// sum brings the checksum up to what is decompressed.
func (r *Reader) sum() {
	fresh := r.buf[r.summed:r.pos]
	r.crc = crc32.Update(r.crc, crc32.IEEETable, fresh)
	r.size += uint32(len(fresh))
	r.summed = r.pos
}

// trailer compares checksum and size with what the member says.
func (r *Reader) trailer() error {
	if len(r.src)-r.in < trailerSize {
		return r.truncated()
	}
	r.sum()
	crc, size := binary.LittleEndian.Uint32(r.src[r.in:]), binary.LittleEndian.Uint32(r.src[r.in+4:])
	if crc != r.crc || size != r.size {
		return ErrChecksum
	}
	r.in += trailerSize
	r.state = atMember
	return nil
}
