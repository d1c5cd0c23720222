package engine

import (
	"context"
	"math"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// decode sets points to the samples from start to end, in milliseconds. Marks of
// ends are left out if live is set.
func (w *workState) decode(all []chunkenc.Chunk, start, end int64, live bool) error {
	points := w.points[:0]
	last := int64(math.MinInt64)
	for _, c := range all {
		w.iterator = c.Iterator(w.iterator)
		it := w.iterator
		for it.Next() == chunkenc.ValFloat {
			t, v := it.At()
			if t < start || t <= last {
				continue
			}
			if t > end {
				break
			}
			last = t
			if live && value.IsStaleNaN(v) {
				continue
			}
			points = append(points, promql.FPoint{T: t, F: v})
		}
		if err := it.Err(); err != nil {
			return err
		}
	}
	w.points = points
	return nil
}

// apply computes the value at each step, and tells whether there was any.
func (w *workState) apply(ctx context.Context, ev *evaluation, l labels.Labels, points []promql.FPoint, values []float64, c *counts) (bool, error) {
	if ev.call == nil {
		return instant(ev, points, values, c), nil
	}
	var some bool
	switch ev.call.Func.Name {
	case "rate":
		some = w.rate(ev, points, values, c, true, true)
	case "increase":
		some = w.rate(ev, points, values, c, true, false)
	case "delta":
		some = w.rate(ev, points, values, c, false, false)
	default:
		return w.other(ctx, ev, l, points, values, c)
	}
	if some && ev.call.Func.Name != "delta" {
		name := l.Get(model.MetricNameLabel)
		if name != "" && !strings.HasSuffix(name, "_total") && !strings.HasSuffix(name, "_sum") &&
			!strings.HasSuffix(name, "_count") && !strings.HasSuffix(name, "_bucket") {
			w.warnings.Add(annotations.NewPossibleNonCounterInfo(name, ev.call.Args[0].PositionRange()))
		}
	}
	return some, nil
}

// instant finds the newest sample at each step.
func instant(ev *evaluation, points []promql.FPoint, values []float64, c *counts) (some bool) {
	hi := 0
	at := ev.steps.start - ev.offset
	for i := range values {
		for hi < len(points) && points[hi].T <= at {
			hi++
		}
		values[i] = math.Float64frombits(absent)
		if hi > 0 && points[hi-1].T > at-ev.window && !value.IsStaleNaN(points[hi-1].F) {
			values[i] = points[hi-1].F
			c.at(i, 1, 1)
			some = true
		}
		at += ev.steps.interval
	}
	return some
}

// window moves over points, whose times are after start and not after end.
type window struct {
	lo, hi     int
	start, end int64
	fresh      int // how many were not in the window before
}

func firstWindow(ev *evaluation) window {
	end := ev.steps.start - ev.offset
	return window{start: end - ev.window, end: end}
}

// fit finds the points in the window.
func (w *window) fit(points []promql.FPoint) {
	before := w.hi
	for w.hi < len(points) && points[w.hi].T <= w.end {
		w.hi++
	}
	for w.lo < w.hi && points[w.lo].T <= w.start {
		w.lo++
	}
	w.fresh = w.hi - max(before, w.lo)
}

func (w *window) advance(interval int64) {
	w.start += interval
	w.end += interval
}

// rate is the rate, increase or delta of each window, extrapolated to its ends.
// Its operations are those of the engine's function, in the same order.
func (w *workState) rate(ev *evaluation, points []promql.FPoint, values []float64, c *counts, counter, perSecond bool) (some bool) {
	w.resets = w.resets[:0]
	if counter {
		for i := 1; i < len(points); i++ {
			if points[i].F < points[i-1].F {
				w.resets = append(w.resets, i)
			}
		}
	}
	resets := w.resets
	seconds := float64(ev.window) / 1000
	win := firstWindow(ev)
	for i := range values {
		win.fit(points)
		values[i] = math.Float64frombits(absent)
		if n := win.hi - win.lo; n > 0 {
			c.at(i, int64(n), int64(win.fresh))
		}
		if win.hi-win.lo > 1 {
			for len(resets) > 0 && resets[0] <= win.lo {
				resets = resets[1:]
			}
			v := points[win.hi-1].F - points[win.lo].F
			for _, r := range resets {
				if r >= win.hi {
					break
				}
				v += points[r-1].F
			}
			values[i] = v * extrapolation(points[win.lo:win.hi], win.start, win.end, v, seconds, counter, perSecond)
			some = true
		}
		win.advance(ev.steps.interval)
	}
	return some
}

// extrapolation is the factor between the increase from the first to the last of
// some points and the one that is assumed for the whole window.
func extrapolation(points []promql.FPoint, start, end int64, increase, seconds float64, counter, perSecond bool) float64 {
	first, last := points[0], points[len(points)-1]
	toStart := float64(first.T-start) / 1000
	toEnd := float64(end-last.T) / 1000
	sampled := float64(last.T-first.T) / 1000
	average := sampled / float64(len(points)-1)
	threshold := average * 1.1
	if toStart >= threshold {
		toStart = average / 2
	}
	if counter {
		// A counter does not begin below zero.
		toZero := toStart
		if increase > 0 && first.F >= 0 {
			toZero = sampled * (first.F / increase)
		}
		if toZero < toStart {
			toStart = toZero
		}
	}
	if toEnd >= threshold {
		toEnd = average / 2
	}
	factor := 1.0
	if sampled != 0 {
		factor = (sampled + toStart + toEnd) / sampled
	}
	if perSecond {
		factor /= seconds
	}
	return factor
}

// other calls the engine's own function for each window.
func (w *workState) other(ctx context.Context, ev *evaluation, l labels.Labels, points []promql.FPoint, values []float64, c *counts) (some bool, err error) {
	if w.helper == nil {
		w.helper = &promql.EvalNodeHelper{Out: make(promql.Vector, 0, 1)}
		w.matrix = make(promql.Matrix, 1)
		for _, arg := range ev.call.Args {
			if n, ok := arg.(*parser.NumberLiteral); ok {
				w.vectors = append(w.vectors, promql.Vector{{F: n.Val}})
			}
		}
	}
	f := promql.FunctionCalls[ev.call.Func.Name]
	w.matrix[0].Metric = l
	win := firstWindow(ev)
	for i, ts := 0, ev.steps.start; i < len(values); i, ts = i+1, ts+ev.steps.interval {
		if i%64 == 63 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		win.fit(points)
		values[i] = math.Float64frombits(absent)
		if win.hi > win.lo {
			w.matrix[0].Floats = points[win.lo:win.hi:win.hi]
			w.helper.Ts = ts
			out, warnings := f(w.vectors, w.matrix, ev.call.Args, w.helper)
			w.warnings.Merge(warnings)
			c.at(i, int64(win.hi-win.lo), int64(win.fresh))
			if len(out) > 0 {
				if out[0].H != nil {
					return false, leftHistograms
				}
				values[i] = out[0].F
				some = true
			}
			w.helper.Out = out[:0]
		}
		win.advance(ev.steps.interval)
	}
	return some, nil
}
