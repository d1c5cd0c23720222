package store

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/stretchr/testify/require"
)

func TestLeftOutAtCommit(t *testing.T) {
	s := open(t, Config{})
	h, err := s.AcquireWrite(bg, ws)
	require.NoError(t, err)
	defer h.Release()
	now := time.Now().UnixMilli()
	commit := func(values ...float64) int {
		app := h.Appender(bg)
		for _, v := range values {
			_, err := app.Append(0, labels.FromStrings("__name__", "a"), now, v)
			require.NoError(t, err)
		}
		require.NoError(t, app.Commit())
		return app.(interface{ LeftOut() int }).LeftOut()
	}
	require.Zero(t, commit())
	require.Equal(t, 2, commit(1, 2, 1), "another value, and the same again")
	require.Equal(t, 1, commit(1))
	now++
	require.Zero(t, commit(1))

	app := h.AppenderV2(bg)
	for range 2 {
		_, err = app.Append(0, labels.FromStrings("__name__", "b"), 0, now, 1, nil, nil, storage.AOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, app.Commit())
	require.Equal(t, 1, app.(interface{ LeftOut() int }).LeftOut())
	require.Equal(t, map[string][]float64{"a": {1, 1}, "b": {1}}, read(t, s))
}

func TestEachSeries(t *testing.T) {
	s := open(t, Config{})
	now := time.Now()
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, put(t, s, name, now, 1))
	}
	h, err := s.AcquireRead(bg, ws)
	require.NoError(t, err)
	defer h.Release()
	var got []string
	require.NoError(t, h.EachSeries(bg, func(l labels.Labels) { got = append(got, l.Get("__name__")) }))
	require.ElementsMatch(t, []string{"a", "b", "c"}, got)
	require.Equal(t, now.UnixMilli(), h.MaxTime())
}

type created struct{ names []string }

func (*created) PreCreation(labels.Labels) error                     { return nil }
func (c *created) PostCreation(l labels.Labels)                      { c.names = append(c.names, l.Get("__name__")) }
func (*created) PostDeletion(map[chunks.HeadSeriesRef]labels.Labels) {}

func (c *created) callback(workspace string) tsdb.SeriesLifecycleCallback {
	c.names = append(c.names, workspace)
	return c
}

func TestSeriesAreTold(t *testing.T) {
	c := &created{}
	s := open(t, Config{SeriesCallback: c.callback})
	require.NoError(t, put(t, s, "a", time.Now(), 1))
	require.NoError(t, put(t, s, "a", time.Now().Add(time.Second), 1))
	require.Equal(t, []string{ws, "a"}, c.names)
}

// TestFallenBehind: the default window takes what is in order in its series and
// more than an hour behind the others.
func TestFallenBehind(t *testing.T) {
	s := open(t, Config{})
	now := time.Now()
	require.NoError(t, put(t, s, "late", now.Add(-10*time.Hour), 1))
	require.NoError(t, put(t, s, "steady", now, 1))
	require.NoError(t, put(t, s, "late", now.Add(-9*time.Hour), 2))
	require.Equal(t, []float64{1, 2}, read(t, s)["late"])
	strict := open(t, Config{OutOfOrderWindow: -1})
	require.NoError(t, put(t, strict, "late", now.Add(-10*time.Hour), 1))
	require.NoError(t, put(t, strict, "steady", now, 1))
	require.ErrorIs(t, put(t, strict, "late", now.Add(-9*time.Hour), 2), storage.ErrOutOfBounds)
}

func TestAddMetadataKeepsText(t *testing.T) {
	s := open(t, Config{})
	h, err := s.AcquireRead(bg, ws)
	require.NoError(t, err)
	defer h.Release()
	get := func() (got []string) {
		h.EachMetadata("a", func(_, typ, help, unit string) bool {
			got = []string{typ, help, unit}
			return true
		})
		return got
	}
	require.True(t, h.AddMetadata("a", "gauge", "s"))
	require.Equal(t, []string{"gauge", "", "s"}, get())
	require.True(t, h.SetMetadata("a", "counter", "text", ""))
	require.True(t, h.AddMetadata("a", "gauge", "s"))
	require.Equal(t, []string{"counter", "text", ""}, get())
}

// TestRoomForExemplars: there is none until one comes, and what came is there
// after the next opening too.
func TestRoomForExemplars(t *testing.T) {
	s := open(t, Config{})
	now := time.Now()
	require.NoError(t, put(t, s, "a", now, 1))
	h, err := s.AcquireWrite(bg, ws)
	require.NoError(t, err)
	require.Zero(t, h.room.Load())
	series := labels.FromStrings("__name__", "a")
	one := func(i int) exemplar.Exemplar {
		return exemplar.Exemplar{Labels: labels.FromStrings("trace_id", strconv.Itoa(i)), Value: float64(i), Ts: now.UnixMilli() + int64(i)}
	}
	app := h.Appender(bg)
	ref, err := app.Append(0, series, now.UnixMilli()+1, 1)
	require.NoError(t, err)
	_, err = app.AppendExemplar(ref, series, one(1))
	require.NoError(t, err)
	require.NoError(t, app.Commit())
	v2 := h.AppenderV2(bg)
	_, err = v2.Append(0, series, 0, now.UnixMilli()+2, 1, nil, nil, storage.AOptions{Exemplars: []exemplar.Exemplar{one(2)}})
	require.NoError(t, err)
	require.NoError(t, v2.Commit())
	require.EqualValues(t, 10_000, h.room.Load())
	require.NoError(t, s.Apply(bg, ws)) // takes nothing away
	h.Release()
	require.NoError(t, s.Close(bg))

	s = open(t, Config{Dir: s.cfg.Dir})
	h, err = s.AcquireRead(bg, ws)
	require.NoError(t, err)
	defer h.Release()
	require.EqualValues(t, 10_000, h.room.Load())
	q, err := h.ExemplarQuerier(bg)
	require.NoError(t, err)
	got, err := q.Select(0, math.MaxInt64, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "a")})
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, []exemplar.Exemplar{one(1), one(2)}, got[0].Exemplars)
}
