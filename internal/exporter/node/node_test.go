package node

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestNode is one test, for flags are parsed once in a process.
func TestNode(t *testing.T) {
	// Wrong arguments leave nothing behind.
	proc := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(proc, "loadavg"), []byte("0.25 1.50 3.75 1/200 4242\n"), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	args := []string{"--path.procfs=" + proc, "--collector.disable-defaults", "--collector.loadavg", "--collector.uname", "--web.listen-address=" + addr}

	h, err := New(slog.New(slog.DiscardHandler), args)
	require.NoError(t, err)
	get := func(query string) (int, string) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics"+query, nil))
		return rec.Code, rec.Body.String()
	}
	code, body := get("")
	require.Equal(t, 200, code)
	require.Contains(t, body, "\nnode_load1 0.25\n")
	require.Contains(t, body, "node_uname_info{")
	require.Contains(t, body, "go_goroutines ")
	require.NotContains(t, body, "node_cpu_seconds_total")
	_, body = get("?collect[]=loadavg")
	require.Contains(t, body, "node_load15 3.75")
	require.NotContains(t, body, "node_uname_info")
	_, body = get("?exclude[]=loadavg")
	require.NotContains(t, body, "node_load15")
	code, _ = get("?collect[]=nothing")
	require.Equal(t, 400, code)
	code, _ = get("?collect[]=loadavg&exclude[]=uname")
	require.Equal(t, 400, code)

	_, err = New(slog.New(slog.DiscardHandler), nil)
	require.ErrorContains(t, err, "one set")

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, args, io.Discard, io.Discard) }()
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + addr + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode == 200 && len(b) > 0
	}, 10*time.Second, 10*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}
