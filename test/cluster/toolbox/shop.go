package main

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// shop answers every page with the name of the pod that served it and counts
// what it did.
type shop struct {
	host    string
	started time.Time
	served  atomic.Int64
	missing atomic.Int64
}

func newShop(host string) http.Handler {
	s := &shop{host: host, started: time.Now()}
	mux := http.NewServeMux()
	mux.HandleFunc("/", s.page)
	mux.HandleFunc("GET /metrics", s.metrics)
	return mux
}

func (s *shop) page(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		s.missing.Add(1)
		http.NotFound(w, r)
		return
	}
	s.served.Add(1)
	fmt.Fprintln(w, s.host)
}

func (s *shop) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprintf(w, `# HELP shop_requests_total Pages asked for, by HTTP status.
# TYPE shop_requests_total counter
shop_requests_total{code="200"} %d
shop_requests_total{code="404"} %d
# HELP shop_start_time_seconds When this replica started.
# TYPE shop_start_time_seconds gauge
shop_start_time_seconds %.3f
`, s.served.Load(), s.missing.Load(), float64(s.started.UnixMilli())/1000)
}
