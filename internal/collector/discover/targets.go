package discover

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
)

// Target is one place to scrape.
type Target struct {
	// ID is the same in every list for as long as job, address and visible
	// labels are.
	ID uint64
	// Labels are those after relabelling, with the __ settings.
	Labels labels.Labels
	// Discovered are those before relabelling.
	Discovered labels.Labels
	URL        string
	Interval   time.Duration
	Timeout    time.Duration
}

// Job is a scrape configuration and its targets.
type Job struct {
	Config  *config.ScrapeConfig
	Targets []Target
	// Dropped are targets that are not scraped, the first of them; the counts
	// are complete.
	Dropped       []Dropped
	DroppedCounts map[Reason]int
}

// Dropped is a target that is not scraped.
type Dropped struct {
	Discovered map[string]string `json:"discoveredLabels"`
	Reason     Reason            `json:"reason"`
	Text       string            `json:"text,omitempty"`
}

// Reason is why a target is not scraped.
type Reason string

// The reasons why targets are not scraped.
const (
	ReasonRelabel   Reason = "relabel"   // relabel_configs drop it
	ReasonInvalid   Reason = "invalid"   // what relabelling left is no target
	ReasonSame      Reason = "same"      // the job has the very same target already
	ReasonDuplicate Reason = "duplicate" // an earlier job scrapes it, and dedupe is on
)

// defaultShown is how many dropped targets are kept for people to see where the
// job does not say.
const defaultShown = 200

// result is what relabelling made of one discovered target.
type result struct {
	target  Target
	hash    uint64 // Prometheus' notion of the same target
	dropped *Dropped
}

// jobTargets relabels the groups of one job. A group that was there the last
// time, which is most of them, is not relabelled again: discoveries replace a
// group that changes.
type jobTargets struct {
	cfg   *config.ScrapeConfig
	known map[*targetgroup.Group][]result
}

// build makes the job's list of targets from all its groups.
func (j *jobTargets) build(groups []*targetgroup.Group) Job {
	job := Job{Config: j.cfg, DroppedCounts: make(map[Reason]int)}
	show := int(j.cfg.KeepDroppedTargets)
	if show == 0 {
		show = defaultShown
	}
	next := make(map[*targetgroup.Group][]result, len(groups))
	seen := make(map[uint64]bool)
	ids := make(map[uint64]bool)
	drop := func(d Dropped) {
		job.DroppedCounts[d.Reason]++
		if len(job.Dropped) < show {
			job.Dropped = append(job.Dropped, d)
		}
	}
	for _, g := range groups {
		results, ok := j.known[g]
		if !ok {
			results = relabelGroup(g, j.cfg)
		}
		next[g] = results
		for _, r := range results {
			switch {
			case r.dropped != nil:
				drop(*r.dropped)
			case seen[r.hash]:
				drop(Dropped{Discovered: r.target.Discovered.Map(), Reason: ReasonSame, Text: r.target.URL})
			default:
				seen[r.hash] = true
				t := r.target
				if ids[t.ID] { // differs in settings only, which do not make the ID
					t.ID ^= r.hash
				}
				ids[t.ID] = true
				job.Targets = append(job.Targets, t)
			}
		}
	}
	j.known = next
	return job
}

func relabelGroup(g *targetgroup.Group, cfg *config.ScrapeConfig) []result {
	out := make([]result, 0, len(g.Targets))
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, t := range g.Targets {
		scrape.PopulateDiscoveredLabels(b, cfg, t, g.Labels)
		discovered := b.Labels()
		ls, err := scrape.PopulateLabels(b, cfg, t, g.Labels)
		switch {
		case err != nil:
			out = append(out, result{dropped: &Dropped{discovered.Map(), ReasonInvalid, err.Error()}})
		case !visible(ls):
			out = append(out, result{dropped: &Dropped{Discovered: discovered.Map(), Reason: ReasonRelabel}})
		default:
			out = append(out, newResult(ls, discovered, cfg, t, g))
		}
	}
	return out
}

// visible reports whether any label would show; a target without one counts as
// dropped by relabelling.
func visible(ls labels.Labels) (some bool) {
	ls.Range(func(l labels.Label) { some = some || !strings.HasPrefix(l.Name, commonmodel.ReservedLabelPrefix) })
	return some
}

func newResult(ls, discovered labels.Labels, cfg *config.ScrapeConfig, t commonmodel.LabelSet, g *targetgroup.Group) result {
	url := scrape.NewTarget(ls, cfg, t, g.Labels).URL().String()
	// PopulateLabels has parsed both and refused what does not parse.
	interval, _ := commonmodel.ParseDuration(ls.Get(commonmodel.ScrapeIntervalLabel))
	timeout, _ := commonmodel.ParseDuration(ls.Get(commonmodel.ScrapeTimeoutLabel))
	h := xxhash.New()
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, ls.Hash()))
	_, _ = h.WriteString(url)
	all := h.Sum64()
	h.Reset()
	_, _ = h.WriteString(cfg.JobName + "\xff" + url)
	ls.Range(func(l labels.Label) {
		if !strings.HasPrefix(l.Name, commonmodel.ReservedLabelPrefix) {
			_, _ = h.WriteString("\xff" + l.Name + "\xff" + l.Value)
		}
	})
	return result{hash: all, target: Target{
		ID: h.Sum64(), Labels: ls, Discovered: discovered, URL: url,
		Interval: time.Duration(interval), Timeout: time.Duration(timeout),
	}}
}

// Duplicate is one address, path and parameters that are scraped more than once.
type Duplicate struct {
	URL string `json:"url"`
	// Jobs are in the order of the configuration; one that has the target twice
	// by itself, under different labels, is named once.
	Jobs []string `json:"jobs"`
	// Dropped says that only the first target is scraped.
	Dropped bool `json:"onlyFirst"`
}

// String names the jobs.
func (d Duplicate) String() string {
	return fmt.Sprintf("%s by jobs %s", d.URL, strings.Join(d.Jobs, ", "))
}

// duplicates finds what is scraped more than once, by several jobs or by one
// under different labels (two annotated services before the same pods). With
// firstWins it leaves the first target only.
func duplicates(jobs []Job, firstWins bool) (dups []Duplicate, surplus int) {
	owner := make(map[string]int) // the first job by URL
	at := make(map[string]int)    // place in dups by URL
	for i := range jobs {
		j := &jobs[i]
		kept := j.Targets[:0]
		for _, t := range j.Targets {
			first, taken := owner[t.URL]
			if !taken {
				owner[t.URL] = i
				kept = append(kept, t)
				continue
			}
			surplus++
			k, ok := at[t.URL]
			if !ok {
				k = len(dups)
				at[t.URL] = k
				dups = append(dups, Duplicate{URL: t.URL, Jobs: []string{jobs[first].Config.JobName}, Dropped: firstWins})
			}
			if d := &dups[k]; d.Jobs[len(d.Jobs)-1] != j.Config.JobName {
				d.Jobs = append(d.Jobs, j.Config.JobName)
			}
			if !firstWins {
				kept = append(kept, t)
				continue
			}
			j.DroppedCounts[ReasonDuplicate]++
			if len(j.Dropped) < defaultShown {
				j.Dropped = append(j.Dropped, Dropped{t.Discovered.Map(), ReasonDuplicate, t.URL})
			}
		}
		j.Targets = kept
	}
	return dups, surplus
}
