package pipeline_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/plugin/pipeline"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// A frame is what the interpreter below understands of a packet.
type frame struct {
	src, dst uint64
	vid      int // 0 = untagged
	tun      uint64
	f        map[resource.FlowField]uint64 // further fields
	about    *frame                        // of an ICMP error: what could not be delivered
}

// A bridge interprets typed rules as Open vSwitch would, learning included.
type bridge struct {
	t       *testing.T
	rules   []resource.Flow
	ports   []string
	learned map[[2]uint64][2]uint64 // metadata, MAC -> reg2, reg3
	conns   map[tuple]*uint64       // marks of connections
	now     state
}

type state struct {
	frame
	in                     int
	meta                   uint64
	reg0, reg2, reg3, reg4 uint64
	reg5, reg6, conj       uint64
	ct, mark               uint64
	out                    []string
}

// A tuple names a connection by the packet that began it.
type tuple struct {
	zone                          uint16
	src, dst, proto, sport, dport uint64
}

func (b *bridge) tuple(zone uint16) (t, back tuple) {
	f := b.now.f
	if b.now.about != nil {
		f = b.now.about.f
	}
	t = tuple{zone, f[resource.FieldIPSrc], f[resource.FieldIPDst], f[resource.FieldIPProto], f[resource.FieldTPSrc], f[resource.FieldTPDst]}
	return t, tuple{zone, t.dst, t.src, t.proto, t.dport, t.sport}
}

// track looks the connection up and goes on.
func (b *bridge) track(a resource.Act) {
	kept := b.now
	t, back := b.tuple(a.Zone)
	b.now.ct, b.now.mark = resource.CTTracked|resource.CTNew, 0
	if m := b.conns[t]; m != nil {
		b.now.ct, b.now.mark = resource.CTTracked|resource.CTEst, *m
	} else if m := b.conns[back]; m != nil {
		b.now.ct, b.now.mark = resource.CTTracked|resource.CTEst|resource.CTReply, *m
	}
	if b.now.about != nil { // it goes against what it is about
		switch b.now.ct {
		case resource.CTTracked | resource.CTNew:
			b.now.ct = resource.CTTracked | resource.CTInvalid
		case resource.CTTracked | resource.CTEst:
			b.now.ct = resource.CTTracked | resource.CTRelated | resource.CTReply
		default:
			b.now.ct = resource.CTTracked | resource.CTRelated
		}
	}
	b.table(a.Table)
	kept.out = b.now.out
	b.now = kept
}

func (b *bridge) commit(a resource.Act) {
	t, back := b.tuple(a.Zone)
	m := b.conns[t]
	if m == nil {
		m = b.conns[back]
	}
	if m == nil {
		m = new(uint64)
		b.conns[t] = m
	}
	*m = *m&^uint64(a.Mask) | a.Value
}

func (b *bridge) port(sym string) uint64 {
	i := slices.Index(b.ports, sym)
	if i < 0 {
		b.ports = append(b.ports, sym)
		i = len(b.ports) - 1
	}
	return uint64(i + 1)
}

// send returns where a frame that comes in at sym goes: "port", "port/vid" or
// "port#key", sorted.
func (b *bridge) send(sym string, f frame) []string {
	b.now = state{frame: f, in: int(b.port(sym))}
	b.table(pipeline.TableClassify)
	slices.Sort(b.now.out)
	return b.now.out
}

func (b *bridge) value(f resource.FlowField) uint64 {
	switch f {
	case resource.FieldMetadata:
		return b.now.meta
	case resource.FieldReg0:
		return b.now.reg0
	case resource.FieldReg2:
		return b.now.reg2
	case resource.FieldReg3:
		return b.now.reg3
	case resource.FieldReg5:
		return b.now.reg5
	case resource.FieldReg6:
		return b.now.reg6
	case resource.FieldConjID:
		return b.now.conj
	case resource.FieldCTState:
		return b.now.ct
	case resource.FieldReg4:
		return b.now.reg4
	case resource.FieldCTMark:
		return b.now.mark
	case resource.FieldEthSrc:
		return b.now.src
	case resource.FieldEthDst:
		return b.now.dst
	case resource.FieldVLAN:
		if b.now.vid > 0 {
			return uint64(b.now.vid) | 0x1000
		}
		return 0
	}
	if f == resource.FieldNDSLL || f == resource.FieldNDTLL {
		return b.now.f[f] // what is not there is 0
	}
	v, ok := b.now.f[f]
	if !ok {
		return 1<<64 - 1
	}
	return v
}

func (b *bridge) matches(r resource.Flow) bool {
	for _, c := range r.Match {
		want, mask := c.Value, c.Mask
		if mask == 0 {
			mask = 1<<64 - 1
		}
		if c.Sym != "" {
			want = b.port(c.Sym)
		}
		got := uint64(b.now.in)
		if c.Field != resource.FieldInPort {
			got = b.value(c.Field)
		}
		if got&mask != want&mask {
			return false
		}
	}
	return true
}

func (b *bridge) table(t uint8) {
	if t == pipeline.TableLearned {
		if v, ok := b.learned[[2]uint64{b.now.meta, b.now.dst}]; ok {
			b.now.reg2, b.now.reg3 = v[0], v[1]
		}
		return
	}
	best := -1
	clauses := map[[2]uint64]map[uint8]bool{} // of conjunctions, by priority and id
	for i, r := range b.rules {
		if r.Table != t || !b.matches(r) {
			continue
		}
		if len(r.Do) > 0 && r.Do[0].Op == resource.OpConj {
			for _, a := range r.Do {
				k := [2]uint64{uint64(r.Priority), a.Value}
				if clauses[k] == nil {
					clauses[k] = map[uint8]bool{}
				}
				clauses[k][a.Table] = true
			}
			continue
		}
		if best < 0 || r.Priority > b.rules[best].Priority {
			best = i
		}
	}
	for k, got := range clauses {
		if len(got) == 2 && b.now.conj == 0 && (best < 0 || uint64(b.rules[best].Priority) < k[0]) {
			b.now.conj = k[1]
			b.table(t)
			b.now.conj = 0
			return
		}
	}
	if best >= 0 {
		for _, a := range b.rules[best].Do {
			b.do(a)
		}
	}
}

func (b *bridge) output(p uint64) {
	if int(p) == b.now.in || p == 0 {
		return // a switch does not send a frame back where it came from
	}
	s := b.ports[p-1]
	if b.now.vid > 0 {
		s += fmt.Sprintf("/%d", b.now.vid)
	}
	if b.now.tun > 0 {
		s += fmt.Sprintf("#%d", b.now.tun)
	}
	b.now.out = append(b.now.out, s)
}

func (b *bridge) do(a resource.Act) {
	switch a.Op {
	case resource.OpOutput:
		b.output(b.port(a.Sym))
	case resource.OpOutReg2:
		b.output(b.now.reg2)
	case resource.OpSet:
		switch a.Field {
		case resource.FieldMetadata:
			b.now.meta = a.Value
		case resource.FieldReg0:
			b.now.reg0 = a.Value
		case resource.FieldReg4:
			b.now.reg4 = a.Value
		case resource.FieldVLAN:
			b.now.vid = int(a.Value & 0xfff)
		case resource.FieldReg5:
			b.now.reg5 = a.Value
		case resource.FieldReg6:
			b.now.reg6 = a.Value
		default:
			b.t.Fatalf("set %v", a.Field)
		}
	case resource.OpDeliver:
		kept := b.now.reg2
		b.now.reg2 = b.port(a.Sym)
		b.table(a.Table)
		b.now.reg2 = kept
	case resource.OpCT:
		b.track(a)
	case resource.OpCTCommit:
		b.commit(a)
	case resource.OpGoto, resource.OpResubmit:
		b.table(a.Table)
	case resource.OpPopVLAN:
		b.now.vid = 0
	case resource.OpPushVLAN:
	case resource.OpTunFromMeta:
		b.now.tun = b.now.meta & 0xffffffff
	case resource.OpMetaFromTun:
		b.now.meta = b.now.meta&^0xffffffff | b.now.tun
		b.now.tun = 0
	case resource.OpMetaFromVID:
		b.now.meta = b.now.meta&^0xffffffff | uint64(b.now.vid)
	case resource.OpVIDFromMeta:
		b.now.vid = int(b.now.meta & 0xfff)
	case resource.OpLearn:
		b.learned[[2]uint64{b.now.meta, b.now.src}] = [2]uint64{uint64(b.now.in), b.now.reg0}
	default:
		b.t.Fatalf("action %v", a)
	}
}

const (
	broadcast = 0xffffffffffff
	macA      = 0x020000000001
	macB      = 0x020000000002
	macFar    = 0x020000000009
)

var (
	ipA    = netip.MustParseAddr("10.0.0.1")
	vx     = plugin.Segment{Scheme: "vxlan", VNet: 5001, Port: 4789, Zone: "z"}
	vlan   = plugin.Segment{Scheme: "vlan", VNet: 100, Label: "cloudbr1", Zone: "z"}
	native = plugin.Segment{Scheme: "vlan", Label: "cloudbr1", Zone: "z"}
)

func mac(v uint64) (m schema.MAC) {
	for i := range m {
		m[i] = byte(v >> (40 - 8*i))
	}
	return m
}

// world is a host with two networks over VXLAN and one VLAN, two remote hosts,
// and a router on the untagged wire.
func world(t *testing.T) *bridge {
	t.Helper()
	other := vx
	other.VNet = 5002
	return bridgeOf(t, slices.Concat(
		pipeline.Host(), pipeline.Wire("z", "cloudbr1"),
		[]resource.Flow{pipeline.Tunnel("vxlan", 4789, "t1"), pipeline.Tunnel("vxlan", 4789, "t2")},
		pipeline.Guest(vx, "a", pipeline.Owned{MAC: mac(macA), IPs: []netip.Prefix{netip.PrefixFrom(ipA, 32)}}, 0), pipeline.Port(vx, "r"), pipeline.Segment(vx, []string{"a", "r"}, []string{"t1"}),
		pipeline.Port(other, "o"), pipeline.Segment(other, []string{"o"}, []string{"t1", "t2"}),
		pipeline.Port(vlan, "v"), pipeline.Port(vlan, "w"), pipeline.Segment(vlan, []string{"v", "w"}, nil),
		pipeline.Port(native, "p"), pipeline.Segment(native, []string{"p"}, nil),
	))
}

func bridgeOf(t *testing.T, rules []resource.Flow) *bridge {
	t.Helper()
	seen := map[string]bool{}
	for _, r := range rules {
		key := fmt.Sprint(r.Table, r.Priority, r.Match)
		if seen[key] {
			t.Errorf("two rules match alike: %s", r)
		}
		seen[key] = true
	}
	return &bridge{t: t, rules: rules, learned: map[[2]uint64][2]uint64{}, conns: map[tuple]*uint64{}}
}

func ip(src string, more ...uint64) map[resource.FlowField]uint64 {
	a := netip.MustParseAddr(src).As4()
	f := map[resource.FlowField]uint64{
		resource.FieldEthType: 0x800,
		resource.FieldIPSrc:   uint64(a[0])<<24 | uint64(a[1])<<16 | uint64(a[2])<<8 | uint64(a[3]),
	}
	if len(more) == 3 {
		f[resource.FieldIPProto], f[resource.FieldTPSrc], f[resource.FieldTPDst] = more[0], more[1], more[2]
	}
	return f
}

func arp(sha uint64, spa string) map[resource.FlowField]uint64 {
	f := ip(spa)
	f[resource.FieldEthType] = 0x806
	f[resource.FieldARPSPA] = f[resource.FieldIPSrc]
	f[resource.FieldARPSHA] = sha
	f[resource.FieldARPOp] = 1
	return f
}

func TestPipeline(t *testing.T) {
	patch := resource.PortSym(pipeline.PatchName("cloudbr1"))
	for _, c := range []struct {
		name   string
		before []func(*bridge)
		in     string
		frame  frame
		want   string
	}{
		{"broadcast reaches the network's ports and hosts only", nil, "r", frame{src: macB, dst: broadcast}, "a t1#5001"},
		{"broadcast from a tunnel feeds no tunnel", nil, "t1", frame{src: macFar, dst: broadcast, tun: 5001}, "a r"},
		{"a key of no network is dropped", nil, "t1", frame{src: macFar, dst: broadcast, tun: 6000}, ""},
		{"unknown unicast floods", nil, "r", frame{src: macB, dst: macFar}, "a t1#5001"},
		{"VLAN broadcast is tagged on the wire", nil, "v", frame{src: macA, dst: broadcast}, patch + "/100 w"},
		{"from the wire to local ports only", nil, patch, frame{src: macFar, dst: broadcast, vid: 100}, "v w"},
		{"a VLAN of no network is dropped", nil, patch, frame{src: macFar, dst: broadcast, vid: 101}, ""},
		{"untagged wire", nil, "p", frame{src: macA, dst: broadcast}, patch},
		{"from the untagged wire", nil, patch, frame{src: macFar, dst: broadcast}, "p"},
		{"tagged frames of a guest are dropped", nil, "v", frame{src: macA, dst: broadcast, vid: 5}, ""},
		{"known unicast goes to one tunnel", learn("t1", frame{src: macFar, dst: broadcast, tun: 5001}), "r", frame{src: macB, dst: macFar}, "t1#5001"},
		{"known unicast goes to the tagged wire", learn(patch, frame{src: macFar, dst: broadcast, vid: 100}), "v", frame{src: macA, dst: macFar}, patch + "/100"},
		{"known unicast goes to the untagged wire", learn(patch, frame{src: macFar, dst: broadcast}), "p", frame{src: macA, dst: macFar}, patch},
		{"what was learned in one network says nothing of another", learn("t1", frame{src: macFar, dst: broadcast, tun: 5001}), "o", frame{src: macA, dst: macFar}, "t1#5002 t2#5002"},
		{"a known port behind a tunnel gets nothing from a tunnel", learn("t1", frame{src: macFar, dst: broadcast, tun: 5002}), "t2", frame{src: macB, dst: macFar, tun: 5002}, ""},
		{"local unicast", learn("w", frame{src: macB, dst: broadcast}), "v", frame{src: macA, dst: macB}, "w"},
		{"own address", nil, "a", frame{src: macA, dst: broadcast, f: ip("10.0.0.1")}, "r t1#5001"},
		{"spoofed address", nil, "a", frame{src: macA, dst: broadcast, f: ip("10.0.0.2")}, ""},
		{"spoofed MAC", nil, "a", frame{src: macB, dst: broadcast, f: ip("10.0.0.1")}, ""},
		{"own ARP", nil, "a", frame{src: macA, dst: broadcast, f: arp(macA, "10.0.0.1")}, "r t1#5001"},
		{"ARP probe", nil, "a", frame{src: macA, dst: broadcast, f: arp(macA, "0.0.0.0")}, "r t1#5001"},
		{"ARP for another's address", nil, "a", frame{src: macA, dst: broadcast, f: arp(macA, "10.0.0.2")}, ""},
		{"ARP with another's MAC", nil, "a", frame{src: macA, dst: broadcast, f: arp(macB, "10.0.0.1")}, ""},
		{"asks for DHCP", nil, "a", frame{src: macA, dst: broadcast, f: ip("0.0.0.0", 17, 68, 67)}, "r t1#5001"},
		{"no DHCP server", nil, "a", frame{src: macA, dst: broadcast, f: ip("10.0.0.1", 17, 67, 68)}, ""},
		{"nothing else from 0.0.0.0", nil, "a", frame{src: macA, dst: broadcast, f: ip("0.0.0.0", 17, 1, 53)}, ""},
		{"IPv6 of an IPv4 guest", nil, "a", frame{src: macA, dst: broadcast, f: map[resource.FlowField]uint64{resource.FieldEthType: 0x86dd}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := world(t)
			for _, f := range c.before {
				f(b)
			}
			if got := strings.Join(b.send(c.in, c.frame), " "); got != c.want {
				t.Errorf("goes to %q, want %q", got, c.want)
			}
		})
	}
}

func learn(in string, f frame) []func(*bridge) {
	return []func(*bridge){func(b *bridge) { b.send(in, f) }}
}

func TestNamesFitAnInterface(t *testing.T) {
	for _, n := range []string{
		pipeline.TunnelName("geneve", 6081, netip.MustParseAddr("192.168.150.211")),
		pipeline.TunnelName("vxlan", 4789, netip.MustParseAddr("fd00::1")),
		pipeline.PatchName("cloudbr-long-15"), pipeline.PatchPeer("cloudbr-long-15"),
	} {
		if len(n) > 15 {
			t.Errorf("%q is longer than an interface name", n)
		}
	}
}
