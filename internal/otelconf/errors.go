package otelconf

import (
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strings"
)

// position is a place in a source: a file, or what stands for one.
type position struct {
	file string
	line int // 1-based; 0 where only the source is known
}

func (p position) String() string {
	if p.line == 0 {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}

// Error is one thing wrong with a configuration: where it is, what was found
// there and what is allowed.
type Error struct {
	File string
	Line int // 0 where only the file is known
	// Field is the path of the field, such as
	// receivers.prometheus.config.scrape_configs[2].relabel_configs[0].regex.
	Field string
	Text  string
	// Found is the offending text; empty where the text says it all or where
	// the field may hold a secret.
	Found string
	// Allowed are the values or fields possible there, where they can be listed.
	Allowed []string
	// Cause is the error of a parser further in, if any.
	Cause error
}

// Error renders the place, the field, what is wrong, what was found and what
// is allowed, in that order, on one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(position{e.File, e.Line}.String())
	if e.Field != "" {
		b.WriteString(": " + e.Field)
	}
	b.WriteString(": " + e.Text)
	if e.Found != "" {
		fmt.Fprintf(&b, ", found %q", e.Found)
	}
	if len(e.Allowed) > 0 {
		fmt.Fprintf(&b, " (allowed: %s)", strings.Join(e.Allowed, ", "))
	}
	return b.String()
}

// Unwrap returns the error of the parser that refused the value, if any.
func (e *Error) Unwrap() error { return e.Cause }

// problems collects errors so that one run of check-config shows all of them.
type problems struct{ list []*Error }

func (p *problems) add(e *Error) { p.list = append(p.list, e) }

func (p *problems) at(pos position, field, format string, args ...any) {
	p.add(&Error{File: pos.file, Line: pos.line, Field: field, Text: fmt.Sprintf(format, args...)})
}

// err joins what was collected in the order of the files' lines.
func (p *problems) err() error {
	sort.SliceStable(p.list, func(i, j int) bool {
		a, b := p.list[i], p.list[j]
		if a.File != b.File {
			return a.File < b.File
		}
		return a.Line < b.Line
	})
	errs := make([]error, len(p.list))
	for i, e := range p.list {
		errs[i] = e
	}
	return errors.Join(errs...)
}

// secretField matches the fields whose values must not be repeated.
var secretField = regexp.MustCompile(`(?i)secret|password|token|credential|private|access_key|\bkey|header|authorization|url|endpoint|external_id|params`)

// found returns text if it is fit to be shown for a field: short, of one line and
// not in a place that may hold a secret.
func found(field, text string) string {
	if len(text) > 80 || strings.ContainsAny(text, "\n\r") || secretField.MatchString(field) {
		return ""
	}
	return text
}

// nearest returns the candidate that a typing error could have turned into
// word, or "".
func nearest(word string, candidates []string) string {
	best, bestDistance := "", len(word)/3+1
	for _, c := range candidates {
		if d := distance(word, c, bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b; at least limit is returned
// for words whose lengths alone differ by that much.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
