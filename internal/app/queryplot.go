package app

import (
	"fmt"
	"io"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// sparks are the heights of a sparkline.
var sparks = []rune("▁▂▃▄▅▆▇█")

// sparkline draws values from first to last in so many columns; a column shows
// the greatest value in it, and nothing where there is none.
func sparkline(points []point, first, last time.Time, columns int) string {
	lo, hi := bounds([]answered{{points: points}})
	tops := make([]float64, columns)
	for i := range tops {
		tops[i] = math.NaN()
	}
	for _, p := range points {
		i := column(p.at, first, last, columns)
		if finite(p.v) && !(tops[i] >= p.v) {
			tops[i] = p.v
		}
	}
	var b strings.Builder
	for _, v := range tops {
		switch {
		case math.IsNaN(v):
			b.WriteRune(' ')
		case hi == lo:
			b.WriteRune(sparks[3])
		default:
			b.WriteRune(sparks[min(int((v-lo)/(hi-lo)*float64(len(sparks))), len(sparks)-1)])
		}
	}
	return b.String()
}

func column(at, first, last time.Time, columns int) int {
	span := last.Sub(first)
	if span <= 0 {
		return columns - 1
	}
	return max(0, min(int(float64(at.Sub(first))/float64(span)*float64(columns-1)+0.5), columns-1))
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// bounds are the least and the greatest finite value, NaN without any.
func bounds(all []answered) (lo, hi float64) {
	lo, hi = math.NaN(), math.NaN()
	for _, s := range all {
		for _, p := range s.points {
			if !finite(p.v) {
				continue
			}
			if !(lo <= p.v) {
				lo = p.v
			}
			if !(hi >= p.v) {
				hi = p.v
			}
		}
	}
	return lo, hi
}

func timesOf(all []answered) (first, last time.Time) {
	for _, s := range all {
		for _, p := range s.points {
			if first.IsZero() || p.at.Before(first) {
				first = p.at
			}
			if p.at.After(last) {
				last = p.at
			}
		}
	}
	return first, last
}

// short writes a number in few places, with the prefixes of the SI.
func short(v float64) string {
	if !finite(v) {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	a := math.Abs(v)
	for _, u := range []struct {
		unit float64
		name string
	}{{1e15, "P"}, {1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if a >= u.unit {
			return strconv.FormatFloat(v/u.unit, 'g', 4, 64) + u.name
		}
	}
	if a != 0 && a < 1e-4 {
		return strconv.FormatFloat(v, 'e', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// marks tell the series of a plot apart; the last is for all that are left.
var marks = []rune("*+ox#@%&=~")

// plot draws all series over time, between axes.
func (f *queryFlags) plot(w io.Writer, all []answered, form url.Values) error {
	lo, hi := bounds(all)
	if math.IsNaN(lo) {
		fmt.Fprintln(w, "No values.")
		return nil
	}
	if hi == lo {
		pad := math.Max(math.Abs(hi)*0.1, 1)
		lo, hi = lo-pad, hi+pad
	}
	first, last := form1970(form.Get("start")), form1970(form.Get("end"))
	rows := max(f.height, 3)
	labels := make([]string, rows)
	margin := 0
	for i := range labels {
		if i%4 == 0 || i == rows-1 {
			labels[i] = short(hi - (hi-lo)*float64(i)/float64(rows-1))
		}
		margin = max(margin, len(labels[i]))
	}
	columns := max(f.columns()-margin-3, 20)
	grid := make([][]rune, rows)
	for i := range grid {
		grid[i] = []rune(strings.Repeat(" ", columns))
	}
	for i, s := range all {
		drawSeries(grid, s.points, marks[min(i, len(marks)-1)], first, last, lo, hi)
	}
	var b strings.Builder
	for i, row := range grid {
		fmt.Fprintf(&b, "%*s ┤%s\n", margin, labels[i], strings.TrimRight(string(row), " "))
	}
	fmt.Fprintf(&b, "%*s └%s\n", margin, "", strings.Repeat("─", columns))
	left, right := first.Format("01-02 15:04"), last.Format("01-02 15:04")+" UTC"
	fmt.Fprintf(&b, "%*s  %s%*s\n", margin, "", left, columns-len(left), right)
	for i, s := range all {
		if i == len(marks)-1 && len(all) > len(marks) {
			fmt.Fprintf(&b, "  %c %d more series\n", marks[i], len(all)-i)
			break
		}
		fmt.Fprintf(&b, "  %c %s\n", marks[i], s.name())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func form1970(seconds string) time.Time {
	s, _ := strconv.ParseFloat(seconds, 64) // our own
	return time.UnixMilli(int64(s * 1000)).UTC()
}

// drawSeries marks the values of a series, and what is between neighbours that
// are no more than a column apart.
func drawSeries(grid [][]rune, points []point, mark rune, first, last time.Time, lo, hi float64) {
	rows, columns := len(grid), len(grid[0])
	row := func(v float64) int { return int(math.Round((hi - v) / (hi - lo) * float64(rows-1))) }
	before := -1
	beforeRow := 0
	for _, p := range points {
		if !finite(p.v) {
			before = -1
			continue
		}
		x, y := column(p.at, first, last, columns), row(p.v)
		grid[y][x] = mark
		if before >= 0 && x-before <= 1 {
			for between := min(y, beforeRow) + 1; between < max(y, beforeRow); between++ {
				if grid[between][x] == ' ' {
					grid[between][x] = '·'
				}
			}
		}
		before, beforeRow = x, y
	}
}
