package resource

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Flows is the part of a bridge's flow tables that one owner asked for. It is
// one unit: written as one OpenFlow bundle under one cookie.
type Flows struct {
	Bridge string `json:"bridge"`
	Owner  Owner  `json:"owner"`
	// Rules in any order; each (table, priority, match) at most once.
	Rules []Flow `json:"rules"`
	// Ports are the ovs.port, ovs.tunnel and ovs.bridge that the rules name.
	Ports []ID `json:"ports,omitempty"`
	// Authors are whom rules name as theirs; see Write.
	Authors []Author `json:"authors,omitempty"`
}

// Cookie is the 48 bits of a flow cookie that name owner; the 16 above them
// name the instance.
func Cookie(owner Owner) uint64 { return Digest("cookie", string(owner)) & (1<<48 - 1) }

// ID implements State. The name holds the cookie, because that is what a
// switch gives back.
func (f Flows) ID() ID { return FlowsID(f.Bridge, f.Owner) }

// FlowsID is the ID of owner's flows on bridge.
func FlowsID(bridge string, owner Owner) ID {
	return ID{KindFlows, fmt.Sprintf("%s/%012x", bridge, Cookie(owner))}
}

// Parent implements Contained.
func (f Flows) Parent() ID { return ID{KindBridge, f.Bridge} }

// Needs implements State.
func (f Flows) Needs() []ID { return f.Ports }

// Symbols lists the ports that the rules name, each once, in no order.
func (f Flows) Symbols() []string {
	seen := map[string]bool{}
	for i := range f.Rules {
		for _, c := range f.Rules[i].Match {
			seen[c.Sym] = true
		}
		for _, a := range f.Rules[i].Do {
			seen[a.Sym] = true
		}
	}
	delete(seen, "")
	return slices.Collect(maps.Keys(seen))
}

// Fingerprint implements State.
func (f Flows) Fingerprint() uint64 {
	h := newHash(string(KindFlows)).str(f.Bridge).str(string(f.Owner)).num(uint64(len(f.Rules)))
	for i := range f.Rules {
		r := &f.Rules[i]
		h.num(uint64(r.Table)<<16 | uint64(r.Priority)).num(uint64(len(r.Match)))
		for _, c := range r.Match {
			h.num(uint64(c.Field)).num(c.Value).num(c.Mask).str(c.Sym)
		}
		h.num(uint64(len(r.Do)))
		for _, a := range r.Do {
			h.num(uint64(a.Op)).num(uint64(a.Field)).num(a.Value).num(uint64(a.Table)).str(a.Sym)
			if a.Zone != 0 || a.Mask != 0 {
				h.num(uint64(a.Zone)<<32 | uint64(a.Mask))
			}
		}
	}
	return h.sum()
}

// Fields implements State.
func (f Flows) Fields() []Field {
	lines := make([]string, len(f.Rules))
	for i, r := range f.Rules {
		lines[i] = r.String()
	}
	return []Field{{Name: "flows", Value: strings.Join(lines, "\n"), Lines: true}}
}

// A Flow is one OpenFlow rule. Drivers render it; nobody parses text.
type Flow struct {
	Table    uint8  `json:"t"`
	Priority uint16 `json:"p"`
	By       uint32 `json:"b,omitempty"` // 1 for the first of Flows.Authors, 0 for who asked for all
	Match    []Cond `json:"m,omitempty"`
	Do       []Act  `json:"a,omitempty"` // empty = drop
}

// A FlowField names a packet or pipeline field.
type FlowField uint8

// The fields. Values are right-aligned in 64 bits.
const (
	FieldNone     FlowField = iota
	FieldInPort             // Sym only
	FieldMetadata           // fabric<<32 | vnet
	FieldTunID
	FieldReg0 // where from: 0 local, 1 tunnel, 2 wire
	FieldReg2 // out port; Sym allowed
	FieldReg3 // where to, as reg0
	FieldEthSrc
	FieldEthDst
	FieldEthType
	FieldVLAN // VLAN id; matching 0 with mask 0x1000 is "untagged"
	FieldIPProto
	FieldIPSrc
	FieldIPDst
	FieldARPOp
	FieldARPSPA
	FieldARPTPA
	FieldARPSHA
	FieldTPSrc // TCP or UDP source port: match FieldIPProto too
	FieldTPDst
	FieldICMPType
	FieldIP6SrcHi // the upper 64 bits of an IPv6 address
	FieldIP6SrcLo
	FieldNDTargetHi
	FieldNDTargetLo
	FieldIP6DstHi
	FieldIP6DstLo
	FieldNDSLL    // the sender's MAC in a neighbour solicitation; match FieldICMPType and FieldICMPCode too
	FieldNDTLL    // the owner's MAC in a neighbour advertisement; likewise
	FieldICMPCode // match FieldICMPType too
	FieldReg5     // groups of the sending NIC, 0 = none
	FieldReg6     // groups of the receiving NIC
	FieldCTState  // the CT constants; of the last OpCT
	FieldCTMark   // of the connection
	FieldConjID   // all clauses of OpConj with that id matched
	FieldReg4     // secondary VLAN that a frame of a private VLAN is of, 0 = the primary
)

// The bits of FieldCTState, as OpenFlow has them.
const (
	CTNew     = 0x01
	CTEst     = 0x02
	CTRelated = 0x04
	CTReply   = 0x08 // against the direction that the connection began in
	CTInvalid = 0x10
	CTTracked = 0x20
)

// A Cond matches one field. Mask 0 means exact.
type Cond struct {
	Field FlowField `json:"f"`
	Value uint64    `json:"v,omitempty"`
	Mask  uint64    `json:"k,omitempty"`
	// Sym names a port instead of a value; see PortSym and NICSym.
	Sym string `json:"s,omitempty"`
}

// An Op is what an action does.
type Op uint8

// The operations.
const (
	OpNone     Op = iota
	OpOutput      // to Sym
	OpOutReg2     // to the port in reg2
	OpSet         // Field = Value, or the number of port Sym
	OpGoto        // Table
	OpResubmit    // (,Table), and come back
	OpPopVLAN
	OpPushVLAN
	OpTunFromMeta // tun_id = metadata[0..31]
	OpMetaFromTun // metadata[0..31] = tun_id
	OpMetaFromVID // metadata[0..11] = vlan id; bits 12..31 = 0
	OpVIDFromMeta // vlan id = metadata[0..11], on a frame that has a tag
	OpLearn       // learn the sender into Table, as reference/lab-notes 11 states; cookie of the owner
	OpARPReply    // answer: Value is the MAC, Field is unused; target address is the one asked for
	OpDeliver     // reg2 = number of port Sym, then resubmit(,Table)
	OpCT          // look the packet's connection up in Zone, and go on at Table; match FieldEthType too
	OpCTCommit    // remember the connection in Zone, with the bits Mask of its mark as in Value; likewise
	OpConj        // the rule is clause Table, from 1, of the Mask clauses of conjunction Value
	OpLimit       // drop what is beyond Value Mbit/s; what all rules of the owner pass that limit Sym with the same Table counts together; first in its rule
)

// An Act is one action of a Flow. An OpOutput or OpDeliver whose Sym is unbound
// is left out of the rule; any other unbound Sym leaves the whole rule out.
type Act struct {
	Op    Op        `json:"o"`
	Field FlowField `json:"f,omitempty"`
	Value uint64    `json:"v,omitempty"`
	Table uint8     `json:"t,omitempty"`
	Zone  uint16    `json:"z,omitempty"` // of connection tracking
	Mask  uint32    `json:"k,omitempty"`
	Sym   string    `json:"s,omitempty"`
}

// PortSym names an ovs.port, ovs.tunnel or bridge-local port by its name.
func PortSym(name string) string { return "port:" + name }

// NICSym names the port of a guest's NIC however it is called: the one whose
// iface-id is id, or whose attached-mac is mac.
func NICSym(id, mac string) string { return "nic:" + id + "," + mac }
