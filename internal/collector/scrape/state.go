package scrape

import (
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Health says how a target's last scrape went.
type Health string

// The states of a target.
const (
	HealthUnknown Health = "unknown" // not scraped yet
	HealthUp      Health = "up"
	HealthDown    Health = "down"
)

// TargetState is what is known about a target.
type TargetState struct {
	ID         uint64            `json:"-"`
	Job        string            `json:"job"`
	URL        string            `json:"url"`
	Labels     map[string]string `json:"labels"`
	Health     Health            `json:"health"`
	LastScrape time.Time         `json:"lastScrape,omitzero"`
	LastError  string            `json:"lastError,omitempty"`
	Duration   float64           `json:"durationSeconds"`
	Interval   float64           `json:"intervalSeconds"`
	// Samples are those on the last page, Kept those after metric relabelling.
	Samples int `json:"samples"`
	Kept    int `json:"samplesPostRelabel"`
	// Series are the live ones, with those about the scrape itself.
	Series int `json:"series"`
	Bytes  int `json:"bytes"`
}

// scrapeResult is what came of one scrape.
type scrapeResult struct {
	at          time.Time
	err         error
	duration    time.Duration
	bytes       int
	tooLarge    bool
	scraped     int
	postRelabel int
	added       int
	series      int
	lost        [outcomes]int
	appended    int // samples that count against sample_limit
	limitHit    bool
	// bucketLimitHit says that a native histogram had too many buckets.
	bucketLimitHit bool
	longExemplars  int // that were left out
	framed         int // samples of the frame
	rolledBack     int // samples of a page that did not count as a whole
}

// snapshot returns the state, or false for a target that is gone.
func (t *target) snapshot() (TargetState, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sp, r := t.spec, t.state
	if sp == nil {
		return TargetState{}, false
	}
	st := TargetState{
		ID: t.id, Job: sp.plan.cfg.JobName, URL: sp.URL, Labels: sp.public.Map(), Health: HealthUnknown,
		LastScrape: r.at, Duration: r.duration.Seconds(), Interval: sp.Interval.Seconds(),
		Samples: r.scraped, Kept: r.postRelabel, Series: r.series, Bytes: r.bytes,
	}
	switch {
	case r.err != nil:
		st.Health, st.LastError = HealthDown, plainError(r.err)
	case !r.at.IsZero():
		st.Health = HealthUp
	}
	return st, true
}

// Count is what became of a job's samples since the start.
type Count struct {
	// Accepted went on, with those about the scrapes themselves and staleness
	// markers; Refused did not, for reasons of their own or their page's.
	Accepted, Refused uint64
}

// count adds a scrape to its job's count.
func (m *Manager) count(job string, r *scrapeResult) {
	m.counting.Lock()
	defer m.counting.Unlock()
	n := m.counts[job]
	n.Accepted += uint64(r.framed)
	n.Refused += uint64(r.rolledBack)
	for what := duplicate; what <= outOfBounds; what++ {
		n.Refused += uint64(r.lost[what])
	}
	m.counts[job] = n
}

// Samples returns the counts by job.
func (m *Manager) Samples() map[string]Count {
	m.counting.Lock()
	defer m.counting.Unlock()
	return maps.Clone(m.counts)
}

type metrics struct {
	scrapes  *prometheus.CounterVec
	samples  prometheus.Counter
	dropped  *prometheus.CounterVec
	long     prometheus.Counter
	duration prometheus.Histogram
}

const (
	reasonFailed = "failed_scrape"
	resultHeld   = "held" // left out because memory is short
)

func newMetrics(reg prometheus.Registerer, m *Manager) *metrics {
	x := &metrics{
		scrapes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mangru_collector_scrapes_total", Help: "Scrapes by how they went.",
		}, []string{"result"}),
		samples: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mangru_collector_scraped_samples_total", Help: "Samples on the pages of targets.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mangru_collector_scrape_dropped_samples_total",
			Help: "Samples on the pages of targets that did not go on, by reason.",
		}, []string{"reason"}),
		long: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mangru_collector_scrape_dropped_exemplars_total",
			Help: "Exemplars that did not go on because their labels have more than 128 characters.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mangru_collector_scrape_duration_seconds", Help: "Time from request to frame.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 11),
		}),
	}
	for _, name := range append(outcomeNames[repeated:], reasonFailed) {
		x.dropped.WithLabelValues(name)
	}
	x.scrapes.WithLabelValues("ok")
	x.scrapes.WithLabelValues("error")
	x.scrapes.WithLabelValues(resultHeld)
	reg.MustRegister(x.scrapes, x.samples, x.dropped, x.long, x.duration, targetCounter{m})
	return x
}

func (x *metrics) observe(r *scrapeResult) {
	result := "ok"
	if r.err != nil {
		result = "error"
	}
	x.scrapes.WithLabelValues(result).Inc()
	x.samples.Add(float64(r.scraped))
	for what := repeated; what < outcomes; what++ {
		if n := r.lost[what]; n > 0 {
			x.dropped.WithLabelValues(outcomeNames[what]).Add(float64(n))
		}
	}
	x.long.Add(float64(r.longExemplars))
	if r.rolledBack > 0 {
		x.dropped.WithLabelValues(reasonFailed).Add(float64(r.rolledBack))
	}
	x.duration.Observe(r.duration.Seconds())
}

// targetCounter counts targets by job and health when asked.
type targetCounter struct{ m *Manager }

var descTargets = prometheus.NewDesc("mangru_collector_targets", "Targets by job and health.", []string{"job", "health"}, nil)

func (c targetCounter) Describe(ch chan<- *prometheus.Desc) { ch <- descTargets }

func (c targetCounter) Collect(ch chan<- prometheus.Metric) {
	type key struct {
		job    string
		health Health
	}
	n := make(map[key]int)
	for _, t := range c.m.Targets() {
		n[key{t.Job, t.Health}]++
	}
	for k, v := range n {
		ch <- prometheus.MustNewConstMetric(descTargets, prometheus.GaugeValue, float64(v), k.job, string(k.health))
	}
}
