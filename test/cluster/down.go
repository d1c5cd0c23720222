//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Down stops and removes all that Up made, and nothing else; built programs
// stay in the cache. With no cluster it does nothing. It may be called at any
// time, also after a failed or killed Up.
func Down(ctx context.Context, opts Options) error {
	o, err := opts.complete()
	if err != nil {
		return err
	}
	if err := checkUser(); err != nil {
		return err
	}
	unlock, err := lock(ctx, o.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	began := time.Now()
	if err := takeDown(ctx, o); err != nil {
		return fmt.Errorf("taking the cluster down: %w", err)
	}
	o.Log.Info("down", "after", time.Since(began).Round(100*time.Millisecond))
	return nil
}

// takeDown works under the lock.
func takeDown(ctx context.Context, o Options) error {
	s, err := loadState(o.Dir)
	if errors.Is(err, errNoCluster) {
		return refuseForeign(o.Dir)
	}
	if err != nil {
		return err
	}
	s.Ready = false
	if err := s.save(); err != nil {
		return err
	}
	if s.Boot == bootID() {
		if err := s.removeAll(ctx); err != nil {
			return err
		}
	}
	if err := dropMounts(o.Dir); err != nil {
		return err
	}
	return os.RemoveAll(o.Dir)
}

// refuseForeign keeps us from a directory that is not a cluster's.
func refuseForeign(dir string) error {
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return &UsageError{fmt.Sprintf("%s is not empty and holds no cluster's state (no %s): choose another MANGRU_CLUSTER_DIR or empty it", dir, stateFile)}
	}
	return nil
}

// removeAll ends the processes and removes what they leave in the kernel.
func (s *state) removeAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var errs []error
	for _, p := range s.Processes {
		errs = append(errs, p.kill())
	}
	for _, p := range s.Processes {
		errs = append(errs, p.waitGone(ctx))
	}
	// Ending a node's first process ended everything on it; what is still on
	// its way out is in the node's cgroup.
	for _, dir := range s.Cgroups {
		errs = append(errs, removeCgroup(ctx, dir))
	}
	errs = append(errs, network{plan{name: s.Name}, s}.remove(ctx), restoreSysctls(s.Sysctls))
	return errors.Join(errs...)
}

// dropMounts makes sure that removing a directory removes only what is in it.
// The nodes' mounts went with their namespaces; there should be none here.
func dropMounts(dir string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, path := range mountsBelow(string(text), dir) {
		if err := syscall.Unmount(path, 0); err != nil {
			return fmt.Errorf("unmounting %s: %w", path, err)
		}
	}
	return nil
}

// mountsBelow lists mount points below dir, the last mounted first.
func mountsBelow(mountinfo, dir string) []string {
	var found []string
	for _, line := range strings.Split(mountinfo, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		path := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(fields[4])
		if strings.HasPrefix(path, filepath.Clean(dir)+"/") {
			found = append(found, path)
		}
	}
	slices.Reverse(found)
	return found
}
