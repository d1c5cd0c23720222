package scrape

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

func TestLongExemplars(t *testing.T) {
	for n, want := range map[int]bool{0: false, 122: false, 123: true, 500: true} {
		require.Equal(t, want, tooLong(labels.FromStrings("id", "é12", "x", strings.Repeat("ü", n))), "%d characters", n+6)
	}
}
