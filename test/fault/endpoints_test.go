package fault

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mangru/mangru/test/differential/sink"
)

// endpoint is a way to fail: every time when the number of the request fits.
type endpoint struct {
	name  string
	every int // which request fails, as a divisor of its number
	v1    bool
	// fail answers, and says whether it did so; what it keeps is stored.
	fail func(w http.ResponseWriter, r *http.Request, keep func(*sink.Request) *sink.Request, body *http.Request)
	// refuses says that something is lost for good.
	refuses bool
}

// endpoints are all ways, the first without a fault.
func endpoints() []endpoint {
	status := func(code int, header ...string) func(http.ResponseWriter, *http.Request, func(*sink.Request) *sink.Request, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request, _ func(*sink.Request) *sink.Request, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			http.Error(w, "refused by the test\nsecond line", code)
		}
	}
	type keep = func(*sink.Request) *sink.Request
	decoded := func(r *http.Request) *sink.Request {
		req, err := sink.Decode(r)
		if err != nil {
			panic(err)
		}
		return req
	}
	return []endpoint{
		{name: "good"},
		{name: "good-v1", v1: true},
		{name: "e500", every: 3, fail: status(500)},
		{name: "e503", every: 23, fail: status(503, "Retry-After", time.Now().Add(time.Second).UTC().Format(http.TimeFormat))},
		{name: "e429", every: 29, fail: status(429, "Retry-After", "1")},
		{name: "e401", every: 4, fail: status(401)},
		{name: "e403", every: 4, fail: status(403)},
		{name: "e400", every: 7, fail: status(400), refuses: true},
		{name: "e400-v1", every: 7, v1: true, fail: status(400), refuses: true},
		{name: "e404", every: 9, fail: status(404), refuses: true},
		{name: "e413", every: 1, fail: func(w http.ResponseWriter, r *http.Request, k keep, body *http.Request) {
			if r.ContentLength > 700 && r.ContentLength < 20_000 {
				http.Error(w, "too long", http.StatusRequestEntityTooLarge)
				return
			}
			sink.Accept(w, k(decoded(body)))
		}},
		{name: "e415", every: 1, fail: func(w http.ResponseWriter, r *http.Request, k keep, body *http.Request) {
			if strings.Contains(r.Header.Get("Content-Type"), "v2.Request") {
				http.Error(w, "only 1.0", http.StatusUnsupportedMediaType)
				return
			}
			sink.Accept(w, k(decoded(body)))
		}},
		{name: "old", every: 1, fail: func(w http.ResponseWriter, r *http.Request, k keep, body *http.Request) {
			if req := decoded(body); !req.V2 {
				k(req)
			}
			w.WriteHeader(http.StatusOK) // as one answers who reads 2.0 as an empty message
		}},
		{name: "hangs", every: 6, fail: func(_ http.ResponseWriter, r *http.Request, _ keep, _ *http.Request) {
			<-r.Context().Done()
		}},
		{name: "hangs-after", every: 6, fail: func(_ http.ResponseWriter, r *http.Request, k keep, body *http.Request) {
			k(decoded(body))
			<-r.Context().Done()
		}},
		{name: "resets", every: 3, fail: func(w http.ResponseWriter, _ *http.Request, _ keep, _ *http.Request) {
			hangUp(w, "")
		}},
		{name: "resets-after", every: 3, fail: func(w http.ResponseWriter, _ *http.Request, k keep, body *http.Request) {
			k(decoded(body))
			hangUp(w, "HTTP/1.1 204 No Con")
		}},
		{name: "cuts-answer", every: 3, fail: func(w http.ResponseWriter, _ *http.Request, k keep, body *http.Request) {
			k(decoded(body))
			hangUp(w, "HTTP/1.1 500 Oh\r\nContent-Length: 1000\r\n\r\nno")
		}},
		{name: "half", every: 4, refuses: true, fail: func(w http.ResponseWriter, _ *http.Request, k keep, body *http.Request) {
			half := k(decoded(body).Half())
			samples, histograms, exemplars := half.Counts()
			w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(samples))
			w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(histograms))
			w.Header().Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(exemplars))
			http.Error(w, "the rest is out of order", http.StatusBadRequest)
		}},
		{name: "slow", every: 1, fail: func(w http.ResponseWriter, r *http.Request, k keep, body *http.Request) {
			select {
			case <-time.After(150 * time.Millisecond):
			case <-r.Context().Done():
			}
			sink.Accept(w, k(decoded(body)))
		}},
		{name: "talks", every: 2, fail: status(500, "X-Long", strings.Repeat("x", 20_000))},
	}
}

// hangUp answers with a part of an answer and resets the connection.
func hangUp(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = conn.Write([]byte(text))
	if tcp, ok := conn.(*net.TCPConn); ok && text == "" {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// receivers are all endpoints at /<name>.
type receivers struct {
	sink   sink.Sink
	server *httptest.Server
	by     map[string]endpoint
	check  func(*http.Request) error

	mu     sync.Mutex
	asked  map[string]int
	failed map[string]int
}

func newReceivers(t *testing.T, list []endpoint) *receivers {
	x := &receivers{by: make(map[string]endpoint), asked: make(map[string]int), failed: make(map[string]int)}
	for _, e := range list {
		x.by[e.name] = e
	}
	x.server = httptest.NewUnstartedServer(x)
	t.Cleanup(func() { x.server.Close() })
	return x
}

func (x *receivers) start() *receivers {
	x.server.Start()
	return x
}

// ServeHTTP implements http.Handler.
func (x *receivers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	e, known := x.by[name]
	if !known {
		http.NotFound(w, r)
		return
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	body := r.Clone(r.Context())
	body.Body = io.NopCloser(strings.NewReader(string(raw)))
	if x.check != nil {
		if err := x.check(body); err != nil {
			x.mu.Lock()
			x.failed[name]++
			x.mu.Unlock()
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		body.Body = io.NopCloser(strings.NewReader(string(raw)))
	}
	x.mu.Lock()
	x.asked[name]++
	fails := e.fail != nil && x.asked[name]%e.every == 0
	if fails {
		x.failed[name]++
	}
	x.mu.Unlock()
	keep := func(req *sink.Request) *sink.Request {
		x.sink.Keep(name, req)
		return req
	}
	if fails {
		e.fail(w, r, keep, body)
		return
	}
	req, err := sink.Decode(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	sink.Accept(w, keep(req))
}

// failures returns how often each endpoint has failed.
func (x *receivers) failures() map[string]int {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := make(map[string]int)
	for name, n := range x.failed {
		out[name] = n
	}
	return out
}

// remoteWrite is the part of a Prometheus file about some endpoints.
func (x *receivers) remoteWrite(list []endpoint, more string) string {
	var b strings.Builder
	b.WriteString("remote_write:\n")
	for _, e := range list {
		message := ""
		if e.v1 {
			message = "protobuf_message: prometheus.WriteRequest, "
		} else if e.name == "half" {
			message = "protobuf_message: io.prometheus.write.v2.Request, "
		}
		timeout := "20s"
		if strings.HasPrefix(e.name, "hangs") {
			timeout = "500ms"
		}
		fmt.Fprintf(&b, "- {name: %s, url: %q, remote_timeout: %s, %s%squeue_config: {batch_send_deadline: 20ms, min_backoff: 10ms, max_backoff: 200ms, max_shards: 4, max_samples_per_send: 400, retry_on_http_429: true}}\n",
			e.name, x.server.URL+"/"+e.name, timeout, message, more)
	}
	return b.String()
}
