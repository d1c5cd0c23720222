//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
)

// storedSeries is a series as the server has it, stale marks and all.
type storedSeries struct {
	labels  map[string]string
	samples []storedSample
}

type storedSample struct {
	ms    int64
	value float64
	stale bool
}

func (s *storedSeries) name() string { return s.labels["__name__"] }

func (s *storedSeries) String() string {
	var parts []string
	for k, v := range s.labels {
		if k != "__name__" {
			parts = append(parts, k+"="+v)
		}
	}
	slices.Sort(parts)
	return s.name() + "{" + strings.Join(parts, ",") + "}"
}

// readAll reads everything that a workspace holds of a time by remote read, the
// only way out of a server that shows stale marks.
func (s *site) readAll(from, to time.Time) []*storedSeries {
	t := s.t
	t.Helper()
	request := prompb.ReadRequest{Queries: []*prompb.Query{{
		StartTimestampMs: from.UnixMilli(), EndTimestampMs: to.UnixMilli(),
		Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_NEQ, Name: "__name__", Value: ""}},
	}}}
	body, err := request.Marshal()
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, strings.TrimSuffix(s.query, "query")+"read", bytes.NewReader(s2.EncodeSnappy(nil, body)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	client := s.client()
	client.Timeout = 2 * time.Minute
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, "%.500s", body)
	raw, err := s2.Decode(nil, body)
	require.NoError(t, err)
	var response prompb.ReadResponse
	require.NoError(t, response.Unmarshal(raw))
	require.Len(t, response.Results, 1)
	var out []*storedSeries
	for _, ts := range response.Results[0].Timeseries {
		one := &storedSeries{labels: make(map[string]string, len(ts.Labels))}
		for _, l := range ts.Labels {
			one.labels[l.Name] = l.Value
		}
		for _, sample := range ts.Samples {
			one.samples = append(one.samples, storedSample{sample.Timestamp, sample.Value, value.IsStaleNaN(sample.Value)})
		}
		for _, h := range ts.Histograms {
			sum := math.Float64frombits(math.Float64bits(h.Sum))
			one.samples = append(one.samples, storedSample{h.Timestamp, sum, value.IsStaleNaN(sum)})
		}
		slices.SortStableFunc(one.samples, func(a, b storedSample) int { return cmp.Compare(a.ms, b.ms) })
		out = append(out, one)
	}
	return out
}

// aboutScrapes are the series that a scrape makes itself.
var aboutScrapes = []string{"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"}

// storedTarget is a target with all of its series.
type storedTarget struct {
	up     *storedSeries
	kept   map[int64]float64 // samples of each page, by time
	series []*storedSeries   // of its pages
	own    []*storedSeries   // about its scrapes
}

func (t *storedTarget) String() string {
	return fmt.Sprintf("%s %s %s", t.up.labels["job"], t.up.labels["instance"], cmp.Or(t.up.labels["kubernetes_pod_name"], t.up.labels["kubernetes_io_hostname"]))
}

// byTarget finds the target of each series: the one whose labels it has.
func byTarget(t *testing.T, all []*storedSeries) []*storedTarget {
	t.Helper()
	byJob := map[string][]*storedTarget{}
	var out []*storedTarget
	for _, s := range all {
		if s.name() == "up" {
			target := &storedTarget{up: s, kept: map[int64]float64{}}
			byJob[s.labels["job"]] = append(byJob[s.labels["job"]], target)
			out = append(out, target)
		}
	}
	has := func(s *storedSeries, target *storedTarget) bool {
		for k, v := range target.up.labels {
			if k != "__name__" && s.labels[k] != v {
				return false
			}
		}
		return true
	}
	for _, s := range all {
		var owner *storedTarget
		for _, target := range byJob[s.labels["job"]] {
			if has(s, target) && (owner == nil || len(target.up.labels) > len(owner.up.labels)) {
				owner = target
			}
		}
		require.NotNil(t, owner, "no target for %s", s)
		if !slices.Contains(aboutScrapes, s.name()) {
			owner.series = append(owner.series, s)
			continue
		}
		owner.own = append(owner.own, s)
		if s.name() == "scrape_samples_post_metric_relabeling" {
			for _, sample := range s.samples {
				owner.kept[sample.ms] = sample.value
			}
		}
	}
	return out
}

// audit holds what is stored against the rules of a collector's output.
type audit struct {
	interval  time.Duration
	tolerance time.Duration
	// last is a time up to which a target that has not ended has been scraped.
	last time.Time

	faults  []string
	found   map[string]int // counts of what there was, by what it is
	longest time.Duration  // between two scrapes of a target
	// shortest leaves out the two first scrapes of a target.
	shortest time.Duration
	// own is the longest between two samples with times of their own.
	own time.Duration
	// mayEnd reports whether a target is one of those that come and go.
	mayEnd func(*storedTarget) bool
	// moving reports whether targets changed hands just after a time.
	moving func(time.Time) bool
	// by returns who made the scrape of a target at a time; empty if nobody said so.
	by func(target *storedTarget, ms int64) string
}

func (a *audit) fault(format string, args ...any) {
	a.faults = append(a.faults, fmt.Sprintf(format, args...))
}

// target checks one target's series.
func (a *audit) target(target *storedTarget) {
	a.found["targets"]++
	before := len(a.faults)
	scrapes := a.rhythm(target)
	if len(a.faults) > before {
		a.fault("%s: %s", target, a.history(target))
	}
	stored := map[int64]int{} // samples by time
	unmarked := map[int64][]string{}
	for _, s := range append(slices.Clone(target.own), target.series...) {
		own := slices.Contains(aboutScrapes, s.name())
		a.found["series"]++
		if !own && a.timed(s, scrapes) {
			a.found["series with times of their own"]++
			target.kept = nil // cannot be counted by time
			continue
		}
		a.series(target, s, own, unmarked)
		for _, sample := range s.samples {
			if !own && !sample.stale {
				stored[sample.ms]++
			}
		}
	}
	for ms, names := range unmarked {
		a.fault("%s: %d series end at %s without a mark, such as %s", target, len(names), clock(ms), names[0])
	}
	if target.kept == nil {
		return
	}
	// Every sample of every page is there, so a series that is not was not on the
	// page, and the mark that says so is right.
	for ms, up := range scrapes {
		switch {
		case up == 1 && float64(stored[ms]) != target.kept[ms]:
			a.fault("%s: %d samples stored of the %g of %s", target, stored[ms], target.kept[ms], clock(ms))
		case up == 0 && stored[ms] > 0:
			a.fault("%s: %d samples stored of a scrape that failed, %s", target, stored[ms], clock(ms))
		}
		a.found["pages counted"]++
	}
}

// rhythm checks the times of a target's scrapes and returns how each went.
func (a *audit) rhythm(target *storedTarget) map[int64]float64 {
	scrapes := map[int64]float64{}
	list := target.up.samples
	for i, sample := range list {
		if sample.stale {
			a.found["targets that ended"]++
			if !a.mayEnd(target) {
				a.fault("%s: marked stale %s", target, clock(sample.ms))
			}
			switch rest := list[i+1:]; {
			case len(rest) == 0:
			case len(rest) == 2 && rest[0].value == 0 && !rest[0].stale && rest[1].stale && a.mayEnd(target) && a.handover(target, i+1):
				// The replica that took over has not heard yet that the pod is gone, asks
				// once more, and marks the end of that too. Nothing false is stored.
				a.found["targets that were asked once more after their end"]++
			default:
				a.fault("%s: marked stale %s, and goes on %s", target, clock(sample.ms), clock(list[i+1].ms))
			}
			continue
		}
		scrapes[sample.ms] = sample.value
		a.found["scrapes"]++
		if sample.value == 0 {
			a.found["scrapes that failed"]++
			if !a.mayEnd(target) {
				a.fault("%s: the scrape %s failed", target, clock(sample.ms))
			}
		}
		if i == 0 {
			continue
		}
		gap := time.Duration(sample.ms-list[i-1].ms) * time.Millisecond
		a.longest = max(a.longest, gap)
		if gap > a.interval+a.tolerance {
			a.fault("%s: nothing between %s and %s (%s)", target, clock(list[i-1].ms), clock(sample.ms), gap)
		}
		if i == 1 {
			continue // the first one of all does not wait for its turn
		}
		if before := time.UnixMilli(list[i-1].ms); gap < a.interval-a.tolerance && a.moving(before) && before.Sub(time.UnixMilli(list[0].ms)) < 2*a.interval {
			// Discovery tells one replica of a new target some seconds before another
			// one. If that is the one that the target goes to, it is new to both.
			a.found["targets that were new twice"]++
			continue
		}
		if a.shortest == 0 || gap < a.shortest {
			a.shortest = gap
		}
		if gap < a.interval-a.tolerance {
			a.fault("%s: scraped %s and again %s (%s)", target, clock(list[i-1].ms), clock(sample.ms), gap)
		}
	}
	if end := list[len(list)-1]; !end.stale && a.last.Sub(time.UnixMilli(end.ms)) > a.interval+a.tolerance {
		if !a.moving(time.UnixMilli(end.ms)) {
			a.fault("%s: ends %s without a mark, by %q", target, clock(end.ms), a.by(target, end.ms))
		}
		a.found["targets that ended without a mark, while targets changed hands"]++
	}
	return scrapes
}

// history writes down when a target was scraped by whom: + went well, - failed,
// end is a stale mark.
func (a *audit) history(target *storedTarget) string {
	var out []string
	who := ""
	for _, sample := range target.up.samples {
		if by := a.by(target, sample.ms); by != who && by != "" {
			who = by
			out = append(out, "by "+who)
		}
		word := map[float64]string{0: "-", 1: "+"}[sample.value]
		if sample.stale {
			word = "end "
		}
		out = append(out, word+clock(sample.ms))
	}
	return strings.Join(out, " ")
}

// timed reports whether the page gave a series times of its own, and checks
// those. Such series are never marked stale.
func (a *audit) timed(s *storedSeries, scrapes map[int64]float64) bool {
	strange := 0
	for _, sample := range s.samples {
		if _, ok := scrapes[sample.ms]; !ok && !sample.stale {
			strange++
		}
	}
	if strange == 0 || !strings.HasPrefix(s.name(), "container_") {
		return false
	}
	for i, sample := range s.samples {
		if sample.stale {
			a.fault("%s: marked stale %s", s, clock(sample.ms))
		}
		if i == 0 {
			continue
		}
		gap := time.Duration(sample.ms-s.samples[i-1].ms) * time.Millisecond
		a.own = max(a.own, gap)
		// The kubelet looks at a container every 10 to 30 s, as it likes.
		if gap > 30*time.Second+a.interval+a.tolerance {
			a.fault("%s: nothing between %s and %s (%s)", s, clock(s.samples[i-1].ms), clock(sample.ms), gap)
		}
	}
	return true
}

// series checks that each sample of a series is one of a scrape, and that it is
// marked stale exactly when it was on the page before and is not any more.
// Where it is not marked, its name goes to unmarked, by time.
func (a *audit) series(target *storedTarget, s *storedSeries, own bool, unmarked map[int64][]string) {
	list := target.up.samples
	next := 0
	present := false
	for i, at := range list {
		for next < len(s.samples) && s.samples[next].ms < at.ms {
			a.fault("%s: a sample %s, when nothing was scraped", s, clock(s.samples[next].ms))
			next++
		}
		here := next < len(s.samples) && s.samples[next].ms == at.ms
		switch {
		case here && s.samples[next].stale:
			a.found["stale marks"]++
			if !present {
				a.fault("%s: marked stale %s, and was not there", s, clock(at.ms))
			}
			if own && !at.stale {
				a.fault("%s: marked stale %s by a scrape that took place", s, clock(at.ms))
			}
			present = false
		case here:
			a.found["samples"]++
			present = true
		case present:
			present = false
			switch {
			case own:
				a.fault("%s: nothing of the scrape %s", s, clock(at.ms))
			case !a.handover(target, i):
				unmarked[at.ms] = append(unmarked[at.ms], s.name())
			default:
				// Who takes a target over does not know what was on its page before.
				a.found["ends without a mark, at a handover"]++
			}
		}
		if here {
			next++
		}
	}
	for ; next < len(s.samples); next++ {
		a.fault("%s: a sample %s, after the last scrape", s, clock(s.samples[next].ms))
	}
}

// handover reports whether the i-th scrape of a target may be the first of another
// replica. Nobody claims what a replica scraped just before it had to stop.
func (a *audit) handover(target *storedTarget, i int) bool {
	known := func(from, step int) string {
		for ; from >= 0 && from < len(target.up.samples); from += step {
			if who := a.by(target, target.up.samples[from].ms); who != "" {
				return who
			}
		}
		return ""
	}
	before, after := known(i-1, -1), known(i, 1)
	if before == "" || after == "" {
		return a.moving(time.UnixMilli(target.up.samples[i].ms))
	}
	return before != after
}

func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format("15:04:05.000") }
