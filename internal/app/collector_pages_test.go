package app

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/collector/buffer"
	"github.com/mangru/mangru/internal/collector/discover"
	"github.com/mangru/mangru/internal/collector/scrape"
	"github.com/mangru/mangru/internal/collector/send"
	"github.com/mangru/mangru/internal/otelconf"
)

// TestStatePages renders the pages with awkward content and with none.
func TestStatePages(t *testing.T) {
	c := &Collector{log: slog.New(slog.DiscardHandler)}
	get := func(page string, v any, accept string) string {
		rec := httptest.NewRecorder()
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/"+page, http.NoBody)
		req.Header.Set("Accept", accept)
		c.serveState(rec, req, page, v)
		require.Equal(t, http.StatusOK, rec.Code)
		require.Equal(t, "nosniff", rec.Header().Get("X-Content-Type-Options"))
		return rec.Body.String()
	}
	const browser = "text/html,application/xhtml+xml"
	bad := "<script>alert(1)</script>"
	full := CollectorTargets{
		Problems:   map[string]string{"dns": bad},
		Duplicates: []discover.Duplicate{{URL: bad, Jobs: []string{"a", "b"}}},
		Jobs: []CollectorJob{{
			Job: "j", DroppedCounts: map[discover.Reason]int{discover.ReasonRelabel: 3},
			Targets: []CollectorTarget{{
				scrape.TargetState{URL: bad, Health: scrape.HealthDown, LastError: bad, Labels: map[string]string{"l": bad}, LastScrape: time.Now()},
				map[string]string{"__address__": "x:1"},
			}},
		}},
	}
	page := get("targets", full, browser)
	require.NotContains(t, page, bad)
	for _, want := range []string{"&lt;script&gt;", "1 target<", "3 relabel", "down", "__address__"} {
		require.Contains(t, page, want)
	}
	require.Contains(t, get("targets", full, "*/*"), `"jobs":[`)
	require.Contains(t, get("targets", CollectorTargets{}, browser), "No jobs.")
	page = get("queue", CollectorQueue{
		Queue:   buffer.State{Bytes: 3 << 20, MaxAge: 2 * time.Hour, Endpoints: []buffer.EndpointState{{Name: "e", Samples: 12, Dropped: map[buffer.Reason]int64{buffer.ReasonAge: 7}}}},
		Senders: []send.State{{Name: "e", Status: send.StatusRetrying, LastError: bad}},
	}, browser)
	for _, want := range []string{"3.0 MiB of no limit", "up to 2h", "7 queue_age", "retrying"} {
		require.Contains(t, page, want)
	}
	require.NotContains(t, page, bad)
}

// TestConfigPageHidesSecrets shows a configuration full of secrets.
func TestConfigPageHidesSecrets(t *testing.T) {
	text := `
scrape_configs:
- job_name: j
  basic_auth: {username: u, password: hunter2}
  static_configs: [{targets: [a:1]}]
remote_write: [{url: "http://user:hunter2@h/write?token=hunter2", name: e, authorization: {credentials: hunter2}}]
`
	text = strings.Replace(text, "user:hunter2@", "", 1) // one kind of credentials at a time
	cfg, err := otelconf.Load(otelconf.Options{Files: []string{"yaml:" + text}})
	require.NoError(t, err)
	cfg.MetricsAddress = "127.0.0.1:0"
	c, err := NewCollector(cfg, CollectorDeps{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Registerer: prometheus.NewRegistry()})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	out := c.Config()
	require.NotContains(t, out.YAML, "hunter2")
	require.Contains(t, out.YAML, "<secret>")
	require.Contains(t, out.YAML, "job_name: j")
	require.Contains(t, out.YAML, "http://h/write")
}
