package resource

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strings"

	"weft.dev/schema"
)

var fieldNames = [...]string{
	FieldInPort: "in_port", FieldMetadata: "metadata", FieldTunID: "tun_id", FieldReg0: "reg0", FieldReg2: "reg2",
	FieldReg3: "reg3", FieldEthSrc: "dl_src", FieldEthDst: "dl_dst", FieldEthType: "dl_type", FieldVLAN: "vlan",
	FieldIPProto: "nw_proto", FieldIPSrc: "nw_src", FieldIPDst: "nw_dst", FieldARPOp: "arp_op", FieldARPSPA: "arp_spa",
	FieldARPTPA: "arp_tpa", FieldARPSHA: "arp_sha", FieldTPSrc: "tp_src", FieldTPDst: "tp_dst", FieldICMPType: "icmp_type",
	FieldIP6SrcHi: "ipv6_src_hi", FieldIP6SrcLo: "ipv6_src_lo", FieldNDTargetHi: "nd_target_hi", FieldNDTargetLo: "nd_target_lo",
	FieldIP6DstHi: "ipv6_dst_hi", FieldIP6DstLo: "ipv6_dst_lo", FieldNDSLL: "nd_sll", FieldNDTLL: "nd_tll", FieldICMPCode: "icmp_code",
	FieldReg5: "reg5", FieldReg6: "reg6", FieldCTState: "ct_state", FieldCTMark: "ct_mark", FieldConjID: "conj_id",
	FieldReg4: "reg4",
}

// String names the field as Open vSwitch does where it can.
func (f FlowField) String() string {
	if int(f) < len(fieldNames) && fieldNames[f] != "" {
		return fieldNames[f]
	}
	return fmt.Sprintf("field%d", uint8(f))
}

// String is the rule for people: ports by symbol, nothing that one switch numbers.
func (r Flow) String() string {
	parts := []string{fmt.Sprintf("table=%d priority=%d", r.Table, r.Priority)}
	for _, c := range r.Match {
		parts = append(parts, c.Field.String()+"="+condValue(c))
	}
	acts := make([]string, len(r.Do))
	for i, a := range r.Do {
		acts[i] = a.String()
	}
	if len(acts) == 0 {
		acts = []string{"drop"}
	}
	return strings.Join(parts, " ") + " -> " + strings.Join(acts, ", ")
}

func condValue(c Cond) string {
	if c.Sym != "" {
		return c.Sym
	}
	if c.Field == FieldCTState {
		return CTStateText(c.Value, c.Mask)
	}
	v := fieldValue(c.Field, c.Value)
	if c.Mask == 0 {
		return v
	}
	switch c.Field {
	case FieldIPSrc, FieldIPDst, FieldARPSPA, FieldARPTPA:
		if ones := bits.OnesCount64(c.Mask); c.Mask == 0xffffffff&^(0xffffffff>>ones) {
			return fmt.Sprintf("%s/%d", v, ones)
		}
	case FieldTPSrc, FieldTPDst:
		return fmt.Sprintf("%#x/%#x", c.Value, c.Mask)
	}
	return v + "/" + fieldValue(c.Field, c.Mask)
}

func fieldValue(f FlowField, v uint64) string {
	switch f {
	case FieldEthSrc, FieldEthDst, FieldARPSHA, FieldNDSLL, FieldNDTLL:
		return macText(v)
	case FieldIPSrc, FieldIPDst, FieldARPSPA, FieldARPTPA:
		return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
	case FieldMetadata, FieldEthType, FieldIP6SrcHi, FieldIP6SrcLo, FieldNDTargetHi, FieldNDTargetLo, FieldIP6DstHi, FieldIP6DstLo,
		FieldReg5, FieldReg6, FieldCTMark:
		return fmt.Sprintf("%#x", v)
	default:
		return fmt.Sprint(v)
	}
}

// MACValue is a MAC as the number that flows carry.
func MACValue(m schema.MAC) uint64 {
	var v uint64
	for _, b := range m {
		v = v<<8 | uint64(b)
	}
	return v
}

func macText(v uint64) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// String is the action for people.
func (a Act) String() string {
	switch a.Op {
	case OpOutput:
		return "output:" + a.Sym
	case OpOutReg2:
		return "output:reg2"
	case OpSet:
		if a.Sym != "" {
			return a.Field.String() + "=" + a.Sym
		}
		return a.Field.String() + "=" + fieldValue(a.Field, a.Value)
	case OpGoto:
		return fmt.Sprintf("goto %d", a.Table)
	case OpResubmit:
		return fmt.Sprintf("resubmit(%d)", a.Table)
	case OpPopVLAN:
		return "pop_vlan"
	case OpPushVLAN:
		return "push_vlan"
	case OpTunFromMeta:
		return "tun_id=metadata[0..31]"
	case OpMetaFromTun:
		return "metadata[0..31]=tun_id"
	case OpMetaFromVID:
		return "metadata[0..11]=vlan"
	case OpVIDFromMeta:
		return "vlan=metadata[0..11]"
	case OpLearn:
		return fmt.Sprintf("learn(%d)", a.Table)
	case OpDeliver:
		return fmt.Sprintf("deliver(%s,%d)", a.Sym, a.Table)
	case OpARPReply:
		return "arp-reply " + macText(a.Value)
	case OpCT:
		return fmt.Sprintf("ct(zone=%d,%d)", a.Zone, a.Table)
	case OpCTCommit:
		return fmt.Sprintf("ct-commit(zone=%d,mark=%#x/%#x)", a.Zone, a.Value, a.Mask)
	case OpConj:
		return fmt.Sprintf("conjunction(%d,%d/%d)", a.Value, a.Table, a.Mask)
	case OpLimit:
		return fmt.Sprintf("limit %d Mbit/s", a.Value)
	default:
		return fmt.Sprintf("op%d", uint8(a.Op))
	}
}

var ctNames = [...]string{"new", "est", "rel", "rpl", "inv", "trk"}

// CTStateText is a state of connection tracking as Open vSwitch writes it: + for
// the bits of mask that are in value, - for those that are not. Mask 0 is all.
func CTStateText(value, mask uint64) string {
	var b strings.Builder
	for i, name := range ctNames {
		bit := uint64(1) << i
		switch {
		case mask != 0 && mask&bit == 0:
		case value&bit != 0:
			b.WriteString("+" + name)
		default:
			b.WriteString("-" + name)
		}
	}
	return b.String()
}
