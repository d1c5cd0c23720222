//go:build linux

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mangru/mangru/test/cluster/nodespec"
)

// mountTrees gives the node its own directories. All are picked up before the
// first is put in place, because one may lie below a path that another covers.
func mountTrees(trees []nodespec.Tree) error {
	picked := make([]int, len(trees))
	for i, t := range trees {
		fd, err := unix.OpenTree(unix.AT_FDCWD, t.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return fmt.Errorf("picking up %s (Linux 5.2 or later is needed): %w", t.Source, err)
		}
		picked[i] = fd
	}
	if err := dropCovered(trees); err != nil {
		return err
	}
	for i, t := range trees {
		if err := unix.MoveMount(picked[i], "", unix.AT_FDCWD, t.Path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", t.Source, t.Path, err)
		}
		if err := unix.Close(picked[i]); err != nil {
			return err
		}
		// Until it is made private it shares what is mounted on it with the
		// place it was picked up from; pods may still ask for propagation.
		for _, propagation := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
			if err := mount("", t.Path, "", propagation, ""); err != nil {
				return err
			}
		}
	}
	return os.Chdir("/")
}

// dropCovered unmounts, for this node only, what the machine has mounted below
// paths that are about to be covered. Out of sight it would still be listed,
// and who asks for the size of such a file system by its mount point, as the
// kubelet does, finds nothing there.
func dropCovered(trees []nodespec.Tree) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, path := range covered(string(text), trees) {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting %s: %w", path, err)
		}
	}
	return nil
}

// covered lists the mount points below the trees' paths, last mounted first.
func covered(mountinfo string, trees []nodespec.Tree) []string {
	var paths []string
	for _, line := range strings.Split(mountinfo, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		// The kernel writes spaces and the like in octal.
		path := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4])
		if slices.ContainsFunc(trees, func(t nodespec.Tree) bool { return strings.HasPrefix(path, t.Path+"/") }) {
			paths = append(paths, path)
		}
	}
	slices.Reverse(paths)
	return paths
}
