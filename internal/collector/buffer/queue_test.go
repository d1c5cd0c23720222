package buffer

import (
	"context"
	"io"
	"log/slog"
	"math"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newQueue(t testing.TB, cfg Config, eps ...Endpoint) *Queue {
	t.Helper()
	q, err := New(cfg, eps, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return q
}

// newPlainQueue returns a queue for a synctest bubble.
func newPlainQueue(t testing.TB, cfg Config, eps ...Endpoint) *Queue {
	q := newQueue(t, cfg, eps...)
	q.codec = plainCodec()
	return q
}

// shape makes a shape of n series.
func shape(target uint64, n int) *model.Shape {
	var b model.LabelsBuilder
	for i := range n {
		b.Append([]model.Label{{Name: "__name__", Value: "m"}, {Name: "i", Value: strconv.Itoa(i)}})
	}
	return &model.Shape{Target: target, Job: "j" + strconv.FormatUint(target%3, 10), Labels: b.Labels()}
}

// frame makes a frame of n samples whose values are all ts.
func frame(target uint64, ts int64, n int) *model.Frame {
	f := &model.Frame{Shape: shape(target, n), Time: ts, Values: make([]float64, n)}
	for i := range f.Values {
		f.Values[i] = float64(ts)
	}
	return f
}

func feed(t testing.TB, q *Queue, name string) *Feed {
	t.Helper()
	f, err := q.Feed(name)
	require.NoError(t, err)
	return f
}

func next(t testing.TB, r *Reader, maxSamples int) []model.Span {
	t.Helper()
	spans, err := r.Next(t.Context(), maxSamples, 0)
	require.NoError(t, err)
	return spans
}

func times(spans []model.Span) (out []int64) {
	for _, s := range spans {
		for _, f := range s.Frames {
			out = append(out, f.Time)
		}
	}
	return out
}

func TestNextWaitsForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, Config{}, Endpoint{Name: "a"})
		r := feed(t, q, "a").Reader()
		start := time.Now()
		q.Append(frame(1, 1, 3))
		spans, err := r.Next(t.Context(), 100, 5*time.Second)
		require.NoError(t, err)
		require.Len(t, spans, 1)
		require.Equal(t, 5*time.Second, time.Since(start))
		r.Settle(1)

		// A full request does not wait, not even for one that sleeps already.
		go func() {
			time.Sleep(time.Second) // fake time
			q.Append(frame(1, 2, 60))
			q.Append(frame(1, 3, 60))
		}()
		start = time.Now()
		spans, err = r.Next(t.Context(), 100, time.Hour)
		require.NoError(t, err)
		require.Len(t, spans, 1, "the second frame does not fit")
		require.Equal(t, time.Second, time.Since(start))
		r.Settle(0)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = r.Next(ctx, 1000, time.Hour)
		require.ErrorIs(t, err, context.Canceled)

		q.Close()
		spans, err = r.Next(t.Context(), 1000, time.Hour)
		require.NoError(t, err)
		require.Len(t, spans, 2)
		r.Settle(2)
		_, err = r.Next(t.Context(), 1000, time.Hour)
		require.ErrorIs(t, err, io.EOF)
		require.Zero(t, q.State().Bytes)
	})
}

// TestOneReaderIsWokenForOneRequest: of many readers that wait, each frame wakes
// the one that has waited longest, and nobody else.
func TestOneReaderIsWokenForOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, Config{}, Endpoint{Name: "a"})
		f := feed(t, q, "a")
		const readers = 50
		got := make(chan int, readers)
		start := time.Now()
		for i := range readers {
			r := f.Reader()
			go func() {
				spans, err := r.Next(t.Context(), 10, time.Minute)
				if err == nil && len(spans) == 1 {
					got <- i
				}
			}()
			synctest.Wait()
		}
		for i := range readers - 2 {
			q.Append(frame(uint64(i), 1, 10))
			synctest.Wait()
			require.Len(t, got, 1)
			require.Equal(t, i, <-got)
		}
		require.Zero(t, time.Since(start))
		// What is not enough wakes one when it has waited long enough. The other
		// gets it if that one hands it back and goes.
		q.Append(frame(1000, 1, 3))
		require.Equal(t, readers-2, <-got)
		require.Equal(t, time.Minute, time.Since(start))
		q.Append(frame(1001, 1, 3))
		q.Close()
		require.Equal(t, readers-1, <-got)
	})
}

func TestWaiterGetsWhatIsHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, Config{}, Endpoint{Name: "a"})
		f := feed(t, q, "a")
		first, second := f.Reader(), f.Reader()
		q.Append(frame(1, 1, 10))
		next(t, first, 10)
		q.Append(frame(1, 2, 10)) // the target is locked
		require.Equal(t, 10, f.Waiting())
		var spans []model.Span
		go func() { spans, _ = second.Next(t.Context(), 100, 0) }()
		synctest.Wait()
		require.Empty(t, spans)
		q.Close()
		synctest.Wait()
		require.Empty(t, spans)
		first.Settle(0)
		synctest.Wait()
		require.Equal(t, []int64{1, 2}, times(spans))
		require.Zero(t, f.Waiting())

		// When the last has been finished, those who wait learn that it was the last.
		ended := make(chan error)
		go func() {
			_, err := first.Next(t.Context(), 100, 0)
			ended <- err
		}()
		synctest.Wait()
		second.Settle(2)
		require.ErrorIs(t, <-ended, io.EOF)
	})
}

// TestCancelledWaitLosesNothing: a wait that ends at the moment at which it is
// given something hands that back, to whoever waits next.
func TestCancelledWaitLosesNothing(t *testing.T) {
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, Config{}, Endpoint{Name: "a"})
			f := feed(t, q, "a")
			first := f.Reader()
			ctx, cancel := context.WithCancel(t.Context())
			cancelled, got := make(chan bool), make(chan int, 1)
			go func() {
				_, err := first.Next(ctx, 10, time.Hour)
				cancelled <- err != nil
			}()
			synctest.Wait()
			go func() {
				r := f.Reader()
				_, err := r.Next(t.Context(), 10, time.Hour)
				if err == nil {
					r.Settle(1)
				}
				got <- 1
			}()
			synctest.Wait()
			cancel() // the wait is over, but the reader does not know it yet
			q.Append(frame(1, 1, 10))
			if !<-cancelled {
				first.Settle(0)
			}
			require.Equal(t, 1, <-got)
			check(t, q)
			go func() {
				time.Sleep(time.Second)
				q.Append(frame(1, 2, 10))
			}()
			spans, err := first.Next(t.Context(), 10, time.Hour)
			require.NoError(t, err)
			require.Equal(t, []int64{2}, times(spans))
		})
	}
}

// TestWaitsOfAnyLength: also one that has no end.
func TestWaitsOfAnyLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, Config{}, Endpoint{Name: "a"})
		time.Sleep(time.Second)
		q.Append(frame(1, 1, 5))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
		defer cancel()
		_, err := feed(t, q, "a").Reader().Next(ctx, 10, math.MaxInt64)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// TestSettleTakesNoMoreThanWasDelivered: when a span in the middle was
// shortened, what follows it is handed back too, for it must not overtake.
func TestSettleTakesNoMoreThanWasDelivered(t *testing.T) {
	q := newQueue(t, Config{}, Endpoint{Name: "a"})
	for ts := range int64(3) {
		q.Append(frame(1, ts, 10))
	}
	r := feed(t, q, "a").Reader()
	spans := next(t, r, 100)
	spans[1] = spans[1].Prefix(4)
	r.Settle(3)
	spans = next(t, r, 100)
	require.Equal(t, []int64{1, 2}, times(spans))
	require.Equal(t, 4, spans[0].From)
	check(t, q)
}

func TestBytesBoundDropsOldestAndCountsExactly(t *testing.T) {
	one := newQueue(t, Config{}, Endpoint{Name: "a"}, Endpoint{Name: "b"})
	one.Append(frame(1, 1, 100))
	first := one.State().Bytes
	one.Append(frame(1, 1, 100))
	bound := first + 2*(one.State().Bytes-first)

	q := newQueue(t, Config{MaxBytes: bound}, Endpoint{Name: "a"}, Endpoint{Name: "b"})
	a, b := feed(t, q, "a").Reader(), feed(t, q, "b").Reader()
	for ts := range 3 {
		q.Append(frame(1, int64(ts), 100))
	}
	require.Equal(t, bound, q.State().Bytes)
	// a has delivered frame 0 and 40 samples of frame 1; b nothing.
	require.Len(t, next(t, a, 100), 1)
	a.Settle(1)
	require.Equal(t, 40, next(t, a, 40)[0].To)
	a.Settle(1)

	for ts := 3; ts < 5; ts++ { // pushes out frames 0 and 1
		q.Append(frame(1, int64(ts), 100))
	}
	st := q.State()
	require.Equal(t, int64(60), st.Endpoints[0].Dropped[ReasonBytes])
	require.Equal(t, int64(200), st.Endpoints[1].Dropped[ReasonBytes])
	require.Equal(t, int64(300), st.Endpoints[0].Samples)
	require.Equal(t, int64(300), st.Endpoints[1].Samples)
	check(t, q)

	// What is being sent is not dropped; the frame after it is.
	next(t, b, 100)
	q.Append(frame(1, 5, 100))
	st = q.State()
	require.Equal(t, int64(300), st.Endpoints[1].Samples)
	require.Equal(t, int64(300), st.Endpoints[1].Dropped[ReasonBytes])
	b.Settle(1)
	require.Equal(t, []int64{4}, times(next(t, b, 100)))

	// A frame larger than the bound is dropped itself and leaves no trace.
	b.Settle(0)
	q.Append(frame(2, 6, 10000))
	require.Equal(t, bound, q.State().Bytes)
	require.Len(t, q.targets, 1)
	check(t, q)
}

func TestAgeBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, Config{MaxAge: time.Minute}, Endpoint{Name: "a"})
		q.Append(frame(0, 1, 7))
		time.Sleep(30 * time.Second)
		q.Append(frame(1, 2, 5))
		time.Sleep(31 * time.Second)
		st := q.State().Endpoints[0]
		require.Equal(t, int64(5), st.Samples)
		require.Equal(t, int64(7), st.Dropped[ReasonAge])
		require.Equal(t, 31*time.Second, st.OldestAge)
	})
}

// TestAgeOfBlocks: a block goes when its newest frame is too old, and its frames
// are not far apart.
func TestAgeOfBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newPlainQueue(t, Config{MaxAge: 8 * time.Minute}, Endpoint{Name: "a"})
		for ts := range 7 {
			q.Append(frame(0, int64(ts), 1))
			time.Sleep(20 * time.Second)
		}
		// 60 seconds are an eighth: the first four are a block, the rest is too few.
		require.Equal(t, 4, q.State().Endpoints[0].CompressedFrames)
		time.Sleep(6*time.Minute + 40*time.Second) // the newest of the block is 480 seconds old
		require.Zero(t, q.State().Endpoints[0].Dropped[ReasonAge])
		time.Sleep(time.Nanosecond)
		require.Equal(t, int64(4), q.State().Endpoints[0].Dropped[ReasonAge])
		check(t, q)
	})
}

func TestSetEndpoints(t *testing.T) {
	q := newQueue(t, Config{}, Endpoint{Name: "a"}, Endpoint{Name: "b"})
	for ts := range 20 {
		q.Append(frame(uint64(ts%5), int64(ts), 3))
	}
	a, b := feed(t, q, "a").Reader(), feed(t, q, "b").Reader()
	next(t, a, 1)
	a.Settle(1) // 1 of 60 delivered
	next(t, b, 20)
	require.NoError(t, q.SetEndpoints([]Endpoint{{Name: "c", Jobs: []string{"j1"}}, {Name: "a", Jobs: []string{}}}))
	check(t, q)
	b.Settle(1) // too late
	_, err := b.Next(t.Context(), 1, 0)
	require.ErrorIs(t, err, io.EOF)
	check(t, q)
	q.Append(frame(0, 100, 7)) // j0: nobody gets it
	q.Append(frame(1, 101, 2)) // j1: c
	q.Append(frame(2, 102, 7))
	st := q.State()
	require.Equal(t, int64(2), st.Endpoints[0].Samples)
	require.Equal(t, int64(59), st.Endpoints[1].Samples)
	q.Close()
	total := 0
	for {
		spans, err := a.Next(t.Context(), 4, 0)
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
		for _, s := range spans {
			total += s.Samples()
		}
		a.Settle(len(spans))
	}
	require.Equal(t, 59, total)
	require.Equal(t, map[string]int64{"a": 0, "c": 2}, q.Discard())
	require.Equal(t, int64(2), q.State().Endpoints[0].Dropped[ReasonShutdown])
	require.Zero(t, q.State().Bytes)
	q.Append(frame(1, 103, 5))
	require.Equal(t, int64(7), q.State().Endpoints[0].Dropped[ReasonShutdown])

	require.ErrorContains(t, q.SetEndpoints([]Endpoint{{Name: "a"}, {Name: "a"}}), `"a": name used twice`)
	require.ErrorContains(t, q.SetEndpoints(make([]Endpoint, 65)), "65 endpoints, at most 64")
	_, err = q.Feed("b")
	require.ErrorContains(t, err, `"b"`)
}

func TestRemovedEndpointEndsItsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, Config{}, Endpoint{Name: "a"})
		f := feed(t, q, "a")
		ended := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := f.Reader().Next(t.Context(), 1, 0)
				ended <- err
			}()
		}
		synctest.Wait()
		require.NoError(t, q.SetEndpoints(nil))
		require.ErrorIs(t, <-ended, io.EOF)
		require.ErrorIs(t, <-ended, io.EOF)
	})
}

// TestOneEndpointDown: the frames that only the endpoint which is down still
// needs are compressed; the other one reads them as they came.
func TestOneEndpointDown(t *testing.T) {
	q := newQueue(t, Config{}, Endpoint{Name: "up"}, Endpoint{Name: "down"})
	encoded, merged := 0, 0
	codec := q.codec
	q.codec.encode = func(dst []byte, frames []*model.Frame) []byte {
		encoded += len(frames)
		return codec.encode(dst, frames)
	}
	q.codec.merge = func(dst []byte, shape *model.Shape, blocks ...[]byte) ([]byte, error) {
		merged += len(blocks)
		return codec.merge(dst, shape, blocks...)
	}
	up, down := feed(t, q, "up").Reader(), feed(t, q, "down").Reader()
	for ts := range int64(100) {
		q.Append(frame(1, ts, 10))
		spans := next(t, up, 100)
		require.Equal(t, []int64{ts}, times(spans))
		require.Same(t, q.targets[1].last.frame[0], spans[0].Frames[0])
		up.Settle(1)
		check(t, q)
	}
	require.Equal(t, 95, encoded, "nothing in vain")
	require.Equal(t, 90/smallFrames, merged)
	st := q.State()
	require.Zero(t, st.Endpoints[0].Frames)
	require.Equal(t, 100, st.Endpoints[1].Frames)
	require.Equal(t, 95, st.Endpoints[1].CompressedFrames)
	require.Positive(t, st.Endpoints[1].BytesPerSample)
	var got []int64
	for len(got) < 100 {
		spans := next(t, down, 100000)
		got = append(got, times(spans)...)
		down.Settle(len(spans))
	}
	for ts := range int64(100) {
		require.Equal(t, ts, got[ts])
	}
	require.Zero(t, q.State().Bytes)
}

// TestMergeGivesWay: a reader that takes a frame while that is being compressed
// wins, and nothing is lost.
func TestMergeGivesWay(t *testing.T) {
	q := newQueue(t, Config{}, Endpoint{Name: "a"}, Endpoint{Name: "b"})
	r := feed(t, q, "a").Reader()
	meanwhile := func() {}
	encode := q.codec.encode
	q.codec.encode = func(dst []byte, frames []*model.Frame) []byte {
		meanwhile()
		return encode(dst, frames)
	}
	for i, settled := range []int{-1, 0, 1} {
		for ts := range int64(smallFrames) {
			meanwhile = func() {
				require.Len(t, next(t, r, 1), 1)
				if settled >= 0 {
					r.Settle(settled)
				}
			}
			q.Append(frame(uint64(i), ts, 1))
		}
		check(t, q)
		packed := q.State().Endpoints[1].CompressedFrames
		if settled == 0 {
			require.Equal(t, smallFrames, packed, "the frame is as it was")
		} else {
			require.Zero(t, packed)
		}
		r.Settle(0)
		require.NoError(t, q.SetEndpoints([]Endpoint{{Name: "x"}}))
		require.Zero(t, q.State().Bytes)
		require.NoError(t, q.SetEndpoints([]Endpoint{{Name: "a"}, {Name: "b"}}))
		r = feed(t, q, "a").Reader()
	}
}

// TestBlockIsReadInParts by two endpoints, each at its own position, while it is
// decoded once.
func TestBlockIsReadInParts(t *testing.T) {
	q := newQueue(t, Config{}, Endpoint{Name: "a"}, Endpoint{Name: "b"})
	decoded := 0
	decode := q.codec.decode
	q.codec.decode = func(b []byte, s *model.Shape) ([]*model.Frame, error) {
		decoded++
		return decode(b, s)
	}
	for ts := range int64(largeFrames) {
		q.Append(frame(1, ts, 50))
	}
	require.Equal(t, 1, q.targets[1].entries)
	before := q.State().Bytes
	decoded = 0
	limits := map[string]int{"a": 700, "b": 41}
	got := map[string]int{}
	readers := map[string]*Reader{"a": feed(t, q, "a").Reader(), "b": feed(t, q, "b").Reader()}
	for got["a"] < 50*largeFrames || got["b"] < 50*largeFrames {
		for name, r := range readers {
			if got[name] == 50*largeFrames {
				continue
			}
			spans := next(t, r, limits[name])
			require.Len(t, spans, 1)
			require.Equal(t, got[name], spans[0].From)
			require.LessOrEqual(t, spans[0].Samples(), limits[name])
			check(t, q)
			spans[0] = spans[0].Prefix(limits[name] - 1) // it did not fit
			got[name] += spans[0].Samples()
			r.Settle(1)
			check(t, q)
			if got[name] < 1000 {
				require.Greater(t, q.State().Bytes, before, "what is open counts")
			}
		}
	}
	require.Equal(t, 1, decoded)
	require.Zero(t, q.State().Bytes)
}

// TestNumbersOfGenerationsMeanLittle: a target that was away begins to count
// anew, with another list of series.
func TestNumbersOfGenerationsMeanLittle(t *testing.T) {
	q := newQueue(t, Config{}, Endpoint{Name: "a"})
	list := func(names ...string) *model.Shape {
		var b model.LabelsBuilder
		for _, n := range names {
			b.Append([]model.Label{{Name: "n", Value: n}})
		}
		return &model.Shape{Target: 1, Labels: b.Labels()}
	}
	shapes := []*model.Shape{list("x", "y"), list("x", "z"), list("x", "z", "y"), list("z"), list("z", "x", "y")}
	for _, sh := range shapes {
		for range smallFrames {
			q.Append(&model.Frame{Shape: sh, Values: make([]float64, sh.Slots())})
		}
	}
	check(t, q)
	require.Len(t, q.targets[1].gens, 3)
	r := feed(t, q, "a").Reader()
	var got []string
	for _, s := range next(t, r, 1000) {
		for c := s.From; c < s.To; c++ {
			if slot, f := s.Cell(c); f == s.Frames[len(s.Frames)-1] && slot < len(f.Values) {
				got = append(got, s.Shape().Labels.Append(nil, slot)[0].Value)
			}
		}
	}
	require.Equal(t, strings.Fields("x y x z y z z x y"), got)
}

// TestFailedRequestShutsItsBlock: an endpoint that is down keeps nothing decoded.
func TestFailedRequestShutsItsBlock(t *testing.T) {
	q := newQueue(t, Config{}, Endpoint{Name: "a"})
	for ts := range int64(smallFrames) {
		q.Append(frame(1, ts, 50))
	}
	before := q.State().Bytes
	r := feed(t, q, "a").Reader()
	next(t, r, 10)
	require.Greater(t, q.State().Bytes, before)
	r.Settle(0)
	require.Equal(t, before, q.State().Bytes)
	next(t, r, 10)
	r.Settle(1)
	next(t, r, 10)
	r.Settle(0)
	require.Equal(t, before, q.State().Bytes)
}

// TestFullQueueOpensFewBlocks: reading does not push out what is to be read.
func TestFullQueueOpensFewBlocks(t *testing.T) {
	q := newPlainQueue(t, Config{}, Endpoint{Name: "a"}, Endpoint{Name: "b"})
	for target := range uint64(20) {
		for ts := range int64(largeFrames) {
			q.Append(frame(target, ts, 100))
		}
	}
	full := q.State().Bytes
	q.SetConfig(Config{MaxBytes: full})
	synctest.Test(t, func(t *testing.T) {
		count := func(name string) int {
			ctx, cancel := context.WithCancel(t.Context())
			f := feed(t, q, name)
			n := 0
			for range 20 {
				go func() {
					if _, err := f.Reader().Next(ctx, 100, 0); err == nil {
						n++ // synctest.Wait orders it
					}
				}()
				synctest.Wait()
			}
			cancel()
			return n
		}
		a, b := count("a"), count("b")
		require.Positive(t, a)
		require.Less(t, a, 20)
		require.Positive(t, b, "what one endpoint has open does not keep another one from reading")
	})
	check(t, q)
}

// TestDecodedBlocksGoBeforeData: a full queue forgets what it can decode again
// rather than what it cannot get back.
func TestDecodedBlocksGoBeforeData(t *testing.T) {
	q := newQueue(t, Config{}, Endpoint{Name: "a"})
	for ts := range int64(smallFrames) {
		q.Append(frame(1, ts, 50))
	}
	before := q.State().Bytes
	r := feed(t, q, "a").Reader()
	next(t, r, 10)
	r.Settle(1)
	open := q.State().Bytes
	require.Greater(t, open, before)
	q.SetConfig(Config{MaxBytes: open})
	q.Append(frame(2, 100, 1))
	st := q.State()
	require.Zero(t, st.Endpoints[0].Dropped[ReasonBytes])
	require.Less(t, st.Bytes, open)
	check(t, q)
	spans := next(t, r, 1000)
	require.Equal(t, 10, spans[0].From)
	require.Equal(t, 241, spans[0].Samples()+spans[1].Samples())
}

// TestUnreadableBlockIsCounted and does not stop the queue.
func TestUnreadableBlockIsCounted(t *testing.T) {
	q := newQueue(t, Config{}, Endpoint{Name: "a"}, Endpoint{Name: "b"})
	for ts := range int64(smallFrames) {
		q.Append(frame(1, ts, 10))
	}
	q.codec.decode = func([]byte, *model.Shape) ([]*model.Frame, error) { return nil, io.ErrUnexpectedEOF }
	q.Append(frame(1, 100, 1))
	r := feed(t, q, "a").Reader()
	require.Equal(t, []int64{100}, times(next(t, r, 1000)))
	st := q.State()
	require.Equal(t, int64(50), st.Endpoints[0].Dropped[ReasonCorrupt])
	require.Zero(t, st.Endpoints[1].Dropped[ReasonCorrupt])
	require.Equal(t, int64(51), st.Endpoints[1].Samples)
	check(t, q)
	r.Settle(1)
	r = feed(t, q, "b").Reader()
	require.Equal(t, []int64{100}, times(next(t, r, 1000)))
	r.Settle(1)
	require.Zero(t, q.State().Bytes)
	check(t, q)
}

// TestUnreadableBlocksAreNotMerged but left to those who read them.
func TestUnreadableBlocksAreNotMerged(t *testing.T) {
	q := newQueue(t, Config{}, Endpoint{Name: "a"})
	tried := 0
	q.codec.merge = func([]byte, *model.Shape, ...[]byte) ([]byte, error) {
		tried++
		return nil, io.ErrUnexpectedEOF
	}
	for ts := range int64(2 * largeFrames) {
		q.Append(frame(1, ts, 3))
	}
	require.Equal(t, 2, tried)
	require.Equal(t, int64(6*largeFrames), q.State().Endpoints[0].Samples)
	check(t, q)
}

// TestMemoryOfExtras is counted, too.
func TestMemoryOfExtras(t *testing.T) {
	f := frame(1, 1, 1)
	bare := frameBytes(f)
	f.Extras = []model.Extra{{Histogram: make([]byte, 1000)}, {Labels: []model.Label{{Name: "abc", Value: "defg"}}}}
	f.Times = make([]int64, 1)
	require.Equal(t, bare+2*extraBytes+1000+labelBytes+7+8, frameBytes(f))
}

// TestMemoryGoesBack after an outage.
func TestMemoryGoesBack(t *testing.T) {
	q := newQueue(t, Config{}, Endpoint{Name: "a"})
	var frames []weak.Pointer[model.Frame]
	for ts := range int64(20) {
		for target := range uint64(2000) {
			f := frame(target, ts, 2)
			frames = append(frames, weak.Make(f))
			q.Append(f)
		}
	}
	r := feed(t, q, "a").Reader()
	var entries []weak.Pointer[entry]
	for e := q.oldest; e != nil; e = e.newer {
		entries = append(entries, weak.Make(e))
	}
	for q.State().Endpoints[0].Samples > 0 {
		spans := next(t, r, 777)
		r.Settle(len(spans))
	}
	check(t, q)
	require.Zero(t, q.State().Bytes)
	require.Empty(t, q.targets)
	require.LessOrEqual(t, cap(q.endpoints[0].ready), 64)
	runtime.GC()
	for _, p := range frames {
		require.Nil(t, p.Value())
	}
	for _, p := range entries {
		require.Nil(t, p.Value())
	}
	runtime.KeepAlive(q)
	runtime.KeepAlive(r)
}

func TestMetrics(t *testing.T) {
	q := newQueue(t, Config{MaxBytes: 1}, Endpoint{Name: "a"})
	q.Append(frame(1, 1, 5))
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(q)
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP mangru_collector_queue_dropped_samples_total Samples that left the queue undelivered.
# TYPE mangru_collector_queue_dropped_samples_total counter
mangru_collector_queue_dropped_samples_total{endpoint="a",reason="endpoint_removed"} 0
mangru_collector_queue_dropped_samples_total{endpoint="a",reason="queue_age"} 0
mangru_collector_queue_dropped_samples_total{endpoint="a",reason="queue_bytes"} 5
mangru_collector_queue_dropped_samples_total{endpoint="a",reason="queue_corrupt"} 0
mangru_collector_queue_dropped_samples_total{endpoint="a",reason="shutdown"} 0
`), "mangru_collector_queue_dropped_samples_total"))
}
