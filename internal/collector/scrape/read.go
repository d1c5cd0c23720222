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
	outcomes
)

var outcomeNames = [outcomes]string{"", "repeated", "repeated_series", "duplicate", "out_of_order", "out_of_bounds", "metric_relabel"}

// read takes in a page. An error means that the page as a whole does not count.
func (c *cache) read(pg *page, r *scrapeResult) error {
	p, err := textparse.New(pg.text, pg.contentType, labels.NewSymbolTable(), c.sp.plan.parser)
	if p == nil {
		return err
	}
	limit := int(c.sp.plan.cfg.SampleLimit)
	appended := 0
	limitHit := false
	for {
		et, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if et != textparse.EntrySeries {
			continue // metadata; histograms are parsed in their classic form
		}
		r.scraped++
		text, own, v := p.Series()
		if !c.sp.plan.cfg.HonorTimestamps {
			own = nil
		}
		id, again, fresh, err := c.identify(p, text)
		if err != nil {
			return err
		}
		e := &c.entries[id]
		if e.slot == dropped {
			r.lost[relabelled]++
			continue
		}
		what := duplicate
		if !again || own != nil {
			if appended++; limit > 0 && appended > limit {
				limitHit = true
				r.postRelabel++
				continue
			}
			what = c.take(e.slot, plainNaN(v), own)
		}
		r.lost[what]++
		if took := what <= repeatedSeries; took || !fresh {
			e.seen = c.pass
			if took && fresh && !limitHit {
				r.added++
			}
		}
		r.postRelabel++
	}
	if limitHit {
		return errSampleLimit
	}
	return nil
}

// identify returns the entry for a text: a known one, or one made by parsing
// and relabelling. Again says that the page had it before, fresh that Prometheus
// would count it as added.
func (c *cache) identify(p textparse.Parser, text []byte) (id int32, again, fresh bool, err error) {
	hash := hashText(text)
	id = c.find(text, hash)
	if id < 0 {
		slot, err := c.finish(p)
		if err != nil {
			return 0, false, false, err
		}
		id = c.addEntry(text, hash, slot)
	}
	e := &c.entries[id]
	e.rank = int32(len(c.reorder))
	c.reorder = append(c.reorder, id)
	fresh = !c.known(e)
	again = !fresh && e.seen == c.pass
	if !fresh || e.slot == dropped {
		e.seen = c.pass
	}
	return id, again, fresh, nil
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
	return c.slotFor(ls), nil
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
func (c *cache) take(id int32, v float64, own *int64) outcome {
	s := &c.slots[id]
	bits := math.Float64bits(v)
	if own == nil {
		switch {
		case s.filled == c.pass:
			return repeatedSeries // the first value counts
		case s.own != nil && s.own.time > c.now:
			return outOfOrder
		case s.own != nil && s.own.time == c.now && s.own.bits != bits:
			return duplicate
		}
		s.filled, s.tracked = c.pass, c.pass
		c.values[id] = v
		return accepted
	}
	t := *own
	if t > c.now+maxAhead.Milliseconds() {
		return outOfBounds
	}
	switch {
	case s.own == nil:
		s.own = &ownTime{}
	case t < s.own.time:
		return outOfOrder
	case t == s.own.time && bits != s.own.bits:
		return duplicate
	}
	if c.sp.plan.cfg.TrackTimestampsStaleness {
		s.tracked = c.pass
	}
	if t == s.own.time {
		return repeated
	}
	c.undo = append(c.undo, undo{id, *s.own})
	*s.own = ownTime{time: t, bits: bits}
	c.extras = append(c.extras, model.Extra{Slot: int(id), Time: t, Value: v})
	return accepted
}

// report adds the samples about the scrape itself.
func (c *cache) report(r *scrapeResult) {
	up := 1.0
	if r.err != nil {
		up = 0
	}
	c.put("up", up)
	c.put("scrape_duration_seconds", r.duration.Seconds())
	c.put("scrape_samples_scraped", float64(r.scraped))
	c.put("scrape_samples_post_metric_relabeling", float64(r.postRelabel))
	c.put("scrape_series_added", float64(r.added))
	if cfg := c.sp.plan.cfg; cfg.ExtraScrapeMetricsEnabled() {
		body := float64(r.bytes)
		if r.tooLarge {
			body = -1
		}
		c.put("scrape_timeout_seconds", c.sp.Timeout.Seconds())
		c.put("scrape_sample_limit", float64(cfg.SampleLimit))
		c.put("scrape_body_size_bytes", body)
	}
}

// put adds one sample about the scrape. Its text holds a byte that no page has.
// A target that exposes the same series itself is left its value.
func (c *cache) put(name string, v float64) {
	text := append([]byte(name), 0xff)
	hash := hashText(text)
	id := c.findApart(text, hash)
	if id < 0 {
		c.builder.Reset(c.sp.public)
		c.builder.Set(commonmodel.MetricNameLabel, name)
		slot := c.slotFor(c.builder.Labels())
		c.slots[slot].report = true
		id = c.addEntry(text, hash, slot)
	}
	e := &c.entries[id]
	e.seen = c.pass
	c.take(e.slot, v, nil)
}
