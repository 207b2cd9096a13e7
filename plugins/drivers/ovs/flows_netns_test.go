//go:build netns

package ovs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// patchPort is a port that needs no link.
func patchPort(name string) resource.Port {
	return resource.Port{Bridge: resource.IntegrationBridge, Name: name, Type: "patch", Peer: name + "-peer"}
}

// pluggedPair is a port with a number: patches get one when both halves exist.
func pluggedPair(owner resource.Owner, name string) []resource.Entry {
	a, b := patchPort(name), patchPort(name+"-peer")
	b.Peer = name
	return []resource.Entry{entry(owner, a), entry(owner, b)}
}

func flowsOf(owner resource.Owner, rules ...resource.Flow) resource.Entry {
	return entry(owner, resource.Flows{Bridge: resource.IntegrationBridge, Owner: owner, Rules: rules})
}

// simple rules of one network towards one port.
func simple(vnet uint64, port string) []resource.Flow {
	return []resource.Flow{
		{Table: 20, Match: []resource.Cond{is(resource.FieldMetadata, vnet)}, Do: do(resource.Act{Op: resource.OpLearn, Table: learnTable}, to(25))},
		{Table: 50, Match: []resource.Cond{is(resource.FieldMetadata, vnet)}, Do: do(resource.Act{Op: resource.OpDeliver, Sym: port, Table: 60})},
		{Table: 60, Match: []resource.Cond{is(resource.FieldMetadata, vnet), {Field: resource.FieldReg2, Sym: port}}, Do: do(resource.Act{Op: resource.OpOutput, Sym: port})},
	}
}

// Every word is taken by the switch, printed as it was sent, and observed as
// equal by a fresh process.
func TestEveryFlowIsStable(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	world := append([]resource.Entry{intBridge()}, pluggedPair(shared, "a")...)
	nic := patchPort("b")
	nic.Peer, nic.IfaceID, nic.MAC = "b-peer", "acme/vm/b", "02:00:00:00:00:0b"
	world = append(world, pluggedPair(shared, "b")[1], entry(shared, nic))
	mustDo(t, d, steps(nil, world...))
	unit := entry("network/acme/web", exampleFlows())
	mustDo(t, d, steps(nil, unit))
	world = append(world, unit)
	s.mustBe("", world...)

	v, err := d.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cookie := d.cookie("network/acme/web")
	want, err := render(exampleFlows(), cookie, newBinder(v.bridges[resource.IntegrationBridge]).bind(exampleFlows(), nil),
		map[meterKey]uint32{{portA, 61}: meterID(cookie, meterKey{portA, 61}, 0)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.printed(t.Context(), resource.IntegrationBridge, []uint64{cookie})
	if err != nil {
		t.Fatal(err)
	}
	for key, r := range want {
		if p, ok := got[cookie][key]; !ok || p.actions != r.actions {
			t.Errorf("sent    %s\nprinted %s", r, p)
		}
	}
	if len(got[cookie]) != len(want) {
		t.Errorf("%d rules printed, %d sent", len(got[cookie]), len(want))
	}
	o := mustObserve(t, s.driver(""), world...)
	if syms := o.Unbound["network/acme/web"]; !slices.Equal(syms, []string{gone}) {
		t.Errorf("unbound: %v", syms)
	}
	// Without knowing what is wanted, the whole value comes from the mark.
	alone := mustObserve(t, s.driver("")).Set[unit.State.ID()]
	if f, ok := alone.State.(resource.Flows); !ok || f.Fingerprint() != unit.State.Fingerprint() || alone.Owner != unit.Owner {
		t.Errorf("observed %T of %s", alone.State, alone.Owner)
	}
	mustDo(t, d, []*plan.Step{dropStep(0, unit)})
	s.mustBe("", world[:len(world)-1]...)
}

// flowsWorld is two networks on one bridge.
func flowsWorld() []resource.Entry {
	world := append([]resource.Entry{intBridge()}, pluggedPair(shared, "a")...)
	world = append(world, pluggedPair(shared, "b")...)
	return append(world, flowsOf("network/x/one", simple(1, "port:a")...), flowsOf("network/x/two", simple(2, "port:b")...))
}

func TestFlowDrift(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	world := flowsWorld()
	one, two := world[5], world[6]
	mustDo(t, d, after(steps(nil, world...)))
	s.mustBe("", world...)
	cookie := fmt.Sprintf("%#x", d.cookie("network/x/one"))
	id := one.State.ID()
	number := s.vsctl("get", "interface", "a", "ofport")

	seen := func(by string, words ...string) *resource.Observed {
		t.Helper()
		o := mustObserve(t, s.driver(""), world...)
		diff := differing(o, world...)
		if len(diff) != 1 || !strings.HasPrefix(diff[0], id.String()) {
			t.Fatalf("%s: seen as %q", by, diff)
		}
		for _, w := range words {
			if !strings.Contains(diff[0], w) {
				t.Errorf("%s: %q has no %q", by, diff[0], w)
			}
		}
		return o
	}
	heal := func(o *resource.Observed) {
		t.Helper()
		mustDo(t, s.driver(""), steps(o, one))
		s.mustBe("", world...)
	}
	for _, c := range []struct {
		verb, flow string
		words      []string
	}{
		{"add-flow", "cookie=" + cookie + ",table=60,priority=9,actions=drop", []string{"foreign table=60,priority=9 actions=drop"}},
		{"add-flow", "cookie=" + cookie + ",table=60,priority=0,metadata=1,reg2=" + number + ",actions=drop", []string{"foreign table=60", "missing table=60"}},
		{"add-flow", "cookie=0x5,table=60,priority=0,metadata=1,reg2=" + number + ",actions=drop", []string{"missing table=60,priority=0,metadata=0x1,reg2=0x" + number + " actions=output:" + number}},
		{"add-flow", "cookie=" + cookie + ",table=50,priority=0,metadata=1,hard_timeout=1000,actions=set_field:" + number + "->reg2,resubmit(,60)", []string{"attributes"}},
		{"del-flows", "table=20,metadata=1", []string{"missing table=20,priority=0,metadata=0x1 actions=learn("}},
		{"del-flows", "cookie=" + cookie + "/-1", []string{"missing table=20", "missing table=50", "missing table=60"}},
	} {
		s.ofctl(c.verb, resource.IntegrationBridge, c.flow)
		heal(seen(c.verb+" "+c.flow, c.words...))
	}

	t.Run("another cookie is none of ours", func(t *testing.T) {
		s.ofctl("add-flow", resource.IntegrationBridge, "cookie=0x77,table=99,actions=drop")
		s.mustBe("", world...)
		mustDo(t, d, steps(nil, one, two))
		if out := s.ofctl("dump-flows", resource.IntegrationBridge, "cookie=0x77/-1"); !strings.Contains(out, "table=99") {
			t.Errorf("foreign flow has gone: %s", out)
		}
	})
	t.Run("lost mark", func(t *testing.T) {
		if err := d.dropFlowMark(resource.IntegrationBridge, d.cookie("network/x/one")); err != nil {
			t.Fatal(err)
		}
		o := seen("lost mark", "note")
		if owner := mustObserve(t, s.driver("")).Set[id].Owner; owner != resource.Owner("unknown/"+id.Name[len("weft-int/"):]) {
			t.Errorf("owner without a mark: %s", owner)
		}
		heal(o)
	})
	t.Run("other owner of our instance", func(t *testing.T) {
		s.ofctl("add-flow", resource.IntegrationBridge, fmt.Sprintf("cookie=%#x,table=99,priority=1,actions=drop", d.instanceCookie()|0xabc))
		o := mustObserve(t, s.driver(""), world...)
		stray := resource.ID{Kind: resource.KindFlows, Name: "weft-int/000000000abc"}
		e, ok := o.Set[stray]
		if !ok || e.Owner != "unknown/000000000abc" {
			t.Fatalf("seen: %v", o.Set.IDs())
		}
		mustDo(t, d, []*plan.Step{dropStep(0, e)})
		s.mustBe("", world...)
	})
	t.Run("another instance", func(t *testing.T) {
		other := s.driver("other")
		if o := mustObserve(t, other, world...); len(o.Set) != 0 {
			t.Fatalf("sees %v", o.Set.IDs())
		}
		theirs := flowsOf("network/x/one", resource.Flow{Table: 98, Do: do(to(99))})
		mustDo(t, other, steps(nil, theirs))
		s.mustBe("other", theirs)
		s.mustBe("", world...)
		mustDo(t, d, []*plan.Step{dropStep(0, one), dropStep(1, two)})
		s.mustBe("other", theirs)
	})
}

// What a network has learned outlives changes of its rules, and counters of the
// rules that stay go on.
func TestRewriteKeepsWhatWasLearned(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	world := flowsWorld()
	mustDo(t, d, after(steps(nil, world...)))
	cookie := d.cookie("network/x/one")
	learned := fmt.Sprintf("cookie=%#x,table=30,hard_timeout=300,priority=1,metadata=1,dl_dst=02:00:00:00:00:01,actions=set_field:1->reg2", cookie)
	s.ofctl("add-flow", resource.IntegrationBridge, learned)
	s.mustBe("", world...)
	count := func(table string) string {
		out := s.ofctl("dump-flows", resource.IntegrationBridge, "--no-names", fmt.Sprintf("cookie=%#x/-1,table=%s", cookie, table))
		return strings.Join(strings.Split(out, "\n")[1:], "\n")
	}
	for range 3 {
		s.ofctl("packet-out", resource.IntegrationBridge, "in_port=controller packet=0200000000010200000000020800 actions=set_field:1->metadata,resubmit(,50)")
	}
	if got := count("50"); !strings.Contains(got, "n_packets=3") {
		t.Fatalf("three packets: %s", got)
	}
	next := flowsOf("network/x/one", append(simple(1, "port:a")[:2], resource.Flow{Table: 61, Match: []resource.Cond{is(resource.FieldMetadata, 1)}})...)
	mustDo(t, d, steps(nil, next))
	world[5] = next
	s.mustBe("", world...)
	if got := count("30"); !strings.Contains(got, "dl_dst=02:00:00:00:00:01") {
		t.Errorf("learned rule has gone: %s", got)
	}
	if got := count("50"); !strings.Contains(got, "n_packets=3") {
		t.Errorf("counter of an unchanged rule began anew: %s", got)
	}
	if got := count("60"); strings.Contains(got, "cookie") {
		t.Errorf("a rule that nobody wants stays: %s", got)
	}
	mustDo(t, d, []*plan.Step{dropStep(0, next)})
	if got := count("30"); strings.Contains(got, "cookie") {
		t.Errorf("learned rules outlive their network: %s", got)
	}
}

func TestPortAppearsLater(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	sym := resource.NICSym("acme/vm/a", "02:00:00:00:00:0a")
	unit := flowsOf("network/x/one", simple(1, sym)...)
	world := []resource.Entry{intBridge(), unit}
	mustDo(t, d, after(steps(nil, world...)))
	s.mustBe("", world...)
	if o := mustObserve(t, d, world...); !slices.Equal(o.Unbound["network/x/one"], []string{sym}) {
		t.Fatalf("unbound: %v", o.Unbound)
	}
	// libvirt plugs it in: not ours, and yet it is what the symbol means.
	for _, id := range []string{"iface-id=acme/vm/a", `attached-mac="02:00:00:00:00:0a"`} {
		s.vsctl("add-port", resource.IntegrationBridge, "vnet0", "--", "set", "interface", "vnet0", "type=internal", "external_ids:"+id)
		o := mustObserve(t, s.driver(""), world...)
		if diff := differing(o, world...); len(diff) != 1 || !strings.Contains(diff[0], "has appeared") {
			t.Fatalf("seen as %q", diff)
		}
		mustDo(t, d, steps(o, unit))
		s.mustBe("", world...)
		if o := mustObserve(t, d, world...); len(o.Unbound) > 0 {
			t.Fatalf("unbound: %v", o.Unbound)
		}
		if out := s.ofctl("dump-flows", resource.IntegrationBridge, "table=60"); !strings.Contains(out, "output:") {
			t.Fatalf("no rule: %s", out)
		}
		s.vsctl("del-port", "vnet0")
		o = mustObserve(t, s.driver(""), world...)
		if diff := differing(o, world...); len(diff) != 1 || !strings.Contains(diff[0], "has gone") {
			t.Fatalf("seen as %q", diff)
		}
		mustDo(t, d, steps(o, unit))
		s.mustBe("", world...)
	}
}

// A unit that the switch refuses holds back no other.
func TestBadFlowsStayApart(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	bad := flowsOf("network/x/bad", resource.Flow{Table: 20, Do: do(to(10))}) // backwards
	worse := flowsOf("network/x/worse", resource.Flow{Table: 10, Do: do(act(99))})
	clash := flowsOf("network/x/clash", simple(2, "port:b")[0])
	nowhere := entry("network/x/one", resource.Flows{Bridge: "nowhere", Owner: "network/x/one"})
	world := flowsWorld()
	list := after(steps(nil, append(slices.Clone(world), bad, worse, nowhere)...))
	errs := d.Do(t.Context(), list)
	for i, err := range errs {
		if failed := i >= len(world); failed != (err != nil) {
			t.Errorf("%s: %v", list[i].ID(), err)
		}
	}
	if text := errs[len(world)].Error(); !strings.Contains(text, "ovs-ofctl") {
		t.Errorf("a refused bundle: %s", text)
	}
	s.mustBe("", world...)
	if errs := d.Do(t.Context(), steps(nil, clash, world[6])); errs[0] == nil && errs[1] == nil {
		t.Error("two owners hold one rule")
	}
}

func TestSwitchRestart(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	world := flowsWorld()
	mustDo(t, d, after(steps(nil, world...)))
	ctx, cancel := context.WithCancel(t.Context())
	news := make(chan struct{}, 1000)
	done := make(chan error)
	go func() {
		done <- d.Watch(ctx, func(sc driver.Scope) {
			if slices.Contains(sc.Kinds, resource.KindFlows) {
				news <- struct{}{}
			}
		})
	}()
	stop(s.sw)
	s.startVswitchd()
	healed := false
	for !healed {
		<-news
		o, err := d.Observe(t.Context(), scopeOf(world...))
		if err != nil || len(o.Unread) > 0 {
			continue // not back yet
		}
		diff := differing(o, world...)
		switch {
		case len(diff) == 0 && strings.Contains(s.ofctl("dump-flows", resource.IntegrationBridge), "metadata"):
			healed = true
		case len(diff) > 0:
			d.Do(t.Context(), after(steps(o, world...)))
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.mustBe("", world...)
}

func TestWatch(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	world := flowsWorld()
	mustDo(t, d, after(steps(nil, world...)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rows, flows := make(chan struct{}, 1000), make(chan struct{}, 1000)
	go func() {
		_ = d.Watch(ctx, func(sc driver.Scope) {
			if slices.Contains(sc.Kinds, resource.KindPort) {
				rows <- struct{}{}
			} else {
				flows <- struct{}{}
			}
		})
	}()
	<-rows
	<-flows // both are looking now
	quiet(rows)
	quiet(flows)
	s.ofctl("add-flow", resource.IntegrationBridge, "cookie=0x1,table=30,priority=1,actions=drop")
	s.ofctl("add-flow", resource.IntegrationBridge, "cookie=0x1,table=31,priority=1,actions=drop")
	<-flows
	select {
	case <-flows:
		t.Error("a learned flow woke it")
	default:
	}
	s.vsctl("set", "interface", "a", "external_ids:x=y")
	<-rows
	s.vsctl("add-port", resource.IntegrationBridge, "vnet0", "--", "set", "interface", "vnet0", "type=internal")
	<-rows
	stop(s.db)
	s.startDB()
	quiet(rows)
	s.vsctl("--no-wait", "set", "interface", "a", "external_ids:x=z")
	<-rows
}

// A guest's device that is made anew under its name wakes the driver, which sees
// that the switch listens to the one before, and has it plugged in again.
func TestDeviceMadeAnew(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	tap := "ip tuntap add dev anew0 mode tap && ip link set anew0 up"
	veth := "ip link add anew1 type veth peer name anew1p && ip link set anew1 up"
	world := []resource.Entry{
		intBridge(),
		entry("network/a/n", resource.Port{Bridge: resource.IntegrationBridge, Name: "anew0", IfaceID: "a/vm/0"}),
		entry("network/a/n", resource.Port{Bridge: resource.IntegrationBridge, Name: "anew1", IfaceID: "a/vm/1"}),
	}
	sh(t, tap+" && "+veth)
	t.Cleanup(func() { sh(t, "ip link del anew0; ip link del anew1") })
	mustDo(t, d, steps(nil, world...))
	s.mustBe("", world...)
	rows := make(chan struct{}, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = d.Watch(ctx, func(sc driver.Scope) {
			if slices.Contains(sc.Kinds, resource.KindPort) {
				rows <- struct{}{}
			}
		})
	}()
	// The news of what was done before are through: those of the devices come after them.
	<-rows
	s.vsctl("set", "interface", "anew0", "external_ids:x=y")
	<-rows
	for name, script := range map[string]string{"anew0": tap, "anew1": veth} {
		again := func() {
			quiet(rows)
			sh(t, "ip link del "+name+" && "+script)
		}
		again()
		for healed, tries := false, 0; !healed; {
			select {
			case <-rows:
			case <-time.After(15 * time.Second):
				t.Fatalf("nobody noticed that %s was made anew", name)
			}
			o := mustObserve(t, d, world...)
			switch text := strings.Join(differing(o, world...), "\n"); {
			case strings.Contains(text, "made anew"):
				mustDo(t, d, steps(o, world[1:]...))
				healed = true
			case text != "":
				t.Fatal(text)
			case strings.Contains(sh(t, "ip -o link show "+name), "PROMISC"):
				// The switch was so fast that it saw the old one go, and opened the new one.
				if tries++; tries == 50 {
					t.Fatalf("the switch itself opens %s anew, each time", name)
				}
				again()
			}
		}
		s.mustBe("", world...)
	}
}

func quiet(c chan struct{}) {
	for len(c) > 0 {
		<-c
	}
}
