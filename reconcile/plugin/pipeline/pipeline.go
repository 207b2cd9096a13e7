// Package pipeline is the OpenFlow pipeline of the integration bridge, as
// values: which rules a port, a segment and a host need.
//
// Network identity is metadata = fabric<<32 | vnet, so that classification
// costs rules per port, not per port and network, and no number is allocated
// per host. reg0 says where a frame comes from, reg2 the port it goes to, reg3
// where that port is. Tunnels and wires never feed tunnels or wires. Gurus and
// switches import it; it is pure.
package pipeline

import (
	"net/netip"
	"strconv"

	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// The tables.
const (
	TableClassify = 0
	TableSecurity = 10
	TableLearn    = 20
	TableGroup    = 25
	TableLearned  = 30 // written by the switch itself
	TableForward  = 40
	TableFlood    = 50
	TableDeliver  = 60
)

// The tables of networks with security groups, between TableSecurity and
// TableLearn, and behind TableDeliver: look the connection up, judge it, remember it.
const (
	TableFrom       = 12
	TableFromJudge  = 13
	TableFromCommit = 14
	TableTo         = 61
	TableToJudge    = 62
	TableToCommit   = 63
)

// Where a frame comes from (reg0) or a learned port is (reg3).
const (
	fromLocal  = 0
	fromTunnel = 1
	fromWire   = 2
)

const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeIPv6 = 0x86dd

	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58

	tagged = 0x1000 // the bit of vlan_tci that says there is a tag
)

// TunnelName is the name of the tunnel port of that type and UDP port towards
// remote.
func TunnelName(typ string, port int, remote netip.Addr) string {
	return resource.Short(15, "wt", typ, strconv.Itoa(port), remote.String())
}

// PatchName is the name of the patch port on the integration bridge that
// leads to the label bridge, and PatchPeer that of its other end.
func PatchName(label string) string { return resource.Short(15, "wi", label) }

// PatchPeer is the name of the patch port on the label bridge.
func PatchPeer(label string) string { return resource.Short(15, "wl", label) }

// Fabric is the upper half of a segment's identity. All tunnels of one
// encapsulation are one fabric, because hosts share their tunnel ports; every
// label of a zone is one.
func Fabric(s plugin.Segment) uint32 {
	if s.Label == "" {
		return uint32(resource.Digest("fabric", s.Scheme, strconv.Itoa(s.Port)))
	}
	return uint32(resource.Digest("fabric", "wire", s.Zone, s.Label))
}

// Identity is the metadata value of a segment.
func Identity(s plugin.Segment) uint64 { return uint64(Fabric(s))<<32 | uint64(s.VNet) }

func is(f resource.FlowField, v uint64) resource.Cond { return resource.Cond{Field: f, Value: v} }

func inPort(sym string) resource.Cond { return resource.Cond{Field: resource.FieldInPort, Sym: sym} }

func untagged() resource.Cond {
	return resource.Cond{Field: resource.FieldVLAN, Value: 0, Mask: tagged}
}

func set(f resource.FlowField, v uint64) resource.Act {
	return resource.Act{Op: resource.OpSet, Field: f, Value: v}
}

func goTo(t uint8) resource.Act { return resource.Act{Op: resource.OpGoto, Table: t} }

func flow(table uint8, priority uint16, match []resource.Cond, do ...resource.Act) resource.Flow {
	return resource.Flow{Table: table, Priority: priority, Match: match, Do: do}
}

type conds = []resource.Cond

// toLearn is what most rules do with a frame that may pass: states share it.
var toLearn = []resource.Act{goTo(TableLearn)}

// toFrom is what they do in networks with security groups.
var toFrom = []resource.Act{goTo(TableFrom)}

// Port returns the rules of a trusted local port of segment s, such as a
// router's: classification and delivery, no port security.
func Port(s plugin.Segment, sym string) []resource.Flow { return Open(s, sym, 0) }

// Open returns the rules of a port without port security, judged by policy unless
// that is 0.
func Open(s plugin.Segment, sym string, policy uint32) []resource.Flow {
	next := toLearn
	if policy != 0 {
		next = toFrom
	}
	out, room := attach(make([]resource.Flow, 0, 4), make(conds, 0, 5), s, sym, policy)
	return append(out, flow(TableSecurity, 100, append(room[len(room):], inPort(sym)), next...))
}

// attach adds to out the rules that give a port's frames their network and deliver
// what is for it; what they match is in room.
func attach(out []resource.Flow, room conds, s plugin.Segment, sym string, policy uint32) ([]resource.Flow, conds) {
	id, n := Identity(s), len(room)
	room = append(room, inPort(sym), untagged(), is(resource.FieldMetadata, id), resource.Cond{Field: resource.FieldReg2, Sym: sym})
	from, to := room[n:n+2:n+2], room[n+2:n+4:n+4]
	if policy == 0 {
		do := []resource.Act{set(resource.FieldMetadata, id), goTo(TableSecurity), {Op: resource.OpOutput, Sym: sym}}
		return append(out, flow(TableClassify, 100, from, do[:2:2]...), flow(TableDeliver, 100, to, do[2:]...)), room
	}
	return append(out,
		flow(TableClassify, 100, from, set(resource.FieldMetadata, id), set(resource.FieldReg5, uint64(policy)), goTo(TableSecurity)),
		flow(TableDeliver, 100, to, set(resource.FieldReg6, uint64(policy)), goTo(TableTo))), room
}

// Segment returns the rules that make s one broadcast domain on a host: learn
// who is where, flood what is for all among the local ports and, from local
// ports only, to the tunnels (symbols) or the wire.
func Segment(s plugin.Segment, ports, tunnels []string) []resource.Flow {
	id := is(resource.FieldMetadata, Identity(s))
	all := make([]resource.Act, 0, len(ports)+len(tunnels)+3)
	for _, p := range ports {
		all = append(all, resource.Act{Op: resource.OpDeliver, Sym: p, Table: TableDeliver})
	}
	local := all[:len(all):len(all)]
	switch {
	case s.Label == "":
		all = append(all, resource.Act{Op: resource.OpTunFromMeta})
		for _, t := range tunnels {
			all = append(all, resource.Act{Op: resource.OpOutput, Sym: t})
		}
	default:
		if s.VNet != 0 {
			all = append(all, resource.Act{Op: resource.OpPushVLAN}, resource.Act{Op: resource.OpVIDFromMeta})
		}
		all = append(all, resource.Act{Op: resource.OpOutput, Sym: resource.PortSym(PatchName(s.Label))})
	}
	match := conds{id, is(resource.FieldReg0, fromLocal)}
	return []resource.Flow{
		flow(TableLearn, 100, match[:1:1], resource.Act{Op: resource.OpLearn, Table: TableLearned}, goTo(TableGroup)),
		flow(TableFlood, 200, match, all...),
		flow(TableFlood, 100, match[:1:1], local...),
	}
}

// Host returns the rules that every host has, whatever its networks: group
// addresses are flooded, known ones forwarded, and what came from a tunnel or
// wire goes to local ports only.
func Host() []resource.Flow {
	group := resource.Cond{Field: resource.FieldEthDst, Value: 1 << 40, Mask: 1 << 40}
	outReg2 := resource.Act{Op: resource.OpOutReg2}
	local := is(resource.FieldReg0, fromLocal)
	return []resource.Flow{
		flow(TableGroup, 200, conds{group}, goTo(TableFlood)),
		flow(TableGroup, 100, nil, resource.Act{Op: resource.OpResubmit, Table: TableLearned}, goTo(TableForward)),
		flow(TableForward, 400, conds{is(resource.FieldReg2, 0)}, goTo(TableFlood)),
		flow(TableForward, 300, conds{is(resource.FieldReg3, fromLocal)}, goTo(TableDeliver)),
		flow(TableForward, 200, conds{local, is(resource.FieldReg3, fromTunnel)}, resource.Act{Op: resource.OpTunFromMeta}, outReg2),
		flow(TableForward, 200, conds{local, is(resource.FieldReg3, fromWire), {Field: resource.FieldMetadata, Value: 0, Mask: 0xffffffff}}, outReg2),
		flow(TableForward, 100, conds{local, is(resource.FieldReg3, fromWire)},
			resource.Act{Op: resource.OpPushVLAN}, resource.Act{Op: resource.OpVIDFromMeta}, outReg2),
	}
}

// Tunnel returns the rule that classifies what a tunnel port of that type
// and UDP port brings.
func Tunnel(typ string, port int, sym string) resource.Flow {
	id := Identity(plugin.Segment{Scheme: typ, Port: port})
	return flow(TableClassify, 100, conds{inPort(sym)},
		set(resource.FieldMetadata, id), resource.Act{Op: resource.OpMetaFromTun},
		set(resource.FieldReg0, fromTunnel), goTo(TableLearn))
}

// Wire returns the rules that classify what the patch from a label bridge
// brings: tagged frames by their VLAN, others as VLAN 0.
func Wire(zone, label string) []resource.Flow {
	id := Identity(plugin.Segment{Scheme: schema.SchemeVLAN, Label: label, Zone: zone})
	sym := resource.PortSym(PatchName(label))
	tag := resource.Cond{Field: resource.FieldVLAN, Value: tagged, Mask: tagged}
	return []resource.Flow{
		flow(TableClassify, 100, conds{inPort(sym), tag},
			set(resource.FieldMetadata, id), resource.Act{Op: resource.OpMetaFromVID}, resource.Act{Op: resource.OpPopVLAN},
			set(resource.FieldReg0, fromWire), goTo(TableLearn)),
		flow(TableClassify, 100, conds{inPort(sym), untagged()},
			set(resource.FieldMetadata, id), set(resource.FieldReg0, fromWire), goTo(TableLearn)),
	}
}
