package fault

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/differential/program"
	"github.com/mangru/mangru/test/differential/sink"
)

// names is a DNS server that knows all names, while it is well.
type names struct {
	answer atomic.Int32 // a response code, or silent
	asked  atomic.Int32 // how often it was asked while not well
}

const silent = -1

// ServeDNS implements dns.Handler.
func (n *names) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	code := int(n.answer.Load())
	if code != dns.RcodeSuccess {
		n.asked.Add(1)
	}
	if code == silent {
		return
	}
	m := new(dns.Msg)
	m.SetRcode(r, code)
	if q := r.Question[0]; code == dns.RcodeSuccess && q.Qtype == dns.TypeA {
		m.Answer = append(m.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1),
		})
	}
	_ = w.WriteMsg(m) // whoever asked may be gone
}

// TestNamesFail lets the resolver fail in its ways and heal, while no connection
// lives for long.
func TestNamesFail(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	n := &names{}
	server := &dns.Server{PacketConn: conn, Handler: n}
	served := make(chan error, 1)
	go func() { served <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		require.NoError(t, server.Shutdown())
		require.NoError(t, <-served)
	})

	plant := newPlant(t)
	list := []endpoint{{name: "good"}}
	x := newReceivers(t, list).start()
	x.server.Config.SetKeepAlivesEnabled(false)
	named := func(addr string) string {
		_, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		return "some.example:" + port
	}
	const global = "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
	writes := fmt.Sprintf("remote_write: [{name: good, url: \"http://%s/good\", remote_timeout: 1s, queue_config: {batch_send_deadline: 20ms, min_backoff: 10ms, max_backoff: 100ms}}]\n",
		named(x.server.Listener.Addr().String()))
	c := start(t, global+jobsOf(named(plant.addr()), []string{"well1", "well2", "slow1"}, "")+writes, []string{program.Resolver + "=" + conn.LocalAddr().String()})

	visits := func() (least int) {
		seen := plant.seen()
		least = len(seen["well1"])
		for _, name := range []string{"well2", "slow1"} {
			least = min(least, len(seen[name]))
		}
		return least
	}
	stored := func() (n int) {
		x.sink.With("good", func(s *sink.Stream) {
			if s != nil {
				n = s.Points()
			}
		})
		return n
	}
	for _, answer := range []int{dns.RcodeServerFailure, silent, dns.RcodeNameError, dns.RcodeRefused} {
		before, had := visits(), stored()
		c.await("healthy", func() bool { return visits() > before+3 && stored() > had+100 })
		asked := n.asked.Load()
		n.answer.Store(int32(answer))
		down := c.metrics().sum("mangru_collector_scrapes_total", "result", "error")
		retries := c.metrics().sum("mangru_collector_send_retries_total")
		c.await("failures", func() bool {
			m := c.metrics()
			return n.asked.Load() > asked+5 && m.sum("mangru_collector_scrapes_total", "result", "error") > down+5 && m.sum("mangru_collector_send_retries_total") > retries
		})
		n.answer.Store(dns.RcodeSuccess)
	}
	before := visits()
	c.await("healed", func() bool { return visits() > before+3 })
	c.reload(global + "scrape_configs: []\n" + writes)
	m := c.settled(&x.sink, []string{"good"})
	require.Zero(t, m.sum("mangru_collector_send_dropped_samples_total"))
	require.Zero(t, m.sum("mangru_collector_queue_dropped_samples_total"))
	x.sink.With("good", func(s *sink.Stream) { audit(t, s, plant.seen()) })
}
