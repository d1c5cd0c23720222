package load

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// Page is one target's page, which changes every time it is rendered. It is not
// safe for concurrent use.
type Page struct {
	cluster *Cluster
	tmpl    *template
	// node is the one that the page is about, and salt its own.
	node int
	salt uint64
	// nodes are those whose pods the page tells of.
	nodes []int
	// shuffled says that the objects of a family come in another order each time.
	shuffled bool

	step        int64
	generations []int64
	random      *rand.Rand

	families []familyPage
	chunks   []chunk
	clocks   []housekeeping
	clockOf  map[string]int32
	order    []int // scratch
}

// familyPage is a range of chunks, and within it, for a shuffled page, ranges
// that stay together.
type familyPage struct {
	first, end int // the header's and all that are never moved
	units      []unit
}

type unit struct{ first, end int }

// chunk is constant text, and perhaps one value after it.
type chunk struct {
	text     []byte
	lines    int32 // complete ones in text
	clock    int32 // index of the timestamp's, or -1
	motion   *motion
	phase    int64
	optional bool // the series may be absent
}

// housekeeping is when cAdvisor looks at a container: at its own pace, so that
// a scrape may find what the last one found.
type housekeeping struct {
	period, phase int64 // ms
	count         int64
	fresh         bool
}

func (h *housekeeping) time() int64 { return h.phase + h.count*h.period }

// Count says what a rendered page holds.
type Count struct {
	Lines int
	// Fresh are lines whose timestamp was not on the page before: all of those
	// that have none, and samples that a database would keep.
	Fresh int
}

// Render appends the next state of the page.
func (p *Page) Render(dst []byte, now time.Time) ([]byte, Count) {
	if g := p.cluster.generations(p.nodes, now); !slices.Equal(g, p.generations) {
		p.generations = g
		p.build()
	}
	ms := now.UnixMilli()
	for i := range p.clocks {
		h := &p.clocks[i]
		n := (ms - h.phase) / h.period
		h.fresh, h.count = n != h.count, n
	}
	var count Count
	for _, f := range p.families {
		for i := f.first; i < f.end; i++ {
			dst = p.append(dst, &p.chunks[i], &count)
		}
		for _, u := range p.shuffle(len(f.units)) {
			for i := f.units[u].first; i < f.units[u].end; i++ {
				dst = p.append(dst, &p.chunks[i], &count)
			}
		}
	}
	p.step++
	return dst, count
}

func (p *Page) shuffle(n int) []int {
	p.order = p.order[:0]
	for i := range n {
		p.order = append(p.order, i)
	}
	p.random.Shuffle(n, func(i, j int) { p.order[i], p.order[j] = p.order[j], p.order[i] })
	return p.order
}

func (p *Page) append(dst []byte, c *chunk, count *Count) []byte {
	step := p.step + c.phase
	fresh := true
	if c.clock >= 0 {
		h := &p.clocks[c.clock]
		// The value changes when cAdvisor looks, not when it is asked.
		step, fresh = h.count+c.phase, h.fresh
	}
	if c.optional && !c.motion.present(step) {
		return dst
	}
	dst = append(dst, c.text...)
	count.Lines += int(c.lines)
	count.Fresh += int(c.lines)
	if c.motion == nil && c.clock < 0 {
		return dst
	}
	if c.motion != nil {
		dst = appendValue(dst, c.motion.at(step))
	}
	if c.clock >= 0 {
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, p.clocks[c.clock].time(), 10)
	}
	count.Lines++
	if fresh {
		count.Fresh++
	}
	return append(dst, '\n')
}

// build lays the page out for the pods that there are now.
func (p *Page) build() {
	p.families, p.chunks = p.families[:0], p.chunks[:0]
	b := builder{page: p}
	for i := range p.tmpl.families {
		f := &p.tmpl.families[i]
		first := len(p.chunks)
		b.constant([]byte(f.header), 0)
		if p.shuffled {
			b.flush()
			b.family = familyPage{first: first, end: len(p.chunks)}
			b.units(f)
			p.families = append(p.families, b.family)
			continue
		}
		for l := range f.lines {
			line := &f.lines[l]
			for _, id := range p.identities(line) {
				b.line(line, id)
			}
		}
		b.flush()
		p.families = append(p.families, familyPage{first: first, end: len(p.chunks)})
	}
}

// identities are those of which a line is told, on a page that is about one node.
func (p *Page) identities(l *lineTemplate) []identity {
	if !slices.Contains(podScopes, l.scope) {
		return []identity{{node: p.node, salt: p.salt}}
	}
	var ids []identity
	for i, node := range p.nodes {
		for _, slot := range p.cluster.slots(node, l.object, p.tmpl.objects[l.scope]) {
			ids = append(ids, p.cluster.pod(node, slot, p.generations[i*p.cluster.PodsPerNode+slot]))
		}
	}
	return ids
}

// builder joins constant text into as few chunks as it can.
type builder struct {
	page   *Page
	family familyPage
	text   []byte
	lines  int32
}

func (b *builder) constant(text []byte, lines int32) {
	b.text = append(b.text, text...)
	b.lines += lines
}

func (b *builder) flush() {
	if len(b.text) > 0 {
		b.add(chunk{clock: -1})
	}
}

// add ends the pending text with c.
func (b *builder) add(c chunk) {
	c.text, c.lines = slices.Clone(b.text), b.lines
	b.page.chunks = append(b.page.chunks, c)
	b.text, b.lines = b.text[:0], 0
}

func (b *builder) line(l *lineTemplate, id identity) {
	c := chunk{clock: -1, motion: l.motion, phase: int64(id.salt % maxPhase)}
	if c.optional = l.motion != nil && l.motion.absent != nil; c.optional {
		b.flush()
	}
	from := len(b.text)
	b.text = l.appendText(b.text, id)
	if l.stamped {
		c.clock = b.page.clock(string(cgroup(b.text[from:])))
	}
	b.text = append(b.text, ' ')
	if l.motion == nil {
		b.text = append(b.text, l.value...)
		if !l.stamped {
			b.text = append(b.text, '\n')
			b.lines++
			return
		}
	}
	b.add(c)
}

// maxPhase is by how many steps the values of two pods or nodes may differ: some
// hours of recorded time.
const maxPhase = 2000

// units lays out the lines of a family object by object.
func (b *builder) units(f *familyTemplate) {
	byObject := map[[2]int][]*lineTemplate{}
	for i := range f.lines {
		l := &f.lines[i]
		key := [2]int{int(l.scope), l.object}
		if l.scope == scopePage {
			key[1] = i // every line is an object of its own
		}
		byObject[key] = append(byObject[key], l)
	}
	p := b.page
	for i := range f.lines {
		if f.lines[i].scope == scopePage {
			b.unit([]*lineTemplate{&f.lines[i]}, identity{salt: p.salt})
		}
	}
	for i, node := range p.nodes {
		b.unit(byObject[[2]int{int(scopeNode), 0}], identity{node: node, salt: p.cluster.nodeSalt(node)})
		for slot := range p.cluster.PodsPerNode {
			object := p.cluster.object(node, slot, p.tmpl.objects[scopePod])
			b.unit(byObject[[2]int{int(scopePod), object}], p.cluster.pod(node, slot, p.generations[i*p.cluster.PodsPerNode+slot]))
		}
	}
}

func (b *builder) unit(lines []*lineTemplate, id identity) {
	if len(lines) == 0 {
		return
	}
	first := len(b.page.chunks)
	for _, l := range lines {
		b.line(l, id)
	}
	b.flush()
	b.family.units = append(b.family.units, unit{first, len(b.page.chunks)})
}
