package members

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// world is a made-up cluster: pods with processes in them, an API server that
// cuts times off to seconds, and news that takes its time to reach each process.
type world struct {
	t      *testing.T
	rnd    *rand.Rand
	now    time.Time
	pods   []*simPod
	agenda map[time.Time][]func()
	keys   []uint64
	// truth hears everything at once.
	truth *table
	// crashes is whether pods may end without being asked to.
	crashes bool
	// quiet is until when no other pod crashes or is asked to leave: one fault
	// at a time.
	quiet   time.Time
	served  bool // whether anybody was effective yet
	checked int  // scrapes looked at
}

type simPod struct {
	state podState // as the API server has it
	gone  bool
	proc  *simProcess
	// unsure is until when a pod that has crashed may be missed.
	unsure time.Time
}

// simProcess is a replica: what it has heard, and what it has not yet.
type simProcess struct {
	pod   *simPod
	table *table
	inbox []news // in order
}

type news struct {
	at    time.Time
	apply func(t *table, now time.Time)
}

const (
	simStep = 200 * time.Millisecond
	// simLate is how late news may be: the API server's times are cut off by up
	// to a second.
	simLate = DefaultSettle - time.Second - simStep
)

func newWorld(t *testing.T, seed uint64, crashes bool) *world {
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_700_000_000, 0), agenda: make(map[time.Time][]func()),
		truth: newTable(DefaultSettle), crashes: crashes,
	}
	for range 30 {
		w.keys = append(w.keys, w.rnd.Uint64())
	}
	return w
}

func (w *world) in(d time.Duration, do func()) {
	at := w.now.Add(max(d, simStep)).Truncate(simStep)
	w.agenda[at] = append(w.agenda[at], do)
}

func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rnd.Int64N(int64(most-least)))
}

func (w *world) second() time.Time { return w.now.Truncate(time.Second) }

// tell has the API server send a pod's state to all watchers.
func (w *world) tell(p *simPod) {
	st, gone := p.state, p.gone
	apply := func(t *table, now time.Time) {
		if t.pods[st.uid] == nil && gone {
			return
		}
		t.put(st)
		if gone {
			t.remove(st.uid, now)
		}
	}
	apply(w.truth, w.now)
	for _, other := range w.pods {
		if q := other.proc; q != nil {
			at := w.now.Add(w.between(0, simLate))
			if n := len(q.inbox); n > 0 && at.Before(q.inbox[n-1].at) {
				at = q.inbox[n-1].at
			}
			q.inbox = append(q.inbox, news{at, apply})
		}
	}
}

// create adds a pod; its process comes up later, and is ready later still.
func (w *world) create(name string, onReady func()) *simPod {
	p := &simPod{state: podState{uid: fmt.Sprintf("%s-%d", name, len(w.pods)), name: name, created: w.second(), since: w.second()}}
	w.pods = append(w.pods, p)
	w.tell(p)
	// The kubelet takes more than a second to start a container.
	up := w.between(1500*time.Millisecond, 4*time.Second)
	w.in(up, func() { w.start(p) })
	w.in(up+w.between(simStep, 3*time.Second), func() {
		if p.state.leaving.IsZero() {
			w.ready(p)
			onReady()
		}
	})
	return p
}

func (w *world) start(p *simPod) {
	if p.gone {
		return
	}
	q := &simProcess{pod: p, table: newTable(DefaultSettle)}
	p.proc = q
	for _, other := range w.pods {
		if !other.gone {
			q.table.put(other.state)
		}
	}
}

func (w *world) ready(p *simPod) {
	if p.state.leaving.IsZero() && !p.gone {
		p.state.ready, p.state.since = true, w.second()
		w.tell(p)
	}
}

func (w *world) delete(p *simPod) {
	if p.state.leaving.IsZero() && !w.now.Before(w.quiet) {
		p.state.leaving, p.state.grace = w.second(), 30*time.Second
		w.tell(p)
	}
}

// crash ends a process; the kubelet notices, and starts it again.
func (w *world) crash(p *simPod) {
	if p.proc == nil || !p.state.ready || !p.state.leaving.IsZero() || w.now.Before(w.quiet) {
		return
	}
	others := 0
	for _, q := range w.some() {
		if e := w.truth.pods[q.state.uid]; q != p && e != nil && e.serves(w.now) {
			others++
		}
	}
	if others == 0 {
		return
	}
	w.quiet = w.now.Add(30 * time.Second)
	p.proc = nil
	p.unsure = w.now.Add(time.Hour)
	w.in(w.between(simStep, time.Second), func() {
		p.state.ready, p.state.since = false, w.second()
		p.unsure = p.state.since.Add(DefaultSettle)
		w.tell(p)
	})
	w.in(w.between(2*time.Second, 10*time.Second), func() {
		w.start(p)
		w.in(w.between(time.Second, 3*time.Second), func() { w.ready(p) })
	})
}

// step lets news arrive, processes end, and everybody scrape.
func (w *world) step() {
	w.now = w.now.Add(simStep)
	do := w.agenda[w.now]
	delete(w.agenda, w.now)
	for _, f := range do {
		f()
	}
	for _, p := range w.pods {
		q := p.proc
		if q == nil {
			continue
		}
		for len(q.inbox) > 0 && !q.inbox[0].at.After(w.now) {
			q.inbox[0].apply(q.table, w.now)
			q.inbox = q.inbox[1:]
		}
		q.table.prune(w.now)
		if done, _ := q.table.handedOver(p.state.uid, w.now); done {
			p.proc, p.gone = nil, true
			w.tell(p)
		}
	}
	w.truth.prune(w.now)
	w.check()
}

// check lets everybody scrape what it thinks is its own.
func (w *world) check() {
	rings := make(map[*simPod]*Ring)
	for _, p := range w.pods {
		if p.proc != nil {
			rings[p] = p.proc.table.ring(w.now)
		}
	}
	truth := w.truth.ring(w.now)
	for _, e := range w.truth.pods {
		w.served = w.served || e.serves(w.now)
	}
	for _, key := range w.keys {
		var by []string
		for p, r := range rings {
			if s, ok := r.Share(key, p.state.name, w.now); ok && s.Contains(w.now) {
				by = append(by, p.state.name)
			}
		}
		require.LessOrEqual(w.t, len(by), 1, "%s: scraped by all of %v", w.now, by)
		w.checked++
		owner := truth.Owner(key, w.now)
		if len(by) == 1 {
			require.Equal(w.t, owner, by[0], "%s", w.now)
			continue
		}
		i := slices.IndexFunc(w.pods, func(p *simPod) bool { return p.state.name == owner })
		switch {
		case !w.served && (i < 0 || w.pods[i].proc == nil): // nobody has started yet
		case w.crashes && i >= 0 && (w.pods[i].proc == nil || w.now.Before(w.pods[i].unsure)):
		default:
			w.t.Fatalf("%s: nobody scrapes what %q owns (%d)", w.now, owner, i)
		}
	}
}

func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.step()
	}
}

func (w *world) some() (out []*simPod) {
	for _, p := range w.pods {
		if !p.gone && p.state.leaving.IsZero() {
			out = append(out, p)
		}
	}
	return out
}

// TestOneScraperAlways lets replicas come, go and roll while news is late, and
// looks at every scrape of every target.
func TestOneScraperAlways(t *testing.T) {
	for seed := range uint64(24) {
		crashes := seed%4 == 3
		t.Run(fmt.Sprintf("seed=%d,crashes=%v", seed, crashes), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed, crashes)
			n := 0
			add := func(onReady func()) {
				n++
				w.create(fmt.Sprintf("c-%03d-%d", w.rnd.IntN(1000), n), onReady)
			}
			for range 1 + w.rnd.IntN(4) {
				add(func() {})
				w.run(w.between(simStep, 2*time.Second))
			}
			for range 25 {
				w.run(w.between(simStep, 8*time.Second))
				pods := w.some()
				p := pods[w.rnd.IntN(len(pods))]
				switch k := w.rnd.IntN(5); {
				case k == 0:
					add(func() {})
				case k == 1 && len(pods) > 1:
					w.delete(p) // fewer replicas
				case k == 2:
					add(func() { w.delete(p) }) // a surge pod takes its place
				case k == 3:
					w.delete(p) // it is evicted, and replaced
					add(func() {})
				case crashes:
					w.crash(p)
				}
			}
			w.run(time.Minute)
			require.NotEmpty(t, w.some())
			require.Positive(t, w.checked)
			t.Log(n, "pods,", w.checked, "scrapes")
		})
	}
}

// TestNobodyWaitsForThoseWhoAreGone: a pod that leaves and has nobody to leave its
// targets to stops scraping, but may be there for a while. Replicas that are made
// after that begin at once; those that were made before are waited for.
func TestNobodyWaitsForThoseWhoAreGone(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1_700_000_000, int64(s*1e9)) }
	for _, tt := range []struct {
		made  float64 // when the new pod is, the old one being asked to leave at 100
		owner string  // at 108, while none of them is ready
	}{{99, "old"}, {101, "old"}, {104, "old"}, {105, "new"}, {107, "new"}} {
		table := newTable(DefaultSettle)
		table.put(podState{uid: "1", name: "old", created: at(0), ready: true, since: at(3)})
		table.put(podState{uid: "1", name: "old", created: at(0), ready: true, since: at(3), leaving: at(100), grace: 30 * time.Second})
		if tt.made <= 105 { // who hears of it later has decided
			table.put(podState{uid: "2", name: "new", created: at(tt.made), since: at(tt.made)})
		}
		done, again := table.handedOver("1", at(104))
		require.False(t, done)
		require.Equal(t, at(105), again)
		done, _ = table.handedOver("1", at(105))
		require.Equal(t, tt.owner == "new", done, "made at %v", tt.made)
		table.put(podState{uid: "2", name: "new", created: at(tt.made), since: at(tt.made)})
		require.Equal(t, []string{tt.owner}, table.ring(at(108)).Members(at(108)), "made at %v", tt.made)
		require.Equal(t, []string{"old"}, table.ring(at(100)).Members(at(104.9)))
		require.Equal(t, []string{"new"}, table.ring(at(108)).Members(at(115)), "half of its time is for sending")
	}
}

// TestShares looks at the spread, and that one of N moves when a member comes.
func TestShares(t *testing.T) {
	const keys = 20_000
	rnd := rand.New(rand.NewPCG(1, 2))
	four, five := Fixed("a", "b", "c", "d"), Fixed("e", "d", "c", "b", "a")
	count := map[string]int{}
	moved := 0
	for range keys {
		k := rnd.Uint64()
		before, after := four.Owner(k, time.Time{}), five.Owner(k, time.Time{})
		count[before]++
		if before != after {
			require.Equal(t, "e", after, "only the new member gains")
			moved++
		}
	}
	for name, n := range count {
		require.InDelta(t, keys/4, n, keys/100, name)
	}
	require.InDelta(t, keys/5, moved, keys/100)
}

func TestRingSpans(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	r := Fixed("a").Then(at(10), "b").Then(at(20), "a").Then(at(30))
	share := func(self string, now int) string {
		s, ok := r.Share(7, self, at(now))
		if !ok {
			return "none"
		}
		text := func(t time.Time) any {
			if t.IsZero() {
				return "-"
			}
			return t.Unix()
		}
		return fmt.Sprint(text(s.From), " ", text(s.Until))
	}
	require.Equal(t, "- 10", share("a", 0))
	require.Equal(t, "10 20", share("b", 9))
	require.Equal(t, "- 20", share("b", 10))
	require.Equal(t, "20 30", share("a", 10))
	require.Equal(t, "none", share("b", 20))
	require.Equal(t, "none", share("a", 30))
	require.Equal(t, at(20), r.Next(at(10)))
	require.True(t, r.Next(at(30)).IsZero())
	require.Empty(t, r.Owner(7, at(30)))
	require.Equal(t, []string{"b"}, r.Members(at(19)))
	var none *Ring
	require.Empty(t, none.Owner(7, at(0)))
	require.Empty(t, none.Members(at(0)))
	_, ok := none.Share(7, "a", at(0))
	require.False(t, ok)
}
