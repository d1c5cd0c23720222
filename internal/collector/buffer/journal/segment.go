package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

const (
	magic      = "MJNL"
	version    = 1
	headerSize = 4 + 4 + 8 + 4
	// Of each record, before its bytes.
	recordHeader = 4 + 4
	// maxRecord is the longest record in bytes.
	maxRecord = 1 << 30
)

var (
	errDamaged = errors.New("damaged")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

const prefix = "segment-"

func segmentName(n uint64) string { return fmt.Sprintf(prefix+"%012d", n) }

// segmentNumber is the opposite of segmentName. Other files are not ours.
func segmentNumber(name string) (n uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0 && segmentName(n) == name
}

func appendHeader(dst []byte, number uint64) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, version)
	dst = binary.LittleEndian.AppendUint64(dst, number)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func appendRecord(dst, record []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(record)))
	// The length is part of what is checked, or a run of zeros would be a record.
	sum := crc32.Update(crc32.Checksum(dst[start:], castagnoli), castagnoli, record)
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	return append(dst, record...)
}

// VersionError says that a segment was written by a later version of the program.
type VersionError struct {
	Segment uint64
	Version uint32
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("journal: segment %d has format version %d; this program reads %d", e.Segment, e.Version, version)
}

// readSegment calls fn with each record and its offset, and returns the offset
// up to which all is well. An error wraps errDamaged, or is a *VersionError, or
// that of fn or r. The record is valid until fn returns. Size is that of the
// segment, and how much memory a damaged length can ask for.
func readSegment(r io.Reader, number uint64, size int64, fn func(offset int64, record []byte) error) (good int64, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if err := readHeader(in, number); err != nil {
		return 0, err
	}
	good = headerSize
	var record []byte
	for {
		var head [recordHeader]byte
		n, err := io.ReadFull(in, head[:])
		if n == 0 && errors.Is(err, io.EOF) {
			return good, nil
		}
		if err != nil {
			return good, short(err, "record without an end")
		}
		length := binary.LittleEndian.Uint32(head[:])
		if length > maxRecord || int64(length) > size-good-recordHeader {
			return good, fmt.Errorf("%w: record longer than its segment", errDamaged)
		}
		if uint32(cap(record)) < length {
			record = make([]byte, length)
		}
		record = record[:length]
		if _, err := io.ReadFull(in, record); err != nil {
			return good, short(err, "record without an end")
		}
		sum := crc32.Update(crc32.Checksum(head[:4], castagnoli), castagnoli, record)
		if sum != binary.LittleEndian.Uint32(head[4:]) {
			return good, fmt.Errorf("%w: record with a wrong checksum", errDamaged)
		}
		if err := fn(good, record); err != nil {
			return good, err
		}
		good += recordHeader + int64(length)
	}
}

func readHeader(r io.Reader, number uint64) error {
	var head [headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return short(err, "header without an end")
	}
	sum := crc32.Checksum(head[:headerSize-4], castagnoli)
	if string(head[:4]) != magic || sum != binary.LittleEndian.Uint32(head[headerSize-4:]) {
		return fmt.Errorf("%w: not a segment's header", errDamaged)
	}
	if v := binary.LittleEndian.Uint32(head[4:]); v != version {
		return &VersionError{Segment: number, Version: v}
	}
	if !bytes.Equal(head[:], appendHeader(nil, number)) {
		return fmt.Errorf("%w: header of another segment", errDamaged)
	}
	return nil
}

// short makes damage of an end that came too early; other errors stay.
func short(err error, what string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s", errDamaged, what)
	}
	return err
}
