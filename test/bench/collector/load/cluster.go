// Package load makes the metrics pages of a cluster of any size out of
// recordings of one node: every node and pod has names and ids of its own,
// values move as they did in the recording, pods come and go. Everything but
// the timestamps on cAdvisor's pages follows from the seed.
package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mangru/mangru/test/bench/collector/recording"
)

// Names of jobs, which are those of the recordings too.
const (
	JobNodeExporter     = "node-exporter"
	JobKubelet          = "kubelet"
	JobCAdvisor         = "cadvisor"
	JobKubeStateMetrics = "kube-state-metrics"
	JobAPIServer        = "apiserver"
	// JobApp is a small page, as programs of one's own have it: what the node
	// exporter says of itself.
	JobApp = "app"
)

// Jobs are those that have recordings.
func Jobs() []string {
	return []string{JobNodeExporter, JobKubelet, JobCAdvisor, JobKubeStateMetrics, JobAPIServer}
}

// Shape is how big the cluster is and how fast it changes.
type Shape struct {
	Nodes       int
	PodsPerNode int
	APIServers  int
	// Apps is the number of targets with small pages.
	Apps int
	// Churn is the part of all pods that is replaced in one interval.
	Churn float64
	// Interval is the time between two scrapes. It stands for RecordedInterval.
	Interval time.Duration
	Seed     uint64
}

// RecordedInterval is the time between the scrapes of the recordings.
const RecordedInterval = 10 * time.Second

// Cluster is a shape with the recordings that give it its pages.
type Cluster struct {
	Shape
	templates map[string]*template
	start     time.Time
}

// Target is a page and where it belongs.
type Target struct {
	Job  string
	Node string
	Page *Page
}

// New prepares a cluster whose life begins at start. recordings are by job.
func New(shape Shape, recordings map[string]*recording.Recording, start time.Time) (*Cluster, error) {
	c := &Cluster{Shape: shape, templates: map[string]*template{}, start: start}
	for job, rec := range recordings {
		t, err := newTemplate(rec, job == JobKubeStateMetrics)
		if err != nil {
			return nil, fmt.Errorf("recording of %s: %w", job, err)
		}
		c.templates[job] = t
	}
	for _, job := range Jobs() {
		if c.templates[job] == nil {
			return nil, fmt.Errorf("there is no recording of %s", job)
		}
	}
	c.templates[JobApp] = c.templates[JobNodeExporter].only("process_", "go_memstats_heap_", "go_goroutines", "promhttp_")
	return c, nil
}

// Fit prepares a cluster with about a number of series, for which it chooses the
// number of API servers (one for each 111,000 series, so the usual 223,000 have
// two, as managed clusters do) and of nodes.
func Fit(shape Shape, series int, recordings map[string]*recording.Recording, start time.Time) (*Cluster, error) {
	shape.APIServers = series / seriesPerAPIServer
	shape.Nodes = 1
	c, err := New(shape, recordings, start)
	if err != nil {
		return nil, err
	}
	one := c.Series()
	c.Nodes = 2
	each := c.Series() - one
	c.Nodes = max(1, 1+(series-one+each/2)/each)
	return c, nil
}

const seriesPerAPIServer = 111_000

// only keeps the families whose name begins with one of the prefixes.
func (t *template) only(prefixes ...string) *template {
	kept := &template{objects: t.objects}
	for _, f := range t.families {
		name := bytes.TrimPrefix([]byte(f.header), []byte("# HELP "))
		if slices.ContainsFunc(prefixes, func(p string) bool { return bytes.HasPrefix(name, []byte(p)) }) {
			kept.families = append(kept.families, f)
		}
	}
	return kept
}

// Targets are all pages of the cluster. Each belongs to the caller alone.
func (c *Cluster) Targets() []Target {
	var all []Target
	nodes := make([]int, c.Nodes)
	for n := range c.Nodes {
		nodes[n] = n
		for _, job := range []string{JobNodeExporter, JobKubelet, JobCAdvisor} {
			all = append(all, Target{Job: job, Node: NodeName(n), Page: c.page(job, n, c.nodeSalt(n), []int{n})})
		}
	}
	if c.Nodes > 0 {
		all = append(all, Target{Job: JobKubeStateMetrics, Node: NodeName(0), Page: c.page(JobKubeStateMetrics, 0, c.Seed, nodes)})
	}
	for n := range c.APIServers {
		node := c.Nodes + n
		all = append(all, Target{Job: JobAPIServer, Node: NodeName(node), Page: c.page(JobAPIServer, node, c.nodeSalt(node), nil)})
	}
	for n := range c.Apps {
		node := n / max(1, c.PodsPerNode)
		all = append(all, Target{Job: JobApp, Node: NodeName(node), Page: c.page(JobApp, node, mix(c.Seed, saltApp, uint64(n)), nil)})
	}
	return all
}

func (c *Cluster) page(job string, node int, salt uint64, nodes []int) *Page {
	p := &Page{
		cluster: c, tmpl: c.templates[job], node: node, salt: salt, nodes: nodes,
		shuffled: job == JobKubeStateMetrics,
		random:   rand.New(rand.NewPCG(c.Seed, salt)),
		clockOf:  map[string]int32{},
	}
	p.generations = c.generations(nodes, c.start)
	p.build()
	return p
}

// Series is how many lines the first scrape of all pages finds.
func (c *Cluster) Series() int {
	total := 0
	var page []byte
	for _, t := range c.Targets() {
		var n Count
		page, n = t.Page.Render(page[:0], c.start)
		total += n.Lines
	}
	return total
}

func (c *Cluster) nodeSalt(node int) uint64 { return mix(c.Seed, saltNode, uint64(node)) }

// What a salt is for.
const (
	saltNode = iota
	saltPod
	saltApp
	saltLife
)

// pod is who runs in a place for a pod after some replacements.
func (c *Cluster) pod(node, slot int, generation int64) identity {
	return identity{node: node, salt: mix(c.Seed, saltPod, uint64(node), uint64(slot), uint64(generation))}
}

// object is the recorded pod after whose example the pod in a slot is made: one
// after the other, so that all are used about equally often.
func (c *Cluster) object(node, slot, objects int) int {
	return (node*c.PodsPerNode + slot) % objects
}

// slots are the places for pods of a node that follow the example of an object.
func (c *Cluster) slots(node, object, objects int) []int {
	var slots []int
	first := (object - node*c.PodsPerNode) % objects
	if first < 0 {
		first += objects
	}
	for s := first; s < c.PodsPerNode; s += objects {
		slots = append(slots, s)
	}
	return slots
}

// generations is, for each node's slots in turn, how often the pod there has
// been replaced.
func (c *Cluster) generations(nodes []int, now time.Time) []int64 {
	if c.PodsPerNode == 0 || len(nodes) == 0 {
		return nil
	}
	g := make([]int64, 0, len(nodes)*c.PodsPerNode)
	age := float64(now.Sub(c.start)) / float64(c.Interval) * c.Churn
	for _, node := range nodes {
		for slot := range c.PodsPerNode {
			phase := float64(mix(c.Seed, saltLife, uint64(node), uint64(slot))%(1<<20)) / (1 << 20)
			g = append(g, int64(age+phase))
		}
	}
	return g
}

// clock finds or makes the clock by which cAdvisor looks at a cgroup: every 10 to
// 20 seconds of recorded time, so that three samples in ten repeat, as recorded.
func (p *Page) clock(cgroup string) int32 {
	if i, known := p.clockOf[cgroup]; known {
		return i
	}
	h := hash(p.salt, cgroup)
	unit := p.cluster.Interval.Milliseconds()
	period := unit + int64(h%1000)*unit/1000
	i := int32(len(p.clocks))
	// A clock begins some rounds before the cluster, so that values differ.
	phase := p.cluster.start.UnixMilli() - int64(h>>32)%(100*period)
	p.clocks = append(p.clocks, housekeeping{period: period, phase: phase, count: -1})
	p.clockOf[cgroup] = i
	return i
}

// cgroup is the value of the id label.
func cgroup(text []byte) []byte {
	i := bytes.Index(text, []byte(`id="`))
	if i < 0 {
		return nil
	}
	text = text[i+len(`id="`):]
	return text[:bytes.IndexByte(text, '"')]
}
