package discover

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/collector/discover/members"
)

// fakeMembers are members that a test sets.
type fakeMembers struct {
	self    string
	mu      sync.Mutex
	ring    *members.Ring
	changed chan struct{}
}

func newFakeMembers(self string, ring *members.Ring) *fakeMembers {
	return &fakeMembers{self: self, ring: ring, changed: make(chan struct{})}
}

func (f *fakeMembers) Self() string { return f.self }

func (f *fakeMembers) Ring() *members.Ring {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ring
}

func (f *fakeMembers) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *fakeMembers) set(r *members.Ring) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ring = r
	close(f.changed)
	f.changed = make(chan struct{})
}

const sharedJobs = `
scrape_configs:
- job_name: nodes
  static_configs: [{targets: [n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11, n12, n13, n14, n15, n16, n17, n18, n19, n20, n21, n22, n23], labels: {l: %s}}]
  relabel_configs:
  - {source_labels: [__address__], target_label: instance}
  - {source_labels: [__address__], target_label: __metrics_path__, replacement: /api/v1/nodes/$1/proxy/metrics}
  - {target_label: __address__, replacement: "kubernetes.default.svc:443"}
- job_name: proxied
  static_configs: [{targets: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]}]
  relabel_configs:
  - {source_labels: [__address__], target_label: instance}
  - {target_label: __address__, replacement: "proxy:1"}
`

// TestShards has fixed shards find each target once, the same ones whatever
// their labels, also where all are behind one address.
func TestShards(t *testing.T) {
	const shards = 3
	type place struct{ job, url, instance string }
	owners := func(label string) (map[place]int, map[int]int) {
		jobs := load(t, fmt.Sprintf(sharedJobs, label))
		by, count := map[place]int{}, map[int]int{}
		for i := range shards {
			m, l, _, _ := start(t)
			require.NoError(t, m.Apply(Config{Jobs: jobs, Members: Shard{i, shards}}))
			require.Eventually(t, func() bool { return len(l.get()) == 2 && l.get()[0].Total == 24 }, patience, time.Millisecond)
			for _, j := range l.get() {
				require.Equal(t, map[string]int{"nodes": 24, "proxied": 16}[j.Config.JobName], j.Total)
				for _, target := range j.Targets {
					p := place{j.Config.JobName, target.URL, target.Labels.Get("instance")}
					require.NotContains(t, by, p)
					by[p] = i
					count[i]++
					require.True(t, target.From.IsZero() && target.Until.IsZero())
				}
			}
		}
		return by, count
	}
	by, count := owners("v")
	require.Len(t, by, 40)
	require.Len(t, count, shards)
	again, _ := owners("w")
	require.Equal(t, by, again)
	for job, n := range map[string]int{"nodes": 24, "proxied": 16} {
		in := map[int]int{}
		for p, i := range by {
			if p.job == job {
				in[i]++
			}
		}
		require.Len(t, in, shards, job)
		require.Less(t, slices.Max(slices.Collect(maps.Values(in))), n)
	}
}

func TestBadShard(t *testing.T) {
	m, _, _, _ := start(t)
	for _, s := range []Shard{{0, 0}, {-1, 2}, {2, 2}} {
		require.ErrorContains(t, m.Apply(Config{Members: s}), "must be from 0 to one less")
	}
}

// TestHandOver lets a replica join and another one leave, and looks at what each
// is told to scrape and when.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := load(t, fmt.Sprintf(sharedJobs, "v"))
		type replica struct {
			who *fakeMembers
			l   *lists
			m   *Manager
		}
		run := func(self string, ring *members.Ring) *replica {
			l := &lists{}
			m, err := New(l.apply, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			r := &replica{newFakeMembers(self, ring), l, m}
			require.NoError(t, m.Apply(Config{Jobs: jobs, Members: r.who}))
			m.Start()
			time.Sleep(time.Second)
			synctest.Wait()
			return r
		}
		alone := members.Fixed("a")
		a := run("a", alone)
		all := a.l.ids()
		require.Len(t, all, 40)

		at := time.Now().Add(5 * time.Second)
		both := alone.Then(at, "a", "b")
		b := run("b", both)
		a.who.set(both)
		synctest.Wait()
		require.Equal(t, all, a.l.ids(), "before the time nothing is taken away")
		given := b.l.ids()
		require.NotEmpty(t, given)
		require.Less(t, len(given), 40)
		untils, froms := 0, 0
		for _, j := range a.l.get() {
			require.Empty(t, j.Moved)
			for _, target := range j.Targets {
				require.True(t, target.From.IsZero())
				if _, ok := given[target.ID]; ok {
					untils++
					require.Equal(t, at, target.Until)
				} else {
					require.True(t, target.Until.IsZero())
				}
			}
		}
		for _, j := range b.l.get() {
			for _, target := range j.Targets {
				froms++
				require.Equal(t, at, target.From)
			}
		}
		require.Equal(t, len(given), untils)
		require.Equal(t, len(given), froms)

		// The time comes without anybody saying so.
		time.Sleep(5 * time.Second)
		synctest.Wait()
		kept := a.l.ids()
		require.Equal(t, 40, len(kept)+len(given))
		moved := map[uint64]bool{}
		for _, j := range a.l.get() {
			for _, id := range j.Moved {
				moved[id] = true
			}
		}
		require.Equal(t, given, moved)
		for _, j := range b.l.get() {
			for _, target := range j.Targets {
				require.Equal(t, at, target.From, "it stays, so that the target is the same")
			}
		}

		// What vanishes is not said to have moved.
		fewer := load(t, fmt.Sprintf(sharedJobs, "v"))[1:]
		require.NoError(t, a.m.Apply(Config{Jobs: fewer, Members: a.who}))
		synctest.Wait()
		for _, j := range a.l.get() {
			require.Len(t, j.Moved, j.Total-len(j.Targets), "what is the other one's stays so")
			for _, id := range j.Moved {
				require.Contains(t, given, id)
			}
			require.Equal(t, "proxied", j.Config.JobName)
		}

		// And everything comes back when the other one leaves.
		require.NoError(t, a.m.Apply(Config{Jobs: jobs, Members: a.who}))
		a.who.set(members.Fixed("a"))
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, all, a.l.ids())
		a.m.Stop()
		b.m.Stop()
	})
}

// TestNothingWithoutMembers is a replica that has not heard of anybody yet.
func TestNothingWithoutMembers(t *testing.T) {
	m, l, _, _ := start(t)
	who := newFakeMembers("a", nil)
	require.NoError(t, m.Apply(Config{Jobs: load(t, fmt.Sprintf(sharedJobs, "v")), Members: who}))
	require.Eventually(t, func() bool { return len(l.get()) == 2 && l.get()[0].Total == 24 }, patience, time.Millisecond)
	require.Empty(t, l.ids())
	who.set(members.Fixed("a"))
	require.Eventually(t, func() bool { return len(l.ids()) == 40 }, patience, time.Millisecond)
	require.NoError(t, m.HandedOver(t.Context()))
}

// TestCollectorsAreOthers: who divides targets among others has none itself, also
// while there are no others.
func TestCollectorsAreOthers(t *testing.T) {
	for _, who := range []Membership{Collectors("c-0", "c-1"), Collectors(), newFakeMembers("", nil), newFakeMembers("", members.Fixed())} {
		m, l, _, _ := start(t)
		require.NoError(t, m.Apply(Config{Jobs: load(t, fmt.Sprintf(sharedJobs, "v")), Members: who}))
		require.Eventually(t, func() bool { return len(l.get()) == 2 && l.get()[0].Total == 24 }, patience, time.Millisecond)
		require.Empty(t, l.ids())
	}
}
