package plugin

import (
	"fmt"
	"testing"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// What is asked for while flows are written does not lose them, and all flows of an
// owner on a host are one resource with whoever wrote each rule.
func TestFlowsOfADraft(t *testing.T) {
	d := NewDraft("network/acme/web", schema.Pos{File: "net.yaml", Line: 1})
	by := func(line int) resource.Author { return resource.Author{Pos: schema.Pos{File: "vms.yaml", Line: line}} }
	port := resource.ID{Kind: resource.KindPort, Name: "wi"}
	d.Flow("kvm1", []resource.ID{port}, resource.Flow{Priority: 1})
	for round := range 2 {
		d.Flows("kvm1", 20, func(f *resource.Flows) {
			for i := range 20 {
				d.Ask("kvm1", resource.Port{Name: fmt.Sprintf("p%d-%d", round, i)})
				f.Write(by(10*round+i), resource.Flow{Priority: 2})
			}
		})
	}
	d.Flow("kvm1", []resource.ID{port}, resource.Flow{Priority: 3})
	var all []resource.Flows
	for _, e := range d.Hosts["kvm1"] {
		if f, ok := e.State.(resource.Flows); ok {
			all = append(all, f)
		}
	}
	if len(all) != 1 || len(d.Hosts["kvm1"]) != 41 || len(all[0].Rules) != 42 || len(all[0].Ports) != 1 {
		t.Fatalf("%d entries, flows %v", len(d.Hosts["kvm1"]), all)
	}
	for line, want := range map[int]resource.Author{0: {}, 1: by(0), 20: by(19), 21: by(10), 40: by(29), 41: {}} {
		if got := all[0].Author(line); got != want {
			t.Errorf("rule %d is by %v, want %v", line, got, want)
		}
	}
}
