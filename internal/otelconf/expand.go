package otelconf

import (
	"fmt"
	"regexp"
	"strings"
)

// Expansion of ${...} follows the OpenTelemetry Collector's resolver, with
// three leniencies: ${1}, which is a regular expression's group in Prometheus'
// relabelling and an error there, stays as it is; ${NAME:-default} works without
// "env:"; and an escaped $${...} does not keep the rest of the text from being
// expanded.

// maxExpansions bounds the replacements in one value, so that a variable which
// names itself is an error.
const maxExpansions = 1000

var (
	environmentName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	onlyDigits      = regexp.MustCompile(`^[0-9]+$`)
	schemeAndRest   = regexp.MustCompile(`(?s)^([A-Za-z][A-Za-z0-9+.-]+):(.*)$`)
	nameAndDefault  = regexp.MustCompile(`(?s)^([a-zA-Z_][a-zA-Z0-9_]*):-(.*)$`)
)

// expander replaces ${...} in the strings of a tree.
type expander struct {
	getenv   func(string) (string, bool)
	readFile func(string) ([]byte, error)
	fetch    func(url string) ([]byte, error)
	problems *problems
	warn     func(pos position, field, format string, args ...any)
}

// expand returns n with every ${...} replaced and every $$ made a $.
func (x *expander) expand(n *node, field string) *node {
	return unescape(x.replaceAll(n, field, 0))
}

// replaceAll does the work of expand but for $$. depth counts how often values
// came from a ${...} themselves.
func (x *expander) replaceAll(n *node, field string, depth int) *node {
	switch n.kind {
	case mapping:
		out := *n
		out.entries = make([]entry, len(n.entries))
		for i, e := range n.entries {
			out.entries[i] = entry{key: e.key, pos: e.pos, value: x.replaceAll(e.value, join(field, e.key), depth)}
		}
		return &out
	case sequence:
		out := *n
		out.items = make([]*node, len(n.items))
		for i, item := range n.items {
			out.items[i] = x.replaceAll(item, fmt.Sprintf("%s[%d]", field, i), depth)
		}
		return &out
	}
	if n.tag != tagString || !strings.Contains(n.text, "${") {
		return n
	}
	return x.replaceScalar(n, field, depth)
}

// replaceScalar replaces in one string, innermost and leftmost first, until there is
// nothing left to replace.
func (x *expander) replaceScalar(n *node, field string, depth int) *node {
	text := n.text
	for range maxExpansions {
		open, end, ok := findReference(text)
		if !ok {
			out := *n
			out.text, out.plain = text, false
			return &out
		}
		value, isSet, err := x.lookUp(text[open+2 : end-1])
		if err != nil {
			x.problems.at(n.pos, field, "%v", err)
			return n
		}
		if !isSet {
			x.warn(n.pos, field, "%s is not set, so the value is empty", text[open:end])
		}
		if open == 0 && end == len(text) {
			return x.whole(n, field, value, depth)
		}
		text = text[:open] + value + text[end:]
	}
	x.problems.at(n.pos, field, "more than %d expansions: a variable refers to itself", maxExpansions)
	return n
}

// whole reads a value that makes up all of a scalar as YAML, so that numbers,
// lists and mappings work, and keeps its text for string fields.
func (x *expander) whole(n *node, field, value string, depth int) *node {
	if depth >= 100 {
		x.problems.at(n.pos, field, "values that come from variables are nested more than 100 deep")
		return n
	}
	asText := &node{pos: n.pos, tag: tagString, text: value}
	docs, err := source{name: n.pos.file, data: []byte(value), fixed: n.pos.line}.parse()
	switch {
	case err != nil || len(docs) > 1:
		return x.replaceAll(asText, field, depth+1)
	case len(docs) == 0:
		return &node{pos: n.pos, tag: tagNull, original: &value}
	case docs[0].kind == scalar && docs[0].tag == tagString:
		return x.replaceAll(asText, field, depth+1)
	}
	out := *x.replaceAll(docs[0], field, depth+1)
	out.original = &value
	return &out
}

// findReference returns the bounds of the first ${...} to replace.
func findReference(text string) (open, end int, ok bool) {
	for start := 0; ; {
		i := strings.IndexByte(text[start:], '}')
		if i < 0 {
			return 0, 0, false
		}
		end = start + i + 1
		open = strings.LastIndex(text[start:end], "${")
		if open >= 0 {
			open += start
			dollars := 0
			for open-dollars-1 >= 0 && text[open-dollars-1] == '$' {
				dollars++
			}
			// An odd number before it means that the $ of ${ is the second of a $$.
			if dollars%2 == 0 && !onlyDigits.MatchString(text[open+2:end-1]) {
				return open, end, true
			}
		}
		start = end
	}
}

// lookUp returns the text that the inside of a ${...} stands for, and false if it
// names an environment variable that is not set.
func (x *expander) lookUp(inside string) (value string, isSet bool, err error) {
	if !strings.Contains(inside, ":") || nameAndDefault.MatchString(inside) {
		inside = "env:" + inside
	}
	m := schemeAndRest.FindStringSubmatch(inside)
	if m == nil {
		return "", false, fmt.Errorf("${%s} is not of the form ${env:NAME}, ${file:PATH} or ${yaml:TEXT}", inside)
	}
	scheme, rest := m[1], m[2]
	if strings.Contains(rest, "$") {
		return "", false, fmt.Errorf("${%s}: a $ is not allowed inside", inside)
	}
	switch scheme {
	case "env":
		return x.environment(rest)
	case "file":
		data, err := x.readFile(rest)
		if err != nil {
			return "", false, fmt.Errorf("reading ${file:...}: %w", err)
		}
		return string(data), true, nil
	case "yaml":
		return rest, true, nil
	case "http", "https":
		data, err := x.fetch(inside)
		if err != nil {
			return "", false, fmt.Errorf("reading ${%s}: %w", redacted(inside), err)
		}
		return string(data), true, nil
	}
	return "", false, fmt.Errorf("scheme %q of ${...} is not supported (allowed: env, file, http, https, yaml)", scheme)
}

func (x *expander) environment(name string) (value string, isSet bool, err error) {
	fallback, hasFallback := "", false
	if i := strings.Index(name, ":-"); i >= 0 {
		name, fallback, hasFallback = name[:i], name[i+2:], true
	}
	if !environmentName.MatchString(name) {
		return "", false, fmt.Errorf("environment variable %q has an invalid name: it must match %s (write $$ for a $ that is meant as such)", name, environmentName)
	}
	if value, ok := x.getenv(name); ok {
		return value, true, nil
	}
	return fallback, hasFallback, nil
}

// unescape makes every $$ a $, in values that came from variables too.
func unescape(n *node) *node {
	out := *n
	if n.original != nil {
		text := strings.ReplaceAll(*n.original, "$$", "$")
		out.original = &text
	}
	switch n.kind {
	case mapping:
		out.entries = make([]entry, len(n.entries))
		for i, e := range n.entries {
			out.entries[i] = entry{key: e.key, pos: e.pos, value: unescape(e.value)}
		}
	case sequence:
		out.items = make([]*node, len(n.items))
		for i, item := range n.items {
			out.items[i] = unescape(item)
		}
	case scalar:
		if n.tag == tagString && strings.Contains(n.text, "$$") {
			out.text, out.plain = strings.ReplaceAll(n.text, "$$", "$"), false
		}
	}
	return &out
}

func join(field, key string) string {
	if field == "" {
		return key
	}
	return field + "." + key
}
