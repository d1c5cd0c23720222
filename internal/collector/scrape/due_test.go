package scrape

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// However late a scrape is, and wherever the clock goes, the mark that may follow
// it at the next time comes after its samples.
func TestMarkComesAfterLateScrape(t *testing.T) {
	const interval = 10 * time.Second
	due := time.Unix(1_000_000, 300_000) // some time within a millisecond
	for late, want := range map[time.Duration]time.Duration{
		0:                                     0,
		9 * time.Second:                       0,
		10 * time.Second:                      10 * time.Second,
		27 * time.Second:                      20 * time.Second,
		time.Hour + 3*time.Second:             time.Hour,
		-time.Millisecond:                     -time.Millisecond,
		-time.Hour:                            -time.Hour,
		10*time.Second - 200*time.Microsecond: 10 * time.Second,
	} {
		at := due.Add(late)
		got := dueBefore(due, at, interval)
		require.Equal(t, want, got.Sub(due), late)
		require.Greater(t, got.Add(interval).UnixMilli(), at.UnixMilli(), late)
	}
}
