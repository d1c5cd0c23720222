//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMachine is what a newcomer without a cluster sees.
func TestMachine(t *testing.T) {
	data := filepath.Join(t.TempDir(), "mangru-data")
	args := []string{"--listen", "127.0.0.1:0", "--ui", "127.0.0.1:0", "--scrape-interval", "1s"}
	s := up(t, data, nil, nil, args...)
	t.Logf("first start took %s; first screen:\n%s", s.took.Round(time.Millisecond), s.output())
	require.Contains(t, s.output(), "this machine")

	host, err := os.Hostname()
	require.NoError(t, err)
	s.expect(20*time.Second, `up{job="node-exporter",instance="`+host+`"}`, 1, 1)
	s.expect(20*time.Second, `count(node_uname_info)`, 1, 1)
	// Charts of the last minutes have a point every 15 s, and rates need two samples.
	s.expect(2*time.Minute, `count(count_over_time(node_load1[5m]) >= 35)`, 1, 1)
	info, err := os.Stat(filepath.Join(data, "credentials"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	_, secret := s.keys()
	require.NotContains(t, s.output(), secret, "the secret key is in its file only")

	browser(t, s, []string{"this-machine"}, t.TempDir())

	// A second start reuses everything.
	before := *s
	require.Equal(t, 0, s.stop())
	s = up(t, data, nil, nil, args...)
	t.Logf("second start took %s", s.took.Round(time.Millisecond))
	require.Equal(t, before.workspace, s.workspace)
	require.NotEqual(t, before.token, s.token, "a one-time link is made anew")
	got, err := s.ask(`count_over_time(node_load1[5m])`)
	require.NoError(t, err)
	require.NotEmpty(t, got, "samples of before the restart are there")

	// Another one on the same directory is refused.
	out, err := try(t, nil, binary(t), append([]string{"up", "--data", data}, args...)...)
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, out)
	require.Contains(t, out, "in use")
}

// TestNothingListensBeyondLoopback looks at the sockets of the process.
func TestNothingListensBeyondLoopback(t *testing.T) {
	s := up(t, t.TempDir(), nil, nil, "--listen", "127.0.0.1:0", "--ui", "127.0.0.1:0")
	out := run(t, nil, "ss", "-Hltnup")
	pid, found := "pid="+strconv.Itoa(s.cmd.Process.Pid)+",", 0
	for line := range strings.Lines(out) {
		if strings.Contains(line, pid) {
			found++
			require.Regexp(t, `(127\.0\.0\.1|\[::1\]):\d+\s`, line)
		}
	}
	require.GreaterOrEqual(t, found, 2, out)
}

// TestKillLosesNothingAcknowledged writes numbered samples, kills the server in
// the middle, and looks for every sample that was acknowledged.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	data := t.TempDir()
	args := []string{"--listen", "127.0.0.1:0", "--ui", "127.0.0.1:0"}
	s := up(t, data, nil, nil, args...)
	start := time.Now().Add(-10 * time.Minute).UnixMilli()
	acked := 0
	var client *http.Client
	for round := range 3 {
		client = s.client()
		for range 100 {
			if !push(t, client, s.remote, "audit_total", start+int64(acked)*100, float64(acked)) {
				break
			}
			acked++
		}
		if round == 2 {
			require.Equal(t, 0, s.stop())
		} else {
			s.kill()
		}
		s = up(t, data, nil, nil, args...)
		got, err := s.ask(`count_over_time(audit_total[15m])`)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.GreaterOrEqual(t, got[0].Value, float64(acked), "after end %d", round)
		got, err = s.ask(`sum_over_time(audit_total[15m])`)
		require.NoError(t, err)
		require.InDelta(t, float64(acked*(acked-1)/2), got[0].Value, 1e-9, "every value once")
	}
	require.Equal(t, 300, acked)
}
