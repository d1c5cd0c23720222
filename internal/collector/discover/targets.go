package discover

import (
	"encoding/binary"
	"encoding/json"
	"slices"
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
	// ID is the same in every list, of every replica, for as long as job,
	// address and visible labels are.
	ID uint64
	// Labels are those after relabelling, with the __ settings.
	Labels   labels.Labels
	URL      string
	Interval time.Duration
	Timeout  time.Duration
	// From and Until bound the times at which this collector scrapes the target:
	// From <= t < Until, a zero time is no bound. Outside, a replica does.
	From, Until time.Time

	origin origin
}

// Discovered returns the labels before relabelling. They are put together anew
// each time.
func (t *Target) Discovered() labels.Labels { return t.origin.labels() }

// origin is where a target comes from.
type origin struct {
	cfg   *config.ScrapeConfig
	group *targetgroup.Group
	index int // in the group's targets
}

// labels returns the labels before relabelling.
func (o origin) labels() labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	scrape.PopulateDiscoveredLabels(b, o.cfg, o.group.Targets[o.index], o.group.Labels)
	return b.Labels()
}

// relabel returns the labels after relabelling, none if that drops the target.
func (o origin) relabel(b *labels.Builder) (labels.Labels, error) {
	return scrape.PopulateLabels(b, o.cfg, o.group.Targets[o.index], o.group.Labels)
}

// url returns where a target with the given labels after relabelling is.
func (o origin) url(ls labels.Labels) string {
	return scrape.NewTarget(ls, o.cfg, nil, nil).URL().String()
}

// Job is a scrape configuration and its targets.
type Job struct {
	Config *config.ScrapeConfig
	// Targets are those of this replica, now or from a known time on.
	Targets []Target
	// Moved are the IDs of the targets that are a replica's. Those that this one
	// has scraped before have not ended, also if they were gone for a while.
	Moved []uint64
	// Total counts the targets of all replicas.
	Total int
	// DroppedCounts are the targets that are not scraped, by reason.
	DroppedCounts map[Reason]int

	dropped []dropped // the first of them
	found   []found   // the targets of all replicas
	shared  bool      // by the members, and with other collectors
}

// Dropped returns the first of the targets that are not scraped, as many as
// keep_dropped_targets says, else 200.
func (j *Job) Dropped() []Dropped {
	out := make([]Dropped, 0, len(j.dropped))
	for _, d := range j.dropped {
		out = append(out, Dropped{Reason: d.reason, Text: d.text(), origin: d.origin})
	}
	return out
}

// drop counts a target that is not scraped and keeps it to be shown, if there
// is room.
func (j *Job) drop(o origin, reason Reason) {
	j.DroppedCounts[reason]++
	show := int(j.Config.KeepDroppedTargets)
	if show == 0 {
		show = defaultShown
	}
	if len(j.dropped) < show {
		j.dropped = append(j.dropped, dropped{o, reason})
	}
}

// Dropped is a target that is not scraped.
type Dropped struct {
	Reason Reason
	// Text is the error, or the URL of a target that another one stands for.
	Text string

	origin origin
}

// Discovered returns the labels before relabelling.
func (d Dropped) Discovered() labels.Labels { return d.origin.labels() }

// MarshalJSON implements json.Marshaler.
func (d Dropped) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Discovered map[string]string `json:"discoveredLabels"`
		Reason     Reason            `json:"reason"`
		Text       string            `json:"text,omitempty"`
	}{d.Discovered().Map(), d.Reason, d.Text})
}

type dropped struct {
	origin
	reason Reason
}

func (d dropped) text() string {
	ls, err := d.relabel(labels.NewBuilder(labels.EmptyLabels()))
	switch {
	case err != nil:
		return err.Error()
	case d.reason == ReasonSame, d.reason == ReasonDuplicate:
		return d.url(ls)
	}
	return ""
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

// record is what is kept of a target that relabelling has let through.
type record struct {
	index int // in the group's targets
	// id is that of the Target, before two that collide are told apart.
	id uint64
	// hash is Prometheus' notion of the same target: labels and URL.
	hash uint64
	// url is a hash of the URL alone.
	url uint64
	// key decides which replica scrapes the target.
	key uint64
	// made is the target, nil while it is not this replica's.
	made *Target
}

// relabelled is what became of one group of targets.
type relabelled struct {
	kept []record
	// lost are the indexes of those that are not kept, and invalid those among
	// them that are no targets.
	lost, invalid []int32
}

// jobTargets relabels the groups of one job. A group that was there the last
// time, which is most of them, is not relabelled again: discoveries replace a
// group that changes.
type jobTargets struct {
	cfg *config.ScrapeConfig
	// known has nil for a group that relabelling drops as a whole, which is most
	// of them: each job looks at all pods of a cluster and keeps few.
	known map[*targetgroup.Group]*relabelled
}

// found is a target of a job before it is known who scrapes it.
type found struct {
	*record
	group *targetgroup.Group
	id    uint64
}

// find relabels what is new among the groups and returns the job's targets, and
// the job with those that are not counted in.
func (j *jobTargets) find(groups []*targetgroup.Group) (job Job, list []found) {
	job = Job{Config: j.cfg, DroppedCounts: make(map[Reason]int)}
	next := make(map[*targetgroup.Group]*relabelled, len(groups))
	// Which of two equal targets is kept, and which of two that collide gets
	// another ID, must not change from list to list or between replicas.
	groups = slices.Clone(groups)
	slices.SortStableFunc(groups, func(a, b *targetgroup.Group) int { return strings.Compare(a.Source, b.Source) })
	seen := make(map[uint64]bool)
	ids := make(map[uint64]bool)
	r := relabeller{cfg: j.cfg, b: labels.NewBuilder(labels.EmptyLabels())}
	for _, g := range groups {
		res, ok := j.known[g]
		if !ok {
			res = r.group(g)
		}
		next[g] = res
		if res == nil {
			for i := range g.Targets {
				job.drop(origin{j.cfg, g, i}, ReasonRelabel)
			}
			continue
		}
		for _, i := range res.lost {
			reason := ReasonRelabel
			if slices.Contains(res.invalid, i) {
				reason = ReasonInvalid
			}
			job.drop(origin{j.cfg, g, int(i)}, reason)
		}
		for i := range res.kept {
			rec := &res.kept[i]
			if seen[rec.hash] {
				job.drop(origin{j.cfg, g, rec.index}, ReasonSame)
				continue
			}
			seen[rec.hash] = true
			id := rec.id
			if ids[id] { // differs in settings only, which do not make the ID
				id ^= rec.hash
			}
			ids[id] = true
			list = append(list, found{record: rec, group: g, id: id})
		}
	}
	j.known = next
	return job, list
}

// relabeller relabels groups of a job.
type relabeller struct {
	cfg *config.ScrapeConfig
	b   *labels.Builder
	h   xxhash.Digest
}

// group returns what becomes of a group; nil if relabelling drops all of it.
func (r *relabeller) group(g *targetgroup.Group) *relabelled {
	out := &relabelled{}
	for i := range g.Targets {
		o := origin{r.cfg, g, i}
		ls, err := o.relabel(r.b)
		switch {
		case err != nil:
			out.lost = append(out.lost, int32(i))
			out.invalid = append(out.invalid, int32(i))
		case !visible(ls):
			out.lost = append(out.lost, int32(i))
		default:
			out.kept = append(out.kept, r.record(o, ls))
		}
	}
	if len(out.lost) == len(g.Targets) && len(out.invalid) == 0 {
		return nil
	}
	out.kept, out.lost = slices.Clip(out.kept), slices.Clip(out.lost)
	return out
}

// visible reports whether any label would show; a target without one counts as
// dropped by relabelling.
func visible(ls labels.Labels) (some bool) {
	ls.Range(func(l labels.Label) { some = some || !strings.HasPrefix(l.Name, commonmodel.ReservedLabelPrefix) })
	return some
}

// record computes what a target is recognised by.
func (r *relabeller) record(o origin, ls labels.Labels) record {
	url := o.url(ls)
	out := record{index: o.index, url: xxhash.Sum64String(url), made: o.target(ls, url)}
	write := func(parts ...string) {
		for _, s := range parts {
			_, _ = r.h.WriteString(s)
			_, _ = r.h.WriteString("\xff") // is in no UTF-8
		}
	}

	r.h.Reset()
	_, _ = r.h.Write(binary.LittleEndian.AppendUint64(nil, ls.Hash()))
	write(url)
	out.hash = r.h.Sum64()

	r.h.Reset()
	write(r.cfg.JobName, url)
	ls.Range(func(l labels.Label) {
		if !strings.HasPrefix(l.Name, commonmodel.ReservedLabelPrefix) {
			write(l.Name, l.Value)
		}
	})
	out.id = r.h.Sum64()

	// Labels come and go with pods and with rules; a target stays with its
	// replica. What the URL does not tell apart, say targets behind one proxy,
	// the instance or the socket does.
	r.h.Reset()
	write(r.cfg.JobName, url, ls.Get(commonmodel.InstanceLabel), ls.Get(scrape.UnixSocketLabel))
	out.key = r.h.Sum64()
	return out
}

// target returns the target with the given labels after relabelling.
func (o origin) target(ls labels.Labels, url string) *Target {
	// PopulateLabels has parsed both and refused what does not parse.
	interval, _ := commonmodel.ParseDuration(ls.Get(commonmodel.ScrapeIntervalLabel))
	timeout, _ := commonmodel.ParseDuration(ls.Get(commonmodel.ScrapeTimeoutLabel))
	return &Target{
		Labels: ls, URL: url, Interval: time.Duration(interval), Timeout: time.Duration(timeout), origin: o,
	}
}

// target returns the target itself, relabelling again if it was another replica's.
func (f *found) target(cfg *config.ScrapeConfig) *Target {
	if f.made == nil {
		o := origin{cfg, f.group, f.index}
		if ls, err := o.relabel(labels.NewBuilder(labels.EmptyLabels())); err == nil { // it was nil before
			f.made = o.target(ls, o.url(ls))
		}
	}
	return f.made
}
