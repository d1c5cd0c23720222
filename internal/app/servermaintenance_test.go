package app

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMaintenance(t *testing.T) {
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := Main(append([]string{"server"}, args...), nil, &out, &out)
		return code, out.String()
	}
	dir := t.TempDir()
	for _, command := range []string{"rotate-key", "upgrade"} {
		code, out := run(command, "--data", dir)
		require.Equal(t, exitUsage, code, out)
		require.Contains(t, out, "no database there")
	}
	s := startServer(t, testConfig(dir))
	before, err := os.ReadFile(filepath.Join(dir, "secret.key"))
	require.NoError(t, err)

	// Beside a running server, whose keys stay good.
	code, out := run("rotate-key", "--data", dir)
	require.Equal(t, exitStopped, code, out)
	after, err := os.ReadFile(filepath.Join(dir, "secret.key"))
	require.NoError(t, err)
	require.NotEqual(t, before, after)
	require.Equal(t, 200, s.call(t, "GET", "/workspaces", "").status)
	s.stop()
	again := startServer(t, testConfig(dir))
	again.key = s.key
	require.Equal(t, 200, again.call(t, "GET", "/workspaces", "").status)
	again.stop()

	code, out = run("upgrade", "--data", dir)
	require.Equal(t, exitStopped, code, out)
	require.Contains(t, out, "up to date")
}
