package dashboard

import (
	"crypto/subtle"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// contentPolicy lets a page load what comes from this server and nothing else.
// Styles are also set inline, by the chart library; scripts never are.
const contentPolicy = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; " +
	"connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"

func secureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		// Browsers honour this one over HTTPS and on loopback, and complain elsewhere.
		if name := hostName(r.Host); r.TLS != nil || name == "localhost" || net.ParseIP(name).IsLoopback() {
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
		}
		next.ServeHTTP(w, r)
	})
}

// checkHost refuses requests for names that are not ours, so that a foreign
// name which resolves to this machine can't use a browser against it.
func (a *api) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostName(r.Host)
		if net.ParseIP(host) == nil && host != "localhost" && !slices.Contains(a.Hosts, host) {
			writeError(w, http.StatusMisdirectedRequest, "this server is not known by the name "+host)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostName is the Host header without its port and brackets, in lower case.
func hostName(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

func sessionSecret(r *http.Request) string {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return ""
	}
	return c.Value
}

func setSessionCookie(w http.ResponseWriter, r *http.Request, secret string, expires time.Time) {
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: secret, Path: "/", Expires: expires,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
}

func sameToken(got, want string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// rateLimit lets each key through so many times in a window.
type rateLimit struct {
	most   int
	window time.Duration
	now    func() time.Time

	mu   sync.Mutex
	hits map[string]*window
}

type window struct {
	start time.Time
	count int
}

// maxRateKeys bounds the memory that callers from many addresses can take.
const maxRateKeys = 10_000

func newRateLimit(most int, every time.Duration) *rateLimit {
	return &rateLimit{most: most, window: every, now: time.Now, hits: make(map[string]*window)}
}

// take counts a try and returns how long to wait where there were too many.
func (l *rateLimit) take(key string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if len(l.hits) >= maxRateKeys {
		for k, w := range l.hits {
			if now.Sub(w.start) >= l.window {
				delete(l.hits, k)
			}
		}
		if len(l.hits) >= maxRateKeys {
			return l.window
		}
	}
	w := l.hits[key]
	if w == nil || now.Sub(w.start) >= l.window {
		l.hits[key] = &window{start: now, count: 1}
		return 0
	}
	if w.count++; w.count > l.most {
		return l.window - now.Sub(w.start)
	}
	return 0
}
