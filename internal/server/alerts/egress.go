package alerts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Egress says which addresses notifications may go to. By default these are
// public ones only: a definition must not be a way into the network that the
// server is in. The check is made on the address that is connected to, after the
// name was looked up, so that names which change their mind do not get around it;
// redirects are checked in the same way.
type Egress struct {
	// AllowPrivate permits private networks and loopback: 10.0.0.0/8,
	// 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 127.0.0.0/8, fc00::/7, ::1.
	// Link-local addresses stay forbidden, and with them what clouds tell their
	// machines of credentials (169.254.169.254 and the like).
	AllowPrivate bool
	// Allow permits networks whatever they are.
	Allow []netip.Prefix
}

// forbiddenError says that a notification may not go to an address.
type forbiddenError struct{ addr netip.Addr }

func (e *forbiddenError) Error() string {
	return fmt.Sprintf("notifications must not go to %s (settings alerts.allow_private, alerts.allow_networks)", e.addr)
}

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

var (
	private = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "::1/128")
	// never are those that AllowPrivate does not permit. See the IANA registries of
	// special-purpose addresses, RFC 6890. The single ones among them are where
	// clouds answer their own machines.
	never = prefixes("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "100.100.100.200/32", "168.63.129.16/32",
		"::/128", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::/32", "100::/64", "2001::/32", "2001:db8::/32")
	// Addresses that have one of IPv4 in them: translated (RFC 6052) and 6to4.
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	nat64own  = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour = netip.MustParsePrefix("2002::/16")
)

// check returns an error unless notifications may go to the address.
func (e *Egress) check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	in := func(p netip.Prefix) bool { return p.Contains(addr) }
	switch {
	case !addr.IsValid():
		return &forbiddenError{addr}
	case slices.ContainsFunc(e.Allow, in):
		return nil
	case slices.ContainsFunc(never, in) || nat64own.Contains(addr):
		return &forbiddenError{addr}
	case slices.ContainsFunc(private, in) && !e.AllowPrivate:
		return &forbiddenError{addr}
	}
	b := addr.As16()
	switch {
	case nat64.Contains(addr):
		return e.check(netip.AddrFrom4([4]byte(b[12:16])))
	case sixToFour.Contains(addr):
		return e.check(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return nil
}

// dialTimeout bounds how long a connection may take to come about.
const dialTimeout = 10 * time.Second

// dial connects to an address that is allowed.
func (e *Egress) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
		if !strings.HasPrefix(network, "tcp") {
			return fmt.Errorf("notifications must not go by %s", network)
		}
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("address %q: %w", address, err)
		}
		return e.check(to.Addr())
	}}
	return d.DialContext(ctx, network, address)
}

// resolve looks up a name and returns an address that is allowed.
func (e *Egress) resolve(ctx context.Context, host string) (netip.Addr, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	err = errors.New("the name has no address")
	for _, a := range addrs {
		if err = e.check(a); err == nil {
			return a.Unmap(), nil
		}
	}
	return netip.Addr{}, err
}
