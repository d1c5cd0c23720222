package send

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/otelconf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// list is a Source over frames that are all there from the start.
type list struct {
	spans  []model.Span
	copies []model.Span
}

func (l *list) Next(ctx context.Context, maxSamples int, _ time.Duration) ([]model.Span, error) {
	if len(l.spans) == 0 {
		return nil, io.EOF
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	l.copies = l.copies[:0]
	for i, sp := range l.spans {
		if sp.Samples() > maxSamples {
			if i == 0 {
				l.copies = append(l.copies, sp.Prefix(maxSamples))
			}
			break
		}
		maxSamples -= sp.Samples()
		l.copies = append(l.copies, sp)
	}
	return l.copies, nil
}

func (l *list) Settle(n int) {
	for _, sp := range l.copies[:n] {
		l.spans[0].From = sp.To
		if l.spans[0].Samples() == 0 {
			l.spans = l.spans[1:]
		}
	}
}

// sink decodes what it gets and answers as told.
type sink struct {
	mu       sync.Mutex
	got      map[string][]prompb.Sample
	requests int
	size     int                                // of the last body
	answer   func(n int, w http.ResponseWriter) // writes a refusal, or nothing
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.size = len(body)
	rec := httptest.NewRecorder()
	if s.answer != nil {
		s.answer(s.requests, rec)
	}
	if rec.Code/100 == 2 {
		raw, err := snappy.Decode(nil, body)
		if err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		var req prompb.WriteRequest
		if err := req.Unmarshal(raw); err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		for _, ts := range req.Timeseries {
			b := labels.NewScratchBuilder(0)
			for _, l := range ts.Labels {
				b.Add(l.Name, l.Value)
			}
			key := b.Labels().String()
			if s.got == nil {
				s.got = map[string][]prompb.Sample{}
			}
			s.got[key] = append(s.got[key], ts.Samples...)
		}
	}
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

// direct is a transport that calls a handler, so that fake time can be used.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	d.h.ServeHTTP(rec, r)
	return rec.Result(), nil
}

func frames(rnd *rand.Rand, target uint64, n int) []model.Span {
	var out []model.Span
	sh := &model.Shape{Target: target}
	gen, version := uint64(0), uint64(0)
	for ts := range n {
		if rnd.IntN(20) == 0 { // a new list
			gen++
			sh = &model.Shape{Target: target, Generation: gen}
		}
		if k := rnd.IntN(3); k > 0 || len(sh.Series) == 0 {
			version++
			longer := &model.Shape{Target: target, Generation: gen, Version: version}
			longer.Series = append(longer.Series, sh.Series...)
			for range k + 1 {
				longer.Series = append(longer.Series, model.Series{Labels: []model.Label{
					{Name: "__name__", Value: fmt.Sprintf("m%d", len(longer.Series))},
					{Name: "t", Value: fmt.Sprint(target)},
				}})
			}
			sh = longer
		}
		f := &model.Frame{Shape: sh, Time: int64(1000 * (ts + 1)), Values: make([]float64, len(sh.Series))}
		for i := range f.Values {
			switch rnd.IntN(8) {
			case 0:
				f.Values[i] = model.Absent()
			case 1:
				f.Values[i] = model.Stale()
			default:
				f.Values[i] = rnd.Float64()
			}
		}
		for rnd.IntN(3) == 0 {
			f.Extras = append(f.Extras, model.Extra{Slot: rnd.IntN(len(sh.Series)), Time: f.Time - 500 + int64(len(f.Extras)), Value: 1})
		}
		out = append(out, f.Whole())
	}
	return out
}

// expect lists every sample of the spans by series, in order.
func expect(all ...[]model.Span) map[string][]prompb.Sample {
	want := map[string][]prompb.Sample{}
	for _, spans := range all {
		for _, sp := range spans {
			f := sp.Frame
			add := func(slot int, t int64, v float64) {
				ls := f.Shape.Series[slot].Labels
				key := labels.FromStrings("__name__", ls[0].Value, "t", ls[1].Value, "zone", "ext").String()
				want[key] = append(want[key], prompb.Sample{Timestamp: t, Value: v})
			}
			for _, x := range f.Extras {
				add(x.Slot, x.Time, x.Value)
			}
			for i, v := range f.Values {
				if !model.IsAbsent(v) {
					add(i, f.Time, v)
				}
			}
		}
	}
	return want
}

func same(t *testing.T, want, got map[string][]prompb.Sample) {
	t.Helper()
	require.Len(t, got, len(want))
	for k, w := range want {
		require.Len(t, got[k], len(w), k)
		for i := range w {
			require.Equal(t, w[i].Timestamp, got[k][i].Timestamp, "%s sample %d", k, i)
			require.Equal(t, math.Float64bits(w[i].Value), math.Float64bits(got[k][i].Value), "%s sample %d", k, i)
		}
	}
}

func config(shards int) Config {
	return Config{
		Endpoint: otelconf.Endpoint{
			Name: "test", URL: "http://sink.test/write?token=hidden", Timeout: 5 * time.Second, Shards: shards,
			MaxRequestBytes: 1 << 20, MaxSamplesPerRequest: 50,
			Retry:          otelconf.Retry{Initial: time.Second, Max: 30 * time.Second},
			ExternalLabels: labels.FromStrings("zone", "ext", "t", "never"),
		},
		UserAgent: "mangru/test",
	}
}

// runner is a sender with its sources.
type runner struct {
	*Sender
	sources []Source
}

func (r *runner) Run(ctx context.Context) { r.Sender.Run(ctx, r.sources) }

func newSender(t *testing.T, cfg Config, h http.Handler, sources ...Source) (*runner, *prometheus.Registry) {
	t.Helper()
	if h != nil {
		cfg.Transport = direct{h}
	}
	reg := prometheus.NewPedanticRegistry()
	s, err := New(cfg, NewMetrics(reg), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return &runner{s, sources}, reg
}

func TestEverySampleOnceInOrder(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 2))
			a, b := frames(rnd, 1, 60), frames(rnd, 2, 60)
			var mixed []model.Span
			for i := range a {
				mixed = append(mixed, a[i], b[i])
			}
			c := frames(rnd, 3, 60)
			want := expect(a, b, c)
			// Refuses now and then in every way that is worth another try.
			h := &sink{}
			h.answer = func(_ int, w http.ResponseWriter) {
				switch rnd.IntN(8) {
				case 0:
					http.Error(w, "busy", http.StatusServiceUnavailable)
				case 1:
					w.Header().Set("Retry-After", "7")
					http.Error(w, "slow down", http.StatusTooManyRequests)
				case 2:
					if h.size > 200 { // more than one sample
						http.Error(w, "too big", http.StatusRequestEntityTooLarge)
					}
				}
			}
			cfg := config(2)
			cfg.MaxSamplesPerRequest = 1 + rnd.IntN(200)
			cfg.MaxRequestBytes = 150 + rnd.IntN(2000)
			s, _ := newSender(t, cfg, h, &list{spans: mixed}, &list{spans: c})
			s.Run(t.Context())
			require.Zero(t, s.State().Refused, s.State().LastError)
			same(t, want, h.got)
		})
	}
}

func TestBackoffRetryAfterAndStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *runner
		var at []time.Duration
		start := time.Now()
		h := &sink{answer: func(n int, w http.ResponseWriter) {
			at = append(at, time.Since(start))
			switch {
			case n == 1:
				w.Header().Set("Retry-After", "100")
				http.Error(w, "later", 429)
			case n < 12:
				http.Error(w, "broken\nsecond line", 500)
			}
		}}
		f := frames(rand.New(rand.NewPCG(1, 1)), 1, 1)
		var reg *prometheus.Registry
		s, reg = newSender(t, config(1), h, &list{spans: f})
		done := make(chan struct{})
		go func() { defer close(done); s.Run(t.Context()) }()
		time.Sleep(90 * time.Second)
		require.Equal(t, StatusRetrying, s.State().Status)
		<-done
		require.GreaterOrEqual(t, at[1]-at[0], 100*time.Second)
		for i := 2; i < len(at); i++ {
			gap := at[i] - at[i-1]
			most := min(30*time.Second, time.Second<<(i-1))
			require.LessOrEqual(t, gap, most)
			require.GreaterOrEqual(t, gap, most/2)
		}
		st := s.State()
		require.Equal(t, StatusOK, st.Status)
		require.Contains(t, st.LastError, "500")
		require.Contains(t, st.LastError, "broken")
		require.NotContains(t, st.LastError, "second line")
		require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP mangru_collector_send_retries_total Requests that failed and were tried again.
# TYPE mangru_collector_send_retries_total counter
mangru_collector_send_retries_total{endpoint="test",reason="429"} 1
mangru_collector_send_retries_total{endpoint="test",reason="500"} 10
`), "mangru_collector_send_retries_total"))
	})
}

func TestRefusedIsCountedAndTheRestGoesOn(t *testing.T) {
	f := frames(rand.New(rand.NewPCG(3, 1)), 1, 2)
	cfg := config(1)
	cfg.MaxSamplesPerRequest = f[0].Samples() // one request each
	h := &sink{answer: func(n int, w http.ResponseWriter) {
		if n == 1 {
			http.Error(w, "out of order sample", 400)
		}
	}}
	src := &list{spans: append([]model.Span(nil), f...)}
	s, reg := newSender(t, cfg, h, src)
	s.Run(t.Context())
	require.Equal(t, uint64(f[0].Samples()), s.State().Refused)
	require.Equal(t, uint64(f[1].Samples()), s.State().Sent)
	require.Contains(t, s.State().LastError, "out of order sample")
	n, err := testutil.GatherAndCount(reg, "mangru_collector_send_dropped_samples_total")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	same(t, expect(f[1:]), h.got)
}

func TestSampleThatNeverFits(t *testing.T) {
	f := frames(rand.New(rand.NewPCG(4, 1)), 1, 3)
	f[1].Frame.Shape.Series[0].Labels[1].Value = func() string {
		b := make([]byte, 4000)
		for i := range b {
			b[i] = byte('!' + rand.IntN(90))
		}
		return string(b)
	}()
	cfg := config(1)
	cfg.MaxRequestBytes = 1000
	total := 0
	for _, sp := range f {
		total += sp.Samples()
	}
	h := &sink{}
	s, _ := newSender(t, cfg, h, &list{spans: f})
	s.Run(t.Context())
	require.Positive(t, s.State().Refused)
	require.Equal(t, uint64(total), s.State().Sent+s.State().Refused)
}

func TestStopsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &sink{answer: func(int, http.ResponseWriter) {}}
		h.answer = func(_ int, w http.ResponseWriter) { http.Error(w, "no", 503) }
		src := &list{spans: frames(rand.New(rand.NewPCG(5, 1)), 1, 3)}
		before := len(src.spans)
		s, _ := newSender(t, config(1), h, src)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s.Run(ctx)
		require.Len(t, src.spans, before, "nothing was settled")
	})
}

func TestHeadersAndSecrets(t *testing.T) {
	var got http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
	cfg := config(1)
	cfg.URL = srv.URL
	cfg.Headers = map[string]string{"X-Scope-OrgID": "me"}
	s, _ := newSender(t, cfg, nil, &list{spans: frames(rand.New(rand.NewPCG(6, 1)), 1, 1)})
	s.Run(t.Context())
	srv.Close()
	require.Equal(t, "snappy", got.Get("Content-Encoding"))
	require.Equal(t, "application/x-protobuf", got.Get("Content-Type"))
	require.Equal(t, "0.1.0", got.Get("X-Prometheus-Remote-Write-Version"))
	require.Equal(t, "mangru/test", got.Get("User-Agent"))
	require.Equal(t, "me", got.Get("X-Scope-OrgID"))

	// An address with a secret in it does not come out in the error.
	cfg.URL = srv.URL + "/?token=hidden"
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s, _ = newSender(t, cfg, nil, &list{spans: frames(rand.New(rand.NewPCG(6, 1)), 1, 1)})
	s.Run(ctx)
	require.NotEmpty(t, s.State().LastError)
	require.NotContains(t, s.State().LastError, "hidden")
}

func TestMissingCredentialsAreAState(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"} {
		t.Setenv(v, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	h := &sink{}
	cfg := config(1)
	cfg.SigV4 = &otelconf.SigV4{Region: "us-east-1"}
	cfg.Retry = otelconf.Retry{Initial: time.Millisecond, Max: time.Millisecond}
	src := &list{spans: frames(rand.New(rand.NewPCG(6, 1)), 1, 1)}
	s, _ := newSender(t, cfg, h, src)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	require.Eventually(t, func() bool { return s.State().Status == StatusCredentials }, 5*time.Second, time.Millisecond)
	cancel()
	<-done
	require.Zero(t, h.requests)
	require.Len(t, src.spans, 1)
}

// TestRefusedIdentityLosesNothing: a role that gets its permission late.
func TestRefusedIdentityLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &sink{answer: func(n int, w http.ResponseWriter) {
			if n <= 20 {
				http.Error(w, `{"Message":"User: x is not authorized to perform: aps:RemoteWrite"}`, http.StatusForbidden)
			}
		}}
		f := frames(rand.New(rand.NewPCG(7, 1)), 1, 2)
		s, _ := newSender(t, config(1), h, &list{spans: append([]model.Span(nil), f...)})
		done := make(chan struct{})
		go func() { defer close(done); s.Run(t.Context()) }()
		time.Sleep(time.Minute) // fake time
		require.Equal(t, StatusCredentials, s.State().Status)
		require.Contains(t, s.State().LastError, "aps:RemoteWrite")
		<-done
		require.Zero(t, s.State().Refused)
		same(t, expect(f), h.got)
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "-3": 0, "junk": 0, "999999": 10 * time.Minute,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute,
		now.Add(-time.Hour).Format(http.TimeFormat):  0,
	} {
		require.Equal(t, want, retryAfter(in, now), in)
	}
}

func BenchmarkEncode(b *testing.B) {
	sh := &model.Shape{Target: 1}
	for i := range 5000 {
		sh.Series = append(sh.Series, model.Series{Labels: []model.Label{
			{Name: "__name__", Value: fmt.Sprintf("container_metric_%d", i%40)}, {Name: "instance", Value: "node-1.example:9100"},
			{Name: "job", Value: "kubernetes-nodes-cadvisor"}, {Name: "pod", Value: fmt.Sprintf("pod-%d", i/40)},
		}})
	}
	f := &model.Frame{Shape: sh, Time: time.Now().UnixMilli(), Values: make([]float64, len(sh.Series))}
	for i := range f.Values {
		f.Values[i] = rand.Float64()
	}
	var e encoder
	spans := []model.Span{f.Whole()}
	e.encode(spans)
	b.ReportAllocs()
	for b.Loop() {
		e.encode(spans)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/sample")
}
