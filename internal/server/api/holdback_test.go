package api

import (
	"context"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestHoldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := newHoldBack(20, prometheus.NewRegistry())
		require.NoError(t, err)
		took := func(from string) (d time.Duration, closing bool) {
			began := time.Now()
			closing = h.wait(t.Context(), netip.MustParseAddr(from))
			return time.Since(began), closing
		}
		at := func(from string, want time.Duration) {
			t.Helper()
			d, closing := took(from)
			require.Equal(t, want, d, from)
			require.False(t, closing)
		}
		for range 20 {
			at("10.0.0.1", 0)
		}
		for range 20 { // other addresses have their own
			at("2001:db8::1", 0)
		}
		// One of version 6 is as many as somebody likes. The same address in the
		// form of version 6 is the same.
		at("2001:db8::2", holdFor)
		for range 20 {
			at("10.0.0.1", 0) // a second later
		}
		at("::ffff:10.0.0.1", holdFor)
		require.EqualValues(t, 2, testutil.ToFloat64(h.late.WithLabelValues("delayed")))

		// All addresses together have a bound as well.
		time.Sleep(time.Minute)
		for i := range byte(20 * allRefusals) {
			at(netip.AddrFrom4([4]byte{10, 1, 0, i}).String(), 0)
		}
		at("10.2.0.0", holdFor)

		// Who does not wait for it does not have to.
		time.Sleep(time.Minute)
		for range 20 {
			at("10.0.0.1", 0)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.False(t, h.wait(ctx, netip.MustParseAddr("10.0.0.1")))

		// There is an end to how many are held.
		for range maxHeld {
			go took("10.0.0.1")
		}
		synctest.Wait()
		d, closing := took("10.0.0.1")
		require.Zero(t, d)
		require.True(t, closing)
		require.EqualValues(t, 1, testutil.ToFloat64(h.late.WithLabelValues("closed")))
		time.Sleep(holdFor)
		synctest.Wait()
		require.Zero(t, h.held.Load())
		require.False(t, h.wait(t.Context(), netip.Addr{}))
	})
}

func TestHoldBackForgets(t *testing.T) {
	h, err := newHoldBack(0, nil)
	require.NoError(t, err)
	for i := range 3 * maxSources {
		require.NotNil(t, h.source(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})))
	}
	require.LessOrEqual(t, len(h.young)+len(h.old), 2*maxSources)
	var none *holdBack
	require.False(t, none.wait(t.Context(), netip.Addr{}))
	unbound, err := newHoldBack(-1, nil)
	require.NoError(t, err)
	require.Nil(t, unbound)
}

// At the edge only those wait whom nobody knows.
func TestOnlyUnknownCallersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, func(c *Config) { c.MaxRefusals = 1 })
		e.judge.deny = "rest:Put"
		known := ask{method: "GET", target: "/things/1", scope: "rest"}
		for range allRefusals {
			e.send(t, ask{method: "GET", target: "/things/1"}) // what comes at once is used up
		}
		for _, c := range []struct {
			name   string
			ask    ask
			status int
			want   time.Duration
		}{
			{"unsigned", ask{method: "GET", target: "/things/1"}, http.StatusForbidden, holdFor},
			{"wrong signature", ask{method: "GET", target: "/things/1", scope: "rest", secret: "x"}, http.StatusForbidden, holdFor},
			{"good", known, http.StatusOK, 0},
			{"known and denied", ask{method: "POST", target: "/things", scope: "rest"}, http.StatusForbidden, 0},
		} {
			// Both budgets are empty again.
			for e.hold.source(netip.MustParseAddr("192.0.2.7")).Allow() {
			}
			began := time.Now()
			w := e.send(t, c.ask)
			require.Equal(t, c.status, w.Code, c.name)
			require.Equal(t, c.want, time.Since(began), c.name)
		}
	})
}
