package audit

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTail(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	lines, err := Tail(name, "", 5)
	require.NoError(t, err)
	require.Empty(t, lines)
	text := `{"n":1,"principal":"ann"}` + "\n" + `{"n":2,"principal":"Bob"}` + "\n" + `{"n":3,"principal":"ann"}` + "\n" + `{"n":4,"princ`
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	got := func(search string, most int) (out []string) {
		t.Helper()
		lines, err := Tail(name, search, most)
		require.NoError(t, err)
		for _, l := range lines {
			out = append(out, string(l[:6]))
		}
		return out
	}
	require.Equal(t, []string{`{"n":3`, `{"n":2`, `{"n":1`}, got("", 5), "a half-written line is none")
	require.Equal(t, []string{`{"n":3`}, got("ANN", 1))
	require.Equal(t, []string{`{"n":2`}, got("bob", 5))
	require.Empty(t, got("nobody", 5))
}
