package ovs

import (
	"fmt"
	"strings"
	"testing"

	"weft.dev/reconcile/resource"
)

func TestRender(t *testing.T) {
	fields, ops := map[resource.FlowField]bool{}, map[resource.Op]bool{}
	for _, e := range examples {
		for _, c := range e.flow.Match {
			fields[c.Field] = true
		}
		for _, a := range e.flow.Do {
			ops[a.Op] = true
		}
		r, ok, err := renderFlow(e.flow, exampleCookie, exampleBound, exampleMeters)
		got := ""
		if ok {
			got = r.String()
		}
		if err != nil || got != e.text {
			t.Errorf("%s:\n got %s (%v)\nwant %s", e.flow, got, err, e.text)
		}
	}
	// A word that is added to the waist is refused until it is rendered here.
	for f := resource.FieldNone + 1; !strings.HasPrefix(f.String(), "field"); f++ {
		if !fields[f] {
			t.Errorf("no example matches %s", f)
		}
	}
	for op := resource.OpNone + 1; !strings.HasPrefix(resource.Act{Op: op}.String(), "op"); op++ {
		if !ops[op] {
			t.Errorf("no example does %s", resource.Act{Op: op})
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for _, c := range []struct {
		flow resource.Flow
		want string
	}{
		{resource.Flow{Table: learnTable}, "learns"},
		{resource.Flow{Do: do(resource.Act{Op: resource.OpLearn, Table: 31})}, "instead of 30"},
		{resource.Flow{Do: do(act(resource.OpNone))}, "no action"},
		{resource.Flow{Do: do(act(99))}, "no action"},
		{resource.Flow{Match: []resource.Cond{is(99, 1)}}, "no field"},
		{resource.Flow{Match: []resource.Cond{is(resource.FieldInPort, 1)}}, "symbol"},
		{resource.Flow{Match: []resource.Cond{is(resource.FieldReg0, 1), is(resource.FieldReg0, 2)}}, "twice"},
		{resource.Flow{Match: []resource.Cond{is(resource.FieldReg0, 1<<32)}}, "does not fit"},
		{resource.Flow{Match: []resource.Cond{masked(resource.FieldEthSrc, 1, 1<<48)}}, "does not fit"},
		{resource.Flow{Match: []resource.Cond{masked(resource.FieldEthType, 1, 3)}}, "no mask"},
		{resource.Flow{Match: []resource.Cond{is(resource.FieldIPSrc, 1)}}, "Ethernet type"},
		{resource.Flow{Match: []resource.Cond{eth(0x86dd), is(resource.FieldIPSrc, 1)}}, "Ethernet type"},
		{resource.Flow{Match: []resource.Cond{eth(0x0800), is(resource.FieldTPDst, 1)}}, "IP protocol"},
		{resource.Flow{Match: []resource.Cond{eth(0x86dd), is(resource.FieldIPProto, 6), is(resource.FieldNDTargetLo, 1)}}, "IP protocol"},
		{resource.Flow{Do: do(setTo(resource.FieldEthSrc, 1<<48))}, "does not fit"},
		{resource.Flow{Do: do(setTo(resource.FieldEthType, 1))}, "cannot be set"},
		{resource.Flow{Do: do(setTo(99, 1))}, "cannot be set"},
		{resource.Flow{Do: do(to(1), resource.Act{Op: resource.OpLimit, Sym: portA, Value: 1})}, "first"},
	} {
		_, err := render(resource.Flows{Rules: []resource.Flow{c.flow}}, exampleCookie, nil, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.flow, err, c.want)
		}
	}
	same := []resource.Flow{
		{Match: []resource.Cond{eth(0x0800), is(resource.FieldIPSrc, 1)}},
		{Match: []resource.Cond{masked(resource.FieldIPSrc, 1, 0xffffffff), eth(0x0800)}, Do: do(to(10))},
	}
	if _, err := render(resource.Flows{Rules: same}, exampleCookie, nil, nil); err == nil {
		t.Error("two rules with one match passed")
	}
}

func linkRow(name string, ofport int, ids map[string]string) *interfaceRow {
	l := &interfaceRow{Name: name, ExternalIDs: ids}
	if ofport != 0 {
		l.OFPort = &ofport
	}
	return l
}

func TestBind(t *testing.T) {
	b := &bridge{bridgeRow: &bridgeRow{Name: "weft-int"}, links: map[string]*interfaceRow{}}
	for _, l := range []*interfaceRow{
		linkRow("weft-int", localPort, nil),
		linkRow("vnet0", 5, map[string]string{keyIfaceID: "acme/vm/a", keyMAC: "02:00:00:00:00:0A"}),
		linkRow("vnet1", 6, map[string]string{keyIfaceID: "5f0c-uuid", keyMAC: "02:00:00:00:00:0b"}),
		linkRow("vnet2", -1, map[string]string{keyIfaceID: "acme/vm/c"}),
		linkRow("vnet3", 0, map[string]string{keyMAC: "02:00:00:00:00:0d"}),
		linkRow("a-old", 9, map[string]string{keyIfaceID: "acme/vm/e"}),
		linkRow("b-new", 10, map[string]string{keyIfaceID: "acme/vm/e"}),
	} {
		b.links[l.Name] = l
	}
	x := newBinder(b)
	for sym, want := range map[string]int{
		"port:weft-int": localPort, "port:vnet1": 6, "port:vnet2": 0, "port:vnet3": 0, "port:none": 0,
		resource.NICSym("acme/vm/a", "02:00:00:00:00:ff"):  5,
		resource.NICSym("acme/vm/zz", "02:00:00:00:00:0a"): 5,
		resource.NICSym("acme/vm/b", "02:00:00:00:00:0B"):  6,
		resource.NICSym("acme/vm/c", "02:00:00:00:00:0c"):  0,
		resource.NICSym("acme/vm/d", "02:00:00:00:00:0d"):  0,
		resource.NICSym("acme/vm/e", ""):                   9,
		resource.NICSym("", ""):                            0,
		"nic:":                                             0, "": 0, "else:vnet0": 0,
	} {
		if got := x.number(sym, 0); got != want {
			t.Errorf("%s is %d, want %d", sym, got, want)
		}
	}
	// A second port for a NIC takes nothing from the first, whatever its name.
	twice := resource.NICSym("acme/vm/e", "")
	for before, want := range map[int]int{0: 9, 9: 9, 10: 10, 5: 9} {
		if got := x.number(twice, before); got != want {
			t.Errorf("a NIC of two ports that was at %d is at %d, want %d", before, got, want)
		}
	}
	got := x.bind(exampleFlows(), nil)
	if len(got) != 4 || got[gone] != 0 || got[local] != localPort {
		t.Errorf("bound %v", got)
	}
	if syms := unbound(map[string]int{"b": 0, "c": 1, "a": 0}); fmt.Sprint(syms) != "[a b]" {
		t.Errorf("unbound %v", syms)
	}
}

func TestParseLine(t *testing.T) {
	for line, want := range map[string]string{
		"cookie=0x12, priority=100,in_port=LOCAL,vlan_tci=0x0000/0x1000 actions=drop":                               "0x12 table=0,priority=100,in_port=LOCAL,vlan_tci=0x0000/0x1000 actions=drop",
		"cookie=0x12, table=60, actions=resubmit(,61),output:3":                                                     "0x12 table=60,priority=32768 actions=resubmit(,61),output:3",
		"cookie=0x0, table=3, idle_timeout=5, hard_timeout=6, send_flow_rem priority=7,ip,metadata=0x1 actions=x=1": "0x0 table=3,priority=7,ip,metadata=0x1 actions=x=1",
		"OFPST_FLOW reply (OF1.4) (xid=0x2):":                                                                       "",
	} {
		cookie, r, ok := parseLine(strings.ReplaceAll(line, "send_flow_rem p", "send_flow_rem, p"))
		got := ""
		if ok {
			got = fmt.Sprintf("%#x %s", cookie, r)
		}
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", line, got, want)
		}
	}
	value, mask := common([]uint64{0xaaaa_0000_0000_0011, 0xaaaa_0000_0000_0012})
	if value != 0xaaaa_0000_0000_0010 || mask != ^uint64(3) {
		t.Errorf("common %#x/%#x", value, mask)
	}
}

func TestDriftText(t *testing.T) {
	x := newBinder(&bridge{bridgeRow: &bridgeRow{Name: "weft-int"}, links: map[string]*interfaceRow{"a": linkRow("a", 7, nil), "c": linkRow("c", 8, nil)}})
	record := flowRecord{Text: map[string]string{"table=1,priority=1,": "drop", "table=1,priority=2,ip": "output:1"}}
	now := map[string]rule{}
	for _, r := range []rule{{1, 2, []string{"ip"}, "output:2"}, {1, 9, nil, "NORMAL"}} {
		now[r.key()] = r
	}
	u := &unit{mark: &flowMark{Bound: map[string]int{"port:a": 3, "port:b": 4, "port:c": 0, "port:weft-int": localPort}}}
	want := `port:a has moved from port 3 to 7
port:b has gone
port:c has appeared
missing table=1,priority=1 actions=drop
missing table=1,priority=2,ip actions=output:1
foreign table=1,priority=2,ip actions=output:2
foreign table=1,priority=9 actions=NORMAL`
	if got := driftText(u, record, now, x, nil); got != want {
		t.Errorf("got\n%s", got)
	}
	many := flowRecord{Text: map[string]string{}}
	for i := range 100 {
		many.Text[fmt.Sprintf("table=1,priority=%d,", i)] = "drop"
	}
	if got := driftText(&unit{mark: &flowMark{}}, many, nil, x, nil); !strings.HasSuffix(got, "and 60 more") {
		t.Errorf("got\n%s", got)
	}
	if got := driftText(&unit{}, flowRecord{}, nil, x, nil); got == "" {
		t.Error("a unit without mark has no drift")
	}
}

func TestCookies(t *testing.T) {
	a, b := &Driver{host: hostOf("weft")}, &Driver{host: hostOf("other")}
	if a.instanceCookie() == b.instanceCookie() || a.instanceCookie()&ownerMask != 0 || a.instanceCookie() == 0 {
		t.Errorf("instances are %#x and %#x", a.instanceCookie(), b.instanceCookie())
	}
	f := exampleFlows()
	bridge, cookie := splitID(f.ID())
	if bridge != f.Bridge || a.cookie(f.Owner) != a.instanceCookie()|cookie {
		t.Errorf("%s splits into %s and %#x", f.ID(), bridge, cookie)
	}
	u := unit{cookie: a.cookie(f.Owner)}
	if u.id(bridge) != f.ID() {
		t.Errorf("%s is not %s", u.id(bridge), f.ID())
	}
}
