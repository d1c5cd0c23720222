package rewrite

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The lexer and parser read the part of OTTL, the OpenTelemetry Transformation
// Language, that can be decided once per series. The language is described in
// pkg/ottl/LANGUAGE.md of opentelemetry-collector-contrib.

type tokenKind uint8

const (
	endToken tokenKind = iota
	wordToken
	stringToken
	intToken
	floatToken
	signToken // an operator or a bracket
)

type token struct {
	kind tokenKind
	// text is the token as written, except for strings: those are unquoted.
	text string
	at   int // byte offset
}

func (t token) String() string {
	switch t.kind {
	case endToken:
		return "the end"
	case stringToken:
		return strconv.Quote(t.text)
	}
	return strconv.Quote(t.text)
}

// syntaxError is an error at a place in a condition or statement.
type syntaxError struct {
	at   int
	text string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("column %d: %s", e.at+1, e.text) }

// signs are the operators and brackets, longer ones first.
var signs = []string{"==", "!=", ">=", "<=", "=>", "<", ">", "=", "+", "-", "*", "/", "(", ")", "[", "]", "{", "}", ",", ".", ":"}

// lex splits a text into tokens; the last one is an endToken.
func lex(text string) ([]token, error) {
	var out []token
	for i := 0; ; {
		for i < len(text) && strings.ContainsRune(" \t\r\n", rune(text[i])) {
			i++
		}
		if i == len(text) {
			return append(out, token{at: i}), nil
		}
		t, n, err := lexOne(text[i:])
		if err != nil {
			return nil, &syntaxError{at: i, text: err.Error()}
		}
		t.at = i
		out = append(out, t)
		i += n
	}
}

func lexOne(s string) (t token, size int, err error) {
	switch c := s[0]; {
	case c == '"':
		return lexString(s)
	case isLetter(c) || c == '_':
		n := 1
		for n < len(s) && (isLetter(s[n]) || isDigit(s[n]) || s[n] == '_') {
			n++
		}
		return token{kind: wordToken, text: s[:n]}, n, nil
	case isDigit(c) || c == '.' && len(s) > 1 && isDigit(s[1]):
		return lexNumber(s)
	}
	for _, sign := range signs {
		if strings.HasPrefix(s, sign) {
			return token{kind: signToken, text: sign}, len(sign), nil
		}
	}
	r, _ := utf8.DecodeRuneInString(s)
	return t, 0, fmt.Errorf("unexpected character %q", r)
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func lexString(s string) (t token, size int, err error) {
	var b strings.Builder
	rest := s[1:]
	for {
		if rest == "" {
			return t, 0, fmt.Errorf("a string without an end")
		}
		if rest[0] == '"' {
			return token{kind: stringToken, text: b.String()}, len(s) - len(rest) + 1, nil
		}
		r, multibyte, tail, err := strconv.UnquoteChar(rest, '"')
		if err != nil {
			return t, 0, fmt.Errorf("a string with an escape that there is not; a backslash is written twice")
		}
		if r < utf8.RuneSelf || !multibyte {
			b.WriteByte(byte(r))
		} else {
			b.WriteRune(r)
		}
		rest = tail
	}
}

func lexNumber(s string) (t token, size int, err error) {
	n, kind := 0, intToken
	digits := func() {
		for n < len(s) && isDigit(s[n]) {
			n++
		}
	}
	digits()
	if n < len(s) && s[n] == '.' {
		kind = floatToken
		n++
		digits()
		if n+1 < len(s) && (s[n] == 'e' || s[n] == 'E') && (isDigit(s[n+1]) || n+2 < len(s) && (s[n+1] == '-' || s[n+1] == '+') && isDigit(s[n+2])) {
			n += 2
			digits()
		}
	}
	return token{kind: kind, text: s[:n]}, n, nil
}
