package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

const ws = "ws-1"

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(bg) })
	require.NoError(t, s.Create(bg, ws))
	return s
}

func put(t *testing.T, s *Store, name string, at time.Time, v float64) error {
	t.Helper()
	h, err := s.AcquireWrite(bg, ws)
	if err != nil {
		return err
	}
	defer h.Release()
	app := h.Appender(bg)
	if _, err := app.Append(0, labels.FromStrings("__name__", name), at.UnixMilli(), v); err != nil {
		_ = app.Rollback()
		return err
	}
	return app.Commit()
}

// read returns all samples of all series: name -> values in order of time.
func read(t *testing.T, s *Store) map[string][]float64 {
	t.Helper()
	h, err := s.AcquireRead(bg, ws)
	require.NoError(t, err)
	defer h.Release()
	q, err := h.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer func() { _ = q.Close() }()
	out := map[string][]float64{}
	set := q.Select(bg, false, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			_, v := it.At()
			name := set.At().Labels().Get("__name__")
			out[name] = append(out[name], v)
		}
		require.NoError(t, it.Err())
	}
	require.NoError(t, set.Err())
	return out
}

func TestIdleIsClosedAndComesBack(t *testing.T) {
	now := time.Now()
	reg := prometheus.NewRegistry()
	s := open(t, Config{Now: func() time.Time { return now }, IdleTimeout: time.Hour, Registerer: reg})
	require.NoError(t, put(t, s, "a", now, 1))
	openCount := func(want string) {
		t.Helper()
		require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader("# HELP mangru_store_open_workspaces Workspaces whose database is open.\n# TYPE mangru_store_open_workspaces gauge\nmangru_store_open_workspaces "+want+"\n"), "mangru_store_open_workspaces"))
	}
	openCount("1")
	now = now.Add(time.Hour - 1)
	s.CloseIdle()
	openCount("1")
	h, err := s.AcquireRead(bg, ws)
	require.NoError(t, err)
	now = now.Add(2 * time.Hour)
	s.CloseIdle() // in use
	openCount("1")
	h.Release()
	now = now.Add(time.Hour)
	s.CloseIdle()
	openCount("0")
	require.Equal(t, map[string][]float64{"a": {1}}, read(t, s))
	openCount("1")
	n, err := testutil.GatherAndCount(reg, "mangru_store_series", "mangru_store_wal_bytes")
	require.NoError(t, err)
	require.Equal(t, 2, n)
}

func TestUnknownWorkspaceMakesNothing(t *testing.T) {
	s := open(t, Config{})
	_, err := s.AcquireWrite(bg, "ws-2")
	require.ErrorIs(t, err, ErrNotFound)
	require.NoDirExists(t, s.path("ws-2"))
	require.NoError(t, s.Remove(bg, "ws-2"))
}

func TestRemoveWaitsForUsers(t *testing.T) {
	s := open(t, Config{})
	h, err := s.AcquireRead(bg, ws)
	require.NoError(t, err)
	soon, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Remove(soon, ws), context.DeadlineExceeded)
	require.DirExists(t, s.path(ws))
	again, err := s.AcquireRead(bg, ws) // the removal was given up
	require.NoError(t, err)
	again.Release()

	done := make(chan error, 1)
	go func() { done <- s.Remove(bg, ws) }()
	require.Eventually(t, func() bool {
		g, err := s.AcquireRead(bg, ws)
		if err == nil {
			g.Release()
		}
		return errors.Is(err, ErrNotFound)
	}, 5*time.Second, time.Millisecond, "new users are refused while the removal waits")
	h.Release()
	require.NoError(t, <-done)
	require.NoDirExists(t, s.path(ws))
	_, err = s.AcquireWrite(bg, ws)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestInterruptedRemovalIsFinished(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, "ws-9"+removingSuffix, dbDir)
	require.NoError(t, os.MkdirAll(left, 0o700))
	open(t, Config{Dir: dir})
	require.NoDirExists(t, filepath.Dir(left))
}

func TestCloseWaitsAndRefuses(t *testing.T) {
	s := open(t, Config{})
	h, err := s.AcquireRead(bg, ws)
	require.NoError(t, err)
	soon, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, s.Close(soon), "still in use")
	_, err = s.AcquireRead(bg, ws)
	require.ErrorIs(t, err, ErrClosed)
	h.Release()
	require.NoError(t, s.Close(bg))
}

func TestRunClosesIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{IdleTimeout: time.Minute})
		e, err := s.entry(ws) // no database inside the bubble: its goroutines have their own clock
		require.NoError(t, err)
		e.lastUsed = time.Now()
		ctx, cancel := context.WithCancel(bg)
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(2 * time.Minute)
		cancel()
		require.NoError(t, <-done)
	})
}

func TestWritesStopBeforeTheDiskIsFull(t *testing.T) {
	free, now := uint64(1000), time.Now()
	s := open(t, Config{MinFreeDisk: 1000, Now: func() time.Time { return now },
		FreeBytes: func(string) (uint64, error) { return free, nil }})
	require.NoError(t, put(t, s, "a", now, 1))
	free, now = 999, now.Add(time.Second)
	err := put(t, s, "a", now, 2)
	var wait *UnavailableError
	require.ErrorAs(t, err, &wait)
	require.ErrorContains(t, err, "store.min_free_disk")
	require.Equal(t, []float64{1}, read(t, s)["a"])
	free, now = 1000, now.Add(time.Second)
	require.NoError(t, put(t, s, "a", now, 3))
}

// TestFullDisk fills a real, small file system until a commit fails.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	s := open(t, Config{Dir: dir, MinFreeDisk: -1})
	ballast := filepath.Join(dir, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 1<<20), 0o600))
	start, want := time.Now().Add(-time.Minute), map[string][]float64{}
	write := func(i int) error {
		name := fmt.Sprintf("m%d_%s", i, strings.Repeat("x", 8000+i%7)) // long names fill the log quickly
		err := put(t, s, name, start.Add(time.Duration(i)*time.Millisecond), float64(i))
		if err == nil {
			want[name] = append(want[name], float64(i))
		}
		return err
	}
	var err error
	i := 0
	for ; err == nil && i < 20_000; i++ {
		err = write(i)
	}
	var wait *UnavailableError
	require.ErrorAs(t, err, &wait)
	require.ErrorContains(t, err, "no space left on device")
	require.Greater(t, len(want), 10)
	require.Equal(t, want, read(t, s), "reading goes on")

	require.NoError(t, os.Remove(ballast))
	for range 20 {
		i++
		require.NoError(t, write(i), "writing goes on once there is room")
	}
	require.NoError(t, s.Close(bg))
	s = open(t, Config{Dir: dir, MinFreeDisk: -1})
	require.Equal(t, want, read(t, s), "what was acknowledged is there, and nothing else")
	require.NoError(t, s.Close(bg))
}

func TestReopenWaitsForReaders(t *testing.T) {
	s := open(t, Config{})
	now := time.Now()
	require.NoError(t, put(t, s, "a", now, 1))
	h, err := s.AcquireRead(bg, ws)
	require.NoError(t, err)
	h.failed.Store(true)
	var wait *UnavailableError
	require.ErrorAs(t, put(t, s, "a", now.Add(time.Second), 2), &wait)
	h.Release()
	require.NoError(t, put(t, s, "a", now.Add(time.Second), 2))
	require.Equal(t, []float64{1, 2}, read(t, s)["a"])
}

func TestManyAtOnce(t *testing.T) {
	s := open(t, Config{})
	start := time.Now()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				if err := put(t, s, fmt.Sprintf("m%d", i), start.Add(time.Duration(j)*time.Millisecond), 1); err != nil {
					t.Error(err)
				}
				s.CloseIdle()
			}
		})
	}
	wg.Wait()
	got := read(t, s)
	require.Len(t, got, 8)
	for name, values := range got {
		require.Len(t, values, 20, name)
	}
}

func TestMetadata(t *testing.T) {
	var d DB
	require.True(t, d.SetMetadata("a", "gauge", "h", "u"))
	require.True(t, d.SetMetadata("a", "counter", "h2", ""))
	for i := range maxMetadata {
		d.SetMetadata(fmt.Sprint(i), "gauge", "", "")
	}
	require.False(t, d.SetMetadata("one too many", "gauge", "", ""))
	require.True(t, d.SetMetadata("a", "counter", "h3", ""))
	n := 0
	d.EachMetadata("", func(string, string, string, string) bool { n++; return true })
	require.Equal(t, maxMetadata, n)
	d.EachMetadata("a", func(family, typ, help, unit string) bool {
		require.Equal(t, []string{"a", "counter", "h3", ""}, []string{family, typ, help, unit})
		return true
	})
}
