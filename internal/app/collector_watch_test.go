package app

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWatchFiles(t *testing.T) {
	dir := t.TempDir()
	main := filepath.Join(dir, "main.yaml")
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("main.yaml", "a")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var reloads atomic.Int32
		var known atomic.Pointer[filesSum]
		done := make(chan struct{})
		go func() {
			defer close(done)
			watchFiles(ctx, func() ([]string, []string) { return []string{main}, []string{filepath.Join(dir, "*.yml")} }, known.Load, func() { reloads.Add(1) })
		}()
		wait := func() int { time.Sleep(3 * watchEvery); synctest.Wait(); return int(reloads.Load()) }
		require.Zero(t, wait(), "nothing changed")
		write("main.yaml", "b")
		require.Equal(t, 1, wait())
		write("more.yml", "c")
		require.Equal(t, 2, wait(), "a pattern matches more")
		require.NoError(t, os.Remove(main))
		require.Equal(t, 3, wait(), "a file is gone")
		require.Equal(t, 3, wait(), "and that is not told twice")
		// As a ConfigMap does it: a link that points elsewhere.
		write("v1", "b")
		require.NoError(t, os.Symlink(filepath.Join(dir, "v1"), main))
		require.Equal(t, 4, wait())
		time.Sleep(watchEvery / 2) // between two looks
		for range 5 {              // a file that is being written
			write("v1", time.Now().String())
			time.Sleep(watchEvery)
		}
		require.EqualValues(t, 4, reloads.Load())
		require.Equal(t, 5, wait())
		write("v1", "read for another reason")
		sum := filesDigest([]string{main}, []string{filepath.Join(dir, "*.yml")})
		known.Store(&sum)
		require.Equal(t, 5, wait(), "that needs no reload of its own")
		write("v1", "and changed again")
		require.Equal(t, 6, wait())
		cancel()
		<-done
	})
}
