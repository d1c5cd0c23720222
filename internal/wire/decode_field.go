package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// wireType is how a protobuf field's value is written.
type wireType uint8

const (
	wireVarint  wireType = 0
	wireFixed64 wireType = 1
	wireBytes   wireType = 2
	wireGroup   wireType = 3
	wireEnd     wireType = 4
	wireFixed32 wireType = 5
)

// maxGroups bounds the nesting of the long deprecated groups in unknown fields.
const maxGroups = 32

// maxFieldNumber is the largest one that protobuf allows.
const maxFieldNumber = 1<<29 - 1

var (
	errFieldNumber = errors.New("illegal field number")
	errVarint      = errors.New("varint is longer than 64 bits")
	errGroup       = errors.New("group is not closed, or nested too deep")
)

// field is one field of a message. Value or bytes is set, by the wire type.
type field struct {
	number int
	typ    wireType
	value  uint64
	bytes  []byte
}

func (f *field) expect(t wireType) error {
	if f.typ != t {
		return fmt.Errorf("field %d has wire type %d, expected %d", f.number, f.typ, t)
	}
	return nil
}

// nextField reads the field at the start of msg and returns its length.
func nextField(msg []byte) (field, int, error) {
	tag, n, err := uvarint(msg)
	if err != nil {
		return field{}, 0, err
	}
	number := tag >> 3
	if number == 0 || number > maxFieldNumber {
		return field{}, 0, fmt.Errorf("%w %d", errFieldNumber, number)
	}
	f := field{number: int(number), typ: wireType(tag & 7)}
	m, err := f.read(msg[n:])
	return f, n + m, err
}

// read takes the value that follows the tag and returns its length.
func (f *field) read(msg []byte) (int, error) {
	switch f.typ {
	case wireVarint:
		v, n, err := uvarint(msg)
		f.value = v
		return n, err
	case wireFixed64:
		if len(msg) < 8 {
			return 0, io.ErrUnexpectedEOF
		}
		f.value = binary.LittleEndian.Uint64(msg)
		return 8, nil
	case wireFixed32:
		if len(msg) < 4 {
			return 0, io.ErrUnexpectedEOF
		}
		return 4, nil
	case wireBytes:
		size, n, err := uvarint(msg)
		if err != nil {
			return 0, err
		}
		if size > uint64(len(msg)-n) {
			return 0, io.ErrUnexpectedEOF
		}
		end := n + int(size)
		f.bytes = msg[n:end:end]
		return end, nil
	case wireGroup:
		return skipGroup(msg)
	}
	return 0, fmt.Errorf("illegal wire type %d", f.typ)
}

// skipGroup returns the length of a group's content with its end tag.
func skipGroup(msg []byte) (int, error) {
	pos, depth := 0, 1
	for depth > 0 {
		tag, n, err := uvarint(msg[pos:])
		if err != nil {
			return 0, err
		}
		pos += n
		switch t := wireType(tag & 7); t {
		case wireGroup:
			depth++
			if depth > maxGroups {
				return 0, errGroup
			}
		case wireEnd:
			depth--
		default:
			f := field{typ: t}
			n, err := f.read(msg[pos:])
			if err != nil {
				return 0, err
			}
			pos += n
		}
	}
	return pos, nil
}

// uvarint reads a varint. One byte is by far the most common length. Bits of the
// tenth byte beyond the 64th are dropped, as protobuf's own decoders do.
func uvarint(msg []byte) (uint64, int, error) {
	if len(msg) > 0 && msg[0] < 0x80 {
		return uint64(msg[0]), 1, nil
	}
	var v uint64
	for i, b := range msg {
		if i == binary.MaxVarintLen64 {
			return 0, 0, errVarint
		}
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return v, i + 1, nil
		}
	}
	return 0, 0, io.ErrUnexpectedEOF
}
