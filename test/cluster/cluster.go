//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const kubeconfigFile = "kubeconfig"

// Cluster is a running cluster.
type Cluster struct {
	opts  Options
	plan  plan
	state *state
}

// Node is a real node of a cluster. Its address is reachable from this machine
// and from pods.
type Node struct {
	Name    string
	Address netip.Addr
}

func newCluster(o Options, s *state) *Cluster {
	o.Nodes, o.FakeNodes, o.FakePodsPerNode, o.NoAddons = s.Shape.Nodes, s.Shape.FakeNodes, s.Shape.FakePodsPerNode, !s.Shape.Addons
	o.Name, o.Net = s.Name, s.Net
	return &Cluster{opts: o, plan: newPlan(o), state: s}
}

// Open returns the cluster that runs, of whatever shape.
func Open(opts Options) (*Cluster, error) {
	o, err := opts.complete()
	if err != nil {
		return nil, err
	}
	s, err := loadState(o.Dir)
	if err != nil {
		return nil, err
	}
	if !s.Ready || s.Boot != bootID() {
		return nil, fmt.Errorf("%w: what is in %s is incomplete", errNoCluster, o.Dir)
	}
	return newCluster(o, s), nil
}

// IsDown tells whether an error of Open says that no cluster is up.
func IsDown(err error) bool { return errors.Is(err, errNoCluster) }

// Kubeconfig is the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.opts.Dir, kubeconfigFile) }

// APIServer is the URL of the API server, which is also the issuer of service
// account tokens.
func (c *Cluster) APIServer() string { return c.plan.apiURL() }

// CAFile is the path of the certificate that signed the API server's.
func (c *Cluster) CAFile() string { return filepath.Join(c.opts.Dir, "pki", "ca.crt") }

// Options are those that the cluster runs with.
func (c *Cluster) Options() Options { return c.opts }

// Nodes are the real nodes.
func (c *Cluster) Nodes() []Node {
	nodes := make([]Node, c.opts.Nodes)
	for i, n := range c.plan.nodes(c.opts.Nodes) {
		nodes[i] = Node{Name: n.Name, Address: n.Address}
	}
	return nodes
}

// ControlAddress is the address of the control plane's network namespace. A
// server that listens there, by ControlCommand or ListenControl, can be called
// from pods, from nodes and from this machine, and from nowhere else.
func (c *Cluster) ControlAddress() netip.Addr { return c.plan.control() }

// ControlCommand is a command in the control plane's network namespace. Apart
// from the network it sees this machine as it is.
func (c *Cluster) ControlCommand(ctx context.Context, name string, args ...string) *exec.Cmd {
	argv := c.plan.inControl(append([]string{name}, args...)...)
	return exec.CommandContext(ctx, argv[0], argv[1:]...)
}

// ListenControl opens a listener of this process at the control address. A
// port of 0 takes a free one.
func (c *Cluster) ListenControl(ctx context.Context, port uint16) (net.Listener, error) {
	address := netip.AddrPortFrom(c.plan.control(), port).String()
	l, err := listenIn(ctx, "/run/netns/"+c.plan.netns("control"), address)
	if err != nil {
		return nil, fmt.Errorf("listening at the control address: %w", err)
	}
	return l, nil
}

// NodeCommand is a command in all namespaces of a node.
func (c *Cluster) NodeCommand(ctx context.Context, node, name string, args ...string) (*exec.Cmd, error) {
	return c.state.inNode(ctx, node, append([]string{name}, args...)...)
}

// KubectlCommand is kubectl, of the cluster's own version, as its administrator.
func (c *Cluster) KubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	kubectl := filepath.Join(c.state.Programs["kubernetes"], "kubectl")
	return exec.CommandContext(ctx, kubectl, append([]string{"--kubeconfig=" + c.Kubeconfig()}, args...)...)
}

// Kubectl runs kubectl and returns what it printed; an error carries what it
// complained about.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) ([]byte, error) {
	cmd := c.KubectlCommand(ctx, args...)
	return command(ctx, nil, cmd.Args...)
}

// Apply applies a manifest of any number of documents, on the server's side.
func (c *Cluster) Apply(ctx context.Context, manifest []byte) error {
	k, err := newKube(c.plan.apiURL(), filepath.Join(c.opts.Dir, "pki"))
	if err != nil {
		return err
	}
	defer k.close()
	return k.apply(ctx, manifest)
}

// WaitRollout waits until every pod of a workload ("deployment" or
// "daemonset") is available.
func (c *Cluster) WaitRollout(ctx context.Context, namespace, kind, name string) error {
	if kind != "deployment" && kind != "daemonset" {
		return &UsageError{fmt.Sprintf("kind of workload: found %q, allowed are deployment, daemonset", kind)}
	}
	k, err := newKube(c.plan.apiURL(), filepath.Join(c.opts.Dir, "pki"))
	if err != nil {
		return err
	}
	defer k.close()
	return until(ctx, kind+" "+name, patience, k.rolledOut(fmt.Sprintf("/apis/apps/v1/namespaces/%s/%ss/%s", namespace, kind, name)))
}

// LoadImage makes an image of local files and loads it into every real node.
// Images go with the cluster: after Down and Up, load them again.
func (c *Cluster) LoadImage(ctx context.Context, img Image) error {
	if err := img.check(); err != nil {
		return err
	}
	f, err := os.CreateTemp("", "mangru-image-*.tar")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := errors.Join(f.Close(), saveArchive(f.Name(), []Image{img})); err != nil {
		return err
	}
	return c.LoadArchive(ctx, f.Name())
}

// LoadArchive loads the images of an archive, as docker save or an OCI layout
// in a tar, into every real node.
func (c *Cluster) LoadArchive(ctx context.Context, file string) error {
	for _, n := range c.Nodes() {
		if err := c.state.loadArchive(ctx, n.Name, file); err != nil {
			return err
		}
	}
	return nil
}

// InstallAddons puts kube-state-metrics, node-exporter and the shop into a
// cluster that runs without them, and does nothing to one that has them.
func (c *Cluster) InstallAddons(ctx context.Context) error {
	unlock, err := lock(ctx, c.opts.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	u := &upper{opts: c.opts, plan: c.plan, state: c.state, log: c.opts.Log, began: time.Now()}
	if _, err := u.build(ctx); err != nil { // for the versions
		return err
	}
	data := newManifestData(u.plan, u.versions)
	for _, a := range addons {
		text, err := manifest(a.manifest, data)
		if err != nil {
			return err
		}
		if err := c.Apply(ctx, text); err != nil {
			return err
		}
	}
	for _, a := range addons {
		kind := map[bool]string{true: "daemonset", false: "deployment"}[a.manifest == "node-exporter"]
		if err := c.WaitRollout(ctx, "default", kind, filepath.Base(a.workload)); err != nil {
			return err
		}
	}
	c.state.Shape.Addons, c.opts.NoAddons = true, false
	return c.state.save()
}

// Status is what runs and what does not.
type Status struct {
	Running []string // processes
	Dead    []string // processes that should run
	LogDir  string
}

// Status looks at every process that Up started.
func (c *Cluster) Status() Status {
	s := Status{Dead: c.state.dead(), LogDir: filepath.Join(c.opts.Dir, "log")}
	for _, p := range c.state.Processes {
		if p.alive() {
			s.Running = append(s.Running, fmt.Sprintf("%s (process %d)", p.Name, p.PID))
		}
	}
	return s
}

// Down stops this cluster and removes all that Up made.
func (c *Cluster) Down(ctx context.Context) error { return Down(ctx, c.opts) }
