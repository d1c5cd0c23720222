package kube

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/kube-state-metrics/v2/pkg/options"
)

func TestFlags(t *testing.T) {
	opts, err := parse([]string{"--port=1234", "--resources=pods,nodes", "--shard=1", "--total-shards=3", "--metric-denylist=kube_secret_.+"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 1234, opts.Port)
	require.Equal(t, options.ResourceSet{"pods": {}, "nodes": {}}, opts.Resources)
	require.EqualValues(t, 1, opts.Shard)
	require.Equal(t, 3, opts.TotalShards)
	// Flags belong to one call, not to the process.
	opts, err = parse(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 8080, opts.Port)

	var usage *UsageError
	for _, bad := range [][]string{{"--nothing"}, {"stray"}, {"--port=x"}} {
		_, err = parse(bad, io.Discard)
		require.ErrorAs(t, err, &usage, bad)
	}
	var help bytes.Buffer
	_, err = parse([]string{"--help"}, &help)
	require.ErrorIs(t, err, ErrHelp)
	require.Contains(t, help.String(), "--metric-labels-allowlist")
}

// TestRun watches an API server that has one node, and has it shard.
func TestRun(t *testing.T) {
	over := make(chan struct{})
	const node = `{"kind":"Node","apiVersion":"v1","metadata":{"name":"alpha","uid":"1","resourceVersion":"1"},"status":{"nodeInfo":{"kernelVersion":"6.1"},"capacity":{"cpu":"4"}}}`
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Query().Get("watch") != "":
			w.WriteHeader(http.StatusOK)
			if r.URL.Query().Get("sendInitialEvents") == "true" {
				fmt.Fprintf(w, `{"type":"ADDED","object":%s}`+"\n", node)
				fmt.Fprint(w, `{"type":"BOOKMARK","object":{"kind":"Node","apiVersion":"v1","metadata":{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}}`+"\n")
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-over:
			}
		case strings.HasSuffix(r.URL.Path, "/nodes"):
			fmt.Fprintf(w, `{"kind":"NodeList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[%s]}`, node)
		case r.URL.Path == "/version":
			fmt.Fprint(w, `{"major":"1","minor":"36","gitVersion":"v1.36.3"}`)
		default:
			http.NotFound(w, r)
		}
	}))
	defer api.Close()
	defer close(over)
	port, own := freePort(t), freePort(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, []string{"--apiserver=" + api.URL, "--host=127.0.0.1", "--telemetry-host=127.0.0.1", "--resources=nodes",
			"--port=" + port, "--telemetry-port=" + own, "--kubeconfig=", "--custom-resource-state-config="}, io.Discard, nil)
	}()
	get := func(port, path string) string {
		resp, err := http.Get("http://127.0.0.1:" + port + path)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	require.Eventually(t, func() bool {
		return strings.Contains(get(port, "/metrics"), `kube_node_info{node="alpha"`)
	}, 20*time.Second, 20*time.Millisecond)
	require.Contains(t, get(port, "/metrics"), `kube_node_status_capacity{node="alpha",resource="cpu",unit="core"} 4`)
	require.Contains(t, get(own, "/metrics"), "kube_state_metrics_total_shards 1")
	stop()
	require.NoError(t, <-done)

	// A file that is not there is an error at once, not a silence.
	err := Run(t.Context(), []string{"--kubeconfig=" + filepath.Join(t.TempDir(), "none")}, io.Discard, func(context.Context, []string, func()) {})
	require.ErrorContains(t, err, "none")
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}
