package engine

import (
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/schema"
	"github.com/prometheus/prometheus/storage"
)

// part is an expression that can be computed ahead: a function of a range, the
// aggregation of one or of a selector, or a selector that something is derived
// from.
type part struct {
	node    parser.Expr
	replace func(parser.Expr)

	agg      *parser.AggregateExpr // nil without an aggregation
	call     *parser.Call          // nil without a function
	selector *parser.VectorSelector
	// quantile is the call of histogram_quantile around it; nil without one.
	quantile *parser.Call

	// Milliseconds: of the range, or the time a sample is good for.
	window int64
	offset int64
	hints  storage.SelectHints
}

// plan finds the parts of a statement that can be computed ahead, and what can be
// derived from them, inner expressions first. Those within subqueries and those
// that do not depend on the step are evaluated at other times than the
// statement's, and stay.
func (e *Engine) plan(stmt *parser.EvalStmt) ([]*part, []derived) {
	if stmt.End.Before(stmt.Start) {
		return nil, nil
	}
	p := planner{stmt: stmt, cfg: &e.cfg, planned: make(map[parser.Expr]bool)}
	p.walk(stmt.Expr, func(e parser.Expr) { stmt.Expr = e })
	return p.parts, p.derived
}

type planner struct {
	stmt    *parser.EvalStmt
	cfg     *Config
	parts   []*part
	derived []derived
	planned map[parser.Expr]bool // nodes of the two
}

func (p *planner) walk(e parser.Expr, replace func(parser.Expr)) {
	switch n := e.(type) {
	case *parser.AggregateExpr:
		if p.aggregation(n, replace) {
			return
		}
		p.walk(n.Expr, func(e parser.Expr) { n.Expr = e })
		if inner, _ := bare(n.Expr, nil); aggregates(n.Op) && p.planned[inner] && !p.cfg.DelayedNames {
			p.derive(n, replace)
		}
	case *parser.Call:
		if p.function(n, nil, n, replace) {
			return
		}
		switch n.Func.Name {
		case "info", "timestamp", "start_timestamp", "absent_over_time":
			return // they look at what their argument is
		case "histogram_quantile":
			p.histogram(n, replace)
			return
		}
		for i := range n.Args {
			p.walk(n.Args[i], func(e parser.Expr) { n.Args[i] = e })
		}
	case *parser.BinaryExpr:
		p.walk(n.LHS, func(e parser.Expr) { n.LHS = e })
		p.walk(n.RHS, func(e parser.Expr) { n.RHS = e })
		p.binary(n, replace)
	case *parser.ParenExpr:
		p.walk(n.Expr, func(e parser.Expr) { n.Expr = e })
	case *parser.UnaryExpr:
		p.walk(n.Expr, func(e parser.Expr) { n.Expr = e })
	}
}

func (p *planner) aggregation(n *parser.AggregateExpr, replace func(parser.Expr)) bool {
	if !aggregates(n.Op) {
		return false
	}
	inner, _ := bare(n.Expr, nil)
	switch inner := inner.(type) {
	case *parser.Call:
		return p.function(n, n, inner, replace)
	case *parser.VectorSelector:
		if !plain(inner) {
			return false
		}
		p.add(&part{node: n, agg: n, selector: inner}, p.stmt.LookbackDelta, 0, replace)
		return true
	}
	return false
}

// histogram looks into the argument of histogram_quantile, and makes the call a
// part if its argument is one and the quantile is a constant.
func (p *planner) histogram(n *parser.Call, replace func(parser.Expr)) {
	arg := n.Args[1]
	p.walk(arg, func(e parser.Expr) { n.Args[1] = e })
	q, ok := n.Args[0].(*parser.NumberLiteral)
	if !ok || !(q.Val >= 0 && q.Val <= 1) || len(p.parts) == 0 || p.cfg.DelayedNames {
		return
	}
	inner := p.parts[len(p.parts)-1]
	if inner.node != arg || inner.quantile != nil || !inner.nameless() {
		return
	}
	delete(p.planned, inner.node)
	inner.node, inner.replace, inner.quantile = n, replace, n
	p.planned[n] = true
}

// function adds a call, or the aggregation of one, if it is of a range selector.
func (p *planner) function(node parser.Expr, agg *parser.AggregateExpr, call *parser.Call, replace func(parser.Expr)) bool {
	if call.Func.Name == "absent_over_time" || promql.FunctionCalls[call.Func.Name] == nil || !p.allows(agg, call) {
		return false
	}
	var matrix *parser.MatrixSelector
	for _, arg := range call.Args {
		switch a := arg.(type) {
		case *parser.MatrixSelector:
			matrix = a
		case *parser.NumberLiteral:
		default:
			return false
		}
	}
	if matrix == nil {
		return false
	}
	selector, ok := matrix.VectorSelector.(*parser.VectorSelector)
	if !ok || !plain(selector) {
		return false
	}
	p.add(&part{node: node, agg: agg, call: call, selector: selector}, matrix.Range, matrix.Range, replace)
	return true
}

// allows tells whether a call gives the same with the inner engine's settings.
func (p *planner) allows(agg *parser.AggregateExpr, call *parser.Call) bool {
	if p.cfg.StartTimestamps {
		switch call.Func.Name {
		case "rate", "irate", "increase", "resets":
			return false
		}
	}
	if !p.cfg.DelayedNames {
		return true
	}
	// Names that go at the end of the query can be told from those that stay by
	// the inner engine only, unless the aggregation takes them away.
	return agg != nil && !slices.ContainsFunc(agg.Grouping, schema.IsMetadataLabel) &&
		(call.Func.Name == "rate" || call.Func.Name == "increase" || call.Func.Name == "delta")
}

// plain tells that a selector is evaluated at the steps and in the usual way.
func plain(s *parser.VectorSelector) bool {
	return s.Timestamp == nil && s.StartOrEnd == 0 && !s.Anchored && !s.Smoothed
}

// add completes a part. window is how far back from a step samples matter,
// hintRange what the storage is told.
func (p *planner) add(a *part, window, hintRange time.Duration, replace func(parser.Expr)) {
	a.replace = replace
	a.window, a.offset = window.Milliseconds(), a.selector.OriginalOffset.Milliseconds()
	a.hints = storage.SelectHints{
		Start: timestamp.FromTime(p.stmt.Start) - a.offset - a.window + 1,
		End:   timestamp.FromTime(p.stmt.End) - a.offset,
		Step:  p.stmt.Interval.Milliseconds(), Range: hintRange.Milliseconds(),
		// Cutting chunks to the range means encoding them anew.
		DisableTrimming: true,
	}
	switch {
	case a.call != nil:
		a.hints.Func = a.call.Func.Name
	case a.agg != nil:
		a.hints.Func = a.agg.Op.String()
	}
	if a.agg != nil {
		slices.Sort(a.agg.Grouping) // hashing needs it
		if a.call == nil {
			a.hints.By, a.hints.Grouping = !a.agg.Without, a.agg.Grouping
		}
	}
	p.parts = append(p.parts, a)
	p.planned[a.node] = true
}

// dropsName tells whether the series of a part's function have no metric name.
func (a *part) dropsName() bool {
	return a.call != nil && a.call.Func.Name != "last_over_time" && a.call.Func.Name != "first_over_time"
}

// nameless tells whether the series of a part have no metric name for sure, nor
// other labels that go with it.
func (a *part) nameless() bool {
	return a.dropsName() || a.agg != nil && !a.agg.Without && !slices.ContainsFunc(a.agg.Grouping, schema.IsMetadataLabel)
}

// oneName tells whether all series have the same metric name.
func (a *part) oneName() bool {
	return slices.ContainsFunc(a.selector.LabelMatchers, func(m *labels.Matcher) bool {
		return m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual
	})
}
