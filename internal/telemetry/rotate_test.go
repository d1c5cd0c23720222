package telemetry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRotatingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "a.log")
	r := &RotatingFile{Path: path, MaxSize: 8, MaxFiles: 2}
	for _, line := range []string{"one\n", "two\n", "three\n", strings.Repeat("4", 20) + "\n", "five\n"} {
		n, err := r.Write([]byte(line))
		require.NoError(t, err)
		require.Len(t, line, n)
	}
	require.NoError(t, r.Close())
	content := func(name string) string {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		return string(text)
	}
	require.Equal(t, "five\n", content(path))
	require.Equal(t, strings.Repeat("4", 20)+"\n", content(path+".1"), "longer than a file may be, so alone")
	require.Equal(t, "three\n", content(path+".2"))
	require.NoFileExists(t, path+".3")

	// What was there before counts, and is added to.
	r = &RotatingFile{Path: path, MaxSize: 8, MaxFiles: 2}
	_, err := r.Write([]byte("6\n"))
	require.NoError(t, err)
	require.Equal(t, "five\n6\n", content(path))
	require.NoError(t, r.Close())
}
