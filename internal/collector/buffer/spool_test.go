package buffer

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unique"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/collector/buffer/journal"
	"github.com/mangru/mangru/internal/model"
)

func spooled(t testing.TB, dir string, opts spoolOptions, eps ...Endpoint) *Queue {
	t.Helper()
	q, err := start(Config{Directory: dir}, eps, slog.New(slog.DiscardHandler), opts)
	require.NoError(t, err)
	require.NoError(t, q.broken)
	if t.Name() != "TestChild" && t.Name() != "TestKill" {
		q.codec = plainCodec()
	}
	return q
}

// crash returns a copy of a directory as it is now.
func crash(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// waiting returns, for each endpoint and target, what is on disk of what waits:
// series, time and value of each sample, in order.
func waiting(t testing.TB, q *Queue) map[string][]string {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	out := map[string][]string{}
	for _, tg := range q.targets {
		for _, l := range tg.lanes {
			if l == nil {
				continue
			}
			key := fmt.Sprint(l.ep.Name, " ", tg.id)
			for e := l.head; e != nil; e = l.after(e) {
				if !e.spooled {
					continue
				}
				frames := e.frame[:]
				if e.isBlock() {
					var err error
					frames, err = q.codec.decode(e.data, e.gen.shape)
					require.NoError(t, err)
				}
				s := model.Whole(frames)
				if e == l.head {
					s.From = l.cell
				}
				for c := s.From; c < s.To; c++ {
					slot, f := s.Cell(c)
					name := s.Shape().Labels.Append(nil, slot)
					for _, x := range f.ExtrasOf(slot) {
						out[key] = append(out[key], fmt.Sprint(name, x.Time, x.Value))
					}
					if slot < len(f.Values) && !model.IsAbsent(f.Values[slot]) {
						out[key] = append(out[key], fmt.Sprint(name, f.TimeOf(slot), f.Values[slot]))
					}
				}
			}
		}
	}
	return out
}

func TestWhatWaitsSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		q := spooled(t, dir, defaultSpool(), Endpoint{Name: "a"}, Endpoint{Name: "b"}, Endpoint{Name: "c"})
		a, b := feed(t, q, "a").Reader(), feed(t, q, "b").Reader()
		f := frame(1, 1, 10)
		f.Shape.Job = "job"
		f.Shape.Families = []unique.Handle[model.Family]{unique.Make(model.Family{Name: "m", Help: "h", Unit: "s", Type: model.TypeGauge})}
		f.Shape.Family = make([]uint16, 10)
		f.Shape.Family[3] = 1
		q.Append(f)
		next(t, a, 4)
		a.Settle(1)
		next(t, b, 10)
		b.Settle(1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		next(t, a, 2)
		a.Settle(1)
		time.Sleep(time.Second)
		synctest.Wait()
		want := waiting(t, q)
		require.Len(t, want["a 1"], 4)
		require.Len(t, want["c 1"], 10)

		later := spooled(t, crash(t, dir), defaultSpool(), Endpoint{Name: "c"}, Endpoint{Name: "a"}, Endpoint{Name: "new"})
		require.Equal(t, want, waiting(t, later))
		check(t, later)
		st := later.State()
		require.Equal(t, int64(10), st.Endpoints[0].Samples)
		require.Equal(t, int64(4), st.Endpoints[1].Samples)
		require.Zero(t, st.Endpoints[2].Samples)
		require.Equal(t, 3*time.Second, st.Endpoints[0].OldestAge)
		r := feed(t, later, "a").Reader()
		spans := next(t, r, 100)
		require.Equal(t, 6, spans[0].From)
		require.Equal(t, f.Shape.Families, spans[0].Shape().Families)
		require.Equal(t, f.Shape.Family, spans[0].Shape().Family)
		require.Equal(t, "job", spans[0].Shape().Job)
		// The target's new frames come after that, and have nothing to do with the
		// old list of series, although it has the same number.
		later.Append(frame(1, 2, 3))
		require.Zero(t, feed(t, later, "new").Waiting()-3)
		r.Settle(1)
		spans = next(t, r, 100)
		require.Equal(t, 3, spans[0].Shape().Slots())
		r.Settle(0)
		check(t, later)
		q.Discard()
		later.Discard()
	})
}

// TestWhatIsDeliveredAtOnceStaysOffTheDisk.
func TestWhatIsDeliveredAtOnceStaysOffTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		q := spooled(t, dir, defaultSpool(), Endpoint{Name: "a"})
		r := feed(t, q, "a").Reader()
		for range 50 {
			q.Append(frame(1, 1, 10))
			time.Sleep(900 * time.Millisecond)
			next(t, r, 10)
			r.Settle(1)
		}
		require.Zero(t, q.State().Directory.Bytes)
		q.Discard()
	})
}

// TestBehindNothingYoungIsSpared: once an endpoint does not keep up, what a crash
// costs is less than a second of frames.
func TestBehindNothingYoungIsSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		q := spooled(t, dir, defaultSpool(), Endpoint{Name: "a"})
		const frames = 49
		for target := range frames {
			q.Append(frame(uint64(target+1), 1, 1))
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		require.GreaterOrEqual(t, len(waiting(t, q)), frames-6)
		q.Discard()
	})
}

// TestEmptyJournalIsRemoved after a while.
func TestEmptyJournalIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		q := spooled(t, dir, defaultSpool(), Endpoint{Name: "a"})
		r := feed(t, q, "a").Reader()
		shape := shape(1, 100)
		size, first := int64(0), int64(0)
		for i := range 5 {
			f := frame(1, 1, 100)
			f.Shape = shape
			q.Append(f)
			time.Sleep(3 * time.Second)
			next(t, r, 100)
			r.Settle(1)
			now := q.State().Directory.Bytes
			if i > 0 {
				require.Less(t, now-size, first-int64(len(appendShape(nil, 1, shape)))+20, "the shape is there once")
			} else {
				first = now
			}
			size = now
		}
		time.Sleep(59 * time.Second)
		require.Positive(t, q.State().Directory.Bytes)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Zero(t, q.State().Directory.Bytes)
		require.Empty(t, q.spool.live)
		require.Empty(t, q.spool.shapes)
		q.Append(frame(1, 2, 100))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		later := spooled(t, crash(t, dir), defaultSpool(), Endpoint{Name: "a"})
		require.Equal(t, waiting(t, q), waiting(t, later))
		q.Discard()
		later.Discard()
	})
}

// TestCrashes compares, at random times, what a queue has on disk and what a
// crash leaves of it.
func TestCrashes(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { crashes(t, seed) })
		})
	}
}

func crashes(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 5))
	opts := defaultSpool()
	opts.SegmentBytes, opts.slack = 2000, 0
	dir := t.TempDir()
	eps := []Endpoint{{Name: "a"}, {Name: "b"}, {Name: "c", Jobs: []string{"j1"}}}
	q := spooled(t, dir, opts, eps...)
	defer func() { q.Discard() }()
	var sources []*source
	for target := range uint64(5) {
		sources = append(sources, &source{rnd: rnd, target: target})
	}
	nonempty := 0
	for range 40 {
		if rnd.IntN(3) == 0 {
			bound := int64(0)
			if rnd.IntN(3) == 0 {
				bound = 40_000
			}
			q.SetConfig(Config{MaxBytes: bound})
		}
		if rnd.IntN(10) == 0 {
			require.NoError(t, q.SetEndpoints(eps[:2+rnd.IntN(2)]))
		}
		for range rnd.IntN(100) {
			q.Append(sources[rnd.IntN(len(sources))].next())
			time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
			if rnd.IntN(3) == 0 {
				readSome(t, q, rnd)
			}
		}
		if rnd.IntN(8) == 0 {
			drain(t, q)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		check(t, q)
		q.mu.Lock()
		require.Empty(t, q.spool.touched)
		q.mu.Unlock()
		want := waiting(t, q)
		names := []Endpoint{{Name: "c"}, {Name: "b"}, {Name: "a"}}
		later := spooled(t, crash(t, dir), opts, names...)
		require.Equal(t, want, waiting(t, later))
		check(t, later)
		if len(want) > 0 {
			nonempty++
		}
		if rnd.IntN(3) == 0 {
			// Go on with what the crash has left.
			q.Discard()
			q, dir = later, later.directory
			for _, s := range sources {
				s.gen, s.labels = s.gen+1, model.LabelsBuilder{}
			}
		} else {
			later.Discard()
		}
	}
	require.Greater(t, nonempty, 5)
	drain(t, q)
	require.Zero(t, q.State().Bytes)
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	require.Zero(t, q.State().Directory.Bytes)
}

// readSome lets a reader of an endpoint finish something, or a part of it.
func readSome(t *testing.T, q *Queue, rnd *rand.Rand) {
	ep := q.State().Endpoints
	f := feed(t, q, ep[rnd.IntN(len(ep))].Name)
	if f.Waiting() == 0 {
		return
	}
	r := f.Reader()
	spans := next(t, r, 1+rnd.IntN(300))
	if last := &spans[len(spans)-1]; rnd.IntN(2) == 0 && last.Samples() > 1 {
		*last = last.Prefix(1 + rnd.IntN(last.Samples()))
	}
	r.Settle(len(spans))
}

func drain(t *testing.T, q *Queue) {
	for _, ep := range q.State().Endpoints {
		f := feed(t, q, ep.Name)
		r := f.Reader()
		for f.Waiting() > 0 {
			r.Settle(len(next(t, r, 1000)))
		}
	}
}

// TestJournalStaysSmall although blocks wait long among frames that do not.
func TestJournalStaysSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := defaultSpool()
		opts.SegmentBytes, opts.slack = 10_000, 30_000
		dir := t.TempDir()
		q := spooled(t, dir, opts, Endpoint{Name: "a"}, Endpoint{Name: "b", Jobs: []string{"j1"}})
		a := feed(t, q, "a").Reader()
		shapes := []*model.Shape{shape(0, 100), shape(1, 100)}
		put := func(target int, ts int64) {
			f := frame(uint64(target), ts, 100)
			f.Shape = shapes[target]
			q.Append(f)
		}
		for ts := range int64(400) {
			put(0, ts)
			if ts%10 == 0 {
				put(1, ts)
			}
			time.Sleep(3 * time.Second)
			a.Settle(len(next(t, a, 1000)))
		}
		synctest.Wait()
		needed := int64(0)
		for _, s := range q.spool.live {
			needed += s.bytes
		}
		require.LessOrEqual(t, q.State().Directory.Bytes, 2*needed+opts.slack+2*opts.SegmentBytes)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		later := spooled(t, crash(t, dir), opts, Endpoint{Name: "b"})
		require.Equal(t, int64(4000), later.State().Endpoints[0].Samples)
		q.Discard()
		later.Discard()
	})
}

// TestShapesAreThereWhenNeeded: each in a segment of its own, which stays while
// something needs it, also when nothing did in between.
func TestShapesAreThereWhenNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := defaultSpool()
		opts.SegmentBytes = 1
		eps := []Endpoint{{Name: "a", Jobs: []string{""}}, {Name: "down", Jobs: []string{"j2"}}}
		q := spooled(t, t.TempDir(), opts, eps...)
		r := feed(t, q, "a").Reader()
		var growing model.LabelsBuilder
		var sh *model.Shape
		for ts := range int64(30) {
			if ts%3 == 0 {
				growing.Append([]model.Label{{Name: "n", Value: strconv.FormatInt(ts, 10)}})
				sh = &model.Shape{Target: 1, Labels: growing.Labels()}
			}
			if ts == 10 {
				q.Append(frame(2, 0, 4)) // keeps all segments after its own
			}
			q.Append(&model.Frame{Shape: sh, Time: ts, Values: make([]float64, sh.Slots())})
			time.Sleep(3 * time.Second)
			synctest.Wait()
			later := spooled(t, crash(t, q.directory), opts, eps...)
			require.Equal(t, waiting(t, q), waiting(t, later))
			require.Len(t, waiting(t, q)["a 1"], sh.Slots())
			check(t, later)
			later.Discard()
			r.Settle(len(next(t, r, 1000)))
		}
		q.Discard()
	})
}

// TestClockSteps: when the clock was set, entries are still in the order in which
// they came, and none is from the future.
func TestClockSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j, err := journal.Open(dir, journal.Options{}, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		put := func(b []byte) {
			_, err := j.Append(b)
			require.NoError(t, err)
		}
		f := frame(1, 1, 1)
		put(appendShape(nil, 3, f.Shape))
		for i, hours := range []int{-1, -3, 5, -2} {
			old := &Queue{start: time.Now(), endpoints: []*endpoint{{Endpoint: Endpoint{Name: "a"}}}}
			e := &entry{target: &target{id: 1}, gen: &generation{stored: &shapeRecord{id: 3}}, seq: uint64(i), until: uint64(i),
				first: time.Duration(hours) * time.Hour, last: time.Duration(hours) * time.Hour, frames: 1, samples: 1, waiting: 1}
			e.target.lanes = []*lane{{ep: old.endpoints[0], head: e}}
			put(plainEncode(old.entryHead(e), []*model.Frame{f}))
		}
		require.NoError(t, j.Close())
		q := spooled(t, dir, defaultSpool(), Endpoint{Name: "a"})
		check(t, q)
		var ages []time.Duration
		for e := q.oldest; e != nil; e = e.newer {
			ages = append(ages, q.now()-e.last)
		}
		require.Equal(t, []time.Duration{time.Hour, time.Hour, 0, 0}, ages)
		q.Discard()
	})
}

// TestStopKeepsWhatIsLeft, also what is too young to be on disk.
func TestStopKeepsWhatIsLeft(t *testing.T) {
	dir := t.TempDir()
	q := spooled(t, dir, defaultSpool(), Endpoint{Name: "a"}, Endpoint{Name: "b"})
	for ts := range int64(12) {
		q.Append(frame(uint64(ts%2), ts, 10))
	}
	r := feed(t, q, "a").Reader()
	next(t, r, 15)
	r.Settle(1)
	q.Close()
	samples := q.State().Endpoints[0].Samples
	require.Equal(t, map[string]int64{"a": 0, "b": 0}, q.Discard())
	require.Equal(t, map[string]int64{"a": 0, "b": 0}, q.Discard())
	st := q.State()
	require.Zero(t, st.Bytes)
	require.Zero(t, st.Endpoints[0].Dropped[ReasonShutdown])

	q = spooled(t, dir, defaultSpool(), Endpoint{Name: "a"}, Endpoint{Name: "b"})
	require.Equal(t, samples, q.State().Endpoints[0].Samples)
	require.Equal(t, int64(120), q.State().Endpoints[1].Samples)
	drain(t, q)
	q.Discard()
	entries, err := filepath.Glob(filepath.Join(dir, "segment-*"))
	require.NoError(t, err)
	require.Empty(t, entries)
}

// sick is a journal on a disk that fails.
type sick struct {
	journalFile
	mu           sync.Mutex
	append, sync error
	after        int // appends that still work
}

func (s *sick) Append(b []byte) (journal.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.append != nil {
		if s.after--; s.after < 0 {
			return journal.Position{}, s.append
		}
	}
	return s.journalFile.Append(b)
}

func (s *sick) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.sync, s.journalFile.Sync())
}

func (s *sick) set(appending, syncing error, after int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.append, s.sync, s.after = appending, syncing, after
}

func TestDiskErrors(t *testing.T) {
	for _, how := range []string{"append", "append later", "sync"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { diskErrors(t, how) })
		})
	}
}

func diskErrors(t *testing.T, how string) {
	dir := t.TempDir()
	q := spooled(t, dir, defaultSpool(), Endpoint{Name: "a"})
	j := &sick{journalFile: q.spool.journal}
	q.spool.journal = j
	put := func(from int64) {
		for ts := from; ts < from+8; ts++ {
			q.Append(frame(uint64(ts%2), ts, 10))
			time.Sleep(200 * time.Millisecond)
		}
	}
	put(0)
	time.Sleep(2 * time.Second)
	synctest.Wait()
	failure := errors.New("the disk does not like it")
	switch how {
	case "append":
		j.set(failure, nil, 0)
	case "append later":
		j.set(failure, nil, 2)
	case "sync":
		j.set(nil, failure, 0)
	}
	r := feed(t, q, "a").Reader()
	next(t, r, 15)
	r.Settle(1)
	put(8)
	f := frame(5, 50, 10)
	q.Append(f)
	time.Sleep(time.Minute)
	synctest.Wait()
	require.Contains(t, q.State().Directory.Error, failure.Error())
	require.Greater(t, q.State().Directory.Errors, int64(10))
	check(t, q)
	r.Settle(len(next(t, r, 25))) // scraping and sending go on
	put(16)
	q.Append(&model.Frame{Shape: f.Shape, Time: 51, Values: f.Values})
	j.set(nil, nil, 0)
	time.Sleep(3 * time.Second)
	synctest.Wait()
	require.Empty(t, q.State().Directory.Error)
	later := spooled(t, crash(t, dir), defaultSpool(), Endpoint{Name: "a"})
	require.Equal(t, waiting(t, q), waiting(t, later))
	require.Equal(t, q.State().Endpoints[0].Samples, later.State().Endpoints[0].Samples)
	later.Discard()
	// What cannot be kept at the end is lost, and said to be.
	j.set(nil, failure, 0)
	q.Append(frame(1, 100, 3))
	lost := q.Discard()["a"]
	require.Equal(t, q.State().Endpoints[0].Dropped[ReasonShutdown], lost)
	require.Positive(t, lost)
}

// TestUnusableDirectory is an error that is shown, and no reason not to start.
func TestUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	q := newQueue(t, Config{Directory: file}, Endpoint{Name: "a"})
	q.Append(frame(1, 1, 10))
	require.Equal(t, 10, feed(t, q, "a").Waiting())
	require.Contains(t, q.State().Directory.Error, "file")
	require.Equal(t, int64(10), q.Discard()["a"])
}

// TestDamage: what cannot be read is left out; everything else is there.
func TestDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := defaultSpool()
		opts.SegmentBytes = 3000
		dir := t.TempDir()
		q := spooled(t, dir, opts, Endpoint{Name: "a"})
		for ts := range int64(40) {
			q.Append(frame(uint64(ts%3), ts, 50))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		dir = crash(t, dir)
		files, err := filepath.Glob(filepath.Join(dir, "segment-*"))
		require.NoError(t, err)
		require.Greater(t, len(files), 3)
		for _, f := range files {
			b, err := os.ReadFile(f)
			require.NoError(t, err)
			for _, at := range []int{len(b) / 2, len(b) - 5} {
				broken := slices.Clone(b)
				broken[at] ^= 0x10
				require.NoError(t, os.WriteFile(f, broken, 0o600))
				later := spooled(t, crash(t, dir), opts, Endpoint{Name: "a"})
				check(t, later)
				st := later.State()
				require.Positive(t, st.Directory.DamagedBytes)
				require.Positive(t, st.Endpoints[0].Samples)
				require.Less(t, st.Endpoints[0].Samples, int64(2001))
				drain(t, later)
				require.Zero(t, later.State().Endpoints[0].Dropped[ReasonCorrupt]-st.Endpoints[0].Dropped[ReasonCorrupt])
				later.Discard()
			}
			require.NoError(t, os.WriteFile(f, b, 0o600))
		}
		q.Discard()
	})
}

const childDirectory = "BUFFER_TEST_DIRECTORY"

func childOptions() spoolOptions {
	o := defaultSpool()
	o.every, o.after = 20*time.Millisecond, 20*time.Millisecond
	o.SegmentBytes, o.slack = 100_000, 200_000
	return o
}

// TestChild is no test but what the next one kills.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDirectory)
	if dir == "" {
		t.Skip("only as a child process")
	}
	q := spooled(t, dir, childOptions(), Endpoint{Name: "a"}, Endpoint{Name: "down"})
	r := feed(t, q, "a").Reader()
	fmt.Println("ready", feed(t, q, "a").Waiting())
	from, err := strconv.ParseInt(os.Getenv(childDirectory+"_FROM"), 10, 64)
	require.NoError(t, err)
	for ts := from; ; ts++ {
		q.Append(frame(uint64(ts%7), ts, 5))
		fmt.Println("appended", ts, time.Now().UnixMilli())
		if ts%3 == 0 {
			spans := next(t, r, 20)
			got := times(spans)
			r.Settle(len(spans))
			for _, at := range got {
				fmt.Println("settled", at, time.Now().UnixMilli())
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// TestKill: what was not acknowledged is there again after kill -9, save what
// came right before, and in order.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	appended, settled := map[int64]int64{}, map[int64]int64{}
	last := int64(0)
	for range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
		cmd.Env = append(os.Environ(), childDirectory+"="+dir, childDirectory+"_FROM="+strconv.FormatInt(last+1, 10))
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		killed := int64(0)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			f := strings.Fields(lines.Text())
			switch {
			case len(f) == 3 && f[0] == "appended":
				last, _ = strconv.ParseInt(f[1], 10, 64)
				appended[last], _ = strconv.ParseInt(f[2], 10, 64)
			case len(f) == 3 && f[0] == "settled":
				ts, _ := strconv.ParseInt(f[1], 10, 64)
				settled[ts], _ = strconv.ParseInt(f[2], 10, 64)
			}
			if n == 600 {
				require.NoError(t, cmd.Process.Kill())
				killed = time.Now().UnixMilli()
			}
		}
		require.Error(t, cmd.Wait(), "killed")
		require.Positive(t, killed)

		q := spooled(t, crash(t, dir), childOptions(), Endpoint{Name: "a"}, Endpoint{Name: "down"})
		got := map[string][]int64{}
		for _, name := range []string{"a", "down"} {
			f := feed(t, q, name)
			r := f.Reader()
			for f.Waiting() > 0 {
				spans := next(t, r, 1000)
				got[name] = append(got[name], times(spans)...)
				r.Settle(len(spans))
			}
			slices.SortStableFunc(got[name], func(a, b int64) int { return cmp.Compare(a%7, b%7) })
			for i := 1; i < len(got[name]); i++ {
				require.True(t, got[name][i-1]%7 != got[name][i]%7 || got[name][i-1] < got[name][i], "each target in order")
			}
		}
		q.Discard()
		// A machine with much to do may let a write wait; how long is not the point.
		const grace = 1500
		for ts, at := range appended {
			if at < killed-grace {
				require.Contains(t, got["down"], ts)
				if settled[ts] == 0 {
					require.Contains(t, got["a"], ts)
				}
			} else if !slices.Contains(got["down"], ts) {
				delete(appended, ts) // lost for good
			}
		}
		for _, ts := range got["a"] {
			require.True(t, settled[ts] == 0 || settled[ts] > killed-grace, "acknowledged long ago")
			delete(settled, ts)
		}
	}
	require.Greater(t, len(appended), 100)
}

func FuzzRecords(f *testing.F) {
	q := &Queue{endpoints: []*endpoint{{Endpoint: Endpoint{Name: "a"}}}}
	e := &entry{target: &target{id: 7}, gen: &generation{stored: &shapeRecord{id: 3}}, seq: 5, until: 9, frames: 2, samples: 3, plain: 4, waiting: 1}
	l := &lane{ep: q.endpoints[0], head: e, cell: 4, left: 2}
	e.target.lanes = []*lane{l}
	f.Add(append(q.entryHead(e), "block"...))
	f.Add(q.stateRecord(e))
	sh := frame(1, 1, 20).Shape
	sh.Families = []unique.Handle[model.Family]{unique.Make(model.Family{Name: "m", Help: "h", Type: model.TypeCounter})}
	sh.Family = make([]uint16, 20)
	f.Add(appendShape(nil, 4, sh))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		if s, err := parseShape(b[1:]); b[0] == recordShape && err == nil {
			again, err := parseShape(appendShape(nil, s.id, s.shape)[1:])
			require.NoError(t, err)
			require.Equal(t, s, again)
		}
		r := &replayed{shapes: map[uint64]*replayedShape{}, entries: map[uint64][]*storedEntry{}}
		r.read(position{1, 1}, b)
		r.read(position{1, 1}, b)
		for _, list := range r.entries {
			require.LessOrEqual(t, len(list), 1)
		}
	})
}

func TestRecordsReadBack(t *testing.T) {
	q := &Queue{start: time.UnixMilli(1_000_000), endpoints: []*endpoint{{Endpoint: Endpoint{Name: "a"}}, {Endpoint: Endpoint{Name: "b"}, slot: 1}}}
	e := &entry{target: &target{id: 7}, gen: &generation{stored: &shapeRecord{id: 3}}, seq: 5, until: 9,
		first: time.Second, last: 2 * time.Second, frames: 2, samples: 3, plain: 4, waiting: 3}
	e.target.lanes = []*lane{{ep: q.endpoints[0], head: e, cell: 4, left: 2}, {ep: q.endpoints[1], head: e}}
	got, err := parseEntry(append(q.entryHead(e), "block"...)[1:], false)
	require.NoError(t, err)
	want := storedEntry{
		target: 7, seq: 5, until: 9, shape: 3, first: 1_001_000, last: 1_002_000, frames: 2, samples: 3, plain: 4,
		readers: []storedReader{{"a", 4, 2}, {"b", 0, 0}}, data: []byte("block"),
	}
	require.Equal(t, want, got)
	b := q.stateRecord(e)[1:]
	got, err = parseEntry(b, true)
	require.NoError(t, err)
	require.Equal(t, storedEntry{target: 7, seq: 5, until: 9, readers: want.readers}, got)
	for n := range b {
		_, err := parseEntry(b[:n], true)
		require.ErrorIs(t, err, errRecord)
	}
}

// TestOverride: what a record about a range of frames does to what is known.
func TestOverride(t *testing.T) {
	at := func(seq, until uint64, names ...string) *storedEntry {
		e := &storedEntry{seq: seq, until: until}
		for _, n := range names {
			e.readers = append(e.readers, storedReader{name: n})
		}
		return e
	}
	list := func() []*storedEntry { return []*storedEntry{at(1, 1, "a", "b"), at(2, 4, "a", "b"), at(7, 7, "b")} }
	ranges := func(l []*storedEntry) (out []string) {
		for _, e := range l {
			s := fmt.Sprint(e.seq, "-", e.until)
			for _, r := range e.readers {
				s += fmt.Sprint(" ", r.name, r.cell)
			}
			out = append(out, s)
		}
		return out
	}
	part := at(2, 4, "b")
	part.readers[0].cell = 9
	for _, c := range []struct {
		name  string
		e     *storedEntry
		state bool
		want  []string
	}{
		{"a new frame", at(9, 9, "a"), false, []string{"1-1 a0 b0", "2-4 a0 b0", "7-7 b0", "9-9 a0"}},
		{"one in between", at(5, 5, "a"), false, []string{"1-1 a0 b0", "2-4 a0 b0", "5-5 a0", "7-7 b0"}},
		{"a block of all", at(1, 7, "a"), false, []string{"1-7 a0"}},
		{"the same again", at(2, 4, "a"), false, []string{"1-1 a0 b0", "2-4 a0", "7-7 b0"}},
		{"a part of a block", at(3, 3, "a"), false, ranges(list())},
		{"finished", at(2, 4), true, []string{"1-1 a0 b0", "7-7 b0"}},
		{"finished as a block that was never written", at(1, 7), true, nil},
		{"finished by one, and begun by the other", part, true, []string{"1-1 a0 b0", "2-4 b9", "7-7 b0"}},
		{"begun as a block that was never written", at(1, 4, "b"), true, []string{"1-1 b0", "2-4 b0", "7-7 b0"}},
		{"state of a part", at(3, 3), true, ranges(list())},
		{"state of what is not known", at(8, 9), true, ranges(list())},
	} {
		require.Equal(t, c.want, ranges(override(list(), c.e, c.state)), c.name)
	}
}
