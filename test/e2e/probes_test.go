//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/cluster"
)

// probe is a target that keeps a record of who scraped it when, so that what was
// stored can be held against what happened.
type probe struct {
	address string

	mu   sync.Mutex
	hits []hit
}

// hit is one scrape, as the target saw it.
type hit struct {
	at   time.Time
	from string // address of the scraper
}

// flaps reports whether the probe's n-th page, counted from 1, has the series
// probe_flap: two pages do, the next two do not.
func flaps(n int) bool { return n%4 < 2 }

// ServeHTTP serves the page: its own number, a series that is always there, and
// one that comes and goes.
func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	p.mu.Lock()
	p.hits = append(p.hits, hit{time.Now(), from})
	n := len(p.hits)
	p.mu.Unlock()
	page := fmt.Sprintf("# TYPE probe_page gauge\nprobe_page %d\nprobe_steady 1\n", n)
	if flaps(n) {
		page += "probe_flap 1\n"
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write([]byte(page))
}

// scrapes are all scrapes so far.
func (p *probe) scrapes() []hit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]hit{}, p.hits...)
}

// scrapers are the addresses of all that have scraped the probe since a time.
func scrapers(probes []*probe, since time.Time) map[string]bool {
	out := map[string]bool{}
	for _, p := range probes {
		for _, h := range p.scrapes() {
			if h.at.After(since) {
				out[h.from] = true
			}
		}
	}
	return out
}

// startProbes listens at the control plane's address and makes the API server
// list the listeners as the endpoints of a Service that asks to be scraped.
func startProbes(t *testing.T, k *cluster.Cluster, namespace string, n int) []*probe {
	t.Helper()
	var probes []*probe
	var ports, endpoints strings.Builder
	for i := range n {
		l, err := k.ListenControl(t.Context(), 0)
		require.NoError(t, err)
		p := &probe{address: l.Addr().String()}
		server := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = server.Serve(l) // says only that it was closed
		}()
		t.Cleanup(func() { require.NoError(t, server.Close()); <-ended })
		probes = append(probes, p)
		_, port, err := net.SplitHostPort(p.address)
		require.NoError(t, err)
		fmt.Fprintf(&ports, "  - {name: p%d, port: %d}\n", i, 1000+i)
		fmt.Fprintf(&endpoints, "  - {name: p%d, port: %s}\n", i, port)
	}
	manifest := `apiVersion: v1
kind: Service
metadata: {name: probes, namespace: ` + namespace + `, annotations: {prometheus.io/scrape: "true"}}
spec:
  clusterIP: None
  ports:
` + ports.String() + `---
apiVersion: v1
kind: Endpoints
metadata: {name: probes, namespace: ` + namespace + `}
subsets:
- addresses: [{ip: ` + k.ControlAddress().String() + `}]
  ports:
` + endpoints.String()
	require.NoError(t, k.Apply(t.Context(), []byte(manifest)))
	t.Cleanup(func() {
		kubectlAfter(t, k, "-n", namespace, "delete", "service/probes", "endpoints/probes", "--ignore-not-found")
	})
	return probes
}
