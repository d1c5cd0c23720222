//go:build unix

package cluster

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func testOptions(t *testing.T) Options {
	t.Helper()
	o, err := Options{Name: "tst", Net: "10.9", Dir: t.TempDir(), Cache: t.TempDir(), Nodes: MaxNodes}.complete()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestPlanKeepsRangesApart(t *testing.T) {
	p := newPlan(testOptions(t))
	wire := netip.PrefixFrom(p.addr(0, 0), 24)
	ranges := map[string]netip.Prefix{"wire": wire, "pods": p.pods(), "services": p.services(), "simulated pods": p.fakePods()}
	for a, ra := range ranges {
		if !p.whole().Overlaps(ra) || ra.Masked() != ra {
			t.Errorf("%s: %s is not a clean part of %s", a, ra, p.whole())
		}
		for b, rb := range ranges {
			if a != b && ra.Overlaps(rb) {
				t.Errorf("%s %s overlaps %s %s", a, ra, b, rb)
			}
		}
	}
	seen := map[netip.Addr]string{p.control(): "control", p.machine(): "machine"}
	for _, n := range p.nodes(MaxNodes) {
		if other := seen[n.Address]; other != "" || !wire.Contains(n.Address) {
			t.Errorf("%s: address %s outside %s or taken by %q", n.Name, n.Address, wire, other)
		}
		seen[n.Address] = n.Name
		if !p.pods().Contains(n.Pods.Addr()) || n.Pods.Bits() != 24 {
			t.Errorf("%s: pods %s are not a /24 of %s", n.Name, n.Pods, p.pods())
		}
		if other, ok := seen[n.Pods.Addr()]; ok {
			t.Errorf("%s: pods %s are those of %s", n.Name, n.Pods, other)
		}
		seen[n.Pods.Addr()] = n.Name
	}
	for _, a := range []netip.Addr{p.serviceAPI(), p.serviceDNS()} {
		if !p.services().Contains(a) {
			t.Errorf("%s is outside %s", a, p.services())
		}
	}
	if got := len(p.hostLink()); got > 15 {
		t.Errorf("interface name %q has %d characters, the kernel takes 15", p.hostLink(), got)
	}
}

func TestNodeGroupsAlternate(t *testing.T) {
	for index, want := range map[int]string{1: "ng-1", 2: "ng-2", 3: "ng-1", 8: "ng-2"} {
		if got := nodeLabels(index)["eks.amazonaws.com/nodegroup"]; got != want {
			t.Errorf("node %d: group %q, want %q", index, got, want)
		}
	}
	want := "eks.amazonaws.com/capacityType=ON_DEMAND,eks.amazonaws.com/nodegroup=ng-2,node.kubernetes.io/instance-type=m5.large," +
		"topology.kubernetes.io/region=us-east-1,topology.kubernetes.io/zone=us-east-1b"
	if got := joinLabels(nodeLabels(2)); got != want {
		t.Errorf("labels of node 2:\n got %s\nwant %s", got, want)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, test := range []struct {
		change func(*Options)
		names  string // what the error must name
	}{
		{func(o *Options) { o.Nodes = MaxNodes + 1 }, "1 to 8"},
		{func(o *Options) { o.Nodes = -1 }, "found -1"},
		{func(o *Options) { o.FakeNodes = MaxFakeNodes + 1 }, "0 to 2000"},
		{func(o *Options) { o.FakeNodes, o.FakePodsPerNode = 1, 201 }, "pods per simulated node: found 201"},
		{func(o *Options) { o.Name = "Too-Long-A-Name" }, "cluster name"},
		{func(o *Options) { o.Name = "../x" }, "cluster name"},
		{func(o *Options) { o.Net = "8.8" }, "private"},
		{func(o *Options) { o.Net = "10.232.0" }, "private"},
		{func(o *Options) { o.Net = "10" }, "private"},
	} {
		o := testOptions(t)
		test.change(&o)
		_, err := o.complete()
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), test.names) {
			t.Errorf("%+v: %v, want a usage error that says %q", o, err, test.names)
		}
	}
}

func TestDefaultsComeFromTheEnvironment(t *testing.T) {
	t.Setenv("MANGRU_CLUSTER_NAME", "ci")
	t.Setenv("MANGRU_CLUSTER_NET", "172.20")
	t.Setenv("MANGRU_CLUSTER_DIR", "")
	t.Setenv("MANGRU_CLUSTER_CACHE", "/somewhere")
	o, err := Options{}.complete()
	if err != nil {
		t.Fatal(err)
	}
	if o.Dir != "/var/lib/mangru-cluster/ci" || o.Cache != "/somewhere" || o.Nodes != 1 || !o.shape().Addons {
		t.Errorf("options: %+v", o)
	}
	p := newPlan(o)
	if p.apiURL() != "https://172.20.0.1:6443" || p.netns("control") != "ci-control" || p.cgroup() != "mangru-cluster-ci" {
		t.Errorf("plan: %s %s %s", p.apiURL(), p.netns("control"), p.cgroup())
	}
}
