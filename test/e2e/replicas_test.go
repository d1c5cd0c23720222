//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/mangru/mangru/test/cluster"
)

const (
	// replicaInterval takes the place of the configuration's 15 s, so that there is
	// more to count in the same time. How long a handover takes does not depend on it.
	replicaInterval = 5 * time.Second
	// A scrape has the time at which it began. It is due at a time that all replicas
	// know, and begins when the machine gets to it: between two scrapes there is the
	// interval, plus what the second one was late, minus what the first one was. On
	// two processors that run a whole cluster that can be tenths of a second, and with
	// other work beside it more. Less than half of the interval cannot be mistaken:
	// where a scrape is missing there are 5 s more, where there is one too many there
	// are up to 5 s less.
	replicaTolerance = 2 * time.Second
	probeCount       = 24
)

// replicas scales the collector from one replica to three and back to one, then
// replaces that one, while the shop is rolled out anew and its pods are deleted.
// Nothing that was scraped may be missing or there twice, as the targets, the
// replicas and the server's database have it.
func replicas(t *testing.T, k *cluster.Cluster) {
	// With its pods: one that is still there counts as a replica that leaves.
	_, err := k.Kubectl(t.Context(), "delete", "deployment", "observability-collector", "-n", "prometheus",
		"--ignore-not-found", "--cascade=foreground", "--wait")
	require.NoError(t, err)
	none := writeFile(t, t.TempDir(), "none.yaml", "scrape_configs: []\n")
	control := k.ControlCommand(t.Context(), "true").Args
	address := k.ControlAddress().String()
	s := up(t, t.TempDir(), nil, control[:len(control)-1], "--listen", address+":9010", "--ui", address+":3001", "--config", none)
	client := newKubeClient(t, k)
	scrapeShop(t, k)

	began := time.Now()
	deployCollector(t, k, s, "run-replicas.yaml", everyFiveSeconds(collectorObject(t, s)))
	t.Cleanup(func() {
		kubectlAfter(t, k, "-n", "prometheus", "delete", "deployment", "observability-collector", "--ignore-not-found")
	})
	probes := startProbes(t, k, "prometheus", probeCount)
	seen := observe(t, client)
	s.waitForScrapers(probes, 1, 3)
	stopChurn := churn(t, client)

	r := &rollout{t: t, k: k, client: client, probes: probes, site: s}
	r.shop()
	r.scale(3)
	r.shop()
	r.scale(1)
	r.restart()
	churned := stopChurn()
	last := time.Now()
	r.scale(0) // what waits is sent before it ends

	stored := s.readAll(began, time.Now())
	targets := byTarget(t, stored)
	checkProbes(t, probes, targets, last)
	checkOwners(t, seen, targets)
	a := &audit{
		interval: replicaInterval, tolerance: replicaTolerance, last: last, found: map[string]int{},
		moving: r.moving, mayEnd: func(target *storedTarget) bool { return target.up.labels["job"] == "kubernetes-pods" },
		by: func(target *storedTarget, ms int64) string { return strings.Join(seen.by(target, ms), " and ") },
	}
	for _, target := range targets {
		a.target(target)
	}
	t.Logf("%s of scraping; %d pods of the shop deleted", last.Sub(began).Round(time.Second), churned)
	t.Logf("between two scrapes of a target: %s to %s; between samples with times of their own: up to %s", a.shortest, a.longest, a.own)
	t.Logf("found %v", a.found)
	noFaults(t, a.faults)
	require.Greater(t, a.found["targets that ended"], churned/2, "pods came and went")
	require.Greater(t, a.found["pages counted"], 100)
}

// everyFiveSeconds changes a configuration's interval and timeout.
func everyFiveSeconds(object string) string {
	object = strings.Replace(object, "scrape_interval: 15s", "scrape_interval: 5s", 1)
	return strings.Replace(object, "scrape_timeout: 10s", "scrape_timeout: 5s", 1)
}

// scrapeShop asks for the shop's pods to be scraped, until the test is over.
func scrapeShop(t *testing.T, k *cluster.Cluster) {
	t.Helper()
	annotate := func(v string) []string {
		return []string{"patch", "deployment", "shop", "--type=merge", "-p",
			`{"spec": {"template": {"metadata": {"annotations": {"prometheus.io/scrape": ` + v + `}}}}}`}
	}
	_, err := k.Kubectl(t.Context(), annotate(`"true"`)...)
	require.NoError(t, err)
	t.Cleanup(func() { kubectlAfter(t, k, annotate("null")...) })
}

// kubectlAfter runs kubectl when the test's own context is over.
func kubectlAfter(t *testing.T, k *cluster.Cluster, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	_, err := k.Kubectl(ctx, args...)
	require.NoError(t, err)
}

// churn deletes the shop's oldest pod every few seconds, until the function that
// it returns is called, which says how many that were.
func churn(t *testing.T, client kubernetes.Interface) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	var deleted atomic.Int64
	go func() {
		defer close(ended)
		tick := time.NewTicker(7 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			list, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=shop"})
			if err != nil || len(list.Items) == 0 {
				continue
			}
			oldest := slices.MinFunc(list.Items, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
			if client.CoreV1().Pods("default").Delete(ctx, oldest.Name, metav1.DeleteOptions{}) == nil {
				deleted.Add(1)
			}
		}
	}()
	stop = func() int { cancel(); <-ended; return int(deleted.Load()) }
	t.Cleanup(func() { stop() })
	return stop
}

// waitForScrapers waits until so many different replicas have scraped the probes
// in the last interval, and each probe was scraped so many times since.
func (s *site) waitForScrapers(probes []*probe, replicas, times int) {
	s.t.Helper()
	eventually(s.t, time.Minute, fmt.Sprintf("%d replicas", replicas), func() error {
		if now := scrapers(probes, time.Now().Add(-replicaInterval)); len(now) != replicas {
			return fmt.Errorf("scraped by %v", slices.Sorted(maps.Keys(now)))
		}
		return nil
	})
	since := time.Now()
	eventually(s.t, time.Minute, fmt.Sprintf("%d scrapes of each probe", times), func() error {
		for _, p := range probes {
			n := 0
			for _, h := range p.scrapes() {
				if h.at.After(since) {
					n++
				}
			}
			if n < times {
				return fmt.Errorf("%s was scraped %d times", p.address, n)
			}
		}
		return nil
	})
}

// rollout changes what runs.
type rollout struct {
	t      *testing.T
	k      *cluster.Cluster
	client kubernetes.Interface
	probes []*probe
	site   *site

	moves [][2]time.Time // when each change began, and when it was over
}

// moving reports whether a target that was scraped at a time, and then no more,
// may have been on its way from one replica to another. The one that has scraped
// it may have ended, and the other one never have seen it, so that nobody knows
// which series it had.
func (r *rollout) moving(at time.Time) bool {
	return slices.ContainsFunc(r.moves, func(m [2]time.Time) bool {
		return at.After(m[0].Add(-replicaInterval)) && at.Before(m[1].Add(replicaInterval))
	})
}

func (r *rollout) kubectl(args ...string) {
	r.t.Helper()
	_, err := r.k.Kubectl(r.t.Context(), args...)
	require.NoError(r.t, err)
}

// shop begins to roll the shop out anew, and does not wait for it.
func (r *rollout) shop() { r.t.Helper(); r.kubectl("rollout", "restart", "deployment/shop") }

// scale waits until as many replicas as wanted share the probes, and all others
// have ended.
func (r *rollout) scale(n int) {
	r.t.Helper()
	began := time.Now()
	r.kubectl("-n", "prometheus", "scale", "deployment/observability-collector", fmt.Sprintf("--replicas=%d", n))
	r.settled(n)
	if n > 0 {
		r.site.waitForScrapers(r.probes, n, 0)
	}
	r.moved(began, fmt.Sprintf("%d replicas", n))
	if n > 0 {
		r.site.waitForScrapers(r.probes, n, 3)
	}
}

// restart replaces the replicas, each by a new one.
func (r *rollout) restart() {
	r.t.Helper()
	began := time.Now()
	r.kubectl("-n", "prometheus", "rollout", "restart", "deployment/observability-collector")
	r.kubectl("-n", "prometheus", "rollout", "status", "deployment/observability-collector", "--timeout=60s")
	r.settled(1)
	r.site.waitForScrapers(r.probes, 1, 0)
	r.moved(began, "the replica is another one")
	r.site.waitForScrapers(r.probes, 1, 2)
}

// moved notes that a change is over.
func (r *rollout) moved(began time.Time, what string) {
	r.t.Logf("%s after %s", what, time.Since(began).Round(100*time.Millisecond))
	r.moves = append(r.moves, [2]time.Time{began, time.Now()})
}

// settled waits until there are as many pods of the collector as wanted, none
// of which is ending.
func (r *rollout) settled(n int) {
	r.t.Helper()
	eventually(r.t, time.Minute, fmt.Sprintf("%d pods of the collector", n), func() error {
		list, err := r.client.CoreV1().Pods("prometheus").List(r.t.Context(), metav1.ListOptions{LabelSelector: "app=observability-collector"})
		if err == nil && len(list.Items) != n {
			err = fmt.Errorf("there are %d", len(list.Items))
		}
		return err
	})
}

// probeAudit holds what was stored of the probes against what they saw.
type probeAudit struct {
	faults []string
	by     map[string]bool // addresses of all scrapers

	scrapes, handovers, marks, unmarked int
}

func (a *probeAudit) fault(format string, args ...any) {
	a.faults = append(a.faults, fmt.Sprintf(format, args...))
}

// rhythm checks when a probe was scraped up to a time, and returns those scrapes.
func (a *probeAudit) rhythm(p *probe, last time.Time) []hit {
	hits := slices.DeleteFunc(p.scrapes(), func(h hit) bool { return h.at.After(last) })
	for i, h := range hits {
		a.scrapes++
		a.by[h.from] = true
		if i == 0 {
			continue
		}
		before := hits[i-1]
		if before.from != h.from {
			a.handovers++
		}
		// The first one of all does not wait for its turn.
		if gap := h.at.Sub(before.at); gap > replicaInterval+replicaTolerance || i > 1 && gap < replicaInterval-replicaTolerance {
			a.fault("%s: scraped %s by %s, then %s by %s (%s)", p.address,
				clock(before.at.UnixMilli()), before.from, clock(h.at.UnixMilli()), h.from, gap.Round(time.Millisecond))
		}
	}
	if len(hits) == 0 || last.Sub(hits[len(hits)-1].at) > replicaInterval+replicaTolerance {
		a.fault("%s: not scraped any more at the end", p.address)
	}
	return hits
}

// pages checks that each page of a probe is stored, once, with what was on it.
func (a *probeAudit) pages(p *probe, hits []hit, target *storedTarget) {
	series := map[string][]storedSample{}
	for _, one := range target.series {
		series[one.name()] = one.samples
	}
	flap := map[int64]bool{} // by time: whether it is a mark
	for _, sample := range series["probe_flap"] {
		flap[sample.ms] = sample.stale
	}
	for _, sample := range append(slices.Clone(series["probe_steady"]), series["probe_page"]...) {
		if sample.stale {
			a.fault("%s: a series that was always there has a mark %s", p.address, clock(sample.ms))
		}
	}
	pages := series["probe_page"]
	if len(pages) < len(hits) || len(series["probe_steady"]) != len(pages) {
		a.fault("%s: %d pages served, %d and %d stored", p.address, len(hits), len(pages), len(series["probe_steady"]))
		return
	}
	for i, h := range hits {
		n, page := i+1, pages[i]
		if page.value != float64(n) || h.at.Sub(time.UnixMilli(page.ms)).Abs() > replicaTolerance {
			a.fault("%s: page %d of %s is stored as %g of %s", p.address, n, clock(h.at.UnixMilli()), page.value, clock(page.ms))
		}
		stale, there := flap[page.ms]
		ended := n > 1 && !flaps(n) && flaps(n-1)
		switch {
		case flaps(n) == (there && !stale) && ended == (there && stale):
			if ended {
				a.marks++
			}
		case ended && !there && hits[i-1].from != h.from:
			a.unmarked++ // who takes a target over does not know what was there before
		default:
			a.fault("%s: page %d, %s: probe_flap stored: %v, as a mark: %v", p.address, n, clock(page.ms), there, stale)
		}
	}
}

// checkProbes audits all probes up to a time.
func checkProbes(t *testing.T, probes []*probe, targets []*storedTarget, last time.Time) {
	t.Helper()
	a := probeAudit{by: map[string]bool{}}
	for _, p := range probes {
		hits := a.rhythm(p, last)
		i := slices.IndexFunc(targets, func(target *storedTarget) bool { return target.up.labels["instance"] == p.address })
		if i < 0 {
			a.fault("%s: nothing is stored", p.address)
			continue
		}
		a.pages(p, hits, targets[i])
	}
	t.Logf("%d probes: %d scrapes by %d replicas, each stored once; %d handovers; %d marks where a series ended, %d missing since the target changed hands just then",
		len(probes), a.scrapes, len(a.by), a.handovers, a.marks, a.unmarked)
	noFaults(t, a.faults)
	// One, three, one and another one.
	require.Len(t, a.by, 4)
	require.Greater(t, a.handovers, probeCount)
}

// noFaults fails with the first of many.
func noFaults(t *testing.T, faults []string) {
	t.Helper()
	for _, fault := range faults[:min(len(faults), 40)] {
		t.Log(fault)
	}
	if len(faults) > 0 {
		t.Errorf("%d faults", len(faults))
	}
}

// checkOwners has each scrape that is stored made by one replica.
func checkOwners(t *testing.T, seen *observer, targets []*storedTarget) {
	t.Helper()
	known, unknown := 0, 0
	for _, target := range targets {
		for _, sample := range target.up.samples {
			if sample.stale {
				continue
			}
			switch by := seen.by(target, sample.ms); len(by) {
			case 0:
				unknown++ // it was not looked at in time, before its pod ended
			case 1:
				known++
			default:
				t.Errorf("%s: scraped %s by %v", target, clock(sample.ms), by)
			}
		}
	}
	t.Logf("%d scrapes by one replica each; of %d nobody knows", known, unknown)
	require.Less(t, unknown, known/20, "almost every scrape has somebody who says that he made it")
}

// TestReplicas is the part of TestCluster about replicas alone, for those who
// work on it, with a cluster that stays.
func TestReplicas(t *testing.T) {
	if os.Getenv("MANGRU_KEEP_CLUSTER") == "" {
		t.Skip("TestCluster has it; MANGRU_KEEP_CLUSTER=1 runs it alone")
	}
	k := startCluster(t)
	replicas(t, k)
	allocation(t, k)
}
