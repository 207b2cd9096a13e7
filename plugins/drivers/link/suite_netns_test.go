//go:build netns

package link_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"weft.dev/plugins/drivers/link"
	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/driver/drivertest"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// TestSuite passes what every driver passes.
func TestSuite(t *testing.T) {
	h := newHost(t)
	ns := h.Instance + "-s"
	g := resource.Short(15, h.Instance, "gs")
	base := resource.NS{Name: ns, Owner: drivertest.Owner}
	eth := resource.Link{NS: ns, Name: "eth0", Host: g, MAC: "02:00:00:00:00:01", MTU: 1450, Up: true, TxOff: true}
	addr := resource.Addr{NS: ns, Link: "eth0", Prefix: pfx("10.1.1.1/24")}
	from := addr.ID()
	route := resource.Route{NS: ns, Dst: pfx("0.0.0.0/0"), Via: netip.MustParseAddr("10.1.1.254"), Dev: "eth0", From: &from}
	forward := resource.Sysctl{NS: ns, Key: "net.ipv4.ip_forward", Value: "1"}
	linkID := eth.ID()
	filter := resource.Sysctl{NS: ns, Key: "net.ipv4.conf.eth0.rp_filter", Value: "2", Link: &linkID}

	leg := resource.RoutingRule{NS: ns, Table: 1007, Dev: "eth0", Net: pfx("198.51.100.0/24"), Via: netip.MustParseAddr("198.51.100.1"), Mark: 0x10000, Mask: 0xffff0000}
	turned := func(f func(*resource.RoutingRule)) resource.State { r := leg; f(&r); return r }
	changed := func(l resource.Link, f func(*resource.Link)) resource.State { f(&l); return l }
	host2 := resource.Short(15, h.Instance, "gt")
	run := func(line string) func(*testing.T) {
		return func(t *testing.T) { t.Helper(); sh(t, "", strings.ReplaceAll(line, "NS", ns)) }
	}
	// there is a check by a word that a command prints while the state is there.
	there := func(line, word string) func(*testing.T, resource.State) error {
		return func(_ *testing.T, st resource.State) error {
			out, _ := exec.Command("sh", "-c", strings.ReplaceAll(line, "NS", ns)).CombinedOutput()
			if has := strings.Contains(string(out), word); has != (st != nil) {
				return fmt.Errorf("%q in %q: %v", word, out, has)
			}
			return nil
		}
	}
	drivertest.Run(t, drivertest.Fixture{
		New: func(t *testing.T) driver.Driver {
			fresh := host.New("kvm1", h.Instance)
			fresh.RunDir = h.RunDir
			t.Cleanup(fresh.Close)
			return link.New(fresh)
		},
		Samples: []drivertest.Sample{
			{State: base, Vanish: run("ip netns del NS"), Spoil: run("ip -n NS link set lo down"), Check: there("ls /run/netns", ns)},
			{
				Under: []resource.State{base}, State: eth, Spoil: run("ip -n NS link set eth0 mtu 1300"), Vanish: run("ip -n NS link del eth0"),
				Changed: []resource.State{
					changed(eth, func(l *resource.Link) { l.Host = host2 }),
					changed(eth, func(l *resource.Link) { l.MAC = "02:00:00:00:00:02" }),
					changed(eth, func(l *resource.Link) { l.MTU = 1400 }),
					changed(eth, func(l *resource.Link) { l.Up = false }),
					changed(eth, func(l *resource.Link) { l.TxOff = false }),
				},
				Check: there("ip -n NS link", "eth0@"),
			},
			{Under: []resource.State{base, eth}, State: addr, Spoil: run("ip -n NS addr del 10.1.1.1/24 dev eth0; ip -n NS addr add 10.1.1.1 peer 10.1.1.2/24 dev eth0"), Vanish: run("ip -n NS addr del 10.1.1.1/24 dev eth0"), Check: there("ip -n NS addr", "10.1.1.1/24")},
			{Under: []resource.State{base, eth}, State: resource.Addr{NS: ns, Link: "eth0", Prefix: pfx("fd00::1/64")}, Vanish: run("ip -n NS addr del fd00::1/64 dev eth0")},
			{
				Under: []resource.State{base, eth, addr}, State: route, Spoil: run("ip -n NS route replace default via 10.1.1.253"), Vanish: run("ip -n NS route del default"),
				Changed: []resource.State{resource.Route{NS: ns, Dst: route.Dst, Via: netip.MustParseAddr("10.1.1.250"), Dev: "eth0", From: &from}},
				Check:   there("ip -n NS route", "default via"),
			},
			{
				Under: []resource.State{base, eth}, State: leg,
				Spoil:  run("ip -n NS rule del priority 1001; ip -n NS rule add priority 1003 from 10.0.0.0/8 table 1007; ip -n NS route add 192.0.2.0/24 dev eth0 table 1007"),
				Vanish: run("ip -n NS route flush table 1007; for p in 1000 1001 1002; do ip -n NS rule del priority $p; done"),
				Changed: []resource.State{
					turned(func(r *resource.RoutingRule) { r.Via = netip.MustParseAddr("198.51.100.2") }),
					turned(func(r *resource.RoutingRule) { r.Net = pfx("198.51.100.0/25") }),
					turned(func(r *resource.RoutingRule) { r.Mark = 0x20000 }),
					turned(func(r *resource.RoutingRule) { r.Rest = true }),
				},
				Check: there("ip -n NS rule; ip -n NS route show table 1007", "lookup 1007"),
			},
			{Under: []resource.State{base}, State: forward, Changed: []resource.State{resource.Sysctl{NS: ns, Key: forward.Key, Value: "0"}}},
			{Under: []resource.State{base, eth}, State: filter, Changed: []resource.State{resource.Sysctl{NS: ns, Key: filter.Key, Value: "1", Link: &linkID}}},
		},
		Foreign: []drivertest.Foreign{
			{
				Name: "namespace", InTheWay: base, Forbidden: true,
				Make: func(t *testing.T) {
					sh(t, "", "ip netns add "+ns)
					t.Cleanup(func() { sh(t, "", "ip netns del "+ns) })
				},
				Intact: func(*testing.T) error { return exec.Command("ip", "netns", "exec", ns, "true").Run() },
			},
			{
				Name: "link", InTheWay: eth, Forbidden: true,
				Make: func(t *testing.T) {
					sh(t, "", "ip link add "+g+" type bridge")
					t.Cleanup(func() { sh(t, "", "ip link del "+g) })
				},
				Intact: func(*testing.T) error { return exec.Command("ip", "link", "show", g, "type", "bridge").Run() },
			},
			{
				Name: "namespace beside",
				Make: func(t *testing.T) {
					sh(t, "", "ip netns add "+ns+"-x; ip -n "+ns+"-x link add br0 type bridge")
					t.Cleanup(func() { sh(t, "", "ip netns del "+ns+"-x") })
				},
				Intact: func(*testing.T) error { return exec.Command("ip", "-n", ns+"-x", "link", "show", "br0").Run() },
			},
		},
	})
}
