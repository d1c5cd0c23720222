package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/workspace"
)

// testServer is a server in this process, with the administrator's key.
type testServer struct {
	*Server
	key    iam.AccessKey
	dir    string
	client *http.Client
	stop   func()
}

func testConfig(dir string) ServerConfig {
	cfg := DefaultServerConfig()
	cfg.Listen, cfg.Data = "127.0.0.1:0", dir
	cfg.DrainTimeout = Duration(5 * time.Second)
	return cfg
}

func startServer(t testing.TB, cfg ServerConfig) *testServer {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := NewServer(context.Background(), cfg, ServerDeps{Logger: logger})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	ts := &testServer{Server: s, dir: cfg.Data, client: &http.Client{Transport: &http.Transport{}}}
	ts.key, _ = s.FirstKey()
	stopped := false
	ts.stop = func() {
		if stopped {
			return
		}
		stopped = true
		ts.client.CloseIdleConnections()
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, s.Close())
	}
	t.Cleanup(ts.stop)
	return ts
}

// signed returns a request signed by the AWS SDK.
func (s *testServer) signed(t testing.TB, method, path string, body []byte, change func(*http.Request)) *http.Request {
	t.Helper()
	return signedRequest(t, method, s.URL()+path, body, s.key, "aps", "us-east-1", time.Now(), change)
}

func signedRequest(t testing.TB, method, target string, body []byte, key iam.AccessKey, service, region string, at time.Time, change func(*http.Request)) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, target, bytes.NewReader(body))
	require.NoError(t, err)
	if change != nil {
		change(r)
	}
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret},
		r, hex.EncodeToString(sum[:]), service, region, at)
	require.NoError(t, err)
	return r
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (s *testServer) do(t testing.TB, r *http.Request) reply {
	t.Helper()
	res, err := s.client.Do(r)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return reply{res.StatusCode, res.Header, string(b)}
}

func (s *testServer) call(t testing.TB, method, path, body string) reply {
	t.Helper()
	return s.do(t, s.signed(t, method, path, []byte(body), nil))
}

// newWorkspace makes a workspace and waits until it takes samples.
func (s *testServer) newWorkspace(t testing.TB, alias string) string {
	t.Helper()
	w, err := s.Workspaces().Ensure(context.Background(), s.Account(), alias)
	require.NoError(t, err)
	require.Equal(t, workspace.StatusActive, w.Status)
	return w.ID
}

func writeRequest(series ...prompb.TimeSeries) []byte {
	b, err := (&prompb.WriteRequest{Timeseries: series}).Marshal()
	if err != nil {
		panic(err)
	}
	return snappy.Encode(nil, b)
}

func oneSeries(name string, value float64, at time.Time) prompb.TimeSeries {
	return prompb.TimeSeries{
		Labels:  []prompb.Label{{Name: "__name__", Value: name}, {Name: "job", Value: "test"}},
		Samples: []prompb.Sample{{Value: value, Timestamp: at.UnixMilli()}},
	}
}

func (s *testServer) write(t testing.TB, ws string, body []byte) reply {
	t.Helper()
	return s.do(t, s.signed(t, "POST", "/workspaces/"+ws+"/api/v1/remote_write", body, func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-protobuf")
		r.Header.Set("Content-Encoding", "snappy")
	}))
}

// value returns the one value of an instant query, "" for none.
func (s *testServer) value(t testing.TB, ws, promql string) string {
	t.Helper()
	res := s.call(t, "GET", "/workspaces/"+ws+"/api/v1/query?query="+url.QueryEscape(promql), "")
	require.Equal(t, 200, res.status, res.body)
	var out struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(res.body), &out))
	if len(out.Data.Result) == 0 {
		return ""
	}
	return out.Data.Result[0].Value[1].(string)
}

func TestServerWriteAndQuery(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := startServer(t, testConfig(t.TempDir()))
	defer s.stop()
	ws := s.newWorkspace(t, "default")
	now := time.Now()
	res := s.write(t, ws, writeRequest(oneSeries("up", 1, now), oneSeries("down", 42, now)))
	require.Equal(t, 200, res.status, res.body)
	require.Empty(t, res.body)
	require.Equal(t, "42", s.value(t, ws, "down"))
	require.Equal(t, "2", s.value(t, ws, `count({job="test"})`))

	base := "/workspaces/" + ws + "/api/v1"
	for path, want := range map[string]string{
		"/labels":                `["__name__","job"]`,
		"/label/__name__/values": `["down","up"]`,
		"/series?match[]=up":     `{"__name__":"up","job":"test"}`,
		"/query_range?query=up&start=%d&end=%d&step=15": `"resultType":"matrix"`,
		"/metadata":         `"status":"success"`,
		"/status/buildinfo": `"goVersion"`,
		"/status/tsdb":      `"numSeries":2,"numLabelPairs":3,"chunkCount":2`,
		"/rules":            `"groups":[]`,
		"/alerts":           `"alerts":[]`,
		"/query_exemplars?query=up&start=%d&end=%d": `"data":[]`,
		"/format_query?query=sum+(up)":              `sum(up)`,
	} {
		if strings.Contains(path, "%d") {
			path = fmt.Sprintf(path, now.Unix()-60, now.Unix()+60)
		}
		res := s.call(t, "GET", base+path, "")
		require.Equal(t, 200, res.status, "%s: %s", path, res.body)
		require.Contains(t, res.body, want, path)
	}
	form := s.do(t, s.signed(t, "POST", base+"/query", []byte("query=up%2B1"), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}))
	require.Equal(t, 200, form.status, form.body)
	require.Contains(t, form.body, `"2"`)

	bad := s.call(t, "GET", base+"/query?query=up%7B", "")
	require.Equal(t, 400, bad.status)
	require.Contains(t, bad.body, `"errorType":"bad_data"`)
	require.Contains(t, bad.body, "parse error")
}

func TestServerRefusals(t *testing.T) {
	s := startServer(t, testConfig(t.TempDir()))
	ws := s.newWorkspace(t, "default")
	path := "/workspaces/" + ws + "/api/v1/query?query=up"
	at := func(service, region string, when time.Time, key iam.AccessKey) *http.Request {
		return signedRequest(t, "GET", s.URL()+path, nil, key, service, region, when, nil)
	}
	unsigned, _ := http.NewRequest("GET", s.URL()+path, nil)
	tampered := at("aps", "us-east-1", time.Now(), s.key)
	tampered.URL.RawQuery = "query=down"
	orgID := s.signed(t, "GET", path, nil, func(r *http.Request) { r.Header.Set("X-Scope-OrgID", "1_other") })
	unknown := iam.AccessKey{ID: "AKIAIOSFODNN7EXAMPLE", Secret: s.key.Secret}
	wrong := iam.AccessKey{ID: s.key.ID, Secret: "not the secret"}
	for name, tc := range map[string]struct {
		req                  *http.Request
		code, field, message string
	}{
		"unsigned":          {unsigned, "MissingAuthenticationTokenException", "message", "Missing Authentication Token"},
		"wrong secret":      {at("aps", "us-east-1", time.Now(), wrong), "InvalidSignatureException", "message", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."},
		"tampered":          {tampered, "InvalidSignatureException", "message", "The request signature we calculated does not match"},
		"expired":           {at("aps", "us-east-1", time.Now().Add(-6*time.Minute), s.key), "InvalidSignatureException", "message", "Signature expired: "},
		"from the future":   {at("aps", "us-east-1", time.Now().Add(6*time.Minute), s.key), "InvalidSignatureException", "message", "Signature not yet current: "},
		"wrong service":     {at("execute-api", "us-east-1", time.Now(), s.key), "InvalidSignatureException", "message", "Credential should be scoped to correct service: 'aps'. "},
		"wrong region":      {at("aps", "eu-west-1", time.Now(), s.key), "InvalidSignatureException", "message", "Credential should be scoped to a valid region"},
		"unknown key":       {at("aps", "us-east-1", time.Now(), unknown), "UnrecognizedClientException", "message", "The security token included in the request is invalid."},
		"tenant header":     {orgID, "AccessDeniedException", "Message", "X-Scope-OrgID"},
		"no such workspace": {s.signed(t, "GET", "/workspaces/ws-00000000-0000-0000-0000-000000000000/api/v1/query?query=up", nil, nil), "ResourceNotFoundException", "message", "Workspace not found"},
		"no such path":      {s.signed(t, "GET", "/workspaces/"+ws+"/api/v1/nothing", nil, nil), "UnknownOperationException", "message", "No operation"},
	} {
		t.Run(name, func(t *testing.T) {
			res := s.do(t, tc.req)
			want := 403
			if strings.HasPrefix(name, "no such") {
				want = 404
			}
			require.Equal(t, want, res.status, res.body)
			require.Equal(t, tc.code, res.header.Get("x-amzn-errortype"))
			require.NotEmpty(t, res.header.Get("x-amzn-RequestId"))
			require.NotEmpty(t, res.header.Get("Date"))
			var body map[string]string
			require.NoError(t, json.Unmarshal([]byte(res.body), &body))
			require.Contains(t, body[tc.field], tc.message)
		})
	}
}

func TestServerPermissions(t *testing.T) {
	s := startServer(t, testConfig(t.TempDir()))
	ws := s.newWorkspace(t, "default")
	ctx := context.Background()
	_, err := s.IAM().CreateUser(ctx, s.Account(), "writer")
	require.NoError(t, err)
	require.NoError(t, s.IAM().AttachUserPolicy(ctx, s.Account(), "writer", iam.PolicyPrometheusWrite))
	admin := s.key
	s.key, err = s.IAM().CreateAccessKey(ctx, s.Account(), "writer")
	require.NoError(t, err)

	require.Equal(t, 200, s.write(t, ws, writeRequest(oneSeries("up", 1, time.Now()))).status)
	res := s.call(t, "GET", "/workspaces/"+ws+"/api/v1/query?query=up", "")
	require.Equal(t, 403, res.status)
	require.JSONEq(t, `{"Message":"User: arn:aws:iam::000000000000:user/writer is not authorized to perform: aps:QueryMetrics on resource: arn:aws:aps:us-east-1:000000000000:workspace/`+ws+` because no identity-based policy allows the aps:QueryMetrics action"}`, res.body)
	res = s.call(t, "GET", "/workspaces", "")
	require.Equal(t, 403, res.status)
	require.Contains(t, res.body, `"__type":"AccessDeniedException"`)

	require.NoError(t, s.IAM().SetAccessKeyActive(ctx, s.key.ID, false))
	res = s.write(t, ws, writeRequest(oneSeries("up", 1, time.Now())))
	require.Equal(t, 403, res.status)
	require.Contains(t, res.body, "The security token included in the request is invalid.")
	s.key = admin
	require.Equal(t, "1", s.value(t, ws, "up"))
}

func TestServerBadWrites(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Limits.MaxRequestSize = 1 << 20
	s := startServer(t, cfg)
	ws := s.newWorkspace(t, "default")
	now := time.Now()
	nameless := prompb.TimeSeries{Labels: []prompb.Label{{Name: "job", Value: "x"}}, Samples: []prompb.Sample{{Value: 1, Timestamp: now.UnixMilli()}}}
	for name, tc := range map[string]struct {
		body   []byte
		status int
		text   string
	}{
		"too large":       {make([]byte, 1<<20+1), 413, "limits.max_request_size"},
		"not snappy":      {[]byte("hello"), 400, "snappy"},
		"snappy bomb":     {[]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, 413, "limits.max_decompressed_bytes"},
		"broken protobuf": {snappy.Encode(nil, []byte("\x0a\x05x")), 400, "near byte 0"},
		"no metric name":  {writeRequest(nameless), 400, "without a metric name"},
		"too old":         {writeRequest(oneSeries("up", 1, now.Add(-48*time.Hour))), 400, "limits.max_sample_age"},
		"in the future":   {writeRequest(oneSeries("up", 1, now.Add(time.Hour))), 400, "limits.max_sample_future"},
	} {
		t.Run(name, func(t *testing.T) {
			res := s.write(t, ws, tc.body)
			require.Equal(t, tc.status, res.status, res.body)
			require.Contains(t, res.body, tc.text)
		})
	}
	v2 := s.do(t, s.signed(t, "POST", "/workspaces/"+ws+"/api/v1/remote_write", nil, func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v3.Request")
	}))
	require.Equal(t, 415, v2.status)

	// What is good in a bad request is stored.
	res := s.write(t, ws, writeRequest(nameless, oneSeries("good", 7, now)))
	require.Equal(t, 400, res.status)
	require.Equal(t, "7", s.value(t, ws, "good"))
	metrics, err := s.client.Get(s.URL() + "/metrics")
	require.NoError(t, err)
	text, _ := io.ReadAll(metrics.Body)
	_ = metrics.Body.Close()
	require.Contains(t, string(text), `mangru_discarded_samples_total{reason="missing_metric_name",workspace="`+ws+`"} 2`)
	require.Contains(t, string(text), `mangru_ingested_samples_total{workspace="`+ws+`"} 1`)
	require.Contains(t, string(text), `mangru_store_series{workspace="`+ws+`"} 1`)
}

func TestServerKeepsEverythingOverRestart(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, testConfig(dir))
	ws := s.newWorkspace(t, "default")
	key := s.key
	require.Equal(t, 200, s.write(t, ws, writeRequest(oneSeries("kept", 5, time.Now()))).status)
	s.stop()

	s = startServer(t, testConfig(dir))
	_, first := s.FirstKey()
	require.False(t, first)
	s.key = key
	require.Equal(t, ws, s.newWorkspace(t, "default"))
	require.Equal(t, "5", s.value(t, ws, "kept"))
}

// TestServerProcess is not a test: it is the server that others kill.
func TestServerProcess(t *testing.T) {
	dir := os.Getenv("MANGRU_TEST_SERVER_DIR")
	if dir == "" {
		t.Skip("run by TestServerSurvivesKill and TestServerAudit")
	}
	cfg := testConfig(dir)
	if os.Getenv("MANGRU_TEST_SERVER_DISK") == "tiny" {
		cfg.Store.MinFreeDisk = -1
	}
	s := startServer(t, cfg)
	ws := s.newWorkspace(t, "default")
	line, _ := json.Marshal(map[string]string{"url": s.URL(), "id": s.key.ID, "secret": s.key.Secret, "ws": ws})
	tmp := filepath.Join(dir, "here.tmp")
	require.NoError(t, os.WriteFile(tmp, line, 0o600))
	fmt.Println("READY")
	require.NoError(t, os.Rename(tmp, filepath.Join(dir, "here")))
	select {}
}

func TestServerSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "MANGRU_TEST_SERVER_DIR="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	killed := false
	defer func() {
		if !killed {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	var here struct{ URL, ID, Secret, WS string }
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "here"))
		return err == nil && json.Unmarshal(b, &here) == nil
	}, 30*time.Second, 20*time.Millisecond)
	key := iam.AccessKey{ID: here.ID, Secret: here.Secret}
	start := time.Now().Add(-time.Minute)
	const writes = 200
	for i := range writes {
		body := writeRequest(oneSeries("counted", float64(i), start.Add(time.Duration(i)*100*time.Millisecond)),
			oneSeries(fmt.Sprintf("new_%d", i), 1, start.Add(time.Duration(i)*100*time.Millisecond)))
		r := signedRequest(t, "POST", here.URL+"/workspaces/"+here.WS+"/api/v1/remote_write", body, key, "aps", "us-east-1", time.Now(), nil)
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		_ = res.Body.Close()
		require.Equal(t, 200, res.StatusCode)
	}
	require.NoError(t, cmd.Process.Kill())
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	killed = true

	s := startServer(t, testConfig(dir))
	s.key = key
	require.Equal(t, fmt.Sprint(writes), s.value(t, here.WS, `count_over_time(counted[5m])`))
	require.Equal(t, fmt.Sprint(writes), s.value(t, here.WS, `count({__name__=~"new_.*"})`))
}

func TestServerHealth(t *testing.T) {
	s := startServer(t, testConfig(t.TempDir()))
	for path, want := range map[string]string{"/-/healthy": "healthy", "/-/ready": "ready", "/metrics": "mangru_store_open_workspaces"} {
		res, err := s.client.Get(s.URL() + path)
		require.NoError(t, err)
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		require.Equal(t, 200, res.StatusCode)
		require.Contains(t, string(b), want)
	}
}

func TestServerMetricsStayOnLoopback(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Listen = "0.0.0.0:0"
	s := startServer(t, cfg)
	res, err := s.client.Get(s.URL() + "/metrics")
	require.NoError(t, err)
	_ = res.Body.Close()
	require.Equal(t, 403, res.StatusCode)
}

func TestServerDiskFull(t *testing.T) {
	cfg := testConfig(t.TempDir())
	s := startServer(t, cfg)
	ws := s.newWorkspace(t, "default")
	require.Equal(t, 200, s.write(t, ws, writeRequest(oneSeries("up", 3, time.Now()))).status)
	key := s.key
	s.stop()

	cfg.Store.MinFreeDisk = 1 << 39 // more than there is
	s = startServer(t, cfg)
	s.key = key
	res := s.write(t, ws, writeRequest(oneSeries("up", 4, time.Now())))
	require.Equal(t, 503, res.status)
	require.Contains(t, res.body, "disk full")
	require.Contains(t, res.body, "store.min_free_disk")
	require.NotEmpty(t, res.header.Get("Retry-After"))
	require.Equal(t, "3", s.value(t, ws, "up"))
}
