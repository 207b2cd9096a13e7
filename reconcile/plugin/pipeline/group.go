package pipeline

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// Bits of a connection's mark: the last packet in the direction that it began in
// was let out by its sender's groups, or in by its receiver's. Answers pass for
// that alone; packets in that direction are judged anew each time, so a rule that
// goes ends what it allowed. One switch may hold both ends of a connection, and
// each judges for itself: hence two bits. An ICMP error has the mark of the connection
// that it is about, and passes with it: as an answer where it is about a packet of
// the first direction. Let pass by a rule about ICMP, it marks nothing.
const (
	letOut = 1
	letIn  = 2
)

// A Firewall is what a network with security groups has on a host beside its ports.
type Firewall struct {
	Segment plugin.Segment
	Zone    uint16 // of connection tracking
	// Local are the network's addresses: DHCP is answered from there only.
	Local []netip.Prefix
	// Resolvers may be asked whatever the groups say, as with CloudStack.
	Resolvers []netip.Addr
	IPv6      bool
}

var (
	tracked  = state(resource.CTTracked, resource.CTTracked)
	answer   = state(resource.CTTracked|resource.CTReply, resource.CTTracked|resource.CTReply)
	question = state(resource.CTTracked, resource.CTTracked|resource.CTReply)
	related  = state(resource.CTTracked|resource.CTRelated, resource.CTTracked|resource.CTRelated|resource.CTReply)
	invalid  = state(resource.CTTracked|resource.CTInvalid, resource.CTTracked|resource.CTInvalid)
)

func state(value, mask uint64) resource.Cond {
	return resource.Cond{Field: resource.FieldCTState, Value: value, Mask: mask}
}

func marked(bit uint64) resource.Cond {
	return resource.Cond{Field: resource.FieldCTMark, Value: bit, Mask: bit}
}

// side is one of the two ways through a firewall.
type side struct {
	track, judge, commit uint8
	policy               resource.FlowField
	// own is the bit that this side's verdict sets, other the one that lets answers pass.
	own, other uint64
	peer       [2]resource.FlowField // IPv4, upper half of IPv6
	pass       resource.Act
}

var (
	from = side{TableFrom, TableFromJudge, TableFromCommit, resource.FieldReg5, letOut, letIn,
		[2]resource.FlowField{resource.FieldIPDst, resource.FieldIP6DstHi}, goTo(TableLearn)}
	to = side{TableTo, TableToJudge, TableToCommit, resource.FieldReg6, letIn, letOut,
		[2]resource.FlowField{resource.FieldIPSrc, resource.FieldIP6SrcHi}, resource.Act{Op: resource.OpOutReg2}}
)

// Rules returns the rules that all NICs of the network share on a host.
func (f *Firewall) Rules() []resource.Flow {
	var out []resource.Flow
	id := is(resource.FieldMetadata, Identity(f.Segment))
	on := func(more ...resource.Cond) conds { return append(conds{id}, more...) }
	for _, s := range []*side{&from, &to} {
		out = append(out, flow(s.track, 50, on(isARP), s.pass))
		for _, ip := range f.families() {
			// Seen by the sender's side already: there is one zone for both.
			if s == &to {
				out = append(out, flow(s.track, 200, on(ip, tracked), goTo(s.judge)))
			}
			out = append(out,
				flow(s.track, 100, on(ip), resource.Act{Op: resource.OpCT, Zone: f.Zone, Table: s.judge}),
				flow(s.judge, 20, on(ip, question, marked(s.own)), f.remember(0, s.own)),
				flow(s.commit, 100, on(ip), f.remember(s.own, s.own), s.pass))
		}
		out = append(out,
			flow(s.judge, 1000, on(invalid)),
			flow(s.judge, 900, on(answer, marked(s.other)), s.pass),
			flow(s.judge, 800, on(related, marked(s.own)), s.pass),
			flow(s.commit, 300, on(answer), s.pass),
			flow(s.commit, 250, on(related), s.pass),
			flow(s.commit, 200, on(marked(s.own)), s.pass))
	}
	return append(out, f.always(on)...)
}

func (f *Firewall) families() []resource.Cond {
	if f.IPv6 {
		return []resource.Cond{isIP, isIPv6}
	}
	return []resource.Cond{isIP}
}

func (f *Firewall) remember(value, mask uint64) resource.Act {
	return resource.Act{Op: resource.OpCTCommit, Zone: f.Zone, Value: value, Mask: uint32(mask)}
}

// always is what passes whatever the groups say: how a guest gets its addresses,
// its neighbours and its names.
func (f *Firewall) always(on func(...resource.Cond) conds) []resource.Flow {
	ports := func(src, dst uint64) []resource.Cond {
		return []resource.Cond{isUDP, is(resource.FieldTPSrc, src), is(resource.FieldTPDst, dst)}
	}
	out := []resource.Flow{flow(TableFrom, 300, on(append(ports(68, 67), isIP)...), from.pass)}
	for _, p := range f.Local {
		if p.Addr().Is4() {
			out = append(out, flow(TableTo, 300, on(ip4(resource.FieldIPSrc, p, append(ports(67, 68), isIP)...)...), to.pass))
		}
	}
	for _, a := range f.Resolvers {
		for _, proto := range []uint64{protoTCP, protoUDP} {
			c := on(is(resource.FieldIPProto, proto), is(resource.FieldTPDst, 53))
			if a.Is4() {
				c = ip4(resource.FieldIPDst, netip.PrefixFrom(a, 32), append(c, isIP)...)
			} else {
				c = append(append(c, isIPv6), ip6(resource.FieldIP6DstHi, netip.PrefixFrom(a, 128))...)
			}
			out = append(out, flow(TableFromJudge, 700, c, goTo(TableFromCommit)))
		}
	}
	if !f.IPv6 {
		return out
	}
	linkLocal := ip6(resource.FieldIP6SrcHi, netip.MustParsePrefix("fe80::/10"))
	out = append(out,
		flow(TableFrom, 300, on(append(ports(546, 547), isIPv6)...), from.pass),
		flow(TableTo, 300, on(append(append(ports(547, 546), isIPv6), linkLocal...)...), to.pass))
	for _, t := range []uint64{typeSolicit, typeNeighbour, typeNeighbourA, typeMLDReport, typeMLDDone, typeMLDv2} {
		out = append(out, flow(TableFrom, 300, on(icmp6(t)...), from.pass))
	}
	for _, t := range []uint64{typeAdvertise, typeNeighbour, typeNeighbourA, typeMLDQuery} {
		out = append(out, flow(TableTo, 300, on(icmp6(t)...), to.pass))
	}
	return out
}

// Policies numbers what groups decide in a network: by their keys, each as it would be
// without the others as far as two do not clash. 0 is none of them.
func Policies(groups []*model.Groups) map[string]uint32 {
	var keys []string
	for _, g := range groups {
		keys = append(keys, g.Key)
	}
	slices.Sort(keys)
	out := map[string]uint32{}
	numbers := numbers{}
	for _, k := range slices.Compact(keys) {
		out[k] = numbers.of("policy", k)
	}
	return out
}

// numbers are taken by digest, the next one where that is taken.
type numbers map[uint32]bool

func (t numbers) of(parts ...string) uint32 {
	n := uint32(resource.Digest(parts...))
	for n == 0 || t[n] {
		n++
	}
	t[n] = true
	return n
}

// Policy returns the rules of NICs whose groups are g and have that number, and who
// wrote each.
func (f *Firewall) Policy(g *model.Groups, number uint32) resource.Flows {
	var out resource.Flows
	id := is(resource.FieldMetadata, Identity(f.Segment))
	taken := numbers{}
	for _, s := range []*side{&from, &to} {
		head := conds{id, is(s.policy, uint64(number))}
		rules := g.Ingress
		if s == &from {
			rules = g.Egress
			if g.Open {
				out.Rules = append(out.Rules, flow(s.judge, 100, head, goTo(s.commit)))
				continue
			}
		}
		for i, ip := range f.families() {
			w := writer{side: s, head: append(slices.Clip(head), ip), v4: i == 0, at: map[string]int{}, out: &out}
			w.rules(rules, func(name string) uint32 {
				return taken.of("conjunction", g.Key, strconv.Itoa(int(s.judge)), strconv.Itoa(i), name)
			})
		}
	}
	return out
}

// A writer turns the rules of one side and family into flows.
type writer struct {
	side *side
	head conds
	v4   bool
	out  *resource.Flows
	at   map[string]int // flows by what they match
}

// A service is what one rule lets through, whoever the other end is.
type service struct {
	match conds
	by    schema.Pos
}

// The priorities of what lets pass. Those of conjunctions have their own: the
// switch does not say which of two equal ones wins.
const (
	passPriority = 300
	conjPriority = 200
)

// rules writes rules by whom they name. Where many peers and many services meet,
// they are the two clauses of a conjunction, so that they add up and do not
// multiply.
func (w *writer) rules(rules []model.GroupRule, number func(name string) uint32) {
	for len(rules) > 0 {
		first := &rules[0]
		peers := first.Of(w.v4)
		var rest []model.GroupRule
		var services []service
		for i := range rules {
			r := &rules[i]
			if own := r.Of(w.v4); slices.Equal(own, peers) && len(own) > 0 {
				services = append(services, w.services(r)...)
			} else if len(own) > 0 {
				rest = append(rest, *r)
			}
		}
		ends := w.ends(peers)
		if len(ends)*len(services) <= len(ends)+len(services)+1 {
			for _, e := range ends {
				for _, s := range services {
					w.put(passPriority, slices.Concat(w.head, e, s.match), s.by, goTo(w.side.commit))
				}
			}
		} else {
			id := uint64(number(first.Name))
			for _, e := range ends {
				w.clause(service{e, first.Pos}, id, 1)
			}
			for _, s := range services {
				w.clause(s, id, 2)
			}
			w.put(conjPriority, append(slices.Clone(w.head), is(resource.FieldConjID, id)), first.Pos, goTo(w.side.commit))
		}
		rules = rest
	}
}

func (w *writer) clause(s service, id uint64, k uint8) {
	w.put(conjPriority, slices.Concat(w.head, s.match), s.by, resource.Act{Op: resource.OpConj, Value: id, Table: k, Mask: 2})
}

// put adds a rule, or its action to the one that matches alike.
func (w *writer) put(priority uint16, match conds, by schema.Pos, act resource.Act) {
	key := binary.BigEndian.AppendUint16(nil, priority)
	for _, c := range match {
		key = append(key, byte(c.Field))
		key = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(key, c.Value), c.Mask)
	}
	if i, ok := w.at[string(key)]; ok {
		if r := &w.out.Rules[i]; !slices.Contains(r.Do, act) {
			r.Do = append(r.Do, act)
		}
		return
	}
	w.at[string(key)] = len(w.out.Rules)
	w.out.Write(resource.Author{Pos: by}, flow(w.side.judge, priority, match, act))
}

func (w *writer) ends(peers []netip.Prefix) []conds {
	out := make([]conds, 0, len(peers))
	for _, p := range peers {
		if w.v4 {
			out = append(out, ip4(w.side.peer[0], p))
		} else {
			out = append(out, ip6(w.side.peer[1], p))
		}
	}
	return out
}

// services lists what matches the protocol and the ports of r.
func (w *writer) services(r *model.GroupRule) []service {
	if r.Proto == model.AllProtocols {
		return []service{{by: r.Pos}}
	}
	proto := conds{is(resource.FieldIPProto, uint64(r.Proto))}
	if r.ICMPType != model.AllTypes {
		proto = append(proto, is(resource.FieldICMPType, uint64(r.ICMPType)))
		if r.ICMPCode != model.AllTypes {
			proto = append(proto, is(resource.FieldICMPCode, uint64(r.ICMPCode)))
		}
	}
	var out []service
	for _, ports := range r.Ports {
		for _, c := range portMasks(ports) {
			out = append(out, service{append(slices.Clone(proto), c), r.Pos})
		}
	}
	if len(r.Ports) == 0 {
		out = []service{{proto, r.Pos}}
	}
	return out
}

// portMasks covers a range of destination ports by the fewest masked values.
func portMasks(r schema.PortRange) []resource.Cond {
	var out []resource.Cond
	for lo, end := uint32(r.From), uint32(r.To)+1; lo < end; {
		size := uint32(1)
		for lo&(2*size-1) == 0 && lo+2*size <= end && size < 1<<15 {
			size *= 2
		}
		c := is(resource.FieldTPDst, uint64(lo))
		if size > 1 {
			c.Mask = uint64(0x10000 - size)
		}
		out = append(out, c)
		lo += size
	}
	return out
}
