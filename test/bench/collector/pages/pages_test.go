package pages

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/bench/collector/load"
	"github.com/mangru/mangru/test/bench/collector/recording"
)

// TestServer scrapes every target twice, with and without gzip, and compares
// what the server counted with what came.
func TestServer(t *testing.T) {
	recs, err := recording.Load(os.DirFS("../testdata"), load.Jobs())
	require.NoError(t, err)
	cluster, err := load.New(load.Shape{Nodes: 1, PodsPerNode: 2, Interval: load.RecordedInterval, Seed: 1}, recs, time.Now())
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	server, err := New(cluster.Targets(), load.RecordedInterval, port, 1)
	require.NoError(t, err)

	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- server.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		require.NoError(t, err, "all of 127.0.0.0/8 must be this machine's")
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	lines := int64(0)
	for _, encoding := range []string{"gzip", ""} {
		for _, target := range server.Targets() {
			r, err := http.NewRequest(http.MethodGet, "http://"+target.Address+target.Path, http.NoBody)
			require.NoError(t, err)
			r.Header.Set("Accept-Encoding", encoding)
			answer, err := client.Do(r)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, answer.StatusCode)
			require.Equal(t, encoding, answer.Header.Get("Content-Encoding"))
			body := io.Reader(answer.Body)
			if encoding == "gzip" {
				body, err = gzip.NewReader(body)
				require.NoError(t, err)
			}
			page, err := io.ReadAll(body)
			require.NoError(t, err)
			require.NoError(t, answer.Body.Close())
			for line := range strings.Lines(string(page)) {
				if !strings.HasPrefix(line, "#") {
					lines++
				}
			}
		}
	}
	client.CloseIdleConnections()
	stop()
	require.NoError(t, <-ended)
	got := server.Stats()
	require.Equal(t, int64(2*len(server.Targets())), got.Scrapes)
	require.Equal(t, lines, got.Lines)
	require.Zero(t, got.Failed)
	require.Less(t, got.Fresh, got.Lines, "some of cAdvisor's timestamps repeat")
}
