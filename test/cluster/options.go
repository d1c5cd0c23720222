//go:build unix

package cluster

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
)

// The limits of a cluster's shape.
const (
	MaxNodes     = 8
	MaxFakeNodes = 2000
)

// Options say what cluster to run and where. The zero value is one node with
// the addons, in the default places.
type Options struct {
	// Nodes is the number of real nodes, 1 to MaxNodes; 0 means 1.
	Nodes int
	// FakeNodes is the number of simulated nodes, up to MaxFakeNodes, with
	// FakePodsPerNode simulated pods on each (0 means 10).
	FakeNodes       int
	FakePodsPerNode int
	// NoAddons leaves kube-state-metrics, node-exporter and the shop out.
	NoAddons bool

	// Name is the prefix of network namespaces, by which two clusters on one
	// machine differ; they need different Nets too. Default "mgc", or
	// $MANGRU_CLUSTER_NAME.
	Name string
	// Net is the first two bytes of the private /16 the cluster lives in.
	// Default "10.232", or $MANGRU_CLUSTER_NET.
	Net string
	// Dir is the state directory: logs, certificates, disks of the nodes.
	// Default /var/lib/mangru-cluster/NAME, or $MANGRU_CLUSTER_DIR.
	Dir string
	// Cache keeps built programs between runs. Default ~/.cache/mangru-cluster,
	// or $MANGRU_CLUSTER_CACHE.
	Cache string
	// Log hears about progress; nil means nobody does.
	Log *slog.Logger
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9]{0,7}$`)

// complete fills in defaults and refuses what cannot be.
func (o Options) complete() (Options, error) {
	o.Name = either(o.Name, os.Getenv("MANGRU_CLUSTER_NAME"), "mgc")
	o.Net = either(o.Net, os.Getenv("MANGRU_CLUSTER_NET"), "10.232")
	o.Dir = either(o.Dir, os.Getenv("MANGRU_CLUSTER_DIR"), filepath.Join("/var/lib/mangru-cluster", o.Name))
	o.Cache = either(o.Cache, os.Getenv("MANGRU_CLUSTER_CACHE"))
	if o.Cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return o, fmt.Errorf("finding the cache directory (set MANGRU_CLUSTER_CACHE): %w", err)
		}
		o.Cache = filepath.Join(home, ".cache", "mangru-cluster")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	if o.FakePodsPerNode == 0 {
		o.FakePodsPerNode = 10
	}
	if o.FakeNodes == 0 {
		o.FakePodsPerNode = 0
	}
	for _, dir := range []*string{&o.Dir, &o.Cache} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return o, err
		}
		*dir = abs
	}
	return o, o.check()
}

func (o Options) check() error {
	if o.Nodes < 1 || o.Nodes > MaxNodes {
		return &UsageError{fmt.Sprintf("nodes: found %d, allowed are 1 to %d", o.Nodes, MaxNodes)}
	}
	if o.FakeNodes < 0 || o.FakeNodes > MaxFakeNodes {
		return &UsageError{fmt.Sprintf("simulated nodes: found %d, allowed are 0 to %d", o.FakeNodes, MaxFakeNodes)}
	}
	if o.FakePodsPerNode < 0 || o.FakePodsPerNode > maxPodsPerNode {
		return &UsageError{fmt.Sprintf("pods per simulated node: found %d, allowed are 0 to %d", o.FakePodsPerNode, maxPodsPerNode)}
	}
	if !nameForm.MatchString(o.Name) {
		return &UsageError{fmt.Sprintf("cluster name: found %q, allowed are 1 to 8 lower-case letters and digits, a letter first", o.Name)}
	}
	if addr, err := netip.ParseAddr(o.Net + ".0.0"); err != nil || !addr.IsPrivate() {
		return &UsageError{fmt.Sprintf("cluster network: found %q, allowed are the first two bytes of a private IPv4 address, e.g. 10.232", o.Net)}
	}
	return nil
}

func (o Options) shape() shape {
	return shape{Nodes: o.Nodes, FakeNodes: o.FakeNodes, FakePodsPerNode: o.FakePodsPerNode, Addons: !o.NoAddons}
}

// either returns the first of its arguments that is not empty.
func either(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// UsageError is a request that cannot be right anywhere.
type UsageError struct{ text string }

func (e *UsageError) Error() string { return e.text }

// UnsupportedError is a machine on which a cluster cannot run, or not yet.
type UnsupportedError struct{ text string }

func (e *UnsupportedError) Error() string { return e.text }
