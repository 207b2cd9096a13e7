package ovs

import (
	"net/netip"

	"weft.dev/reconcile/resource"
)

// eth is the condition that most rules begin with.
func eth(kind uint64) resource.Cond {
	return resource.Cond{Field: resource.FieldEthType, Value: kind}
}

func is(f resource.FlowField, v uint64) resource.Cond { return resource.Cond{Field: f, Value: v} }

func masked(f resource.FlowField, v, mask uint64) resource.Cond {
	return resource.Cond{Field: f, Value: v, Mask: mask}
}

func at(sym string) resource.Cond {
	return resource.Cond{Field: resource.FieldInPort, Sym: sym}
}

func do(acts ...resource.Act) []resource.Act { return acts }

func act(op resource.Op) resource.Act { return resource.Act{Op: op} }

func to(table uint8) resource.Act { return resource.Act{Op: resource.OpGoto, Table: table} }

func setTo(f resource.FlowField, v uint64) resource.Act {
	return resource.Act{Op: resource.OpSet, Field: f, Value: v}
}

// An example is one rule and what the switch shall be told and say.
type example struct {
	flow resource.Flow
	text string // "" = left out
}

const (
	portA = "port:a" // 3
	nicB  = "nic:acme/vm/b,02:00:00:00:00:0b"
	gone  = "port:gone"
	local = "port:" + resource.IntegrationBridge
)

var exampleBound = map[string]int{portA: 3, nicB: 4, gone: 0, local: localPort}

var exampleMeters = map[meterKey]uint32{{portA, 61}: 4000000000}

const exampleCookie = 0x1234_0000_0000_0001

// examples use every field and every operation, in every way they are written.
var examples = []example{
	{resource.Flow{Table: 0}, "table=0,priority=0 actions=drop"},
	{resource.Flow{Priority: 32768, Match: []resource.Cond{at(portA), masked(resource.FieldVLAN, 0, 0x1000)},
		Do: do(setTo(resource.FieldMetadata, 1<<32|7), setTo(resource.FieldReg0, 0), to(10))},
		"table=0,priority=32768,in_port=3,vlan_tci=0x0000/0x1000 actions=set_field:0x100000007->metadata,set_field:0->reg0,goto_table:10"},
	{resource.Flow{Priority: 1, Match: []resource.Cond{at(local), masked(resource.FieldVLAN, 0x1000, 0x1000)},
		Do: do(setTo(resource.FieldMetadata, 1<<32), act(resource.OpMetaFromVID), act(resource.OpPopVLAN), setTo(resource.FieldReg0, 2), to(20))},
		"table=0,priority=1,in_port=LOCAL,vlan_tci=0x1000/0x1000 actions=set_field:0x100000000->metadata,move:NXM_OF_VLAN_TCI[0..11]->OXM_OF_METADATA[0..11],load:0->OXM_OF_METADATA[12..31],pop_vlan,set_field:0x2->reg0,goto_table:20"},
	{resource.Flow{Priority: 2, Match: []resource.Cond{at(nicB), is(resource.FieldVLAN, 0)}}, "table=0,priority=2,dl_vlan=0,in_port=4 actions=drop"},
	{resource.Flow{Priority: 3, Match: []resource.Cond{is(resource.FieldVLAN, 5)}, Do: do(setTo(resource.FieldVLAN, 6), resource.Act{Op: resource.OpOutput, Sym: portA})},
		"table=0,priority=3,dl_vlan=5 actions=set_field:4102->vlan_vid,output:3"},
	{resource.Flow{Priority: 4, Match: []resource.Cond{at(portA), is(resource.FieldTunID, 42)}, Do: do(act(resource.OpMetaFromTun), to(20))},
		"table=0,priority=4,in_port=3,tun_id=0x2a actions=move:NXM_NX_TUN_ID[0..31]->OXM_OF_METADATA[0..31],goto_table:20"},
	{resource.Flow{Table: 20, Match: []resource.Cond{is(resource.FieldMetadata, 1<<32|7)}, Do: do(resource.Act{Op: resource.OpLearn, Table: 30}, to(25))},
		"table=20,priority=0,metadata=0x100000007 actions=learn(table=30,hard_timeout=300,priority=1,delete_learned,cookie=0x1234000000000001,limit=4096,OXM_OF_METADATA[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_OF_IN_PORT[]->NXM_NX_REG2[0..15],load:NXM_NX_REG0[]->NXM_NX_REG3[]),goto_table:25"},
	{resource.Flow{Table: 20, Priority: 9, Match: []resource.Cond{eth(0x0806), masked(resource.FieldMetadata, 7, 0xffffffff), is(resource.FieldARPOp, 1), is(resource.FieldARPTPA, 0x0a000001)},
		Do: do(resource.Act{Op: resource.OpARPReply, Value: 0x020000000001})},
		"table=20,priority=9,arp,arp_op=1,arp_tpa=10.0.0.1,metadata=0x7/0xffffffff actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:02:00:00:00:00:01->eth_src,set_field:2->arp_op,push:NXM_OF_ARP_TPA[],push:NXM_OF_ARP_SPA[],pop:NXM_OF_ARP_TPA[],pop:NXM_OF_ARP_SPA[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],set_field:02:00:00:00:00:01->arp_sha,IN_PORT"},
	{resource.Flow{Table: 10, Match: []resource.Cond{eth(0x0806), at(nicB), is(resource.FieldARPSPA, 0x0a000002), is(resource.FieldARPSHA, 0x02000000000b), masked(resource.FieldARPTPA, 0x0a0000ff, 0xffffff00)},
		Do: do(to(20))}, "table=10,priority=0,arp,arp_sha=02:00:00:00:00:0b,arp_spa=10.0.0.2,arp_tpa=10.0.0.0/24,in_port=4 actions=goto_table:20"},
	{resource.Flow{Table: 10, Priority: 1, Match: []resource.Cond{eth(0x0800), is(resource.FieldEthSrc, 0x02000000000b), masked(resource.FieldEthDst, 0x010000000000, 0x010000000000),
		masked(resource.FieldIPSrc, 0x0a000000, 0xffffff00), masked(resource.FieldIPDst, 0x0a000005, 0xff00ffff)}, Do: do(to(20))},
		"table=10,priority=1,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,dl_src=02:00:00:00:00:0b,ip,nw_dst=10.0.0.5/255.0.255.255,nw_src=10.0.0.0/24 actions=goto_table:20"},
	{resource.Flow{Table: 10, Priority: 2, Match: []resource.Cond{is(resource.FieldTPSrc, 68), eth(0x0800), is(resource.FieldIPProto, 17), is(resource.FieldTPDst, 67)}},
		"table=10,priority=2,tp_dst=67,tp_src=68,udp actions=drop"},
	{resource.Flow{Table: 10, Priority: 3, Match: []resource.Cond{eth(0x86dd), is(resource.FieldIPProto, 6), masked(resource.FieldTPDst, 0x43, 0xfff0)}},
		"table=10,priority=3,tcp6,tp_dst=0x40/0xfff0 actions=drop"},
	{resource.Flow{Table: 10, Priority: 4, Match: []resource.Cond{eth(0x0800), is(resource.FieldIPProto, 1), is(resource.FieldICMPType, 8)}}, "table=10,priority=4,icmp,icmp_type=8 actions=drop"},
	{resource.Flow{Table: 10, Priority: 5, Match: []resource.Cond{eth(0x0800), is(resource.FieldIPProto, 50), is(resource.FieldIPSrc, 0x0a000001)}}, "table=10,priority=5,ip,nw_proto=50,nw_src=10.0.0.1 actions=drop"},
	{resource.Flow{Table: 10, Priority: 6, Match: []resource.Cond{eth(0x88cc)}}, "table=10,priority=6,dl_type=0x88cc actions=drop"},
	{resource.Flow{Table: 10, Priority: 7, Match: []resource.Cond{eth(0x86dd), is(resource.FieldIP6SrcHi, 0xfe80<<48)}}, "table=10,priority=7,ipv6,ipv6_src=fe80::/64 actions=drop"},
	{resource.Flow{Table: 10, Priority: 8, Match: []resource.Cond{eth(0x86dd), is(resource.FieldIP6SrcHi, 0xfe80<<48), is(resource.FieldIP6SrcLo, 0)}}, "table=10,priority=8,ipv6,ipv6_src=fe80:: actions=drop"},
	{resource.Flow{Table: 10, Priority: 9, Match: []resource.Cond{eth(0x86dd), is(resource.FieldIP6SrcLo, 0x0001_0002_0003_0004)}},
		"table=10,priority=9,ipv6,ipv6_src=::1:2:3:4/::ffff:ffff:ffff:ffff actions=drop"},
	{resource.Flow{Table: 10, Priority: 10, Match: []resource.Cond{eth(0x86dd), is(resource.FieldIPProto, 58), is(resource.FieldICMPType, 135),
		is(resource.FieldNDTargetHi, 0xfe80<<48), is(resource.FieldNDTargetLo, 1)}},
		"table=10,priority=10,icmp6,icmp_type=135,nd_target=fe80::1 actions=drop"},
	{resource.Flow{Table: 10, Priority: 11, Match: []resource.Cond{eth(0x86dd), is(resource.FieldIPProto, 58), is(resource.FieldICMPType, 136), masked(resource.FieldNDTargetHi, 0xfd00<<48, 0xff00<<48)}},
		"table=10,priority=11,icmp6,icmp_type=136,nd_target=fd00::/8 actions=drop"},
	{resource.Flow{Table: 40, Match: []resource.Cond{is(resource.FieldReg0, 0), is(resource.FieldReg3, 2), is(resource.FieldReg2, 0)}, Do: do(act(resource.OpPushVLAN), act(resource.OpVIDFromMeta), act(resource.OpOutReg2))},
		"table=40,priority=0,reg0=0,reg2=0,reg3=0x2 actions=push_vlan:0x8100,move:OXM_OF_METADATA[0..11]->NXM_OF_VLAN_TCI[0..11],output:NXM_NX_REG2[]"},
	{resource.Flow{Table: 40, Priority: 1, Match: []resource.Cond{masked(resource.FieldReg3, 1, 0xff)}, Do: do(act(resource.OpTunFromMeta), act(resource.OpOutReg2))},
		"table=40,priority=1,reg3=0x1/0xff actions=move:OXM_OF_METADATA[0..31]->NXM_NX_TUN_ID[0..31],output:NXM_NX_REG2[]"},
	{resource.Flow{Table: 50, Do: do(resource.Act{Op: resource.OpDeliver, Sym: portA, Table: 60}, resource.Act{Op: resource.OpDeliver, Sym: gone, Table: 60},
		resource.Act{Op: resource.OpDeliver, Sym: local, Table: 60}, resource.Act{Op: resource.OpResubmit, Table: 61},
		resource.Act{Op: resource.OpOutput, Sym: gone}, resource.Act{Op: resource.OpOutput, Sym: local}, resource.Act{Op: resource.OpOutput, Sym: nicB})},
		"table=50,priority=0 actions=set_field:0x3->reg2,resubmit(,60),set_field:0xfffe->reg2,resubmit(,60),resubmit(,61),LOCAL,output:4"},
	{resource.Flow{Table: 50, Priority: 1, Do: do(resource.Act{Op: resource.OpDeliver, Sym: gone, Table: 60})}, "table=50,priority=1 actions=drop"},
	{resource.Flow{Table: 60, Match: []resource.Cond{{Field: resource.FieldReg2, Sym: portA}}, Do: do(setTo(resource.FieldTunID, 7), setTo(resource.FieldEthDst, 0x02000000000b), setTo(resource.FieldEthSrc, 1),
		resource.Act{Op: resource.OpOutput, Sym: portA})},
		"table=60,priority=0,reg2=0x3 actions=set_field:0x7->tun_id,set_field:02:00:00:00:00:0b->eth_dst,set_field:00:00:00:00:00:01->eth_src,output:3"},
	{resource.Flow{Table: 60, Priority: 1, Match: []resource.Cond{{Field: resource.FieldReg2, Sym: local}, eth(0x0800)}, Do: do(
		resource.Act{Op: resource.OpSet, Field: resource.FieldReg2, Sym: nicB}, setTo(resource.FieldReg3, 1), setTo(resource.FieldIPSrc, 0x0a000001), setTo(resource.FieldIPDst, 0x0a000002), to(61))},
		"table=60,priority=1,ip,reg2=0xfffe actions=set_field:0x4->reg2,set_field:0x1->reg3,set_field:10.0.0.1->ip_src,set_field:10.0.0.2->ip_dst,goto_table:61"},
	{resource.Flow{Table: 60, Priority: 2, Match: []resource.Cond{eth(0x0806)}, Do: do(setTo(resource.FieldARPOp, 2), setTo(resource.FieldARPSPA, 1), setTo(resource.FieldARPTPA, 2), setTo(resource.FieldARPSHA, 3))},
		"table=60,priority=2,arp actions=set_field:2->arp_op,set_field:0.0.0.1->arp_spa,set_field:0.0.0.2->arp_tpa,set_field:00:00:00:00:00:03->arp_sha"},
	{resource.Flow{Table: 60, Priority: 3, Match: []resource.Cond{eth(0x86dd)}, Do: do(setTo(resource.FieldIP6SrcHi, 0xfe80<<48), setTo(resource.FieldIP6SrcLo, 1))},
		"table=60,priority=3,ipv6 actions=load:0xfe80000000000000->NXM_NX_IPV6_SRC[64..127],load:0x1->NXM_NX_IPV6_SRC[0..63]"},
	{resource.Flow{Table: 60, Priority: 4, Match: []resource.Cond{eth(0x86dd), is(resource.FieldIPProto, 58), is(resource.FieldICMPType, 136)}, Do: do(setTo(resource.FieldNDTargetHi, 0xfe80<<48), setTo(resource.FieldNDTargetLo, 0))},
		"table=60,priority=4,icmp6,icmp_type=136 actions=load:0xfe80000000000000->NXM_NX_ND_TARGET[64..127],load:0->NXM_NX_ND_TARGET[0..63]"},
	{resource.Flow{Table: 60, Priority: 5, Match: []resource.Cond{is(resource.FieldReg4, 201)}, Do: do(setTo(resource.FieldReg4, 202), to(61))},
		"table=60,priority=5,reg4=0xc9 actions=set_field:0xca->reg4,goto_table:61"},
	{resource.Flow{Table: 61, Match: []resource.Cond{{Field: resource.FieldReg2, Sym: gone}}}, ""},
	{resource.Flow{Table: 61, Priority: 1, Match: []resource.Cond{at(gone)}, Do: do(to(62))}, ""},
	{resource.Flow{Table: 61, Priority: 2, Do: do(resource.Act{Op: resource.OpSet, Field: resource.FieldReg2, Sym: gone}, to(62))}, ""},
	{resource.Flow{Table: 61, Priority: 5, Match: []resource.Cond{eth(0x88cc)}, Do: do(resource.Act{Op: resource.OpLimit, Sym: portA, Value: 200, Table: 61}, setTo(resource.FieldReg0, 1), to(62))},
		"table=61,priority=5,dl_type=0x88cc actions=meter:4000000000,set_field:0x1->reg0,goto_table:62"},
	{resource.Flow{Table: 61, Priority: 3, Match: []resource.Cond{eth(0x8035)}}, "table=61,priority=3,rarp actions=drop"},
	{resource.Flow{Table: 61, Priority: 4, Match: []resource.Cond{eth(0x0800), is(resource.FieldMetadata, 7)}, Do: do(resource.Act{Op: resource.OpCT, Zone: 101, Table: 62})},
		"table=61,priority=4,ip,metadata=0x7 actions=ct(table=62,zone=101)"},
	{resource.Flow{Table: 62, Priority: 1, Match: []resource.Cond{masked(resource.FieldCTState, resource.CTReply|resource.CTTracked, resource.CTReply|resource.CTTracked|resource.CTInvalid),
		masked(resource.FieldCTMark, 1, 1), is(resource.FieldReg6, 9)}, Do: do(act(resource.OpOutReg2))},
		"table=62,priority=1,ct_mark=0x1/0x1,ct_state=+rpl-inv+trk,reg6=0x9 actions=output:NXM_NX_REG2[]"},
	{resource.Flow{Table: 62, Priority: 2, Match: []resource.Cond{eth(0x86dd), is(resource.FieldReg5, 9), is(resource.FieldConjID, 4000000000)},
		Do: do(setTo(resource.FieldReg5, 1), setTo(resource.FieldReg6, 2), resource.Act{Op: resource.OpCTCommit, Zone: 65535, Value: 0, Mask: 2}, to(63))},
		"table=62,priority=2,conj_id=4000000000,ipv6,reg5=0x9 actions=set_field:0x1->reg5,set_field:0x2->reg6,ct(commit,zone=65535,exec(load:0->NXM_NX_CT_MARK[1])),goto_table:63"},
	{resource.Flow{Table: 62, Priority: 3, Match: []resource.Cond{eth(0x0800), is(resource.FieldIPSrc, 0x0a000001)},
		Do: do(resource.Act{Op: resource.OpConj, Value: 4000000000, Table: 1, Mask: 2}, resource.Act{Op: resource.OpConj, Value: 5, Table: 2, Mask: 2})},
		"table=62,priority=3,ip,nw_src=10.0.0.1 actions=conjunction(4000000000,1/2),conjunction(5,2/2)"},
	{resource.Flow{Table: 62, Priority: 4, Match: []resource.Cond{eth(0x0800), is(resource.FieldIPProto, 1), is(resource.FieldICMPType, 3), is(resource.FieldICMPCode, 1)},
		Do: do(resource.Act{Op: resource.OpCTCommit, Zone: 7})}, "table=62,priority=4,icmp,icmp_code=1,icmp_type=3 actions=ct(commit,zone=7)"},
	{resource.Flow{Table: 62, Priority: 5, Match: []resource.Cond{eth(0x86dd), is(resource.FieldIPProto, 58), is(resource.FieldICMPType, 135), is(resource.FieldICMPCode, 0), is(resource.FieldNDSLL, 0x02000000000b),
		is(resource.FieldNDTargetHi, 0xfe80<<48), is(resource.FieldNDTargetLo, 1), is(resource.FieldIP6DstHi, 0xfe80<<48), is(resource.FieldIP6DstLo, 2)}},
		"table=62,priority=5,icmp6,icmp_code=0,icmp_type=135,ipv6_dst=fe80::2,nd_sll=02:00:00:00:00:0b,nd_target=fe80::1 actions=drop"},
	{resource.Flow{Table: 62, Priority: 6, Match: []resource.Cond{eth(0x86dd), is(resource.FieldIPProto, 58), is(resource.FieldICMPType, 136), is(resource.FieldICMPCode, 0), is(resource.FieldNDTLL, 0),
		is(resource.FieldIP6DstLo, 2)}},
		"table=62,priority=6,icmp6,icmp_code=0,icmp_type=136,ipv6_dst=::2/::ffff:ffff:ffff:ffff,nd_tll=00:00:00:00:00:00 actions=drop"},
}

// exampleFlows is all of them as one unit.
func exampleFlows() resource.Flows {
	f := resource.Flows{Bridge: resource.IntegrationBridge, Owner: "network/acme/web"}
	for _, e := range examples {
		f.Rules = append(f.Rules, e.flow)
	}
	return f
}

func vxlan(name, local, remote string) resource.Tunnel {
	return resource.Tunnel{Bridge: resource.IntegrationBridge, Name: name, Type: "vxlan",
		Local: netip.MustParseAddr(local), Remote: netip.MustParseAddr(remote), DstPort: 4789}
}
