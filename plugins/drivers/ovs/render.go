package ovs

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"weft.dev/reconcile/resource"
)

// Numbers of the learning action; reference/lab-notes 11 has their reasons.
const (
	learnTable   = 30
	learnSeconds = 300
	learnLimit   = 4096
)

// localPort is OpenFlow's number of a bridge's own port, which text calls LOCAL.
const localPort = 0xfffe

// A rule is one flow as the switch takes and prints it.
type rule struct {
	table    uint8
	priority uint16
	match    []string
	actions  string
}

// key names a rule within a bridge: a second rule of one key replaces the
// first. The order of the match means nothing.
func (r rule) key() string {
	return fmt.Sprintf("table=%d,priority=%d,%s", r.table, r.priority, strings.Join(slices.Sorted(slices.Values(r.match)), ","))
}

// String is the rule as people read it in a drift.
func (r rule) String() string {
	return strings.TrimSuffix(r.key(), ",") + " actions=" + r.actions
}

// render turns the rules of a unit into text with the ports of the moment. Rules
// that cannot be said yet because of an unbound symbol are left out.
func render(f resource.Flows, cookie uint64, bound map[string]int, meters map[meterKey]uint32) (map[string]rule, error) {
	out := make(map[string]rule, len(f.Rules))
	for _, flow := range f.Rules {
		r, ok, err := renderFlow(flow, cookie, bound, meters)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", flow, err)
		}
		if !ok {
			continue
		}
		if _, twice := out[r.key()]; twice {
			return nil, fmt.Errorf("rule %q: another one has the same table, priority and match", flow)
		}
		out[r.key()] = r
	}
	return out, nil
}

func renderFlow(f resource.Flow, cookie uint64, bound map[string]int, meters map[meterKey]uint32) (r rule, ok bool, err error) {
	r = rule{table: f.Table, priority: f.Priority}
	if f.Table == learnTable {
		return r, false, fmt.Errorf("table %d holds what the switch learns, nothing else", learnTable)
	}
	match, ok, err := renderMatch(f.Match, bound)
	if !ok || err != nil {
		return r, ok, err
	}
	r.match = match
	acts := make([]string, 0, len(f.Do))
	for i, a := range f.Do {
		if a.Op == resource.OpLimit && i > 0 {
			return r, false, errors.New("a limit comes first, or the switch would move it there")
		}
		if id := meters[meterKey{a.Sym, a.Table}]; a.Op == resource.OpLimit {
			if id != 0 { // else the switch has none
				acts = append(acts, fmt.Sprintf("meter:%d", id))
			}
			continue
		}
		text, state, err := renderAct(a, cookie, bound)
		switch {
		case err != nil:
			return r, false, err
		case state == leaveRule:
			return r, false, nil
		case state == say:
			acts = append(acts, text...)
		}
	}
	if len(acts) == 0 {
		acts = []string{"drop"}
	}
	r.actions = strings.Join(acts, ",")
	return r, true, nil
}

// What becomes of an action.
type fate int

const (
	say fate = iota
	leaveAct
	leaveRule
)

func renderAct(a resource.Act, cookie uint64, bound map[string]int) ([]string, fate, error) {
	one := func(s string) ([]string, fate, error) { return []string{s}, say, nil }
	switch a.Op {
	case resource.OpOutput, resource.OpDeliver:
		n, ok := bound[a.Sym]
		switch {
		case !ok || n == 0:
			return nil, leaveAct, nil
		case a.Op == resource.OpDeliver:
			return []string{setReg(2, uint64(n)), resubmit(a.Table)}, say, nil
		case n == localPort:
			return one("LOCAL")
		}
		return one(fmt.Sprintf("output:%d", n))
	case resource.OpOutReg2:
		return one("output:NXM_NX_REG2[]")
	case resource.OpSet:
		value := a.Value
		if a.Sym != "" {
			n, ok := bound[a.Sym]
			if !ok || n == 0 {
				return nil, leaveRule, nil
			}
			value = uint64(n)
		}
		text, err := renderSet(a.Field, value)
		return []string{text}, say, err
	case resource.OpGoto:
		return one(fmt.Sprintf("goto_table:%d", a.Table))
	case resource.OpResubmit:
		return one(resubmit(a.Table))
	case resource.OpLearn:
		if a.Table != learnTable {
			return nil, say, fmt.Errorf("learns into table %d instead of %d", a.Table, learnTable)
		}
		return one(learn(a.Table, cookie))
	case resource.OpARPReply:
		return arpReply(a.Value), say, nil
	case resource.OpCT:
		return one(fmt.Sprintf("ct(table=%d,zone=%d)", a.Table, a.Zone))
	case resource.OpCTCommit:
		text, err := ctCommit(a)
		return []string{text}, say, err
	case resource.OpConj:
		return one(fmt.Sprintf("conjunction(%d,%d/%d)", a.Value, a.Table, a.Mask))
	}
	text, ok := plainActs[a.Op]
	if !ok {
		return nil, say, fmt.Errorf("no action has the number %d", a.Op)
	}
	return text, say, nil
}

var plainActs = map[resource.Op][]string{
	resource.OpPopVLAN:     {"pop_vlan"},
	resource.OpPushVLAN:    {"push_vlan:0x8100"},
	resource.OpTunFromMeta: {"move:OXM_OF_METADATA[0..31]->NXM_NX_TUN_ID[0..31]"},
	resource.OpMetaFromTun: {"move:NXM_NX_TUN_ID[0..31]->OXM_OF_METADATA[0..31]"},
	resource.OpMetaFromVID: {"move:NXM_OF_VLAN_TCI[0..11]->OXM_OF_METADATA[0..11]", "load:0->OXM_OF_METADATA[12..31]"},
	resource.OpVIDFromMeta: {"move:OXM_OF_METADATA[0..11]->NXM_OF_VLAN_TCI[0..11]"},
}

func resubmit(table uint8) string { return fmt.Sprintf("resubmit(,%d)", table) }

func setReg(n int, value uint64) string { return fmt.Sprintf("set_field:%s->reg%d", hexText(value), n) }

// learn remembers where a sender is: frames of its network to it go to the port
// it was heard on, for 5 minutes at most, however busy it is. The rules go with the
// one that learned them.
func learn(table uint8, cookie uint64) string {
	return fmt.Sprintf("learn(table=%d,hard_timeout=%d,priority=1,delete_learned,cookie=%#x,limit=%d,"+
		"OXM_OF_METADATA[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_OF_IN_PORT[]->NXM_NX_REG2[0..15],load:NXM_NX_REG0[]->NXM_NX_REG3[])",
		table, learnSeconds, cookie, learnLimit)
}

// arpReply turns a request into its answer and sends it back: mac has the address
// that was asked for.
func arpReply(mac uint64) []string {
	return []string{
		"move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]", "set_field:" + macText(mac) + "->eth_src", "set_field:2->arp_op",
		"push:NXM_OF_ARP_TPA[]", "push:NXM_OF_ARP_SPA[]", "pop:NXM_OF_ARP_TPA[]", "pop:NXM_OF_ARP_SPA[]",
		"move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]", "set_field:" + macText(mac) + "->arp_sha", "IN_PORT",
	}
}

// ctCommit sets adjacent bits of the mark: the switch prints a set of others as
// several actions.
func ctCommit(a resource.Act) (string, error) {
	if a.Mask == 0 {
		return fmt.Sprintf("ct(commit,zone=%d)", a.Zone), nil
	}
	low, n := bits.TrailingZeros32(a.Mask), bits.OnesCount32(a.Mask)
	if a.Mask>>low != ^uint32(0)>>(32-n) || a.Value&^uint64(a.Mask) != 0 {
		return "", fmt.Errorf("a mark cannot be set to %#x/%#x", a.Value, a.Mask)
	}
	part := strconv.Itoa(low)
	if n > 1 {
		part += ".." + strconv.Itoa(low+n-1)
	}
	return fmt.Sprintf("ct(commit,zone=%d,exec(load:%s->NXM_NX_CT_MARK[%s]))", a.Zone, hexText(a.Value>>low), part), nil
}
