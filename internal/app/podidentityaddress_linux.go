package app

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"
)

// agentLink is the link that has the agent's address; Amazon's agent names it so
// too, and takes it over.
const agentLink = "pod-id-link0"

// addLocalAddress gives this machine the address that the agent listens on,
// unless it has it. Pods reach it through their node's routing table.
func addLocalAddress(listen string) (err error) {
	at, err := netip.ParseAddrPort(listen)
	if err != nil || !nodeLocal(at.Addr()) {
		return usagef("--listen: found %q, expected a link-local address and port", listen)
	}
	addr := at.Addr()
	if addr.IsLoopback() {
		return nil
	}
	conn, err := rtnetlink.Dial(nil)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	link, err := agentInterface(conn)
	if err != nil {
		return err
	}
	family, bits := uint8(unix.AF_INET), uint8(32)
	if addr.Is6() {
		family, bits = unix.AF_INET6, 128
	}
	ip := net.IP(addr.AsSlice())
	err = conn.Address.New(&rtnetlink.AddressMessage{Family: family, PrefixLength: bits, Scope: unix.RT_SCOPE_UNIVERSE, Index: uint32(link.Index),
		Attributes: &rtnetlink.AddressAttributes{Address: ip, Local: ip}})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add %s to link %s: %w", addr, link.Name, err)
	}
	return nil
}

// agentInterface returns the link for the address: one of its own, or, where the
// kernel has no dummy links, the loopback.
func agentInterface(conn *rtnetlink.Conn) (*net.Interface, error) {
	name := agentLink
	err := conn.Link.New(&rtnetlink.LinkMessage{Flags: unix.IFF_UP, Change: unix.IFF_UP,
		Attributes: &rtnetlink.LinkAttributes{Name: name, Info: &rtnetlink.LinkInfo{Kind: "dummy"}}})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		name = "lo"
	case err != nil && !errors.Is(err, unix.EEXIST):
		return nil, fmt.Errorf("make link %s: %w", name, err)
	}
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", name, err)
	}
	return link, nil
}
