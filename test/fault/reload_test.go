package fault

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/differential/sink"
)

// swaps is how often the configuration changes.
const swaps = 1000

// TestConfigurationSwappedUnderLoad changes targets, rules and endpoints a
// thousand times while pages come and requests fail, and audits every sample.
func TestConfigurationSwappedUnderLoad(t *testing.T) {
	t.Parallel()
	plant := newPlant(t)
	var list []endpoint
	for _, e := range endpoints() {
		switch e.name {
		case "good", "e500", "resets", "resets-after", "old":
			list = append(list, e)
		}
	}
	x := newReceivers(t, list).start()
	const global = "global: {scrape_interval: 100ms, scrape_timeout: 100ms}\n"
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("%s%d", []string{well, slow, broken, cut}[i%4], i))
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	config := func() string {
		some := make([]string, 0, len(names))
		for _, i := range rnd.Perm(len(names))[:10+rnd.IntN(10)] {
			some = append(some, names[i])
		}
		more := []string{"", "sample_limit: 5000, ", "scrape_protocols: [PrometheusText0.0.4], "}[rnd.IntN(3)]
		writes := x.remoteWrite(list, "")
		if rnd.IntN(2) == 0 { // other senders, which take over what waits
			writes = strings.ReplaceAll(writes, "max_samples_per_send: 400", "max_samples_per_send: 300")
		}
		return global + jobsOf(plant.addr(), some, more) + writes
	}
	c := start(t, config(), nil)
	for i := range swaps {
		c.reload(config())
		if i%100 == 50 { // what is no configuration changes nothing
			c.write(c.config, "scrape_configs: [{job_name: \n")
			require.NoError(t, c.Reload())
		}
	}
	c.reload(global + "scrape_configs: []\n" + x.remoteWrite(list, ""))
	var endpoints []string
	for _, e := range list {
		endpoints = append(endpoints, e.name)
	}
	m := c.settled(&x.sink, endpoints)
	seen := plant.seen()
	pages := 0
	for _, v := range seen {
		pages += len(v)
	}
	for _, e := range endpoints {
		x.sink.With(e, func(s *sink.Stream) {
			require.Zero(t, m.sum("mangru_collector_send_dropped_samples_total", "endpoint", e))
			require.Zero(t, m.sum("mangru_collector_queue_dropped_samples_total", "endpoint", e))
			audit(t, s, seen)
		})
	}
	require.Greater(t, pages, 200)
	t.Logf("%d scrapes, %.0f samples, failures: %v", pages, m.taken(), x.failures())
}
