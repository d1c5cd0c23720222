//go:build unix

package cluster

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStateRoundTrip(t *testing.T) {
	dir := t.TempDir()
	if _, err := loadState(dir); !IsDown(err) {
		t.Fatalf("empty directory: %v, want no cluster", err)
	}
	s := &state{path: filepath.Join(dir, stateFile), Name: "x", Net: "10.1", Shape: shape{Nodes: 2, Addons: true},
		Processes: []process{{"etcd", 5, 77}}, Namespaces: []string{"x-control"}, Sysctls: map[string]string{"kernel.panic": "0"}}
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	got, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Shape != s.Shape || !slices.Equal(got.Processes, s.Processes) || got.Sysctls["kernel.panic"] != "0" {
		t.Errorf("read back %+v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadState(dir); err == nil || IsDown(err) || !strings.Contains(err.Error(), stateFile) {
		t.Errorf("broken state: %v, want an error that names the file", err)
	}
}

// child starts a process that lives until the test ends.
func child(t *testing.T) process {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	start, ok := startTime(cmd.Process.Pid)
	if !ok {
		t.Fatal("no start time")
	}
	return process{Name: "sleeper", PID: cmd.Process.Pid, Start: start}
}

func TestRunningWantsEveryProcessOfThisBoot(t *testing.T) {
	p := child(t)
	s := &state{Boot: "b", Ready: true, Processes: []process{p}}
	if !s.running("b") {
		t.Error("complete cluster: not running")
	}
	if s.running("another boot") {
		t.Error("after a restart of the machine: running")
	}
	reused := p
	reused.Start--
	s.Processes = append(s.Processes, reused)
	if s.running("b") || !slices.Equal(s.dead(), []string{"sleeper"}) {
		t.Errorf("a process id that was given to another: running, dead %v", s.dead())
	}
	s.Processes, s.Ready = s.Processes[:1], false
	if s.running("b") {
		t.Error("incomplete cluster: running")
	}
}

func TestKillSparesReusedProcessIDs(t *testing.T) {
	p := child(t)
	reused := p
	reused.Start--
	if err := reused.kill(); err != nil || !p.alive() {
		t.Fatalf("killed a process that is not ours (%v)", err)
	}
	if err := p.kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.waitGone(ctx); err != nil {
		t.Fatal(err)
	}
	if err := p.kill(); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestParseStartTime(t *testing.T) {
	const rest = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"
	for _, test := range []struct {
		stat string
		want uint64
		ok   bool
	}{
		{"12 (etcd) S" + rest, 4711, true},
		{"12 (odd) name (x) R" + rest, 4711, true},
		{"12 (dead) Z" + rest, 0, false},
		{"12 (short) S 1 2", 0, false},
		{"", 0, false},
		{")", 0, false},
	} {
		if got, ok := parseStartTime([]byte(test.stat)); got != test.want || ok != test.ok {
			t.Errorf("%q: %d %v, want %d %v", test.stat, got, ok, test.want, test.ok)
		}
	}
}

func FuzzParseStartTime(f *testing.F) {
	f.Add([]byte("12 (a b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"))
	f.Add([]byte(") "))
	f.Fuzz(func(t *testing.T, stat []byte) {
		if start, ok := parseStartTime(stat); !ok && start != 0 {
			t.Errorf("%q: start %d and not ok", stat, start)
		}
	})
}

func TestLockIsExclusiveAndLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	unlock, err := lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := lock(ctx, dir); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Fatalf("a second lock: %v, want to wait until the context ends", err)
	}
	unlock()
	unlock, err = lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := os.Stat(dir + ".lock"); !os.IsNotExist(err) {
		t.Errorf("lock file: %v", err)
	}
}

func TestDownRefusesAForeignDirectory(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := testOptions(t)
	o.Dir = dir
	var usage *UsageError
	if err := takeDown(t.Context(), o); !errors.As(err, &usage) {
		t.Errorf("%v, want a refusal", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestMountsBelow(t *testing.T) {
	const info = `1 0 8:1 / / rw - ext4 /dev/a rw
2 1 0:5 / /state/one rw - tmpfs tmpfs rw
3 2 0:6 / /state/one/with\040space rw - tmpfs tmpfs rw
4 1 0:7 / /state-of-others rw - tmpfs tmpfs rw
5 1 0:8 / /state rw - tmpfs tmpfs rw
`
	want := []string{"/state/one/with space", "/state/one"}
	if got := mountsBelow(info, "/state/"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
