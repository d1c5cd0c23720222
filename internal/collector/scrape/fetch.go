package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/mangru/mangru/internal/inflate"
)

var errBodySizeLimit = errors.New("body size limit exceeded")

// fetcher gets a target's pages. It keeps the request and the sizes from one
// scrape to the next.
type fetcher struct {
	sp       *spec
	req      *http.Request
	client   *http.Client
	sizeWire int // of the last body, as it came
	sizeText int // and unpacked
}

// page is one answer of a target. Its bytes are borrowed from a pool.
type page struct {
	f           *fetcher
	wire        []byte // as it came
	text        []byte // unpacked, where that was needed as a whole
	packed      bool
	zr          *inflate.Reader
	contentType string
}

// fetch gets one page as it comes over the network; it is unpacked later, when
// there is a CPU for it.
func (f *fetcher) fetch(ctx context.Context, sp *spec) (page, error) {
	if err := f.prepare(sp); err != nil {
		return page{}, err
	}
	req := f.req.WithContext(ctx)
	// Round trippers leave credentials in the header, which would stay when the
	// file that they are from is replaced.
	req.Header = f.req.Header.Clone()
	resp, err := f.client.Do(req)
	if err != nil {
		return page{}, err
	}
	defer func() {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		_ = resp.Body.Close()
	}()
	if resp.StatusCode != http.StatusOK {
		return page{}, fmt.Errorf("server returned HTTP status %s", resp.Status)
	}
	pg := page{f: f, contentType: resp.Header.Get("Content-Type"), packed: resp.Header.Get("Content-Encoding") == "gzip"}
	limit := int64(sp.plan.cfg.BodySizeLimit)
	if limit > 0 && pg.packed {
		limit += 1 << 10 // packing can make a body larger, if only a little
	}
	pg.wire, err = readAll(resp.Body, max(f.sizeWire, int(min(resp.ContentLength, 1<<24))), limit)
	if err != nil {
		pg.release()
		return page{}, err
	}
	f.sizeWire = len(pg.wire)
	return pg, nil
}

func (f *fetcher) prepare(sp *spec) (err error) {
	if f.sp == sp {
		return nil
	}
	f.sp = nil
	if f.client, err = sp.plan.clientFor(sp.Labels); err != nil {
		return err
	}
	if f.req, err = http.NewRequestWithContext(context.Background(), http.MethodGet, sp.URL, http.NoBody); err != nil {
		return err
	}
	f.req.Header.Set("Accept", sp.plan.accept)
	f.req.Header.Set("Accept-Encoding", sp.plan.encoding)
	f.req.Header.Set("User-Agent", sp.plan.userAgent)
	f.req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(sp.Timeout.Seconds(), 'f', -1, 64))
	f.sp = sp
	return nil
}

// windows hands out the page unpacked, piece by piece.
func (p *page) windows() windows {
	if !p.packed {
		return &wholePage{b: p.wire}
	}
	return p.inflater()
}

// inflater returns a reader of the packed page, at its beginning.
func (p *page) inflater() *inflate.Reader {
	if p.zr == nil {
		p.zr = inflaters.Get().(*inflate.Reader)
	}
	p.zr.Reset(p.wire)
	return p.zr
}

// unpack decompresses the page as a whole. Like Prometheus it takes a body of
// limit bytes for one that is too large.
func (p *page) unpack(limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = math.MaxInt64
	}
	if !p.packed {
		if int64(len(p.wire)) >= limit {
			return p.wire, errBodySizeLimit
		}
		return p.wire, nil
	}
	text, err := p.inflater().AppendAll(pages.get(max(p.f.sizeText+pageSlack, 4096)), limit-1)
	p.text = text
	switch {
	case errors.Is(err, inflate.ErrTooLarge):
		return nil, errBodySizeLimit
	case err != nil:
		return nil, fmt.Errorf("unpacking the body: %w", err)
	}
	p.f.sizeText = len(text)
	return text, nil
}

// pageSlack is more than unpacking wants beyond a page's end.
const pageSlack = 1024

var inflaters = sync.Pool{New: func() any { return new(inflate.Reader) }}

// release gives the bytes back.
func (p *page) release() {
	pages.put(p.text)
	pages.put(p.wire)
	if p.zr != nil {
		inflaters.Put(p.zr)
	}
	p.wire, p.text, p.zr = nil, nil, nil
}

// readAll reads to the end, or fails at limit bytes where limit is positive.
// Also when it fails the bytes are to be given back.
func readAll(r io.Reader, hint int, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = math.MaxInt64
	}
	b := pages.get(max(hint+512, 4096))
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case int64(len(b)) >= limit:
			return b, errBodySizeLimit
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b, fmt.Errorf("reading the body: %w", err)
		}
		if len(b) == cap(b) {
			larger := append(pages.get(2*cap(b)), b...)
			pages.put(b)
			b = larger
		}
	}
}

// bytePool lends byte slices by size, in powers of two.
type bytePool struct{ classes [27]sync.Pool }

var pages bytePool

func (p *bytePool) get(size int) []byte {
	c := bits.Len(uint(size - 1))
	if c < len(p.classes) {
		if b, ok := p.classes[c].Get().(*[]byte); ok {
			return (*b)[:0]
		}
	}
	return make([]byte, 0, 1<<c)
}

// put takes a slice back. Giants and slices from elsewhere are left to the
// garbage collector.
func (p *bytePool) put(b []byte) {
	if c := bits.Len(uint(cap(b))) - 1; cap(b) > 0 && c < len(p.classes) && cap(b) == 1<<c {
		p.classes[c].Put(&b)
	}
}

// plainError takes the address out of an error of net/http, which the state of
// the target shows anyway, and which may hold a secret in its query.
func plainError(err error) string {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Op + ": " + ue.Err.Error()
	}
	return err.Error()
}
