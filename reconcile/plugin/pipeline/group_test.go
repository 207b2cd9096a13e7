package pipeline_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin/pipeline"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

var firewall = pipeline.Firewall{
	Segment: vx, Zone: 7, Local: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}, Resolvers: []netip.Addr{netip.MustParseAddr("10.0.0.254")},
}

func rule(proto int, ports string, peers ...string) model.GroupRule {
	r := model.GroupRule{Name: fmt.Sprint("g", proto, ports, peers), Proto: proto, ICMPType: model.AllTypes, ICMPCode: model.AllTypes}
	if ports != "" {
		var a, b uint16
		if n, _ := fmt.Sscanf(ports, "%d-%d", &a, &b); n == 1 {
			b = a
		}
		r.Ports = []schema.PortRange{{From: a, To: b}}
	}
	for _, p := range peers {
		r.Peers = append(r.Peers, netip.MustParsePrefix(p))
	}
	return r
}

// guarded is a host with two guests, a router's port and a tunnel; a has group
// ga, b has gb.
func guarded(t *testing.T, ga, gb *model.Groups) *bridge {
	own := func(m uint64, ip string) pipeline.Owned {
		return pipeline.Owned{MAC: mac(m), IPs: []netip.Prefix{netip.MustParsePrefix(ip + "/32")}}
	}
	return bridgeOf(t, slices.Concat(
		pipeline.Host(), []resource.Flow{pipeline.Tunnel("vxlan", 4789, "t1")},
		pipeline.Guest(vx, "a", own(macA, "10.0.0.1"), 1), pipeline.Guest(vx, "b", own(macB, "10.0.0.2"), 2), pipeline.Port(vx, "r"),
		pipeline.Segment(vx, []string{"a", "b", "r"}, []string{"t1"}),
		firewall.Rules(), firewall.Policy(ga, 1).Rules, firewall.Policy(gb, 2).Rules))
}

func between(src, dst string, proto, sport, dport uint64) map[resource.FlowField]uint64 {
	f := ip(src, proto, sport, dport)
	f[resource.FieldIPDst] = ip(dst)[resource.FieldIPSrc]
	return f
}

// seen is a bridge that knows where everybody is.
func (b *bridge) seen() *bridge {
	meta := pipeline.Identity(vx)
	for i, m := range []struct {
		sym string
		mac uint64
	}{{"a", macA}, {"b", macB}, {"r", macR}, {"t1", macFar}} {
		b.learned[[2]uint64{meta, m.mac}] = [2]uint64{b.port(m.sym), uint64(i / 3)}
	}
	return b
}

const macR = 0x020000000008

func (b *bridge) goes(what, in string, f frame, want string) {
	b.t.Helper()
	if got := strings.Join(b.send(in, f), " "); got != want {
		b.t.Errorf("%s: goes to %q, want %q", what, got, want)
	}
}

func TestGroups(t *testing.T) {
	open := &model.Groups{Open: true}
	web := &model.Groups{Key: "web", Open: true, Ingress: []model.GroupRule{rule(6, "80", "0.0.0.0/0"), rule(model.AllProtocols, "", "10.0.0.1/32")}}
	ab := func(proto, sport, dport uint64) frame {
		return frame{src: macA, dst: macB, f: between("10.0.0.1", "10.0.0.2", proto, sport, dport)}
	}
	ba := func(proto, sport, dport uint64) frame {
		return frame{src: macB, dst: macA, f: between("10.0.0.2", "10.0.0.1", proto, sport, dport)}
	}
	far := func(proto, sport, dport uint64) frame {
		return frame{src: macFar, dst: macB, tun: 5001, f: between("10.0.0.9", "10.0.0.2", proto, sport, dport)}
	}
	answer := func(proto, sport, dport uint64) frame {
		return frame{src: macB, dst: macFar, f: between("10.0.0.2", "10.0.0.9", proto, sport, dport)}
	}

	b := guarded(t, open, web).seen()
	b.goes("nothing comes in by itself", "b", ba(6, 1000, 80), "")
	b.goes("who is in the group", "a", ab(17, 1000, 53), "b")
	b.goes("answers", "b", ba(17, 53, 1000), "a")
	b.goes("an open port", "t1", far(6, 1000, 80), "b")
	b.goes("its answer", "b", answer(6, 80, 1000), "t1#5001")
	b.goes("a closed port", "t1", far(6, 1000, 22), "")
	b.goes("what it says by itself", "b", answer(6, 22, 1000), "t1#5001")
	b.goes("then an answer comes in", "t1", far(6, 1000, 22), "b")
	b.goes("ARP", "b", frame{src: macB, dst: macA, f: arp(macB, "10.0.0.2")}, "a")
	b.goes("the network's DHCP server", "r", frame{src: macR, dst: macB, f: between("10.0.0.254", "10.0.0.2", 17, 67, 68)}, "b")
	b.goes("another's DHCP server", "r", frame{src: macR, dst: macB, f: between("192.0.2.1", "10.0.0.2", 17, 67, 68)}, "")
	b.goes("asks for DHCP", "b", frame{src: macB, dst: broadcast, f: between("0.0.0.0", "255.255.255.255", 17, 68, 67)}, "r t1#5001")

	// A rule goes: what it allowed ends, both ways.
	conns := b.conns
	b = guarded(t, open, &model.Groups{Key: "web", Ingress: []model.GroupRule{rule(6, "443", "0.0.0.0/0")}, Egress: []model.GroupRule{rule(6, "443", "10.0.0.0/8")}}).seen()
	b.conns = conns
	b.goes("the port that was open", "t1", far(6, 1000, 80), "")
	b.goes("answers to it", "b", answer(6, 80, 1000), "")
	b.goes("egress of the rule", "b", answer(6, 1000, 443), "t1#5001")
	b.goes("other egress", "b", answer(6, 1000, 444), "")
	b.goes("the resolver", "b", frame{src: macB, dst: macR, f: between("10.0.0.2", "10.0.0.254", 17, 1000, 53)}, "r")
	b.goes("its answer", "r", frame{src: macR, dst: macB, f: between("10.0.0.254", "10.0.0.2", 17, 53, 1000)}, "b")

	// A guest that was not let in by b opens nothing for b's answers.
	shut := &model.Groups{Key: "shut"}
	b = guarded(t, open, shut).seen()
	b.goes("not let in", "a", ab(17, 1000, 53), "")
	b.goes("nor answered", "b", ba(17, 53, 1000), "")

	// It comes back.
	b = guarded(t, open, web).seen()
	b.conns = conns
	b.goes("the port is open again", "t1", far(6, 1000, 80), "b")
	b.goes("and answers", "b", answer(6, 80, 1000), "t1#5001")
}

// TestErrorsFollowTheirConnection: what ICMP says of a connection passes as long as the
// connection does, either way, and revives none.
func TestErrorsFollowTheirConnection(t *testing.T) {
	to := func(sport, dport uint64) frame {
		return frame{src: macFar, dst: macB, tun: 5001, f: between("10.0.0.9", "10.0.0.2", 17, sport, dport)}
	}
	answer := frame{src: macB, dst: macFar, f: between("10.0.0.2", "10.0.0.9", 17, 53, 1000)}
	asked := to(1000, 53)
	errorTo := func(f frame) frame { // f's receiver says that he cannot have it
		out := frame{src: f.dst, dst: f.src, about: &f, f: between("10.0.0.2", "10.0.0.9", 1, 3, 3)}
		if f.src == macB {
			out.tun, out.f = 5001, between("10.0.0.9", "10.0.0.2", 1, 3, 3)
		}
		return out
	}
	open := &model.Groups{Key: "b", Ingress: []model.GroupRule{rule(17, "53", "0.0.0.0/0")}}
	for _, c := range []struct {
		what         string
		after        *model.Groups
		there, again bool // errors pass, and answers after them
	}{
		{"the same", open, true, true},
		{"nothing", &model.Groups{Key: "b"}, false, false},
		{"ICMP only", &model.Groups{Key: "b", Ingress: []model.GroupRule{rule(1, "", "0.0.0.0/0")}, Egress: []model.GroupRule{rule(1, "", "0.0.0.0/0")}}, true, false},
	} {
		b := guarded(t, &model.Groups{Open: true}, open).seen()
		b.goes("a question", "t1", asked, "b")
		b.goes("its answer", "b", answer, "t1#5001")
		b.goes("that the question cannot be had", "b", errorTo(asked), "t1#5001")
		b.goes("that the answer cannot be had", "t1", errorTo(answer), "b")
		b.goes("that what nobody sent cannot be had", "t1", errorTo(frame{src: macB, dst: macFar, f: between("10.0.0.2", "10.0.0.9", 17, 54, 1000)}), "")
		conns := b.conns
		b = guarded(t, &model.Groups{Open: true}, c.after).seen()
		b.conns = conns
		pass := func(yes bool, where string) string {
			if yes {
				return where
			}
			return ""
		}
		b.goes("with "+c.what+", a question", "t1", asked, pass(c.again, "b"))
		b.goes("with "+c.what+", that the question cannot be had", "b", errorTo(asked), pass(c.there, "t1#5001"))
		b.goes("with "+c.what+", that the answer cannot be had", "t1", errorTo(answer), pass(c.there, "b"))
		b.goes("with "+c.what+", its answer", "b", answer, pass(c.again, "t1#5001"))
	}
}

// TestManyPeersManyPorts: peers and ports add up, and let through what the rules
// say one by one.
func TestManyPeersManyPorts(t *testing.T) {
	g := &model.Groups{Key: "k", Open: true}
	var peers []string
	for i := range 1000 {
		peers = append(peers, fmt.Sprintf("10.1.%d.%d/32", i/250, i%250+1))
	}
	for i := range 20 {
		g.Ingress = append(g.Ingress, rule(6, fmt.Sprint(1000+2*i), peers...))
	}
	g.Ingress = append(g.Ingress, rule(17, "", peers[:3]...), rule(6, "999-1003", peers[5:9]...), rule(1, "", "10.0.0.0/8"))
	flows := firewall.Policy(g, 2).Rules
	if n := len(flows); n > 1050 {
		t.Errorf("%d flows", n)
	}
	b := bridgeOf(t, slices.Concat(pipeline.Host(), []resource.Flow{pipeline.Tunnel("vxlan", 4789, "t1")},
		pipeline.Open(vx, "b", 2), pipeline.Segment(vx, []string{"b"}, []string{"t1"}), firewall.Rules(), flows))
	b.learned[[2]uint64{pipeline.Identity(vx), macB}] = [2]uint64{b.port("b"), 0}
	for _, src := range []string{"10.1.0.1", "10.1.0.7", "10.1.3.250", "10.1.3.251", "10.2.0.1"} {
		for _, port := range []uint16{998, 999, 1000, 1001, 1003, 1004, 1038, 1039, 1040} {
			for _, proto := range []int{6, 17} {
				clear(b.conns)
				got := len(b.send("t1", frame{src: macFar, dst: macB, tun: 5001, f: between(src, "10.0.0.2", uint64(proto), 7, uint64(port))})) == 1
				if want := model.Allows(g.Ingress, netip.MustParseAddr(src), proto, port); got != want {
					t.Errorf("from %s protocol %d port %d: %v, want %v", src, proto, port, got, want)
				}
			}
		}
	}
	// One more member changes few rules.
	before, names := map[string]bool{}, map[int]string{}
	for i := range 20 {
		names[i] = g.Ingress[i].Name
	}
	for _, f := range flows {
		before[f.String()] = true
	}
	for i := range 20 {
		g.Ingress[i] = rule(6, fmt.Sprint(1000+2*i), append(slices.Clone(peers), "10.1.4.1/32")...)
		g.Ingress[i].Name = names[i]
	}
	fresh := 0
	for _, f := range firewall.Policy(g, 2).Rules {
		if !before[f.String()] {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d rules changed", fresh)
	}
}

func TestPoliciesAreStable(t *testing.T) {
	a, b := &model.Groups{Key: "a"}, &model.Groups{Key: "b"}
	one, two := pipeline.Policies([]*model.Groups{a}), pipeline.Policies([]*model.Groups{b, a})
	if one["a"] != two["a"] || two["a"] == two["b"] || len(slices.Collect(maps.Keys(two))) != 2 {
		t.Errorf("%v, %v", one, two)
	}
}

func v6(src string, more map[resource.FlowField]uint64) map[resource.FlowField]uint64 {
	f := map[resource.FlowField]uint64{resource.FieldEthType: 0x86dd}
	half := func(hi resource.FlowField, a string) {
		b := netip.MustParseAddr(a).As16()
		for i := range 16 {
			f[hi+resource.FlowField(i/8)] = f[hi+resource.FlowField(i/8)]<<8 | uint64(b[i])
		}
	}
	half(resource.FieldIP6SrcHi, src)
	maps.Copy(f, more)
	return f
}

func nd(src string, typ uint64, target string, option resource.FlowField, at uint64) map[resource.FlowField]uint64 {
	f := v6(src, map[resource.FlowField]uint64{resource.FieldIPProto: 58, resource.FieldICMPType: typ, resource.FieldICMPCode: 0})
	t := v6(target, nil)
	f[resource.FieldNDTargetHi], f[resource.FieldNDTargetLo] = t[resource.FieldIP6SrcHi], t[resource.FieldIP6SrcLo]
	if option != 0 {
		f[option] = at
	}
	return f
}

func TestWhatAGuestOwns(t *testing.T) {
	o := pipeline.Owned{
		MAC: mac(macA),
		IPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.0.0.11/32"), netip.MustParsePrefix("fd00::1/128")},
		More: []pipeline.Pair{
			{CIDR: netip.MustParsePrefix("10.0.0.128/25")}, {CIDR: netip.MustParsePrefix("10.0.0.1/32")},
			{CIDR: netip.MustParsePrefix("10.0.0.77/32"), MAC: mac(0x00005e000105)},
		},
	}
	rules := slices.Concat(pipeline.Host(), pipeline.Guest(vx, "a", o, 0), pipeline.Port(vx, "r"), pipeline.Segment(vx, []string{"a", "r"}, nil))
	linkLocal := mac(macA).LinkLocal().String()
	if linkLocal != "fe80::ff:fe00:1" {
		t.Errorf("link-local address %s", linkLocal)
	}
	sll, tll := resource.FieldNDSLL, resource.FieldNDTLL
	for _, c := range []struct {
		name string
		src  uint64
		f    map[resource.FlowField]uint64
		pass bool
	}{
		{"own", macA, ip("10.0.0.1"), true}, {"secondary", macA, ip("10.0.0.11"), true}, {"in an allowed range", macA, ip("10.0.0.200"), true},
		{"another's", macA, ip("10.0.0.2"), false}, {"with a virtual MAC", 0x00005e000105, ip("10.0.0.77"), true},
		{"own address with a virtual MAC", 0x00005e000105, ip("10.0.0.1"), false}, {"virtual address with the own MAC", macA, ip("10.0.0.77"), false},
		{"ARP of a virtual address", 0x00005e000105, arp(0x00005e000105, "10.0.0.77"), true},
		{"ARP of a virtual address from the own MAC", macA, arp(macA, "10.0.0.77"), false}, {"ARP of an allowed address", macA, arp(macA, "10.0.0.130"), true},
		{"ARP that names another MAC", macA, arp(macB, "10.0.0.1"), false},
		{"DHCP server with a virtual MAC", 0x00005e000105, ip("10.0.0.77", 17, 67, 68), false},
		{"own IPv6", macA, v6("fd00::1", nil), true}, {"another's IPv6", macA, v6("fd00::2", nil), false},
		{"link-local", macA, v6(linkLocal, nil), true}, {"another's link-local", macA, v6("fe80::1", nil), false},
		{"router advertisement", macA, v6(linkLocal, map[resource.FlowField]uint64{resource.FieldIPProto: 58, resource.FieldICMPType: 134}), false},
		{"redirect", macA, v6(linkLocal, map[resource.FlowField]uint64{resource.FieldIPProto: 58, resource.FieldICMPType: 137}), false},
		{"DHCPv6 server", macA, v6(linkLocal, map[resource.FlowField]uint64{resource.FieldIPProto: 17, resource.FieldTPSrc: 547, resource.FieldTPDst: 546}), false},
		{"DHCPv6 client", macA, v6(linkLocal, map[resource.FlowField]uint64{resource.FieldIPProto: 17, resource.FieldTPSrc: 546, resource.FieldTPDst: 547}), true},
		{"asks who has an address", macA, nd("fd00::1", 135, "fd00::2", sll, macA), true},
		{"asks in another's name", macA, nd("fd00::1", 135, "fd00::2", sll, macB), false},
		{"is told where", macA, nd("fd00::1", 136, "fd00::1", tll, macA), true},
		{"says it has another's address", macA, nd("fd00::1", 136, "fd00::2", tll, macA), false},
		{"gives another's MAC", macA, nd("fd00::1", 136, "fd00::1", tll, macB), false},
		{"says nothing of a MAC", macA, nd("fd00::1", 136, "fd00::1", tll, 0), true},
		{"probes its address", macA, nd("::", 135, "fd00::1", 0, 0), true}, {"probes another's", macA, nd("::", 135, "fd00::2", 0, 0), false},
		{"solicits routers", macA, v6("::", map[resource.FlowField]uint64{resource.FieldIPProto: 58, resource.FieldICMPType: 133}), true},
		{"anything else from nowhere", macA, v6("::", map[resource.FlowField]uint64{resource.FieldIPProto: 17, resource.FieldTPSrc: 1}), false},
	} {
		got := len(bridgeOf(t, rules).send("a", frame{src: c.src, dst: broadcast, f: c.f})) > 0
		if got != c.pass {
			t.Errorf("%s: leaves %v, want %v", c.name, got, c.pass)
		}
	}
	l2 := bridgeOf(t, slices.Concat(pipeline.Host(), pipeline.Guest(vx, "a", pipeline.Owned{MAC: mac(macA), Any: true}, 0), pipeline.Port(vx, "r"), pipeline.Segment(vx, []string{"a", "r"}, nil)))
	l2.goes("any address in an L2 network", "a", frame{src: macA, dst: broadcast, f: ip("192.0.2.1")}, "r")
	l2.goes("another MAC in an L2 network", "a", frame{src: macB, dst: broadcast, f: ip("192.0.2.1")}, "")
}
