// Package doctor walks the path of a sample, from what a collector may see to
// what a board shows, and says for each step whether it holds, by which
// evidence, and how to repair it.
package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Level is how bad a finding is.
type Level string

// The levels, in order.
const (
	OK      Level = "ok"
	Skipped Level = "skipped" // it could not be looked at, or does not apply
	Warning Level = "warning"
	Failure Level = "failure"
)

var levels = []Level{OK, Skipped, Warning, Failure}

// Check is one finding.
type Check struct {
	// Area is the part of the path: cluster, rights, collector, ...
	Area string `json:"area"`
	Name string `json:"name"`
	Level
	// Evidence is what was seen.
	Evidence string `json:"evidence"`
	// Fix is what to do about it; empty where nothing is to be done.
	Fix string `json:"fix,omitempty"`
}

// Report is all that was found.
type Report struct {
	Checks []Check `json:"checks"`
	Worst  Level   `json:"worst"`
}

func (r *Report) add(area, name string, level Level, fix, format string, args ...any) {
	if level == OK || level == Skipped {
		fix = strings.TrimSpace(fix)
	}
	r.Checks = append(r.Checks, Check{Area: area, Name: name, Level: level, Evidence: fmt.Sprintf(format, args...), Fix: fix})
	if r.Worst == "" || slices.Index(levels, level) > slices.Index(levels, r.Worst) {
		r.Worst = level
	}
}

func (r *Report) ok(area, name, format string, args ...any) {
	r.add(area, name, OK, "", format, args...)
}

// ExitCode is 0 where nothing is wrong, 1 for failures, 3 for warnings alone.
func (r *Report) ExitCode() int {
	switch r.Worst {
	case Failure:
		return 1
	case Warning:
		return 3
	}
	return 0
}

// Print writes the table, and the repairs below it.
func (r *Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "RESULT\tAREA\tCHECK\tEVIDENCE")
	for _, c := range r.Checks {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", strings.ToUpper(string(c.Level)), c.Area, c.Name, firstLine(c.Evidence))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, c := range r.Checks {
		if c.Level != Warning && c.Level != Failure {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s  %s: %s\n    %s\n", strings.ToUpper(string(c.Level)), c.Area, c.Name, strings.ReplaceAll(c.Evidence, "\n", "\n    ")); err != nil {
			return err
		}
		if c.Fix != "" {
			if _, err := fmt.Fprintf(w, "    Fix: %s\n", strings.ReplaceAll(c.Fix, "\n", "\n         ")); err != nil {
				return err
			}
		}
	}
	counts := map[Level]int{}
	for _, c := range r.Checks {
		counts[c.Level]++
	}
	_, err := fmt.Fprintf(w, "\n%d checks: %d ok, %d skipped, %d warnings, %d failures\n", len(r.Checks), counts[OK], counts[Skipped], counts[Warning], counts[Failure])
	return err
}

func firstLine(s string) string {
	line, rest, more := strings.Cut(s, "\n")
	if more && rest != "" {
		line += " ..."
	}
	if len(line) > 160 {
		line = line[:157] + "..."
	}
	return line
}
