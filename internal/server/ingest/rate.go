package ingest

import (
	"math"
	"sync"
	"time"
)

// bucket is a token bucket: rate tokens flow in per second, up to size of them.
// It is safe for concurrent use.
type bucket struct {
	mu     sync.Mutex
	rate   float64
	size   float64
	tokens float64
	at     time.Time // when tokens was right
}

// fill lets flow in what is due, and takes on a changed rate.
func (b *bucket) fill(now time.Time, rate, size float64) {
	if b.at.IsZero() {
		b.tokens = size
	} else if since := now.Sub(b.at).Seconds(); since > 0 {
		b.tokens += since * b.rate
	}
	b.at, b.rate, b.size = now, rate, size
	b.tokens = min(b.tokens, size)
}

// empty reports whether not even one token is there.
func (b *bucket) empty(now time.Time, rate, size float64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now, rate, size)
	return b.tokens < 1
}

// take takes n tokens, or none if there are fewer; then it returns how long it
// takes until there are n.
func (b *bucket) take(now time.Time, n int, rate, size float64) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now, rate, size)
	if b.tokens < float64(n) {
		return b.until(n), false
	}
	b.tokens -= float64(n)
	return 0, true
}

// wait returns how long it takes until there are n tokens.
func (b *bucket) wait(now time.Time, n int, rate, size float64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now, rate, size)
	return b.until(n)
}

func (b *bucket) until(n int) time.Duration {
	missing := max(0, float64(n)-b.tokens) / b.rate
	return time.Duration(min(missing, maxRetryAfter.Seconds()) * float64(time.Second))
}

// maxRetryAfter is the longest time that a sender is told to wait.
const maxRetryAfter = time.Minute

// retryAfter rounds a time up to the seconds that a header can say.
func retryAfter(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }

// buckets holds a bucket for each workspace. It is safe for concurrent use.
type buckets struct {
	mu sync.Mutex
	m  map[string]*bucket
}

func (b *buckets) get(workspace string) *bucket {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m == nil {
		b.m = make(map[string]*bucket)
	}
	if b.m[workspace] == nil {
		b.m[workspace] = new(bucket)
	}
	return b.m[workspace]
}

func (b *buckets) forget(workspace string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.m, workspace)
}
