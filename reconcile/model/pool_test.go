package model

import (
	"net/netip"
	"strings"
	"testing"

	"weft.dev/schema"
)

// pool6 has the lower halves of a network with that range and reserved part.
func pool6(gateway, addresses, reserved string) *addr6Pool {
	from, to, _ := strings.Cut(addresses, "-")
	r := resolver{n: &Network{}, spec: &schema.Network{
		IP6:      &schema.NetworkIP6{Ranges: []schema.IPRange{{From: netip.MustParseAddr(from), To: netip.MustParseAddr(to)}}},
		Reserved: []netip.Prefix{netip.MustParsePrefix(reserved)},
	}}
	return r.guestPool6(netip.MustParseAddr(gateway))
}

// TestPools: every candidate of a pool is in it, once, and nothing else of the
// numbers around is.
func TestPools(t *testing.T) {
	guest := schema.ID{Kind: schema.KindNetwork, Account: "acme", Name: "web"}
	addr := func(cidr, gateway string, reserved ...string) *addrPool {
		var r []netip.Prefix
		for _, x := range reserved {
			r = append(r, netip.MustParsePrefix(x))
		}
		return guestPool(guest, netip.MustParsePrefix(cidr), netip.MustParseAddr(gateway), nil, r)
	}
	for _, c := range []struct {
		pool Pool
		size uint64
		not  []string
	}{
		{addr("10.1.1.0/24", "10.1.1.1"), 253, []string{"10.1.1.0", "10.1.1.1", "10.1.1.255", "10.1.2.1", "10.1.0.255", "x", ""}},
		{addr("10.1.1.0/24", "10.1.1.254", "10.1.1.240/28", "10.1.1.128/25"), 127, []string{"10.1.1.128", "10.1.1.254", "10.1.1.241"}},
		{addr("10.1.1.0/30", "10.1.1.1"), 1, []string{"10.1.1.1", "10.1.1.3"}},
		{addr("10.1.1.0/24", "10.1.1.1", "10.1.1.0/25", "10.1.1.128/25"), 0, []string{"10.1.1.2"}},
		{addr("fd00:1::/120", "fd00:1::1"), 253, []string{"fd00:1::1", "fd00:1::", "fd00:1::100", "10.1.1.1"}},
		{pool6("fd00:1::9", "fd00:1::8-fd00:1::10", "fd00:1::c/126"), 4, []string{"::9", "::c", "::f", "::11", "::7", "fd00:1::8", "::0:8"}},
		{&vnetPool{spans: spans{{100, 199}, {300, 300}}.without(span{150, 150}).without(span{199, 299})}, 99, []string{"150", "199", "99", "0100", "-1", "1e2"}},
	} {
		seen := map[string]bool{}
		if c.pool.Size() != c.size {
			t.Errorf("%s: size %d, want %d", c.pool.Describe(), c.pool.Size(), c.size)
		}
		for i := range c.pool.Size() {
			v := c.pool.At(i)
			if seen[v] || !c.pool.Contains(v) {
				t.Errorf("%s: %s is there twice or not contained", c.pool.Describe(), v)
			}
			seen[v] = true
		}
		for _, v := range c.not {
			if c.pool.Contains(v) {
				t.Errorf("%s: contains %s", c.pool.Describe(), v)
			}
		}
	}
}

func TestMACs(t *testing.T) {
	for _, i := range []uint64{0, 1, 255, 256, 1<<40 - 1} {
		v := macs.At(i)
		mac, ok := parseMAC(v)
		if !ok || mac.String() != v || !macs.Contains(v) {
			t.Errorf("%d: %s", i, v)
		}
	}
	for _, v := range []string{"", "02:00:00:00:00", "02:00:00:00:00:0g", "02-00-00-00-00-01", "02:00:00:00:00:0A", "00:00:00:00:00:00", "04:00:00:00:00:01", "02:00:00:00:00:011"} {
		if macs.Contains(v) {
			t.Errorf("contains %q", v)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		name string
		want string
	}{{"wbe", "web"}, {"web1", "web"}, {"webb", "web"}, {"x", ""}, {"database", ""}, {"shpo", "shop"}} {
		if got := nearest(c.name, []string{"app", "shop", "web"}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
