//go:build unix

package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mangru/mangru/test/cluster"
)

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		err   error
		code  int
		wants string
	}{
		{nil, 0, ""},
		{errors.New("disk full"), 1, "cluster: disk full\n"},
		{fmt.Errorf("up: %w", &cluster.UnsupportedError{}), 2, "cluster: up"},
		{&cluster.UsageError{}, 2, "cluster: "},
		{fmt.Errorf("up: %w", errUsage), 2, "usage: cluster COMMAND"},
	} {
		var stderr strings.Builder
		if code := exitCode(test.err, &stderr); code != test.code || !strings.Contains(stderr.String(), test.wants) {
			t.Errorf("%v: exit code %d, said %q; want %d, %q", test.err, code, stderr.String(), test.code, test.wants)
		}
	}
}

func TestBadArgumentsAreRefusedBeforeAnythingIsDone(t *testing.T) {
	// An empty state directory, so that no command finds a cluster.
	t.Setenv("MANGRU_CLUSTER_DIR", t.TempDir())
	for _, args := range [][]string{nil, {"dance"}, {"down", "now"}, {"up", "--nodes"}, {"up", "--nodes", "0"}, {"up", "--nodes", "x"}, {"up", "2"}} {
		if err := run(t.Context(), args, &strings.Builder{}); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v, want usage", args, err)
		}
	}
	for _, args := range [][]string{{"status"}, {"kubeconfig"}, {"kubectl", "get", "pods"}, {"addons"}, {"exec-control", "true"}} {
		if err := run(t.Context(), args, &strings.Builder{}); !cluster.IsDown(err) || !strings.Contains(err.Error(), "cluster up") {
			t.Errorf("%q: %v, want advice to start a cluster", args, err)
		}
	}
}

func TestPackages(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"packages"}, &out); err != nil || !strings.Contains(out.String(), "etcd-server containerd") {
		t.Errorf("%q, %v", out.String(), err)
	}
}
