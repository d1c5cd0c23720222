// The race detector's bookkeeping is part of what it counts.

//go:build !race

package app

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// One program is everything: what any package makes at its start, a collector on
// every node pays for as well.
func TestPackagesStartSmall(t *testing.T) {
	const most = 256 << 10 // bytes allocated
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	cmd.Stderr = &trace
	require.NoError(t, cmd.Run())
	seen := 0
	for lines := bufio.NewScanner(&trace); lines.Scan(); {
		// init internal/bytealg @0.008 ms, 0 ms clock, 0 bytes, 0 allocs
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[0] != "init" || !strings.HasPrefix(f[1], "github.com/mangru/") {
			continue
		}
		seen++
		n, err := strconv.Atoi(f[7])
		require.NoError(t, err, lines.Text())
		require.LessOrEqual(t, n, most, f[1])
	}
	require.Greater(t, seen, 10, "packages that were traced")
}
