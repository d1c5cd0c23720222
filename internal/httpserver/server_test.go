package httpserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lockedBuffer is a log sink that may be read while the server writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
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

type running struct {
	url    string
	log    *lockedBuffer
	client *http.Client
	stop   func() error
}

func start(t *testing.T, cfg Config, h http.HandlerFunc) *running {
	t.Helper()
	cfg.Addr = "127.0.0.1:0"
	log := &lockedBuffer{}
	s, err := New(cfg, h, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	tr := &http.Transport{}
	var once sync.Once
	var stopErr error
	r := &running{url: "http://" + s.Addr().String(), log: log, client: &http.Client{Transport: tr}}
	r.stop = func() error {
		once.Do(func() { cancel(); stopErr = <-done })
		return stopErr
	}
	t.Cleanup(func() { tr.CloseIdleConnections(); _ = r.stop() })
	return r
}

func get(t *testing.T, r *running, path string) (*http.Response, string) {
	t.Helper()
	res, err := r.client.Get(r.url + path)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, string(b)
}

func TestRequestLogHidesQueryAndHeaders(t *testing.T) {
	r := start(t, Config{}, func(w http.ResponseWriter, req *http.Request) {
		SetPrincipal(req.Context(), "user/admin")
		Annotate(req.Context(), slog.String("reason", "because"))
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, RequestID(req.Context()))
	})
	req, _ := http.NewRequest(http.MethodGet, r.url+"/a//b?token=hush", nil)
	req.Header.Set("Authorization", "hush")
	res, err := r.client.Do(req)
	require.NoError(t, err)
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	require.Equal(t, res.Header.Get("X-Request-Id"), string(body))
	require.NoError(t, r.stop())
	line := r.log.String()
	for _, want := range []string{"path=/a//b", "status=418", "bytes=36", "principal=user/admin", "reason=because", "request_id=" + string(body)} {
		require.Contains(t, line, want)
	}
	require.NotContains(t, line, "hush")
}

func TestPathReachesHandlerUncleaned(t *testing.T) {
	r := start(t, Config{}, func(w http.ResponseWriter, req *http.Request) { _, _ = io.WriteString(w, req.RequestURI) })
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /a/../b//c%2Fd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	all, _ := io.ReadAll(conn)
	require.Contains(t, string(all), "/a/../b//c%2Fd")
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := start(t, Config{Registerer: reg}, func(http.ResponseWriter, *http.Request) { panic("boom") })
	res, body := get(t, r, "/")
	require.Equal(t, 500, res.StatusCode)
	require.Contains(t, body, "internal error")
	require.NoError(t, r.stop())
	require.Contains(t, r.log.String(), "boom")
	n, err := testutil.GatherAndCount(reg, "mangru_http_request_duration_seconds")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestStopWaitsForRunningRequest(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "finished")
	})
	got := make(chan string, 1)
	go func() {
		res, err := r.client.Get(r.url)
		if err != nil {
			got <- err.Error()
			return
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		got <- string(b)
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	select {
	case <-stopped:
		t.Fatal("stopped while a request was running")
	default:
	}
	close(release)
	require.Equal(t, "finished", <-got)
	require.NoError(t, <-stopped)
}

func TestStopDeadlineCancelsAndReports(t *testing.T) {
	entered := make(chan struct{})
	var cause error
	r := start(t, Config{DrainTimeout: 10 * time.Millisecond}, func(_ http.ResponseWriter, req *http.Request) {
		close(entered)
		<-req.Context().Done()
		cause = req.Context().Err()
	})
	go func() {
		if res, err := r.client.Get(r.url); err == nil {
			_ = res.Body.Close()
		}
	}()
	<-entered
	require.NoError(t, r.stop())
	require.True(t, errors.Is(cause, context.Canceled))
	require.Contains(t, r.log.String(), "requests cut off at stop")
}

func TestPortIsClaimedAtOnce(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	s, err := New(Config{Name: "api", Addr: "127.0.0.1:0"}, http.NotFoundHandler(), quiet)
	require.NoError(t, err)
	require.True(t, s.Loopback())
	_, err = New(Config{Name: "api", Addr: s.Addr().String()}, http.NotFoundHandler(), quiet)
	require.ErrorContains(t, err, "listen for api on "+s.Addr().String())
	require.NoError(t, s.Close())
}

func TestHTTP2WithoutTLS(t *testing.T) {
	r := start(t, Config{H2C: true}, func(w http.ResponseWriter, req *http.Request) { _, _ = io.WriteString(w, req.Proto) })
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: p}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Get(r.url)
	require.NoError(t, err)
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	require.Equal(t, "HTTP/2.0", string(b))
}
