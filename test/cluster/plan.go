//go:build unix

package cluster

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxPodsPerNode is the kubelet's limit; a node's /24 has room for it.
const maxPodsPerNode = 200

const (
	apiPort   = 6443
	dnsDomain = "cluster.local"
)

// plan is how addresses and names are laid out in the cluster's /16:
//
//	NET.0.1         control plane
//	NET.0.11...     nodes
//	NET.0.254       the machine's end of the wire
//	NET.16.0/20     pods, a /24 for each node
//	NET.96.0/20     Services
//	NET.128.0/17    pods of simulated nodes; shown, never routed
type plan struct {
	name string // prefix of network namespaces
	net  [2]byte
}

func newPlan(o Options) plan {
	a := netip.MustParseAddr(o.Net + ".0.0").As4() // checked by Options
	return plan{name: o.Name, net: [2]byte{a[0], a[1]}}
}

func (p plan) addr(c, d byte) netip.Addr {
	return netip.AddrFrom4([4]byte{p.net[0], p.net[1], c, d})
}

func (p plan) whole() netip.Prefix    { return netip.PrefixFrom(p.addr(0, 0), 16) }
func (p plan) control() netip.Addr    { return p.addr(0, 1) }
func (p plan) machine() netip.Addr    { return p.addr(0, 254) }
func (p plan) pods() netip.Prefix     { return netip.PrefixFrom(p.addr(16, 0), 20) }
func (p plan) services() netip.Prefix { return netip.PrefixFrom(p.addr(96, 0), 20) }
func (p plan) serviceAPI() netip.Addr { return p.addr(96, 1) }
func (p plan) serviceDNS() netip.Addr { return p.addr(96, 10) }
func (p plan) fakePods() netip.Prefix { return netip.PrefixFrom(p.addr(128, 0), 17) }
func (p plan) apiURL() string         { return fmt.Sprintf("https://%s:%d", p.control(), apiPort) }

// node is one real node; indexes count from 1.
func (p plan) node(index int) node {
	return node{
		Name:    "node-" + strconv.Itoa(index),
		Address: p.addr(0, byte(10+index)),
		Pods:    netip.PrefixFrom(p.addr(byte(15+index), 0), 24),
		index:   index,
	}
}

func (p plan) nodes(count int) []node {
	nodes := make([]node, count)
	for i := range nodes {
		nodes[i] = p.node(i + 1)
	}
	return nodes
}

// netns is the name of a network namespace of this cluster.
func (p plan) netns(what string) string { return p.name + "-" + what }

// hostLink is the machine's end of the wire.
func (p plan) hostLink() string { return p.name + "-host" }

// cgroup is the directory, below each root of the cgroup tree, that holds one
// child for each node.
func (p plan) cgroup() string {
	if p.name == "mgc" {
		return "mangru-cluster"
	}
	return "mangru-cluster-" + p.name
}

type node struct {
	Name    string
	Address netip.Addr
	Pods    netip.Prefix
	index   int
}

// The cloud that nodes pretend to be in.
const (
	region       = "us-east-1"
	instanceType = "m5.large"
)

// nodeLabels are what a managed node group of EKS puts on its nodes, as far as
// dashboards and relabelling rules look at it.
func nodeLabels(index int) map[string]string {
	return map[string]string{
		"eks.amazonaws.com/capacityType":   "ON_DEMAND",
		"eks.amazonaws.com/nodegroup":      "ng-" + strconv.Itoa((index-1)%2+1),
		"node.kubernetes.io/instance-type": instanceType,
		"topology.kubernetes.io/region":    region,
		"topology.kubernetes.io/zone":      region + string("abc"[(index-1)%3]),
	}
}

// joinLabels writes labels as the kubelet's flag wants them, sorted.
func joinLabels(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for _, key := range sortedKeys(labels) {
		pairs = append(pairs, key+"="+labels[key])
	}
	return strings.Join(pairs, ",")
}
