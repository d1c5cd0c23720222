// Package pages serves the pages of a load.Cluster, each target at an address
// of its own on this machine. A page is rendered and compressed while nobody
// waits for it, so that a scrape costs little more than the bytes it moves.
package pages

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/mangru/mangru/test/bench/collector/load"
)

// contentType is what every target answers: none of the recorded programs but
// kube-state-metrics can do more.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// Target is where a page is to be had.
type Target struct {
	Job     string `json:"job"`
	Node    string `json:"node"`
	Address string `json:"address"`
	Path    string `json:"path"`
}

// Stats are counts of what was served since the server began.
type Stats struct {
	Scrapes int64 `json:"scrapes"`
	// Lines are the samples on all pages, Fresh those that were not served
	// before with the same timestamp.
	Lines int64 `json:"lines"`
	Fresh int64 `json:"fresh"`
	// PageBytes are before compression.
	PageBytes int64 `json:"pageBytes"`
	Bytes     int64 `json:"bytes"`
	Failed    int64 `json:"failed"`
}

// Server serves all pages.
type Server struct {
	targets []Target
	pages   map[string]*page // by address and path
	work    chan *page
	gzip    *gzip.Writer

	mu    sync.Mutex
	stats Stats
}

// page is a target's, rendered ahead.
type page struct {
	source   *load.Page
	interval time.Duration
	ready    chan rendered // holds at most one
	served   bool          // used by whoever has the page in work
}

// due is about when a page that is rendered now will be asked for: timestamps on
// it should be no older than those of a page that is made when it is asked for.
func (p *page) due(now time.Time) time.Time {
	if !p.served {
		return now
	}
	return now.Add(p.interval * 9 / 10)
}

type rendered struct {
	gzipped []byte
	size    int
	count   load.Count
}

// New gives every target an address with the given port. interval is that of
// the scrapes to come, level that of gzip.
func New(targets []load.Target, interval time.Duration, port, level int) (*Server, error) {
	z, err := gzip.NewWriterLevel(nil, level)
	if err != nil {
		return nil, err
	}
	s := &Server{pages: map[string]*page{}, work: make(chan *page, len(targets)), gzip: z}
	number := map[string]int{}
	for _, t := range targets {
		address, path := place(t.Job, number[t.Job], port)
		number[t.Job]++
		s.targets = append(s.targets, Target{Job: t.Job, Node: t.Node, Address: address, Path: path})
		p := &page{source: t.Page, interval: interval, ready: make(chan rendered, 1)}
		s.pages[address+path] = p
		s.work <- p
	}
	return s, nil
}

// place is the address and path of a job's target with a number. All of
// 127.0.0.0/8 is this machine; kubelet and cAdvisor share one address, as they do
// in reality.
func place(job string, number, port int) (address, path string) {
	network := map[string]int{
		load.JobNodeExporter: 11, load.JobKubelet: 12, load.JobCAdvisor: 12,
		load.JobKubeStateMetrics: 13, load.JobAPIServer: 14, load.JobApp: 15,
	}[job]
	path = "/metrics"
	if job == load.JobCAdvisor {
		path = "/metrics/cadvisor"
	}
	return fmt.Sprintf("127.%d.%d.%d:%d", network, number/250, 1+number%250, port), path
}

// Targets lists where all pages are.
func (s *Server) Targets() []Target { return s.targets }

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// loopback is a listener of one port at every address of this machine that takes
// connections to 127.0.0.0/8 only: a socket for each of thousands of targets
// would take as many open files as their connections do.
type loopback struct{ net.Listener }

// Accept implements net.Listener.
func (l loopback) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if a, ok := c.LocalAddr().(*net.TCPAddr); ok && a.IP.IsLoopback() {
			return c, nil
		}
		_ = c.Close()
	}
}

// Run listens at all addresses, renders every page once, calls ready and serves
// until ctx is done.
func (s *Server) Run(ctx context.Context, ready func()) error {
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 1)
	if len(s.targets) > 0 {
		_, port, err := net.SplitHostPort(s.targets[0].Address)
		if err != nil {
			return err
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "0.0.0.0:"+port)
		if err != nil {
			return err
		}
		go func() { failed <- server.Serve(loopback{l}) }()
	}
	rendering, stop := context.WithCancel(ctx)
	var renderer sync.WaitGroup
	defer renderer.Wait()
	defer stop()
	first := make(chan struct{})
	renderer.Go(func() { s.render(rendering, first) })
	select {
	case <-first:
		ready()
	case <-ctx.Done():
	}
	select {
	case <-ctx.Done():
		return server.Close()
	case err := <-failed:
		return errors.Join(err, server.Close())
	}
}

// render prepares pages, one at a time, and says when all have been once.
func (s *Server) render(ctx context.Context, first chan<- struct{}) {
	var text []byte
	left := len(s.targets)
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-s.work:
			var r rendered
			text, r.count = p.source.Render(text[:0], p.due(time.Now()))
			r.size = len(text)
			var z bytes.Buffer
			s.gzip.Reset(&z)
			if _, err := s.gzip.Write(text); err != nil {
				panic(fmt.Sprintf("BUG: compressing into memory: %v", err))
			}
			if err := s.gzip.Close(); err != nil {
				panic(fmt.Sprintf("BUG: compressing into memory: %v", err))
			}
			r.gzipped = z.Bytes()
			p.ready <- r
			if left--; left == 0 {
				close(first)
			}
		}
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	p := s.pages[fmt.Sprint(local)+r.URL.Path]
	if p == nil {
		http.NotFound(w, r)
		return
	}
	var page rendered
	select {
	case page = <-p.ready:
	case <-r.Context().Done():
		return
	}
	err := send(w, r, page)
	p.served = true
	s.work <- p
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.stats.Failed++
		return
	}
	s.stats.Scrapes++
	s.stats.Lines += int64(page.count.Lines)
	s.stats.Fresh += int64(page.count.Fresh)
	s.stats.PageBytes += int64(page.size)
	s.stats.Bytes += int64(len(page.gzipped))
}

func send(w http.ResponseWriter, r *http.Request, page rendered) error {
	h := w.Header()
	h.Set("Content-Type", contentType)
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(page.gzipped)))
		_, err := w.Write(page.gzipped)
		return err
	}
	z, err := gzip.NewReader(bytes.NewReader(page.gzipped))
	if err != nil {
		return err
	}
	_, err = io.Copy(w, z)
	return err
}

// Control answers GET /targets and GET /stats.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	answer := func(what func() any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(what()) // the asker is gone
		}
	}
	mux.HandleFunc("GET /targets", answer(func() any { return s.Targets() }))
	mux.HandleFunc("GET /stats", answer(func() any { return s.Stats() }))
	return mux
}
