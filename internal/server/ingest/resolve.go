package ingest

import (
	"fmt"
	"unicode/utf8"
	"unsafe"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/internal/wire"
)

// reasonReplica says that samples are not taken because those of another replica
// are. It is none of the reasons that are counted.
const reasonReplica reason = "ha_duplicate"

// labelViews reads the labels of q.s as they were sent.
func (q *request) labelViews(dst []wire.LabelView) ([]wire.LabelView, error) {
	switch q.message {
	case messageV1:
		return wire.DecodeLabels(dst, q.s.bytes)
	case messageV2:
		return q.v2.Labels(dst, q.s.refs)
	}
	q.s.sent.Range(func(l labels.Label) {
		dst = append(dst, wire.LabelView{Name: stringView(l.Name), Value: stringView(l.Value)})
	})
	return dst, nil
}

// resolve reads and checks the labels of q.s, which has no reference. It returns
// why its samples are not taken, if they are not.
func (q *request) resolve() (reason, string) {
	s := &q.s
	var err error
	if q.views, err = q.labelViews(q.views[:0]); err != nil {
		return reasonLabelInvalid, fmt.Sprintf("labels of a series: %v", err)
	}
	if r, msg := checkLabels(q.views, &q.limits); r != "" {
		return r, msg
	}
	if q.limits.HA.Enabled {
		if r, msg := q.resolveReplica(); r != "" {
			return r, msg
		}
	}
	s.labels = q.build(q.views)
	if name, dup := s.labels.HasDuplicateLabelNames(); dup {
		return reasonDuplicateLabel, fmt.Sprintf("duplicate label name %q in series %s", name, s.labels)
	}
	return q.checkSeries()
}

// resolveReplica finds the replica that q.s is of, and takes its label away.
func (q *request) resolveReplica() (reason, string) {
	s := &q.s
	cluster, name := q.replicaLabels(q.views)
	if name < 0 {
		return "", ""
	}
	if s.group == 0 {
		if s.group = q.cache.groups.number(string(q.views[cluster].Value), string(q.views[name].Value)); s.group == 0 {
			return reasonHAClusters, fmt.Sprintf("more than %d replicas", maxReplicas)
		}
		switch q.judge(s.group) {
		case accept:
		case duplicate:
			if s.place < 0 {
				// Known from now on, so that its labels need not be read again.
				q.fresh = append(q.fresh, freshSeries{key: s.key, group: s.group})
			}
			return q.notElected()
		default:
			return q.notElected()
		}
	}
	q.views = append(q.views[:name], q.views[name+1:]...)
	return "", ""
}

// replicaLabels returns the places of the labels that tell replicas apart, -1 if
// they do not.
func (q *request) replicaLabels(views []wire.LabelView) (cluster, name int) {
	cluster, name = -1, -1
	for i, v := range views {
		switch {
		case len(v.Value) == 0:
		case string(v.Name) == q.limits.HA.ClusterLabel:
			cluster = i
		case string(v.Name) == q.limits.HA.ReplicaLabel:
			name = i
		}
	}
	if cluster < 0 || name < 0 {
		return -1, -1
	}
	return cluster, name
}

// judge says whether the samples of a replica are taken, for the whole request.
func (q *request) judge(group uint16) verdict {
	for len(q.verdicts) <= int(group) {
		q.verdicts = append(q.verdicts, undecided)
	}
	v := &q.verdicts[group]
	if *v == undecided {
		var changed bool
		if *v, changed = q.cache.groups.judge(group, q.now, &q.limits.HA); changed {
			q.h.metrics.elections.WithLabelValues(q.workspace).Inc()
		}
	}
	return *v
}

// notElected says why the samples of q.s are not taken.
func (q *request) notElected() (reason, string) {
	if q.judge(q.s.group) == tooManyClusters {
		return reasonHAClusters, fmt.Sprintf("too many HA clusters (limit: %d, setting limits.max_ha_clusters)", q.limits.HA.MaxClusters)
	}
	q.duplicate = q.s.group
	return reasonReplica, ""
}

// checkSeries checks whether there is room for q.s. Series that are there are
// spared; their reference is noted.
func (q *request) checkSeries() (reason, string) {
	full := q.limits.MaxSeries > 0 && q.target.NumSeries() >= uint64(q.limits.MaxSeries)
	if !full && q.count == nil {
		return "", ""
	}
	r, msg := reason(""), ""
	if full {
		limit := q.limits.MaxSeries
		r, msg = reasonSeriesLimit, fmt.Sprintf("per-user series limit of %d exceeded (setting limits.max_series): (local limit: 0 global limit: %d actual local limit: %d)", limit, limit, limit)
	} else {
		r, msg = q.count.check(q.s.labels, q.limits.MaxSeriesPerMetric)
	}
	if r == "" {
		return "", ""
	}
	if g, ok := q.app.(storage.GetRef); ok {
		if ref, _ := g.GetRef(q.s.labels, q.s.labels.Hash()); ref != 0 {
			return "", ""
		}
	}
	return r, msg
}

// build makes Prometheus' form of labels. It copies the bytes.
func (q *request) build(views []wire.LabelView) labels.Labels {
	q.builder.Reset()
	for _, v := range views {
		if len(v.Value) > 0 { // an empty value is the same as no label
			q.builder.Add(viewString(v.Name), viewString(v.Value))
		}
	}
	q.builder.Sort()
	return q.builder.Labels()
}

// viewString makes a string without copying, for the builder, which copies what
// it is given before the message's buffer is used again.
func viewString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// stringView makes bytes without copying; nobody writes to views.
func stringView(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// describeLabels writes q.s for an error message.
func (q *request) describeLabels() string {
	if !q.s.labels.IsEmpty() {
		return q.s.labels.String()
	}
	views, err := q.labelViews(nil)
	if err != nil {
		return "{?}"
	}
	return q.build(views).String()
}

// checkLabels holds a series' labels against the rules and limits.
func checkLabels(views []wire.LabelView, l *Limits) (reason, string) {
	if over(len(views), l.MaxLabels) {
		return reasonLabelCount, fmt.Sprintf("series has too many labels (actual: %d, limit: %d, setting limits.max_labels) series: %.200q", len(views), l.MaxLabels, metricNameOf(views))
	}
	named := false
	for _, v := range views {
		switch {
		case len(v.Name) == 0:
			return reasonLabelInvalid, fmt.Sprintf("a label has no name: series %.200q", metricNameOf(views))
		case over(len(v.Name), l.MaxLabelName):
			return reasonNameLength, fmt.Sprintf("label name too long (actual: %d, limit: %d, setting limits.max_label_name): %.50q... of series %.200q", len(v.Name), l.MaxLabelName, v.Name, metricNameOf(views))
		case over(len(v.Value), l.MaxLabelValue):
			return reasonValueLength, fmt.Sprintf("label value too long (actual: %d, limit: %d, setting limits.max_label_value): label %.200q of series %.200q", len(v.Value), l.MaxLabelValue, v.Name, metricNameOf(views))
		case !utf8.Valid(v.Name) || !utf8.Valid(v.Value):
			if string(v.Name) == commonmodel.MetricNameLabel {
				return reasonMetricName, fmt.Sprintf("the metric name is not valid UTF-8: %.200q", v.Value)
			}
			return reasonLabelInvalid, fmt.Sprintf("label %.200q is not valid UTF-8", v.Name)
		}
		named = named || string(v.Name) == commonmodel.MetricNameLabel && len(v.Value) > 0
	}
	if !named {
		return reasonNoName, "series without a metric name (label __name__)"
	}
	return "", ""
}

func metricNameOf(views []wire.LabelView) []byte {
	for _, v := range views {
		if string(v.Name) == commonmodel.MetricNameLabel {
			return v.Value
		}
	}
	return nil
}
