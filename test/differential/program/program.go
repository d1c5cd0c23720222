// Package program runs collectors as processes of their own, for tests that look
// at them from outside.
//
// A test binary whose TestMain calls Main can be any of them: it starts itself
// again with a variable in the environment that says which. So what is tested is
// always the code as it is, and nothing has to be built first. $MANGRU and
// $MANGRU_PEERS name ready programs to take in their place.
package program

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/app"
	"github.com/mangru/mangru/test/bench/collector/peer"
)

// role is the variable that makes a test binary a collector.
const role = "MANGRU_TEST_ROLE"

// Resolver is the variable with the address of the DNS server that a test binary
// asks when it is a collector.
const Resolver = "MANGRU_TEST_RESOLVER"

// Main is for TestMain. It runs the tests, unless the binary was started as a
// collector.
func Main(m *testing.M) {
	useResolver(os.Getenv(Resolver))
	if os.Getenv(role) != "" {
		go endWith(os.Stdin)
	}
	switch os.Getenv(role) {
	case peer.Mangru:
		os.Exit(app.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case peer.Prometheus:
		if err := runAgent(os.Args[1:], os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, "prometheus:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// endWith ends this process when the one that has the other end of its input
// does, so that a test that is killed leaves nothing behind.
func endWith(input io.Reader) {
	_, _ = io.Copy(io.Discard, input) // whatever ends it
	os.Exit(3)
}

// useResolver lets this process look up names at an address.
func useResolver(addr string) {
	if addr == "" {
		return
	}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
}

// Program is something that can be started.
type Program struct {
	Name string
	path string
	self bool // the test binary in a role
}

// Mangru is ours: $MANGRU, or the code of the test binary.
func Mangru(t *testing.T) Program { return own(t, peer.Mangru, os.Getenv("MANGRU")) }

// Prometheus is a Prometheus in agent mode: the program among the peers, or its
// packages put together as it does.
func Prometheus(t *testing.T) Program {
	path, _ := find(t, peer.Prometheus)
	return own(t, peer.Prometheus, path)
}

// OTelCollector is the OpenTelemetry Collector, if there is one.
func OTelCollector(t *testing.T) (Program, bool) {
	path, ok := find(t, peer.OTelCol)
	return Program{Name: peer.OTelCol, path: path}, ok
}

func own(t *testing.T, name, path string) Program {
	t.Helper()
	p := Program{Name: name, path: path, self: path == ""}
	if p.self {
		self, err := os.Executable()
		require.NoError(t, err)
		p.path = self
	}
	path, err := filepath.Abs(p.path)
	require.NoError(t, err)
	p.path = path
	return p
}

// find looks for a peer in $MANGRU_PEERS, or among those that the benchmark has
// built; $MANGRU_BUILD_PEERS has it built, which takes minutes.
func find(t *testing.T, name string) (path string, ok bool) {
	t.Helper()
	root, err := peer.Root(t.Context())
	require.NoError(t, err)
	have := os.Getenv("MANGRU_PEERS")
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	b := peer.Builder{Root: root, Cache: filepath.Join(cache, "mangru-bench"), Have: have, Log: slog.New(slog.DiscardHandler)}
	if os.Getenv("MANGRU_BUILD_PEERS") != "" {
		path, err = b.Build(t.Context(), name)
		require.NoError(t, err)
		return path, true
	}
	if path = filepath.Join(have, name); have != "" {
		_, err := os.Stat(path)
		return path, err == nil
	}
	built, err := filepath.Glob(filepath.Join(b.Cache, name+"-*"))
	require.NoError(t, err)
	built = slices.DeleteFunc(built, func(f string) bool { return filepath.Ext(f) == ".half" })
	if len(built) == 0 {
		return "", false
	}
	return built[0], true
}

// Process is a program that runs.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error // once done
	end  bool  // it was asked to stop
}

// Start runs a program until the test ends, and fails the test if it ends by
// itself. Its log goes into a file, the end of which is shown if the test fails.
func Start(t *testing.T, p Program, env []string, args ...string) *Process {
	t.Helper()
	dir := t.TempDir()
	x := &Process{name: p.Name, log: filepath.Join(dir, p.Name+".log"), done: make(chan struct{})}
	log, err := os.Create(x.log)
	require.NoError(t, err)
	x.cmd = exec.Command(p.path, args...) //nolint:noctx // it is asked to stop, not killed
	x.cmd.Dir = dir
	x.cmd.Env = append(os.Environ(), env...)
	if p.self {
		x.cmd.Env = append(x.cmd.Env, role+"="+p.Name)
	}
	x.cmd.Stdout, x.cmd.Stderr = log, log
	_, err = x.cmd.StdinPipe() // see endWith
	require.NoError(t, err)
	require.NoError(t, x.cmd.Start())
	_ = log.Close() // the process has its own
	go func() {
		defer close(x.done)
		x.err = x.cmd.Wait()
	}()
	t.Cleanup(func() {
		if err := x.Stop(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if t.Failed() {
			t.Logf("the end of what %s said:\n%s", p.Name, x.tail())
		}
	})
	return x
}

// PID is the process's.
func (x *Process) PID() int { return x.cmd.Process.Pid }

// Running reports whether the process has not ended.
func (x *Process) Running() bool {
	select {
	case <-x.done:
		return false
	default:
		return true
	}
}

// Reload has the process read its configuration again.
func (x *Process) Reload() error { return x.cmd.Process.Signal(syscall.SIGHUP) }

// stopLimit is how long a process may take to stop.
const stopLimit = 45 * time.Second

// Stop asks the process to stop and waits for it. An end that nobody asked for,
// or with another code than 0, is an error.
func (x *Process) Stop() error {
	if x.end {
		<-x.done
		return nil
	}
	x.end = true
	if !x.Running() {
		return fmt.Errorf("ended by itself: %w", cmp.Or(x.err, errors.New("with code 0")))
	}
	if err := x.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-x.done:
		return x.err
	case <-time.After(stopLimit):
		_ = x.cmd.Process.Kill() // it has ended meanwhile, which is as good
		<-x.done
		return fmt.Errorf("did not stop within %s", stopLimit)
	}
}

// Log returns what the process has said so far.
func (x *Process) Log() string {
	b, err := os.ReadFile(x.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (x *Process) tail() string {
	f, err := os.Open(x.log)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }() // only read
	const most = 6 << 10
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, end-most), io.SeekStart) // reading from the start shows too much, no more
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(f); err != nil {
		return err.Error()
	}
	return b.String()
}
