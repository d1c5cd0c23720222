package ingest

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/storage"
)

// refKey stands for the encoded labels of a series: 128 bits of two independent
// hashes, one of them with a secret seed. Two series that share a key would be
// mixed up; nobody can look for such a pair, and chance will not find one.
type refKey struct{ a, b uint64 }

// refCache finds a series' reference by its key. It keeps two generations: what
// is used moves to the young one, and what was not used for a whole turn is
// dropped, so that series that ended leave no trace. It belongs to one open
// database and is safe for concurrent use.
type refCache struct {
	seed   maphash.Seed
	next   atomic.Int64 // when the generations change, in Unix nanoseconds
	shards [refShards]refShard
}

type refShard struct {
	mu         sync.Mutex
	young, old map[refKey]storage.SeriesRef
	_          [40]byte // keeps neighbours off one cache line
}

const (
	refShards = 64
	// refTurn is how long a generation is young. Series scraped less often than
	// this are looked up by their labels again.
	refTurn = 15 * time.Minute
)

func newRefCache(now time.Time) *refCache {
	c := &refCache{seed: maphash.MakeSeed()}
	c.next.Store(now.Add(refTurn).UnixNano())
	for i := range c.shards {
		c.shards[i].young = make(map[refKey]storage.SeriesRef)
	}
	return c
}

func (c *refCache) key(labelBytes []byte) refKey {
	return refKey{xxhash.Sum64(labelBytes), maphash.Bytes(c.seed, labelBytes)}
}

func (c *refCache) shard(k refKey) *refShard { return &c.shards[k.b%refShards] }

// get returns the reference of a series, zero for none.
func (c *refCache) get(k refKey) storage.SeriesRef {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ref, ok := s.young[k]; ok {
		return ref
	}
	ref, ok := s.old[k]
	if ok {
		delete(s.old, k)
		s.young[k] = ref
	}
	return ref
}

// put notes the reference of a series.
func (c *refCache) put(k refKey, ref storage.SeriesRef) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.young[k] = ref
}

// turn lets the generations grow older when it is time.
func (c *refCache) turn(now time.Time) {
	at := c.next.Load()
	if now.UnixNano() < at || !c.next.CompareAndSwap(at, now.Add(refTurn).UnixNano()) {
		return
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.old, s.young = s.young, make(map[refKey]storage.SeriesRef, len(s.young))
		s.mu.Unlock()
	}
}

// size returns how many references are held.
func (c *refCache) size() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.young) + len(s.old)
		s.mu.Unlock()
	}
	return n
}
