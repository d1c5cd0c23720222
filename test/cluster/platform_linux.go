package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenIn opens a TCP listener in another network namespace. A socket belongs
// to the namespace it was made in, whoever uses it later.
func listenIn(ctx context.Context, namespace, address string) (net.Listener, error) {
	there, err := os.Open(namespace)
	if err != nil {
		return nil, err
	}
	defer func() { _ = there.Close() }()
	type result struct {
		listener net.Listener
		err      error
	}
	results := make(chan result, 1)
	go func() {
		// The thread changes its namespace and is never given back: it ends
		// with this goroutine, because it stays locked to it.
		runtime.LockOSThread()
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			results <- result{err: fmt.Errorf("entering %s: %w", namespace, err)}
			return
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", address)
		results <- result{l, err}
	}()
	r := <-results
	return r.listener, r.err
}

// snapshotter is how containerd lays the files of an image out. One overlay
// cannot be put on another, as in a container.
func snapshotter(dir string) string {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil && fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return "native"
	}
	return "overlayfs"
}
