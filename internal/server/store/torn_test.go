package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// logEnd returns the last file of a workspace's log.
func logEnd(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, ws, dbDir, "wal", "[0-9]*"))
	require.NoError(t, err)
	slices.Sort(files)
	return files[len(files)-1]
}

// TestTornLog cuts the log at many places, as a power cut does, and fills what is
// missing with zeros, or with what was on the disk before. What a database makes
// of it has to be what was acknowledged before that place: nothing missing in the
// middle, nothing doubled, nothing invented. And it goes on from there.
func TestTornLog(t *testing.T) {
	const batches, series = 60, 5
	s := open(t, Config{})
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	ends := make([]int64, 0, batches) // of the log, after each batch
	for b := range batches {
		h, err := s.AcquireWrite(bg, ws)
		require.NoError(t, err)
		app := h.Appender(bg)
		for i := range series {
			_, err := app.Append(0, labels.FromStrings("__name__", fmt.Sprintf("m%d", i)), start.Add(time.Duration(b)*time.Second).UnixMilli(), float64(b))
			require.NoError(t, err)
		}
		require.NoError(t, app.Commit())
		h.Release()
		st, err := os.Stat(logEnd(t, s.cfg.Dir))
		require.NoError(t, err)
		ends = append(ends, st.Size())
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 24 {
		cut := rng.Int64N(ends[batches-1]) + 1
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(s.cfg.Dir)))
		file := logEnd(t, dir)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		switch n % 3 {
		case 0:
			text = text[:cut]
		case 1:
			clear(text[cut:])
		case 2:
			for i := cut; i < int64(len(text)); i++ {
				text[i] = byte(rng.Uint32())
			}
		}
		require.NoError(t, os.WriteFile(file, text, 0o600))
		whole := 0
		for whole < batches && ends[whole] <= cut {
			whole++
		}
		torn := open(t, Config{Dir: dir})
		got := read(t, torn)
		for i := range series {
			values := got[fmt.Sprintf("m%d", i)]
			require.GreaterOrEqual(t, len(values), whole, "cut at %d", cut)
			for b, v := range values {
				require.InDelta(t, b, v, 0, "cut at %d", cut)
			}
		}
		require.NoError(t, put(t, torn, "after", time.Now(), 1))
		require.NoError(t, torn.Close(bg))
		torn = open(t, Config{Dir: dir})
		again := read(t, torn)
		require.Equal(t, []float64{1}, again["after"])
		delete(again, "after")
		require.Equal(t, got, again)
		require.NoError(t, torn.Close(bg))
	}
}

// TestNothingFollowsATornRecord: an append that was under way when another write
// failed must not be acknowledged, for a replay ends where that one was torn.
func TestNothingFollowsATornRecord(t *testing.T) {
	s := open(t, Config{})
	require.NoError(t, put(t, s, "a", time.Now(), 1))
	h, err := s.AcquireWrite(bg, ws)
	require.NoError(t, err)
	app := h.Appender(bg)
	_, err = app.Append(0, labels.FromStrings("__name__", "b"), time.Now().UnixMilli(), 1)
	require.NoError(t, err)
	h.failed.Store(true)
	var wait *UnavailableError
	require.ErrorAs(t, app.Commit(), &wait)
	h.Release()
	require.NoError(t, put(t, s, "c", time.Now(), 1), "it has been opened anew")
	require.Equal(t, map[string][]float64{"a": {1}, "c": {1}}, read(t, s))
}
