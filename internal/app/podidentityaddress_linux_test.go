package app

import (
	"errors"
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// In a network of its own, so that the machine's stays as it is.
func TestAddLocalAddress(t *testing.T) {
	require.NoError(t, addLocalAddress("127.0.0.1:80"), "nothing to do")
	require.Error(t, addLocalAddress("10.0.0.1:80"))
	result := make(chan error, 1)
	var addresses []string
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its network
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		err := errors.Join(addLocalAddress("169.254.170.23:80"), addLocalAddress("169.254.170.23:80"), addLocalAddress("[fd00:ec2::23]:80"))
		all, e := net.InterfaceAddrs()
		for _, a := range all {
			addresses = append(addresses, a.String())
		}
		err = errors.Join(err, e)
		result <- err
	}()
	err := <-result
	if errors.Is(err, unix.EPERM) {
		t.Skipf("not possible here: %v", err)
	}
	require.NoError(t, err)
	require.Contains(t, addresses, "169.254.170.23/32")
	require.Contains(t, addresses, "fd00:ec2::23/128")
}
