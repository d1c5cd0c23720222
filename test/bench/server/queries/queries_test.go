package queries

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFill(t *testing.T) {
	for in, want := range map[string]string{
		`sum(rate(a{cluster="$cluster", x=~"$x"}[$__rate_interval]))`: `sum(rate(a{cluster=~"bench", x=~".*"}[2m]))`,
		`topk($limit, a{x!="$x"}[${window}:])`:                        `topk(5, a{x!~"none"}[5m:])`,
		`a{x=~"$x|b"} > [[min]]`:                                      `a{x=~".*|b"} > 1`,
	} {
		require.Equal(t, want, fill(in))
	}
}

func TestBoards(t *testing.T) {
	files := os.DirFS("../../../../../shared/dashboards")
	q, unreadable, err := Boards(files)
	require.NoError(t, err)
	if len(q) == 0 {
		t.Skip("there are no dashboards")
	}
	t.Logf("%d queries, %d that are none", len(q), unreadable)
	require.Greater(t, len(q), 50*unreadable)
}
