package block

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/mangru/mangru/internal/model"
)

// series is one line of a page, and how it moves from scrape to scrape.
type series struct {
	id    string // the line up to the value
	value float64
	own   int64 // its own time, or 0
	step  func(s *series, now int64, dt float64)
	group *container
}

// container is what cAdvisor looks at in one go, every ten seconds or so.
type container struct {
	next, seen int64
	ends       int // frame with which it ends, or 0
	starts     int // frame with which it starts
}

// page is a target that is made to change as real ones do.
type page struct {
	series []*series
	rand   *rand.Rand
	now    int64
	// onlyNew leaves out what has the time that it had in the frame before.
	onlyNew bool
}

const interval = 10_000

// frames returns the outcome of n scrapes.
func (p *page) frames(n int) []*model.Frame {
	var shape model.LabelsBuilder
	slots := make(map[*series]int)
	var out []*model.Frame
	ended := make(map[*series]bool)
	for i := range n {
		p.now += interval + int64(p.rand.IntN(5)) - 2
		values := make([]float64, shape.Len(), len(p.series))
		for k := range values {
			values[k] = model.Absent()
		}
		times := slices.Repeat([]int64{p.now}, len(values))
		timed := false
		groups := make(map[*container]bool)
		for _, s := range p.series {
			fresh := true
			if g := s.group; g != nil {
				if i < g.starts || g.ends > 0 && i > g.ends {
					continue
				}
				if _, there := groups[g]; !there {
					groups[g] = p.now >= g.next
					if groups[g] {
						g.seen = p.now - int64(p.rand.IntN(3000))
						g.next = g.seen + 10_000 + int64(p.rand.IntN(4000))
					}
				}
				fresh = groups[g]
			}
			slot, there := slots[s]
			if !there {
				slot = shape.Append([]model.Label{{Name: "s", Value: s.id}})
				slots[s] = slot
				values, times = append(values, model.Absent()), append(times, p.now)
			}
			if s.group != nil && s.group.ends == i && i > 0 {
				values[slot] = model.Stale()
				ended[s] = true
				continue
			}
			if fresh && i > 0 {
				s.step(s, p.now, interval/1000)
			}
			if s.own != 0 && s.group != nil {
				if p.onlyNew && !fresh {
					continue
				}
				times[slot] = s.group.seen
				timed = true
			}
			values[slot] = s.value
		}
		f := &model.Frame{Shape: &model.Shape{Labels: shape.Labels()}, Time: p.now, Values: values}
		if timed {
			f.Times = times
		}
		out = append(out, f)
	}
	return out
}

// parsePage reads text format; pace is how many seconds the counters took to
// get to where they are, for the mean of the series.
func parsePage(text string, seed uint64, pace float64) *page {
	p := &page{rand: rand.New(rand.NewPCG(seed, 1)), now: 1_795_351_310_761}
	types := make(map[string]string)
	groups := make(map[string]*container)
	hist := make(map[string]*histogram)
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, typ, _ := strings.Cut(rest, " ")
			types[name] = typ
		}
		if line == "" || line[0] == '#' {
			continue
		}
		end := strings.LastIndexByte(line, '}') + 1
		if end == 0 {
			end = strings.IndexByte(line, ' ')
		}
		f := strings.Fields(line[end:])
		v, err := strconv.ParseFloat(f[0], 64)
		if err != nil {
			panic(err)
		}
		s := &series{id: line[:end], value: v}
		name, labels, _ := strings.Cut(s.id, "{")
		if len(f) > 1 {
			s.own, _ = strconv.ParseInt(f[1], 10, 64)
			id := labelOf(labels, "id")
			if groups[id] == nil {
				groups[id] = &container{}
				if p.rand.IntN(25) == 0 {
					groups[id].ends = 1 + p.rand.IntN(60)
				} else if p.rand.IntN(25) == 0 {
					groups[id].starts = p.rand.IntN(60)
				}
			}
			s.group = groups[id]
		}
		p.move(s, name, labels, types, hist, pace)
		p.series = append(p.series, s)
	}
	return p
}

func labelOf(labels, name string) string {
	_, rest, _ := strings.Cut(labels, name+`="`)
	v, _, _ := strings.Cut(rest, `"`)
	return v
}

type histogram struct {
	sum, count *series
	buckets    []*series
	bounds     []float64
	shares     []float64 // cumulative counts at the start
	total      float64
	rate       float64
	drawn      int64 // time of the last draw
}

func (p *page) lognormal(sigma float64) float64 { return math.Exp(p.rand.NormFloat64() * sigma) }

func (p *page) poisson(mean float64) float64 {
	if mean > 50 {
		return math.Max(0, math.Round(mean+math.Sqrt(mean)*p.rand.NormFloat64()))
	}
	l, k, x := math.Exp(-mean), 0.0, 1.0
	for {
		if x *= p.rand.Float64(); x <= l {
			return k
		}
		k++
	}
}

func still(*series, int64, float64) {}

// move decides how a series changes.
func (p *page) move(s *series, name, labels string, types map[string]string, hist map[string]*histogram, pace float64) {
	s.step = still
	base := name
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if b, ok := strings.CutSuffix(name, suffix); ok && (types[b] == "histogram" || types[b] == "summary") {
			base = b
		}
	}
	switch types[base] {
	case "histogram", "summary":
		key := base + "{" + strings.Trim(withoutLe(labels), ",}")
		h := hist[key]
		if h == nil {
			h = &histogram{}
			hist[key] = h
		}
		p.moveHistogram(h, s, name, labels, pace)
	case "counter":
		p.moveCounter(s, pace)
	default:
		p.moveGauge(s, name)
	}
}

func withoutLe(labels string) string {
	before, rest, ok := strings.Cut(labels, `le="`)
	if !ok {
		return labels
	}
	_, after, _ := strings.Cut(rest, `"`)
	return before + after
}

func (p *page) moveHistogram(h *histogram, s *series, name, labels string, pace float64) {
	const warm = 1000
	switch {
	case strings.HasSuffix(name, "_bucket"):
		le := labelOf(labels, "le")
		bound, _ := strconv.ParseFloat(le, 64)
		h.buckets, h.bounds, h.shares = append(h.buckets, s), append(h.bounds, bound), append(h.shares, s.value)
		h.total = s.value
	case strings.HasSuffix(name, "_sum"):
		h.sum = s
	case strings.HasSuffix(name, "_count"):
		h.count = s
		h.total = s.value
	default:
		return // a quantile
	}
	s.value *= warm
	if strings.HasSuffix(name, "_sum") && s.value != math.Trunc(s.value) {
		s.value *= 1 + p.rand.Float64()*1e-9
	}
	s.step = func(s *series, now int64, dt float64) {
		if h.drawn == now || h.count == nil || h.total == 0 {
			return
		}
		if h.rate == 0 {
			h.rate = h.total / pace * p.lognormal(1)
		}
		h.drawn = now
		p.observe(h, p.poisson(h.rate*dt))
	}
}

func (p *page) observe(h *histogram, n float64) {
	if n > 500 { // the same shape, fewer draws
		n = 500
	}
	for range int(n) {
		h.count.value++
		at := p.rand.Float64() * h.total
		lower, upper := 0.0, 0.001
		if len(h.buckets) > 0 {
			k := 0
			for k < len(h.buckets)-1 && h.shares[k] < at {
				k++
			}
			for i := k; i < len(h.buckets); i++ {
				h.buckets[i].value++
			}
			upper = h.bounds[k]
			if k > 0 {
				lower = h.bounds[k-1]
			}
			if math.IsInf(upper, 1) {
				upper = 2 * lower
			}
		}
		if h.sum != nil {
			v := lower + p.rand.Float64()*(upper-lower)
			if h.sum.value == math.Trunc(h.sum.value) && upper > 100 {
				v = math.Trunc(v)
			}
			h.sum.value += math.Round(v*1e9) / 1e9
		}
	}
}

func decimals(v float64) int {
	_, frac, _ := strings.Cut(strconv.FormatFloat(v, 'f', -1, 64), ".")
	return len(frac)
}

func (p *page) moveCounter(s *series, pace float64) {
	if s.value == 0 || s.value > 1e9 && s.value < 2e9 {
		return
	}
	rate := s.value / pace * p.lognormal(1)
	d := decimals(s.value)
	s.value *= 100
	switch {
	case d == 0:
		s.value = math.Trunc(s.value) + float64(p.rand.IntN(100))
		size := 1.0
		if rate > 1e4 { // bytes: few events of many
			size = 1 + math.Trunc(rate/100)
		}
		s.step = func(s *series, _ int64, dt float64) {
			n := p.poisson(rate * dt / size)
			s.value += math.Trunc(n * size * (1 + 0.1*p.rand.NormFloat64()*min(1, size-1)))
		}
	case d <= 9:
		unit := math.Pow10(d)
		n := math.Round(s.value * unit)
		s.value = n / unit
		s.step = func(s *series, _ int64, dt float64) {
			n += p.poisson(rate * dt * unit * p.lognormal(0.1))
			s.value = n / unit
		}
	default:
		s.step = func(s *series, _ int64, dt float64) { s.value += rate * dt * p.lognormal(0.3) }
	}
}

func (p *page) moveGauge(s *series, name string) {
	v := s.value
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(name, part) })
	}
	switch {
	case has("last_seen"):
		s.step = func(s *series, now int64, _ float64) { s.value = float64(now / 1000) }
	case has("spec_", "start_time", "created", "_info", "limit", "capacity", "allocatable", "kube_", "max", "machine_"):
	case has("bytes", "memory", "working_set", "rss", "usage") && v > 1e5:
		s.step = func(s *series, _ int64, _ float64) {
			if p.rand.IntN(3) > 0 {
				s.value += 4096 * math.Round(p.rand.NormFloat64()*20)
			}
		}
	case v == 0 || v == 1 || math.IsNaN(v) || math.IsInf(v, 0) || v < 0:
		if p.rand.IntN(30) == 0 {
			s.step = func(s *series, _ int64, _ float64) { s.value = float64(p.rand.IntN(2)) }
		}
	case v == math.Trunc(v):
		if p.rand.IntN(2) == 0 {
			s.step = func(s *series, _ int64, _ float64) {
				s.value = math.Max(0, math.Round(s.value+p.rand.NormFloat64()*math.Sqrt(v)/2))
			}
		}
	default:
		unit := math.Pow10(min(decimals(v), 9))
		s.step = func(s *series, _ int64, _ float64) {
			s.value = math.Round(s.value*p.lognormal(0.05)*unit) / unit
		}
	}
}

// pages are made up after what the targets of a cluster show.
var pages = map[string]func() *page{
	"node-exporter":      func() *page { return parsePage(nodePage(), 1, 600) },
	"cadvisor":           func() *page { return parsePage(cadvisorPage(), 1, 600) },
	"cadvisor-only-new":  newCadvisor,
	"kubelet":            func() *page { return parsePage(kubeletPage(), 1, 600) },
	"kube-state-metrics": func() *page { return parsePage(statePage(), 1, 600) },
	"apiserver":          func() *page { return parsePage(apiserverPage(), 1, 600) },
}

// newCadvisor is the page without what the frame before had already.
func newCadvisor() *page {
	p := parsePage(cadvisorPage(), 1, 600)
	p.onlyNew = true
	return p
}

// writer writes text format with values that look grown.
type writer struct {
	strings.Builder
	rand *rand.Rand
}

func newWriter() *writer { return &writer{rand: rand.New(rand.NewPCG(7, 7))} }

func (w *writer) typ(name, typ string) { fmt.Fprintf(w, "# TYPE %s %s\n", name, typ) }

func (w *writer) line(name, labels, value string) { fmt.Fprintf(w, "%s{%s} %s\n", name, labels, value) }

func (w *writer) num(most float64, decimals int) string {
	return strconv.FormatFloat(math.Pow(most, 0.3+0.7*w.rand.Float64()), 'f', decimals, 64)
}

// histogram writes one, which is empty with the given probability.
func (w *writer) histogram(name, labels string, buckets int, empty float64) {
	n, sum := 0.0, 0.0
	busy := w.rand.Float64() >= empty
	peak := 1 + w.rand.IntN(buckets)
	for i := range buckets {
		if busy && i < peak {
			n += math.Trunc(math.Exp(6 * w.rand.Float64()))
			sum += n * 0.0012345678
		}
		w.line(name+"_bucket", fmt.Sprintf(`%s,le="%g"`, labels, 0.001*math.Pow(2, float64(i))), fmt.Sprint(n))
	}
	w.line(name+"_bucket", labels+`,le="+Inf"`, fmt.Sprint(n))
	w.line(name+"_sum", labels, fmt.Sprint(sum))
	w.line(name+"_count", labels, fmt.Sprint(n))
}

func nodePage() string {
	w := newWriter()
	w.typ("node_cpu_seconds_total", "counter")
	for cpu := range 8 {
		for _, mode := range []string{"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"} {
			w.line("node_cpu_seconds_total", fmt.Sprintf(`cpu="%d",mode=%q`, cpu, mode), w.num(1e4, 2))
		}
	}
	for i := range 50 {
		w.line(fmt.Sprintf("node_memory_%d_bytes", i), "", fmt.Sprint(4096*w.rand.IntN(1<<20)))
	}
	for i := range 60 {
		name := fmt.Sprintf("node_device_%d_total", i)
		w.typ(name, "counter")
		for dev := range 6 {
			value := "0"
			if w.rand.IntN(4) == 0 {
				value = w.num(1e8, 0)
			}
			w.line(name, fmt.Sprintf(`device="eth%d"`, dev), value)
		}
	}
	for i := range 12 {
		for fs := range 15 {
			w.line(fmt.Sprintf("node_filesystem_%d", i), fmt.Sprintf(`mountpoint="/m%d"`, fs), fmt.Sprint(w.rand.IntN(3)))
		}
	}
	for i := range 120 {
		w.line(fmt.Sprintf("node_misc_%d", i), "", w.num(1e3, max(0, w.rand.IntN(8)-5)))
	}
	return w.String()
}

func cadvisorPage() string {
	w := newWriter()
	seconds := []string{"container_cpu_usage_seconds_total", "container_cpu_system_seconds_total", "container_cpu_user_seconds_total"}
	for i := range 50 {
		name := fmt.Sprintf("container_thing_%d", i)
		counter := i%2 == 0
		if i < len(seconds) {
			name, counter = seconds[i], true
		}
		if counter {
			w.typ(name, "counter")
		}
		for c := range 20 {
			value := "0"
			switch {
			case i < len(seconds):
				value = w.num(1e3, 9)
			case i < 8:
				value = fmt.Sprint(4096 * w.rand.IntN(1<<20))
			case i < 12:
				value = w.num(1e6, 0)
			}
			fmt.Fprintf(w, "%s{id=\"/pod%d\"} %s %d\n", name, c, value, 1)
		}
	}
	return w.String()
}

func kubeletPage() string {
	w := newWriter()
	for i := range 80 {
		name := fmt.Sprintf("kubelet_%d_duration_seconds", i)
		w.typ(name, "histogram")
		w.histogram(name, `op="a"`, 14, 0.4)
	}
	for i := range 150 {
		w.line(fmt.Sprintf("go_%d", i), "", w.num(1e6, 0))
	}
	return w.String()
}

func statePage() string {
	w := newWriter()
	for i := range 60 {
		for pod := range 40 {
			w.line(fmt.Sprintf("kube_pod_%d", i), fmt.Sprintf(`pod="p-%d"`, pod), fmt.Sprint(w.rand.IntN(2)))
		}
	}
	for pod := range 40 {
		w.line("kube_pod_created", fmt.Sprintf(`pod="p-%d"`, pod), fmt.Sprint(1_795_351_310+pod/4))
	}
	return w.String()
}

func apiserverPage() string {
	w := newWriter()
	w.typ("apiserver_request_duration_seconds", "histogram")
	for i := range 150 {
		w.histogram("apiserver_request_duration_seconds", fmt.Sprintf(`resource="r%d"`, i), 20, 0.6)
	}
	return w.String()
}
