//go:build unix

// Package cluster runs a real Kubernetes cluster on one Linux machine, for
// people and tests that have none: etcd, API server, controller manager and
// scheduler, and per node a kubelet, containerd, runc and kube-proxy, with
// CoreDNS, RBAC and proper certificates.
//
// Everything is built from Go modules or comes from packages of the
// distribution; no container image is fetched. Every server, the control plane
// too, listens in network namespaces that this package makes, so nothing opens
// a port on the machine. The state directory remembers all that was made;
// [Down] removes that and nothing else.
//
// The package stands beside the program, not in it: end-to-end tests and the
// command in cmd/cluster use it. README.md is for people.
package cluster
