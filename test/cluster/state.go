//go:build unix

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// shape is what two calls of Up must agree on to mean the same cluster.
type shape struct {
	Nodes, FakeNodes, FakePodsPerNode int
	Addons                            bool
}

// state is the memory of all that was made on the machine. Each thing is
// written down before it is made, so that Down finds it even if Up was killed
// in between.
type state struct {
	path string

	Name, Net string
	// Boot is the machine's boot id: after a restart of the machine nothing of
	// what was made is left, and process ids mean something else.
	Boot  string
	Shape shape
	// Programs maps components to their directories in the cache.
	Programs   map[string]string
	Ready      bool
	Processes  []process
	Namespaces []string          // network namespaces
	Cgroups    []string          // directories
	Sysctls    map[string]string // as they were before
}

const stateFile = "state.json"

// errNoCluster says that the state directory holds no cluster.
var errNoCluster = errors.New("no cluster is up")

func loadState(dir string) (*state, error) {
	path := filepath.Join(dir, stateFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoCluster
	}
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's state: %w", err)
	}
	s := &state{path: path}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// save replaces the file as a whole.
func (s *state) save() error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path+".new", text, 0o600); err != nil {
		return fmt.Errorf("saving the cluster's state: %w", err)
	}
	return os.Rename(s.path+".new", s.path)
}

// running tells whether the cluster is complete and every process of it lives.
func (s *state) running(boot string) bool {
	return s.Ready && s.Boot == boot && len(s.dead()) == 0
}

// dead lists the processes that should run and do not.
func (s *state) dead() []string {
	var names []string
	for _, p := range s.Processes {
		if !p.alive() {
			names = append(names, p.Name)
		}
	}
	return names
}

func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// lock makes sure that one Up or Down at a time works on a state directory.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	path := dir + ".lock"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && sameFile(f, path) {
			return func() { _ = os.Remove(path); _ = f.Close() }, nil
		}
		_ = f.Close()
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, fmt.Errorf("waiting for another 'up' or 'down' that holds %s: %w", path, err)
		}
	}
}

// sameFile tells whether path still is the open file: the last holder of the
// lock removes it.
func sameFile(f *os.File, path string) bool {
	a, errA := f.Stat()
	b, errB := os.Stat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
