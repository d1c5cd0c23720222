//go:build unix && !linux

package cluster

import (
	"context"
	"net"
)

func listenIn(context.Context, string, string) (net.Listener, error) { return nil, checkUser() }

func snapshotter(string) string { return "overlayfs" }
