package blocks

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/test/bench/collector/load"
)

// requests are the durations of requests to services that run on all nodes: a
// metric with more series than any of a cluster of this size by itself.
type requests struct {
	interval time.Duration
	labels   []labels.Labels // by handler, bounds within
	refs     []storage.SeriesRef
	counts   []uint64
	random   *rand.Rand
}

var bounds = []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"}

func newRequests(shape Shape) *requests {
	r := &requests{interval: shape.Interval, random: rand.New(rand.NewPCG(1, 2))}
	for node := range shape.Nodes {
		for pod := range shape.PodsPerNode {
			for handler := range shape.Handlers {
				for _, le := range bounds {
					service := "service-" + strconv.Itoa(pod%5)
					r.labels = append(r.labels, labels.FromStrings(model.MetricNameLabel, "http_request_duration_seconds_bucket",
						"cluster", "bench", "job", service, "service", service, "namespace", "shop-"+strconv.Itoa(pod%3), "node", load.NodeName(node),
						"pod", fmt.Sprintf("%s-%d-%d", service, node, pod), "instance", fmt.Sprintf("10.1.%d.%d:8080", node, pod),
						"handler", fmt.Sprintf("/v1/%c", 'a'+handler), "le", le))
				}
			}
		}
	}
	r.refs = make([]storage.SeriesRef, len(r.labels))
	r.counts = make([]uint64, len(r.labels))
	return r
}

// scrape appends the next counts: from 0 to 39 requests for each handler, most of
// them quick.
func (r *requests) scrape(app storage.Appender, at time.Time) (int, error) {
	for i := 0; i < len(r.labels); i += len(bounds) {
		ms := at.UnixMilli() + int64(i)*7%r.interval.Milliseconds()
		var hits [16]uint64
		for range r.random.IntN(40) {
			hits[min(int(r.random.ExpFloat64()*2.5), len(bounds)-1)]++
		}
		sum := uint64(0)
		for j := range bounds {
			sum += hits[j]
			r.counts[i+j] += sum
			ref, err := app.Append(r.refs[i+j], r.labels[i+j], ms, float64(r.counts[i+j]))
			if err != nil {
				return 0, err
			}
			r.refs[i+j] = ref
		}
	}
	return len(r.labels), nil
}
