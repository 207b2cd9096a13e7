package virtualrouter

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/reach"
	"weft.dev/reconcile/resource"
)

// TestHostileVPC: whatever people call a VPC and what is of it, everything has the form
// that it has with the usual name.
func TestHostileVPC(t *testing.T) {
	must := []string{"account", "offering", "vpc", "domain", "tier", "acl", "rule", "gateway", "forward"}
	plugintest.Hostile(t, registry, "testdata/hostile-vpc.yaml", must, func(field, value string, usual, got *resource.Intent) {
		was, is := form(usual), form(got)
		named := field == "tier" || field == "gateway" // which links and directories are called by
		if d := differ(was, is); d != "" && !named && field != "protocol" || len(was) != len(is) {
			t.Errorf("%s = %q changes the form: %s", field, value, d)
		}
		for _, e := range got.Set() {
			if l, ok := e.State.(resource.Link); ok && (len(l.Name) > 15 || !safeName.MatchString(l.Name)) {
				t.Errorf("%s = %q: the link %q", field, value, l.Name)
			}
		}
		clean(t, field+"="+value, got)
	})
}

// TestReachOfVPC: what is told of a VPC is what its lists let pass, between tiers, from and
// to the private network, and to the world.
func TestReachOfVPC(t *testing.T) {
	in := plugintest.Intent(t, registry, "vpc-reach")
	var got []string
	for _, w := range reach.Of(in.Fragment("vpc/acme/shop")) {
		got = append(got, w.String())
	}
	want := []string{
		"198.51.100.0/24 -> 203.0.113.21 80/tcp (at 10.20.1.12)",
		"internet -> 203.0.113.20 8000/tcp (at 10.20.1.11 port -7920)",
		"internet -> 203.0.113.20 icmp",
		"internet -> 203.0.113.23 icmp",
		"vpc/acme/shop 10.20.1.0/24 -> 10.20.2.0/24 8080/tcp",
		"vpc/acme/shop 10.20.1.0/24 -> internet icmp",
		"vpc/acme/shop 10.20.1.0/24 -> internet tcp",
		"vpc/acme/shop 10.20.1.0/24 -> internet udp",
		"vpc/acme/shop 10.20.2.0/24 -> 10.20.3.0/24 5432/tcp",
		"10.99.0.0/16 -> 10.20.1.0/24 80/tcp",
		"10.99.0.0/16 -> 10.20.1.0/24 icmp",
		"172.31.0.0/24 -> 10.20.1.0/24 icmp",
		"vpc/acme/shop 10.20.1.0/24 -> 10.99.0.0/16 icmp",
		"vpc/acme/shop 10.20.1.0/24 -> 10.99.0.0/16 tcp",
		"vpc/acme/shop 10.20.1.0/24 -> 10.99.0.0/16 udp",
		"vpc/acme/shop 10.20.1.0/24 -> 172.31.0.0/24 icmp",
		"vpc/acme/shop 10.20.1.0/24 -> 172.31.0.0/24 udp",
		"10.99.0.0/16 -> 10.20.3.0/24 5432/tcp",
		"172.31.0.0/24 -> 10.20.1.0/24 80/tcp",
		"vpc/acme/shop 10.20.1.0/24 -> 172.31.0.0/24 tcp",
		"vpc/acme/shop 10.20.3.0/24 -> 10.99.0.0/16 80/tcp",
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("missing: %s", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("too much: %s", g)
		}
	}
}

// TestReachOfRoutedVPC: where nothing is translated, what the world may is told by the
// tiers' own addresses.
func TestReachOfRoutedVPC(t *testing.T) {
	in := plugintest.Intent(t, registry, "vpc-routed")
	var got []string
	for _, w := range reach.Of(in.Fragment("vpc/acme/shop")) {
		if strings.HasPrefix(w.From, "internet") || strings.HasPrefix(w.To, "internet") {
			got = append(got, w.String())
		}
	}
	want := []string{
		"internet -> 100.64.1.0/24 443/tcp", "internet -> 100.64.2.0/24 53/udp", "internet -> 100.64.2.0/24 8080/tcp",
		"internet -> 2001:db8:100:bfd8::/64 443/tcp", "internet -> 203.0.113.52 icmp",
		"vpc/acme/shop 100.64.1.0/24 -> internet tcp", "vpc/acme/shop 172.16.0.0/16 -> internet tcp", "vpc/acme/shop 2001:db8:100:bfd8::/64 -> internet by IPv6 tcp",
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestPacketsOfVPC: what somebody in a tier, on the public wire or in a private network
// may try on a VPC, and on a router that translates nothing.
func TestPacketsOfVPC(t *testing.T) {
	const web, app, db, mpls, public = "t-web", "t-app", "t-db", "g-mpls", "eth1"
	for _, x := range []sent{
		{"the next tier, by its list", "vpc-reach", web, "10.20.1.11", "10.20.2.11", "tcp", 8080, "10.20.2.11:8080"},
		{"another port of it", "vpc-reach", web, "10.20.1.11", "10.20.2.11", "tcp", 22, ""},
		{"a tier that is not next", "vpc-reach", web, "10.20.1.11", "10.20.3.11", "tcp", 5432, ""},
		{"back up, where nothing is allowed out", "vpc-reach", app, "10.20.2.11", "10.20.1.11", "tcp", 80, ""},
		{"out of a tier that may not", "vpc-reach", db, "10.20.3.11", "192.0.2.1", "tcp", 443, ""},
		{"round by a public address past the list", "vpc-reach", app, "10.20.2.11", "203.0.113.20", "tcp", 8000, ""},
		{"round by a public address, as the lists say", "vpc-reach", web, "10.20.1.12", "203.0.113.20", "tcp", 8000, "10.20.1.11:80"},
		{"a part of the VPC that is no tier", "vpc-reach", web, "10.20.1.11", "10.20.9.9", "tcp", 80, ""},
		{"the router behind another tier", "vpc-reach", app, "10.20.2.11", "10.20.3.1", "tcp", 22, ""},
		{"its resolver with an address of another tier", "vpc-reach", app, "10.20.3.11", "10.20.2.1", "udp", 53, ""},
		{"a tier from the wire", "vpc-reach", public, "192.0.2.9", "10.20.1.11", "tcp", 80, ""},
		{"the private network from the wire", "vpc-reach", public, "192.0.2.9", "172.31.0.9", "tcp", 80, ""},
		{"through the router from the wire", "vpc-reach", public, "192.0.2.9", "198.51.100.1", "tcp", 80, ""},
		{"the router's services from the wire", "vpc-reach", public, "192.0.2.9", "203.0.113.23", "udp", 53, ""},
		{"a list allows it, the address's firewall does not", "vpc-reach", public, "192.0.2.9", "203.0.113.21", "tcp", 80, ""},
		{"the firewall allows it, the list does not", "vpc-reach", public, "198.51.100.9", "203.0.113.21", "tcp", 443, ""},
		{"the world through a private gateway", "vpc-reach", mpls, "10.99.0.9", "192.0.2.1", "tcp", 443, ""},
		{"a tier through a private gateway", "vpc-reach", mpls, "10.99.0.9", "10.20.3.11", "tcp", 5432, "10.20.3.11:5432"},
		{"another of its ports", "vpc-reach", mpls, "10.99.0.9", "10.20.3.11", "tcp", 22, ""},

		{"a balancer, as the members' list says", "vpc-balancers", public, "203.0.114.9", "203.0.113.20", "tcp", 443, "203.0.113.20:443"},
		{"whom that list refuses", "vpc-balancers", public, "192.0.2.9", "203.0.113.20", "tcp", 443, ""},
		{"one without members", "vpc-balancers", public, "203.0.114.9", "203.0.113.20", "tcp", 444, ""},
		{"its statistics from the wire", "vpc-balancers", public, "203.0.114.9", "203.0.113.20", "tcp", 8081, ""},
		{"an inner one from the wire", "vpc-balancers", public, "203.0.114.9", "10.20.2.5", "tcp", 80, ""},

		{"a guest where nothing is translated", "routed", public, "192.0.2.9", "100.64.1.11", "tcp", 443, "100.64.1.11:443"},
		{"what ingress does not name", "routed", public, "192.0.2.9", "100.64.1.11", "tcp", 25, ""},
		{"what it names for others", "routed", public, "192.0.2.9", "100.64.1.11", "tcp", 22, ""},
		{"what is behind a route", "routed", public, "192.0.2.9", "172.16.3.4", "tcp", 443, ""},
		{"the gateway from outside", "routed", public, "192.0.2.9", "100.64.1.1", "icmp", 8, ""},

		{"a tier where nothing is translated", "vpc-routed", public, "192.0.2.9", "100.64.1.11", "tcp", 443, "100.64.1.11:443"},
		{"whom its list refuses", "vpc-routed", public, "192.0.2.66", "100.64.1.11", "tcp", 443, ""},
		{"another port of it", "vpc-routed", public, "192.0.2.9", "100.64.1.11", "tcp", 80, ""},
		{"what its list allows a part of the VPC that is no tier", "vpc-routed", public, "100.64.9.9", "100.64.1.11", "tcp", 22, ""},
		{"and another tier", "vpc-routed", app, "100.64.2.11", "100.64.1.11", "tcp", 22, ""},
		{"its gateway from the wire", "vpc-routed", public, "192.0.2.9", "100.64.1.1", "icmp", 8, ""},
		{"no tier from the wire", "vpc-routed", public, "192.0.2.9", "100.64.9.9", "tcp", 443, ""},
		{"what is behind a tier, from the wire", "vpc-routed", public, "192.0.2.9", "172.16.0.9", "tcp", 443, ""},
		{"the router from the wire", "vpc-routed", public, "192.0.2.9", "203.0.113.52", "tcp", 179, ""},
		{"the router by its peer", "vpc-routed", public, "203.0.113.1", "203.0.113.52", "tcp", 179, "203.0.113.52:179"},
		{"an inner balancer from the wire, whose members it reaches", "vpc-routed", public, "192.0.2.9", "100.64.2.5", "tcp", 80, ""},
		{"its members", "vpc-routed", public, "192.0.2.9", "100.64.2.11", "tcp", 8080, "100.64.2.11:8080"},
		{"one of udp", "vpc-routed", public, "192.0.2.9", "100.64.2.5", "udp", 53, ""},
		{"one of udp by the tier beside", "vpc-routed", web, "100.64.1.11", "100.64.2.5", "udp", 53, ""},
		{"a tier that answers only, out", "vpc-routed", app, "100.64.2.11", "192.0.2.9", "tcp", 80, ""},
		{"out as it is", "vpc-routed", web, "100.64.1.11", "192.0.2.9", "tcp", 80, "192.0.2.9:80"},
		{"out with an address of the other tier", "vpc-routed", web, "100.64.2.11", "192.0.2.9", "tcp", 80, ""},
		{"a tier from the wire by IPv6", "vpc-routed", public, "2001:db8:7::9", "2001:db8:100:bfd8::5", "tcp", 443, "[2001:db8:100:bfd8::5]:443"},

		{"a tier from the wire by IPv6", "vpc-dual", public, "2001:db8:1::9", "2001:db8:100:1::5", "tcp", 80, "[2001:db8:100:1::5]:80"},
		{"another port of it", "vpc-dual", public, "2001:db8:1::9", "2001:db8:100:1::5", "tcp", 22, ""},
		{"with an address of another tier", "vpc-dual", public, "2001:db8:100:2::9", "2001:db8:100:1::5", "tcp", 80, ""},
		{"an error by its number", "vpc-dual", public, "2001:db8:1::9", "2001:db8:100:1::5", "icmpv6", 1, "[2001:db8:100:1::5]:1"},
	} {
		arrives(t, x)
	}
}

// TestRoutersAmongGuests: what the routers of a pair have for themselves in a tier is none
// of the world's business, where nothing is translated.
func TestRoutersAmongGuests(t *testing.T) {
	in := plugintest.Intent(t, registry, "vpc-routed", "{networkMode: Routed, routingMode: Dynamic, services: {NetworkACL: VpcVirtualRouter, Lb",
		"{redundantRouter: true, networkMode: Routed, routingMode: Dynamic, services: {NetworkACL: VpcVirtualRouter, Lb",
		"kind: Account", "kind: Host\nmetadata: {name: kvm2}\nspec: {bridges: [{name: cloudbr0}, {name: cloudbr1, address: 192.168.50.12/24}]}\n---\napiVersion: weft.dev/v1alpha1\nkind: Account",
		"protocol: tcp, ports: 443}", "protocol: all}", "-- weft.lock --", "-- allocate.anew --")
	tier := netip.MustParsePrefix("100.64.1.0/24")
	var own []netip.Addr
	for _, e := range in.Set() {
		if a, ok := e.State.(resource.Addr); ok && tier.Contains(a.Prefix.Addr()) {
			own = append(own, a.Prefix.Addr())
		}
	}
	router := reach.Routers(in.Fragments)[0]
	arrives := func(to netip.Addr) bool {
		return router.Send(reach.Packet{In: "eth1", Src: netip.MustParseAddr("192.0.2.9"), Dst: to, Proto: "icmp", Port: 8}).Pass
	}
	if len(own) != 2 || !arrives(netip.MustParseAddr("100.64.1.11")) {
		t.Fatalf("the tier's addresses of the router are %v", own)
	}
	closed := 0
	for a := range 250 {
		if !arrives(netip.AddrFrom4([4]byte{100, 64, 1, byte(a + 1)})) {
			closed++
		}
	}
	if closed != 3 || slices.ContainsFunc(own, arrives) {
		t.Errorf("the world reaches all but %d of the tier's addresses, and those of this router are %v", closed, own)
	}
}
