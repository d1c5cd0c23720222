package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Body is a request body that was read whole to be hashed. It serves as r.Body,
// and as plain bytes to handlers that would only read it all again.
type Body struct {
	buf *[]byte
	off int
}

// Bytes returns the body. The slice is valid until Close and not to be changed.
func (b *Body) Bytes() []byte {
	if b.buf == nil {
		return nil
	}
	return *b.buf
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	data := b.Bytes()
	if b.off >= len(data) {
		return 0, io.EOF
	}
	n := copy(p, data[b.off:])
	b.off += n
	return n, nil
}

// Close gives the memory back. The bytes must not be used afterwards.
func (b *Body) Close() error {
	if b.buf != nil && cap(*b.buf) <= maxPooledBody {
		*b.buf = (*b.buf)[:0]
		bodies.Put(b.buf)
	}
	b.buf = nil
	return nil
}

// maxPooledBody keeps a rare huge body from staying in memory for good.
const maxPooledBody = 4 << 20

var bodies = sync.Pool{New: func() any { b := make([]byte, 0, 32<<10); return &b }}

// errNoBodyLimit guards against a route that forgot its bound.
var errNoBodyLimit = errors.New("route has no body limit")

// ReadBody reads the body of a request that is not signed, with the same bounds
// and the same ownership as Verify.
func ReadBody(r *http.Request, want Expect) error {
	_, err := readBody(r, want, nil)
	return err
}

// readBody reads the body, replaces r.Body and returns its hash in hex. The
// hash covers the bytes as they came, before any decoding.
func readBody(r *http.Request, want Expect, room *allowance) (string, error) {
	if want.MaxBody <= 0 {
		return "", errNoBodyLimit
	}
	if r.ContentLength > want.MaxBody {
		return "", tooLarge(fmt.Sprintf("%d bytes", r.ContentLength), want)
	}
	buf := bodies.Get().(*[]byte)
	b := &Body{buf: buf}
	if r.Body != nil {
		// One byte more than allowed tells "full" from "too long".
		switch err := readAll(buf, r.Body, want.MaxBody+1, room); {
		case errors.Is(err, errNoRoom):
			_ = b.Close()
			return "", refuse(ReasonThrottled, "Rate exceeded: callers that have not signed well before send too much at once (setting signatures.max_unverified).")
		case err != nil:
			_ = b.Close()
			return "", refuseWith(http.StatusBadRequest, "ValidationException", ReasonBody, "The request body could not be read.")
		}
		if int64(len(*buf)) > want.MaxBody {
			_ = b.Close()
			return "", tooLarge("more", want)
		}
	}
	r.Body = b
	sum := sha256.Sum256(*buf)
	return hex.EncodeToString(sum[:]), nil
}

var errNoRoom = errors.New("too many bodies of strangers at once")

// readAll reads src into buf, at most limit bytes. Each is
// taken from room.
func readAll(buf *[]byte, src io.Reader, limit int64, room *allowance) error {
	b := *buf
	defer func() { *buf = b }()
	for int64(len(b)) < limit {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := src.Read(b[len(b):min(int64(cap(b)), limit)])
		b = b[:len(b)+n]
		if !room.take(int64(n)) {
			return errNoRoom
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func tooLarge(found string, want Expect) error {
	msg := fmt.Sprintf("The request body is %s, allowed are %d bytes", found, want.MaxBody)
	if want.MaxBodyKnob != "" {
		msg += " (setting " + want.MaxBodyKnob + ")"
	}
	return refuseWith(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", ReasonTooLarge, msg+".")
}
