package measure

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Split takes a list with commas apart.
func Split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// Table prints the heavy and the typical queries one by one, and sums all up.
// Ratios are of processor time, of the first engine to the others'.
func Table(w io.Writer, engines []Engine, results []Result) {
	for _, r := range results {
		switch r.Query.Source {
		case "heavy", "typical", "query":
		default:
			if r.Differs == "" {
				continue
			}
		}
		for i, e := range engines {
			c := r.Costs[i]
			fmt.Fprintf(w, "%s %.3f s cpu, %.3f s wall, %.0f MB%s   ", e.Name, c.CPU.Seconds(), c.Wall.Seconds(), float64(c.Allocated)/1e6, ratio(r.Costs[0].CPU, c.CPU))
		}
		fmt.Fprintf(w, "%d series  %s", r.Series, r.Query.Expr)
		if r.Differs != "" {
			fmt.Fprintf(w, "  DIFFERS %s", r.Differs)
		}
		for _, text := range slices.Compact(slices.Clone(r.Errors)) {
			if text != "" {
				fmt.Fprintf(w, "  error: %s", text)
			}
		}
		fmt.Fprintln(w)
	}
	summary(w, engines, "all", results)
	summary(w, engines, "with samples", slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Costs[0].Samples == 0 }))
}

func ratio(first, c time.Duration) string {
	if c == 0 || c == first {
		return ""
	}
	return fmt.Sprintf(" (%.2fx)", first.Seconds()/c.Seconds())
}

func summary(w io.Writer, engines []Engine, name string, results []Result) {
	if len(results) == 0 {
		return
	}
	differ := 0
	for _, r := range results {
		if r.Differs != "" {
			differ++
		}
	}
	fmt.Fprintf(w, "\n%d queries (%s), %d with different answers\n", len(results), name, differ)
	for i, e := range engines {
		fmt.Fprintf(w, "%-12s", e.Name)
		for _, p := range []int{50, 95, 99} {
			cpu, wall := percentile(results, p, func(r Result) time.Duration { return r.Costs[i].CPU }), percentile(results, p, func(r Result) time.Duration { return r.Costs[i].Wall })
			fmt.Fprintf(w, "  p%d %.1f ms cpu %.1f ms wall", p, cpu.Seconds()*1e3, wall.Seconds()*1e3)
		}
		sum := time.Duration(0)
		for _, r := range results {
			sum += r.Costs[i].CPU
		}
		fmt.Fprintf(w, "  sum %.1f s cpu\n", sum.Seconds())
	}
}

func percentile(results []Result, p int, f func(Result) time.Duration) time.Duration {
	v := make([]time.Duration, len(results))
	for i, r := range results {
		v[i] = f(r)
	}
	slices.SortFunc(v, cmp.Compare)
	return v[min(len(v)*p/100, len(v)-1)]
}
