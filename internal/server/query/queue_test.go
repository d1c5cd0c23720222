package query

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// One workspace asks for very much, others now and then. All that is there is
// given, and the others wait for no more than what is running just then.
func TestQuietWorkspacesDoNotWaitForANoisyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(4, 4, 1000, nil, time.Now)
		run := func(id string) time.Duration {
			began := time.Now()
			leave, err := q.enter(t.Context(), id)
			require.NoError(t, err)
			waited := time.Since(began)
			time.Sleep(time.Second)
			leave()
			return waited
		}
		var all sync.WaitGroup
		for range 400 {
			all.Go(func() { run("noisy") })
		}
		synctest.Wait()
		for i := range 10 {
			all.Go(func() {
				time.Sleep(time.Duration(i*3500) * time.Millisecond)
				require.LessOrEqual(t, run(fmt.Sprint("quiet-", i)), time.Second)
			})
		}
		began := time.Now()
		all.Wait()
		require.Equal(t, 103*time.Second, time.Since(began).Round(time.Second), "no place is left empty")
		require.Empty(t, q.flows)
		require.Zero(t, q.running)
	})
}

func TestSharesFollowWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(4, 4, 1000, func(id string) float64 { return map[string]float64{"big": 3, "small": 1}[id] }, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		served := map[string]int{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for _, id := range []string{"big", "small"} {
			for range 20 {
				all.Go(func() {
					for {
						leave, err := q.enter(ctx, id)
						if err != nil {
							return
						}
						mu.Lock()
						served[id]++
						mu.Unlock()
						time.Sleep(time.Second)
						leave()
					}
				})
			}
		}
		time.Sleep(100500 * time.Millisecond)
		cancel()
		all.Wait()
		require.InDelta(t, 3, float64(served["big"])/float64(served["small"]), 0.3, "%v", served)
		require.Empty(t, q.flows)
	})
}

func TestQueueLimits(t *testing.T) {
	q := newQueue(10, 1, 1, nil, time.Now)
	leave, err := q.enter(t.Context(), "a")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error)
	go func() {
		_, err := q.enter(ctx, "a")
		waiting <- err
	}()
	require.Eventually(t, func() bool {
		_, err := q.enter(canceledContext(t), "a")
		require.ErrorIs(t, err, context.Canceled)
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.flows["a"].waiting) == 1
	}, time.Minute, time.Millisecond)
	_, err = q.enter(t.Context(), "a")
	require.ErrorIs(t, err, errQueueFull)
	other, err := q.enter(t.Context(), "b")
	require.NoError(t, err, "each workspace has its own queue")
	other()
	other() // is nothing the second time
	cancel()
	require.ErrorIs(t, <-waiting, context.Canceled)
	leave()
	require.Empty(t, q.flows)
	require.Zero(t, q.running)
}

func canceledContext(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// Whatever comes and goes, no place is lost or given twice.
func TestQueueAtRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots, each = 5, 3
		q := newQueue(slots, each, 10, nil, time.Now)
		var mu sync.Mutex
		running, total := map[string]int{}, 0
		var all sync.WaitGroup
		for i := range 300 {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			all.Go(func() {
				time.Sleep(time.Duration(r.IntN(10_000)) * time.Millisecond)
				id := fmt.Sprint(r.IntN(4))
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(3000))*time.Millisecond)
				defer cancel()
				leave, err := q.enter(ctx, id)
				if err != nil {
					return
				}
				mu.Lock()
				running[id]++
				total++
				if total > slots || running[id] > each {
					t.Errorf("%d run, %d of %s", total, running[id], id)
				}
				mu.Unlock()
				time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
				mu.Lock()
				running[id]--
				total--
				mu.Unlock()
				leave()
			})
		}
		all.Wait()
		require.Empty(t, q.flows)
		require.Zero(t, q.running)
	})
}
