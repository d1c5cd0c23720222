//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mangru/mangru/test/cluster/nodespec"
)

func TestCovered(t *testing.T) {
	const mounts = `1 0 8:1 / / rw - ext4 /dev/a rw
2 1 8:2 / /var rw - ext4 /dev/b rw
3 2 8:3 / /var/lib/data\040one rw - ext4 /dev/c rw
4 3 0:5 / /var/lib/data\040one/inner rw - tmpfs tmpfs rw
5 1 0:6 / /run rw - tmpfs tmpfs rw
6 5 0:4 net:[1] /run/netns/x rw - nsfs nsfs rw
7 1 8:4 / /variable rw - ext4 /dev/d rw
`
	got := covered(mounts, []nodespec.Tree{{Path: "/var"}, {Path: "/run"}, {Path: "/run/bin"}})
	want := []string{"/run/netns/x", "/var/lib/data one/inner", "/var/lib/data one"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWritePIDReplacesTheWholeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	for _, pid := range []int{123456, 7} {
		if err := writePID(path, pid); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "7" {
		t.Errorf("%q, %v; want 7", text, err)
	}
}
