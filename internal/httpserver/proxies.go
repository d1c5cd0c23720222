package httpserver

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the networks whose X-Forwarded-* headers are believed. Everybody
// else's are ignored: anyone can send them.
type Proxies []netip.Prefix

// ParseProxies reads addresses and networks, such as 10.0.0.1 or 10.0.0.0/8.
func ParseProxies(list []string) (Proxies, error) {
	out := make(Proxies, 0, len(list))
	for i, text := range list {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil {
				return nil, fmt.Errorf("[%d]: %q is no address or network such as 10.0.0.1 or 10.0.0.0/8", i, text)
			}
			prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		}
		out = append(out, prefix.Masked())
	}
	return out, nil
}

func (p Proxies) trusts(addr netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

func peer(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// trustedPeer reports whether the request came through one of the proxies.
func (p Proxies) trustedPeer(r *http.Request) bool { return len(p) > 0 && p.trusts(peer(r)) }

// ClientAddr returns the address that the request came from: the connection's,
// or, through trusted proxies, the last one in X-Forwarded-For that is not a
// proxy of ours. It is invalid when there is none.
func (p Proxies) ClientAddr(r *http.Request) netip.Addr {
	addr := peer(r)
	if !p.trustedPeer(r) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		text := strings.TrimSpace(hops[i])
		hop, err := netip.ParseAddr(text)
		if err != nil {
			ap, portErr := netip.ParseAddrPort(text)
			if portErr != nil {
				return addr // what is left of it cannot be relied on
			}
			hop = ap.Addr()
		}
		addr = hop.Unmap().WithZone("")
		if !p.trusts(addr) {
			return addr
		}
	}
	return addr
}

// Secure reports whether the client speaks TLS, with us or with a trusted proxy
// that says so in X-Forwarded-Proto.
func (p Proxies) Secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	return p.trustedPeer(r) && strings.EqualFold(last(r, "X-Forwarded-Proto"), "https")
}

// ForwardedHost returns the host that the client asked a trusted proxy for. It
// is false when there is no such proxy, or it does not say.
func (p Proxies) ForwardedHost(r *http.Request) (string, bool) {
	if !p.trustedPeer(r) {
		return "", false
	}
	host := last(r, "X-Forwarded-Host")
	return host, host != ""
}

// last returns the last member of a list header: the one that the nearest proxy
// wrote.
func last(r *http.Request, name string) string {
	values := r.Header.Values(name)
	if len(values) == 0 {
		return ""
	}
	v := values[len(values)-1]
	return strings.TrimSpace(v[strings.LastIndexByte(v, ',')+1:])
}
