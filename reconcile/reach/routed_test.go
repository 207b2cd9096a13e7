package reach

import (
	"net/netip"
	"slices"
	"testing"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// six is the IPv6 side of a dual stack router with rules for what comes in.
func six(ingress ...resource.Rule) *resource.Fragment {
	const ns = "r"
	guests := netip.MustParsePrefix("2001:db8:100:5::/64")
	chain := func(family int, name, policy string, rules ...resource.Rule) resource.State {
		return resource.Chain{NS: ns, Family: family, Table: "filter", Name: name, Policy: policy, Rules: rules}
	}
	addr := func(link, p string) resource.State {
		return resource.Addr{NS: ns, Link: link, Prefix: netip.MustParsePrefix(p)}
	}
	do := func(m resource.Match, v resource.Verdict) resource.Rule { return resource.Rule{Match: m, Do: v} }
	states := []resource.State{
		resource.NS{Name: ns},
		addr("eth0", "10.1.1.1/24"), addr("eth1", "203.0.113.10/24"), addr("eth0", "2001:db8:100:5::1/64"), addr("eth1", "2001:db8:1::2/64"),
		chain(4, "FORWARD", "DROP"), chain(4, "INPUT", "DROP"),
		chain(6, "INPUT", "DROP", do(resource.Match{Proto: "icmpv6"}, resource.Verdict{Target: "ACCEPT"})),
		chain(6, "FORWARD", "DROP",
			do(resource.Match{In: "eth1", Src: guests}, resource.Verdict{Target: "DROP"}),
			do(resource.Match{In: "eth0", Out: "eth1", Src: guests, Proto: "tcp"}, resource.Verdict{Target: "ACCEPT"}),
			do(resource.Match{In: "eth1", Out: "eth0", Dst: guests}, resource.Verdict{Jump: "INGRESS"})),
		chain(6, "INGRESS", "", append(ingress, do(resource.Match{}, resource.Verdict{Target: "DROP"}))...),
	}
	var entries []resource.Entry
	for _, s := range states {
		entries = append(entries, resource.Entry{State: s, Owner: "network/acme/web"})
	}
	return resource.NewFragment("network/acme/web", entries)
}

func accept(m resource.Match) resource.Rule {
	return resource.Rule{Match: m, Do: resource.Verdict{Target: "ACCEPT"}}
}

func TestRouted(t *testing.T) {
	https := resource.Match{Proto: "tcp", DstPorts: []schema.PortRange{{From: 443, To: 443}}}
	one := https
	one.Dst = netip.MustParsePrefix("2001:db8:100:5::5/128")
	office := resource.Match{Src: netip.MustParsePrefix("2001:db8:a::/48")}
	echo := resource.Match{Proto: "icmpv6", ICMPType: 129}
	const out = "network/acme/web -> internet by IPv6 tcp"
	for name, x := range map[string]struct {
		rules   []resource.Rule
		ways    []string
		exposed []string
	}{
		"closed":   {nil, []string{out}, nil},
		"one":      {[]resource.Rule{accept(one)}, []string{"internet -> 2001:db8:100:5::5 443/tcp", out}, []string{"[2001:db8:100:5::5]:443/tcp"}},
		"all":      {[]resource.Rule{accept(https)}, []string{"internet -> 2001:db8:100:5::/64 443/tcp", out}, []string{"[2001:db8:100:5::/64]:443/tcp"}},
		"one, all": {[]resource.Rule{accept(one), accept(https)}, []string{"internet -> 2001:db8:100:5::/64 443/tcp", out}, []string{"[2001:db8:100:5::/64]:443/tcp"}},
		"ping":     {[]resource.Rule{accept(echo)}, []string{"internet -> 2001:db8:100:5::/64 icmpv6 type 128", out}, []string{"[2001:db8:100:5::/64]:icmpv6 type 128"}},
		"office": {[]resource.Rule{accept(office)}, []string{
			"2001:db8:a::/48 -> 2001:db8:100:5::/64 icmpv6", "2001:db8:a::/48 -> 2001:db8:100:5::/64 tcp", "2001:db8:a::/48 -> 2001:db8:100:5::/64 udp", out,
		}, nil},
	} {
		var got []string
		for _, w := range Of(six(x.rules...)) {
			got = append(got, w.String())
		}
		if !slices.Equal(got, x.ways) {
			t.Errorf("%s: %q, want %q", name, got, x.ways)
		}
		base := &resource.Intent{Fragments: []*resource.Fragment{six()}}
		head := &resource.Intent{Fragments: []*resource.Fragment{six(x.rules...)}}
		if got := Between(base, head).Exposed(); !slices.Equal(got, x.exposed) {
			t.Errorf("%s: newly open %q, want %q", name, got, x.exposed)
		}
	}
}

// TestBehind: who gets out from behind a route shows beside the guests, whatever they
// may do themselves.
func TestBehind(t *testing.T) {
	behind := netip.MustParsePrefix("2001:db8:f::/48")
	base, head := six(), six()
	var entries []resource.Entry
	for _, e := range head.Entries() {
		if c, ok := e.State.(resource.Chain); ok && c.Family == 6 && c.Name == "FORWARD" {
			c.Rules = append([]resource.Rule{
				accept(resource.Match{In: "eth0", Out: "eth0", Dst: behind}), accept(resource.Match{In: "eth0", Out: "eth1", Src: behind, Proto: "udp"}),
			}, c.Rules...)
			e.State = c
		}
		entries = append(entries, e)
	}
	entries = append(entries, resource.Entry{Owner: head.Owner, State: resource.Route{NS: "r", Dst: behind, Via: netip.MustParseAddr("2001:db8:100:5::9"), Dev: "eth0"}})
	head = resource.NewFragment(head.Owner, entries)
	got := Between(&resource.Intent{Fragments: []*resource.Fragment{base}}, &resource.Intent{Fragments: []*resource.Fragment{head}})
	const guests = "network/acme/web"
	want := []Way{{From: guests, To: behind.String(), Ports: "icmpv6"}, {From: guests, To: behind.String(), Ports: "udp"}, {From: "network/acme/web 2001:db8:f::/48", To: "internet by IPv6", Ports: "udp"}}
	if !slices.Equal(got.Added, want) || len(got.Removed) > 0 {
		t.Errorf("added %v, removed %v", got.Added, got.Removed)
	}
}
