package send

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/otelconf"
)

func someSpans(seed uint64, frames int) []model.Span {
	return targetFrames(rand.New(rand.NewPCG(seed, 1)), 1, frames)
}

// flat is one frame of a target with n series of one sample each.
func flat(target uint64, n int, t int64) model.Span {
	var b model.LabelsBuilder
	values := make([]float64, n)
	for i := range n {
		b.Append([]model.Label{{Name: "__name__", Value: "m"}, {Name: "i", Value: string(rune('a' + i%26))}, {Name: "j", Value: string(rune('a' + i/26))}, {Name: "t", Value: fmt.Sprint(target)}})
		values[i] = float64(i)
	}
	sh := &model.Shape{Target: target, Labels: b.Labels()}
	return model.Whole([]*model.Frame{{Shape: sh, Time: t, Values: values}})
}

func TestBackoffRetryAfterAndStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		sink := &sink{answer: func(n int, _ version, _ int) action {
			at = append(at, time.Since(start))
			switch {
			case n == 1:
				return action{status: 429, header: map[string]string{"Retry-After": "100"}}
			case n < 12:
				return refusal(500, "broken\nsecond line")
			}
			return action{}
		}}
		cfg := config()
		cfg.Protocol = ProtocolV2
		s, reg := newSender(t, cfg, sink)
		done := make(chan struct{})
		go func() { defer close(done); s.Run(t.Context(), newQueue(someSpans(1, 1)...)) }()
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
	spans := []model.Span{flat(1, 20, 1000), flat(1, 20, 2000)}
	cfg := config()
	cfg.MaxSamplesPerRequest, cfg.Protocol = 20, ProtocolV1
	sink := &sink{answer: func(n int, _ version, _ int) action {
		if n == 1 {
			return refusal(400, "out of order sample")
		}
		return action{}
	}}
	s, reg := newSender(t, cfg, sink)
	want := expect(spans[1:])
	s.Run(t.Context(), newQueue(spans...))
	require.Equal(t, uint64(20), s.State().Refused)
	require.Equal(t, uint64(20), s.State().Sent)
	require.Contains(t, s.State().LastError, "out of order sample")
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP mangru_collector_send_dropped_samples_total Samples that the endpoint refused for good or that cannot be sent.
# TYPE mangru_collector_send_dropped_samples_total counter
mangru_collector_send_dropped_samples_total{endpoint="test",reason="refused"} 20
mangru_collector_send_dropped_samples_total{endpoint="test",reason="too_large"} 0
`), "mangru_collector_send_dropped_samples_total"))
	require.Equal(t, want, sink.got)
}

func TestSampleThatNeverFits(t *testing.T) {
	for _, protocol := range []string{ProtocolV1, ProtocolV2} {
		noise := make([]byte, 4000)
		rnd := rand.New(rand.NewPCG(4, 4))
		for i := range noise {
			noise[i] = byte('!' + rnd.IntN(90))
		}
		var b model.LabelsBuilder
		for i := range 9 {
			l := []model.Label{{Name: "__name__", Value: "m"}, {Name: "n", Value: string(rune('a' + i))}}
			if i == 4 {
				l[1].Value = string(noise)
			}
			b.Append(l)
		}
		sh := &model.Shape{Target: 1, Labels: b.Labels()}
		var frames []*model.Frame
		for i := range 3 {
			frames = append(frames, &model.Frame{Shape: sh, Time: int64(i + 1), Values: make([]float64, 9)})
		}
		cfg := config()
		cfg.MaxRequestBytes, cfg.Protocol = 1000, protocol
		s, _ := newSender(t, cfg, &sink{})
		s.Run(t.Context(), newQueue(model.Whole(frames)))
		require.Equal(t, uint64(3), s.State().Refused)
		require.Equal(t, uint64(24), s.State().Sent)
	}
}

func TestStopsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &sink{answer: func(int, version, int) action { return refusal(503, "no") }}
		q := newQueue(someSpans(5, 3)...)
		before := total(spansOf(q))
		s, _ := newSender(t, config(), sink)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s.Run(ctx, q)
		require.Equal(t, before, total(spansOf(q)), "nothing was settled")
		require.Positive(t, sink.requests)
	})
}

// TestStopsInARequest: what is under way goes back.
func TestStopsInARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &sink{answer: func(int, version, int) action { return action{hang: true} }}
		q := newQueue(someSpans(5, 3)...)
		before := total(spansOf(q))
		cfg := config()
		cfg.Timeout = time.Hour
		s, _ := newSender(t, cfg, sink)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s.Run(ctx, q)
		require.Equal(t, before, total(spansOf(q)))
		require.Equal(t, StatusIdle, s.State().Status)
	})
}

func spansOf(q *fakeQueue) (out []model.Span) {
	for _, e := range q.entries {
		out = append(out, e.span)
	}
	return out
}

func TestHeadersAndSecrets(t *testing.T) {
	for protocol, want := range map[string][2]string{
		ProtocolV1: {"application/x-protobuf", "0.1.0"},
		ProtocolV2: {"application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"},
	} {
		sink := &sink{}
		cfg := config()
		cfg.Protocol = protocol
		cfg.Headers = map[string]string{"X-Scope-OrgID": "me"}
		s, _ := newSender(t, cfg, sink)
		s.Run(t.Context(), newQueue(someSpans(6, 1)...))
		got := sink.lastHeader
		require.Equal(t, "snappy", got.Get("Content-Encoding"))
		require.Equal(t, want, [2]string{got.Get("Content-Type"), got.Get("X-Prometheus-Remote-Write-Version")})
		require.Equal(t, "mangru/test", got.Get("User-Agent"))
		require.Equal(t, "me", got.Get("X-Scope-OrgID"))
		require.Equal(t, protocol, s.State().Protocol)
	}

	// An address with a secret in it does not come out in the error.
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	cfg := config()
	cfg.URL = srv.URL + "/?token=hidden"
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s, _ := newSender(t, cfg, nil)
	s.Run(ctx, newQueue(someSpans(6, 1)...))
	require.NotEmpty(t, s.State().LastError)
	require.NotContains(t, s.State().LastError, "hidden")
}

func TestMissingCredentialsAreAState(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"} {
		t.Setenv(v, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	sink := &sink{}
	cfg := config()
	cfg.SigV4 = &otelconf.SigV4{Region: "us-east-1"}
	cfg.Retry = otelconf.Retry{Initial: time.Millisecond, Max: time.Millisecond}
	q := newQueue(someSpans(6, 1)...)
	s, _ := newSender(t, cfg, sink)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx, q) }()
	require.Eventually(t, func() bool { return s.State().Status == StatusCredentials }, 20*time.Second, time.Millisecond)
	cancel()
	<-done
	require.Zero(t, sink.requests)
	require.Len(t, q.entries, 1)
}

// TestRefusedIdentityLosesNothing: a role that gets its permission late.
func TestRefusedIdentityLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &sink{answer: func(n int, _ version, _ int) action {
			if n <= 20 {
				return refusal(403, `{"Message":"User: x is not authorized to perform: aps:RemoteWrite"}`)
			}
			return action{}
		}}
		spans := someSpans(7, 2)
		want := expect(spans)
		s, _ := newSender(t, config(), sink)
		done := make(chan struct{})
		go func() { defer close(done); s.Run(t.Context(), newQueue(spans...)) }()
		time.Sleep(time.Minute) // fake time
		require.Equal(t, StatusCredentials, s.State().Status)
		require.Contains(t, s.State().LastError, "aps:RemoteWrite")
		<-done
		require.Zero(t, s.State().Refused)
		_, missing := audit(t, want, sink.got)
		require.Zero(t, missing)
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

// TestWorkersComeAndGo: more when there is more than one can take, one when the
// endpoint fails, and one when there is little.
func TestWorkersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		broken := false
		sink := &sink{latency: time.Second, answer: func(int, version, int) action {
			mu.Lock()
			defer mu.Unlock()
			if broken {
				return refusal(503, "away")
			}
			return action{}
		}}
		var spans []model.Span
		for round := range 12 {
			for target := range uint64(8) {
				spans = append(spans, flat(target+1, 50, int64(round+1)))
			}
		}
		q := &fakeQueue{changed: make(chan struct{})}
		cfg := config()
		cfg.MaxShards = 5
		s, reg := newSender(t, cfg, sink)
		workers := func() float64 {
			t.Helper()
			synctest.Wait()
			families, err := reg.Gather()
			require.NoError(t, err)
			for _, f := range families {
				if f.GetName() == "mangru_collector_send_workers" {
					return f.Metric[0].Gauge.GetValue()
				}
			}
			return -1
		}
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { defer close(done); s.Run(ctx, q) }()
		require.InDelta(t, 1, workers(), 0)
		q.push(spans[:40]...)
		time.Sleep(5500 * time.Millisecond)
		_, most := sink.seen()
		require.Equal(t, 5, most, "as many as are allowed, while there is enough to send")
		time.Sleep(20 * time.Second)
		require.InDelta(t, 1, workers(), 0, "idle ones go")

		mu.Lock()
		broken = true
		mu.Unlock()
		q.push(spans[40:]...)
		time.Sleep(20 * time.Second)
		require.InDelta(t, 1, workers(), 0, "one tries")
		before, _ := sink.seen()
		time.Sleep(60 * time.Second)
		after, _ := sink.seen()
		require.Less(t, after-before, 6, "and waits between its attempts")
		require.Greater(t, after, before)
		mu.Lock()
		broken = false
		mu.Unlock()
		sink.mu.Lock()
		sink.most = 0
		sink.mu.Unlock()
		q.close()
		<-done
		require.Equal(t, 5, sink.most, "and when it is back, all help")
		_, missing := audit(t, expect(spans), sink.got)
		require.Zero(t, missing)
	})
}

// TestSteadyLittleNeedsOneWorker: batches that are not full are no reason to keep
// workers that an outage needed.
func TestSteadyLittleNeedsOneWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &sink{latency: 10 * time.Millisecond}
		q := &fakeQueue{changed: make(chan struct{})}
		s, reg := newSender(t, config(), sink)
		done := make(chan struct{})
		go func() { defer close(done); s.Run(t.Context(), q) }()
		for target := range uint64(20) {
			q.push(flat(target, 50, 1))
		}
		time.Sleep(3 * time.Second)
		_, most := sink.seen()
		require.Greater(t, most, 1)
		for i := range int64(60) { // a little, every half second
			q.push(flat(uint64(i%5), 10, 2+i))
			time.Sleep(time.Second / 2)
		}
		require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP mangru_collector_send_workers Workers, each with at most one request under way.
# TYPE mangru_collector_send_workers gauge
mangru_collector_send_workers{endpoint="test"} 1
`), "mangru_collector_send_workers"))
		q.close()
		<-done
	})
}

// TestAnswerBeforeTheRequestWasRead: the bytes of a request are left to the
// transport for as long as it may read them.
func TestAnswerBeforeTheRequestWasRead(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 30_000 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "100000")
	}))
	defer srv.Close()
	cfg := config()
	cfg.URL, cfg.MaxSamplesPerRequest = srv.URL, 100_000
	cfg.Retry = otelconf.Retry{Initial: time.Millisecond, Max: time.Millisecond}
	rnd := rand.New(rand.NewPCG(1, 1))
	var spans []model.Span
	for i := range 20 {
		sp := flat(uint64(i), 600, 1000)
		for j := range sp.Frames[0].Values {
			sp.Frames[0].Values[j] = rnd.Float64()
		}
		spans = append(spans, sp)
	}
	s, _ := newSender(t, cfg, nil)
	s.Run(t.Context(), newQueue(spans...))
	require.Equal(t, uint64(12_000), s.State().Sent)
	require.Zero(t, s.State().Refused, s.State().LastError)
}
