package resource

import (
	"fmt"
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
	v := fieldValue(c.Field, c.Value)
	if c.Mask != 0 {
		v += "/" + fieldValue(c.Field, c.Mask)
	}
	return v
}

func fieldValue(f FlowField, v uint64) string {
	switch f {
	case FieldEthSrc, FieldEthDst, FieldARPSHA:
		return macText(v)
	case FieldIPSrc, FieldIPDst, FieldARPSPA, FieldARPTPA:
		return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
	case FieldMetadata, FieldEthType, FieldIP6SrcHi, FieldIP6SrcLo, FieldNDTargetHi, FieldNDTargetLo:
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
	default:
		return fmt.Sprintf("op%d", uint8(a.Op))
	}
}
