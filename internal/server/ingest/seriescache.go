package ingest

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/internal/wire"
)

// seriesKey stands for a series as a sender writes it: 128 bits of two
// independent hashes, one of them with a secret seed. Two series that share a
// key would be mixed up; nobody can look for such a pair, and chance will not
// find one.
type seriesKey struct{ a, b uint64 }

// kind of a sample.
type kind uint8

const (
	kindNone kind = iota
	kindFloat
	kindHistogram
	kindStart // the zero sample of a start timestamp
)

// cachedSeries is what is known about a series of a sender. The fields below
// mark may be written by several requests at once and are atomic; the others
// change only while the cache is locked for writing. It fills one cache line.
type cachedSeries struct {
	key seriesKey
	ref storage.SeriesRef // zero for one that is only known as a replica's
	// The newest sample that was committed, so that its repetition and what is
	// too far behind it is known without asking the database.
	newestTime int64 // milliseconds
	newestBits uint64
	start      uint32 // of the last start timestamp, hashed; zero for none
	group      uint16 // of replicas; zero for none
	newestKind kind

	used     uint32 // the turn when it was used last
	metadata uint32 // what was said last, hashed; zero for nothing
	mark     uint64 // the request that uses it, and the place in its book
}

// seriesCache finds what is known about a series by its key. It belongs to one
// open database and is safe for concurrent use: requests hold the read lock
// while they look up and append, and the write lock for a moment at their end.
//
// Series are kept in the order in which they came. Senders repeat their order,
// so the series that follows is mostly the one that followed the last time, and
// neither looking into the index nor waiting for memory is needed.
type seriesCache struct {
	seedA, seedB maphash.Seed
	requests     atomic.Uint32

	mu      sync.RWMutex
	entries []cachedSeries
	index   []uint64 // open addressing: the key's upper half, then the place in entries, from 1
	turn    uint32
	next    time.Time // when the turn ends
	moved   uint32    // how often entries got other places
	ha      HA        // by which groups were made
	groups  replicas
}

const (
	// cacheTurn is how long a turn is. What was not used in the turn before the
	// present one is forgotten, so series that are sent less often than this are
	// looked up by their labels again.
	cacheTurn = 15 * time.Minute
	// minCache is how many series are kept in any case.
	minCache = 1 << 16
)

func newSeriesCache(now time.Time) *seriesCache {
	return &seriesCache{seedA: maphash.MakeSeed(), seedB: maphash.MakeSeed(), next: now.Add(cacheTurn),
		index: make([]uint64, 64)}
}

// bytesKey is the key of a series that is known by bytes.
func (c *seriesCache) bytesKey(b []byte) seriesKey {
	return seriesKey{xxhash.Sum64(b), maphash.Bytes(c.seedB, b)}
}

// symbolKey is what a symbol adds to the key of a series.
func (c *seriesCache) symbolKey(b []byte) seriesKey {
	return seriesKey{maphash.Bytes(c.seedA, b), maphash.Bytes(c.seedB, b)}
}

// Odd constants without structure, to keep names and values apart.
const (
	foldA = 0x9e3779b97f4a7c15
	foldB = 0xd6e8feb86659fd93
)

// symbolsKey is the key of a series that is known by references to symbols. It
// reports false if one of them leads nowhere.
func symbolsKey(symbols []seriesKey, refs []uint32) (seriesKey, bool) {
	if len(refs)%2 != 0 {
		return seriesKey{}, false
	}
	k := seriesKey{foldA, foldB}
	for ; len(refs) >= 2; refs = refs[2:] {
		if int(refs[0]) >= len(symbols) || int(refs[1]) >= len(symbols) {
			return seriesKey{}, false
		}
		name, value := &symbols[refs[0]], &symbols[refs[1]]
		hi, lo := bits.Mul64(k.a^name.a, value.a^foldA)
		k.a = hi ^ lo
		hi, lo = bits.Mul64(k.b^name.b, value.b^foldB)
		k.b = hi ^ lo
	}
	return k, true
}

const (
	slotKey   = ^uint64(math.MaxUint32)
	slotPlace = uint64(math.MaxUint32)
)

// find returns the place of a series, -1 for none. The place after the last one
// found is the best guess. The cache must be locked.
func (c *seriesCache) find(k seriesKey, guess int) int {
	if guess < len(c.entries) && c.entries[guess].key == k {
		return guess
	}
	mask := uint64(len(c.index) - 1)
	for at := k.a & mask; ; at = (at + 1) & mask {
		slot := c.index[at]
		if slot == 0 {
			return -1
		}
		if slot&slotKey == k.b&slotKey {
			if n := int(slot&slotPlace) - 1; c.entries[n].key == k {
				return n
			}
		}
	}
}

// add returns the place of a series, which is made if it is not there yet. The
// cache must be locked for writing.
func (c *seriesCache) add(k seriesKey, ref storage.SeriesRef, group uint16) int {
	if n := c.find(k, 0); n >= 0 {
		c.entries[n].ref, c.entries[n].group = ref, group
		return n
	}
	c.entries = append(c.entries, cachedSeries{key: k, ref: ref, group: group, newestTime: math.MinInt64, used: c.turn})
	if 2*len(c.entries) > len(c.index) {
		c.reindex(4 * len(c.entries))
	} else {
		c.enter(len(c.entries) - 1)
	}
	return len(c.entries) - 1
}

func (c *seriesCache) enter(place int) {
	k, mask := c.entries[place].key, uint64(len(c.index)-1)
	at := k.a & mask
	for c.index[at] != 0 {
		at = (at + 1) & mask
	}
	c.index[at] = k.b&slotKey | uint64(place+1)
}

func (c *seriesCache) reindex(size int) {
	c.index = make([]uint64, 1<<bits.Len(uint(max(size, 64)-1)))
	for i := range c.entries {
		c.enter(i)
	}
}

// tidy forgets what was not used for a turn once the present one is over, and
// earlier when a sender has made more of its series than there are in the
// database, by writing one series in many ways. The cache must be locked for
// writing.
func (c *seriesCache) tidy(now time.Time, inDatabase uint64) {
	most := 4*inDatabase + minCache
	if now.Before(c.next) && uint64(len(c.entries)) <= most {
		return
	}
	oldest := c.turn // what was used before is dropped
	if now.Before(c.next) {
		oldest++ // everything
	} else if c.turn > 0 && uint64(len(c.entries)) <= most {
		oldest--
	}
	kept := make([]cachedSeries, 0, len(c.entries))
	for i := range c.entries {
		if e := &c.entries[i]; e.used >= oldest {
			kept = append(kept, *e)
		}
	}
	c.turn++
	c.next = now.Add(cacheTurn)
	c.moved++
	c.entries = kept
	c.reindex(3 * len(kept))
}

// clear forgets everything. The cache must be locked for writing.
func (c *seriesCache) clear() {
	c.entries, c.moved = nil, c.moved+1
	c.reindex(0)
}

// size returns how many series are known.
func (c *seriesCache) size() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.entries)
}

// touch notes that a series is used in this turn, and writes only if that is news.
func (e *cachedSeries) touch(turn uint32) {
	if atomic.LoadUint32(&e.used) != turn {
		atomic.StoreUint32(&e.used, turn)
	}
}

// hashSymbols appends the keys of all symbols of a message.
func (c *seriesCache) hashSymbols(dst []seriesKey, d *wire.DecoderV2) []seriesKey {
	for i := range d.Symbols() {
		dst = append(dst, c.symbolKey(d.Symbol(i)))
	}
	return dst
}

// hash32 shortens a hash to one that is not zero.
func hash32(h uint64) uint32 { return uint32(h>>32) | 1 }
