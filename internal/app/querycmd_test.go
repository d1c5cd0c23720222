package app

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
)

// The commands against a real server with samples of the last ten minutes.
func TestQueryCommands(t *testing.T) {
	s := startServer(t, testConfig(t.TempDir()))
	data := t.TempDir()
	require.NoError(t, writeCredentials(filepath.Join(data, "credentials"), credentials{AccessKey: s.key.ID, SecretKey: s.key.Secret}))
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_ENDPOINT_URL", "")
	try := func(args ...string) (int, string, string) {
		return runMain(append(args, "--endpoint", s.URL(), "--data", data)...)
	}
	code, _, errs := try("query", "up")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "there is no workspace yet")
	ws := s.newWorkspace(t, "prod")
	now := time.Now()
	var all []prompb.TimeSeries
	for _, job := range []string{"a", "b"} {
		series := oneSeries("load", 0, now)
		series.Labels[1].Value = job
		series.Samples = nil
		for i := range 20 {
			series.Samples = append(series.Samples, prompb.Sample{Value: float64(i * i), Timestamp: now.Add(time.Duration(i-20) * 30 * time.Second).UnixMilli()})
		}
		all = append(all, series)
	}
	require.Equal(t, 200, s.write(t, ws, writeRequest(all...)).status)

	ok := func(args ...string) string {
		t.Helper()
		code, out, errs := try(args...)
		require.Zero(t, code, errs)
		return out
	}
	require.Equal(t, "SERIES      VALUE\n{job=\"a\"}   361\n{job=\"b\"}   361\n", ok("query", "sum by (job) (load)"))
	require.Contains(t, ok("query", "-w", "prod", "-o", "csv", "load"), ",361,load,a\n")
	require.Contains(t, ok("query", "-w", ws, "-o", "json", "1"), `"resultType": "scalar"`)
	out := ok("query", "--range", "9m", "load")
	require.Contains(t, out, "▁")
	require.Contains(t, out, "█")
	require.Contains(t, ok("query", "--range", "9m", "-o", "plot", "load"), `+ load{job="b"}`)
	require.Contains(t, ok("query", "load > 1e6"), "No series.")

	code, _, errs = try("query", "sum(\n rate(load}[5m]))")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "mangru: line 2, column 11: parse error: unexpected character: '}'")
	require.Contains(t, errs, "   rate(load}[5m]))\n            ^\n")
	for _, bad := range [][]string{{"query"}, {"query", "up", "-o", "yaml"}, {"query", "up", "-o", "plot"}, {"query", "up", "--end", "1"}, {"query", "up", "--time", "x"},
		{"query", "up", "--range", "x"}, {"query", "up", "--start", "1m", "--end", "1h"}, {"query", "up", "-w", "nobody"}, {"cardinality", "--match", "{"}} {
		code, _, errs := try(bad...)
		require.Equal(t, exitUsage, code, "%s: %s", strings.Join(bad, " "), errs)
	}
	out = ok("cardinality")
	require.Contains(t, out, "load     2        100.0%   +2    -0")
	require.Contains(t, out, "Amazon Managed Service for Prometheus")
	require.Contains(t, ok("cardinality", "-o", "json"), `"samplesPerSecond"`)
}

func TestPlot(t *testing.T) {
	at := func(s int64, v float64) point { return point{at: time.Unix(s, 0).UTC(), v: v} }
	f := &queryFlags{width: 34, height: 5}
	var b strings.Builder
	require.NoError(t, f.plot(&b, []answered{{labels: map[string]string{"__name__": "x"}, points: []point{at(0, 0), at(60, 1), at(120, 2), at(180, 3), at(240, 4)}}},
		url.Values{"start": {"0"}, "end": {"240"}}))
	require.Equal(t, `4 ┤                             *
  ┤                      *
  ┤               *
  ┤       *
0 ┤*
  └──────────────────────────────
   01-01 00:00    01-01 00:04 UTC
  * x
`, b.String())
	require.Equal(t, "▁▃▅▇█", sparkline([]point{at(0, 0), at(60, 1), at(120, 2), at(180, 3), at(240, 4)}, time.Unix(0, 0), time.Unix(240, 0), 5))
	for v, want := range map[float64]string{1234567: "1.235M", 0.5: "0.5", 2e-7: "2.00e-07", -1500: "-1.5k", 0: "0"} {
		require.Equal(t, want, short(v))
	}
}
