package engine

import (
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
)

// bucket is a series with the bound that its label le says.
type bucket struct {
	bound  float64
	values []float64
}

// histogramOf are the buckets of one histogram.
type histogramOf struct {
	labels  labels.Labels
	buckets []bucket
}

// quantiles replaces the series of a result, which are buckets, by the quantiles
// of the histograms that they make up. What series belong together and what their
// bounds are is found once, and not at every step.
func (r *result) quantiles(call *parser.Call) {
	q, pos := call.Args[0].(*parser.NumberLiteral).Val, call.Args[1].PositionRange()
	index := make(map[string]int)
	var all []histogramOf
	var key []byte
	for _, s := range r.series {
		le := s.labels.Get(labels.BucketLabel)
		bound, err := strconv.ParseFloat(le, 64)
		if err != nil {
			r.warnings.Add(annotations.NewBadBucketLabelWarning("", le, pos))
			continue
		}
		key = s.labels.BytesWithoutLabels(key, labels.BucketLabel)
		i, known := index[string(key)]
		if !known {
			i = len(all)
			index[string(key)] = i
			all = append(all, histogramOf{labels: labels.NewBuilder(s.labels).Del(labels.BucketLabel).Labels()})
		}
		all[i].buckets = append(all[i].buckets, bucket{bound, s.values})
	}
	r.series = make([]computed, len(all))
	var buf promql.Buckets
	for i, h := range all {
		values := make([]float64, r.steps.n)
		for step := range values {
			buf = buf[:0]
			for _, b := range h.buckets {
				if is(b.values[step]) {
					buf = append(buf, promql.Bucket{UpperBound: b.bound, Count: b.values[step]})
				}
			}
			values[step] = math.Float64frombits(absent)
			if len(buf) == 0 {
				continue
			}
			v, forced, _, low, high, diff := promql.BucketQuantile(q, buf)
			if forced {
				at := r.steps.start + int64(step)*r.steps.interval
				r.warnings.Add(annotations.NewHistogramQuantileForcedMonotonicityInfo("", pos, at, low, high, diff))
			}
			values[step] = v
		}
		r.series[i] = computed{h.labels, values}
	}
}
