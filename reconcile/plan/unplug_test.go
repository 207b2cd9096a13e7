package plan_test

import (
	"slices"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// A port is pulled before the rules of its router change, where its link goes; a port of
// another router is nobody's concern.
func TestPortsGoBeforeRulesChange(t *testing.T) {
	chain := func(ns, policy string) resource.Chain {
		return resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "INPUT", Policy: policy}
	}
	link := func(ns, host string) resource.Link {
		return resource.Link{NS: ns, Name: "eth1", Host: host, MAC: "02:00:00:00:00:01", Up: true}
	}
	plug := func(host string) []resource.State {
		l := link("r", host).ID()
		return []resource.State{resource.Port{Bridge: "br", Name: host, Link: &l}, resource.BridgePort{Bridge: "br", Name: host, Link: &l}}
	}
	for i, port := range plug("w0") {
		common := []resource.Entry{of(web, resource.NS{Name: "r", Owner: web}), of(web, resource.NS{Name: "q", Owner: web}), of(web, resource.Bridge{Name: "br", FailMode: "secure"})}
		if i == 1 {
			common[2] = of(web, resource.Link{Name: "br", Bridge: &resource.LinuxBridge{}, Up: true})
		}
		was := append(slices.Clone(common), of(web, link("r", "w0")), of(web, port), of(web, chain("r", "DROP")), of(web, chain("q", "DROP")))
		is := append(slices.Clone(common), of(web, chain("r", "ACCEPT")), of(web, chain("q", "ACCEPT")))
		p := diff(t, intentOf(is...), observedOf(intentOf(was...)), plan.Options{Last: intentOf(was...)})
		at := func(id resource.ID) int {
			return slices.IndexFunc(p.Steps, func(s *plan.Step) bool { return s.ID() == id })
		}
		pulled := at(port.ID())
		if pulled < 0 {
			t.Fatalf("%s stays where it is:\n%s", port.ID(), describe(p, nil))
		}
		for ns, want := range map[string]bool{"r": true, "q": false} {
			if got := slices.Contains(p.Steps[at(chain(ns, "").ID())].After, pulled); got != want {
				t.Errorf("the rules of %s wait for %s: %v, want %v:\n%s", ns, port.ID(), got, want, describe(p, nil))
			}
		}
	}
}

// A built-in chain goes before those of its packet filter that are written, and so with
// them; one that rules jump to goes once they do not.
func TestBuiltInChainsGoWithTheRest(t *testing.T) {
	chain := func(ns, table, name, policy string, rules ...resource.Rule) resource.Chain {
		return resource.Chain{NS: ns, Family: 4, Table: table, Name: name, Policy: policy, Rules: rules}
	}
	jump := resource.Rule{Name: "jump", Do: resource.Verdict{Jump: "LIST"}}
	nat, list := chain("r", "nat", "PREROUTING", "ACCEPT"), chain("r", "filter", "LIST", "")
	common := []resource.Entry{of(web, resource.NS{Name: "r", Owner: web}), of(web, resource.NS{Name: "q", Owner: web})}
	was := append(slices.Clone(common), of(web, nat), of(web, list), of(web, chain("r", "filter", "FORWARD", "DROP", jump)), of(web, chain("q", "filter", "FORWARD", "DROP")))
	is := append(slices.Clone(common), of(web, chain("r", "filter", "FORWARD", "ACCEPT")), of(web, chain("q", "filter", "FORWARD", "ACCEPT")))
	p := diff(t, intentOf(is...), observedOf(intentOf(was...)), plan.Options{Last: intentOf(was...)})
	at := func(c resource.Chain) int {
		return slices.IndexFunc(p.Steps, func(s *plan.Step) bool { return s.ID() == c.ID() })
	}
	for _, x := range []struct {
		first, then resource.Chain
		want        bool
	}{
		{nat, chain("r", "filter", "FORWARD", ""), true},
		{nat, chain("q", "filter", "FORWARD", ""), false},
		{chain("r", "filter", "FORWARD", ""), list, true},
	} {
		first, then := at(x.first), at(x.then)
		if first < 0 || then < 0 || slices.Contains(p.Steps[then].After, first) != x.want {
			t.Errorf("%s waits for %s: want %v:\n%s", x.then.ID(), x.first.ID(), x.want, describe(p, nil))
		}
	}
}
