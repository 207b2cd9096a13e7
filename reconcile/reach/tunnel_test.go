package reach_test

import (
	"net/netip"
	"slices"
	"testing"

	"weft.dev/reconcile/reach"
	"weft.dev/reconcile/resource"
)

// TestTunnels: who is on the other side of a tunnel reaches the guests and is reached,
// the same whether the kernel encrypts or a link of its own does, and never in the
// clear.
func TestTunnels(t *testing.T) {
	accept, drop := resource.Verdict{Target: "ACCEPT"}, resource.Verdict{Target: "DROP"}
	guests, far, users := prefix("10.1.1.0/24"), prefix("10.50.0.0/16"), prefix("10.254.0.2/31")
	want := []string{
		"10.254.0.2/31 -> 10.1.1.0/24 icmp", "10.254.0.2/31 -> 10.1.1.0/24 tcp", "10.254.0.2/31 -> 10.1.1.0/24 udp",
		"10.50.0.0/16 -> 10.1.1.0/24 icmp", "10.50.0.0/16 -> 10.1.1.0/24 tcp", "10.50.0.0/16 -> 10.1.1.0/24 udp",
		"network/a/web -> 10.50.0.0/16 icmp", "network/a/web -> 10.50.0.0/16 tcp", "network/a/web -> 10.50.0.0/16 udp",
	}
	for _, c := range []struct {
		name       string
		pre, rules []resource.Rule
		want       []string
	}{
		{
			name: "a link of its own",
			rules: []resource.Rule{
				{Match: resource.Match{Out: "eth1", Dst: far}, Do: drop},
				{Match: resource.Match{In: "ipsec0", Out: "eth0", Src: far, Dst: guests}, Do: accept},
				{Match: resource.Match{In: "eth0", Out: "ipsec0", Src: guests, Dst: far}, Do: accept},
				{Match: resource.Match{In: "wg-a", Out: "eth0", Src: users, Dst: guests}, Do: accept},
			},
			want: want,
		},
		{
			name: "the kernel",
			pre:  []resource.Rule{{Match: resource.Match{In: "eth1", Src: far, Dst: guests, IPsec: "in"}, Do: accept}},
			rules: []resource.Rule{
				{Match: resource.Match{Out: "eth1", Dst: far, IPsec: "clear"}, Do: drop},
				{Match: resource.Match{In: "eth1", Out: "eth0", Src: far, Dst: guests, IPsec: "in"}, Do: accept},
				{Match: resource.Match{In: "eth0", Out: "eth1", Src: guests, Dst: far, IPsec: "out"}, Do: accept},
				{Match: resource.Match{In: "wg-a", Out: "eth0", Src: users, Dst: guests}, Do: accept},
			},
			want: want,
		},
		{
			name: "what is for the other side does not leave in the clear",
			rules: []resource.Rule{
				{Match: resource.Match{Out: "eth1", Dst: far}, Do: drop},
				{Match: resource.Match{In: "eth0", Out: "eth1", Dst: far}, Do: accept},
			},
		},
	} {
		f := resource.NewFragment("network/a/web", []resource.Entry{
			entry(resource.NS{Name: "r"}),
			entry(resource.Addr{NS: "r", Link: "eth0", Prefix: prefix("10.1.1.1/24")}),
			entry(resource.Addr{NS: "r", Link: "eth1", Prefix: prefix("203.0.113.20/24")}),
			chain("mangle", "PREROUTING", "ACCEPT", append(c.pre, resource.Rule{Match: resource.Match{In: "eth1"}, Do: drop})...),
			chain("filter", "INPUT", "DROP"),
			chain("filter", "FORWARD", "DROP", c.rules...),
		})
		var got []string
		for _, w := range reach.Of(f) {
			got = append(got, w.String())
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestNoTunnel: a link to a private network without an address, as it is for a moment, is
// none: packets go where routes lead.
func TestNoTunnel(t *testing.T) {
	accept, net := resource.Verdict{Target: "ACCEPT"}, prefix("10.98.0.0/16")
	f := resource.NewFragment("vpc/a/shop", []resource.Entry{
		entry(resource.NS{Name: "r"}),
		entry(resource.Addr{NS: "r", Link: "t-web", Prefix: prefix("10.20.1.1/24")}),
		entry(resource.Addr{NS: "r", Link: "t-app", Prefix: prefix("10.20.2.1/24")}),
		entry(resource.Route{NS: "r", Dst: net, Via: netip.MustParseAddr("10.20.2.9"), Dev: "t-app"}),
		chain("filter", "FORWARD", "DROP", resource.Rule{Match: resource.Match{In: "t-web", Out: "g-office", Dst: net}, Do: accept}),
	})
	r := reach.Routers([]*resource.Fragment{f})[0]
	if v := r.Send(reach.Packet{In: "t-web", Src: netip.MustParseAddr("10.20.1.9"), Dst: net.Addr(), Proto: "tcp", Port: 80}); v.Pass {
		t.Errorf("it passes by %s", v.Rule)
	}
}
