package store

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
)

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func number(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}

// BenchmarkReplay opens a workspace as kill -9 left it, which had taken in
// MANGRU_SERIES series and MANGRU_SAMPLES samples of each, ten seconds apart; with
// 223000 and 804, two hours and a quarter, when its log is longest.
func BenchmarkReplay(b *testing.B) {
	series, samples := number("MANGRU_SERIES", 2000), number("MANGRU_SAMPLES", 720)
	dir := b.TempDir()
	s, err := New(Config{Dir: dir}, slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	require.NoError(b, s.Create(bg, ws))
	h, err := s.AcquireWrite(bg, ws)
	require.NoError(b, err)
	start := time.Now().Add(-time.Duration(samples) * 10 * time.Second)
	refs := make([]storage.SeriesRef, series)
	sets := make([]labels.Labels, series)
	for i := range sets {
		sets[i] = labels.FromStrings("__name__", fmt.Sprintf("metric_%d_total", i%500), "instance", fmt.Sprintf("10.0.%d.%d:9100", i/500/250, i/500%250),
			"job", "node-exporter", "cluster", "bench", "namespace", "monitoring", "pod", fmt.Sprintf("node-exporter-%05d", i/500))
	}
	began := cpu()
	for n := range samples {
		app := h.Appender(bg)
		at := start.Add(time.Duration(n) * 10 * time.Second).UnixMilli()
		for i := range sets {
			refs[i], err = app.Append(refs[i], sets[i], at, float64(n*(i%17)+i))
			require.NoError(b, err)
		}
		require.NoError(b, app.Commit())
		if n%6 == 5 {
			h.ForceHeadMMap() // as happens each minute
			require.NoError(b, h.Compact(bg))
		}
	}
	total := float64(series * samples)
	appended := float64(cpu()-began) / total
	h.Release()
	for b.Loop() {
		b.StopTimer()
		killed := b.TempDir()
		require.NoError(b, os.CopyFS(killed, os.DirFS(dir)))
		require.NoError(b, os.RemoveAll(filepath.Join(killed, ws, dbDir, "lock")))
		again, err := New(Config{Dir: killed}, slog.New(slog.DiscardHandler))
		require.NoError(b, err)
		runtime.GC()
		began := cpu()
		b.StartTimer()
		h, err := again.AcquireRead(bg, ws)
		require.NoError(b, err)
		b.StopTimer()
		b.ReportMetric(appended, "append-cpu-ns/sample")
		b.ReportMetric((cpu() - began).Seconds(), "replay-cpu-s")
		b.ReportMetric(float64(logBytes(b, killed))/(1<<20), "log-MiB")
		require.EqualValues(b, series, h.NumSeries())
		h.Release()
		require.NoError(b, again.Close(bg))
		b.StartTimer()
	}
	require.NoError(b, s.Close(bg))
}

// logBytes is how much is in a workspace's log.
func logBytes(b *testing.B, dir string) (n int64) {
	b.Helper()
	require.NoError(b, filepath.WalkDir(filepath.Join(dir, ws, dbDir, "wal"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		n += st.Size()
		return err
	}))
	return n
}

// BenchmarkIdleWorkspaces says what a hundred workspaces cost in memory that took
// one sample each: while they are open, and when they have been closed.
func BenchmarkIdleWorkspaces(b *testing.B) {
	const count = 100
	for b.Loop() {
		now := time.Now()
		s, err := New(Config{Dir: b.TempDir(), Now: func() time.Time { return now }, IdleTimeout: time.Hour}, slog.New(slog.DiscardHandler))
		require.NoError(b, err)
		before := heap()
		for i := range count {
			id := fmt.Sprintf("ws-%d", i)
			require.NoError(b, s.Create(bg, id))
			h, err := s.AcquireWrite(bg, id)
			require.NoError(b, err)
			app := h.Appender(bg)
			_, err = app.Append(0, labels.FromStrings("__name__", "a"), now.UnixMilli(), 1)
			require.NoError(b, err)
			require.NoError(b, app.Commit())
			h.Release()
		}
		b.ReportMetric(float64(heap()-before)/count/1024, "KiB/open")
		now = now.Add(2 * time.Hour)
		s.CloseIdle()
		b.ReportMetric(float64(max(0, heap()-before))/count/1024, "KiB/closed")
		require.NoError(b, s.Close(bg))
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
