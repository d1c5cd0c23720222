package logs

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/server/workspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const group = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/prometheus/../x:*"

func sinks(t *testing.T, cfg Config) *Sinks {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.Every = time.Millisecond
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestFileStaysInItsFolderAndTurns(t *testing.T) {
	dir := t.TempDir()
	to := workspace.LogDestination{Target: group}
	s := sinks(t, Config{Dir: dir, MaxSize: 30, MaxFiles: 2})
	require.NoError(t, s.Check(t.Context(), workspace.LogMessages, to))
	file := filepath.Join(dir, "000000000000", "%2Faws%2Fprometheus%2F..%2Fx.log")
	for _, line := range []string{"one-one-one-one", "two-two-two-two", "three-three-three", "four-four-four-four"} {
		before := testutil.ToFloat64(s.written)
		s.Write(to, []byte(line))
		require.Eventually(t, func() bool { return testutil.ToFloat64(s.written) > before }, 5*time.Second, time.Millisecond)
	}
	for name, want := range map[string]string{"": "four-four-four-four\n", ".1": "three-three-three\n", ".2": "two-two-two-two\n"} {
		text, err := os.ReadFile(file + name)
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
	_, err := os.Stat(file + ".3")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestFileThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "000000000000"), nil, 0o600))
	s := sinks(t, Config{Dir: dir})
	to := workspace.LogDestination{Target: group}
	require.Error(t, s.Check(t.Context(), workspace.LogMessages, to))
	s.Write(to, []byte("x"))
	require.Eventually(t, func() bool { return testutil.ToFloat64(s.dropped.WithLabelValues("file")) == 1 }, 5*time.Second, time.Millisecond)
}

func TestPostIsTriedAgainUntilTaken(t *testing.T) {
	var mu sync.Mutex
	var got bytes.Buffer
	calls := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls == 1 {
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
		require.Equal(t, "application/x-ndjson", r.Header.Get("Content-Type"))
		_, _ = io.Copy(&got, r.Body)
	}))
	defer srv.Close()
	s := sinks(t, Config{})
	to := workspace.LogDestination{Target: srv.URL}
	s.Write(to, []byte(`{"a":1}`))
	s.Write(to, []byte(`{"a":2}`))
	text := func() string {
		mu.Lock()
		defer mu.Unlock()
		return got.String()
	}
	require.Eventually(t, func() bool { return strings.Count(text(), "\n") == 2 }, 10*time.Second, 5*time.Millisecond)
	require.Equal(t, "{\"a\":1}\n{\"a\":2}\n", text())
}

func TestRefusedIsDroppedAndRedirectsAreNotFollowed(t *testing.T) {
	followed := false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		followed = followed || r.URL.Path == "/elsewhere"
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	s := sinks(t, Config{})
	s.Write(workspace.LogDestination{Target: srv.URL}, []byte("x"))
	require.Eventually(t, func() bool { return testutil.ToFloat64(s.dropped.WithLabelValues("destination_refused")) == 1 }, 5*time.Second, time.Millisecond)
	require.False(t, followed)
}

func TestSlowDestinationDropsAndNeverBlocks(t *testing.T) {
	hold := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
	defer srv.Close()
	defer close(hold)
	reg := prometheus.NewRegistry()
	s := sinks(t, Config{MaxWaiting: 100, Registerer: reg})
	for range 1000 {
		s.Write(workspace.LogDestination{Target: srv.URL}, []byte("0123456789"))
	}
	require.Positive(t, testutil.ToFloat64(s.dropped.WithLabelValues("destination_slow")))
}

func TestCloseDeliversWhatWaits(t *testing.T) {
	dir := t.TempDir()
	s, err := New(Config{Dir: dir, Every: time.Hour}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	s.Write(workspace.LogDestination{Target: group}, []byte("last"))
	require.NoError(t, s.Close())
	s.Write(workspace.LogDestination{Target: group}, []byte("too late"))
	require.InDelta(t, 1, testutil.ToFloat64(s.dropped.WithLabelValues("stopping")), 0)
	text, err := os.ReadFile(filepath.Join(dir, "000000000000", "%2Faws%2Fprometheus%2F..%2Fx.log"))
	require.NoError(t, err)
	require.Equal(t, "last\n", string(text))
}

func TestHandlerTellsTheWorkspaceOnly(t *testing.T) {
	var own bytes.Buffer
	var lines []string
	to := workspace.LogDestination{Target: group}
	l := slog.New(NewHandler(slog.NewTextHandler(&own, &slog.HandlerOptions{Level: slog.LevelWarn}), "ruler",
		func(id string) *workspace.LogDestination {
			if id == "ws-1" {
				return &to
			}
			return nil
		},
		func(_ workspace.LogDestination, line []byte) { lines = append(lines, string(line)) }))
	l.With("workspace", "ws-1").Warn("Evaluating rule failed", "group", "g<1>", "err", io.EOF)
	l.With("workspace", "ws-2").Warn("not logged by its workspace")
	l.Info("no workspace")
	l.With("workspace", "ws-1").Info("quiet for the program", "log", "not the message")
	require.Len(t, lines, 2)
	require.Regexp(t, `^\{"timestamp":"[^"]+Z","workspaceId":"ws-1","component":"ruler","message":\{"err":"EOF","group":"g<1>","level":"WARN","log":"Evaluating rule failed"\}\}$`, lines[0])
	require.Contains(t, lines[1], `"log":"quiet for the program"`)
	require.Equal(t, 2, strings.Count(own.String(), "\n"))
}

func TestScraperHandlerTellsItsComponents(t *testing.T) {
	var own bytes.Buffer
	var lines []string
	var log atomic.Pointer[workspace.ScraperLog]
	l := slog.New(NewScraperHandler(slog.NewTextHandler(&own, &slog.HandlerOptions{Level: slog.LevelWarn}), "s-1", &log,
		func(_ workspace.LogDestination, line []byte) { lines = append(lines, string(line)) })).With("scraper", "s-1")
	l.Warn("told nobody else")
	require.Contains(t, own.String(), "told nobody else")
	log.Store(&workspace.ScraperLog{Components: []workspace.ScraperComponent{{Type: "EXPORTER"}, {Type: "SERVICE_DISCOVERY"}}})
	l.Info("of the collector", "target", "x")
	l.With("endpoint", "workspace").Info("sent", "status", 200)
	l.Warn("looked", "role", "pod")
	l.Debug("too much", "role", "pod")
	require.Len(t, lines, 2)
	require.Regexp(t, `^\{"timestamp":"[-:.0-9TZ]+","scrapeConfigId":"s-1","component":"EXPORTER","message":\{"endpoint":"workspace","level":"INFO","log":"sent","scraper":"s-1","status":"200"\}\}$`, lines[0])
	require.Contains(t, lines[1], `"component":"SERVICE_DISCOVERY"`)
	require.NotContains(t, own.String(), "sent")
	require.Contains(t, own.String(), "looked")
}
