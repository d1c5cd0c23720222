package app

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// podToken is a token that can be parsed; its signature is the server's affair.
func podToken(subject string) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"RS256","kid":"k"}`) + "." + part(`{"iss":"https://i","sub":"`+subject+`"}`) + "." + part("signature")
}

// agentRig is an agent before a server that can fail.
type agentRig struct {
	t      *testing.T
	agent  *podAgent
	handle http.Handler
	mu     sync.Mutex
	now    time.Time
	status atomic.Int64
	calls  atomic.Int64
	hold   chan struct{} // the server waits for it, if not nil
	begun  chan struct{}
}

func newAgentRig(t *testing.T, change func(*podAgentConfig)) *agentRig {
	t.Helper()
	r := &agentRig{t: t, now: time.UnixMilli(1800000000000), begun: make(chan struct{}, 100)}
	r.status.Store(http.StatusOK)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		n := r.calls.Add(1)
		r.begun <- struct{}{}
		if r.hold != nil {
			<-r.hold
		}
		if req.Method != http.MethodPost || req.URL.Path != "/clusters/prod/assume-role-for-pod-identity" || req.Header.Get("Authorization") != "" {
			t.Errorf("unexpected request %s %s", req.Method, req.URL)
		}
		w.Header().Set("x-amzn-requestid", "id-1")
		if status := int(r.status.Load()); status != http.StatusOK {
			w.Header().Set("x-amzn-errortype", "AccessDeniedException:http://x")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"message":"Unauthorized Exception!"}`))
			return
		}
		_, _ = fmt.Fprintf(w, `{"assumedRoleUser":{"arn":"arn:aws:sts::000000000000:assumed-role/r/s"},
			"credentials":{"accessKeyId":"ASIA%d","secretAccessKey":"s","sessionToken":"t","expiration":%.3f}}`, n, float64(r.clock().Add(6*time.Hour).UnixMilli())/1000)
	}))
	t.Cleanup(srv.Close)
	cfg := podAgentConfig{Listen: "127.0.0.1:0", Cluster: "prod", Endpoint: srv.URL, Now: r.clock}
	if change != nil {
		change(&cfg)
	}
	reg := prometheus.NewRegistry()
	var err error
	r.agent, err = newPodAgent(cfg, reg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(r.agent.client.CloseIdleConnections)
	r.handle = r.agent.handler(reg)
	return r
}

func (r *agentRig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *agentRig) advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func (r *agentRig) get(token string) (status int, body string) {
	req := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/v1/credentials", http.NoBody)
	req.Header.Set("Authorization", token)
	w := httptest.NewRecorder()
	r.handle.ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

// key returns the access key that a pod gets.
func (r *agentRig) key(token string) string {
	r.t.Helper()
	status, body := r.get(token)
	require.Equal(r.t, http.StatusOK, status, body)
	var c agentCredentials
	require.NoError(r.t, json.Unmarshal([]byte(body), &c))
	return c.AccessKeyID
}

func TestPodAgentAnswers(t *testing.T) {
	r := newAgentRig(t, nil)
	token := podToken("a")
	status, body := r.get(token)
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"AccessKeyId":"ASIA1","SecretAccessKey":"s","Token":"t","AccountId":"000000000000","Expiration":"2027-01-15T14:00:00Z"}`, body)
	require.Equal(t, "ASIA1", r.key(token), "from the cache")
	require.Equal(t, "ASIA2", r.key(podToken("b")), "other pods get their own")

	r.advance(3*time.Hour + time.Second) // half of their life: time for new ones
	require.Equal(t, "ASIA3", r.key(token))
	require.Equal(t, "ASIA3", r.key(token))

	// While the server is away the old ones are handed out, and it is not asked
	// at every request.
	r.advance(3*time.Hour + time.Second)
	r.status.Store(http.StatusServiceUnavailable)
	calls := r.calls.Load()
	require.Equal(t, "ASIA3", r.key(token))
	require.Equal(t, "ASIA3", r.key(token))
	require.Equal(t, calls+1, r.calls.Load())
	r.advance(3 * time.Hour) // but not until their very end
	status, body = r.get(token)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "fault: server")
	r.status.Store(http.StatusOK)
	require.NotEqual(t, "ASIA3", r.key(token))
}

// A refusal ends what was handed out before.
func TestPodAgentRefusals(t *testing.T) {
	r := newAgentRig(t, nil)
	token := podToken("a")
	r.key(token)
	r.advance(3*time.Hour + time.Second)
	r.status.Store(http.StatusBadRequest)
	for range 2 {
		status, body := r.get(token)
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, "[id-1]: (AccessDeniedException): Unauthorized Exception!, fault: client\n", body)
	}
	require.InDelta(t, 2, testutil.ToFloat64(r.agent.answers.WithLabelValues("refused")), 0)
}

func TestPodAgentBadRequests(t *testing.T) {
	r := newAgentRig(t, nil)
	for name, c := range map[string]struct {
		method, url, token string
		status             int
	}{
		"no token":    {"GET", "http://127.0.0.1/v1/credentials", "", 400},
		"no JWT":      {"GET", "http://127.0.0.1/v1/credentials", "x", 400},
		"method":      {"POST", "http://127.0.0.1/v1/credentials", podToken("a"), 405},
		"other host":  {"GET", "http://evil.example/v1/credentials", podToken("a"), 403},
		"other path":  {"GET", "http://127.0.0.1/latest/meta-data", podToken("a"), 404},
		"other slash": {"GET", "http://127.0.0.1/v1/credentials/", podToken("a"), 404},
	} {
		t.Run(name, func(t *testing.T) {
			req := httptest.NewRequest(c.method, c.url, http.NoBody)
			req.Header.Set("Authorization", c.token)
			w := httptest.NewRecorder()
			r.handle.ServeHTTP(w, req)
			require.Equal(t, c.status, w.Code)
		})
	}
	require.Zero(t, r.calls.Load())
}

// Requests with one token at a time cost one call; more tokens at a time than
// there are slots are told to come again.
func TestPodAgentAtOnce(t *testing.T) {
	r := newAgentRig(t, func(c *podAgentConfig) { c.MaxCalls = 1 })
	r.hold = make(chan struct{})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { require.Equal(t, "ASIA1", r.key(podToken("a"))) })
	}
	<-r.begun
	status, _ := r.get(podToken("b"))
	require.Equal(t, http.StatusTooManyRequests, status)
	close(r.hold)
	wg.Wait()
	require.Equal(t, int64(1), r.calls.Load())
}

func TestPodAgentIsBounded(t *testing.T) {
	r := newAgentRig(t, func(c *podAgentConfig) { c.MaxEntries = 3 })
	for i := range 10 {
		r.key(podToken(fmt.Sprint(i)))
	}
	require.Len(t, r.agent.entries, 3)
	require.Equal(t, 3, r.agent.order.Len())
	calls := r.calls.Load()
	r.key(podToken("9"))
	require.Equal(t, calls, r.calls.Load())
	r.key(podToken("0"))
	require.Equal(t, calls+1, r.calls.Load())
}

func TestPodAgentServerAway(t *testing.T) {
	r := newAgentRig(t, func(c *podAgentConfig) { c.Endpoint = "http://127.0.0.1:1" })
	status, body := r.get(podToken("a"))
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "does not answer")
}

func TestPodAgentUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		text string
	}{
		{[]string{"--cluster", "prod", "--endpoint", "http://x", "--listen", "0.0.0.0:80"}, "can be reached from other machines"},
		{[]string{"--cluster", "prod", "--endpoint", "http://x", "--listen", "[::]:80"}, "can be reached from other machines"},
		{[]string{"--cluster", "prod", "--endpoint", "http://x", "--listen", "10.0.0.1:80"}, "can be reached from other machines"},
		{[]string{"--cluster", "prod", "--endpoint", "http://x", "--listen", "x"}, "expected an address and port"},
		{[]string{"--endpoint", "http://x", "--listen", "127.0.0.1:0"}, "--cluster: required"},
		{[]string{"--cluster", "prod", "--listen", "127.0.0.1:0"}, "--endpoint: required"},
		{[]string{"--cluster", "prod", "--endpoint", "aws"}, "--endpoint: required"},
	} {
		code, _, errs := runMain(append([]string{"pod-identity-agent"}, c.args...)...)
		require.Equal(t, 2, code, errs)
		require.Contains(t, errs, c.text)
	}
}

// The agent before the real server, as a pod's SDK sees it.
func TestPodAgentRuns(t *testing.T) {
	s := newIdentityServer(t)
	ctx, stop := context.WithCancel(t.Context())
	log := &lockedBuffer{}
	done := make(chan error, 1)
	go func() {
		done <- runPodAgent(ctx, podAgentConfig{Listen: "127.0.0.1:0", Cluster: "prod", Endpoint: s.url}, slog.New(slog.NewTextHandler(log, nil)))
	}()
	var addr string
	require.Eventually(t, func() bool {
		_, rest, ok := strings.Cut(log.String(), "address=")
		addr, _, _ = strings.Cut(rest, " ")
		return ok
	}, 10*time.Second, time.Millisecond)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/v1/credentials", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", podToken("a"))
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Contains(t, string(body), "(InvalidTokenException)")
	stop()
	require.NoError(t, <-done)
	require.NotContains(t, log.String(), podToken("a"))
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
