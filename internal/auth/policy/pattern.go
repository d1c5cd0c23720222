package policy

import (
	"strings"
	"unicode/utf8"
)

// tokenKind is what a part of a pattern matches.
type tokenKind uint8

const (
	tokenLiteral  tokenKind = iota
	tokenOne                // ?: one character
	tokenStar               // *: any number of characters
	tokenVariable           // ${key}: the value of a context key, literally
)

// token is a part of a pattern.
type token struct {
	kind tokenKind
	// text is the literal, or the variable's key in lower case.
	text string
	// name is the variable's key as written; fallback its default value.
	name, fallback string
	hasFallback    bool
}

// pattern is a compiled string with wildcards and variables.
type pattern struct {
	tokens    []token
	variables bool
}

// compilePattern compiles a string. Without wildcards, * and ? are ordinary
// characters; without variables, ${…} is.
func compilePattern(s string, wildcards, variables bool) (pattern, error) {
	var p pattern
	literal := func(text string) {
		if n := len(p.tokens); n > 0 && p.tokens[n-1].kind == tokenLiteral {
			p.tokens[n-1].text += text
			return
		}
		p.tokens = append(p.tokens, token{kind: tokenLiteral, text: text})
	}
	for s != "" {
		switch {
		case variables && strings.HasPrefix(s, "${"):
			t, rest, err := compileVariable(s)
			if err != nil {
				return pattern{}, err
			}
			if t.kind == tokenLiteral {
				literal(t.text)
			} else {
				p.tokens = append(p.tokens, t)
				p.variables = true
			}
			s = rest
		case wildcards && s[0] == '*':
			if n := len(p.tokens); n == 0 || p.tokens[n-1].kind != tokenStar {
				p.tokens = append(p.tokens, token{kind: tokenStar})
			}
			s = s[1:]
		case wildcards && s[0] == '?':
			p.tokens = append(p.tokens, token{kind: tokenOne})
			s = s[1:]
		default:
			// The first byte is literal whatever it is; up to the next that may
			// not be.
			n := 1 + strings.IndexAny(s[1:], "*?$")
			if n == 0 {
				n = len(s)
			}
			literal(s[:n])
			s = s[n:]
		}
	}
	return p, nil
}

// compileVariable compiles the variable at the beginning of s and returns what
// follows it. ${*}, ${?} and ${$} are these characters themselves.
func compileVariable(s string) (token, string, error) {
	body := s[len("${"):]
	closing := strings.IndexByte(body, '}')
	if closing < 0 {
		return token{}, "", malformed(msgSyntax, "", "policy variable in %q has no closing brace", s)
	}
	if closing == 1 && strings.ContainsAny(body[:1], "*?$") {
		return token{kind: tokenLiteral, text: body[:1]}, body[2:], nil
	}
	t := token{kind: tokenVariable}
	if comma := strings.IndexByte(body, ','); comma >= 0 && comma < closing {
		quoted, ok := strings.CutPrefix(strings.TrimLeft(body[comma+1:], " "), "'")
		value, rest, ended := strings.Cut(quoted, "'}")
		if !ok || !ended || strings.ContainsRune(value, '\'') {
			return token{}, "", malformed(msgSyntax, "", "default value of the policy variable in %q has to be in single quotes", s)
		}
		t.name, t.fallback, t.hasFallback = body[:comma], value, true
		s = rest
	} else {
		t.name = body[:closing]
		s = body[closing+1:]
	}
	if err := checkKey(t.name); err != nil {
		return token{}, "", err
	}
	t.text = strings.ToLower(t.name)
	return t, s, nil
}

// checkKey checks the form of a context key: service:name, where the service
// may be an issuer of identities such as oidc.example.com:8443/id, and the name
// may have a part of its own, as in aws:PrincipalTag/team.
func checkKey(key string) error {
	colon := strings.IndexByte(key, ':')
	if colon < 0 {
		return malformed(msgVendor, "", "condition key %q", key)
	}
	if colon == 0 || strings.HasSuffix(key, ":") || strings.HasSuffix(key, "/") || strings.TrimSpace(key) != key ||
		strings.ContainsAny(key, "*?${}'\",") || hasControl(key) {
		return malformed(msgSyntax, "", "condition key %q, must have the form service:name", key)
	}
	return nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError })
}

// appendNames appends the keys of the pattern's variables.
func (p *pattern) appendNames(keys []string) []string {
	if p.variables {
		for i := range p.tokens {
			if p.tokens[i].kind == tokenVariable {
				keys = append(keys, p.tokens[i].name)
			}
		}
	}
	return keys
}

// resolve replaces variables by literals. It reports false when one has no
// value: then nothing equals the pattern. A key with several values cannot be a
// variable.
func (p *pattern) resolve(e *evaluation, buf []token) ([]token, bool) {
	if !p.variables {
		return p.tokens, true
	}
	for i := range p.tokens {
		t := p.tokens[i]
		if t.kind == tokenVariable {
			values := e.context[t.text]
			switch {
			case len(values) == 1:
				t.text = values[0]
			case len(values) == 0 && t.hasFallback:
				t.text = t.fallback
			default:
				if len(values) == 0 {
					e.miss(t.text, t.name)
				}
				return nil, false
			}
			t.kind = tokenLiteral
		}
		buf = append(buf, t)
	}
	return buf, true
}

// literal returns the text of a pattern that has no wildcards. It reports false
// when a variable has no value, or the text has more than limit bytes.
func (p *pattern) literal(e *evaluation, limit int) (string, bool) {
	if !p.variables {
		if len(p.tokens) == 0 {
			return "", true
		}
		text := p.tokens[0].text
		return text, len(text) <= limit
	}
	var buf [8]token
	tokens, ok := p.resolve(e, buf[:0])
	if !ok {
		return "", false
	}
	size := 0
	for i := range tokens {
		size += len(tokens[i].text)
	}
	switch {
	case size > limit:
		return "", false
	case len(tokens) == 1:
		return tokens[0].text, true
	}
	var b strings.Builder
	for i := range tokens {
		b.WriteString(tokens[i].text)
	}
	return b.String(), true
}

// glob reports whether the whole of s matches. Each star takes as little as it
// can: as nothing after a star depends on what it took, the first place where
// the part up to the next star fits is as good as any, and nothing is ever
// tried again. The time is linear in s, for short patterns; for long ones see
// findWide.
func glob(tokens []token, s string) bool {
	first := 0
	for ; first < len(tokens) && tokens[first].kind != tokenStar; first++ {
		n := prefixLen(&tokens[first], s)
		if n < 0 {
			return false
		}
		s = s[n:]
	}
	if first == len(tokens) {
		return s == ""
	}
	last := len(tokens)
	for ; tokens[last-1].kind != tokenStar; last-- {
		n := suffixLen(&tokens[last-1], s)
		if n < 0 {
			return false
		}
		s = s[:len(s)-n]
	}
	for first < last {
		first++ // the star
		end := first
		for end < last && tokens[end].kind != tokenStar {
			end++
		}
		if end == first {
			continue
		}
		n := find(tokens[first:end], s)
		if n < 0 {
			return false
		}
		s = s[n:]
		first = end
	}
	return true
}

// prefixLen returns how much of the beginning of s a token other than a star
// takes, -1 if it does not match.
func prefixLen(t *token, s string) int {
	if t.kind == tokenLiteral {
		if strings.HasPrefix(s, t.text) {
			return len(t.text)
		}
		return -1
	}
	if s == "" {
		return -1
	}
	_, n := utf8.DecodeRuneInString(s)
	return n
}

// suffixLen is prefixLen for the end of s.
func suffixLen(t *token, s string) int {
	if t.kind == tokenLiteral {
		if strings.HasSuffix(s, t.text) {
			return len(t.text)
		}
		return -1
	}
	if s == "" {
		return -1
	}
	_, n := utf8.DecodeLastRuneInString(s)
	return n
}

// narrow is how many bytes a part of a pattern may take to be tried at each
// place in turn.
const narrow = 32

// find returns where the first place in s ends at which the tokens, none of
// them a star, match; -1 if there is none.
func find(tokens []token, s string) int {
	if len(tokens) == 1 && tokens[0].kind == tokenLiteral {
		n := strings.Index(s, tokens[0].text)
		if n < 0 {
			return -1
		}
		return n + len(tokens[0].text)
	}
	least := 0
	for i := range tokens {
		if tokens[i].kind == tokenOne {
			least++
		} else {
			least += len(tokens[i].text)
		}
	}
	switch {
	case least > len(s):
		// Also bounds what findWide sets up, however long variables are.
		return -1
	case least > narrow:
		return findWide(tokens, s)
	}
	for pos := 0; pos <= len(s); {
		if n := prefixesLen(tokens, s[pos:]); n >= 0 {
			return pos + n
		}
		_, n := utf8.DecodeRuneInString(s[pos:])
		pos += max(n, 1)
	}
	return -1
}

func prefixesLen(tokens []token, s string) int {
	total := 0
	for i := range tokens {
		n := prefixLen(&tokens[i], s[total:])
		if n < 0 {
			return -1
		}
		total += n
	}
	return total
}

// findWide is find for long parts: it keeps all beginnings of the part that
// match up to the present character as one set of bits (the Shift-And method),
// so that the time is that of len(s) times a 64th of the part's length. All
// matches have the same number of characters, so the first to end is the first
// to begin.
func findWide(tokens []token, s string) int {
	length := 0
	for i := range tokens {
		if tokens[i].kind == tokenOne {
			length++
		} else {
			length += utf8.RuneCountInString(tokens[i].text)
		}
	}
	words := (length + 63) / 64
	// Which places of the part each character fits; others fit the "?" only.
	others := make([]uint64, words)
	fits := make(map[rune][]uint64)
	at := 0
	for i := range tokens {
		if tokens[i].kind == tokenOne {
			others[at/64] |= 1 << (at % 64)
			at++
			continue
		}
		for text := tokens[i].text; text != ""; at++ {
			r, n := character(text)
			text = text[n:]
			if fits[r] == nil {
				fits[r] = make([]uint64, words)
			}
			fits[r][at/64] |= 1 << (at % 64)
		}
	}
	state := make([]uint64, words)
	for pos := 0; pos < len(s); {
		r, n := character(s[pos:])
		pos += n
		mask := fits[r]
		carry := uint64(1) // the part may begin anywhere
		for w := range state {
			next := state[w] >> 63
			allowed := others[w]
			if mask != nil {
				allowed |= mask[w]
			}
			state[w] = (state[w]<<1 | carry) & allowed
			carry = next
		}
		if state[(length-1)/64]>>((length-1)%64)&1 == 1 {
			return pos
		}
	}
	return -1
}

// character returns the first character of s and its length. Bytes that are no
// UTF-8 are characters of their own, beyond Unicode.
func character(s string) (rune, int) {
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		r = utf8.MaxRune + 1 + rune(s[0])
	}
	return r, n
}

// matchAction reports whether an action matches a lower-case pattern. Names of
// actions do not depend on case; they are short, so the product of both lengths
// is no cost.
func matchAction(pattern, action string) bool {
	p, a, star, mark := 0, 0, -1, 0
	for a < len(action) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, a
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == lower(action[a])):
			p++
			a++
		case star >= 0:
			mark++
			p, a = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
