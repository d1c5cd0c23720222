package store

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"
)

// block makes a block of what is in memory up to a time.
func block(t *testing.T, s *Store, until time.Time) {
	t.Helper()
	h, err := s.AcquireRead(bg, ws)
	require.NoError(t, err)
	defer h.Release()
	require.NoError(t, h.CompactHead(tsdb.NewRangeHead(h.Head(), h.Head().MinTime(), until.UnixMilli())))
}

func TestRetentionOfAWorkspace(t *testing.T) {
	var own *Policy
	s := open(t, Config{Policy: func(id string) *Policy {
		require.Equal(t, ws, id)
		return own
	}})
	start := time.UnixMilli(1_700_000_000_000).Truncate(2 * time.Hour)
	for d := range 4 {
		at := start.Add(time.Duration(d) * 24 * time.Hour)
		require.NoError(t, put(t, s, "a", at, float64(d)))
		require.NoError(t, put(t, s, "b", at, float64(d)))
		block(t, s, at.Add(time.Minute))
	}
	require.Equal(t, map[string][]float64{"a": {0, 1, 2, 3}, "b": {0, 1, 2, 3}}, read(t, s))

	// In an open workspace, with the next look at the blocks.
	own = &Policy{Retention: 60 * time.Hour}
	require.NoError(t, s.Apply(bg, ws))
	at := start.Add(4 * 24 * time.Hour)
	require.NoError(t, put(t, s, "a", at, 4))
	block(t, s, at.Add(time.Minute))
	require.Equal(t, map[string][]float64{"a": {2, 3, 4}, "b": {2, 3}}, read(t, s))

	// And in one that is opened.
	h, err := s.AcquireRead(bg, ws)
	require.NoError(t, err)
	size := int64(0)
	for _, b := range h.Blocks() {
		size = max(size, b.Size())
	}
	size += h.Head().Size()
	h.Release()
	require.NoError(t, s.Close(bg))
	own = &Policy{MaxBytes: size}
	s = open(t, Config{Dir: s.cfg.Dir, Policy: s.cfg.Policy})
	require.Equal(t, map[string][]float64{"a": {4}}, read(t, s))
	require.NoError(t, s.Apply(bg, "ws-unknown"))
}

func TestStartOpensWhatWasInUse(t *testing.T) {
	s := open(t, Config{IdleTimeout: time.Hour})
	require.NoError(t, put(t, s, "a", time.Now(), 1))
	require.NoError(t, s.Create(bg, "ws-never"))
	require.NoError(t, s.Close(bg))
	for later, want := range map[time.Duration]bool{0: true, 2 * time.Hour: false} {
		s = open(t, Config{Dir: s.cfg.Dir, IdleTimeout: time.Hour, Now: func() time.Time { return time.Now().Add(later) }})
		s.warm(bg)
		e := s.snapshot()[ws]
		require.Equal(t, want, e != nil && e.db != nil)
		require.Nil(t, s.snapshot()["ws-never"])
		require.NoError(t, s.Close(bg))
	}
}
