package doctor

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
)

const board = `{"title":"B","panels":[{"title":"P","targets":[{"expr":"sum(rate(seen_total{a=\"$x\"}[$__rate_interval]))"}]},
	{"title":"row","panels":[{"title":"Q","targets":[{"expr":"missing_metric / on() seen_total"},{"expr":"not ( promql"}]}]}]}`

// workspace is a query API that gives a written sample back.
func workspace(t *testing.T) (*httptest.Server, Workspace) {
	t.Helper()
	var mu sync.Mutex
	written := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query().Get("query")
		mu.Lock()
		defer mu.Unlock()
		switch {
		case strings.HasSuffix(r.URL.Path, "/api/v1/rules"):
			fmt.Fprint(w, `{"status":"success","data":{"groups":[{"name":"g","rules":[{"name":"r","health":"err","lastError":"bad"}]}]}}`)
		case strings.HasSuffix(r.URL.Path, "/values"):
			fmt.Fprint(w, `{"status":"success","data":["seen_total"]}`)
		case strings.Contains(q, canaryName) && written, q == "vector(1)":
			fmt.Fprint(w, `{"status":"success","data":{"result":[{"metric":{},"value":[1,"1"]}]}}`)
		case strings.HasPrefix(q, "count by (job)"):
			fmt.Fprint(w, `{"status":"success","data":{"result":[{"metric":{"job":"kubelet"},"value":[1,"1"]}]}}`)
		default:
			fmt.Fprint(w, `{"status":"success","data":{"result":[]}}`)
		}
	}))
	t.Cleanup(s.Close)
	return s, Workspace{URL: s.URL + "/", Client: s.Client(), Boards: fstest.MapFS{"b.json": {Data: []byte(board)}},
		Write: func(context.Context, map[string]string, float64, time.Time) error {
			mu.Lock()
			defer mu.Unlock()
			written = true
			return nil
		}}
}

func levelsOf(r *Report) map[string]Level {
	out := map[string]Level{}
	for _, c := range r.Checks {
		out[c.Area+" "+c.Name] = c.Level
	}
	return out
}

func TestWorkspace(t *testing.T) {
	_, w := workspace(t)
	r := &Report{}
	w.Check(t.Context(), r)
	require.Equal(t, map[string]Level{
		"workspace clock": OK, "workspace query API": OK, "workspace canary sample": OK, "workspace jobs": OK, "rules rules": Failure, "boards B": Warning,
	}, levelsOf(r))
	require.Equal(t, 1, r.ExitCode())
	var out bytes.Buffer
	require.NoError(t, r.Print(&out))
	require.Contains(t, out.String(), "missing_metric (Q)")
	require.Contains(t, out.String(), "Fix: ")
}

func TestWorkspaceRefuses(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		http.Error(w, `{"message":"Signature expired: ..."}`, http.StatusForbidden)
	}))
	defer s.Close()
	r := &Report{}
	Workspace{URL: s.URL + "/", Client: s.Client()}.Check(t.Context(), r)
	require.Equal(t, map[string]Level{"workspace clock": Failure, "workspace query API": Failure}, levelsOf(r))
	require.Contains(t, r.Checks[1].Fix, "NTP")
}

func TestDuplicates(t *testing.T) {
	s := &state{}
	s.Duplicates = append(s.Duplicates, struct {
		URL     string   `json:"url"`
		Jobs    []string `json:"jobs"`
		Dropped bool     `json:"onlyFirst"`
	}{"http://10.0.0.1:8080/metrics", []string{"a", "b"}, false})
	r := &Report{}
	duplicates(r, s)
	require.Equal(t, Warning, r.Worst)
	require.Equal(t, 3, r.ExitCode())
	require.Contains(t, r.Checks[0].Evidence, "http://10.0.0.1:8080/metrics by a, b")
	s.Duplicates[0].Dropped = true
	r = &Report{}
	duplicates(r, s)
	require.Equal(t, OK, r.Worst)
}

func TestAdvice(t *testing.T) {
	for text, fix := range map[string]string{
		"InvalidIdentityToken: No OpenIDConnect provider found": "cluster register", "dial tcp: connection refused": "cannot be reached",
		"403 User: x is not authorized to perform: aps:RemoteWrite": "role attach", "something else": "log",
	} {
		require.Contains(t, Advice(text), fix, text)
	}
}
