//go:build unix

package cluster

import (
	_ "embed" // packages.txt
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

//go:embed packages.txt
var packageList string

// proofs maps a package to the program that shows it is there.
var proofs = map[string]string{
	"etcd-server":                 "etcd",
	"containerd":                  "containerd",
	"runc":                        "runc",
	"containernetworking-plugins": "ptp",
	"iptables":                    "iptables",
	"nftables":                    "nft",
	"conntrack":                   "conntrack",
	"iproute2":                    "ip",
	"util-linux":                  "nsenter",
	"procps":                      "ps",
	"curl":                        "curl",
}

// Packages are the distribution's packages that a cluster needs, by their
// Debian names.
func Packages() []string { return strings.Fields(packageList) }

// pluginDirs are where distributions put the pod network's plugins.
var pluginDirs = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

func pluginDir() string {
	for _, dir := range pluginDirs {
		if _, err := os.Stat(filepath.Join(dir, "ptp")); err == nil {
			return dir
		}
	}
	return ""
}

// checkUser says whether this user on this system can run a cluster at all.
func checkUser() error {
	if runtime.GOOS != "linux" {
		return &UnsupportedError{"a cluster needs Linux (namespaces and cgroups); this is " + runtime.GOOS}
	}
	if os.Geteuid() != 0 {
		return &UnsupportedError{"a cluster needs root (it makes namespaces and cgroups): run it as root, e.g. sudo env PATH=\"$PATH\" make cluster"}
	}
	return nil
}

func checkPackages() error {
	missing := missingPackages(func(program string) bool {
		if program == "ptp" {
			return pluginDir() != ""
		}
		_, err := exec.LookPath(program)
		return err == nil
	})
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing, " ")
	return &UnsupportedError{fmt.Sprintf("missing packages: %s\ninstall them with: apt-get install -y --no-install-recommends %s\n"+
		"(their own daemons are not needed: systemctl disable --now etcd containerd, if you do not use them)", list, list)}
}

func missingPackages(found func(program string) bool) []string {
	return slices.DeleteFunc(Packages(), func(p string) bool { return found(proofs[p]) })
}

// checkRange refuses a network that the machine already has a route into.
func checkRange(p plan) error {
	text, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return fmt.Errorf("reading the machine's routes: %w", err)
	}
	used, err := overlapping(string(text), p.whole())
	if err != nil {
		return fmt.Errorf("reading the machine's routes: %w", err)
	}
	if used != "" {
		return &UnsupportedError{fmt.Sprintf("network %s is in use on this machine (route %s); choose another with MANGRU_CLUSTER_NET, e.g. 10.%d",
			p.whole(), used, 100+int(p.net[1])%100)}
	}
	return nil
}

// overlapping finds a route of /proc/net/route, other than the default, that
// leads into the range.
func overlapping(routes string, with netip.Prefix) (string, error) {
	for i, line := range strings.Split(strings.TrimSpace(routes), "\n") {
		fields := strings.Fields(line)
		if i == 0 || len(fields) < 8 {
			continue // the heading
		}
		addr, err := parseRouteBytes(fields[1])
		if err != nil {
			return "", fmt.Errorf("line %d: destination %q: %w", i+1, fields[1], err)
		}
		mask, err := parseRouteBytes(fields[7])
		if err != nil {
			return "", fmt.Errorf("line %d: mask %q: %w", i+1, fields[7], err)
		}
		length := bits.OnesCount32(binary.BigEndian.Uint32(mask[:]))
		prefix := netip.PrefixFrom(netip.AddrFrom4(addr), length)
		if length > 0 && prefix.Overlaps(with) {
			return fmt.Sprintf("%s dev %s", prefix, fields[0]), nil
		}
	}
	return "", nil
}

// parseRouteBytes reads an address as the kernel prints it there: hexadecimal
// in the machine's byte order.
func parseRouteBytes(s string) (a [4]byte, err error) {
	raw, err := hex.DecodeString(s)
	if err != nil {
		return a, err
	}
	if len(raw) != 4 {
		return a, fmt.Errorf("%d bytes, want 4", len(raw))
	}
	binary.NativeEndian.PutUint32(a[:], binary.BigEndian.Uint32(raw))
	return a, nil
}
