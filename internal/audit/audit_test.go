package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// running opens a Log and runs it; stop ends it and returns every line of every
// file, oldest first.
func running(t *testing.T, cfg Config) (l *Log, stop func() []map[string]any) {
	t.Helper()
	if cfg.File == "" {
		cfg.File = filepath.Join(t.TempDir(), "audit", "audit.jsonl")
	}
	l, err := Open(cfg, quiet)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return l, func() []map[string]any {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, l.Close())
		return read(t, cfg.File)
	}
}

func files(t *testing.T, file string) []string {
	t.Helper()
	all, err := filepath.Glob(strings.TrimSuffix(file, ".jsonl") + "*")
	require.NoError(t, err)
	slices.Sort(all) // '-' sorts before '.': the current file is last
	return all
}

func read(t *testing.T, file string) (out []map[string]any) {
	t.Helper()
	for _, f := range files(t, file) {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		for line := range bytes.Lines(text) {
			var m map[string]any
			require.NoError(t, json.Unmarshal(line, &m), "%s", line)
			out = append(out, m)
		}
	}
	return out
}

func count(l *Log) map[string]int {
	return map[string]int{"written": int(testutil.ToFloat64(l.written)), "skipped": int(testutil.ToFloat64(l.skipped)),
		"suppressed": int(testutil.ToFloat64(l.suppressed)), "dropped": int(testutil.ToFloat64(l.dropped)), "failed": int(testutil.ToFloat64(l.failed))}
}

var someone = Event{Time: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), RequestID: "r1", Principal: "arn:aws:iam::000000000000:user/a", AccessKeyID: "AKIA1",
	Service: "aps", Action: "aps:CreateWorkspace", Resource: "arn:aws:aps:us-east-1:000000000000:/workspaces", Source: netip.MustParseAddr("10.0.0.1"),
	UserAgent: "aws-cli/2 \"quoted\"\nnewline", Decision: Deny, Status: 403, Code: "AccessDeniedException", Reason: "because", Policy: "arn:aws:iam::aws:policy/X"}

func TestLine(t *testing.T) {
	l, stop := running(t, Config{Registerer: prometheus.NewRegistry()})
	l.Record(someone)
	lines := stop()
	require.Equal(t, []map[string]any{{"time": "2026-01-02T03:04:05.006Z", "request_id": "r1", "principal": someone.Principal, "access_key_id": "AKIA1",
		"service": "aps", "action": "aps:CreateWorkspace", "resource": someone.Resource, "source_ip": "10.0.0.1", "user_agent": someone.UserAgent,
		"decision": "deny", "status": 403.0, "code": "AccessDeniedException", "reason": "because", "policy": someone.Policy}}, lines)
	info, err := os.Stat(l.cfg.File)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Equal(t, 1, count(l)["written"])
}

func TestLongTextsAreCut(t *testing.T) {
	e := someone
	e.UserAgent = strings.Repeat("망", 1000)
	var m map[string]any
	require.NoError(t, json.Unmarshal(appendEvent(nil, e), &m))
	require.Equal(t, strings.Repeat("망", maxText/3)+"...", m["user_agent"])
}

func TestRotationKeepsEveryLine(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l, stop := running(t, Config{MaxSize: 4096, MaxFiles: 1000, Now: func() time.Time { return now }})
	const n = 500
	for i := range n {
		e := someone
		e.RequestID = fmt.Sprint(i)
		l.Record(e)
	}
	lines := stop()
	require.Len(t, lines, n)
	for i, m := range lines {
		require.Equal(t, fmt.Sprint(i), m["request_id"])
	}
	all := files(t, l.cfg.File)
	require.Greater(t, len(all), 20, "one moment, many files")
	for _, f := range all {
		info, err := os.Stat(f)
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64(4096))
	}
}

func TestAgeAndRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := running(t, Config{MaxAge: time.Hour, MaxFiles: 3, KeepFor: 5 * time.Hour})
		day := func(id string) {
			e := someone
			e.Time, e.RequestID = time.Now(), id
			l.Record(e)
			synctest.Wait()
		}
		day("a")
		time.Sleep(61 * time.Minute)
		synctest.Wait()
		require.Len(t, files(t, l.cfg.File), 2, "rotated although nothing was written")
		for _, id := range []string{"b", "c", "d", "e"} {
			day(id)
			time.Sleep(61 * time.Minute)
		}
		synctest.Wait()
		require.Len(t, files(t, l.cfg.File), 4, "three set aside, and the current one")
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		require.Len(t, files(t, l.cfg.File), 1, "too old")
		require.Empty(t, stop())
	})
}

func TestForeignFilesStay(t *testing.T) {
	dir := t.TempDir()
	names := []string{"audit-notes.jsonl", "audit-20200101T000000.000Z.txt", "audit-20200101T000000.000Z.001.jsonl", "other-20200101T000000.000Z.jsonl"}
	for _, n := range append(names, "audit-20200101T000000.000Z.jsonl") {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), []byte("{}\n"), 0o600))
	}
	_, stop := running(t, Config{File: filepath.Join(dir, "audit.jsonl")})
	stop()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	require.ElementsMatch(t, append(names, "audit.jsonl"), left)
}

func TestTornLineIsEnded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(`{"time":"2026-01-01T00:00:00.000Z","decision":"allow"}`+"\n"+`{"time":"20`), 0o600))
	now := time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC)
	l, err := Open(Config{File: file, Now: func() time.Time { return now }}, quiet)
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), l.file.born.UTC(), "a restart does not make the file young")
	require.NoError(t, l.file.write(appendEvent(nil, someone)))
	require.NoError(t, l.Close())
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	require.Len(t, lines, 3)
	require.True(t, json.Valid([]byte(lines[2])))
}

func TestFullQueueIsCountedAndNoted(t *testing.T) {
	l, err := Open(Config{File: filepath.Join(t.TempDir(), "audit.jsonl"), Queue: 2}, quiet)
	require.NoError(t, err)
	for range 5 {
		l.Record(someone) // nobody writes yet, and nobody waits
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, l.Run(ctx))
	require.NoError(t, l.Close())
	lines := read(t, l.cfg.File)
	require.Len(t, lines, 3)
	require.Equal(t, "lost", lines[2]["decision"])
	require.Equal(t, 3.0, lines[2]["lost"])
	require.Equal(t, map[string]int{"written": 3, "skipped": 0, "suppressed": 0, "dropped": 3, "failed": 0}, count(l), "the note is a line too")
}

func TestFloodLeavesRoomForCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := running(t, Config{RefusalsPerSecond: 10})
		stranger := Event{Decision: Deny, AccessKeyID: "AKIAMADEUP", Code: "UnrecognizedClientException"}
		denied := someone
		denied.Data = true
		for i := range 10_000 {
			l.Record(stranger)
			l.Record(denied)
			if i%1000 == 0 {
				l.Record(someone)
			}
		}
		got := map[any]int{}
		for _, m := range stop() {
			got[m["access_key_id"]]++
		}
		require.Equal(t, 60, got["AKIAMADEUP"])
		require.Equal(t, 60+10, got["AKIA1"], "six seconds' worth of the data plane, all of the control plane")
		require.Equal(t, 2*9940, count(l)["suppressed"])
	})
}

func TestDataPlaneSampling(t *testing.T) {
	e := someone
	e.Data, e.Decision = true, Allow
	for share, want := range map[float64][2]int{0: {0, 0}, 1: {4000, 4000}, 0.25: {800, 1200}} {
		l, stop := running(t, Config{DataPlane: share})
		for range 4000 {
			l.Record(e)
		}
		n := len(stop())
		require.GreaterOrEqual(t, n, want[0])
		require.LessOrEqual(t, n, want[1])
		require.Equal(t, 4000-n, count(l)["skipped"])
	}
}

func TestDiskTroubleIsCountedAndPasses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	var out bytes.Buffer
	l, err := Open(Config{File: filepath.Join(dir, "audit.jsonl"), MaxSize: 1}, slog.New(slog.NewTextHandler(&out, nil)))
	require.NoError(t, err)
	l.write(appendEvent(nil, someone))
	require.NoError(t, os.RemoveAll(dir))
	l.write(slices.Concat(appendEvent(nil, someone), appendEvent(nil, someone)))
	require.Equal(t, 2, count(l)["failed"])
	require.Equal(t, 1, strings.Count(out.String(), "level=ERROR"), out.String())
	require.NoError(t, os.MkdirAll(dir, 0o700))
	l.write(l.drain(nil))
	l.write(appendEvent(nil, someone))
	require.NoError(t, l.Close())
	lines := read(t, l.cfg.File)
	require.Len(t, lines, 2)
	require.Equal(t, 2.0, lines[0]["lost"])
}

func TestSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	for _, cfg := range []Config{{}, {File: file, DataPlane: 2}, {File: file, MaxSize: -1}, {File: "/dev/null"}} {
		_, err := Open(cfg, quiet)
		require.Error(t, err)
	}
}

func BenchmarkRecord(b *testing.B) {
	l, err := Open(Config{File: filepath.Join(b.TempDir(), "audit.jsonl")}, quiet)
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	b.ReportAllocs()
	for b.Loop() {
		l.Record(someone)
	}
	cancel()
	require.NoError(b, <-done)
	require.NoError(b, l.Close())
}
