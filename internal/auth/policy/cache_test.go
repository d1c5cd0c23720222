package policy

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCache(t *testing.T) {
	var c Cache
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"aps:QueryMetrics","Resource":"*"}]}`
	first, err := c.Parse(text, Resource)
	require.NoError(t, err)
	again, err := c.Parse(strings.Clone(text), Resource)
	require.NoError(t, err)
	require.Same(t, first, again)
	want, err := Parse([]byte(text), Resource)
	require.NoError(t, err)
	require.Equal(t, want, again)

	// The same text as another kind is judged anew.
	_, err = c.Parse(text, Identity)
	require.Error(t, err)
	_, err = c.Parse("{", Resource)
	require.Error(t, err)
	require.Len(t, c.young, 1)
}

func TestCacheIsBounded(t *testing.T) {
	var c Cache
	text := func(i int) string {
		return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"aps:*","Resource":"*","Sid":"s%d"}]}%s`, i, strings.Repeat(" ", 60<<10))
	}
	used, err := c.Parse(text(99999), Identity)
	require.NoError(t, err)
	for i := range 2 * maxCached / (60 << 10) {
		_, err := c.Parse(text(i), Identity)
		require.NoError(t, err)
		again, err := c.Parse(text(99999), Identity)
		require.NoError(t, err)
		require.Same(t, used, again, "what is used stays")
		require.LessOrEqual(t, c.size, maxCached)
	}
	size := 0
	for _, m := range []map[cached]*Document{c.young, c.old} {
		for k := range m {
			size += len(k.text)
		}
	}
	require.LessOrEqual(t, size, 2*maxCached)
}

func TestCacheConcurrently(t *testing.T) {
	var c Cache
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 200 {
				text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"aps:*","Resource":"*","Sid":"s%d"}]}`, (i+w)%20)
				if d, err := c.Parse(text, Identity); err != nil || d.text != text {
					t.Errorf("%v %v", d, err)
					return
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkCache(b *testing.B) {
	var c Cache
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:role/r"},"Action":["aps:QueryMetrics","aps:GetSeries"],"Resource":"*"}]}`
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			_, _ = Parse([]byte(text), Resource)
		}
	})
	b.Run("cached", func(b *testing.B) {
		for b.Loop() {
			_, _ = c.Parse(text, Resource)
		}
	})
}
