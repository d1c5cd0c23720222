package scrape

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
)

// inMemory is a transport that calls a handler, so that time can be fake.
type inMemory struct{ h http.HandlerFunc }

func (t *inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	t.h(rec, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

// lab is a manager with one job in memory.
type lab struct {
	*Manager
	t    *testing.T
	sink *frames
	reg  *prometheus.Registry
	tr   *inMemory
}

func newLab(t *testing.T, h http.HandlerFunc) *lab {
	reg := prometheus.NewPedanticRegistry()
	sink := newFrames()
	return &lab{New(Config{UserAgent: "test"}, sink, reg, slog.New(slog.DiscardHandler)), t, sink, reg, &inMemory{h}}
}

func text(pages ...string) http.HandlerFunc {
	var mu sync.Mutex
	n := 0
	return func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Content-Type", textType)
		_, _ = w.Write([]byte(pages[min(n, len(pages)-1)]))
		n++
	}
}

// apply scrapes the targets every 10 s with the given extra settings.
func (l *lab) apply(extra string, targets ...Target) {
	l.t.Helper()
	cfg := loadConfig(l.t, "scrape_configs: [{job_name: j, scrape_interval: 10s, scrape_timeout: 10s"+extra+"}]")
	for i := range targets {
		targets[i].Interval, targets[i].Timeout = 10*time.Second, 10*time.Second
	}
	require.NoError(l.t, l.Apply([]Job{{Config: cfg.ScrapeConfigs[0], Transport: l.tr, Targets: targets}}))
}

func one(id uint64, url string) Target {
	return Target{ID: id, URL: url, Labels: labels.FromStrings("job", "j", "instance", "it", "__address__", "a")}
}

// all returns the frames so far.
func (s *frames) all() []*model.Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*model.Frame(nil), s.list...)
}

// events writes down what a series went through, one word a frame.
func (s *frames) events(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, f := range s.list {
		word := "-"
		for i := range f.Shape.Slots() {
			if !strings.Contains(key(f.Shape.Labels.Append(nil, i)), fmt.Sprintf("__name__=%q", name)) {
				continue
			}
			switch v := f.Values[i]; {
			case model.IsAbsent(v):
			case model.IsStale(v):
				word = "stale"
			default:
				word = fmt.Sprint(v)
			}
		}
		out = append(out, word)
	}
	return strings.Join(out, " ")
}

func TestTargetThatGoesAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, text("m 1\n"))
		defer l.Stop()
		l.apply("", one(1, "http://a/"))
		time.Sleep(25 * time.Second)
		l.apply("")
		require.Empty(t, l.Targets())
		time.Sleep(11 * time.Second) // not long enough to be gone
		l.apply("", one(1, "http://a/"))
		time.Sleep(25 * time.Second)
		require.NotContains(t, l.sink.events("m"), "stale")
		shape := l.sink.all()[0].Shape
		for i, f := range l.sink.all() {
			require.Same(t, shape, f.Shape, "the series are kept")
			if i > 0 {
				require.Zero(t, (f.Time-l.sink.all()[0].Time)%10000, "and so is the rhythm")
			}
		}
		last := l.sink.all()[len(l.sink.all())-1].Time
		l.apply("")
		time.Sleep(time.Minute)
		require.True(t, strings.HasSuffix(l.sink.events("m"), "1 stale"))
		require.True(t, strings.HasSuffix(l.sink.events("up"), "1 stale"))
		require.Equal(t, last+10000, l.sink.all()[len(l.sink.all())-1].Time, "at the time of the scrape that was not")
		l.mu.Lock()
		require.Empty(t, l.targets)
		l.mu.Unlock()
	})
}

func TestFirstScrapeIsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, text("m 1\n"))
		defer l.Stop()
		l.cfg.FirstWithin = time.Second
		start := time.Now()
		var ts []Target
		for id := range uint64(50) {
			ts = append(ts, one(id, "http://a/"))
		}
		l.apply("", ts...)
		time.Sleep(35 * time.Second)
		times := map[uint64][]int64{}
		for _, f := range l.sink.all() {
			times[f.Shape.Target] = append(times[f.Shape.Target], f.Time)
		}
		require.Len(t, times, 50)
		for _, at := range times {
			require.Less(t, at[0]-start.UnixMilli(), int64(1000))
			for i := 2; i < len(at); i++ {
				require.EqualValues(t, 10000, at[i]-at[i-1], "then the usual rhythm")
			}
		}
	})
}

func TestOnlyScrapesOfOurTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, text("m 1\n"))
		defer l.Stop()
		a, b := one(1, "http://a/"), one(2, "http://b/")
		now := time.Now()
		a.Until, b.From = now.Add(time.Minute), now.Add(time.Minute)
		b.Labels = labels.FromStrings("job", "j", "instance", "b", "__address__", "b")
		l.apply("", a, b)
		time.Sleep(2 * time.Minute)
		n := map[uint64]int{}
		for _, f := range l.sink.all() {
			n[f.Shape.Target]++
			require.Equal(t, f.Shape.Target == 2, f.Time >= b.From.UnixMilli())
		}
		require.Equal(t, map[uint64]int{1: 6, 2: 6}, n)
		cfg := loadConfig(t, "scrape_configs: [{job_name: j, scrape_interval: 10s}]")
		require.NoError(t, l.Apply([]Job{{Config: cfg.ScrapeConfigs[0], Transport: l.tr, Moved: []uint64{1}}}))
		time.Sleep(2 * time.Minute)
		ended := map[uint64]bool{}
		for _, f := range l.sink.all() {
			ended[f.Shape.Target] = model.IsStale(f.Values[0])
		}
		require.Equal(t, map[uint64]bool{1: false, 2: true}, ended, "a target that moved lives on elsewhere")
	})
}

// TestTakenOverTargetKeepsItsRhythm: who takes a target over has its first scrape
// when it is due, also if discovery has found the target anew by then.
func TestTakenOverTargetKeepsItsRhythm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, text("m 1\n"))
		defer l.Stop()
		l.cfg.FirstWithin = time.Second
		var due []time.Time
		var ts []Target
		for id := range uint64(20) {
			target := one(id, "http://a/")
			target.From = time.Now().Add(3 * time.Second)
			due = append(due, target.From.Add(offset(id, 0, 10*time.Second, target.From)))
			ts = append(ts, target)
		}
		l.apply("", ts...)
		time.Sleep(3*time.Second + time.Millisecond)
		for i := range ts {
			ts[i].From, ts[i].Labels = time.Time{}, labels.FromStrings("job", "j", "instance", "a", "__address__", "a", "__new", "1")
		}
		l.apply("", ts...)
		time.Sleep(25 * time.Second)
		n := map[uint64]int{}
		for _, f := range l.sink.all() {
			id := f.Shape.Target
			require.Equal(t, due[id].UnixMilli()+int64(n[id])*10000, f.Time)
			n[id]++
		}
		require.Len(t, n, 20)
	})
}

// TestGoneBeforeTakenOver: a target that has moved and is gone before the other
// collector can have scraped it is marked by the one that did.
func TestGoneBeforeTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, text("m 1\n"))
		defer l.Stop()
		cfg := loadConfig(t, "scrape_configs: [{job_name: j, scrape_interval: 10s}]")
		moved := func(ids ...uint64) {
			require.NoError(t, l.Apply([]Job{{Config: cfg.ScrapeConfigs[0], Transport: l.tr, Moved: ids}}))
		}
		b := one(2, "http://b/")
		b.Labels = labels.FromStrings("job", "j", "instance", "b", "__address__", "b")
		l.apply("", one(1, "http://a/"), b)
		time.Sleep(25 * time.Second)
		// Both have moved since their last scrape; one is gone before the next.
		last := map[uint64]int64{}
		for _, f := range l.sink.all() {
			last[f.Shape.Target] = f.Time
		}
		moved(1, 2)
		moved(2)
		time.Sleep(time.Minute)
		for _, f := range l.sink.all() {
			if model.IsStale(f.Values[0]) {
				require.EqualValues(t, 1, f.Shape.Target)
				require.Equal(t, last[1]+10000, f.Time)
				delete(last, 1)
			}
		}
		require.Len(t, last, 1)
		l.mu.Lock()
		require.Empty(t, l.targets)
		l.mu.Unlock()
	})
}

// TestGoneAndBackElsewhere: a target that is gone for a moment and then another
// collector's has not ended.
func TestGoneAndBackElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, text("m 1\n"))
		defer l.Stop()
		l.apply("", one(1, "http://a/"))
		time.Sleep(25 * time.Second)
		l.apply("")
		time.Sleep(5 * time.Second)
		cfg := loadConfig(t, "scrape_configs: [{job_name: j, scrape_interval: 10s}]")
		require.NoError(t, l.Apply([]Job{{Config: cfg.ScrapeConfigs[0], Transport: l.tr, Moved: []uint64{1}}}))
		time.Sleep(time.Minute)
		require.NotContains(t, l.sink.events("up"), "stale")
	})
}

// TestStopMarksWhatIsGone: nobody comes after a collector that stops for targets
// that discovery does not have any more.
func TestStopMarksWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, text("m 1\n"))
		b := one(2, "http://b/")
		b.Labels = labels.FromStrings("job", "j", "instance", "b", "__address__", "b")
		l.apply("", one(1, "http://a/"), b)
		time.Sleep(25 * time.Second)
		l.apply("", b)
		time.Sleep(time.Second)
		before := len(l.sink.all())
		l.Stop()
		frames := l.sink.all()
		require.Len(t, frames, before+1)
		require.EqualValues(t, 1, frames[before].Shape.Target)
		require.True(t, model.IsStale(frames[before].Values[0]))
		require.LessOrEqual(t, frames[before].Time, time.Now().UnixMilli())
	})
}

// TestFinishWaitsForWhatHasBegun: who takes a target over does not make the
// scrapes again that were under way.
func TestFinishWaitsForWhatHasBegun(t *testing.T) {
	for name, tc := range map[string]struct {
		takes time.Duration
		up    string
	}{"in time": {time.Second, "1 1"}, "too long": {3 * time.Second, "1"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var slow atomic.Bool
				begun := make(chan struct{}, 1)
				l := newLab(t, func(w http.ResponseWriter, r *http.Request) {
					if slow.Load() {
						begun <- struct{}{}
						select {
						case <-time.After(tc.takes):
						case <-r.Context().Done():
						}
					}
					text("m 1\n")(w, r)
				})
				l.apply("", one(1, "http://a/"))
				time.Sleep(10 * time.Second)
				require.Equal(t, "1", l.sink.events("up"))
				slow.Store(true)
				<-begun
				began := time.Now()
				l.apply("") // as when its time is over
				l.Finish(2 * time.Second)
				require.Equal(t, min(tc.takes, 2*time.Second), time.Since(began))
				l.Stop()
				require.Equal(t, tc.up, strings.TrimSuffix(l.sink.events("up"), " stale"))
			})
		})
	}
}

// TestDueAfter sets the clock.
func TestDueAfter(t *testing.T) {
	tr := &target{id: 7, m: &Manager{}}
	const interval = 10 * time.Second
	due := tr.nextDue(time.Unix(1000, 0), interval)
	for late, want := range map[time.Duration]time.Duration{
		time.Millisecond:        interval,
		9 * time.Second:         interval,
		15 * time.Second:        interval, // at once
		25 * time.Second:        2 * interval,
		time.Hour + time.Second: time.Hour,
		-time.Microsecond:       interval, // the timer was early
		-9 * time.Second:        interval,
		-11 * time.Second:       -interval,
		-time.Hour:              -time.Hour, // which is when one would have been due
	} {
		require.Equal(t, due.Add(want), tr.dueAfter(due, due.Add(late), interval), late)
	}
}

func TestHeldScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, text("m 1\n"))
		defer l.Stop()
		var hold atomic.Bool
		l.cfg.Hold = hold.Load
		l.apply("", one(1, "http://a/"))
		time.Sleep(25 * time.Second)
		hold.Store(true)
		time.Sleep(30 * time.Second)
		hold.Store(false)
		time.Sleep(20 * time.Second)
		require.NotContains(t, l.sink.events("m"), "stale")
		require.NotContains(t, l.sink.events("up"), "0")
		families, err := l.reg.Gather()
		require.NoError(t, err)
		require.EqualValues(t, 3, valueOf(families, "mangru_collector_scrapes_total", "held"))
	})
}

func TestHeirKeepsTheSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", textType)
			fmt.Fprintln(w, "both 1")
			if r.URL.Host == "old" {
				fmt.Fprintln(w, "only_old 1")
			}
		})
		defer l.Stop()
		l.apply("", one(1, "http://old/"))
		time.Sleep(25 * time.Second)
		l.apply("", one(2, "http://new/"))
		time.Sleep(time.Minute)
		require.NotContains(t, l.sink.events("both"), "stale")
		require.NotContains(t, l.sink.events("up"), "stale")
		require.Contains(t, l.sink.events("only_old"), "stale")
	})
}

func TestReloadJudgesSeriesAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, text("a 1\nb 2\n"))
		defer l.Stop()
		l.apply("", one(1, "http://a/"))
		time.Sleep(15 * time.Second)
		before := len(l.sink.all())
		l.apply(", sample_limit: 100", one(1, "http://a/"))
		time.Sleep(10 * time.Second)
		require.Len(t, l.sink.all(), before+1)
		require.Same(t, l.sink.all()[0].Shape, l.sink.all()[before].Shape)
		l.apply(", metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]", one(1, "http://a/"))
		time.Sleep(20 * time.Second)
		require.True(t, strings.HasSuffix(l.sink.events("b"), "2 stale -"), l.sink.events("b"))
		require.NotContains(t, l.sink.events("a"), "stale")
	})
}

// TestFailedPageEndsEverySeries: after a page that fails in its middle, we mark
// every series stale. Prometheus v0.315 leaves out those that it had read before
// the failure, which then live on for as long as pages fail that way, while up
// is 0.
func TestFailedPageEndsEverySeries(t *testing.T) {
	for name, bad := range map[string]string{
		"parse error":  "a 2\nb{x= 1\n",
		"sample limit": "a 2\nb 2\nc 3\nd 4\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				good := "a 1\nb 1 \n"
				l := newLab(t, text(good, good, bad, bad, good))
				defer l.Stop()
				l.apply(", sample_limit: 3", one(1, "http://a/"))
				time.Sleep(50 * time.Second)
				require.Equal(t, "1 1 stale - 1", l.sink.events("a"))
				require.Equal(t, "1 1 stale - 1", l.sink.events("b"))
				require.Equal(t, "1 1 0 0 1", l.sink.events("up"))
			})
		})
	}
}

func TestOwnTimeOfAFailedPageIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := time.Now().UnixMilli() - 1000
		page := fmt.Sprintf("o 1 %d\n", ts)
		l := newLab(t, text(page+"broken{\n", page, page))
		defer l.Stop()
		l.apply("", one(1, "http://a/"))
		time.Sleep(30 * time.Second)
		require.Len(t, l.sink.all(), 3)
		require.Equal(t, "- 1 -", l.sink.events("o"), "the first page did not count, and the same sample is not sent again")
	})
}

func TestStateMetricsAndLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", textType)
			switch r.URL.Host {
			case "gzip", "bomb":
				n := map[string]int{"gzip": 100, "bomb": 200000}[r.URL.Host]
				assert.Equal(t, "gzip", r.Header.Get("Accept-Encoding"))
				w.Header().Set("Content-Encoding", "gzip")
				zw := gzip.NewWriter(w)
				_, _ = zw.Write(bytes.Repeat([]byte("# padding\n"), n))
				_, _ = zw.Write([]byte("g 5\ndrop_me 1\n"))
				_ = zw.Close()
			case "cut":
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write([]byte{0x1f, 0x8b, 8, 0})
			case "slow":
				<-r.Context().Done()
			case "gone":
				w.WriteHeader(http.StatusNotFound)
			}
		})
		defer l.Stop()
		var ts []Target
		for i, host := range []string{"gzip", "bomb", "cut", "slow", "gone"} {
			ts = append(ts, one(uint64(i+1), "http://"+host+"/metrics?secret=x"))
		}
		l.apply(", body_size_limit: 1MB, metric_relabel_configs: [{source_labels: [__name__], regex: drop_me, action: drop}]", ts...)
		time.Sleep(20 * time.Second)
		errs := map[string]string{}
		for _, st := range l.Targets() {
			errs[strings.Split(st.URL, "/")[2]] = string(st.Health) + " " + st.LastError
			require.NotContains(t, st.LastError, "secret")
		}
		require.Equal(t, "up ", errs["gzip"])
		require.Contains(t, errs["bomb"], "body size limit exceeded")
		require.Contains(t, errs["cut"], "unpacking the body")
		require.Contains(t, errs["slow"], "deadline exceeded")
		require.Contains(t, errs["gone"], "404")
		require.Contains(t, l.sink.events("g"), "5")
		require.NoError(t, testutil.GatherAndCompare(l.reg, strings.NewReader(`
# HELP mangru_collector_targets Targets by job and health.
# TYPE mangru_collector_targets gauge
mangru_collector_targets{health="down",job="j"} 4
mangru_collector_targets{health="up",job="j"} 1
`), "mangru_collector_targets"))
		families, err := l.reg.Gather()
		require.NoError(t, err)
		require.Positive(t, valueOf(families, "mangru_collector_scrape_dropped_samples_total", "metric_relabel"))
	})
}

func TestTargetLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, text("m 1\n"))
		defer l.Stop()
		l.apply(", target_limit: 1", one(1, "http://a/"), one(2, "http://b/"))
		time.Sleep(15 * time.Second)
		for _, st := range l.Targets() {
			require.Contains(t, st.LastError, "target_limit exceeded (number of targets: 2, limit: 1)")
		}
		require.NotContains(t, l.sink.events("up"), "1")
	})
}

func TestManyReloadsUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, text("m 1\nn 2\n"))
		defer l.Stop()
		for i := range 300 {
			var ts []Target
			for id := range 20 {
				if (i+id)%5 != 0 {
					tg := one(uint64(id), "http://a/")
					tg.Labels = labels.FromStrings("job", "j", "instance", fmt.Sprint(id))
					ts = append(ts, tg)
				}
			}
			l.apply(fmt.Sprintf(", sample_limit: %d", 10+i%3), ts...)
			time.Sleep(700 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		// Each target's frames are in order, and none is there twice.
		last := map[uint64]int64{}
		for _, f := range l.sink.all() {
			require.Greater(t, f.Time, last[f.Shape.Target])
			last[f.Shape.Target] = f.Time
		}
		require.Len(t, l.Targets(), 16)
	})
}

func TestApplyNamesTheJobThatFails(t *testing.T) {
	l := newLab(t, text("m 1\n"))
	defer l.Stop()
	cfg := loadConfig(t, "scrape_configs: [{job_name: bad, tls_config: {ca_file: /does/not/exist}}, {job_name: good}]")
	err := l.Apply([]Job{{Config: cfg.ScrapeConfigs[0]}, {Config: cfg.ScrapeConfigs[1]}})
	require.ErrorContains(t, err, `job "bad"`)
	require.NotContains(t, err.Error(), `"good"`)
}

func TestOffset(t *testing.T) {
	now := time.Unix(1_700_000_000, 123)
	spread := map[time.Duration]int{}
	for id := range uint64(1000) {
		d := offset(id, 1, 15*time.Second, now)
		require.GreaterOrEqual(t, d, time.Duration(0))
		require.Less(t, d, 15*time.Second)
		require.Equal(t, now.Add(d).UnixNano()%int64(15*time.Second),
			now.Add(time.Hour).Add(offset(id, 1, 15*time.Second, now.Add(time.Hour))).UnixNano()%int64(15*time.Second), "pinned to the clock")
		spread[d/time.Second]++
	}
	for s, n := range spread {
		require.Less(t, n, 120, "second %d", s)
	}
}

func TestNaNs(t *testing.T) {
	for _, v := range []float64{math.NaN(), model.Absent(), math.Float64frombits(0xfff8000000000001)} {
		require.True(t, math.IsNaN(plainNaN(v)))
		require.False(t, model.IsAbsent(plainNaN(v)))
	}
	require.True(t, model.IsStale(plainNaN(model.Stale())))
	require.Equal(t, 1.5, plainNaN(1.5))
}
