package scrape

import (
	"errors"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
	"unique"

	"github.com/cespare/xxhash/v2"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/prompb"

	"github.com/mangru/mangru/internal/model"
)

var errBucketLimit = errors.New("histogram bucket limit exceeded")

// parsedSample takes in the sample at which a parser of Prometheus stands.
func (c *cache) parsedSample(p textparse.Parser, et textparse.Entry, r *scrapeResult) error {
	var (
		text []byte
		own  *int64
		v    float64
		h    *histogram.Histogram
		fh   *histogram.FloatHistogram
	)
	r.scraped++
	if et == textparse.EntryHistogram {
		text, own, h, fh = p.Histogram()
	} else {
		text, own, v = p.Series()
	}
	if !c.sp.plan.cfg.HonorTimestamps {
		own = nil
	}
	l, err := c.lineFor(p, text)
	if err != nil {
		return err
	}
	var t int64
	if own != nil {
		t = *own
	}
	if l.slot >= 0 {
		c.start(p, l.slot, et == textparse.EntryHistogram)
	}
	if et == textparse.EntrySeries {
		if err := c.sample(l, plainNaN(v), t, own != nil, r); err != nil {
			return err
		}
	} else if err := c.histogramSample(l, h, fh, t, own != nil, r); err != nil {
		return err
	}
	if c.sp.plan.exemplars && l.slot >= 0 {
		r.longExemplars += c.takeExemplars(p, l.slot, t, own != nil, et == textparse.EntryHistogram)
	}
	return nil
}

// lineFor returns the line of a series: a known one, or one made by parsing and
// relabelling.
func (c *cache) lineFor(p textparse.Parser, text []byte) (*line, error) {
	hash := maphash.Bytes(c.seed, text)
	id := c.find(hash, len(text))
	if id < 0 {
		slot, err := c.finish(p)
		if err != nil {
			return nil, err
		}
		id = c.addLine(hash, len(text), slot)
	}
	return c.visit(id), nil
}

// histogramSample takes in a native histogram.
func (c *cache) histogramSample(l *line, h *histogram.Histogram, fh *histogram.FloatHistogram, t int64, hasTime bool, r *scrapeResult) error {
	fresh := !c.known(l)
	again := !fresh && l.seen == c.stamp
	if l.slot < 0 {
		c.leftOut(l, r)
		return nil
	}
	if !fresh {
		l.seen = c.stamp
	}
	what := duplicate
	if !again || hasTime {
		if !c.admit(r) {
			return nil
		}
		if err := c.sp.plan.limitBuckets(h, fh); errors.Is(err, errBucketLimit) {
			r.bucketLimitHit = true
			r.postRelabel++
			return nil
		} else if err != nil {
			return err
		}
		if err := validate(h, fh); err != nil {
			return err
		}
		what = c.takeHistogram(l.slot, h, fh, t, hasTime)
	}
	c.account(l, what, fresh, r)
	return nil
}

func validate(h *histogram.Histogram, fh *histogram.FloatHistogram) error {
	if h != nil {
		return h.Validate()
	}
	return fh.Validate()
}

func (c *cache) takeHistogram(id int32, h *histogram.Histogram, fh *histogram.FloatHistogram, t int64, hasTime bool) outcome {
	var msg prompb.Histogram
	if !hasTime {
		t = c.now
	}
	if h != nil {
		msg = prompb.FromIntHistogram(t, h)
	} else {
		msg = prompb.FromFloatHistogram(t, fh)
	}
	encoded, err := msg.Marshal()
	if err != nil {
		return outOfBounds // cannot happen: the message is ours
	}
	switch f := c.flags[id]; {
	case hasTime:
		if what := c.ownOrder(id, t, xxhash.Sum64(encoded)); what != accepted {
			return what
		}
	case f&filled != 0:
		return repeatedSeries
	case f&hasOwn != 0 && c.own[id].time > c.now:
		return outOfOrder
	default:
		c.flags[id] = f | filled | tracked
	}
	c.extras = append(c.extras, model.Extra{Slot: id, Kind: model.ExtraHistogram, Time: t, Histogram: encoded})
	return accepted
}

// limitBuckets lowers a histogram's resolution until it keeps to the job's limits.
func (p *plan) limitBuckets(h *histogram.Histogram, fh *histogram.FloatHistogram) error {
	if h != nil {
		return limitBuckets(p, h.Schema, func() int { return len(h.PositiveBuckets) + len(h.NegativeBuckets) }, h.ReduceResolution)
	}
	return limitBuckets(p, fh.Schema, func() int { return len(fh.PositiveBuckets) + len(fh.NegativeBuckets) }, fh.ReduceResolution)
}

func limitBuckets(p *plan, schema int32, buckets func() int, reduce func(int32) error) error {
	if p.maxSchema < histogram.ExponentialSchemaMax && histogram.IsExponentialSchemaReserved(schema) && schema > p.maxSchema {
		if err := reduce(p.maxSchema); err != nil {
			return err
		}
		schema = p.maxSchema
	}
	limit := int(p.cfg.NativeHistogramBucketLimit)
	for limit > 0 && buckets() > limit {
		if !histogram.IsExponentialSchema(schema) || schema <= histogram.ExponentialSchemaMin {
			return errBucketLimit
		}
		schema--
		if err := reduce(schema); err != nil {
			return err
		}
	}
	return nil
}

// maxSchemaFor returns the finest schema whose buckets grow by the factor or more.
func maxSchemaFor(factor float64) int32 {
	if factor <= 1 {
		return histogram.ExponentialSchemaMax
	}
	s := math.Floor(-math.Log2(math.Log2(factor)))
	return int32(max(float64(histogram.ExponentialSchemaMin), min(float64(histogram.ExponentialSchemaMax), s)))
}

// takeExemplars takes the exemplars of the parser's sample that are new. It returns
// how many are too long.
func (c *cache) takeExemplars(p textparse.Parser, slot int32, t int64, hasTime, isHistogram bool) (long int) {
	if !hasTime {
		t = c.now
	}
	var found []exemplar.Exemplar
	for e := (exemplar.Exemplar{}); p.Exemplar(&e); e = (exemplar.Exemplar{}) {
		if !e.HasTs {
			if isHistogram {
				continue // a histogram's exemplars cannot be told apart without times
			}
			e.Ts = t
		}
		if tooLong(e.Labels) {
			long++
			continue
		}
		found = append(found, e)
	}
	slices.SortFunc(found, exemplar.Compare)
	for i := range found {
		c.takeExemplar(slot, &found[i])
	}
	return long
}

// tooLong reports whether an exemplar's labels have more characters than
// OpenMetrics allows. Stores refuse such a one.
func tooLong(ls labels.Labels) bool {
	n := 0
	ls.Range(func(l labels.Label) { n += utf8.RuneCountInString(l.Name) + utf8.RuneCountInString(l.Value) })
	return n > exemplar.ExemplarMaxLabelSetLength
}

// seenExemplar is the last exemplar of a series.
type seenExemplar struct {
	time int64
	hash uint64
}

func (c *cache) takeExemplar(slot int32, e *exemplar.Exemplar) {
	now := seenExemplar{e.Ts, e.Labels.Hash() ^ math.Float64bits(e.Value)}
	last, ok := c.exemplars[slot]
	if ok && (e.Ts < last.time || now.hash == last.hash && (!e.HasTs || e.Ts == last.time)) {
		return // out of order, or the same as before
	}
	if c.exemplars == nil {
		c.exemplars = make(map[int32]seenExemplar)
	}
	c.exemplars[slot] = now
	x := model.Extra{Slot: slot, Kind: model.ExtraExemplar, Time: e.Ts, Value: e.Value}
	e.Labels.Range(func(l labels.Label) {
		x.Labels = append(x.Labels, model.Label{Name: strings.Clone(l.Name), Value: strings.Clone(l.Value)})
	})
	c.extras = append(c.extras, x)
}

// comment takes in a line about a metric family. A size of 0 says that the text
// is not at hand; then the line is read in full each time.
func (c *cache) comment(p textparse.Parser, et textparse.Entry, hash uint64, size int) {
	slot := comment
	switch et {
	case textparse.EntryType:
		name, t := p.Type()
		n := c.familyNamed(name)
		c.typ = metricType(t)
		c.retell(n, func(f *model.Family) { f.Type = metricType(t) })
		slot = familyLine(n, int32(c.typ)+1)
	case textparse.EntryHelp:
		name, help := p.Help()
		n := c.familyNamed(name)
		c.retell(n, func(f *model.Family) { f.Help = string(help) })
		slot = familyLine(n, 0)
	case textparse.EntryUnit:
		name, unit := p.Unit()
		n := c.familyNamed(name)
		c.retell(n, func(f *model.Family) { f.Unit = string(unit) })
		slot = familyLine(n, 0)
	}
	if slot != comment {
		family, _ := lineFamily(slot)
		c.current = family + 1
	}
	if size > 0 {
		id := c.find(hash, size)
		if id < 0 {
			id = c.addLine(hash, size, slot)
		}
		c.visit(id).slot = slot
	}
}

// familyNamed returns the index of a family, a new one if need be. Families come
// in the same order on every page, so the search is short.
func (c *cache) familyNamed(name []byte) int {
	for i := range c.families {
		n := (i + max(0, c.current-1)) % len(c.families)
		if c.families[n].Value().Name == string(name) {
			return n
		}
	}
	if len(c.families) >= math.MaxUint16-1 {
		return len(c.families) - 1
	}
	c.families = append(c.families, unique.Make(model.Family{Name: string(name)}))
	c.retold = true
	return len(c.families) - 1
}

// retell changes what is known about a family.
func (c *cache) retell(n int, change func(f *model.Family)) {
	f := c.families[n].Value()
	change(&f)
	if h := unique.Make(f); h != c.families[n] {
		if !c.retold {
			c.families = slices.Clone(c.families) // a shape has the old list
			c.retold = true
		}
		c.families[n] = h
	}
}

// familyOf returns the number of the family that a series belongs to, as it
// stands in model.Shape.Family: the one that the last comment was about, if the
// names fit.
func (c *cache) familyOf(name string) uint16 {
	if c.passState == nil || c.current == 0 {
		return 0
	}
	f := c.families[c.current-1].Value()
	rest, ok := strings.CutPrefix(name, f.Name)
	if !ok {
		return 0
	}
	switch rest {
	case "", "_total", "_sum", "_count", "_bucket", "_created", "_info", "_gsum", "_gcount":
		return uint16(c.current)
	}
	return 0
}

// metricType translates Prometheus' names of metric types.
func metricType(t commonmodel.MetricType) model.MetricType {
	switch t {
	case commonmodel.MetricTypeCounter:
		return model.TypeCounter
	case commonmodel.MetricTypeGauge:
		return model.TypeGauge
	case commonmodel.MetricTypeHistogram:
		return model.TypeHistogram
	case commonmodel.MetricTypeGaugeHistogram:
		return model.TypeGaugeHistogram
	case commonmodel.MetricTypeSummary:
		return model.TypeSummary
	case commonmodel.MetricTypeInfo:
		return model.TypeInfo
	case commonmodel.MetricTypeStateset:
		return model.TypeStateset
	}
	return model.TypeUnknown
}
