package scrape

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/mangru/mangru/internal/model"
)

// maxAhead is how far in the future a sample's own time may be.
const maxAhead = 10 * time.Minute

var (
	errNoName      = errors.New("missing metric name (__name__ label)")
	errSampleLimit = errors.New("sample limit exceeded")
)

// outcome is what became of one sample.
type outcome int

const (
	accepted       outcome = iota
	repeated               // the same sample as before
	repeatedSeries         // another text for a series that is on the page already
	duplicate
	outOfOrder
	outOfBounds
	relabelled // dropped by metric_relabel_configs
	processed  // dropped by the job's program
	outcomes
)

var outcomeNames = [outcomes]string{
	"", "repeated", "repeated_series", "duplicate", "out_of_order", "out_of_bounds", "metric_relabel", "processor",
}

// read takes in a page. An error means that the page as a whole does not count.
func (c *cache) read(pg *page, r *scrapeResult) error {
	err := c.readPage(pg, r)
	if ue := (unpackError{}); errors.As(err, &ue) {
		// Prometheus reads the whole body first, so it has seen no sample.
		r.scraped, r.postRelabel, r.added, r.appended, r.lost = 0, 0, 0, 0, [outcomes]int{}
		return ue.error
	}
	switch {
	case err != nil:
		return err
	case r.limitHit:
		return errSampleLimit
	case r.bucketLimitHit:
		return errBucketLimit
	}
	return nil
}

func (c *cache) readPage(pg *page, r *scrapeResult) error {
	if c.sp.plan.isText(pg.contentType) {
		return c.readText(pg.windows(), r)
	}
	text, err := pg.unpack(int64(c.sp.plan.cfg.BodySizeLimit))
	r.bytes = len(text)
	if err != nil {
		return unpackError{err}
	}
	if len(text) == 0 {
		return nil
	}
	p, err := textparse.New(text, pg.contentType, labels.NewSymbolTable(), c.sp.plan.parser)
	if p == nil {
		return err
	}
	return c.readParsed(p, r)
}

// readParsed takes in what a parser has left.
func (c *cache) readParsed(p textparse.Parser, r *scrapeResult) error {
	for {
		et, err := p.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case et != textparse.EntrySeries && et != textparse.EntryHistogram:
			c.comment(p, et, 0, 0)
		default:
			if err := c.parsedSample(p, et, r); err != nil {
				return err
			}
		}
	}
}

// sample takes in a float for a known series that is plainly written.
func (c *cache) sample(l *line, v float64, t int64, hasTime bool, r *scrapeResult) error {
	fresh := !c.known(l)
	again := !fresh && l.seen == c.stamp
	if l.slot < 0 {
		c.leftOut(l, r)
		return nil
	}
	what := duplicate
	if !fresh {
		l.seen = c.stamp
	}
	if !again || hasTime {
		if !c.admit(r) {
			return nil
		}
		what = c.take(l.slot, v, t, hasTime)
	}
	c.account(l, what, fresh, r)
	return nil
}

// leftOut counts a sample of a series that is not wanted.
func (c *cache) leftOut(l *line, r *scrapeResult) {
	l.seen = c.stamp
	if l.slot == dropped {
		r.lost[relabelled]++
		return
	}
	// Prometheus knows no programs: to its limits and counts the sample is there.
	if c.admit(r) {
		r.lost[processed]++
		r.postRelabel++
	}
}

// admit counts a sample against the limit of the page.
func (c *cache) admit(r *scrapeResult) bool {
	limit := int(c.sp.plan.cfg.SampleLimit)
	if r.appended++; limit > 0 && r.appended > limit {
		r.limitHit = true
		r.postRelabel++
		return false
	}
	return true
}

// account counts what became of a sample that relabelling let through.
func (c *cache) account(l *line, what outcome, fresh bool, r *scrapeResult) {
	r.lost[what]++
	if took := what <= repeatedSeries; took || !fresh {
		l.seen = c.stamp
		if took && fresh && !r.limitHit {
			r.added++
		}
	}
	r.postRelabel++
}

// finish makes the label set of the parser's series final and returns its slot.
func (c *cache) finish(p textparse.Parser) (int32, error) {
	var exposed labels.Labels
	p.Labels(&exposed)
	cfg := c.sp.plan.cfg
	ls, keep := finishLabels(&c.builder, exposed, c.sp.public, cfg.HonorLabels, cfg.MetricRelabelConfigs)
	if !keep {
		return dropped, nil
	}
	if !ls.Has(commonmodel.MetricNameLabel) {
		return 0, errNoName
	}
	if !ls.IsValid(cfg.MetricNameValidationScheme) {
		return 0, fmt.Errorf("invalid metric name or label names: %s", ls.String())
	}
	if err := checkLimits(ls, cfg); err != nil {
		return 0, err
	}
	// Receivers refuse such a series, and with it the whole request.
	if name, twice := ls.HasDuplicateLabelNames(); twice {
		return 0, fmt.Errorf("label name %q is not unique: %s", name, ls.String())
	}
	return c.runProgram(ls), nil
}

// runProgram applies the job's program to a series and returns its slot.
func (c *cache) runProgram(ls labels.Labels) int32 {
	program := c.sp.plan.program
	if len(program) == 0 {
		return c.slotFor(ls)
	}
	name := ls.Get(commonmodel.MetricNameLabel)
	family := model.Family{Name: name}
	if n := c.familyOf(name); n > 0 {
		family = c.families[n-1].Value()
	}
	c.builder.Reset(ls)
	for _, name := range c.sp.plan.reads {
		// What relabelling made of a setting counts: __scheme__ is one.
		value := c.sp.Labels.Get(name)
		if value == "" {
			value = c.sp.Discovered.Get(name)
		}
		c.builder.Set(name, value)
	}
	if !program.Apply(&c.builder, family) {
		return filtered
	}
	if ls = c.builder.Labels(); !ls.Has(commonmodel.MetricNameLabel) {
		return filtered
	}
	return c.slotFor(ls)
}

// finishLabels joins the labels that a target exposes with its own, and applies
// metric relabelling. Where both have a name, honor decides: the exposed one
// wins, or it moves to exported_<name>.
func finishLabels(b *labels.Builder, exposed, target labels.Labels, honor bool, rules []*relabel.Config) (labels.Labels, bool) {
	b.Reset(exposed)
	var moved []labels.Label
	target.Range(func(l labels.Label) {
		if honor {
			if !exposed.Has(l.Name) {
				b.Set(l.Name, l.Value)
			}
			return
		}
		if v := exposed.Get(l.Name); v != "" {
			moved = append(moved, labels.Label{Name: l.Name, Value: v})
		}
		b.Set(l.Name, l.Value)
	})
	// Short names first, so that a clash of clashes is settled in one way only.
	slices.SortStableFunc(moved, func(a, b labels.Label) int { return len(a.Name) - len(b.Name) })
	for _, l := range moved {
		name := commonmodel.ExportedLabelPrefix + l.Name
		for b.Get(name) != "" {
			name = commonmodel.ExportedLabelPrefix + name
		}
		b.Set(name, l.Value)
	}
	if !relabel.ProcessBuilder(b, rules...) {
		return labels.EmptyLabels(), false
	}
	ls := b.Labels()
	return ls, !ls.IsEmpty()
}

// checkLimits enforces label_limit and its kin, which fail the whole scrape.
func checkLimits(ls labels.Labels, cfg *config.ScrapeConfig) error {
	name := ls.Get(commonmodel.MetricNameLabel)
	if limit := int(cfg.LabelLimit); limit > 0 && ls.Len() > limit {
		return fmt.Errorf("label_limit exceeded (metric: %.50s, number of labels: %d, limit: %d)", name, ls.Len(), limit)
	}
	names, values := int(cfg.LabelNameLengthLimit), int(cfg.LabelValueLengthLimit)
	if names == 0 && values == 0 {
		return nil
	}
	return ls.Validate(func(l labels.Label) error {
		if names > 0 && len(l.Name) > names {
			return fmt.Errorf("label_name_length_limit exceeded (metric: %.50s, label name: %.50s, length: %d, limit: %d)",
				name, l.Name, len(l.Name), names)
		}
		if values > 0 && len(l.Value) > values {
			return fmt.Errorf("label_value_length_limit exceeded (metric: %.50s, label name: %.50s, value: %.50q, length: %d, limit: %d)",
				name, l.Name, l.Value, len(l.Value), values)
		}
		return nil
	})
}

// take puts a sample into the frame, by the rules of a store that has all
// samples of the series in order.
func (c *cache) take(id int32, v float64, t int64, hasTime bool) outcome {
	f := c.flags[id]
	if hasTime {
		return c.takeTimed(id, v, t)
	}
	switch {
	case f&filled != 0:
		return repeatedSeries // the first value counts
	case f&hasOwn == 0:
	case c.own[id].time > c.now:
		return outOfOrder
	case c.own[id].time == c.now && c.own[id].bits != math.Float64bits(v):
		return duplicate
	}
	if c.times == nil {
		c.values[id] = v
		c.flags[id] = f | filled | tracked
		return accepted
	}
	c.put(id, v)
	c.flags[id] |= tracked
	return accepted
}

// takeTimed takes a sample with a time of its own.
func (c *cache) takeTimed(id int32, v float64, t int64) outcome {
	if c.flags[id]&filled != 0 && t <= c.now { // there is one of the pass's time
		if t < c.now {
			return outOfOrder
		}
		return duplicate
	}
	what := c.ownOrder(id, t, math.Float64bits(v))
	if what != accepted {
		return what
	}
	if c.times == nil {
		c.times = make([]int64, len(c.values), cap(c.values))
		for i := range c.times {
			c.times[i] = c.now
		}
	}
	if c.flags[id]&(filled|timed) != 0 { // the newest one is the slot's own
		c.extras = append(c.extras, model.Extra{Slot: id, Time: c.times[id], Value: c.values[id]})
	}
	c.values[id], c.times[id] = v, t
	c.flags[id] |= timed
	return accepted
}

// ownOrder decides whether a sample with a time of its own goes on, and notes it.
func (c *cache) ownOrder(id int32, t int64, bits uint64) outcome {
	if t > c.now+maxAhead.Milliseconds() {
		return outOfBounds
	}
	if c.own == nil {
		c.own = make([]ownTime, len(c.flags))
	}
	own := &c.own[id]
	has := c.flags[id] & hasOwn
	switch {
	case has == 0:
	case t < own.time:
		return outOfOrder
	case t == own.time && bits != own.bits:
		return duplicate
	}
	if c.sp.plan.cfg.TrackTimestampsStaleness {
		c.flags[id] |= tracked
	}
	if has != 0 && t == own.time {
		return repeated
	}
	c.undo = append(c.undo, undo{id, has, *own})
	*own = ownTime{time: t, bits: bits}
	c.flags[id] |= hasOwn
	return accepted
}

// The series about the scrape itself.
const (
	reportUp = iota
	reportDuration
	reportScraped
	reportPostRelabel
	reportAdded
	reportTimeout
	reportSampleLimit
	reportBodySize
	reportInfo // the target_info series
	reportCount
)

var reportNames = [reportCount]string{
	"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
	"scrape_series_added", "scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes", "",
}

// report adds the samples about the scrape itself.
func (c *cache) report(r *scrapeResult) {
	up := 1.0
	if r.err != nil {
		up = 0
	}
	c.reportOne(reportUp, up)
	c.reportOne(reportDuration, r.duration.Seconds())
	c.reportOne(reportScraped, float64(r.scraped))
	c.reportOne(reportPostRelabel, float64(r.postRelabel))
	c.reportOne(reportAdded, float64(r.added))
	if cfg := c.sp.plan.cfg; cfg.ExtraScrapeMetricsEnabled() {
		body := float64(r.bytes)
		if r.tooLarge {
			body = -1
		}
		c.reportOne(reportTimeout, c.sp.Timeout.Seconds())
		c.reportOne(reportSampleLimit, float64(cfg.SampleLimit))
		c.reportOne(reportBodySize, body)
	}
	if c.sp.plan.info != nil {
		c.reportOne(reportInfo, 1)
	}
}

// reportOne adds one sample about the scrape. A target that exposes the same
// series itself is left its value.
func (c *cache) reportOne(n int, v float64) {
	slot := c.reports[n]
	if slot < filtered {
		slot = c.reportSlot(n)
		c.reports[n] = slot
		if slot >= 0 {
			c.flags[slot] |= isReport
		}
	}
	if slot >= 0 {
		c.take(slot, v, 0, false)
	}
}

func (c *cache) reportSlot(n int) int32 {
	if n == reportInfo {
		ls, ok := c.sp.plan.info.Labels(c.sp.Labels, c.sp.Discovered, labels.EmptyLabels())
		if !ok {
			return filtered
		}
		return c.slotFor(ls)
	}
	c.builder.Reset(c.sp.public)
	c.builder.Set(commonmodel.MetricNameLabel, reportNames[n])
	return c.runProgram(c.builder.Labels())
}
