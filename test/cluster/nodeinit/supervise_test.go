//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/mangru/mangru/test/cluster/nodespec"
)

func TestSupervisorWaitsForFilesAndRestarts(t *testing.T) {
	now := time.Unix(1000, 0)
	mark := filepath.Join(t.TempDir(), "go")
	var started []string
	s := newSupervisor(nodespec.Config{Services: []nodespec.Service{
		{Name: "runtime", Args: []string{"runtime"}},
		{Name: "agent", Args: []string{"agent"}, After: mark},
	}}, func(svc nodespec.Service, _ []string) (int, error) {
		started = append(started, svc.Name)
		return 100 + len(started), nil
	}, func() time.Time { return now })
	step := func(want ...string) {
		t.Helper()
		started = started[:0:0]
		if err := s.startDue(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(started, want) {
			t.Fatalf("started %v, want %v", started, want)
		}
	}

	step("runtime")
	step() // the agent's file is not there yet
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.ended(999, 0) // an orphan: nobody's service
	step("agent")   // pid 101 again, so that the next end is the agent's
	s.ended(101, syscall.WaitStatus(9))
	step() // too soon
	now = now.Add(restartWait)
	step("agent")
}

func TestLookPathUsesTheNodesPath(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "program"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	env := []string{"HOME=/", "PATH=/nonexistent:" + dir}
	if got, err := lookPath("program", env); err != nil || got != filepath.Join(dir, "program") {
		t.Errorf("program: %q, %v", got, err)
	}
	for _, name := range []string{"plain", "absent"} {
		if got, err := lookPath(name, env); err == nil {
			t.Errorf("%s: found %q, want an error", name, got)
		}
	}
}
