package scrape

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/mangru/mangru/internal/model"
)

// windows hands out a page piece by piece. Next returns the last keep bytes of
// the piece before, followed by at least one new one, or by none and io.EOF.
// The bytes are valid until the next call.
type windows interface {
	Next(keep int) ([]byte, error)
}

// readText takes in a page in the Prometheus text format. It knows most lines
// by their hash and leaves those that it does not know, or that are not plain,
// to Prometheus' parser.
func (c *cache) readText(src windows, r *scrapeResult) error {
	keep, limit := 0, int64(c.sp.plan.cfg.BodySizeLimit)
	for {
		window, err := src.Next(keep)
		final := errors.Is(err, io.EOF)
		r.bytes += len(window) - keep
		switch {
		case err != nil && !final:
			return unpackError{fmt.Errorf("unpacking the body: %w", err)}
		case limit > 0 && int64(r.bytes) >= limit:
			// Like Prometheus we take a body of limit bytes for one that is too large.
			return unpackError{errBodySizeLimit}
		}
		used, err := c.lineByLine(window[:1+bytes.LastIndexByte(window, '\n')], r)
		switch {
		case errors.Is(err, errUnfinished) && !final:
		case errors.Is(err, errUnfinished):
			return c.readRest(window[used:], r)
		case err != nil:
			return err
		case final:
			return c.readTail(window[used:], r)
		}
		keep = len(window) - used
	}
}

// unpackError is an error on the way to the text: the page was never seen whole,
// so nothing on it counts.
type unpackError struct{ error }

func (e unpackError) Unwrap() error { return e.error }

// errUnfinished says that a line goes on behind the window, or that only the
// whole rest of the page makes sense.
var errUnfinished = errors.New("the line is not finished")

// readTail reads a last line without a line feed, which may be missing.
func (c *cache) readTail(b []byte, r *scrapeResult) error {
	if len(b) == 0 {
		return nil
	}
	c.tail = append(append(c.tail[:0], b...), '\n')
	_, err := c.lineByLine(c.tail, r)
	if errors.Is(err, errUnfinished) {
		return c.readRest(b, r)
	}
	return err
}

// lineByLine reads lines, the last of which ends with b. It returns how many
// bytes of b have been read for good.
func (c *cache) lineByLine(b []byte, r *scrapeResult) (used int, err error) {
	honor := c.sp.plan.cfg.HonorTimestamps
	for pos := 0; pos < len(b); {
		id, end := c.expected(b[pos:])
		if id < 0 {
			if b[pos] == '\n' {
				pos++
				continue
			}
			if end = endOfText(b[pos:]); end < 0 {
				return pos, errUnfinished
			}
			id = c.find(maphash.Bytes(c.seed, b[pos:pos+end]), end)
		}
		if id >= 0 && c.lines[id].slot <= comment {
			c.remark(c.visit(id).slot)
			pos += end + 1
			continue
		}
		v, t, has, size := sampleAt(b[pos+end:])
		if id < 0 || size == 0 {
			size, err = c.unknown(b[pos:], end, r)
			if err != nil {
				return pos, err
			}
			pos += size
			continue
		}
		r.scraped++
		if err := c.sample(c.visit(id), v, t, has && honor, r); err != nil {
			return pos, err
		}
		pos += end + size
	}
	return len(b), nil
}

// expected returns the line that is expected next and its text's size, if b
// begins with it, else -1.
func (c *cache) expected(b []byte) (id int32, size int) {
	if c.next >= len(c.lines) {
		return -1, 0
	}
	l := &c.lines[c.next]
	size = int(l.size)
	if size >= len(b) || size == longLine {
		return -1, 0
	}
	if after := b[size]; after != ' ' && (after != '\n' || l.slot > comment) {
		return -1, 0
	}
	if maphash.Bytes(c.seed, b[:size]) != l.hash {
		return -1, 0
	}
	return int32(c.next), size
}

// remark notes what a comment line says about the lines that follow.
func (c *cache) remark(slot int32) {
	if slot == comment {
		return
	}
	family, typ := lineFamily(slot)
	c.current = family + 1
	if typ > 0 {
		c.typ = model.MetricType(typ - 1)
	}
}

// endOfText returns the size of the text at the front of b by which a line is
// known: a comment without its line feed, or a series up to its value. It
// returns -1 where the text does not end in b.
func endOfText(b []byte) int {
	if b[0] == '#' {
		return bytes.IndexByte(b, '\n')
	}
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case ' ', '\t', '\n':
			if i > 0 && braceFollows(b[i:]) {
				return endOfLabels(b, i)
			}
			return i
		case '{':
			return endOfLabels(b, i)
		}
	}
	return -1
}

// braceFollows reports whether labels come after some space.
func braceFollows(b []byte) bool {
	b = bytes.TrimLeft(b, " \t")
	return len(b) > 0 && b[0] == '{'
}

// endOfLabels returns what follows the brace that closes the labels; from is
// before the one that opens them.
func endOfLabels(b []byte, from int) int {
	for i := from; i < len(b); i++ {
		switch b[i] {
		case '}':
			return i + 1
		case '"':
			n := endOfQuotes(b[i+1:])
			if n < 0 {
				return -1
			}
			i += 1 + n
		}
	}
	return -1
}

// endOfQuotes returns where the quotes are that end what b begins with.
func endOfQuotes(b []byte) int {
	for i := 0; ; i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		esc := bytes.IndexByte(b[i:i+n], '\\')
		if esc < 0 {
			return i + n
		}
		i += esc + 1 // what follows a backslash does not count
	}
}

// unknown reads a line through Prometheus' parser, b from its beginning on. The
// text at its front has size bytes. It returns the size of the line.
func (c *cache) unknown(b []byte, size int, r *scrapeResult) (int, error) {
	n := bytes.IndexByte(b[size:], '\n')
	if n < 0 || bytes.IndexByte(b[:size+n], 0) >= 0 {
		// A NUL ends a page in Prometheus' eyes, save in some places.
		return 0, errUnfinished
	}
	whole := b[:size+n+1]
	p := c.reference(whole)
	et, err := p.Next()
	if err == nil && typeLines[c.typ] != "" {
		et, err = p.Next() // the first was the line about the type
	}
	switch {
	case errors.Is(err, io.EOF):
		return len(whole), nil // nothing but space
	case err != nil && bytes.IndexByte(whole, '"') >= 0:
		return 0, errUnfinished // quotes may go on behind the line feed
	case err != nil:
		return 0, err
	case et != textparse.EntrySeries:
		c.comment(p, et, maphash.Bytes(c.seed, whole[:len(whole)-1]), len(whole)-1)
		return len(whole), nil
	}
	if text, _, _ := p.Series(); len(text) != size {
		return 0, errUnfinished // we have not understood the line
	}
	return len(whole), c.parsedSample(p, et, r)
}

// reference returns Prometheus' parser for a piece of the page, in the state in
// which it would be there.
func (c *cache) reference(b []byte) textparse.Parser {
	c.piece = append(c.piece[:0], typeLines[c.typ]...)
	c.piece = append(c.piece, b...)
	return textparse.NewPromParser(c.piece, labels.NewSymbolTable(), false)
}

// typeLines put Prometheus' parser into the state after a TYPE line.
var typeLines = [16]string{
	model.TypeCounter: "# TYPE x counter\n", model.TypeGauge: "# TYPE x gauge\n",
	model.TypeHistogram: "# TYPE x histogram\n", model.TypeSummary: "# TYPE x summary\n",
}

// readRest reads the rest of a page through Prometheus' parser.
func (c *cache) readRest(b []byte, r *scrapeResult) error {
	p := c.reference(b)
	if typeLines[c.typ] != "" {
		if _, err := p.Next(); err != nil {
			return fmt.Errorf("BUG: reading a TYPE line: %w", err)
		}
	}
	return c.readParsed(p, r)
}

// wholePage is a page that needs no unpacking.
type wholePage struct {
	b    []byte
	done bool
}

// Next implements windows.
func (p *wholePage) Next(keep int) ([]byte, error) {
	if p.done {
		return p.b[len(p.b)-keep:], io.EOF
	}
	p.done = true
	return p.b, nil
}
