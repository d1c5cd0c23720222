package api_test

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mangru/mangru/internal/audit"
	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/server/api"
)

// floodServer is the edge as a server has it: a listener, its log, the audit log
// and the real records.
func (w *world) floodServer(b *testing.B, refusals int) (addr string) {
	b.Helper()
	log, err := audit.Open(audit.Config{File: b.TempDir() + "/audit.jsonl"}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	v, err := sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{region}, Tolerances: sigv4.AllTolerances()}, api.Keys(w.identity, sessions{}))
	if err != nil {
		b.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	rt, err := api.NewRouter(api.Config{Services: w.services, Verifier: v, Authorizer: w.identity, Audit: log, MaxRefusals: refusals}, logger)
	if err != nil {
		b.Fatal(err)
	}
	srv, err := httpserver.New(httpserver.Config{Addr: "127.0.0.1:0"}, rt, logger)
	if err != nil {
		b.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Run(b.Context()) })
	running.Go(func() { _ = log.Run(b.Context()) })
	b.Cleanup(func() { running.Wait(); _ = log.Close() })
	return srv.Addr().String()
}

// attack sends requests over one connection, perSecond of them, in bunches
// without waiting for the answers, which it throws away. That costs it as little
// as it can.
func attack(b *testing.B, from, addr string, bunch []byte, each, perSecond int, sent *atomic.Int64, stop <-chan struct{}) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := dialer.DialContext(b.Context(), "tcp", addr)
	if err != nil {
		b.Error(err)
		return
	}
	var once sync.Once
	end := func() { once.Do(func() { _ = c.Close() }) }
	defer end()
	go func() { <-stop; end() }() // it may wait in a write
	go func() { _, _ = io.Copy(io.Discard, bufio.NewReaderSize(c, 256<<10)) }()
	tick := time.NewTicker(time.Duration(each) * time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if _, err := c.Write(bunch); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			b.Error(err)
			return
		}
		sent.Add(int64(each))
	}
}

// BenchmarkGoodUnderFlood is what a good caller waits for the answer to a query
// over a connection of its own while nobody, or 10,000 bad requests a second
// over 20 connections from one address or over 200 from as many, are there as
// well: made-up signatures of a real key, unsigned ones and made-up keys in turn.
// The same with all refusals at once shows what holding them back is good for.
// Attackers take their share of the same processors.
func BenchmarkGoodUnderFlood(b *testing.B) {
	const each, perSecond = 10, 10_000
	for _, c := range []struct {
		name                   string
		connections, addresses int
		refusals               int
	}{{"alone", 0, 0, 0}, {"one address", 20, 1, 0}, {"many addresses", 200, 200, 0}, {"at once", 20, 1, -1}} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b)
			addr := w.floodServer(b, c.refusals)
			route := api.RouteInfo{Service: "aps", Method: "GET", Path: "/workspaces/" + w.workspace + "/api/v1/query?query=up"}
			same := func(s string) string { return s }
			request := func(key iam.AccessKey) *http.Request {
				r := w.request(b, route, key, "", same, "", nil)
				r.URL.Host = addr
				return r
			}
			var sent atomic.Int64
			stop := make(chan struct{})
			var all sync.WaitGroup
			for i := range c.connections {
				from := fmt.Sprintf("127.0.1.%d", i%c.addresses)
				var bunch strings.Builder
				for n := range each {
					key := iam.AccessKey{ID: w.admin.ID, Secret: "x"}
					switch n % 3 {
					case 1:
						key.ID = ""
					case 2:
						key.ID = "AKIA" + rand.Text()[:16]
					}
					_ = request(key).Write(&bunch)
				}
				all.Go(func() { attack(b, from, addr, []byte(bunch.String()), each, perSecond/c.connections, &sent, stop) })
			}
			var took []time.Duration
			began := time.Now()
			pause := time.NewTicker(5 * time.Millisecond)
			defer pause.Stop()
			client := &http.Client{Transport: &http.Transport{}}
			for b.Loop() {
				<-pause.C
				r := request(w.admin)
				at := time.Now()
				res, err := client.Do(r)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				took = append(took, time.Since(at))
				if res.StatusCode != http.StatusOK {
					b.Fatal(res.Status)
				}
			}
			close(stop)
			all.Wait()
			client.CloseIdleConnections()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(sent.Load())/time.Since(began).Seconds(), "bad/s")
		})
	}
}
