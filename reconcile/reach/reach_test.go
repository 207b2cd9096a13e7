package reach_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/reach"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

func chain(table, name, policy string, rules ...resource.Rule) resource.Entry {
	return entry(resource.Chain{NS: "r", Family: 4, Table: table, Name: name, Policy: policy, Rules: rules})
}

func entry(s resource.State) resource.Entry { return resource.Entry{State: s, Owner: "network/a/web"} }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func ports(from, to uint16) []schema.PortRange { return []schema.PortRange{{From: from, To: to}} }

// router is one with a public address, whose firewall and forwards are given.
func router(firewall, forwards, egress []resource.Rule, input ...resource.Rule) *resource.Fragment {
	do := func(t string) resource.Verdict { return resource.Verdict{Target: t} }
	jump := func(c string) resource.Verdict { return resource.Verdict{Jump: c} }
	return resource.NewFragment("network/a/web", []resource.Entry{
		entry(resource.NS{Name: "r"}),
		entry(resource.Addr{NS: "r", Link: "eth0", Prefix: prefix("10.1.1.1/24")}),
		entry(resource.Addr{NS: "r", Link: "eth1", Prefix: prefix("203.0.113.20/24")}),
		entry(resource.AddrSet{NS: "r", Name: "s", Family: 4, Members: []netip.Prefix{prefix("192.0.2.0/25"), prefix("192.0.2.128/25")}}),
		chain("mangle", "PREROUTING", "ACCEPT",
			resource.Rule{Match: resource.Match{In: "eth1", Dst: prefix("203.0.113.20/32")}, Do: jump("FW")},
			resource.Rule{Match: resource.Match{In: "eth1"}, Do: do("DROP")}),
		chain("mangle", "FW", "", append(firewall, resource.Rule{Do: do("DROP")})...),
		chain("nat", "PREROUTING", "ACCEPT", forwards...),
		chain("filter", "INPUT", "DROP", append(input, resource.Rule{Match: resource.Match{Proto: "icmp"}, Do: do("ACCEPT")})...),
		chain("filter", "FORWARD", "DROP",
			resource.Rule{Match: resource.Match{CT: []string{"ESTABLISHED"}}, Do: do("ACCEPT")},
			resource.Rule{Match: resource.Match{In: "eth0", Out: "eth1", Src: prefix("10.1.1.0/24")}, Do: jump("EGRESS")},
			resource.Rule{Match: resource.Match{In: "eth1", Out: "eth0", CT: []string{"DNAT"}}, Do: do("ACCEPT")}),
		chain("filter", "EGRESS", "", append(egress, resource.Rule{Do: do("DROP")})...),
	})
}

func TestOf(t *testing.T) {
	accept := resource.Verdict{Target: "ACCEPT"}
	dnat := resource.Verdict{Target: "DNAT", To: netip.MustParseAddr("10.1.1.11")}
	moved := dnat
	moved.Ports, moved.Base = schema.PortRange{From: 30000, To: 30100}, 20000
	for _, c := range []struct {
		name                       string
		firewall, forward, outward []resource.Rule
		inward                     []resource.Rule
		want                       []string
	}{
		{
			name:     "a balancer leads to each of its members, where the firewall opens it",
			firewall: []resource.Rule{{Match: resource.Match{Proto: "tcp", DstPorts: ports(443, 443)}, Do: accept}, {Match: resource.Match{Proto: "udp", DstPorts: ports(53, 53), Src: prefix("198.51.100.0/24")}, Do: accept}},
			forward: []resource.Rule{
				{Match: resource.Match{Proto: "udp", DstPorts: ports(53, 53), Nth: 2}, Do: dnat},
				{Match: resource.Match{Proto: "udp", DstPorts: ports(53, 53)}, Do: resource.Verdict{Target: "DNAT", To: netip.MustParseAddr("10.1.1.12"), Ports: schema.PortRange{From: 54, To: 54}}},
			},
			inward: []resource.Rule{
				{Match: resource.Match{Proto: "tcp", DstPorts: ports(443, 443)}, Do: accept, Behind: []netip.AddrPort{netip.MustParseAddrPort("10.1.1.12:443"), netip.MustParseAddrPort("10.1.1.11:8443")}},
				{Match: resource.Match{Proto: "tcp", DstPorts: ports(80, 80)}, Do: accept, Behind: []netip.AddrPort{netip.MustParseAddrPort("10.1.1.12:80")}},
			},
			want: []string{
				"internet -> 203.0.113.20 443/tcp (at 10.1.1.11 port +8000)", "internet -> 203.0.113.20 443/tcp (at 10.1.1.12)",
				"198.51.100.0/24 -> 203.0.113.20 53/udp (at 10.1.1.11)", "198.51.100.0/24 -> 203.0.113.20 53/udp (at 10.1.1.12 port +1)",
			},
		},
		{name: "nothing declared"},
		{
			name:     "open without a forward reaches nobody",
			firewall: []resource.Rule{{Match: resource.Match{Proto: "tcp", DstPorts: ports(80, 80)}, Do: accept}},
		},
		{
			name:    "a forward without firewall is closed",
			forward: []resource.Rule{{Match: resource.Match{Dst: prefix("203.0.113.20/32"), Proto: "tcp", DstPorts: ports(80, 80)}, Do: dnat}},
		},
		{
			name:     "both",
			firewall: []resource.Rule{{Match: resource.Match{Proto: "tcp", DstPorts: ports(80, 90)}, Do: accept}},
			forward:  []resource.Rule{{Match: resource.Match{Dst: prefix("203.0.113.20/32"), Proto: "tcp", DstPorts: ports(85, 100)}, Do: dnat}},
			want:     []string{"internet -> 203.0.113.20 85-90/tcp (at 10.1.1.11)"},
		},
		{
			name: "static NAT with sources, one inside the other",
			firewall: []resource.Rule{
				{Match: resource.Match{Proto: "tcp", DstPorts: ports(22, 22), Src: prefix("198.51.100.0/24")}, Do: accept},
				{Match: resource.Match{Proto: "tcp", DstPorts: ports(22, 22), Src: prefix("198.51.100.7/32")}, Do: accept},
			},
			forward: []resource.Rule{{Match: resource.Match{Dst: prefix("203.0.113.20/32")}, Do: dnat}},
			want:    []string{"198.51.100.0/24 -> 203.0.113.20 22/tcp (at 10.1.1.11)"},
		},
		{
			name:     "a range that moves is one way, a set is its members",
			firewall: []resource.Rule{{Match: resource.Match{Proto: "udp", SrcSet: "s"}, Do: accept}},
			forward:  []resource.Rule{{Match: resource.Match{Dst: prefix("203.0.113.20/32"), Proto: "udp", DstPorts: ports(20000, 20100)}, Do: moved}},
			want: []string{
				"192.0.2.0/25 -> 203.0.113.20 20000-20100/udp (at 10.1.1.11 port +10000)",
				"192.0.2.128/25 -> 203.0.113.20 20000-20100/udp (at 10.1.1.11 port +10000)",
			},
		},
		{
			name:     "the router answers ping",
			firewall: []resource.Rule{{Match: resource.Match{Proto: "icmp", ICMPType: 9}, Do: accept}},
			want:     []string{"internet -> 203.0.113.20 icmp type 8"},
		},
		{
			name:    "egress exceptions",
			outward: []resource.Rule{{Match: resource.Match{Proto: "udp", DstPorts: ports(53, 53), Dst: prefix("9.9.9.9/32")}, Do: accept}},
			want:    []string{"network/a/web -> 9.9.9.9/32 53/udp"},
		},
		{
			name:    "all may leave",
			outward: []resource.Rule{{Do: accept}},
			want:    []string{"network/a/web -> internet icmp", "network/a/web -> internet tcp", "network/a/web -> internet udp"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, w := range reach.Of(router(c.firewall, c.forward, c.outward, c.inward...)) {
				got = append(got, w.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}

func TestChange(t *testing.T) {
	a := reach.Way{From: "internet", To: "203.0.113.20", Ports: "80/tcp"}
	b := reach.Way{From: "internet", To: "203.0.113.20", Ports: "443/tcp"}
	c := reach.Compare([]reach.Way{a}, []reach.Way{b})
	if !slices.Equal(c.Added, []reach.Way{b}) || !slices.Equal(c.Removed, []reach.Way{a}) || !slices.Equal(c.Exposed(), []string{"203.0.113.20:443/tcp"}) {
		t.Errorf("%+v", c)
	}
	// A router that moves takes its ways along: one host loses what the other gains.
	moved := reach.Compare([]reach.Way{a}, nil).Join(reach.Compare(nil, []reach.Way{a}))
	if len(moved.Added)+len(moved.Removed) > 0 {
		t.Errorf("a move is a change: %+v", moved)
	}
}
