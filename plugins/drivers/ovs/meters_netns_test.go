//go:build netns

package ovs

import (
	"fmt"
	"strings"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// Limits are made, changed and lifted with their rules; what another hand does to
// them is drift; meters of others stay as they are.
func TestLimits(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	world := append([]resource.Entry{intBridge()}, pluggedPair(shared, "a")...)
	mustDo(t, d, steps(nil, world...))
	unit := func(mbit uint64) resource.Entry {
		return flowsOf("network/x/one",
			resource.Flow{Table: 0, Match: []resource.Cond{at("port:a")}, Do: do(limit("port:a", mbit, 0), to(10))},
			resource.Flow{Table: 60, Match: []resource.Cond{{Field: resource.FieldReg2, Sym: "port:a"}}, Do: do(limit("port:a", mbit, 60), resource.Act{Op: resource.OpOutput, Sym: "port:a"})})
	}
	in, out := meterID(d.cookie("network/x/one"), meterKey{"port:a", 0}, 0), meterID(d.cookie("network/x/one"), meterKey{"port:a", 60}, 0)
	// A foreign one has the number that we would have taken.
	s.meter("add-meter", "meter=%d,pktps,bands=type=drop,rate=5", in)
	s.meter("add-meter", "meter=7,kbps,bands=type=drop,rate=5")
	in2 := meterID(d.cookie("network/x/one"), meterKey{"port:a", 0}, 1)

	world = append(world, unit(200))
	mustDo(t, d, steps(nil, world[3]))
	s.mustBe("", world...)
	s.meters(map[uint32]meter{in2: {200000, 60000, 0}, out: {200000, 60000, 0}, 7: {}, in: {}})

	counts, err := d.passed(t.Context(), resource.IntegrationBridge, s.dumped())
	if p, ok := counts[in2]; err != nil || !ok || len(counts) != 2 || p.meter != meterOf(200) || p.bytes != 0 {
		t.Errorf("the switch counts %v, %v", counts, err)
	}

	world[3] = unit(10)
	o := mustObserve(t, s.driver(""), world...)
	mustDo(t, s.driver(""), steps(o, world[3]))
	s.mustBe("", world...)
	s.meters(map[uint32]meter{in2: {10000, 3000, 0}, out: {10000, 3000, 0}, 7: {}, in: {}})

	for word, break_ := range map[string]func(){
		"is 99 kbit/s": func() { s.meter("mod-meter", "meter=%d,kbps,burst,bands=type=drop,rate=99,burst_size=2000", out) },
		"is 0 kbit/s":  func() { s.meter("mod-meter", "meter=%d,pktps,bands=type=drop,rate=10000", out) },
		"is gone":      func() { s.ofctl("del-meter", resource.IntegrationBridge, fmt.Sprintf("meter=%d", in2)) },
	} {
		break_()
		o := mustObserve(t, s.driver(""), world...)
		diff := differing(o, world...)
		if len(diff) != 1 || !strings.Contains(diff[0], word) || !strings.Contains(diff[0], "port:a") {
			t.Errorf("seen as %q, want %s", diff, word)
		}
		if seen, ok := o.Set[world[3].State.ID()].State.(resource.Seen); !ok || seen.Rebound {
			t.Errorf("%s: it is no tampering", word)
		}
		mustDo(t, s.driver(""), steps(o, world[3]))
		s.mustBe("", world...)
		s.meters(map[uint32]meter{in2: {10000, 3000, 0}, out: {10000, 3000, 0}, 7: {}, in: {}})
	}

	// Without any note of ours, the numbers are found in our rules.
	if err := d.putMeterNote(resource.IntegrationBridge, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.dropFlowMark(resource.IntegrationBridge, d.cookie("network/x/one")); err != nil {
		t.Fatal(err)
	}
	mustDo(t, s.driver(""), steps(mustObserve(t, s.driver(""), world...), world[3]))
	s.mustBe("", world...)
	if n := len(s.dumped()); n != 4 {
		t.Errorf("%d meters after the notes were lost, not 4", n)
	}

	mustDo(t, s.driver(""), []*plan.Step{dropStep(0, world[3])})
	s.mustBe("", world[:3]...)
	s.meters(map[uint32]meter{7: {}, in: {}})
}

// What a weft that died left of a unit that nobody wants any more is cleared.
func TestUnusedMeters(t *testing.T) {
	s := startSwitch(t, "")
	d := s.driver("")
	world := append([]resource.Entry{intBridge()}, pluggedPair(shared, "a")...)
	mustDo(t, d, steps(nil, world...))
	id := meterID(d.cookie("network/x/gone"), meterKey{"port:a", 0}, 0)
	if err := d.putMeterNote(resource.IntegrationBridge, meterNote{id: {Cookie: d.cookie("network/x/gone"), Owner: "network/x/gone", meterKey: meterKey{"port:a", 0}}}); err != nil {
		t.Fatal(err)
	}
	s.meter("add-meter", "meter=%d,kbps,burst,bands=type=drop,rate=1000,burst_size=1024", id)
	o := mustObserve(t, s.driver(""), world...)
	left, ok := o.Set[resource.FlowsID(resource.IntegrationBridge, "network/x/gone")]
	if !ok {
		t.Fatalf("not seen: %v", o.Set)
	}
	mustDo(t, s.driver(""), []*plan.Step{dropStep(0, left)})
	s.mustBe("", world...)
	s.meters(map[uint32]meter{})
}

func (s *vswitch) meter(verb, format string, args ...any) {
	s.t.Helper()
	s.ofctl(verb, resource.IntegrationBridge, fmt.Sprintf(format, args...))
}

func (s *vswitch) dumped() map[uint32]meter {
	s.t.Helper()
	got, err := s.driver("").meters(s.t.Context(), resource.IntegrationBridge)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

func (s *vswitch) meters(want map[uint32]meter) {
	s.t.Helper()
	got := s.dumped()
	if len(got) != len(want) {
		s.t.Errorf("the switch has %v, not %v", got, want)
	}
	for id, m := range want {
		if has, ok := got[id]; !ok || has != m {
			s.t.Errorf("meter %d is %v, not %v", id, has, m)
		}
	}
}
