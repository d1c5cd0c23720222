package directory

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWords(t *testing.T) {
	for s, good := range map[string]bool{
		"": false, "a": true, "김": true, "a b": false, "a\n": false, "a@b.c+d=1": true,
		strings.Repeat("김", maxUserName): true, strings.Repeat("a", maxUserName+1): false,
	} {
		require.Equal(t, good, isWord(s, maxUserName), "%q", s)
	}
}
