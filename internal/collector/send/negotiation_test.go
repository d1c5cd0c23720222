package send

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
)

func TestNegotiation(t *testing.T) {
	answers := func(list ...action) func(int, version, int) action {
		return func(n int, _ version, _ int) action {
			if n <= len(list) {
				return list[n-1]
			}
			return action{}
		}
	}
	for name, c := range map[string]struct {
		protocol string
		onlyV1   string
		onlyV2   bool
		answer   func(int, version, int) action
		versions []version // of the requests for two leases
		refused  uint64
		speaks   string
	}{
		"a receiver of 2.0":            {versions: []version{v2, v2}, speaks: "2.0"},
		"415":                          {onlyV1: "415", versions: []version{v2, v1, v1}, speaks: "1.0"},
		"accepts what it cannot read":  {onlyV1: "silent", versions: []version{v2, v1, v1}, speaks: "1.0"},
		"400 from an old receiver":     {onlyV1: "400", versions: []version{v2, v1, v1}, speaks: "1.0"},
		"404 from an old receiver":     {onlyV1: "404", versions: []version{v2, v1, v1}, speaks: "1.0"},
		"501 from an old receiver":     {onlyV1: "501", versions: []version{v2, v1, v1}, speaks: "1.0"},
		"500 from an old receiver":     {onlyV1: "500", versions: []version{v2, v2, v2, v1, v1}, speaks: "1.0"},
		"fixed 2.0, silent":            {protocol: "2.0", onlyV1: "silent", versions: []version{v2, v2}, refused: 20, speaks: "2.0"},
		"fixed 2.0, 415":               {protocol: "2.0", onlyV1: "415", versions: []version{v2, v2}, refused: 20, speaks: "2.0"},
		"fixed 1.0":                    {protocol: "1.0", versions: []version{v1, v1}, speaks: "1.0"},
		"fixed 1.0, takes only 2.0":    {protocol: "1.0", onlyV2: true, versions: []version{v1, v1}, refused: 20, speaks: "1.0"},
		"400 for the samples, in both": {answer: answers(action{status: 400, silent: true}, action{status: 400}), versions: []version{v2, v1, v2}, refused: 10, speaks: "2.0"},
		"400 after 2.0 was confirmed":  {answer: answers(action{}, action{status: 400, silent: true}), versions: []version{v2, v2}, refused: 10, speaks: "2.0"},
		"400 with counts":              {answer: answers(action{status: 400, keep: 4}), versions: []version{v2, v2}, refused: 6, speaks: "2.0"},
		"500 is no matter of version":  {answer: answers(action{status: 500}, action{status: 500}), versions: []version{v2, v2, v2, v2}, speaks: "2.0"},
		"400, then 1.0 fails":          {answer: answers(action{status: 400, silent: true}, action{status: 503}), versions: []version{v2, v1, v2, v2}, speaks: "2.0"},
		"loses 2.0 later":              {answer: answers(action{}, action{status: 200, silent: true, keep: 0}), versions: []version{v2, v2, v1}, speaks: "1.0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := &sink{onlyV1: c.onlyV1, onlyV2: c.onlyV2, answer: c.answer}
				cfg := config()
				cfg.Protocol, cfg.MaxSamplesPerRequest, cfg.MaxShards = c.protocol, 10, 1
				s, _ := newSender(t, cfg, sink)
				spans := []model.Span{flat(1, 10, 1000), flat(1, 10, 2000)}
				want := expect(spans)
				s.Run(t.Context(), newQueue(spans...))
				require.Equal(t, c.versions, sink.versions)
				require.Equal(t, c.refused, s.State().Refused)
				require.Equal(t, 20-c.refused, s.State().Sent)
				require.Equal(t, c.speaks, s.State().Protocol)
				if c.onlyV1 != "silent" || c.protocol == "" {
					repeated, missing := audit(t, want, sink.got)
					require.Zero(t, repeated)
					require.Equal(t, int(c.refused), missing)
				}
			})
		})
	}
}

// TestTriesAgainLater: 2.0 gets another chance after some hours, in one request.
func TestTriesAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &sink{onlyV1: "415"}
		q := &fakeQueue{changed: make(chan struct{})}
		cfg := config()
		cfg.BatchTimeout = time.Minute
		s, _ := newSender(t, cfg, sink)
		done := make(chan struct{})
		go func() { defer close(done); s.Run(t.Context(), q) }()
		for i := range 14 {
			if i == 10 {
				sink.mu.Lock()
				sink.onlyV1 = ""
				sink.mu.Unlock()
			}
			q.push(flat(1, 3, int64(i)))
			time.Sleep(time.Hour)
		}
		q.close()
		<-done
		require.Equal(t, []version{v2, v1, v1, v1, v1, v1, v1, v2, v1, v1, v1, v1, v1, v1, v2, v2}, sink.versions)
		require.Zero(t, s.State().Refused)
	})
}

func TestUnknownProtocol(t *testing.T) {
	cfg := config()
	cfg.Protocol = "3.0"
	_, err := New(cfg, nil, nil)
	require.ErrorContains(t, err, `protocol "3.0"`)
	require.ErrorContains(t, err, `"test"`)
}
