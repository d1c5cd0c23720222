//go:build linux

// Command nodeinit makes a node of the test cluster and stays its first
// process. It is started in the node's network namespace:
//
//	nodeinit start CONFIG   joins the node's cgroups, makes the other namespaces
//	                        and runs, as process 1 of them,
//	nodeinit run CONFIG     which mounts what a node sees, starts its services
//	                        and starts them again when they end.
//
// Ending either ends everything on the node and drops its mounts. The file
// CONFIG is written by package cluster.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mangru/mangru/test/cluster/nodespec"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "nodeinit:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: nodeinit start|run CONFIG")
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	var c nodespec.Config
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("%s: %w", args[1], err)
	}
	switch args[0] {
	case "start":
		return start(c, args[1])
	case "run":
		if os.Getpid() != 1 {
			return errors.New("'run' is for the first process of a node")
		}
		if err := enter(c); err != nil {
			return err
		}
		return supervise(c)
	}
	return fmt.Errorf("unknown command %q: allowed are start, run", args[0])
}

// start joins the cgroups first, because a cgroup namespace is rooted where
// the process that makes it is at that moment.
func start(c nodespec.Config, path string) error {
	// The death signal below is tied to this thread, not to the process.
	runtime.LockOSThread()
	for _, dir := range c.CgroupDirs {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("joining the node's cgroup: %w", err)
		}
	}
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe")
	cmd.Args = []string{"nodeinit", "run", path} // what ps shows
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC |
			syscall.CLONE_NEWPID | syscall.CLONE_NEWCGROUP,
		Pdeathsig: syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("making the node's namespaces: %w", err)
	}
	if err := writePID(c.PIDFile, cmd.Process.Pid); err != nil {
		return err
	}
	if c.Unified() {
		if err := joinLeaf(c.CgroupDirs[0]); err != nil {
			return err
		}
	}
	return cmd.Wait()
}

// writePID makes the file appear with its text in it.
func writePID(path string, pid int) error {
	if err := os.WriteFile(path+".new", []byte(strconv.Itoa(pid)), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// enter mounts the node's view of the machine.
func enter(c nodespec.Config) error {
	// What the machine mounts later shows here, what is mounted here stays
	// here, and pods may ask for propagation among themselves.
	if err := mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""); err != nil {
		return err
	}
	if err := mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte(c.Hostname)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if err := mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	// A new sysfs shows the devices of this network namespace.
	if err := mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return err
	}
	mountCgroup := mountCgroups
	if c.Unified() {
		mountCgroup = mountCgroup2
	}
	if err := mountCgroup(c.CgroupMounts); err != nil {
		return err
	}
	for path, source := range c.Files {
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			continue // a file that this machine does not have needs no stand-in
		}
		if err := mount(source, target, "", syscall.MS_BIND, ""); err != nil {
			return err
		}
	}
	return mountTrees(c.Trees)
}

const cgroupRoot = "/sys/fs/cgroup"

func mountCgroups(mounts []nodespec.CgroupMount) error {
	if err := mount("tmpfs", cgroupRoot, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, m := range mounts {
		dir := filepath.Join(cgroupRoot, m.Dir)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := mount("cgroup", dir, "cgroup", 0, m.Options); err != nil {
			return err
		}
		for _, link := range m.Links {
			if err := os.Symlink(m.Dir, filepath.Join(cgroupRoot, link)); err != nil {
				return err
			}
		}
	}
	return mount("", cgroupRoot, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "mode=755")
}

// mountCgroup2 mounts the unified tree, moves the node's own processes into a
// leaf, because a version 2 cgroup has either processes or children with
// controllers, and hands all controllers down to the pods.
func mountCgroup2([]nodespec.CgroupMount) error {
	if err := mount("cgroup2", cgroupRoot, "cgroup2", 0, ""); err != nil {
		return err
	}
	if err := joinLeaf(cgroupRoot); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, controller := range strings.Fields(string(text)) {
		if err := delegate(controller); err != nil {
			return err
		}
	}
	return nil
}

// delegate hands a controller down to the pods. The parent process, which is
// outside of these namespaces, leaves the node's root cgroup at its own pace;
// until it has, the kernel answers EBUSY.
func delegate(controller string) error {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := os.WriteFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"), []byte("+"+controller), 0)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(end) {
			return fmt.Errorf("handing cgroup controller %s to the pods: %w", controller, err)
		}
	}
}

// joinLeaf moves this process from the node's root cgroup into a leaf of it.
func joinLeaf(root string) error {
	leaf := filepath.Join(root, "init")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("joining the leaf cgroup: %w", err)
	}
	return nil
}

func mount(source, target, fs string, flags uintptr, data string) error {
	if err := syscall.Mount(source, target, fs, flags, data); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", source+fs, target, err)
	}
	return nil
}
