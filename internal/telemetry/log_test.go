package telemetry

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestNewLoggerNamesWhatIsAllowed(t *testing.T) {
	for _, c := range [][3]string{{"text", "loud", "allowed are debug, info, warn, error"}, {"xml", "info", "allowed are text, json"}} {
		if _, err := NewLogger(nil, c[0], c[1]); err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("format %s, level %s: %v", c[0], c[1], err)
		}
	}
}

func TestDemote(t *testing.T) {
	var out strings.Builder
	logger, err := NewLogger(&out, "text", "info")
	if err != nil {
		t.Fatal(err)
	}
	Demote(logger, slog.LevelDebug).With("a", 1).Error("hidden")
	Demote(logger, slog.LevelInfo).WithGroup("g").Error("shown", "b", 2)
	if got := out.String(); strings.Contains(got, "hidden") || !strings.Contains(got, `level=INFO msg=shown g.b=2`) {
		t.Error(got)
	}
}

func TestThrottle(t *testing.T) {
	now := time.Unix(0, 0)
	th := Throttle{Every: time.Minute, Now: func() time.Time { return now }}
	check := func(key string, wantHidden int, wantOK bool) {
		t.Helper()
		if hidden, ok := th.Allow(key); hidden != wantHidden || ok != wantOK {
			t.Errorf("%s: %d %v, wanted %d %v", key, hidden, ok, wantHidden, wantOK)
		}
	}
	check("a", 0, true)
	check("a", 0, false)
	check("a", 0, false)
	check("b", 0, true)
	now = now.Add(time.Minute)
	check("a", 2, true)
	check("a", 0, false)
}
