package resource_test

import (
	"testing"

	"weft.dev/reconcile/resource"
)

func TestGlob(t *testing.T) {
	id := resource.ID{Kind: resource.KindChain, Name: "weft-a-b/4/filter/EGRESS"}
	for pattern, want := range map[string]bool{
		"fw.chain/*": true, "*": true, "fw.chain/weft-a-b/4/filter/EGRESS": true, "fw.*/EGRESS": true, "fw.chain/*/?/filter/*": true,
		"": false, "ovs.port/*": false, "fw.chain": false, "fw.chain/*/EGRES": false, "?": false, "**x*": false,
	} {
		if got := (resource.Term{IgnoreDrift: pattern}).Matches(id); got != want {
			t.Errorf("%q matches %s: %v", pattern, id, got)
		}
	}
}

func TestCarry(t *testing.T) {
	frag := func(o resource.Owner) *resource.Fragment {
		return resource.NewFragment(o, []resource.Entry{{State: resource.NS{Name: string(o)}, Owner: o}})
	}
	a, b := resource.Owner("network/x/a"), resource.Owner("network/x/b")
	last := resource.NewIntent("h", []*resource.Fragment{frag(a), frag(b)}, nil)
	last.Terms = []resource.Term{{Owner: a, Keep: true}, {Owner: b, IgnoreDrift: "*"}}
	gone := resource.NewIntent("h", nil, nil)
	got := resource.Carry(last, gone)
	if h, ok := got.Held(a); !ok || h.Cause != resource.HoldPrune || !got.Term(a).Keep {
		t.Errorf("a is not kept: %+v", got)
	}
	if _, ok := got.Held("host/h"); !ok {
		t.Error("what a stands on may go")
	}
	if _, ok := got.Held(b); ok {
		t.Error("b is kept unasked")
	}
	if again := resource.Carry(got, gone); len(again.Holds) != len(got.Holds) {
		t.Error("kept once only")
	}
	back := resource.NewIntent("h", []*resource.Fragment{frag(a)}, nil)
	if resource.Carry(got, back) != back {
		t.Error("a document that is there needs no hold")
	}
	if resource.Carry(back, gone) != gone {
		t.Error("without the annotation it may go")
	}
}
