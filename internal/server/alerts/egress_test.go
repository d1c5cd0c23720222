package alerts

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEgress(t *testing.T) {
	strict, lenient := Egress{}, Egress{AllowPrivate: true}
	listed := Egress{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("169.254.1.0/24")}}
	for addr, want := range map[string][3]bool{
		"8.8.8.8": {true, true, true}, "2606:4700::1111": {true, true, true},
		"10.0.0.1": {false, true, false}, "10.1.2.3": {false, true, true}, "192.168.1.1": {false, true, false}, "172.16.0.1": {false, true, false},
		"172.32.0.1": {true, true, true}, "127.0.0.1": {false, true, false}, "::1": {false, true, false}, "fd12::1": {false, true, false},
		"100.64.0.1": {false, true, false}, "169.254.169.254": {false, false, false}, "169.254.1.1": {false, false, true},
		"fe80::1%eth0": {false, false, false}, "fd00:ec2::254": {false, false, false}, "100.100.100.200": {false, false, false},
		"168.63.129.16": {false, false, false}, "0.0.0.0": {false, false, false}, "::": {false, false, false}, "224.0.0.1": {false, false, false},
		"255.255.255.255": {false, false, false}, "ff02::1": {false, false, false},
		// IPv4 in IPv6 is judged as what it leads to.
		"::ffff:10.0.0.1": {false, true, false}, "::ffff:8.8.8.8": {true, true, true}, "::ffff:10.1.0.1": {false, true, true},
		"64:ff9b::a00:1": {false, true, false}, "64:ff9b::808:808": {true, true, true}, "64:ff9b:1::1": {false, false, false},
		"2002:a9fe:a9fe::1": {false, false, false}, "2002:808:808::1": {true, true, true}, "2001:0:1::1": {false, false, false},
	} {
		a := netip.MustParseAddr(addr)
		require.Equal(t, want, [3]bool{strict.check(a) == nil, lenient.check(a) == nil, listed.check(a) == nil}, addr)
	}
	require.Error(t, lenient.check(netip.Addr{}))
}
