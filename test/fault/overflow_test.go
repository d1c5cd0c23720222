package fault

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/differential/sink"
)

// TestEndpointAway takes the endpoint away until more waits than is allowed, by
// bytes or by age. What is dropped is counted by that reason, and what is left
// arrives.
func TestEndpointAway(t *testing.T) {
	t.Parallel()
	for reason, flag := range map[string]string{"queue_bytes": "--queue-size=1MiB", "queue_age": "--queue-age=2s"} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", textType)
				var b strings.Builder
				for i := range 2000 {
					fmt.Fprintf(&b, "m{i=\"%d\"} %v\n", i, rand.Float64()) // does not compress well
				}
				_, _ = w.Write([]byte(b.String()))
			}))
			t.Cleanup(target.Close)
			var away atomic.Bool
			away.Store(true)
			e := endpoint{name: "good", every: 1, fail: func(w http.ResponseWriter, _ *http.Request, keep func(*sink.Request) *sink.Request, body *http.Request) {
				if away.Load() {
					http.Error(w, "away", http.StatusServiceUnavailable)
					return
				}
				req, err := sink.Decode(body)
				if err != nil {
					http.Error(w, err.Error(), http.StatusBadRequest)
					return
				}
				sink.Accept(w, keep(req))
			}}
			x := newReceivers(t, []endpoint{e}).start()
			const global = "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
			writes := x.remoteWrite([]endpoint{e}, "")
			c := start(t, global+jobsOf(target.Listener.Addr().String(), []string{"a", "b", "c"}, "")+writes, nil, flag)
			dropped := func(m metrics) float64 {
				return m.sum("mangru_collector_queue_dropped_samples_total", "endpoint", "good", "reason", reason)
			}
			c.await("a full queue", func() bool { return dropped(c.metrics()) > 20_000 })
			m := c.metrics()
			if reason == "queue_bytes" {
				require.LessOrEqual(t, m.sum("mangru_collector_queue_bytes"), float64(1<<20))
			}
			away.Store(false)
			c.reload(global + "scrape_configs: []\n" + writes)
			m = c.settled(&x.sink, []string{"good"})
			require.Equal(t, dropped(m), m.sum("mangru_collector_queue_dropped_samples_total"))
			require.Zero(t, m.sum("mangru_collector_send_dropped_samples_total"))
			x.sink.With("good", func(s *sink.Stream) { inOrder(t, s) })
		})
	}
}

// inOrder checks that each series came in order.
func inOrder(t *testing.T, s *sink.Stream) {
	t.Helper()
	require.Empty(t, s.Faults)
	for _, x := range s.Series {
		for i := 1; i < len(x.Points); i++ {
			require.Greater(t, x.Points[i].Time, x.Points[i-1].Time, "%s, among %v", x.Labels, x.Points[max(0, i-4):min(len(x.Points), i+4)])
		}
	}
}
