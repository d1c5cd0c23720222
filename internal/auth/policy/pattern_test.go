package policy

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// slowGlob is the definition of the wildcards, tried in every way.
func slowGlob(pattern, s []rune, star func(taken []rune) bool) bool {
	if len(pattern) == 0 {
		return len(s) == 0
	}
	switch pattern[0] {
	case '*':
		for n := 0; n <= len(s); n++ {
			if star(s[:n]) && slowGlob(pattern[1:], s[n:], star) {
				return true
			}
		}
		return false
	case '?':
		return len(s) > 0 && slowGlob(pattern[1:], s[1:], star)
	}
	return len(s) > 0 && s[0] == pattern[0] && slowGlob(pattern[1:], s[1:], star)
}

func anything([]rune) bool { return true }

func globText(t testing.TB, pattern, s string) bool {
	t.Helper()
	p, err := compilePattern(pattern, true, false)
	require.NoError(t, err)
	return glob(p.tokens, s)
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "anything/at:all", true},
		{"?", "", false},
		{"?", "é", true}, // a character, not a byte
		{"??", "é", false},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "acb", false},
		{"*ab", "aab", true},
		{"*aab*", "aaab", true},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*?é?*", "xéy", true},
		{"*?é?*", "éy", false},
		{"a*a", "a", false}, // one letter is not two
		{"A", "a", false},   // case counts
	} {
		require.Equal(t, c.want, globText(t, c.pattern, c.s), "%q %q", c.pattern, c.s)
	}
}

func randomText(r *rand.Rand, alphabet string, n int) string {
	letters := []rune(alphabet)
	var b strings.Builder
	for range r.IntN(n + 1) {
		b.WriteRune(letters[r.IntN(len(letters))])
	}
	return b.String()
}

func TestGlobIsTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	matched := 0
	for range 50_000 {
		p, s := randomText(r, "aéb*?*", 8), randomText(r, "aéb", 10)
		want := slowGlob([]rune(p), []rune(s), anything)
		require.Equal(t, want, globText(t, p, s), "%q %q", p, s)
		if want {
			matched++
		}
	}
	require.Greater(t, matched, 2_500, "the texts are alike enough to match")
}

// The way for long parts gives what the way for short ones does, also across
// the words of its bits.
func TestFindWideIsFind(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	found := 0
	for range 20_000 {
		n := 1 + r.IntN(200)
		s := randomText(r, "aaaaaé", 300) + "\xff\ufffd"
		part := []rune(s)[:min(n, len([]rune(s)))]
		for i := range part {
			if r.IntN(3) == 0 {
				part[i] = '?'
			} else if r.IntN(200) == 0 {
				part[i] = 'b'
			}
		}
		p, err := compilePattern(string(part), true, false)
		require.NoError(t, err)
		s = randomText(r, "aé", 20) + s
		want := -1
		for pos := 0; pos <= len(s) && want < 0; {
			if n := prefixesLen(p.tokens, s[pos:]); n >= 0 {
				want = pos + n
			}
			_, n := utf8.DecodeRuneInString(s[pos:])
			pos += max(n, 1)
		}
		require.Equal(t, want, findWide(p.tokens, s), "%q %q", string(part), s)
		if want >= 0 {
			found++
		}
	}
	require.Greater(t, found, 1_000)
	require.Less(t, found, 19_000)
}

func FuzzGlob(f *testing.F) {
	f.Add("arn:aws:s3:::b*/?x", "arn:aws:s3:::bucket/yx")
	f.Add("*a*?é*", "aéé")
	f.Fuzz(func(t *testing.T, p, s string) {
		if len(p) > 12 || len(s) > 14 || !utf8.ValidString(p) || !utf8.ValidString(s) {
			// Too slow for the definition: it only has to end.
			globText(t, p, s)
			return
		}
		require.Equal(t, slowGlob([]rune(p), []rune(s), anything), globText(t, p, s), "%q %q", p, s)
	})
}

func TestMatchActionIsTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50_000 {
		p, s := randomText(r, "ab:*?*", 8), randomText(r, "aAbB:", 10)
		require.Equal(t, slowGlob([]rune(p), []rune(strings.ToLower(s)), anything), matchAction(p, s), "%q %q", p, s)
	}
}

// slowResource is the definition of Resource: in the first five fields ?
// stands for no colon, and * neither, unless it ends its field.
func slowResource(pattern, s []rune, field int) bool {
	if len(pattern) == 0 {
		return len(s) == 0
	}
	last := field == arnFields-1
	switch pattern[0] {
	case '*':
		ends := len(pattern) == 1 || pattern[1] == ':'
		for n := 0; n <= len(s); n++ {
			if n > 0 && s[n-1] == ':' && !last && !ends {
				return false
			}
			if slowResource(pattern[1:], s[n:], field) {
				return true
			}
		}
		return false
	case '?':
		return len(s) > 0 && (last || s[0] != ':') && slowResource(pattern[1:], s[1:], field)
	case ':':
		if !last {
			field++
		}
	}
	return len(s) > 0 && s[0] == pattern[0] && slowResource(pattern[1:], s[1:], field)
}

func matchResource(t testing.TB, pattern, resource string) bool {
	t.Helper()
	p, err := compileARN(pattern, false)
	require.NoError(t, err)
	matched, resolved := p.matchResource(&evaluation{}, resource)
	require.True(t, resolved)
	return matched
}

func TestMatchResourceIsTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	matched := 0
	for range 60_000 {
		p, s := "a:"+randomText(r, "ab:::*?*", 12), "a:"+randomText(r, "ab:::", 14)
		if strings.Count(p, ":") < arnFields-1 && !strings.HasSuffix(p, "*") {
			p += "*" // Parse takes no others
		}
		want := slowResource([]rune(p), []rune(s), 0)
		require.Equal(t, want, matchResource(t, p, s), "%q %q", p, s)
		if want {
			matched++
		}
	}
	require.Greater(t, matched, 1_000)
}

func TestMatchResource(t *testing.T) {
	const ws = "arn:aws:aps:us-east-1:111111111111:workspace/ws-1"
	for _, c := range []struct {
		pattern, resource string
		want              bool
	}{
		{"*", "*", true},
		{"*", ws, true},
		// An action that is about no resource needs Resource "*".
		{"arn:aws:aps:us-east-1:111111111111:*", "*", false},
		{ws, ws, true},
		{ws, "arn:aws:aps:us-east-1:111111111111:workspace/WS-1", false}, // "case sensitive"
		{"arn:aws:aps:*:*:workspace/*", ws, true},
		{"arn:*:aps:us-????-1:*:work*/ws-?", ws, true},
		{"arn:aws:aps:us-east-1:222222222222:*", ws, false},
		// "If the * is the last character of a segment, it can expand to match
		// beyond the colon boundaries."
		{"arn:aws:aps:*", ws, true},
		{"arn:aws:aps:us-*", ws, true},
		{"arn:aws:aps:eu-*", ws, false},
		{"arn:aws:logs:*:stream:x", "arn:aws:logs:r:1:group:g:stream:x", true},
		{"arn:aws:logs:r*r:1:group", "arn:aws:logs:r:r:1:group", false}, // not inside a segment
		// In the resource, colons and slashes are ordinary characters.
		{"arn:aws:s3:::b/*.jpg", "arn:aws:s3:::b/a:b/c.jpg", true},
		{"arn:aws:s3:::b?c", "arn:aws:s3:::b:c", true},
		{"arn:aws:s3:?::b", "arn:aws:s3::::b", false},
		{"arn:aws:s3:::b", "arn:aws:s3:::b/x", false},
		{"arn:aws:s3:::b", "b", false},
	} {
		require.Equal(t, c.want, matchResource(t, c.pattern, c.resource), "%q %q", c.pattern, c.resource)
		if c.pattern != "*" && c.resource != "*" {
			require.Equal(t, c.want, slowResource([]rune(c.pattern), []rune(c.resource), 0), "%q %q", c.pattern, c.resource)
		}
	}
}

// Patterns that make a backtracking matcher take exponential time end here too:
// without the bounds, this test does not finish.
func TestMatchingHasNoBlowUp(t *testing.T) {
	text := strings.Repeat("a", 2000)
	for _, p := range []string{strings.Repeat("a*", 900) + "b", strings.Repeat("*?", 900) + "b", "*" + strings.Repeat("?a", 400) + "b"} {
		require.False(t, globText(t, p, text))
		require.False(t, matchAction(p, text))
	}
	colons := "arn:aws:x:" + strings.Repeat("a:", 1000)
	require.False(t, matchResource(t, "arn:*:x*:a*:a*:"+strings.Repeat("a*", 100)+"b", colons))
}

func FuzzMatchResource(f *testing.F) {
	f.Add("arn:aws:s3:*:x*:b*", "arn:aws:s3:a:b:x:c:b")
	f.Fuzz(func(t *testing.T, p, s string) {
		p = "arn:" + p
		p += strings.Repeat(":", max(0, arnFields-1-strings.Count(p, ":")))
		if len(p) > 20 || len(s) > 20 || !utf8.ValidString(p) || !utf8.ValidString(s) {
			matchResource(t, p, s)
			return
		}
		require.Equal(t, slowResource([]rune(p), []rune(s), 0), matchResource(t, p, s), "%q %q", p, s)
	})
}
