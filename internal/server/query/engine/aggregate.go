package engine

import (
	"math"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/schema"
	"github.com/prometheus/prometheus/util/kahansum"
)

// aggregates tells which aggregations can be made from one series after the
// other, with a few numbers for each step.
func aggregates(op parser.ItemType) bool {
	switch op {
	case parser.SUM, parser.AVG, parser.MIN, parser.MAX, parser.COUNT, parser.GROUP, parser.STDDEV, parser.STDVAR:
		return true
	}
	return false
}

// groups are the aggregated series.
type groups struct {
	op    parser.ItemType
	steps int
	index map[uint64]int
	all   []group
}

// group is what is known at each step of a group. Which numbers an aggregation
// needs differs; those that it does not are nil.
type group struct {
	labels labels.Labels
	value  []float64 // absent before the first series with a value
	// second is the compensation of a sum, or the mean of a deviation.
	second []float64
	// count is negative for an average whose value is the mean, because the sum
	// was too great for a number.
	count []float64
}

func newGroups(op parser.ItemType, steps int) *groups {
	return &groups{op: op, steps: steps, index: make(map[uint64]int)}
}

func (g *groups) newGroup(l labels.Labels) group {
	n := group{labels: l, value: make([]float64, g.steps)}
	for i := range n.value {
		n.value[i] = math.Float64frombits(absent)
	}
	switch g.op {
	case parser.SUM:
		n.second = make([]float64, g.steps)
	case parser.AVG, parser.STDDEV, parser.STDVAR:
		n.second, n.count = make([]float64, g.steps), make([]float64, g.steps)
	}
	return n
}

// add adds the values of a series to the group with a key, whose labels are
// asked for when it is new.
func (g *groups) add(key uint64, values []float64, of func() labels.Labels) {
	i, known := g.index[key]
	if !known {
		i = len(g.all)
		g.index[key] = i
		g.all = append(g.all, g.newGroup(of()))
	}
	t := &g.all[i]
	switch g.op {
	case parser.SUM:
		t.sum(values)
	case parser.AVG:
		t.average(values)
	case parser.MAX:
		t.extreme(values, func(old, v float64) bool { return old < v })
	case parser.MIN:
		t.extreme(values, func(old, v float64) bool { return old > v })
	case parser.COUNT:
		t.counted(values)
	case parser.GROUP:
		t.present(values)
	case parser.STDDEV, parser.STDVAR:
		t.deviation(values)
	}
}

// groupLabels are those of the group that a series is the first of.
func (ev *evaluation) groupLabels(l labels.Labels) labels.Labels {
	if ev.dropsName() {
		l = l.DropReserved(schema.IsMetadataLabel)
	}
	return groupLabels(ev.agg, l)
}

func groupLabels(agg *parser.AggregateExpr, l labels.Labels) labels.Labels {
	if !agg.Without && len(agg.Grouping) == 0 {
		return labels.EmptyLabels()
	}
	b := labels.NewBuilder(l)
	if agg.Without {
		b.Del(agg.Grouping...)
		b.Del(model.MetricNameLabel)
	} else {
		b.Keep(agg.Grouping...)
	}
	return b.Labels()
}

func is(v float64) bool { return math.Float64bits(v) != absent }

func (t *group) sum(values []float64) {
	second := t.second[:len(values)]
	sum := t.value[:len(values)]
	for i, v := range values {
		switch {
		case !is(v):
		case !is(sum[i]):
			sum[i] = v
		default:
			sum[i], second[i] = kahansum.Inc(v, sum[i], second[i])
		}
	}
}

func (t *group) average(values []float64) {
	for i, v := range values {
		if !is(v) {
			continue
		}
		if !is(t.value[i]) {
			t.value[i], t.count[i] = v, 1
			continue
		}
		n := math.Abs(t.count[i]) + 1
		if t.count[i] > 0 {
			sum, second := kahansum.Inc(v, t.value[i], t.second[i])
			if !math.IsInf(sum, 0) {
				t.value[i], t.second[i], t.count[i] = sum, second, n
				continue
			}
			t.value[i] /= n - 1
			t.second[i] /= n - 1
		}
		q := (n - 1) / n
		t.value[i], t.second[i] = kahansum.Inc(v/n, q*t.value[i], q*t.second[i])
		t.count[i] = -n
	}
}

func (t *group) extreme(values []float64, better func(old, v float64) bool) {
	for i, v := range values {
		if !is(v) {
			continue
		}
		if old := t.value[i]; math.IsNaN(old) || better(old, v) { // absent is no number either
			t.value[i] = v
		}
	}
}

func (t *group) counted(values []float64) {
	for i, v := range values {
		switch {
		case !is(v):
		case !is(t.value[i]):
			t.value[i] = 1
		default:
			t.value[i]++
		}
	}
}

func (t *group) present(values []float64) {
	for i, v := range values {
		if is(v) {
			t.value[i] = 1
		}
	}
}

func (t *group) deviation(values []float64) {
	for i, v := range values {
		switch {
		case !is(v):
		case !is(t.value[i]):
			t.value[i], t.second[i], t.count[i] = 0, v, 1
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.value[i] = math.NaN()
			}
		default:
			t.count[i]++
			delta := v - t.second[i]
			t.second[i] += delta / t.count[i]
			t.value[i] += delta * (v - t.second[i])
		}
	}
}

// finish makes the values what the aggregation is asked for.
func (g *groups) finish() []computed {
	out := make([]computed, len(g.all))
	for i := range g.all {
		t := &g.all[i]
		for j, v := range t.value {
			if !is(v) {
				continue
			}
			switch g.op {
			case parser.SUM:
				t.value[j] += t.second[j]
			case parser.AVG:
				if n := t.count[j]; n > 0 {
					t.value[j] = v/n + t.second[j]/n
				} else {
					t.value[j] = v + t.second[j]
				}
			case parser.STDVAR:
				t.value[j] /= t.count[j]
			case parser.STDDEV:
				t.value[j] = math.Sqrt(v / t.count[j])
			}
		}
		out[i] = computed{t.labels, t.value}
	}
	return out
}
