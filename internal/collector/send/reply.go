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
}

// post sends a request body once.
func (s *shard) post(ctx context.Context, body []byte) reply {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return reply{err: withoutURL(err)}
	}
	for k, v := range s.cfg.Headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Type", wire.ContentTypeV1)
	req.Header.Set("Content-Encoding", wire.ContentEncoding)
	req.Header.Set(wire.VersionHeader, wire.VersionHeaderValue)
	req.Header.Set("User-Agent", s.cfg.UserAgent)
	start := time.Now()
	resp, err := s.client.Do(req)
	s.metrics.duration.Observe(time.Since(start).Seconds())
	if err != nil {
		r := reply{err: withoutURL(err), retry: true, reason: "network"}
		var ce *sigv4.CredentialsError
		if errors.As(err, &ce) {
			r.reason = "credentials"
		}
		s.metrics.requests(r.reason).Inc()
		return r
	}
	defer func() { _ = resp.Body.Close() }()
	s.metrics.requests(strconv.Itoa(resp.StatusCode)).Inc()
	line := firstLine(resp.Body)
	if resp.StatusCode/100 == 2 {
		return reply{status: resp.StatusCode}
	}
	r := reply{status: resp.StatusCode, err: fmt.Errorf("server answered %s: %s", resp.Status, line)}
	if mayPass(resp.StatusCode) {
		r.retry, r.reason = true, strconv.Itoa(resp.StatusCode)
		r.after = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	return r
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
