//go:build unix

package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mangru/mangru/test/cluster/nodespec"
)

const (
	mountsV1 = `24 1 0:22 / /sys rw - sysfs sysfs rw
30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset,clone_children,release_agent=/x
35 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
36 24 0:29 / /mnt/again rw - cgroup cgroup rw,memory
`
	mountsV2 = `24 1 0:22 / /sys rw - sysfs sysfs rw
30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
`
)

func TestParseCgroups(t *testing.T) {
	for name, test := range map[string]struct {
		mounts string
		want   cgroupTree
		node   []nodespec.CgroupMount
	}{
		"hybrid": {
			mountsV1,
			cgroupTree{hierarchies: []hierarchy{
				{"/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"}, {"/sys/fs/cgroup/cpuset", "cpuset"},
				{"/sys/fs/cgroup/memory", "memory"}, {"/sys/fs/cgroup/systemd", "none,name=systemd"},
			}},
			[]nodespec.CgroupMount{
				{Dir: "cpu,cpuacct", Options: "cpu,cpuacct", Links: []string{"cpu", "cpuacct"}}, {Dir: "cpuset", Options: "cpuset"},
				{Dir: "memory", Options: "memory"}, {Dir: "systemd", Options: "none,name=systemd"},
			},
		},
		"unified": {
			mountsV2,
			cgroupTree{unified: true, hierarchies: []hierarchy{{Path: "/sys/fs/cgroup"}}},
			[]nodespec.CgroupMount{{}},
		},
		"unified with a named version 1 tree": {
			mountsV2 + "31 24 0:27 / /sys/fs/elogind rw - cgroup cgroup rw,name=elogind\n",
			cgroupTree{unified: true, hierarchies: []hierarchy{{Path: "/sys/fs/cgroup"}}},
			[]nodespec.CgroupMount{{}},
		},
	} {
		got, err := parseCgroups(test.mounts)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.unified != test.want.unified || !slices.Equal(got.hierarchies, test.want.hierarchies) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, test.want)
		}
		mounts := got.nodeMounts()
		if !slices.EqualFunc(mounts, test.node, func(a, b nodespec.CgroupMount) bool {
			return a.Dir == b.Dir && a.Options == b.Options && slices.Equal(a.Links, b.Links)
		}) {
			t.Errorf("%s: node mounts\n got %+v\nwant %+v", name, mounts, test.node)
		}
		if unified := (nodespec.Config{CgroupMounts: mounts}).Unified(); unified != got.unified {
			t.Errorf("%s: nodeinit takes it for unified=%v", name, unified)
		}
	}
	var unsupported *UnsupportedError
	if _, err := parseCgroups("24 1 0:22 / /sys rw - sysfs sysfs rw\n"); !errors.As(err, &unsupported) {
		t.Errorf("no cgroups: %v, want an unsupported machine", err)
	}
}

// fakeTree makes files as the kernel would show them.
func fakeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCreateVersion1FillsCpusets(t *testing.T) {
	root := fakeTree(t, map[string]string{
		"cpuset/cpuset.cpus": "0-3\n", "cpuset/cpuset.mems": "0\n", "memory/tasks": "",
		// The kernel makes these with the directory; a plain file system does not.
		"cpuset/mangru-cluster/cpuset.cpus": "\n", "cpuset/mangru-cluster/cpuset.mems": "\n",
		"cpuset/mangru-cluster/node-1/cpuset.cpus": "\n", "cpuset/mangru-cluster/node-1/cpuset.mems": "0-1\n",
	})
	tree := cgroupTree{hierarchies: []hierarchy{{filepath.Join(root, "cpuset"), "cpuset"}, {filepath.Join(root, "memory"), "memory"}}}
	if err := tree.create("mangru-cluster", "node-1"); err != nil {
		t.Fatal(err)
	}
	node := tree.dirs("mangru-cluster", "node-1")
	if _, err := os.Stat(node[1]); err != nil {
		t.Error(err)
	}
	if got := content(t, filepath.Join(node[0], "cpuset.cpus")); got != "0-3\n" {
		t.Errorf("cpuset.cpus of the node: %q, want the machine's", got)
	}
	if got := content(t, filepath.Join(node[0], "cpuset.mems")); got != "0-1\n" {
		t.Errorf("cpuset.mems of the node: %q, want what was there", got)
	}
}

func TestCreateVersion2EnablesControllersDownwards(t *testing.T) {
	root := fakeTree(t, map[string]string{
		"cgroup.controllers": "cpuset cpu io memory pids\n", "cgroup.subtree_control": "cpu io memory pids\n",
		"cgroup.procs":                      "1\n2\n",
		"mangru-cluster/cgroup.controllers": "cpuset cpu memory pids\n", "mangru-cluster/cgroup.subtree_control": "cpuset cpu memory\n",
	})
	tree := cgroupTree{unified: true, hierarchies: []hierarchy{{Path: root}}}
	if err := tree.create("mangru-cluster", "node-1"); err != nil {
		t.Fatal(err)
	}
	// Only what is missing is written.
	if got := content(t, filepath.Join(root, "cgroup.subtree_control")); got != "+cpuset" {
		t.Errorf("root: %q, want +cpuset", got)
	}
	if got := content(t, filepath.Join(root, "mangru-cluster", "cgroup.subtree_control")); got != "+pids" {
		t.Errorf("mangru-cluster: %q, want +pids", got)
	}
	if got := content(t, filepath.Join(root, "cgroup.procs")); got != "1\n2\n" {
		t.Errorf("processes of others were moved: %q", got)
	}
	dir := tree.dirs("mangru-cluster", "node-1")[0]
	if dir != filepath.Join(root, "mangru-cluster/node-1") {
		t.Errorf("node's cgroup: %s", dir)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

func TestVersion2WithoutControllersIsUnsupported(t *testing.T) {
	root := fakeTree(t, map[string]string{"cgroup.controllers": "hugetlb pids\n", "cgroup.subtree_control": "\n"})
	err := cgroupTree{unified: true, hierarchies: []hierarchy{{Path: root}}}.create("mangru-cluster", "node-1")
	var unsupported *UnsupportedError
	if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "no cpu controller") {
		t.Errorf("%v, want an unsupported machine for want of cpu", err)
	}
}

func TestRemoveCgroup(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "mangru-cluster")
	if err := os.MkdirAll(filepath.Join(dir, "node-1/kubepods/pod1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := removeCgroup(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
	if err := removeCgroup(t.Context(), dir); err != nil {
		t.Errorf("a second time: %v", err)
	}
}
