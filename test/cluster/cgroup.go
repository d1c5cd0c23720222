//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mangru/mangru/test/cluster/nodespec"
)

// cgroupTree is the machine's cgroup tree: version 1 with a hierarchy for each
// set of controllers, or version 2 with one for all.
type cgroupTree struct {
	unified     bool
	hierarchies []hierarchy
}

// hierarchy is one mounted tree.
type hierarchy struct {
	Path    string // where it is mounted
	Options string // that mount it again: "cpu,cpuacct", "none,name=systemd"; empty for version 2
}

func machineCgroups() (cgroupTree, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return cgroupTree{}, err
	}
	return parseCgroups(string(text))
}

// parseCgroups finds the cgroup tree in /proc/self/mountinfo. On a machine with
// both versions (hybrid) the controllers are in version 1, which is then used.
func parseCgroups(mountinfo string) (cgroupTree, error) {
	var v1 []hierarchy
	unified := ""
	for _, line := range strings.Split(mountinfo, "\n") {
		// 36 35 98:0 /root /mountpoint rw,noatime shared:1 - type source options
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 6 || len(right) < 3 {
			continue
		}
		path := left[4]
		switch right[0] {
		case "cgroup":
			if o := controllerOptions(right[2]); o != "" {
				v1 = append(v1, hierarchy{Path: path, Options: o})
			}
		case "cgroup2":
			if unified == "" || path == "/sys/fs/cgroup" {
				unified = path
			}
		}
	}
	if slices.ContainsFunc(v1, func(h hierarchy) bool { return strings.Contains(","+h.Options+",", ",memory,") }) {
		slices.SortStableFunc(v1, func(a, b hierarchy) int { return strings.Compare(a.Options, b.Options) })
		return cgroupTree{hierarchies: slices.CompactFunc(v1, func(a, b hierarchy) bool { return a.Options == b.Options })}, nil
	}
	if unified != "" {
		return cgroupTree{unified: true, hierarchies: []hierarchy{{Path: unified}}}, nil
	}
	return cgroupTree{}, &UnsupportedError{"no cgroup tree with a memory controller is mounted on this machine (neither version 1 nor 2)"}
}

// controllerOptions keeps, of a version 1 mount's options, those that name the
// hierarchy; a named one without controllers needs "none" beside its name.
func controllerOptions(options string) string {
	var keep []string
	for _, o := range strings.Split(options, ",") {
		switch {
		case strings.HasPrefix(o, "name="):
			keep = append(keep, "none", o)
		case o == "rw" || o == "ro" || o == "xattr" || o == "noprefix" || o == "clone_children" || strings.Contains(o, "="):
		default:
			keep = append(keep, o)
		}
	}
	return strings.Join(keep, ",")
}

// dirs are the directories of a cgroup, one in each hierarchy.
func (t cgroupTree) dirs(group ...string) []string {
	dirs := make([]string, len(t.hierarchies))
	for i, h := range t.hierarchies {
		dirs[i] = filepath.Join(append([]string{h.Path}, group...)...)
	}
	return dirs
}

// create makes the cgroup of a node: top/name. No process of others is moved.
func (t cgroupTree) create(top, name string) error {
	if t.unified {
		return t.createUnified(top, name)
	}
	for _, h := range t.hierarchies {
		parent := h.Path
		for _, part := range []string{top, name} {
			dir := filepath.Join(parent, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("making a cgroup: %w", err)
			}
			if err := inheritCPUs(parent, dir); err != nil {
				return err
			}
			parent = dir
		}
	}
	return nil
}

// inheritCPUs fills in a new cpuset, which takes no process while it is empty.
func inheritCPUs(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another controller
		}
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(own)) != "" {
			continue
		}
		above, err := os.ReadFile(filepath.Join(parent, file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), above, 0o644); err != nil {
			return fmt.Errorf("giving a cgroup its CPUs: %w", err)
		}
	}
	return nil
}

// neededControllers are those without which a kubelet does not start.
var neededControllers = []string{"cpu", "cpuset", "memory", "pids"}

// createUnified hands all controllers down to top and then makes top/name in
// it. The node's own processes go on from there: see nodeinit.
func (t cgroupTree) createUnified(top, name string) error {
	root := t.hierarchies[0].Path
	dir := filepath.Join(root, top)
	if err := enableControllers(root); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making a cgroup: %w", err)
	}
	if err := enableControllers(dir); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making a cgroup: %w", err)
	}
	return nil
}

// enableControllers turns on, for the children of dir, every controller that
// dir has. One that is not needed may stay off.
func enableControllers(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	available := strings.Fields(string(have))
	for _, need := range neededControllers {
		if !slices.Contains(available, need) {
			return &UnsupportedError{fmt.Sprintf("cgroup %s has no %s controller (it has: %s); a kubelet needs %s",
				dir, need, strings.Join(available, " "), strings.Join(neededControllers, ", "))}
		}
	}
	control := filepath.Join(dir, "cgroup.subtree_control")
	on, err := os.ReadFile(control)
	if err != nil {
		return err
	}
	for _, c := range available {
		if slices.Contains(strings.Fields(string(on)), c) {
			continue
		}
		err := os.WriteFile(control, []byte("+"+c), 0o644)
		switch {
		case err == nil || !slices.Contains(neededControllers, c):
		case errors.Is(err, syscall.EBUSY):
			return &UnsupportedError{fmt.Sprintf("cgroup %s holds processes of its own, so it cannot hand the %s controller down; "+
				"in a container, start that with the machine's cgroup namespace or move its processes into a child cgroup first", dir, c)}
		default:
			return fmt.Errorf("enabling cgroup controller %s in %s: %w", c, control, err)
		}
	}
	return nil
}

// nodeMounts is how a node mounts its view of the tree, for nodeinit.
func (t cgroupTree) nodeMounts() []nodespec.CgroupMount {
	if t.unified {
		return []nodespec.CgroupMount{{}}
	}
	mounts := make([]nodespec.CgroupMount, len(t.hierarchies))
	for i, h := range t.hierarchies {
		m := nodespec.CgroupMount{Options: h.Options, Dir: strings.TrimPrefix(h.Options, "none,name=")}
		if parts := strings.Split(m.Dir, ","); len(parts) > 1 {
			m.Links = parts
		}
		mounts[i] = m
	}
	return mounts
}

// removeCgroup ends every process below a cgroup and removes its directories.
func removeCgroup(ctx context.Context, dir string) error {
	for {
		left, err := emptyCgroup(dir)
		if err != nil || !left {
			return err
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("removing cgroup %s: processes stay in it: %w", dir, err)
		}
	}
}

// emptyCgroup makes one attempt, deepest directories first.
func emptyCgroup(dir string) (left bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	for _, e := range entries {
		if e.IsDir() {
			if _, err := emptyCgroup(filepath.Join(dir, e.Name())); err != nil {
				return true, err
			}
		}
	}
	procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return true, err
	}
	for _, field := range strings.Fields(string(procs)) {
		// All processes here descend from a node's first: the cgroup is ours.
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	err = syscall.Rmdir(dir)
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENOTEMPTY) {
		return true, nil
	}
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		return true, fmt.Errorf("removing cgroup %s: %w", dir, err)
	}
	return false, nil
}
