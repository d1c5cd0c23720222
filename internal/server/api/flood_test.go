package api_test

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/api"
)

// BenchmarkGoodUnderFlood is what a good caller waits while nobody, or 10,000
// bad requests a second, are there as well: made-up keys, made-up signatures of
// real keys, and unsigned ones in turn. It runs over the real records.
func BenchmarkGoodUnderFlood(b *testing.B) {
	for name, perSecond := range map[string]int{"alone": 0, "flood": 10_000} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			list := api.RouteInfo{Service: "aps", Name: "ListWorkspaces", Method: "GET", Path: "/workspaces"}
			same := func(s string) string { return s }
			bad := func(n int) *http.Request {
				key := iam.AccessKey{ID: "AKIA" + rand.Text()[:16], Secret: "x"}
				switch n % 3 {
				case 0:
					key.ID = w.admin.ID
				case 1:
					key.ID = ""
				}
				return w.request(b, list, key, "", same, "", nil)
			}
			pool := make([]*http.Request, 3000)
			for i := range pool {
				pool[i] = bad(i)
			}
			stop := make(chan struct{})
			var flood sync.WaitGroup
			sent := 0
			flood.Go(func() {
				if perSecond == 0 {
					return
				}
				const every = 5 * time.Millisecond
				tick := time.NewTicker(every)
				defer tick.Stop()
				for {
					select {
					case <-stop:
						return
					case <-tick.C:
					}
					for range perSecond * int(every) / int(time.Second) {
						r := pool[sent%len(pool)].Clone(b.Context())
						w.router.ServeHTTP(httptest.NewRecorder(), r)
						sent++
					}
				}
			})
			var took []time.Duration
			began := time.Now()
			for b.Loop() {
				r := w.request(b, list, w.admin, "", same, "", nil)
				at := time.Now()
				rec := httptest.NewRecorder()
				w.router.ServeHTTP(rec, r)
				took = append(took, time.Since(at))
				if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), w.workspace) {
					b.Fatalf("%d %s", rec.Code, rec.Body)
				}
			}
			close(stop)
			flood.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(sent)/time.Since(began).Seconds(), "bad/s")
		})
	}
}
