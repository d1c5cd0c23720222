//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// network builds the cluster's wire: a namespace that only switches, so that
// the machine's own firewall never sees traffic between nodes, one veth from
// it to every namespace of the cluster and one to the machine.
type network struct {
	plan  plan
	state *state
}

// addNamespace makes a network namespace that nobody else has.
func (n network) addNamespace(ctx context.Context, name string) error {
	if _, err := os.Lstat(filepath.Join("/run/netns", name)); err == nil {
		return &UnsupportedError{fmt.Sprintf("network namespace %s exists and is not of this cluster: remove it (ip netns del %s) or choose another MANGRU_CLUSTER_NAME", name, name)}
	}
	n.state.Namespaces = append(n.state.Namespaces, name)
	if err := n.state.save(); err != nil {
		return err
	}
	if _, err := command(ctx, nil, "ip", "netns", "add", name); err != nil {
		return err
	}
	return errors.Join(
		setInNamespace(ctx, name, "net.ipv6.conf.all.disable_ipv6", "1"),
		setInNamespace(ctx, name, "net.ipv6.conf.default.disable_ipv6", "1"),
		ip(ctx, name, "link set lo up"),
	)
}

// create makes the switch, the machine's link and the control plane's namespace.
func (n network) create(ctx context.Context) error {
	sw := n.plan.netns("switch")
	if err := n.addNamespace(ctx, sw); err != nil {
		return err
	}
	if err := ip(ctx, sw, "link add br0 type bridge", "link set br0 up"); err != nil {
		return err
	}
	host := n.plan.hostLink()
	if err := ip(ctx, "",
		fmt.Sprintf("link add %s type veth peer name machine netns %s", host, sw),
		fmt.Sprintf("addr add %s/24 dev %s", n.plan.machine(), host),
		fmt.Sprintf("link set %s up", host),
	); err != nil {
		return err
	}
	if err := ip(ctx, sw, "link set machine master br0 up"); err != nil {
		return err
	}
	control := n.plan.netns("control")
	if err := n.join(ctx, control, "control", n.plan.control().String()); err != nil {
		return err
	}
	return ip(ctx, control, "route add unreachable default")
}

// join makes a namespace and plugs it into the switch.
func (n network) join(ctx context.Context, ns, port, address string) error {
	if err := n.addNamespace(ctx, ns); err != nil {
		return err
	}
	sw := n.plan.netns("switch")
	if err := ip(ctx, sw,
		fmt.Sprintf("link add %s type veth peer name eth0 netns %s", port, ns),
		fmt.Sprintf("link set %s master br0 up", port),
	); err != nil {
		return err
	}
	return ip(ctx, ns, fmt.Sprintf("addr add %s/24 dev eth0", address), "link set eth0 up")
}

// addNodes makes the namespaces of all nodes and the routes to their pods.
func (n network) addNodes(ctx context.Context, nodes []node) error {
	for _, nd := range nodes {
		ns := n.plan.netns(nd.Name)
		if err := n.join(ctx, ns, nd.Name, nd.Address.String()); err != nil {
			return err
		}
		if err := setInNamespace(ctx, ns, "net.ipv4.ip_forward", "1"); err != nil {
			return err
		}
	}
	for _, nd := range nodes {
		if err := ip(ctx, n.plan.netns(nd.Name), n.nodeRoutes(nd, nodes)...); err != nil {
			return err
		}
	}
	// The machine and the control plane reach pods at once, and Services
	// through the first node, whose kube-proxy knows them.
	var host, control []string
	for _, nd := range nodes {
		route := fmt.Sprintf("route add %s via %s", nd.Pods, nd.Address)
		host, control = append(host, route+" dev "+n.plan.hostLink()), append(control, route)
	}
	services := fmt.Sprintf("route add %s via %s", n.plan.services(), nodes[0].Address)
	host, control = append(host, services+" dev "+n.plan.hostLink()), append(control, services)
	return errors.Join(ip(ctx, "", host...), ip(ctx, n.plan.netns("control"), control...))
}

// nodeRoutes leads to the pods of the other nodes and nowhere out of the
// cluster. A process on the node needs some route to a Service's address
// before kube-proxy's rules rewrite it.
func (n network) nodeRoutes(own node, all []node) []string {
	routes := []string{
		fmt.Sprintf("route add %s via %s", n.plan.services(), n.plan.control()),
		"route add unreachable default",
	}
	for _, other := range all {
		if other.Name != own.Name {
			routes = append(routes, fmt.Sprintf("route add %s via %s", other.Pods, other.Address))
		}
	}
	return routes
}

// remove deletes all namespaces of the cluster; links go with them.
func (n network) remove(ctx context.Context) error {
	var errs []error
	for _, name := range n.state.Namespaces {
		if _, err := os.Lstat(filepath.Join("/run/netns", name)); err != nil {
			continue
		}
		if _, err := command(ctx, nil, "ip", "netns", "del", name); err != nil {
			errs = append(errs, err)
		}
	}
	// The kernel takes a namespace apart in its own time; the next 'up' may
	// come sooner, so the machine's link goes now.
	host := n.plan.hostLink()
	if _, err := os.Stat(filepath.Join("/sys/class/net", host)); err == nil {
		if _, err := command(ctx, nil, "ip", "link", "del", host); err != nil && !strings.Contains(err.Error(), "Cannot find device") {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// ip runs commands of iproute2, in a network namespace or (empty) the machine's.
func ip(ctx context.Context, ns string, lines ...string) error {
	argv := []string{"ip"}
	if ns != "" {
		argv = append(argv, "-n", ns)
	}
	_, err := command(ctx, strings.NewReader(strings.Join(lines, "\n")+"\n"), append(argv, "-batch", "-")...)
	return err
}

// setInNamespace writes a sysctl of a network namespace.
func setInNamespace(ctx context.Context, ns, key, value string) error {
	path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
	_, err := command(ctx, nil, "ip", "netns", "exec", ns, "sh", "-c", `[ ! -e "$1" ] || echo "$2" >"$1"`, "sh", path, value)
	return err
}
