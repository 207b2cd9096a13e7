//go:build netns

package fw_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft.dev/plugins/drivers/fw"
	"weft.dev/reconcile/resource"
)

// TestEnds: connections from and to a network end when a rule comes that says so, and
// when it goes, and never else; those of others go on.
func TestEnds(t *testing.T) {
	h := newHost(t)
	ns := space(t, h, 1)
	sh(t, ns, "ip link set lo up")
	d := fw.New(h)
	forward := func(ends ...string) resource.Chain {
		c := resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "FORWARD", Policy: "DROP", Rules: []resource.Rule{accept(resource.Match{CT: []string{"ESTABLISHED"}}, "e")}}
		for _, p := range ends {
			c.Rules = slices.Insert(c.Rules, 0, resource.Rule{Name: "vpn", Match: resource.Match{Out: "lo", Dst: pfx(p)}, Do: resource.Verdict{Target: "DROP", Ends: true}})
		}
		return c
	}
	nat := resource.Chain{NS: ns, Family: 4, Table: "nat", Name: "POSTROUTING", Policy: "ACCEPT", Rules: []resource.Rule{
		{Name: "nat", Match: resource.Match{Dst: pfx("127.5.0.0/16")}, Do: resource.Verdict{Target: "SNAT", To: netip.MustParseAddr("127.0.0.2")}},
	}}
	do(t, d, steps(false, forward(), nat))
	for _, c := range []struct {
		name     string
		to       resource.Chain
		from, at string
		left     []string
	}{
		{"another rule", forward("127.6.0.0/16"), "127.0.0.1", "127.5.0.1", []string{"127.5.0.1", "127.7.0.1"}},
		{"one comes", forward("127.6.0.0/16", "127.5.0.0/16"), "127.0.0.1", "127.5.0.1", []string{"127.7.0.1"}},
		{"nothing new", forward("127.5.0.0/16", "127.6.0.0/16"), "127.0.0.1", "127.5.0.1", []string{"127.5.0.1", "127.7.0.1"}},
		{"one grows", forward("127.4.0.0/15", "127.6.0.0/16"), "127.0.0.1", "127.5.0.1", []string{"127.5.0.1", "127.7.0.1"}},
		{"it goes", forward("127.6.0.0/16"), "127.0.0.1", "127.5.0.1", []string{"127.7.0.1"}},
		{"from there", forward(), "127.6.0.1", "127.8.0.1", []string{"127.7.0.1"}},
	} {
		for _, to := range []string{c.at, "127.7.0.1"} {
			from := c.from
			if to != c.at {
				from = "127.0.0.1"
			}
			if err := h.In(ns, func() error { return called(from, to) }); err != nil {
				t.Fatal(err)
			}
		}
		do(t, d, steps(false, c.to))
		var got []string
		if err := h.In(ns, func() error {
			flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
			for _, f := range flows {
				got = append(got, f.Forward.DstIP.String())
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, c.left) {
			t.Errorf("%s: left are connections to %v, want %v", c.name, got, c.left)
		}
	}
}

// called sends a datagram.
func called(from, to string) error {
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(to), 9999)))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_, err = c.Write([]byte("x"))
	return err
}
