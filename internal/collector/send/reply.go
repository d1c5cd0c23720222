package send

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/wire"
)

// reply is what came of a request; err is nil when it was accepted.
type reply struct {
	err    error
	status int  // 0 where no answer came
	retry  bool // the same samples may be accepted later
	after  time.Duration
	reason string // of the retry
	// unconfirmed says that a 2.0 request was accepted by one who does not say
	// how much was written; err is set then.
	unconfirmed bool
	written     written
}

// refused reports whether the samples were refused for good.
func (r *reply) refused() bool {
	return r.status/100 == 4 && !r.retry && r.status != http.StatusRequestEntityTooLarge
}

// written is what a receiver of 2.0 says that it has written.
type written struct {
	confirmed          bool // it says so at all
	samples, exemplars int  // samples include histograms
}

// post sends the encoder's request once.
func (w *worker) post(ctx context.Context, v version) reply {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	body := &requestBody{bytes: w.enc.packed}
	defer func() {
		// Whoever answers before having read everything may leave the transport
		// reading; it then keeps the bytes.
		if body.open.Load() != 0 {
			w.enc.packed = nil
		}
	}()
	req, err := w.request(ctx, v, body)
	if err != nil {
		return reply{err: withoutURL(err)}
	}
	start := time.Now()
	resp, err := w.client.Do(req)
	w.metrics.duration.Observe(time.Since(start).Seconds())
	if err != nil {
		r := reply{err: withoutURL(err), retry: true, reason: "network"}
		var ce *sigv4.CredentialsError
		if errors.As(err, &ce) {
			r.reason = "credentials"
		}
		w.metrics.requests(r.reason).Inc()
		return r
	}
	defer func() { _ = resp.Body.Close() }()
	w.metrics.requests(strconv.Itoa(resp.StatusCode)).Inc()
	return judge(v, resp)
}

func (w *worker) request(ctx context.Context, v version, body *requestBody) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, nil)
	if err != nil {
		return nil, err
	}
	req.ContentLength = int64(len(body.bytes))
	req.GetBody = body.reader
	if req.Body, err = body.reader(); err != nil {
		return nil, err
	}
	for k, val := range w.cfg.Headers {
		req.Header.Set(k, val)
	}
	req.Header.Set("Content-Type", wire.ContentTypeV1)
	req.Header.Set(wire.VersionHeader, wire.VersionHeaderValue)
	if v == v2 {
		req.Header.Set("Content-Type", wire.ContentTypeV2)
		req.Header.Set(wire.VersionHeader, wire.VersionHeaderValueV2)
	}
	req.Header.Set("Content-Encoding", wire.ContentEncoding)
	req.Header.Set("User-Agent", w.cfg.UserAgent)
	return req, nil
}

// judge reads an answer.
func judge(v version, resp *http.Response) reply {
	line := firstLine(resp.Body)
	r := reply{status: resp.StatusCode}
	if v == v2 {
		r.written = parseWritten(resp.Header)
	}
	if resp.StatusCode/100 == 2 {
		if v == v2 && !r.written.confirmed {
			r.unconfirmed = true
			r.err = fmt.Errorf("server answered %s without saying what it wrote, so it may not know remote write 2.0; set protocol to %q", resp.Status, ProtocolV1)
		}
		return r
	}
	r.err = fmt.Errorf("server answered %s: %s", resp.Status, line)
	if mayPass(resp.StatusCode) {
		r.retry, r.reason = true, strconv.Itoa(resp.StatusCode)
		r.after = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	return r
}

// parseWritten reads the headers of 2.0. One that is missing among others
// stands for zero.
func parseWritten(h http.Header) (w written) {
	read := func(name string) int {
		v := h.Get(name)
		if v == "" {
			return 0
		}
		w.confirmed = true
		n, err := strconv.Atoi(v)
		if err != nil {
			return 0
		}
		return max(0, n)
	}
	w.samples = read(wire.WrittenSamplesHeader) + read(wire.WrittenHistogramsHeader)
	w.exemplars = read(wire.WrittenExemplarsHeader)
	return w
}

// mayPass reports whether the same samples may be accepted later. Who is refused
// for its identity (a role not attached yet, a key being rotated, a clock that
// is off) is refused for all samples alike, and people can mend it while the
// samples wait; so that is no reason to drop them.
func mayPass(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusUnauthorized, http.StatusForbidden:
		return true
	}
	return status/100 == 5
}

// requestBody is the bytes of a request, for as many readers as the HTTP client
// wants: it begins again after a redirect, or on another connection.
type requestBody struct {
	bytes []byte
	open  atomic.Int32 // readers that are not closed
}

func (b *requestBody) reader() (io.ReadCloser, error) {
	b.open.Add(1)
	return &bodyReader{Reader: bytes.NewReader(b.bytes), body: b}, nil
}

type bodyReader struct {
	*bytes.Reader
	body   *requestBody
	closed atomic.Bool
}

// Close implements io.Closer.
func (r *bodyReader) Close() error {
	if r.closed.CompareAndSwap(false, true) {
		r.body.open.Add(-1)
	}
	return nil
}

// withoutURL takes the address out of an error of net/http: its query may hold
// a secret, and the endpoint's name says enough.
func withoutURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// firstLine reads a body to its end, within reason, so that the connection can
// be used again, and returns its first line, shortened.
func firstLine(r io.Reader) string {
	br := bufio.NewReader(io.LimitReader(r, 256<<10))
	line, _ := br.ReadString('\n')
	_, _ = io.Copy(io.Discard, br)
	line = strings.ToValidUTF8(strings.TrimSpace(line), "?")
	if len(line) > 512 {
		line = strings.ToValidUTF8(line[:512], "") + "..."
	}
	return line
}

// retryAfter reads the Retry-After header in either of its forms.
func retryAfter(v string, now time.Time) time.Duration {
	const most = 10 * time.Minute // a server's mistake must not stop us for good
	if secs, err := strconv.ParseInt(v, 10, 32); err == nil {
		return max(0, min(most, time.Duration(secs)*time.Second))
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, min(most, at.Sub(now)))
	}
	return 0
}
