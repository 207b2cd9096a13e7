package pipeline_test

import (
	"net/netip"
	"slices"
	"testing"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin/pipeline"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// TestReserved: whoever may send anything, or is allowed addresses that hold the
// routers' own, is none of them; all else it may as before.
func TestReserved(t *testing.T) {
	const routers, twin, other = 0x02ee00000001, 0x02ee00000002, 0x02ee00000003
	at := func(list ...string) (out []netip.Addr) {
		for _, a := range list {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	r := &model.Reserved{MACs: []schema.MAC{mac(routers), mac(twin)}, Addrs: at("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fe80::1")}
	all := netip.MustParsePrefix("10.0.0.0/24")
	loose := pipeline.Owned{MAC: mac(macA), IPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.9/32")}, More: []pipeline.Pair{{CIDR: all}, {CIDR: netip.MustParsePrefix("::/0")}, {CIDR: all, MAC: mac(twin)}}}
	tight := pipeline.Owned{MAC: mac(macA), IPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.9/32")}}
	bridge := func(guest []resource.Flow, strict bool) *bridge {
		return bridgeOf(t, slices.Concat(pipeline.Host(), pipeline.Reserve(guest, "a", r, strict), pipeline.Port(vx, "r"), pipeline.Port(vx, "s"), pipeline.Segment(vx, []string{"a", "r", "s"}, nil)))
	}
	to := func(dst string, f map[resource.FlowField]uint64) map[resource.FlowField]uint64 {
		f[resource.FieldIPDst] = ip(dst)[resource.FieldIPSrc]
		return f
	}
	sll, tll := resource.FieldNDSLL, resource.FieldNDTLL
	for _, c := range []struct {
		name  string
		src   uint64
		f     map[resource.FlowField]uint64
		loose bool // of one that is allowed many addresses
		open  bool // of one without antiSpoof
	}{
		{"own address", macA, ip("10.0.0.9"), true, true}, {"another's", macA, ip("10.0.0.77"), true, true}, {"another MAC", other, ip("10.0.0.77"), false, true},
		{"the gateway", macA, ip("10.0.0.1"), false, false}, {"the first router", macA, ip("10.0.0.2"), false, false}, {"the second router", macA, ip("10.0.0.3", 17, 3780, 3780), false, false},
		{"a router's MAC", routers, ip("10.0.0.9"), false, false}, {"the twin's MAC", twin, ip("10.0.0.9"), false, false},
		{"ARP of the gateway", macA, arp(macA, "10.0.0.1"), false, false}, {"ARP of a router", macA, arp(macA, "10.0.0.3"), false, false},
		{"ARP with a router's MAC", other, arp(twin, "10.0.0.77"), false, false}, {"ARP of another", macA, arp(macA, "10.0.0.77"), true, true},
		{"ARP that the switch does not read", macA, map[resource.FlowField]uint64{resource.FieldEthType: 0x806, resource.FieldARPOp: 0}, false, false},
		{"VRRP to the group", macA, to("224.0.0.18", ip("10.0.0.9", 112, 0, 0)), true, true}, {"VRRP to a machine", macA, to("10.0.0.77", ip("10.0.0.9", 112, 0, 0)), true, true},
		{"VRRP to a router", macA, to("10.0.0.2", ip("10.0.0.9", 112, 0, 0)), false, false}, {"VRRP to the gateway", macA, to("10.0.0.1", ip("10.0.0.9", 112, 0, 0)), false, false},
		{"anything else to a router", macA, to("10.0.0.2", ip("10.0.0.9", 17, 1000, 53)), true, true},
		{"the gateway of IPv6", macA, v6("fd00::1", nil), false, false}, {"its link-local address", macA, v6("fe80::1", map[resource.FlowField]uint64{resource.FieldIPProto: 58, resource.FieldICMPType: 134}), false, false},
		{"says it is the gateway", macA, nd("fd00::9", 136, "fd00::1", tll, macA), false, false}, {"says it is the link-local gateway", macA, nd("fe80::9", 136, "fe80::1", tll, macA), false, false},
		{"says something that the switch does not read", macA, nd("fd00::9", 136, "::", 0, 0), false, false}, {"asks such a thing", macA, nd("::", 135, "::", 0, 0), false, false},
		{"probes for the gateway", macA, nd("::", 135, "fd00::1", 0, 0), false, false}, {"asks for the gateway", macA, nd("fd00::9", 135, "fd00::1", sll, macA), true, true},
		{"probes for another", macA, nd("::", 135, "fd00::9", 0, 0), true, true}, {"says it is another", macA, nd("fd00::9", 136, "fd00::9", tll, macA), true, true},
		{"another of IPv6", macA, v6("fd00::9", nil), true, true},
	} {
		f := frame{src: c.src, dst: broadcast, f: c.f}
		for what, x := range map[string]struct {
			rules []resource.Flow
			want  bool
		}{"open": {pipeline.Open(vx, "a", 0), c.open}, "allowed": {pipeline.Guest(vx, "a", loose, 0), c.loose}} {
			if got := len(bridge(x.rules, false).send("a", f)) > 0; got != x.want {
				t.Errorf("%s, %s: leaves %v, want %v", what, c.name, got, x.want)
			}
		}
	}
	b := bridge(pipeline.Guest(vx, "a", tight, 0), true)
	b.goes("what it owns", "a", frame{src: macA, dst: broadcast, f: ip("10.0.0.9")}, "r s")
	b.goes("VRRP to a router", "a", frame{src: macA, dst: broadcast, f: to("10.0.0.3", ip("10.0.0.9", 112, 0, 0))}, "")
	// The routers themselves are not guests, and nobody is where there is no pair.
	b.goes("a router", "r", frame{src: routers, dst: broadcast, f: arp(routers, "10.0.0.1")}, "a s")
	if open := pipeline.Open(vx, "a", 0); len(pipeline.Reserve(open, "a", nil, false)) != len(open) {
		t.Error("rules without a pair")
	}
	// The same MAC learned at another port would take the routers' traffic there.
	o := bridge(pipeline.Open(vx, "a", 0), false)
	o.send("r", frame{src: routers, dst: broadcast, f: arp(routers, "10.0.0.1")})
	o.send("a", frame{src: routers, dst: broadcast, f: ip("10.0.0.9")})
	o.goes("what is for the router", "s", frame{src: other, dst: routers, f: ip("10.0.0.9")}, "r")
}
