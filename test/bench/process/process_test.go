//go:build linux

package process

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProcess(t *testing.T) {
	before, err := CPU(os.Getpid())
	require.NoError(t, err)
	var now = before
	for x := 0; now == before; x++ { // ends as soon as the clock ticks
		now, err = CPU(os.Getpid())
		require.NoError(t, err)
	}
	require.Greater(t, now, before)
	resident, err := Memory(os.Getpid())
	require.NoError(t, err)
	require.Positive(t, resident.Now)
	require.Positive(t, resident.Anonymous)
	require.Positive(t, resident.File)
	require.GreaterOrEqual(t, resident.Peak, resident.Now)
}
