//go:build unix

package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/mangru/mangru/test/cluster/nodespec"
)

// Inside a node everything has its usual place: the node has its own /var and
// /run, and nodeHome holds what is this program's.
const (
	nodeHome   = "/var/lib/node"
	nodeBin    = "/run/bin"
	startMark  = nodeHome + "/images-loaded"
	containerd = "unix:///run/containerd/containerd.sock"
)

// nodeDir is where the machine keeps a node's /var and /run.
func (u *upper) nodeDir(n node) string { return filepath.Join(u.opts.Dir, "nodes", n.Name) }

// onNode translates a path inside a node to the machine's.
func (u *upper) onNode(n node, path string) string { return filepath.Join(u.nodeDir(n), path) }

// prepareNode writes every file that a node reads.
func (u *upper) prepareNode(n node) error {
	for _, dir := range []string{
		"run/lock", "run/bin", "var/log", "var/tmp", "var/cache", "var/lib/kubelet", "var/lib/containerd",
		"var/lib/cni/net.d", nodeHome + "/pki",
	} {
		if err := os.MkdirAll(u.onNode(n, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(u.onNode(n, "var/tmp"), 0o1777); err != nil {
		return err
	}
	for link, target := range map[string]string{"var/run": "../run", "var/lock": "../run/lock"} {
		if err := os.Symlink(target, u.onNode(n, link)); err != nil {
			return err
		}
	}
	if err := u.pki.issue(u.pki.ca, nodeIdentity(n)); err != nil {
		return err
	}
	for from, to := range map[string]string{"ca.crt": "ca.crt", n.Name + ".crt": "kubelet.crt", n.Name + ".key": "kubelet.key"} {
		text, err := os.ReadFile(filepath.Join(u.pki.dir, from))
		if err != nil {
			return err
		}
		if err := os.WriteFile(u.onNode(n, nodeHome+"/pki/"+to), text, 0o600); err != nil {
			return err
		}
	}
	for file, user := range map[string]string{"kubelet": n.Name, "kube-proxy": "kube-proxy"} {
		if err := u.pki.kubeconfig(u.onNode(n, nodeHome+"/"+file+".kubeconfig"), user, u.plan.apiURL()); err != nil {
			return err
		}
	}
	for file, text := range u.nodeFiles(n) {
		if err := os.WriteFile(u.onNode(n, file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return u.writeNodeSpec(n)
}

// nodeFiles are a node's small files, by their paths inside it.
func (u *upper) nodeFiles(n node) map[string]string {
	id := sha256.Sum256([]byte(u.opts.Dir + "\x00" + u.state.Boot + "\x00" + n.Name))
	return map[string]string{
		nodeHome + "/hostname":             n.Name + "\n",
		nodeHome + "/hosts":                fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", n.Address, n.Name),
		nodeHome + "/resolv.conf":          fmt.Sprintf("search %s\nnameserver %s\n", dnsDomain, u.plan.serviceDNS()),
		nodeHome + "/machine-id":           hex.EncodeToString(id[:16]) + "\n",
		nodeHome + "/containerd.toml":      containerdConfig(pluginDir(), snapshotter(u.opts.Dir)),
		nodeHome + "/kubelet.yaml":         kubeletConfig(u.plan),
		nodeHome + "/kube-proxy.yaml":      proxyConfig(u.plan, n),
		"/var/lib/cni/net.d/pods.conflist": podNetwork(n),
	}
}

func (u *upper) writeNodeSpec(n node) error {
	spec := nodespec.Config{
		Hostname:     n.Name,
		PIDFile:      u.onNode(n, nodeHome+"/pid"),
		CgroupDirs:   u.cgroups.dirs(u.plan.cgroup(), n.Name),
		CgroupMounts: u.cgroups.nodeMounts(),
		Files:        make(map[string]string),
		Trees: []nodespec.Tree{
			{Path: "/var", Source: u.onNode(n, "var")},
			{Path: "/run", Source: u.onNode(n, "run")},
			{Path: nodeBin, Source: u.state.Programs["kubernetes"]},
		},
		Env: []string{"PATH=" + nodeBin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"},
		Services: []nodespec.Service{
			{Name: "containerd", Args: []string{"containerd", "-c", nodeHome + "/containerd.toml"}},
			{Name: "kube-proxy", Args: []string{"kube-proxy", "--config=" + nodeHome + "/kube-proxy.yaml"}, After: startMark},
			{Name: "kubelet", After: startMark, Args: []string{
				"kubelet", "--config=" + nodeHome + "/kubelet.yaml", "--kubeconfig=" + nodeHome + "/kubelet.kubeconfig",
				"--hostname-override=" + n.Name, "--node-ip=" + n.Address.String(), "--node-labels=" + joinLabels(nodeLabels(n.index)),
			}},
		},
	}
	for _, file := range []string{"hosts", "hostname", "machine-id", "resolv.conf"} {
		spec.Files["/etc/"+file] = u.onNode(n, nodeHome+"/"+file)
	}
	text, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(u.specPath(n), text, 0o600)
}

func (u *upper) specPath(n node) string { return u.onNode(n, nodeHome+"/node.json") }

// startNode starts the node's first process, and with it containerd; kubelet
// and kube-proxy wait for releaseNode.
func (u *upper) startNode(n node) error {
	if err := u.cgroups.create(u.plan.cgroup(), n.Name); err != nil {
		return err
	}
	return u.state.spawn(u.logDir(), n.Name, "nsenter", "--net=/run/netns/"+u.plan.netns(n.Name), "--",
		u.program("nodeinit", "nodeinit"), "start", u.specPath(n))
}

func (u *upper) releaseNode(n node) error {
	return os.WriteFile(u.onNode(n, startMark), nil, 0o644)
}

// inNode is a command in all namespaces of a node.
func (s *state) inNode(ctx context.Context, name string, argv ...string) (*exec.Cmd, error) {
	for _, p := range s.Processes {
		if p.Name != name || !p.alive() {
			continue
		}
		// While the process that made the namespaces lives, so does the first
		// one in them, whose id it wrote down.
		pid, err := os.ReadFile(filepath.Join(filepath.Dir(s.path), "nodes", name, nodeHome, "pid"))
		if err != nil {
			return nil, fmt.Errorf("%s has not started yet: %w", name, err)
		}
		args := append([]string{"-t", string(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"}, argv...)
		return exec.CommandContext(ctx, "nsenter", args...), nil
	}
	return nil, fmt.Errorf("node %q is not running", name)
}

// loadArchive imports an image archive into a node's containerd.
func (s *state) loadArchive(ctx context.Context, name, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	cmd, err := s.inNode(ctx, name, "ctr", "-n", "k8s.io", "images", "import", "-")
	if err != nil {
		return err
	}
	cmd.Stdin = f
	return describe(cmd, "loading images into "+name)
}

// runtimeReady wants a node's containerd to answer.
func (s *state) runtimeReady(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		cmd, err := s.inNode(ctx, name, "ctr", "version")
		if err != nil {
			return err
		}
		return describe(cmd, "containerd on "+name)
	}
}

// describe runs a command; an error carries what it complained about.
func describe(cmd *exec.Cmd, what string) error {
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", what, err, strings.TrimSpace(complaint.String()))
	}
	return nil
}
