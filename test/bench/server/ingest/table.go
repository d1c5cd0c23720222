//go:build linux

package ingest

import (
	"fmt"
	"io"
	"time"
)

// Table prints a report in Markdown. Ratios are of the first server to the others.
func (r *Report) Table(w io.Writer) {
	fmt.Fprintf(w, "%d series, %.1f million samples of %s in %s, %d scrapes late\n\n", r.Series, float64(r.Samples)/1e6, r.Span, r.Took.Round(time.Second), r.Late)
	fmt.Fprintln(w, "| | CPU s/M | ratio | RSS MiB | ratio | peak MiB | disk B/sample | of it log | restart s |\n|---|---|---|---|---|---|---|---|---|")
	first := r.Servers[0]
	perM := func(s *Result) float64 { return s.CPU.Seconds() / float64(r.Samples) * 1e6 }
	for _, s := range r.Servers {
		fmt.Fprintf(w, "| %s | %.2f | %.2f | %d | %.2f | %d | %.2f | %.2f | %.2f |\n", s.Name, perM(s), perM(first)/perM(s), s.RSS>>20,
			float64(first.RSS)/float64(max(1, s.RSS)), s.Peak>>20, float64(s.Disk)/float64(r.Samples), float64(s.Log)/float64(r.Samples), s.Restart.Seconds())
	}
	r.during(w)
	r.answers(w)
}

func (r *Report) during(w io.Writer) {
	for i, s := range r.Servers {
		if len(s.During) == 0 && len(s.Errors) == 0 {
			continue
		}
		if i == 0 {
			fmt.Fprintln(w, "\nQueries while samples came:\n\n| | asked | median ms | p95 ms | p99 ms | errors |\n|---|---|---|---|---|---|")
		}
		fmt.Fprintf(w, "| %s | %d | %.1f | %.1f | %.1f | %d |\n", s.Name, len(s.During)+len(s.Errors), ms(quantile(s.During, 0.5)), ms(quantile(s.During, 0.95)),
			ms(quantile(s.During, 0.99)), len(s.Errors))
	}
}

func (r *Report) answers(w io.Writer) {
	if len(r.Servers[0].After) == 0 {
		return
	}
	fmt.Fprint(w, "\nQueries afterwards, wall ms (CPU ms):\n\n|")
	for _, s := range r.Servers {
		fmt.Fprintf(w, " %s |", s.Name)
	}
	fmt.Fprint(w, " query |\n|")
	for range r.Servers {
		fmt.Fprint(w, "---|")
	}
	fmt.Fprintln(w, "---|")
	for i, a := range r.Servers[0].After {
		fmt.Fprint(w, "|")
		for _, s := range r.Servers {
			if e := s.After[i].Error; e != "" {
				fmt.Fprintf(w, " %.60s |", e)
				continue
			}
			fmt.Fprintf(w, " %.1f (%.0f) |", ms(s.After[i].Wall), ms(s.After[i].CPU))
		}
		fmt.Fprintf(w, " `%s` |\n", a.Query.Expr)
	}
	fmt.Fprint(w, "|")
	for _, s := range r.Servers {
		var walls []time.Duration
		for _, a := range s.After {
			walls = append(walls, a.Wall)
		}
		fmt.Fprintf(w, " %.1f, %.1f |", ms(quantile(walls, 0.5)), ms(quantile(walls, 0.95)))
	}
	fmt.Fprintln(w, " **median, p95** |")
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
