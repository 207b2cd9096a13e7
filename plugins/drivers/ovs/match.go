package ovs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"

	"weft.dev/reconcile/resource"
)

// A form is how a field is written.
type form struct {
	match string // name in a match
	set   string // name in set_field; "" = cannot be set
	width int    // bits
	say   func(uint64) string
	mask  func(value, mask uint64) string // both, after "name="
}

var forms = map[resource.FlowField]form{
	resource.FieldMetadata: {"metadata", "metadata", 64, hexText, hexMask},
	resource.FieldTunID:    {"tun_id", "tun_id", 64, hexText, hexMask},
	resource.FieldReg0:     {"reg0", "reg0", 32, hexText, hexMask},
	resource.FieldReg2:     {"reg2", "reg2", 32, hexText, hexMask},
	resource.FieldReg3:     {"reg3", "reg3", 32, hexText, hexMask},
	resource.FieldEthSrc:   {"dl_src", "eth_src", 48, macText, macMask},
	resource.FieldEthDst:   {"dl_dst", "eth_dst", 48, macText, macMask},
	resource.FieldEthType:  {"dl_type", "", 16, func(v uint64) string { return fmt.Sprintf("0x%04x", v) }, nil},
	resource.FieldIPProto:  {"nw_proto", "", 8, decimalText, nil},
	resource.FieldIPSrc:    {"nw_src", "ip_src", 32, ip4Text, ip4Mask},
	resource.FieldIPDst:    {"nw_dst", "ip_dst", 32, ip4Text, ip4Mask},
	resource.FieldARPOp:    {"arp_op", "arp_op", 16, decimalText, nil},
	resource.FieldARPSPA:   {"arp_spa", "arp_spa", 32, ip4Text, ip4Mask},
	resource.FieldARPTPA:   {"arp_tpa", "arp_tpa", 32, ip4Text, ip4Mask},
	resource.FieldARPSHA:   {"arp_sha", "arp_sha", 48, macText, macMask},
	resource.FieldTPSrc:    {"tp_src", "", 16, decimalText, hexMask},
	resource.FieldTPDst:    {"tp_dst", "", 16, decimalText, hexMask},
	resource.FieldICMPType: {"icmp_type", "", 8, decimalText, nil},
	resource.FieldICMPCode: {"icmp_code", "", 8, decimalText, nil},
	resource.FieldNDSLL:    {"nd_sll", "", 48, macText, macMask},
	resource.FieldNDTLL:    {"nd_tll", "", 48, macText, macMask},
	resource.FieldReg4:     {"reg4", "reg4", 32, hexText, hexMask},
	resource.FieldReg5:     {"reg5", "reg5", 32, hexText, hexMask},
	resource.FieldReg6:     {"reg6", "reg6", 32, hexText, hexMask},
	resource.FieldCTMark:   {"ct_mark", "", 32, hexText, hexMask},
	resource.FieldConjID:   {"conj_id", "", 32, decimalText, nil},
}

// ctBits are those of a connection's state that weft knows.
const ctBits = resource.CTNew | resource.CTEst | resource.CTRelated | resource.CTReply | resource.CTInvalid | resource.CTTracked

// presentTag is the bit of a VLAN tag that says there is one.
const presentTag = 0x1000

func renderSet(field resource.FlowField, value uint64) (string, error) {
	half := func(name string, at int) string {
		return fmt.Sprintf("load:%s->%s[%d..%d]", hexText(value), name, at, at+63)
	}
	switch field {
	case resource.FieldVLAN:
		return fmt.Sprintf("set_field:%d->vlan_vid", value&0xfff|presentTag), nil
	case resource.FieldIP6SrcHi:
		return half("NXM_NX_IPV6_SRC", 64), nil
	case resource.FieldIP6SrcLo:
		return half("NXM_NX_IPV6_SRC", 0), nil
	case resource.FieldNDTargetHi:
		return half("NXM_NX_ND_TARGET", 64), nil
	case resource.FieldNDTargetLo:
		return half("NXM_NX_ND_TARGET", 0), nil
	}
	f, ok := forms[field]
	if !ok || f.set == "" {
		return "", fmt.Errorf("field %s cannot be set", field)
	}
	if value&^full(f.width) != 0 {
		return "", fmt.Errorf("%#x does not fit %s", value, field)
	}
	return "set_field:" + f.say(value) + "->" + f.set, nil
}

// A match is the conditions of one rule by field, symbols resolved.
type match map[resource.FlowField]resource.Cond

// renderMatch says conditions as the switch prints them; false if one names an
// unbound symbol.
func renderMatch(conds []resource.Cond, bound map[string]int) (out []string, ok bool, err error) {
	m := make(match, len(conds))
	for _, c := range conds {
		if _, twice := m[c.Field]; twice {
			return nil, false, fmt.Errorf("matches %s twice", c.Field)
		}
		if c.Sym != "" {
			n := bound[c.Sym]
			if n == 0 {
				return nil, false, nil
			}
			c.Value = uint64(n)
		}
		m[c.Field] = c
	}
	if err := m.complete(); err != nil {
		return nil, false, err
	}
	word, said := m.protocol()
	if word != "" {
		out = append(out, word)
	}
	for _, c := range conds {
		if slices.Contains(said, c.Field) {
			continue
		}
		text, err := m.render(m[c.Field])
		if err != nil {
			return nil, false, err
		}
		if text != "" {
			out = append(out, text)
		}
	}
	return out, true, nil
}

// requires lists what a match has to say before a field means anything: the
// switch would silently compare less than it was asked to.
var requires = map[resource.FlowField]struct{ ether, proto, icmp []uint64 }{
	resource.FieldIPSrc:      {ether: []uint64{0x0800}},
	resource.FieldIPDst:      {ether: []uint64{0x0800}},
	resource.FieldIPProto:    {ether: []uint64{0x0800, 0x86dd}},
	resource.FieldARPOp:      {ether: []uint64{0x0806, 0x8035}},
	resource.FieldARPSPA:     {ether: []uint64{0x0806, 0x8035}},
	resource.FieldARPTPA:     {ether: []uint64{0x0806, 0x8035}},
	resource.FieldARPSHA:     {ether: []uint64{0x0806, 0x8035}},
	resource.FieldTPSrc:      {ether: []uint64{0x0800, 0x86dd}, proto: []uint64{6, 17, 132}},
	resource.FieldTPDst:      {ether: []uint64{0x0800, 0x86dd}, proto: []uint64{6, 17, 132}},
	resource.FieldICMPType:   {ether: []uint64{0x0800, 0x86dd}, proto: []uint64{1, 58}},
	resource.FieldIP6SrcHi:   {ether: []uint64{0x86dd}},
	resource.FieldIP6SrcLo:   {ether: []uint64{0x86dd}},
	resource.FieldNDTargetHi: {ether: []uint64{0x86dd}, proto: []uint64{58}},
	resource.FieldNDTargetLo: {ether: []uint64{0x86dd}, proto: []uint64{58}},
	resource.FieldIP6DstHi:   {ether: []uint64{0x86dd}},
	resource.FieldIP6DstLo:   {ether: []uint64{0x86dd}},
	resource.FieldNDSLL:      {ether: []uint64{0x86dd}, proto: []uint64{58}, icmp: []uint64{135}},
	resource.FieldNDTLL:      {ether: []uint64{0x86dd}, proto: []uint64{58}, icmp: []uint64{136}},
	resource.FieldICMPCode:   {ether: []uint64{0x0800, 0x86dd}, proto: []uint64{1, 58}},
}

// complete refuses a field whose protocol is not matched.
func (m match) complete() error {
	says := func(f resource.FlowField, oneOf []uint64) bool {
		c, ok := m[f]
		return len(oneOf) == 0 || ok && c.Mask == 0 && slices.Contains(oneOf, c.Value)
	}
	for f := range m {
		need := requires[f]
		if !says(resource.FieldEthType, need.ether) {
			return fmt.Errorf("%s without the Ethernet type it belongs to", f)
		}
		if !says(resource.FieldIPProto, need.proto) {
			return fmt.Errorf("%s without the IP protocol it belongs to", f)
		}
		if !says(resource.FieldICMPType, need.icmp) {
			return fmt.Errorf("%s without the ICMP type it belongs to", f)
		}
	}
	return nil
}

var (
	etherWords = map[uint64]string{0x0800: "ip", 0x86dd: "ipv6", 0x0806: "arp", 0x8035: "rarp"}
	protoWords = map[uint64]map[uint64]string{
		0x0800: {1: "icmp", 6: "tcp", 17: "udp", 132: "sctp"},
		0x86dd: {58: "icmp6", 6: "tcp6", 17: "udp6", 132: "sctp6"},
	}
)

// protocol is the word that the switch prints for an Ethernet type and an IP
// protocol, and the fields that the word says.
func (m match) protocol() (string, []resource.FlowField) {
	ether, ok := m[resource.FieldEthType]
	if !ok || ether.Mask != 0 {
		return "", nil
	}
	if proto, ok := m[resource.FieldIPProto]; ok && proto.Mask == 0 {
		if word := protoWords[ether.Value][proto.Value]; word != "" {
			return word, []resource.FlowField{resource.FieldEthType, resource.FieldIPProto}
		}
	}
	if word := etherWords[ether.Value]; word != "" {
		return word, []resource.FlowField{resource.FieldEthType}
	}
	return "", nil
}

// render says one condition; "" if another one says it too.
func (m match) render(c resource.Cond) (string, error) {
	switch c.Field {
	case resource.FieldInPort:
		if c.Sym == "" {
			return "", errors.New("in_port takes a symbol")
		}
		if c.Value == localPort {
			return "in_port=LOCAL", nil
		}
		return fmt.Sprintf("in_port=%d", c.Value), nil
	case resource.FieldVLAN:
		return vlanCond(c), nil
	case resource.FieldCTState:
		if c.Value&^c.Mask != 0 || c.Mask == 0 || c.Mask&^ctBits != 0 {
			return "", fmt.Errorf("%#x/%#x is no state of a connection", c.Value, c.Mask)
		}
		return "ct_state=" + resource.CTStateText(c.Value, c.Mask), nil
	case resource.FieldIP6SrcHi:
		return "ipv6_src=" + m.ip6(c.Field), nil
	case resource.FieldIP6DstHi:
		return "ipv6_dst=" + m.ip6(c.Field), nil
	case resource.FieldNDTargetHi:
		return "nd_target=" + m.ip6(c.Field), nil
	case resource.FieldIP6SrcLo, resource.FieldNDTargetLo, resource.FieldIP6DstLo:
		if _, ok := m[c.Field-1]; ok {
			return "", nil
		}
		c.Field--
		c.Mask = 0
		return m.render(c)
	}
	f, ok := forms[c.Field]
	all := full(f.width)
	switch {
	case !ok:
		return "", fmt.Errorf("no field has the number %d", c.Field)
	case c.Value&^all != 0 || c.Mask&^all != 0:
		return "", fmt.Errorf("%#x/%#x does not fit %s", c.Value, c.Mask, c.Field)
	case c.Mask == 0 || c.Mask == all:
		return f.match + "=" + f.say(c.Value), nil
	case f.mask == nil:
		return "", fmt.Errorf("%s takes no mask", c.Field)
	}
	return f.match + "=" + f.mask(c.Value&c.Mask, c.Mask), nil
}

// vlanCond says a VLAN id, or with a mask bits of the tag: 0x1000 is "has a tag".
func vlanCond(c resource.Cond) string {
	if c.Mask == 0 {
		return fmt.Sprintf("dl_vlan=%d", c.Value&0xfff)
	}
	return fmt.Sprintf("vlan_tci=0x%04x/0x%04x", c.Value&c.Mask, c.Mask)
}

// ip6 joins the halves of an IPv6 address, of which hi is the upper; a half that
// nobody asked for is not compared.
func (m match) ip6(hi resource.FlowField) string {
	var value, mask [16]byte
	for i, field := range []resource.FlowField{hi, hi + 1} {
		c, asked := m[field]
		if asked && c.Mask == 0 {
			c.Mask = ^uint64(0)
		}
		binary.BigEndian.PutUint64(value[8*i:], c.Value&c.Mask)
		binary.BigEndian.PutUint64(mask[8*i:], c.Mask)
	}
	text := netip.AddrFrom16(value).String()
	length := 0
	for length < 128 && mask[length/8]>>(7-length%8)&1 == 1 {
		length++
	}
	ones := 0
	for _, b := range mask {
		ones += bits.OnesCount8(b)
	}
	switch {
	case length == 128:
		return text
	case length == ones:
		return fmt.Sprintf("%s/%d", text, length)
	}
	return text + "/" + netip.AddrFrom16(mask).String()
}

func full(width int) uint64 {
	if width == 0 {
		return 0
	}
	return ^uint64(0) >> (64 - width)
}

// hexText is as the switch writes numbers: 0 has no prefix.
func hexText(v uint64) string {
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", v)
}

func hexMask(v, mask uint64) string { return hexText(v) + "/" + hexText(mask) }

func decimalText(v uint64) string { return strconv.FormatUint(v, 10) }

func macText(v uint64) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

func macMask(v, mask uint64) string { return macText(v) + "/" + macText(mask) }

func ip4Text(v uint64) string {
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
}

// ip4Mask writes a prefix by its length, any other mask as an address.
func ip4Mask(v, mask uint64) string {
	ones := bits.OnesCount64(mask)
	if mask == full(32)&^(full(32)>>ones) {
		return fmt.Sprintf("%s/%d", ip4Text(v), ones)
	}
	return ip4Text(v) + "/" + ip4Text(mask)
}
