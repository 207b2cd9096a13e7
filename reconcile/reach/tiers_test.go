package reach_test

import (
	"net/netip"
	"slices"
	"testing"

	"weft.dev/reconcile/reach"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// TestTiers: tiers reach each other as the list says, protocols with a number too, and
// balancers at addresses of the router, told by whom they pass it on to.
func TestTiers(t *testing.T) {
	accept, drop := resource.Verdict{Target: "ACCEPT"}, resource.Verdict{Target: "DROP"}
	vip, port := prefix("10.20.2.5/32"), []schema.PortRange{{From: 80, To: 80}}
	behind := []netip.AddrPort{netip.MustParseAddrPort("10.20.2.11:8080"), netip.MustParseAddrPort("10.20.2.12:8080")}
	udp := []netip.Prefix{prefix("10.20.2.6/32"), prefix("10.20.2.7/32")} // of two members, and of one
	to := func(nth int, a string) resource.Rule {
		return resource.Rule{Match: resource.Match{Proto: "udp", Nth: nth}, Do: resource.Verdict{Target: "DNAT", To: netip.MustParseAddr(a)}}
	}
	dns := func(vip netip.Prefix, chain string) resource.Rule {
		return resource.Rule{Match: resource.Match{Proto: "udp", Dst: vip, DstPorts: []schema.PortRange{{From: 53, To: 53}}}, Do: resource.Verdict{Jump: chain}}
	}
	f := resource.NewFragment("vpc/a/shop", []resource.Entry{
		entry(resource.NS{Name: "r"}),
		entry(resource.Addr{NS: "r", Link: "t-web", Prefix: prefix("10.20.1.1/24")}),
		entry(resource.Addr{NS: "r", Link: "t-app", Prefix: prefix("10.20.2.1/24")}),
		entry(resource.Addr{NS: "r", Link: "t-app", Prefix: vip}),
		entry(resource.Addr{NS: "r", Link: "t-app", Prefix: udp[0]}),
		entry(resource.Addr{NS: "r", Link: "t-app", Prefix: udp[1]}),
		chain("nat", "PREROUTING", "ACCEPT", dns(udp[0], "LB-two"), dns(udp[1], "LB-one")),
		chain("nat", "LB-two", "", to(2, "10.20.2.11"), to(0, "10.20.2.12")),
		chain("nat", "LB-one", "", to(0, "10.20.2.12")),
		chain("filter", "FORWARD", "DROP",
			resource.Rule{Match: resource.Match{In: "t-web", Out: "t-app", Proto: "50"}, Do: accept},
			resource.Rule{Match: resource.Match{In: "t-web", CT: []string{"DNAT"}}, Do: accept},
			resource.Rule{Match: resource.Match{In: "t-app", Out: "t-web", Proto: "icmp", ICMPType: 9}, Do: accept}),
		chain("filter", "INPUT", "DROP",
			resource.Rule{Match: resource.Match{Src: prefix("10.20.1.9/32")}, Do: drop},
			resource.Rule{Match: resource.Match{In: "t-web", Dst: vip, Proto: "tcp", DstPorts: port}, Do: accept, Behind: behind},
			resource.Rule{Match: resource.Match{Proto: "tcp", DstPorts: []schema.PortRange{{From: 53, To: 53}}}, Do: accept}),
	})
	var got []string
	for _, w := range reach.Between(&resource.Intent{}, resource.NewIntent("h", []*resource.Fragment{f}, nil)).Added {
		got = append(got, w.String())
	}
	want := []string{
		"vpc/a/shop 10.20.2.0/24 -> 10.20.1.0/24 icmp type 8",
		"vpc/a/shop 10.20.1.0/24 -> 10.20.2.0/24 protocol 50",
		"vpc/a/shop 10.20.1.0/24 -> 10.20.2.5 80/tcp (at 10.20.2.11 port +8000)",
		"vpc/a/shop 10.20.1.0/24 -> 10.20.2.5 80/tcp (at 10.20.2.12 port +8000)",
		"vpc/a/shop 10.20.1.0/24 -> 10.20.2.6 53/udp (at 10.20.2.11)",
		"vpc/a/shop 10.20.1.0/24 -> 10.20.2.6 53/udp (at 10.20.2.12)",
		"vpc/a/shop 10.20.1.0/24 -> 10.20.2.7 53/udp (at 10.20.2.12)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
