package differential

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/bench/collector/load"
	"github.com/mangru/mangru/test/bench/collector/recording"
)

// Who scrapes, or sends, as its User-Agent tells.
const (
	ours   = "mangru"
	theirs = "peer"
)

func who(r *http.Request) string {
	if strings.HasPrefix(r.UserAgent(), "mangru/") {
		return ours
	}
	return theirs
}

// How a target fails to answer.
const (
	faultNone    = ""
	faultCut     = "cut"       // the body ends before its length
	faultChunk   = "chunk"     // a chunked body ends without its end
	faultShort   = "short"     // the length is less than the body
	faultStall   = "stall"     // no answer in time
	faultDrip    = "drip"      // the head in time, the body not
	faultReset   = "reset"     // the connection is reset in the middle of the head
	faultNotGzip = "not-gzip"  // says gzip, and is not
	faultHalf    = "half-gzip" // half of what gzip made
	faultMoved   = "moved"     // redirects to the same page
)

// answer is what a target says to one scrape. In body, @{n:d} stands for the time
// of scrape n and d thousandths of the interval, @{d} for that of this scrape,
// @om{...} for the same in seconds.
type answer struct {
	contentType string
	body        string
	status      int // 0: 200
	fault       string
	packed      []byte // body by gzip, if that is at hand
}

// script gives the answer to each scrape. Each scraper has one of its own.
type script func(scrape int, at func(scrape int) int64) answer

// pages answers with one after the other, and then with the last one.
func pages(list ...answer) func() script {
	return func() script {
		return func(n int, _ func(int) int64) answer { return list[min(n, len(list)-1)] }
	}
}

// targets serves every script at /<script>/<target>, where <target> is the value
// of the label t. Each scraper sees a script from its beginning.
type targets struct {
	server  *httptest.Server
	scripts map[string]func() script
	check   func(r *http.Request) error
	every   time.Duration // the interval of scrapes

	mu     sync.Mutex
	visits map[string]*visits // by scraper and path
}

// visits are the scrapes of a target by one scraper.
type visits struct {
	mu    sync.Mutex
	play  script
	times []int64          // ms
	own   map[int64]string // times on pages, and what they stand for
}

func newTargets(t *testing.T, scripts map[string]func() script, every time.Duration) *targets {
	x := &targets{scripts: scripts, every: every, visits: make(map[string]*visits)}
	x.server = httptest.NewUnstartedServer(x)
	x.server.Start()
	t.Cleanup(x.server.Close)
	return x
}

func (x *targets) addr() string { return x.server.Listener.Addr().String() }

// ServeHTTP implements http.Handler.
func (x *targets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if x.check != nil {
		if err := x.check(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
	}
	parts := strings.Split(r.URL.Path, "/") // "", script, target
	if len(parts) > 3 && parts[3] == "moved" {
		x.give(w, r, x.take(who(r), parts[1], parts[2], false))
		return
	}
	if len(parts) != 3 || x.scripts[parts[1]] == nil {
		http.NotFound(w, r)
		return
	}
	a := x.take(who(r), parts[1], parts[2], true)
	if a.fault == faultMoved {
		http.Redirect(w, r, r.URL.Path+"/moved", http.StatusFound)
		return
	}
	x.give(w, r, a)
}

// take returns the answer to the next scrape or, for one that was redirected, to
// the last one.
func (x *targets) take(who, name, target string, next bool) answer {
	v := x.of(who, target, true, name)
	v.mu.Lock()
	defer v.mu.Unlock()
	if next {
		v.times = append(v.times, time.Now().UnixMilli())
	}
	n := len(v.times) - 1
	a := v.play(n, func(n int) int64 { return v.times[n] })
	if strings.Contains(a.body, "@") {
		a.body = placeholder.ReplaceAllStringFunc(a.body, func(s string) string { return v.stamp(s, n, x.every) })
	}
	return a
}

// of returns the visits of a scraper to a target, new ones of a script if there
// are none.
func (x *targets) of(who, target string, add bool, script string) *visits {
	x.mu.Lock()
	defer x.mu.Unlock()
	key := who + "/" + target
	v := x.visits[key]
	if v == nil && add {
		v = &visits{play: x.scripts[script](), own: make(map[int64]string)}
		x.visits[key] = v
	}
	return v
}

var placeholder = regexp.MustCompile(`@(om)?\{(?:(\d+):)?(-?\d+)\}`)

// stamp writes the time that a placeholder stands for.
func (v *visits) stamp(s string, n int, every time.Duration) string {
	m := placeholder.FindStringSubmatch(s)
	if m[2] != "" {
		n, _ = strconv.Atoi(m[2])
	}
	d, _ := strconv.ParseInt(m[3], 10, 64)
	at := v.times[n] + d*every.Milliseconds()/1000
	v.own[at] = fmt.Sprintf("at%d%+d", n, d)
	if m[1] == "om" {
		return fmt.Sprintf("%d.%03d", at/1000, at%1000)
	}
	return strconv.FormatInt(at, 10)
}

func (x *targets) give(w http.ResponseWriter, r *http.Request, a answer) {
	body := []byte(a.body)
	if a.contentType != "" {
		w.Header().Set("Content-Type", a.contentType)
	} else {
		w.Header()["Content-Type"] = nil // or net/http guesses one
	}
	if strings.HasPrefix(r.URL.Path, "/broken/") {
		// A client may ask again where a connection that it had used before breaks;
		// on a new one it does not.
		w.Header().Set("Connection", "close")
	}
	switch a.fault {
	case faultStall:
		<-r.Context().Done()
		return
	case faultDrip:
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	case faultChunk:
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case faultCut, faultShort, faultReset:
		raw(w, a)
		return
	case faultNotGzip:
		w.Header().Set("Content-Encoding", "gzip")
	case faultHalf:
		w.Header().Set("Content-Encoding", "gzip")
		body = packed(body)[:len(packed(body))/2]
	default:
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && len(body) > 2000 {
			w.Header().Set("Content-Encoding", "gzip")
			if body = a.packed; body == nil {
				body = packed([]byte(a.body))
			}
		}
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = w.Write(body)
}

// raw answers in ways that net/http would not.
func raw(w http.ResponseWriter, a answer) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	switch a.fault {
	case faultReset:
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-")
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return
	case faultCut:
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", a.contentType, len(a.body)+100, a.body)
	case faultShort:
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", a.contentType, len(a.body)*2/3, a.body)
	}
}

func packed(b []byte) []byte {
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestSpeed)
	if err != nil {
		panic(err) // not for this level
	}
	_, _ = w.Write(b)
	_ = w.Close()
	return z.Bytes()
}

// own returns the times that a target put on its pages for a scraper.
func (x *targets) own(who, target string) map[int64]string {
	v := x.of(who, target, false, "")
	if v == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.own)
}

// recorded returns scripts of pages recorded on a real cluster, by job. Two
// scrapes are ten seconds apart for them, and slowly really.
func recorded(t *testing.T) map[string]func() script {
	recs, err := recording.Load(os.DirFS("../bench/collector/testdata"), load.Jobs())
	require.NoError(t, err)
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	shape := load.Shape{Nodes: 1, PodsPerNode: 6, APIServers: 1, Churn: 0.1, Interval: load.RecordedInterval, Seed: 7}
	c, err := load.New(shape, recs, start)
	require.NoError(t, err)
	out := make(map[string]func() script)
	for _, target := range c.Targets() {
		out[target.Job] = pages(recordedPages(target.Page, start)...)
	}
	return out
}

// settle is how many scrapes fail before recorded pages come, so that their times
// are after every scraper's start.
const settle = 3

func recordedPages(page *load.Page, start time.Time) (all []answer) {
	for n := range slowScrapes + 1 {
		if n < settle {
			all = append(all, answer{status: http.StatusServiceUnavailable})
			continue
		}
		text, _ := page.Render(nil, start.Add(time.Duration(n)*load.RecordedInterval))
		var out strings.Builder
		lines := 0
		for line := range strings.Lines(string(text)) {
			if lines++; lines > longest {
				break
			}
			if m := ownTime.FindStringSubmatchIndex(line); m != nil && line[0] != '#' {
				ms, _ := strconv.ParseInt(line[m[2]:m[3]], 10, 64)
				late := 1000 * slowness * (ms - start.UnixMilli()) / load.RecordedInterval.Milliseconds()
				fmt.Fprintf(&out, "%s@{1:%d}\n", line[:m[2]], late-1000*slowness)
				continue
			}
			out.WriteString(line)
		}
		a := answer{contentType: textType, body: out.String()}
		if !strings.Contains(a.body, "@{") {
			a.packed = packed([]byte(a.body))
		}
		all = append(all, a)
	}
	return all
}

// longest is how many lines of a recorded page are served; only the API server
// has more.
const longest = 6000

var ownTime = regexp.MustCompile(` (\d{13})\n$`)
