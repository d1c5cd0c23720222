package differential

import (
	"bufio"
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/differential/sink"
)

// canonical is what a collector made of the targets, in words that do not depend
// on when it scraped: by target, series and moment, where a moment is the number
// of a scrape or what the target called it.
type canonical map[string]map[string]map[string]string

// reader makes streams canonical.
type reader struct {
	scrapes func(target string) int // how many are looked at
	own     func(target string) map[int64]string
	hide    *strings.Replacer // what differs from run to run
	free    func(target string) bool
}

// targetOf returns the target that a series is of.
func targetOf(ls labels.Labels) string {
	if g := ls.Get("generation"); g != "" {
		return ls.Get("t") + "/" + g
	}
	return cmp.Or(ls.Get("t"), ls.Get("job"))
}

// read returns the canonical form of a stream.
func (x *reader) read(s *sink.Stream) canonical {
	out := make(canonical)
	for target, list := range x.byTarget(s) {
		if target == "" {
			continue
		}
		out[target] = x.target(target, list)
	}
	return out
}

func (x *reader) byTarget(s *sink.Stream) map[string][]*sink.Series {
	all := make(map[string][]*sink.Series)
	for _, series := range s.Series {
		t := targetOf(series.Labels)
		all[t] = append(all[t], series)
	}
	return all
}

// scrapeTimes are when a target was scraped: each time, up says something.
func scrapeTimes(list []*sink.Series) (times []int64) {
	for _, s := range list {
		if s.Labels.Get(model.MetricNameLabel) == "up" {
			for _, p := range s.Points {
				times = append(times, p.Time)
			}
		}
	}
	slices.Sort(times)
	return slices.Compact(times)
}

func (x *reader) target(name string, list []*sink.Series) map[string]map[string]string {
	times := scrapeTimes(list)
	path, _, _ := strings.Cut(name, "/")
	own := x.own(path)
	end := int64(math.MaxInt64)
	scrapes := x.scrapes(name)
	if len(times) > scrapes {
		end = times[scrapes]
	}
	free := x.free(name)
	moment := func(t int64, timed bool) (string, bool) {
		n, scraped := slices.BinarySearch(times, t)
		word, owned := own[t]
		switch {
		case owned && (timed || !scraped):
			at, _, _ := strings.Cut(strings.TrimPrefix(word, "at"), "-")
			if n, err := strconv.Atoi(at); err == nil && n >= scrapes && !free {
				return "", false
			}
			return word, true
		case scraped:
			return strconv.Itoa(n), free || t < end
		case n == 0:
			return "before", true
		default:
			return fmt.Sprintf("after%d", n-1), free || t < end
		}
	}
	out := make(map[string]map[string]string)
	for _, s := range list {
		if free && s.Labels.Get(model.MetricNameLabel) == "scrape_series_added" {
			continue // all are new again after a reload, if there is a scrape before the next change
		}
		// A time of the target's may happen to be that of a scrape.
		timed := 0
		for _, p := range s.Points {
			_, scraped := slices.BinarySearch(times, p.Time)
			switch _, owned := own[p.Time]; {
			case scraped && !owned:
				timed--
			case owned && !scraped:
				timed++
			}
		}
		at := make(map[string]string)
		put := func(word, v string) {
			all := []string{v}
			if old, twice := at[word]; twice {
				all = strings.Split(old, " and ")
				all = append(all, v)
				slices.Sort(all)
				all = slices.Compact(all)
			}
			at[word] = strings.Join(all, " and ")
		}
		for _, p := range s.Points {
			if word, ok := moment(p.Time, timed > 0 && !p.Stale()); ok {
				put(word, valueText(s.Labels, p))
			}
		}
		for _, e := range s.Exemplars {
			if word, ok := moment(e.Time, true); ok {
				put("exemplar "+word+" "+e.Labels, fmt.Sprint(e.Value))
			}
		}
		if free {
			at = collapse(at, len(times))
		}
		if len(at) > 0 {
			out[x.hide.Replace(s.Labels.String())] = at
		}
	}
	return out
}

func valueText(ls labels.Labels, p sink.Point) string {
	switch {
	case p.Stale():
		return "stale"
	case p.Histogram != "":
		return p.Histogram
	case ls.Get(model.MetricNameLabel) == "scrape_duration_seconds" && p.Value > 0 && p.Value < 60:
		return "some seconds"
	case math.IsNaN(p.Value):
		return fmt.Sprintf("NaN:%x", math.Float64bits(p.Value))
	}
	return strconv.FormatFloat(p.Value, 'g', -1, 64)
}

// collapse keeps the changes of a series alone, for targets of which nobody can
// say how often they are scraped before something happens.
func collapse(at map[string]string, scrapes int) map[string]string {
	out := make(map[string]string)
	last := "none"
	for n := range scrapes {
		v, ok := at[strconv.Itoa(n)]
		if !ok {
			v = "none"
		}
		if v != last {
			out[fmt.Sprintf("change%d", len(out))] = v
		}
		last = v
	}
	if last == "none" && len(out) > 0 { // it was over before the end
		delete(out, fmt.Sprintf("change%d", len(out)-1))
	}
	return out
}

// difference is one between two canonical forms.
type difference struct{ stream, target, series, what string }

func (d difference) String() string {
	return strings.Join([]string{d.stream, d.target, d.series, d.what}, " | ")
}

// differences lists what is not the same.
func differences(stream string, peer, mine canonical) (all []difference) {
	add := func(target, series, format string, args ...any) {
		all = append(all, difference{stream, target, series, fmt.Sprintf(format, args...)})
	}
	for _, t := range sortedUnion(peer, mine) {
		for _, s := range sortedUnion(peer[t], mine[t]) {
			p, m := peer[t][s], mine[t][s]
			switch {
			case p == nil:
				add(t, s, "only here: %s", summary(m))
			case m == nil:
				add(t, s, "only there: %s", summary(p))
			default:
				for _, at := range sortedUnion(p, m) {
					if p[at] != m[at] {
						add(t, s, "%s: there %s, here %s", at, cmp.Or(p[at], "nothing"), cmp.Or(m[at], "nothing"))
					}
				}
			}
		}
	}
	return all
}

func summary(m map[string]string) string {
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i == 3 {
			fmt.Fprintf(&b, " ... (%d)", len(m))
			break
		}
		fmt.Fprintf(&b, " %s=%s", k, m[k])
	}
	return strings.TrimSpace(b.String())
}

func sortedUnion[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	if all == nil {
		all = make(map[string]V)
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// listed is a difference that is known, with its reason.
type listed struct {
	text    string
	fields  [4]*regexp.Regexp
	matched bool
}

// sometimes begins lines about what depends on the moment of a reload.
const sometimes = "sometimes: "

// readListed reads a list of differences: lines of regular expressions for
// stream, target, series and what differs, each of the whole, and the reason.
// What is listed and is no difference fails the test, except for what begins
// with sometimes.
func readListed(t *testing.T, file string) (all []*listed) {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(strings.TrimPrefix(line, sometimes), " | ")
		require.Len(t, parts, 5, "%s: %s", file, line)
		l := &listed{text: line}
		for i := range l.fields {
			l.fields[i], err = regexp.Compile(`^(?s:` + strings.TrimSpace(parts[i]) + `)$`)
			require.NoError(t, err, "%s: %s", file, line)
		}
		require.Greater(t, len(parts[4]), 10, "no reason: %s", line)
		all = append(all, l)
	}
	require.NoError(t, lines.Err())
	return all
}

func (l *listed) covers(d difference) bool {
	for i, s := range []string{d.stream, d.target, d.series, d.what} {
		if !l.fields[i].MatchString(s) {
			return false
		}
	}
	l.matched = true
	return true
}

var dump = flag.String("dump", "", "file for all differences that are not listed")

// report fails the test for every difference that is not listed, and for what is
// listed and is none.
func report(t *testing.T, file string, all []difference) {
	t.Helper()
	list := readListed(t, file)
	var unlisted []difference
	for _, d := range all {
		found := false
		for _, l := range list { // each that covers it has a use
			found = l.covers(d) || found
		}
		if !found {
			unlisted = append(unlisted, d)
		}
	}
	var b bytes.Buffer
	shown := make(map[string]int)
	for _, d := range unlisted {
		if key := d.stream + d.target; shown[key] < 10 && b.Len() < 50_000 {
			shown[key]++
			fmt.Fprintln(&b, d)
		}
	}
	if *dump != "" {
		var b bytes.Buffer
		for _, d := range unlisted {
			fmt.Fprintln(&b, d)
		}
		require.NoError(t, os.WriteFile(*dump, b.Bytes(), 0o600))
	}
	if len(unlisted) > 0 {
		t.Errorf("%d differences that are not listed in %s:\n%s", len(unlisted), file, b.String())
	}
	for _, l := range list {
		if !l.matched && !strings.HasPrefix(l.text, sometimes) {
			t.Errorf("%s lists what is no difference: %s", file, l.text)
		}
	}
	t.Logf("%d differences, all but %d listed", len(all), len(unlisted))
}
