//go:build unix

package cluster

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
	"eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
	"vpn0\t0000E70A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" +
	"big0\t000010AC\t00000000\t0001\t0\t0\t0\t0000F0FF\t0\t0\t0\n"

func TestOverlapping(t *testing.T) {
	for cidr, want := range map[string]string{
		"10.231.0.0/16": "10.231.0.0/24 dev vpn0",
		"10.232.0.0/16": "",
		"172.20.0.0/16": "172.16.0.0/12 dev big0", // inside a larger route
	} {
		got, err := overlapping(routes, netip.MustParsePrefix(cidr))
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", cidr, got, err, want)
		}
	}
	if _, err := overlapping("heading\neth0 zz 0 0 0 0 0 00000000", netip.MustParsePrefix("10.1.0.0/16")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("broken routes: %v, want an error that names the line", err)
	}
}

func FuzzOverlapping(f *testing.F) {
	f.Add(routes)
	f.Add("x\ny 1 2 3 4 5 6 7")
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = overlapping(text, netip.MustParsePrefix("10.232.0.0/16")) // must not panic
	})
}

func TestMissingPackages(t *testing.T) {
	for _, p := range Packages() {
		if proofs[p] == "" {
			t.Errorf("nothing shows whether package %s is there", p)
		}
	}
	if len(proofs) != len(Packages()) {
		t.Errorf("%d proofs for %d packages", len(proofs), len(Packages()))
	}
	got := missingPackages(func(program string) bool { return program != "runc" && program != "etcd" })
	if !slices.Equal(got, []string{"etcd-server", "runc"}) {
		t.Errorf("missing: %v", got)
	}
}
