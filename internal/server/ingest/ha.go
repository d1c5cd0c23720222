package ingest

import (
	"sync"
	"time"
)

// replica is a pair of cluster and replica that some series have.
type replica struct{ cluster, name string }

// replicas knows which replica of each cluster is elected. It is safe for
// concurrent use.
type replicas struct {
	mu       sync.Mutex
	numbers  map[replica]uint16 // from 1
	all      []replica
	clusters map[string]*election
}

// election is who is elected in a cluster.
type election struct {
	replica string
	seen    time.Time // when it last sent
}

// maxReplicas bounds the pairs of cluster and replica of a workspace.
const maxReplicas = 10_000

// number returns the number of a replica, zero if there are too many.
func (r *replicas) number(cluster, name string) uint16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.numbers[replica{cluster, name}]
	if !ok && len(r.all) < maxReplicas {
		if r.numbers == nil {
			r.numbers = make(map[replica]uint16)
		}
		r.all = append(r.all, replica{cluster, name})
		n = uint16(len(r.all))
		r.numbers[r.all[n-1]] = n
	}
	return n
}

// verdict says what is done with the samples of a replica.
type verdict uint8

const (
	undecided verdict = iota
	accept
	duplicate
	tooManyClusters
)

// judge says whether the samples of a replica are taken now, and elects it if
// its cluster has nobody who is alive. It also returns whether that changed the
// one who is elected.
func (r *replicas) judge(number uint16, now time.Time, ha *HA) (v verdict, changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	who := r.all[number-1]
	e := r.clusters[who.cluster]
	switch {
	case e == nil:
		if !r.room(now, ha) {
			return tooManyClusters, false
		}
		r.clusters[who.cluster] = &election{who.name, now}
		return accept, false
	case e.replica == who.name:
		e.seen = now
		return accept, false
	case now.Sub(e.seen) > ha.Failover:
		*e = election{who.name, now}
		return accept, true
	}
	return duplicate, false
}

// forgetClusters is how many times the failover a silent cluster is remembered
// when another one needs its place.
const forgetClusters = 20

// room makes room for one more cluster.
func (r *replicas) room(now time.Time, ha *HA) bool {
	if r.clusters == nil {
		r.clusters = make(map[string]*election)
	}
	if !over(len(r.clusters)+1, ha.MaxClusters) {
		return true
	}
	for cluster, e := range r.clusters {
		if now.Sub(e.seen) > forgetClusters*ha.Failover {
			delete(r.clusters, cluster)
		}
	}
	return !over(len(r.clusters)+1, ha.MaxClusters)
}

// elected returns the elected replica of a pair's cluster, and the pair's own.
func (r *replicas) elected(number uint16) (own, elected string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	who := r.all[number-1]
	if e := r.clusters[who.cluster]; e != nil {
		elected = e.replica
	}
	return who.name, elected
}

// clear forgets the elections. Numbers stay what they are.
func (r *replicas) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clusters = nil
}
