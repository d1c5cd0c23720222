// Package measure runs queries on engines and compares what they cost and what
// they answer.
package measure

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/test/bench/server/queries"
)

// Engine is a contender.
type Engine struct {
	Name string
	promql.QueryEngine
}

// Range is what the queries are asked for.
type Range struct {
	Start, End time.Time
	Step       time.Duration
}

// Cost is what a query took.
type Cost struct {
	CPU, Wall time.Duration
	// Allocated is in bytes.
	Allocated uint64
	// Samples are those that the query says it processed.
	Samples int64
}

// Result is the costs of a query, by engine, in the order of the engines.
type Result struct {
	Query   queries.Query `json:"query"`
	Costs   []Cost        `json:"costs"`
	Errors  []string      `json:"errors"`
	Series  int           `json:"series"`
	Differs string        `json:"differs,omitempty"` // how, with the name of the engine
}

// Run asks every engine, in turns, and returns the medians of the rounds. The
// answers of all engines are compared with the first one's.
func Run(ctx context.Context, engines []Engine, db storage.Queryable, q queries.Query, r Range, rounds int) Result {
	res := Result{Query: q, Costs: make([]Cost, len(engines)), Errors: make([]string, len(engines))}
	all := make([][]Cost, len(engines))
	var first *answer
	for round := range rounds {
		for i := range engines {
			if round%2 == 1 {
				i = len(engines) - 1 - i
			}
			a, cost := one(ctx, engines[i], db, q, r, round == 0)
			all[i] = append(all[i], cost)
			if round > 0 {
				continue
			}
			res.Errors[i] = a.err
			if i == 0 {
				first, res.Series = a, len(a.matrix)
			} else if d := first.differs(a); d != "" && res.Differs == "" {
				res.Differs = engines[i].Name + ": " + d
			}
		}
	}
	for i := range engines {
		res.Costs[i] = Cost{
			CPU:       median(all[i], func(c Cost) time.Duration { return c.CPU }),
			Wall:      median(all[i], func(c Cost) time.Duration { return c.Wall }),
			Allocated: median(all[i], func(c Cost) uint64 { return c.Allocated }),
			Samples:   all[i][0].Samples,
		}
	}
	return res
}

func median[T int64 | uint64 | time.Duration](all []Cost, f func(Cost) T) T {
	v := make([]T, len(all))
	for i, c := range all {
		v[i] = f(c)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

type answer struct {
	matrix   promql.Matrix
	warnings []string
	err      string
}

// one runs a query once, with the garbage of earlier ones out of the way.
func one(ctx context.Context, e Engine, db storage.Queryable, q queries.Query, r Range, keep bool) (*answer, Cost) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, begin := cpuTime(), time.Now()
	var query promql.Query
	var err error
	if q.Instant {
		query, err = e.NewInstantQuery(ctx, db, nil, q.Expr, r.End)
	} else {
		query, err = e.NewRangeQuery(ctx, db, nil, q.Expr, r.Start, r.End, r.Step)
	}
	if err != nil {
		return &answer{err: err.Error()}, Cost{}
	}
	defer query.Close()
	result := query.Exec(ctx)
	cost := Cost{CPU: cpuTime() - cpu, Wall: time.Since(begin)}
	runtime.ReadMemStats(&after)
	cost.Allocated = after.TotalAlloc - before.TotalAlloc
	if s := query.Stats(); s != nil && s.Samples != nil {
		cost.Samples = s.Samples.TotalSamples
	}
	a := &answer{}
	if !keep {
		return a, cost
	}
	w, i := result.Warnings.AsStrings(q.Expr, 0, 0)
	a.warnings = append(w, i...)
	sort.Strings(a.warnings)
	if result.Err != nil {
		a.err = result.Err.Error()
		return a, cost
	}
	a.matrix = matrix(result.Value)
	return a, cost
}

// matrix copies a result of any type into a sorted matrix.
func matrix(v any) promql.Matrix {
	var m promql.Matrix
	switch v := v.(type) {
	case promql.Matrix:
		for _, s := range v {
			m = append(m, promql.Series{Metric: s.Metric, Floats: slices.Clone(s.Floats), Histograms: slices.Clone(s.Histograms)})
		}
	case promql.Vector:
		for _, s := range v {
			one := promql.Series{Metric: s.Metric}
			if s.H != nil {
				one.Histograms = []promql.HPoint{{T: s.T, H: s.H}}
			} else {
				one.Floats = []promql.FPoint{{T: s.T, F: s.F}}
			}
			m = append(m, one)
		}
	case promql.Scalar:
		m = promql.Matrix{{Floats: []promql.FPoint{{T: v.T, F: v.V}}}}
	}
	sort.Sort(m)
	return m
}

func (a *answer) differs(b *answer) string {
	switch {
	case (a.err == "") != (b.err == ""):
		return fmt.Sprintf("error %q, not %q", b.err, a.err)
	case !slices.Equal(a.warnings, b.warnings):
		return fmt.Sprintf("annotations %s, not %s", strings.Join(b.warnings, "; "), strings.Join(a.warnings, "; "))
	case len(a.matrix) != len(b.matrix):
		return fmt.Sprintf("%d series, not %d", len(b.matrix), len(a.matrix))
	}
	exact := true
	for i, s := range a.matrix {
		t := b.matrix[i]
		switch {
		case s.Metric.String() != t.Metric.String():
			return fmt.Sprintf("series %s, not %s", t.Metric, s.Metric)
		case len(s.Floats) != len(t.Floats) || len(s.Histograms) != len(t.Histograms):
			return fmt.Sprintf("%s has %d points, not %d", s.Metric, len(t.Floats)+len(t.Histograms), len(s.Floats)+len(s.Histograms))
		}
		for j, p := range s.Floats {
			if o := t.Floats[j]; p.T != o.T || !near(p.F, o.F) {
				return fmt.Sprintf("%s is %g at %d, not %g at %d", s.Metric, o.F, o.T, p.F, p.T)
			} else if math.Float64bits(p.F) != math.Float64bits(o.F) && !(math.IsNaN(p.F) && math.IsNaN(o.F)) {
				exact = false
			}
		}
		for j, p := range s.Histograms {
			if o := t.Histograms[j]; p.T != o.T || p.H.String() != o.H.String() {
				return fmt.Sprintf("%s is %s at %d, not %s at %d", s.Metric, o.H, o.T, p.H, p.T)
			}
		}
	}
	if !exact {
		return InLastDigits
	}
	return ""
}

// InLastDigits is how results differ that are as good as equal.
const InLastDigits = "in the last digits"

func near(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b))
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
