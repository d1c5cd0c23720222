package fault

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/differential/sink"
)

// jobsOf is the part of a Prometheus file about some targets.
func jobsOf(addr string, names []string, more string) string {
	var b strings.Builder
	b.WriteString("scrape_configs:\n")
	for _, trouble := range names {
		fmt.Fprintf(&b, "- {job_name: %[1]s, metrics_path: /%[2]s/%[1]s, %[4]sstatic_configs: [{targets: [%[3]q], labels: {t: %[1]s}}]}\n",
			trouble, strings.TrimRight(trouble, "0123456789"), addr, more)
	}
	return b.String()
}

// TestTroubledTargetsAndEndpoints lets a collector scrape every troubled target
// and send to every troubled endpoint, then takes all targets away and audits
// every sample at every endpoint.
func TestTroubledTargetsAndEndpoints(t *testing.T) {
	t.Parallel()
	plant := newPlant(t)
	list := endpoints()
	x := newReceivers(t, list).start()
	const global = "global: {scrape_interval: 250ms, scrape_timeout: 250ms, external_labels: {cluster: test}}\n"
	writes := x.remoteWrite(list, "")
	c := start(t, global+jobsOf(plant.addr(), troubles(), "body_size_limit: 5MB, sample_limit: 2000, ")+writes, nil)

	c.await("every endpoint's faults, and every target's", func() bool {
		failed, seen := x.failures(), plant.seen()
		for _, e := range list {
			if e.fail != nil && failed[e.name] < 4 {
				return false
			}
		}
		for _, trouble := range troubles() {
			if len(seen[trouble]) < 12 {
				return false
			}
		}
		return true
	})
	c.reload(global + "scrape_configs: []\n" + writes)
	var names []string
	for _, e := range list {
		names = append(names, e.name)
	}
	m := c.settled(&x.sink, names)

	seen := plant.seen()
	for _, e := range list {
		x.sink.With(e.name, func(s *sink.Stream) {
			lost := m.labelled("mangru_collector_send_dropped_samples_total", "endpoint")[e.name]
			require.Zero(t, m.sum("mangru_collector_queue_dropped_samples_total", "endpoint", e.name))
			if e.refuses {
				require.Positive(t, lost, e.name)
				require.Equal(t, lost, m.sum("mangru_collector_send_dropped_samples_total", "endpoint", e.name, "reason", "refused")+
					m.sum("mangru_collector_send_dropped_samples_total", "endpoint", e.name, "reason", "too_large"))
				return
			}
			require.Equal(t, lost, m.sum("mangru_collector_send_dropped_samples_total", "endpoint", e.name, "reason", "too_large"), e.name)
			audit(t, s, seen)
		})
	}
	x.sink.With("good", func(s *sink.Stream) { balancePages(t, m, s, seen[giant]) })
	t.Logf("%.0f samples taken, %d endpoints; failures: %v", m.taken(), len(list), x.failures())
}

// balancePages compares what was on the pages with what is stored of them and
// what was counted as left out, by reason.
func balancePages(t *testing.T, m metrics, s *sink.Stream, giants []visit) {
	t.Helper()
	onPages := 0
	arrived := make(map[float64]bool) // pages of the giant
	for _, x := range s.Series {
		if x.Labels.Get("__name__") != "m" {
			continue
		}
		for _, p := range x.Points {
			if p.Stale() {
				continue
			}
			onPages++
			if x.Labels.Get("t") == giant {
				arrived[p.Value] = true
			}
		}
	}
	shown := 0
	for _, v := range giants {
		if v.series == 9 && arrived[v.number] {
			shown++
		}
	}
	left := m.sum("mangru_collector_scrape_dropped_samples_total")
	tooLarge := m.sum("mangru_collector_send_dropped_samples_total", "endpoint", "good", "reason", "too_large")
	t.Logf("%d samples of pages stored; left out %v, too large to send %v", onPages,
		m.labelled("mangru_collector_scrape_dropped_samples_total", "reason"), tooLarge)
	require.Equal(t, m.sum("mangru_collector_scraped_samples_total"), float64(onPages+shown)+left, "samples on pages: stored and left out")
	require.Equal(t, 2*float64(shown), tooLarge, "the giants and their marks")
}
