package engine

import (
	"context"
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/schema"
	"github.com/prometheus/prometheus/util/annotations"
)

// derived is an expression over results computed ahead: the matching of two
// vectors, a vector and a number, or an aggregation of one of these.
type derived struct {
	node    parser.Expr
	replace func(parser.Expr)
}

// operators are the operations between numbers, and whether they leave the left
// one or nothing.
func operator(op parser.ItemType, l, r float64) (v float64, keep bool) {
	switch op {
	case parser.ADD:
		return l + r, true
	case parser.SUB:
		return l - r, true
	case parser.MUL:
		return l * r, true
	case parser.DIV:
		return l / r, true
	case parser.POW:
		return math.Pow(l, r), true
	case parser.MOD:
		return math.Mod(l, r), true
	case parser.ATAN2:
		return math.Atan2(l, r), true
	case parser.EQLC:
		return l, l == r
	case parser.NEQ:
		return l, l != r
	case parser.GTR:
		return l, l > r
	case parser.LSS:
		return l, l < r
	case parser.GTE:
		return l, l >= r
	}
	return l, l <= r // LTE
}

func compares(op parser.ItemType) bool {
	switch op {
	case parser.EQLC, parser.NEQ, parser.GTR, parser.LSS, parser.GTE, parser.LTE:
		return true
	}
	return false
}

func calculates(op parser.ItemType) bool {
	switch op {
	case parser.ADD, parser.SUB, parser.MUL, parser.DIV, parser.POW, parser.MOD, parser.ATAN2:
		return true
	}
	return false
}

// bare returns what is within parentheses, and how to replace it there.
func bare(e parser.Expr, replace func(parser.Expr)) (parser.Expr, func(parser.Expr)) {
	for {
		paren, ok := e.(*parser.ParenExpr)
		if !ok {
			return e, replace
		}
		e, replace = paren.Expr, func(e parser.Expr) { paren.Expr = e }
	}
}

// binary plans an operation whose sides have been walked.
func (p *planner) binary(n *parser.BinaryExpr, replace func(parser.Expr)) {
	if p.cfg.DelayedNames || !calculates(n.Op) && !compares(n.Op) {
		return
	}
	m := n.VectorMatching
	if n.LHS.Type() != parser.ValueTypeVector || n.RHS.Type() != parser.ValueTypeVector {
		return // planned by the operation that it is a side of
	}
	if m == nil || m.Card == parser.CardManyToMany || m.FillValues.LHS != nil || m.FillValues.RHS != nil || !p.can(n.LHS) || !p.can(n.RHS) {
		return
	}
	p.take(n.LHS, func(e parser.Expr) { n.LHS = e })
	p.take(n.RHS, func(e parser.Expr) { n.RHS = e })
	p.derive(n, replace)
}

func (p *planner) derive(n parser.Expr, replace func(parser.Expr)) {
	p.derived = append(p.derived, derived{n, replace})
	p.planned[n] = true
}

// withNumber returns the vector of an operation between a vector and a number.
func withNumber(n *parser.BinaryExpr) (vector parser.Expr, set func(parser.Expr), number float64, swapped, ok bool) {
	if !calculates(n.Op) && !compares(n.Op) {
		return nil, nil, 0, false, false
	}
	if v, is := n.RHS.(*parser.NumberLiteral); is && n.LHS.Type() == parser.ValueTypeVector {
		return n.LHS, func(e parser.Expr) { n.LHS = e }, v.Val, false, true
	}
	if v, is := n.LHS.(*parser.NumberLiteral); is && n.RHS.Type() == parser.ValueTypeVector {
		return n.RHS, func(e parser.Expr) { n.RHS = e }, v.Val, true, true
	}
	return nil, nil, 0, false, false
}

// can tells whether a side of an operation can be computed ahead.
func (p *planner) can(e parser.Expr) bool {
	e, _ = bare(e, nil)
	if p.planned[e] {
		return true
	}
	switch n := e.(type) {
	case *parser.VectorSelector:
		return plain(n)
	case *parser.BinaryExpr:
		vector, _, _, _, ok := withNumber(n)
		return ok && p.can(vector)
	}
	return false
}

// take plans a side that can be computed ahead.
func (p *planner) take(e parser.Expr, replace func(parser.Expr)) {
	e, replace = bare(e, replace)
	if p.planned[e] {
		return
	}
	switch n := e.(type) {
	case *parser.VectorSelector:
		p.add(&part{node: n, selector: n}, p.stmt.LookbackDelta, 0, replace)
	case *parser.BinaryExpr:
		vector, set, _, _, _ := withNumber(n)
		p.take(vector, set)
		p.derive(n, replace)
	}
}

// derive computes an expression from results that are there. It is nil where one
// of them is not, and where the inner engine has to.
func (q *query) derive(ctx context.Context, n parser.Expr, left int) *result {
	switch n := n.(type) {
	case *parser.AggregateExpr:
		if in := q.storage.resultOf(n.Expr); in != nil {
			return in.consume(aggregated(n, in))
		}
	case *parser.BinaryExpr:
		if vector, _, number, swapped, ok := withNumber(n); ok {
			if in := q.storage.resultOf(vector); in != nil && len(in.series)*in.steps.n <= left {
				return in.consume(calculated(n, in, number, swapped))
			}
			return nil
		}
		l, r := q.storage.resultOf(n.LHS), q.storage.resultOf(n.RHS)
		if l == nil || r == nil {
			return nil
		}
		out := matched(ctx, n, l, r, left)
		l.consume(out)
		return r.consume(out)
	}
	return nil
}

// consume notes that a result is part of another one, if there is another one.
func (r *result) consume(by *result) *result {
	r.used = r.used || by != nil
	return by
}

// calculated is an operation with a number, nil if series would become equal.
func calculated(n *parser.BinaryExpr, in *result, number float64, swapped bool) *result {
	out := &result{steps: in.steps, warnings: in.warnings}
	dropsName := calculates(n.Op) || n.ReturnBool
	seen := make(map[uint64]struct{}, len(in.series))
	for _, s := range in.series {
		c := computed{labels: s.labels, values: make([]float64, len(s.values))}
		if dropsName {
			c.labels = c.labels.DropReserved(schema.IsMetadataLabel)
			h := c.labels.Hash()
			if _, twice := seen[h]; twice {
				return nil
			}
			seen[h] = struct{}{}
		}
		some := false
		for i, v := range s.values {
			c.values[i] = v // absent
			if !is(v) {
				continue
			}
			l, r := v, number
			if swapped {
				l, r = r, l
			}
			x, keep := operator(n.Op, l, r)
			switch {
			case n.ReturnBool:
				x = truth(keep)
			case !keep:
				x = math.Float64frombits(absent)
			case compares(n.Op):
				x = v // also if it is the right one
			}
			c.values[i] = x
			some = some || is(x)
		}
		if some {
			out.series = append(out.series, c)
		}
	}
	return out
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// aggregated is an aggregation of a result.
func aggregated(n *parser.AggregateExpr, in *result) *result {
	g := newGroups(n.Op, in.steps.n)
	grouping := slices.Sorted(slices.Values(n.Grouping))
	var buf []byte
	for _, s := range in.series {
		var key uint64
		switch {
		case n.Without:
			key, buf = s.labels.HashWithoutLabels(buf, grouping...)
		case len(grouping) > 0:
			key, buf = s.labels.HashForLabels(buf, grouping...)
		}
		g.add(key, s.values, func() labels.Labels { return groupLabels(n, s.labels) })
	}
	return &result{steps: in.steps, series: g.finish(), warnings: in.warnings}
}

// pairing is a series of the side that may have many with one of the other.
type pairing struct{ many, one []float64 }

// overlaps tells whether two pairings have a value at the same step.
func (p pairing) overlaps(o pairing) bool {
	for i, v := range p.many {
		if is(v) && is(p.one[i]) && is(o.many[i]) && is(o.one[i]) {
			return true
		}
	}
	return false
}

// matching is the work of finding the pairs of an operation.
type matching struct {
	n          *parser.BinaryExpr
	names      []string
	buf        []byte
	builder    *labels.Builder
	out        *result
	byLabels   map[uint64]int       // of the result
	pairs      map[int][]pairing    // those that make up a series of the result
	bySide     map[string][]pairing // by signature, where each may have one pair only
	left, size int
}

// matched matches two results, once for all steps. It is nil where a step might
// have an error, which is the inner engine's to word, and where the result has
// more values than are left.
func matched(ctx context.Context, n *parser.BinaryExpr, l, r *result, left int) *result {
	warnings := annotations.New()
	warnings.Merge(l.warnings)
	warnings.Merge(r.warnings)
	m := matching{n: n, names: slices.Clone(n.VectorMatching.MatchingLabels), builder: labels.NewBuilder(labels.EmptyLabels()), byLabels: make(map[uint64]int),
		pairs: make(map[int][]pairing), bySide: make(map[string][]pairing), left: left,
		out: &result{steps: l.steps, warnings: *warnings}}
	if !n.VectorMatching.On {
		m.names = append(m.names, model.MetricNameLabel)
	}
	slices.Sort(m.names)
	many, one := l, r
	if n.VectorMatching.Card == parser.CardOneToMany {
		many, one = r, l
	}
	ones := make(map[string][]computed)
	for _, s := range one.series {
		sig := m.signature(s.labels)
		for _, other := range ones[sig] {
			if (pairing{s.values, s.values}).overlaps(pairing{other.values, other.values}) {
				return nil
			}
		}
		ones[sig] = append(ones[sig], s)
	}
	for i, s := range many.series {
		if i%64 == 0 && ctx.Err() != nil {
			return nil
		}
		sig := m.signature(s.labels)
		for _, o := range ones[sig] {
			if !m.pair(sig, s, o) {
				return nil
			}
		}
	}
	return m.out
}

func (m *matching) signature(l labels.Labels) string {
	if m.n.VectorMatching.On {
		m.buf = l.BytesWithLabels(m.buf, m.names...)
	} else {
		m.buf = l.BytesWithoutLabels(m.buf, m.names...)
	}
	return string(m.buf)
}

// pair adds what two series result in. It tells whether that is certain.
func (m *matching) pair(sig string, many, one computed) bool {
	p := pairing{many.values, one.values}
	if m.n.VectorMatching.Card == parser.CardOneToOne {
		if slices.ContainsFunc(m.bySide[sig], p.overlaps) {
			return false
		}
		m.bySide[sig] = append(m.bySide[sig], p)
	}
	l := m.labels(many.labels, one.labels)
	h := l.Hash()
	at, known := m.byLabels[h]
	if known && slices.ContainsFunc(m.pairs[at], p.overlaps) {
		return false
	}
	var values []float64
	if known {
		values = m.out.series[at].values
	} else {
		if m.size += len(many.values); m.size > m.left {
			return false
		}
		values = make([]float64, len(many.values))
		for i := range values {
			values[i] = math.Float64frombits(absent)
		}
	}
	if !m.calculate(p, values) && !known {
		return true
	}
	if !known {
		at = len(m.out.series)
		m.byLabels[h] = at
		m.out.series = append(m.out.series, computed{l, values})
	}
	m.pairs[at] = append(m.pairs[at], p)
	return true
}

// calculate fills in the values of a pair, and tells whether there was any pair.
func (m *matching) calculate(p pairing, values []float64) (some bool) {
	swapped := m.n.VectorMatching.Card == parser.CardOneToMany
	for i, l := range p.many {
		r := p.one[i]
		if !is(l) || !is(r) {
			continue
		}
		some = true
		if swapped {
			l, r = r, l
		}
		v, keep := operator(m.n.Op, l, r)
		if m.n.ReturnBool {
			v, keep = truth(keep), true
		}
		if keep {
			values[i] = v
		}
	}
	return some
}

// labels are those of the result of a pair.
func (m *matching) labels(many, one labels.Labels) labels.Labels {
	v := m.n.VectorMatching
	b := m.builder
	b.Reset(many)
	if m.n.ReturnBool || calculates(m.n.Op) {
		schema.Metadata{}.SetToLabels(b)
	}
	if v.Card == parser.CardOneToOne {
		if v.On {
			b.Keep(v.MatchingLabels...)
		} else {
			b.Del(v.MatchingLabels...)
		}
	}
	for _, name := range v.Include {
		if value := one.Get(name); value != "" {
			b.Set(name, value)
		} else {
			b.Del(name)
		}
	}
	return b.Labels()
}
