package fault

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/differential/program"
	"github.com/mangru/mangru/test/differential/sink"
)

func TestMain(m *testing.M) { program.Main(m) }

// patience is how long anything may take; more means that it does not happen.
const patience = 90 * time.Second

const textType = "text/plain; version=0.0.4"

// How a target answers every other time. In between, it answers well.
const (
	well      = "well"
	slow      = "slow"       // takes its time
	stalls    = "stalls"     // gives no answer
	drips     = "drips"      // gives a part of it
	cut       = "cut"        // less than the length that it told
	chunk     = "chunk"      // chunks without an end
	short     = "short"      // more than the length that it told
	html      = "html"       // another type
	wrongType = "wrong-type" // a type that it is not
	notGzip   = "not-gzip"   // an encoding that it is not
	halfGzip  = "half-gzip"
	bomb      = "bomb" // little that becomes much
	huge      = "huge" // many series
	broken    = "broken"
	failing   = "failing"
	reset     = "reset"
	twice     = "twice" // a label twice, which receivers refuse
	giant     = "giant" // a series that fits into no request
	empty     = "empty"
)

// troubles are all of them.
func troubles() []string {
	return []string{
		well, slow, stalls, drips, cut, chunk, short, html, wrongType, notGzip, halfGzip, bomb, huge, broken, failing, reset, twice, giant, empty,
	}
}

// visit is one scrape of a target.
type visit struct {
	number float64
	series int // on the page, or that part of it which got through
}

// plant has the targets, each at /<trouble>/<name>. A page shows the number of
// the visit as each value, so that whatever arrives tells where it is from.
type plant struct {
	server *httptest.Server
	check  func(*http.Request) error

	mu     sync.Mutex
	visits map[string][]visit // by name
}

func newPlant(t *testing.T) *plant {
	theBomb() // which takes long
	p := &plant{visits: make(map[string][]visit)}
	p.server = httptest.NewServer(p)
	t.Cleanup(p.server.Close)
	return p
}

func (p *plant) addr() string { return p.server.Listener.Addr().String() }

// page is what a target shows at a visit: eight series, of which one changes.
func page(name string, n int) (text string, series int) {
	var b strings.Builder
	b.WriteString("# HELP m Some help.\n# TYPE m gauge\n")
	for i := range 7 {
		fmt.Fprintf(&b, "m{i=\"%d\"} %d\n", i, n)
	}
	fmt.Fprintf(&b, "m{i=\"x%d\"} %d\n", n/3%5, n)
	return b.String(), 8
}

// ServeHTTP implements http.Handler.
func (p *plant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.check != nil {
		if err := p.check(r); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
	}
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) != 3 {
		http.NotFound(w, r)
		return
	}
	trouble, name := parts[1], parts[2]
	p.mu.Lock()
	n := len(p.visits[name])
	text, series := page(name, n)
	good := trouble == well || trouble == slow || n%2 == 0
	switch {
	case good, trouble == giant:
	case trouble == short:
		series = 3
	default:
		series = 0
	}
	if trouble == giant && !good {
		series++
	}
	p.visits[name] = append(p.visits[name], visit{float64(n), series})
	p.mu.Unlock()
	// A client may ask again where a connection that it had used before breaks.
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Type", textType)
	if good && trouble != slow {
		_, _ = w.Write([]byte(text))
		return
	}
	fail(w, r, trouble, text)
}

// fail answers in one of the bad ways.
func fail(w http.ResponseWriter, r *http.Request, trouble, text string) {
	h := w.Header()
	write := func(b []byte) { _, _ = w.Write(b) }
	switch trouble {
	case slow:
		select {
		case <-time.After(60 * time.Millisecond):
		case <-r.Context().Done():
		}
		write([]byte(text))
	case stalls:
		<-r.Context().Done()
	case drips, chunk:
		write([]byte(text[:len(text)/2]))
		_ = http.NewResponseController(w).Flush()
		if trouble == chunk {
			panic(http.ErrAbortHandler)
		}
		<-r.Context().Done()
	case cut, short, reset:
		raw(w, trouble, text)
	case html:
		h.Set("Content-Type", "text/html")
		write([]byte("<html>" + text))
	case wrongType:
		h.Set("Content-Type", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited")
		write([]byte(text))
	case notGzip:
		h.Set("Content-Encoding", "gzip")
		write([]byte(text))
	case halfGzip:
		h.Set("Content-Encoding", "gzip")
		z := packed([]byte(text), 1)
		write(z[:len(z)/2])
	case bomb:
		h.Set("Content-Encoding", "gzip")
		write(theBomb())
	case huge:
		write(theHuge())
	case broken:
		write([]byte(text + "broken{\n"))
	case failing:
		w.WriteHeader(http.StatusInternalServerError)
		write([]byte(text))
	case twice:
		write([]byte(text + "m{i=\"a\",i=\"b\"} 1\n"))
	case giant:
		write([]byte(text))
		fmt.Fprintf(w, "giant{x=\"%s\"} 1\n", theNoise())
	case empty:
	}
}

var (
	theBomb  = sync.OnceValue(func() []byte { return packed([]byte("# "+strings.Repeat(" ", 1<<20)+"\n"), 200) })
	theNoise = sync.OnceValue(func() string { return noise(2 << 20) })
	theHuge  = sync.OnceValue(func() []byte {
		var b bytes.Buffer
		for i := range 30_000 {
			fmt.Fprintf(&b, "huge{i=\"%d\"} 1\n", i)
		}
		return b.Bytes()
	})
)

// noise is text that does not compress well.
func noise(n int) string {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[x%64]
	}
	return string(b)
}

func packed(b []byte, times int) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	for range times {
		_, _ = w.Write(b)
	}
	_ = w.Close()
	return z.Bytes()
}

// raw answers in ways that net/http would not.
func raw(w http.ResponseWriter, trouble, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	head := "HTTP/1.1 200 OK\r\nContent-Type: " + textType + "\r\n"
	switch trouble {
	case reset:
		fmt.Fprint(conn, head[:len(head)/2])
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	case cut:
		fmt.Fprintf(conn, "%sContent-Length: %d\r\n\r\n%s", head, len(text)+100, text)
	case short:
		end := strings.Index(text, `m{i="3"`) // three series
		fmt.Fprintf(conn, "%sConnection: close\r\nContent-Length: %d\r\n\r\n%s", head, end, text)
	}
}

// seen returns the visits of all targets.
func (p *plant) seen() map[string][]visit {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string][]visit)
	for name, list := range p.visits {
		out[name] = append([]visit(nil), list...)
	}
	return out
}

// collector is ours, as a process, and its metrics.
type collector struct {
	*program.Process
	t      *testing.T
	dir    string
	config string // file
	addr   string // of its own server
	// steps says that the clock steps back, so that samples of the same value can
	// come at one time twice.
	steps bool
}

var listening = regexp.MustCompile(`msg=listening component=collector address=(\S+)`)

// start runs a collector with a Prometheus file.
func start(t *testing.T, config string, env []string, args ...string) *collector {
	t.Helper()
	c := &collector{t: t, dir: t.TempDir()}
	c.config = filepath.Join(c.dir, "prometheus.yml")
	c.write(c.config, config)
	args = append([]string{"collector", "--config", c.config, "--metrics-address", "127.0.0.1:0", "--drain-timeout", "3s"}, args...)
	c.Process = program.Start(t, program.Mangru(t), env, args...)
	c.await("its address", func() bool {
		m := listening.FindStringSubmatch(c.Log())
		if m != nil {
			c.addr = m[1]
		}
		return m != nil
	})
	return c
}

// write replaces a file at once.
func (c *collector) write(file, text string) {
	c.t.Helper()
	require.NoError(c.t, os.WriteFile(file+".new", []byte(text), 0o600))
	require.NoError(c.t, os.Rename(file+".new", file))
}

// await waits until a condition holds.
func (c *collector) await(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		require.True(c.t, c.Process == nil || c.Running(), "the collector has ended")
		require.True(c.t, time.Now().Before(deadline), "not within %s: %s", patience, what)
		time.Sleep(10 * time.Millisecond)
	}
}

// reload puts another configuration in place and waits until it is.
func (c *collector) reload(config string) {
	c.t.Helper()
	before := strings.Count(c.Log(), "msg=\"collector configured\"")
	c.write(c.config, config)
	require.NoError(c.t, c.Reload())
	c.await("a reload", func() bool { return strings.Count(c.Log(), "msg=\"collector configured\"") > before })
}

// metrics are a collector's own at one moment.
type metrics map[string]*dto.MetricFamily

func (c *collector) metrics() metrics {
	c.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+c.addr+"/metrics", http.NoBody)
	require.NoError(c.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	p := expfmt.NewTextParser(model.UTF8Validation)
	m, err := p.TextToMetricFamilies(resp.Body)
	require.NoError(c.t, err)
	return m
}

// sum adds the values of a metric whose labels include the given ones, name and
// value in turns.
func (m metrics) sum(name string, ls ...string) (total float64) {
	for _, x := range m[name].GetMetric() {
		fits := 0
		for _, l := range x.GetLabel() {
			for i := 0; i < len(ls); i += 2 {
				if l.GetName() == ls[i] && l.GetValue() == ls[i+1] {
					fits += 2
				}
			}
		}
		if fits == len(ls) {
			total += x.GetCounter().GetValue() + x.GetGauge().GetValue() + x.GetUntyped().GetValue()
		}
	}
	return total
}

// labelled returns the values of a metric by one of its labels.
func (m metrics) labelled(name, label string) map[string]float64 {
	out := make(map[string]float64)
	for _, x := range m[name].GetMetric() {
		for _, l := range x.GetLabel() {
			if l.GetName() == label {
				out[l.GetValue()] += x.GetCounter().GetValue() + x.GetGauge().GetValue()
			}
		}
	}
	return out
}

// taken is how many samples went on to the endpoints, with reports and marks.
func (m metrics) taken() float64 { return m.sum("otelcol_receiver_accepted_metric_points") }

// account is what became of the samples of one endpoint.
type account struct {
	taken, stored, refused, dropped, filtered, waiting float64
}

// balanced reports whether every sample that was taken is stored or counted.
func (a account) balanced() bool {
	return a.taken > 0 && a.waiting == 0 && a.stored+a.refused+a.dropped+a.filtered == a.taken
}

func (m metrics) account(endpoint string, stored int) account {
	return account{
		taken: m.taken(), stored: float64(stored),
		refused:  m.sum("mangru_collector_send_dropped_samples_total", "endpoint", endpoint),
		dropped:  m.sum("mangru_collector_queue_dropped_samples_total", "endpoint", endpoint),
		filtered: m.sum("mangru_collector_send_filtered_samples_total", "endpoint", endpoint),
		waiting:  m.sum("mangru_collector_queue_samples", "endpoint", endpoint),
	}
}

// settled waits until nothing is scraped or waits any more and the accounts of
// all endpoints are balanced; it returns the metrics of that moment. The
// configuration must have no targets any more.
func (c *collector) settled(s *sink.Sink, endpoints []string) metrics {
	c.t.Helper()
	var m metrics
	var last []string
	deadline := time.Now().Add(patience)
	for {
		m = c.metrics()
		done := m.sum("mangru_collector_targets") == 0
		last = last[:0]
		for _, e := range endpoints {
			s.With(e, func(st *sink.Stream) {
				n := 0
				if st != nil {
					n = st.Points()
					if c.steps {
						n += st.Repeated
					}
				}
				a := m.account(e, n)
				// The first one's series have all ended.
				if ok := a.balanced() && (e != endpoints[0] || open(st) == 0); !ok {
					done = false
					last = append(last, fmt.Sprintf("%s %+v", e, a))
				}
			})
		}
		if done {
			return m
		}
		require.True(c.t, time.Now().Before(deadline), "samples are neither stored nor counted: %v", last)
		require.True(c.t, c.Running(), "the collector has ended")
		time.Sleep(50 * time.Millisecond)
	}
}

// open counts the series that have not ended.
func open(s *sink.Stream) (n int) {
	if s == nil {
		return 1
	}
	for _, x := range s.Series {
		if p := x.Points; len(p) > 0 && !p[len(p)-1].Stale() {
			n++
		}
	}
	return n
}

// audit compares what an endpoint has stored, of which it has refused nothing,
// with what the targets have shown, page by page.
func audit(t *testing.T, s *sink.Stream, seen map[string][]visit) {
	t.Helper()
	inOrder(t, s)
	auditPages(t, s, seen, true)
}

// auditPages is audit without the order, and without counting ups, of which two
// can be of one time where the clock steps back.
func auditPages(t *testing.T, s *sink.Stream, seen map[string][]visit, count bool) {
	t.Helper()
	require.Empty(t, s.Faults)
	type key struct {
		target string
		number float64
	}
	stored := make(map[key]int)
	when := make(map[key]int64)
	ups, downs := make(map[string]int), make(map[string]int)
	for _, x := range s.Series {
		name, target := x.Labels.Get(model.MetricNameLabel), x.Labels.Get("t")
		for _, p := range x.Points {
			switch {
			case p.Stale():
			case name == "up" && p.Value == 1:
				ups[target]++
			case name == "up":
				downs[target]++
			case name == "m":
				k := key{target, p.Value}
				if at, ok := when[k]; ok {
					require.Equal(t, at, p.Time, "a page at two times: %s", x.Labels)
				}
				when[k] = p.Time
				stored[k]++
			}
		}
	}
	for target, list := range seen {
		arrived := 0
		for _, v := range list {
			n := stored[key{target, v.number}]
			if n > 0 {
				arrived++
			}
			want := v.series
			if strings.HasPrefix(target, giant) && v.series == 9 {
				want = 8 // the giant is counted apart
			}
			require.True(t, n == want || n == 0, "%s, scrape %v: %d series on the page, %d stored", target, v.number, v.series, n)
			delete(stored, key{target, v.number})
		}
		if !count {
			continue
		}
		// A busy machine may not get as far as asking in time.
		require.GreaterOrEqual(t, ups[target]+downs[target], len(list), "%s: scrapes and their ups", target)
		if !strings.HasPrefix(target, empty) {
			require.Equal(t, ups[target], arrived, "%s: up, and pages that arrived", target)
		}
	}
	require.Empty(t, stored, "samples that nobody has shown")
}
