//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/mangru/mangru/test/bench/collector/peer"
)

const mib = 1 << 20

// printResults writes the table of a mode, and for costs the ratios.
func printResults(out io.Writer, mode string, results []Result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...any) {
		for _, c := range cells {
			fmt.Fprintf(w, "%v\t", c)
		}
		fmt.Fprintln(w)
	}
	switch mode {
	case "start":
		row("collector", "round", "targets", "first sample s", "all targets s", "CPU s until then")
		for _, r := range results {
			row(r.Collector, r.Round, r.Start.Targets, number(r.Start.FirstSample, 2), number(r.Start.AllTargets, 1), number(r.Start.CPU, 2))
		}
	case "outage":
		row("collector", "round", "series", "away s", "scrapes", "backlog", "caught up in s", "samples/s", "x of 10 s scrapes", "delivered", "of", "lost", "out of order", "repeated", "RSS before", "RSS end", "RSS peak MiB")
		for _, r := range results {
			a := r.Outage
			row(r.Collector, r.Round, a.Series, number(a.Away, 0), a.Scrapes, a.Backlog, number(a.CatchUp, 1), number(a.PerSecond, 0), number(a.Speed, 1),
				a.Delivered, a.Expected, a.Expected-a.Delivered, a.OutOfOrder, a.Duplicates, a.RSSBefore/mib, a.RSSEnd/mib, a.RSSPeak/mib)
		}
	default:
		row("collector", "round", "targets", "series", "CPU s/M", "RSS MiB", "peak MiB", "B/sample", "samples/s", "delivered", "of", "repeated", "out of order", "servers' CPU %")
		for _, r := range results {
			c := r.Cost
			row(r.Collector, r.Round, c.Targets, c.Series, number(c.CPUPerMillion, 3), c.RSS/mib, c.RSSPeak/mib, number(c.BytesPerSample, 1),
				number(float64(c.Samples)/c.Window, 0), c.Delivered, c.Expected, c.Duplicates, c.OutOfOrder, number(100*(c.PageServerCPU+c.SinkCPU)/c.Window, 0))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, line := range ratios(results) {
		fmt.Fprintln(out, line)
	}
	return nil
}

func number(v float64, decimals int) string { return fmt.Sprintf("%.*f", decimals, v) }

// ratios compares mangru's cost with that of each peer: the median over the
// rounds, each of which compares what was measured next to each other.
func ratios(results []Result) []string {
	cost := map[string][]*Cost{} // by round
	for _, r := range results {
		if r.Cost != nil {
			cost[r.Collector] = append(cost[r.Collector], r.Cost)
		}
	}
	var lines []string
	for _, name := range peer.Names() {
		if name == peer.Mangru || len(cost[name]) == 0 || len(cost[peer.Mangru]) == 0 {
			continue
		}
		var cpu, rss []float64
		for i, c := range cost[name] {
			ours := cost[peer.Mangru][i]
			cpu = append(cpu, ours.CPUPerMillion/c.CPUPerMillion)
			rss = append(rss, float64(ours.RSS)/float64(c.RSS))
		}
		lines = append(lines, fmt.Sprintf("mangru / %-12s CPU per sample %s   memory %s", name, spread(cpu), spread(rss)))
	}
	return lines
}

// spread is a median with its range.
func spread(all []float64) string {
	m := median(all)
	if len(all) == 1 {
		return number(m, 3)
	}
	return strings.Join([]string{number(m, 3), "(" + number(slices.Min(all), 3), "to", number(slices.Max(all), 3) + ")"}, " ")
}
