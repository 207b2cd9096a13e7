package plan_test

import (
	"encoding/json"
	"slices"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

func in(owner resource.Owner, states ...resource.State) *resource.Intent {
	var entries []resource.Entry
	for _, st := range states {
		entries = append(entries, resource.Entry{State: st, Owner: owner, Origin: []schema.Pos{{File: "net.yaml", Line: 1}}})
	}
	return resource.NewIntent("kvm1", []*resource.Fragment{resource.NewFragment(owner, entries)}, nil)
}

// What changes is shown at the line that somebody changed, and what changes for NICs
// under their verbs; a process goes with its files.
func TestSourceOfChanges(t *testing.T) {
	const owner = resource.Owner("network/acme/web")
	by := func(line int, nic string) resource.Author {
		return resource.Author{Pos: schema.Pos{File: "vms.yaml", Line: line}, NIC: nic}
	}
	network, mac := uint16(1), uint8(0)
	world := func(nics ...int) *resource.Intent {
		hosts := resource.File{Path: "hosts", Parts: []resource.Part{{Text: "10.1.1.1 router\n"}}}
		flows := resource.Flows{Bridge: "weft-int", Owner: owner, Rules: []resource.Flow{{Priority: network}}}
		for i, n := range nics {
			id := []string{"acme/a/web", "acme/b/web"}[n]
			hosts.Parts = append(hosts.Parts, resource.Part{Text: id + "\n"})
			hosts.Authors = append(hosts.Authors, resource.Lines{From: i + 1, N: 1, By: by(10+n, id)})
			flows.Write(by(10+n, id), resource.Flow{Priority: uint16(100 + n), Table: uint8(network) + mac})
		}
		p := resource.Process{Name: "dnsmasq", Argv: []string{"dnsmasq"}, Load: hosts.Content(), Reload: "HUP", After: []resource.ID{hosts.ID()}}
		return in(owner, resource.Bridge{Name: "weft-int"}, hosts, flows, p)
	}
	was := world(0)
	network = 2
	other := world(0)
	network, mac = 1, 1
	moved := world(0)
	mac = 0
	chain := func(rules ...resource.Rule) *resource.Intent {
		return in(owner, resource.NS{Name: "r", Owner: owner}, resource.Chain{NS: "r", Family: 4, Table: "filter", Name: "FW", Rules: rules})
	}
	rule := func(name string, line int) resource.Rule {
		return resource.Rule{Name: name, Do: resource.Verdict{Target: "ACCEPT"}, Origin: schema.Pos{File: "vip.yaml", Line: line}}
	}
	for name, c := range map[string]struct {
		base, head *resource.Intent
		phase      plan.Phase
		source     plan.Source
		nics       []string
		actions    int
	}{
		"a NIC comes":         {world(0), world(0, 1), plan.Prepare, plan.Source{File: "vms.yaml", Line: 11, Commit: "new"}, []string{"acme/b/web"}, 3},
		"a NIC goes":          {world(0, 1), world(0), plan.Release, plan.Source{File: "vms.yaml", Line: 11}, []string{"acme/b/web"}, 3},
		"a NIC changes":       {was, moved, plan.Prepare, plan.Source{File: "vms.yaml", Line: 10, Commit: "new"}, []string{"acme/a/web"}, 1},
		"the network changes": {was, other, plan.Design, plan.Source{File: "net.yaml", Line: 1, Commit: "new"}, nil, 1},
		"a rule comes": {
			chain(rule("one", 3)), chain(rule("one", 4), rule("two", 5)), plan.Implement,
			plan.Source{File: "vip.yaml", Line: 5, Commit: "new"}, nil, 1,
		},
		"a rule goes": {chain(rule("one", 3), rule("two", 4)), chain(rule("two", 3)), plan.Implement, plan.Source{File: "vip.yaml", Line: 3}, nil, 1},
	} {
		p, err := plan.Between(c.base, c.head, plan.Options{Revision: "new"})
		if err != nil {
			t.Fatal(err)
		}
		var back plan.Plan
		if b, err := json.Marshal(p); err != nil || json.Unmarshal(b, &back) != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(p.Actions) != c.actions {
			t.Errorf("%s: %d actions", name, len(p.Actions))
		}
		for i, a := range p.Actions {
			nics := a.NICs()
			if a.ID.Kind == resource.KindProcess {
				nics = c.nics // it is for whom its files are
			}
			if a.Phase != c.phase || a.Source("new") != c.source || !slices.Equal(nics, c.nics) {
				t.Errorf("%s: %s: %s at %v for %v", name, a.ID, a.Phase, a.Source("new"), a.NICs())
			}
			if b := back.Actions[i]; b.Source("new") != a.Source("new") || b.Phase != a.Phase || !slices.Equal(b.NICs(), a.NICs()) {
				t.Errorf("%s: %s: JSON says %s at %v for %v", name, a.ID, b.Phase, b.Source("new"), b.NICs())
			}
		}
	}
}

// An owner that goes is shut down where it is idle, released where a document still
// declares it, and else trashed.
func TestFarewell(t *testing.T) {
	const owner = resource.Owner("network/acme/web")
	base := in(owner, resource.NS{Name: "r", Owner: owner})
	for _, c := range []struct {
		idle     bool
		declared func(resource.Owner) bool
		want     plan.Phase
	}{
		{true, func(resource.Owner) bool { return true }, plan.Shutdown},
		{false, func(o resource.Owner) bool { return o == owner }, plan.Release},
		{false, func(resource.Owner) bool { return false }, plan.Trash},
		{false, nil, plan.Trash},
	} {
		head := resource.NewIntent("kvm1", nil, nil)
		head.Terms = []resource.Term{{Owner: owner, Idle: c.idle}}
		p, err := plan.Between(base, head, plan.Options{Declared: c.declared})
		if err != nil || len(p.Actions) != 1 || p.Actions[0].Phase != c.want {
			t.Errorf("%+v: %v, %v", c, p, err)
		}
	}
}
