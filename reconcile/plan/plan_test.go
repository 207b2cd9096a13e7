package plan_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

const web = resource.Owner("network/acme/web")

func intentOf(entries ...resource.Entry) *resource.Intent {
	by := map[resource.Owner][]resource.Entry{}
	for _, e := range entries {
		by[e.Owner] = append(by[e.Owner], e)
	}
	var fragments []*resource.Fragment
	for owner, l := range by {
		fragments = append(fragments, resource.NewFragment(owner, l))
	}
	return resource.NewIntent(hostName, fragments, nil)
}

func of(owner resource.Owner, st resource.State) resource.Entry {
	return resource.Entry{State: st, Owner: owner, Origin: []schema.Pos{{File: "a.yaml", Line: 3}}}
}

func TestPlanRoundTrip(t *testing.T) {
	for seed := range uint64(200) {
		r := newRand(seed, 21)
		from, to := world(r), world(r)
		holds := []resource.Hold{{Owner: "network/acme/n1", Cause: resource.HoldInvalid, Reason: "broken"}}
		to = resource.NewIntent(hostName, to.Fragments, holds)
		o := observedOf(from)
		o.Unread = []resource.Unread{{Kind: resource.KindSet, NS: "r0", Err: "exit 1"}}
		o.Unbound[web] = []string{"b", "a", "b"}
		o.Notices[web] = []string{"d", "c"}
		p := diff(t, to, o, plan.Options{Last: from, Revision: "4f1c", Lock: "sha256:1"})
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back plan.Plan
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(&back)
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != string(again) {
			t.Fatalf("seed %d: the plan changed on the way:\n%s\n%s", seed, b, again)
		}
		if !reflect.DeepEqual(p.Blocked, back.Blocked) || !reflect.DeepEqual(p.Held, back.Held) || p.Count() != back.Count() {
			t.Fatalf("seed %d: got %+v, want %+v", seed, back, p)
		}
		for i, s := range back.Steps {
			w := p.Steps[i]
			if s.Index != i || s.ID() != w.ID() || s.Drop != w.Drop || !slices.Equal(s.After, w.After) || s.Owner() != w.Owner() {
				t.Fatalf("seed %d: step %d: got %+v, want %+v", seed, i, s, w)
			}
			if st := s.State(); st != nil && st.Fingerprint() != w.State().Fingerprint() {
				t.Fatalf("seed %d: step %d makes something else", seed, i)
			}
		}
	}
}

func TestPlanReaderRefuses(t *testing.T) {
	action := `{"verb":"create","kind":"net.ns","name":"a","after":{"kind":"net.ns","owner":"o","state":{"name":"a"}}}`
	tests := []struct{ name, text, want string }{
		{"no version", `{"host":"h"}`, "formatVersion is missing"},
		{"newer version", `{"formatVersion":99}`, "newer than this weft"},
		{"unknown verb", `{"formatVersion":1,"actions":[{"verb":"paint"}]}`, `unknown verb "paint"`},
		{"unknown kind", strings.ReplaceAll(`{"formatVersion":1,"actions":[`+action+`]}`, "net.ns", "net.tun"), `unknown kind "net.tun"`},
		{"create without after", `{"formatVersion":1,"actions":[{"verb":"create","kind":"net.ns","name":"a"}]}`, "missing"},
		{"other state", `{"formatVersion":1,"actions":[` + strings.Replace(action, `"name":"a"`, `"name":"b"`, 1) + `]}`, "it is about net.ns a"},
		{"no such action", `{"formatVersion":1,"actions":[` + action + `],"steps":[{"action":1}]}`, "no action 1"},
		{"drop of nothing", `{"formatVersion":1,"actions":[` + action + `],"steps":[{"action":0,"drop":true}]}`, "no such step"},
		{"circle", `{"formatVersion":1,"actions":[` + action + `],"steps":[{"action":0,"after":[0]}]}`, "not before it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p plan.Plan
			if err := json.Unmarshal([]byte(tt.text), &p); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
	var p plan.Plan
	text := `{"formatVersion":1,"news":{"a":1},"actions":[` + strings.Replace(action, `"verb"`, `"news":1,"verb"`, 1) + `]}`
	if err := json.Unmarshal([]byte(text), &p); err != nil || len(p.Actions) != 1 {
		t.Errorf("unknown fields: got %d actions and error %v, want 1 and none", len(p.Actions), err)
	}
}

func TestFaultsOfTheCompiler(t *testing.T) {
	ns := resource.NS{Name: "r0", Owner: web}
	link := func(name string) resource.Link { return resource.Link{NS: "r0", Name: name, Host: "h" + name} }
	addr := func(link string) resource.Addr {
		return resource.Addr{NS: "r0", Link: link, Prefix: netip.MustParsePrefix("10.1.1.1/24")}
	}
	process := func(name, after string) resource.Process {
		return resource.Process{Name: name, After: []resource.ID{{Kind: resource.KindProcess, Name: after}}}
	}
	tests := []struct {
		name    string
		entries []resource.Entry
		want    []string
	}{
		{"one ID twice", []resource.Entry{of(web, ns), of("network/acme/db", ns)}, []string{"net.ns r0 is asked for twice", "network/acme/db (a.yaml:3)", "network/acme/web (a.yaml:3)"}},
		{"one claim twice", []resource.Entry{of(web, ns), of(web, link("a")), of(web, link("b")), of(web, addr("a")), of(web, addr("b"))}, []string{"address 10.1.1.1 in r0 is claimed twice", "r0/a/", "r0/b/"}},
		{"circle", []resource.Entry{of(web, process("a", "b")), of(web, process("b", "c")), of(web, process("c", "a"))}, []string{"wait for each other", "process a", "process b", "process c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := plan.Diff(intentOf(tt.entries...), resource.NewObserved(), plan.Options{})
			_, again := plan.Between(intentOf(), intentOf(tt.entries...), plan.Options{})
			for _, err := range []error{err, again} {
				for _, want := range tt.want {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("got error %v, want one with %q", err, want)
					}
				}
			}
		})
	}
}

func TestMissingNeedsBlock(t *testing.T) {
	to := intentOf(of(web, resource.Link{NS: "r0", Name: "eth0", Host: "h0"}), of(web, resource.File{Path: "a"}))
	p := diff(t, to, resource.NewObserved(), plan.Options{})
	if len(p.Actions) != 1 || len(p.Blocked) != 1 || !strings.Contains(p.Blocked[0].Reason, "net.ns r0, which nobody asks for") {
		t.Errorf("got actions %v, blocked %+v", p.Actions, p.Blocked)
	}
	if p.Converged() {
		t.Error("a host with something blocked is said to be converged")
	}
}

func TestFrozenHostsAreLeftAlone(t *testing.T) {
	to := intentOf(of(web, resource.File{Path: "a"}))
	to.Frozen = "state is Disabled"
	p := diff(t, to, resource.NewObserved(), plan.Options{})
	if !p.Empty() || len(p.Steps) != 0 || p.Frozen == "" || p.Digest == "" {
		t.Errorf("got %+v", p)
	}
}

func TestGuard(t *testing.T) {
	owners := 5
	files := func(n int) []resource.Entry {
		var out []resource.Entry
		for i := range n {
			owner := resource.Owner(fmt.Sprint("network/a/n", i%owners))
			out = append(out, of(owner, resource.File{Path: fmt.Sprint("f", i)}))
		}
		return out
	}
	tests := []struct {
		name     string
		from, to int
		limits   plan.Limits
		refused  bool
	}{
		{"nothing", 20, 20, plan.Limits{}, false},
		{"half", 20, 10, plan.Limits{}, false},
		{"more than half", 20, 9, plan.Limits{}, true},
		{"more than half of few", 10, 1, plan.Limits{}, false},
		{"all of few", 3, 0, plan.Limits{}, true},
		{"consent", 20, 0, plan.Limits{Consent: true}, false},
		{"own limits", 20, 17, plan.Limits{Share: 0.1, Least: 2}, true},
		{"first start", 0, 0, plan.Limits{}, false},
	}
	t.Run("two networks of a small host", func(t *testing.T) {
		owners = 2
		defer func() { owners = 5 }()
		p := diff(t, intentOf(files(2)...), observedOf(intentOf(files(20)...)), plan.Options{})
		if err := plan.Guard(p, 20, plan.Limits{}); err != nil {
			t.Error(err)
		}
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := diff(t, intentOf(files(tt.to)...), observedOf(intentOf(files(tt.from)...)), plan.Options{})
			err := plan.Guard(p, tt.from, tt.limits)
			var refused *plan.GuardError
			if errors.As(err, &refused) != tt.refused {
				t.Errorf("got %v, want refused %v", err, tt.refused)
			}
		})
	}
}

func TestDigestStandsForWhatIsTouchedAndNeeded(t *testing.T) {
	ns := resource.NS{Name: "r0", Owner: web}
	link := resource.Link{NS: "r0", Name: "eth0", Host: "h0"}
	addr := resource.Addr{NS: "r0", Link: "eth0", Prefix: netip.MustParsePrefix("10.1.1.1/24")}
	bystander := resource.File{Path: "a", Parts: []resource.Part{{Text: "1"}}}
	digest := func(link resource.Link, file resource.File, opt plan.Options) string {
		to := intentOf(of(web, ns), of(web, link), of(web, addr), of(web, file))
		from := intentOf(of(web, ns), of(web, link), of(web, file))
		return diff(t, to, observedOf(from), opt).Digest
	}
	first := digest(link, bystander, plan.Options{})
	other := bystander
	other.Parts = []resource.Part{{Text: "2"}}
	if digest(link, other, plan.Options{}) != first {
		t.Error("what the plan neither touches nor needs changes its digest")
	}
	moved := link
	moved.MTU = 1400
	if digest(moved, bystander, plan.Options{}) == first {
		t.Error("what the plan needs does not change its digest")
	}
	if digest(link, bystander, plan.Options{Revision: "b"}) == first || digest(link, bystander, plan.Options{Lock: "b"}) == first {
		t.Error("revision or lock do not change the digest")
	}
}

func TestDisruptions(t *testing.T) {
	ns := resource.NS{Name: "r0", Owner: web}
	bridge := resource.Bridge{Name: "br0", Datapath: "netdev"}
	link := resource.Link{NS: "r0", Name: "eth0", Host: "h0", MTU: 1500}
	addr := resource.Addr{NS: "r0", Link: "eth0", Prefix: netip.MustParsePrefix("10.1.1.1/24")}
	route := resource.Route{NS: "r0", Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.1.1.254"), Dev: "eth0"}
	port := resource.Port{Bridge: "br0", Name: "tap0", IfaceID: "acme/vm/web"}
	inner := link.ID()
	plugged := resource.Port{Bridge: "br0", Name: "h0", Link: &inner}
	process := resource.Process{Name: "web/dnsmasq", NS: "r0", Argv: []string{"dnsmasq"}, Reload: "HUP"}
	chain := resource.Chain{NS: "r0", Family: 4, Table: "filter", Name: "FORWARD"}
	set := resource.AddrSet{NS: "r0", Name: "peers", Family: 4}
	flows := resource.Flows{Bridge: "br0", Owner: web}
	file := resource.File{Path: "a"}
	all := []resource.State{ns, bridge, link, addr, route, port, process, chain, set, flows, file}
	narrow, elsewhere, restarted, reloaded := link, port, process, process
	narrow.MTU, elsewhere.Bridge, restarted.Start, reloaded.Load = 1400, "br1", 1, 1
	other, rules, members, rewritten, moreFlows := route, chain, set, file, flows
	other.Via = netip.MustParseAddr("10.1.1.253")
	rules.Policy, members.Members, rewritten.Mode = "DROP", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, 0o600
	moreFlows.Rules = []resource.Flow{{Priority: 1}}
	without := func(gone resource.State) []resource.State {
		return slices.DeleteFunc(slices.Clone(all), func(st resource.State) bool { return st.ID() == gone.ID() })
	}
	with := func(st resource.State, more ...resource.State) []resource.State {
		return append(append(without(st), st), more...)
	}
	tests := []struct {
		name string
		from []resource.State
		to   []resource.State
		want string // in the only disruption; "" = nobody is disturbed
	}{
		{"everything is new", nil, all, ""},
		{"mtu", all, with(narrow), "traffic of network/acme/web through r0/eth0 is interrupted"},
		{"address", all, without(addr), "connections to 10.1.1.1"},
		{"default route moves", all, with(other), "default route is interrupted"},
		{"default route", all, without(route), "default route is lost"},
		{"port moves", with(port, resource.Bridge{Name: "br1"}), with(elsewhere, resource.Bridge{Name: "br1"}), "NIC acme/vm/web is interrupted"},
		{"port", all, without(port), "NIC acme/vm/web is lost"},
		{"restart", all, with(restarted), "wait while it restarts"},
		{"reload", all, with(reloaded), ""},
		{"rules", all, with(rules), ""},
		{"members", all, with(members), ""},
		{"flows", all, with(moreFlows), ""},
		{"file", all, with(rewritten), ""},
		{"router", all, []resource.State{bridge, port, flows, file}, "the router of network/acme/web is lost"},
		{"router with its port", append(slices.Clone(all), plugged), []resource.State{bridge, port, flows, file}, "the router of network/acme/web is lost"},
		{"router's port", append(slices.Clone(all), plugged), all, "traffic through port h0 of br0 is lost"},
		{"bridge", []resource.State{bridge, port}, nil, "everything plugged into br0 is lost: network/acme/web"},
	}
	world := func(states []resource.State) *resource.Intent {
		var entries []resource.Entry
		for _, st := range states {
			entries = append(entries, of(web, st))
		}
		return intentOf(entries...)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := diff(t, world(tt.to), observedOf(world(tt.from)), plan.Options{})
			var got []string
			for _, a := range p.Actions {
				if a.Disrupts != "" {
					got = append(got, a.Disrupts)
				}
			}
			if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
				t.Errorf("got %q, want one with %q", got, tt.want)
			}
		})
	}
}

func TestMovedLinesAreAnEmptyPlan(t *testing.T) {
	for seed := range uint64(50) {
		from := world(newRand(seed, 22))
		var fragments []*resource.Fragment
		for _, f := range from.Fragments {
			entries := slices.Clone(f.Entries())
			for i := range entries {
				entries[i].Origin = []schema.Pos{{File: "moved.yaml", Line: i + 1}}
			}
			fragments = append(fragments, resource.NewFragment(f.Owner, entries))
		}
		to := resource.NewIntent(hostName, fragments, nil)
		a, err := plan.Between(from, to, plan.Options{})
		if err != nil || !a.Empty() || !diff(t, to, observedOf(from), plan.Options{}).Empty() {
			t.Fatalf("seed %d: %v %+v", seed, err, a)
		}
	}
}

func TestLinesThatChange(t *testing.T) {
	lines := func(from, to int) string {
		var l []string
		for i := from; i < to; i++ {
			l = append(l, fmt.Sprint("line ", i))
		}
		return strings.Join(l, "\n")
	}
	file := func(text string) *resource.Intent {
		return intentOf(of(web, resource.File{Path: "a", Parts: []resource.Part{{Text: text}}}))
	}
	p := diff(t, file(lines(0, 4000)+"\nlast"), observedOf(file(lines(1, 4001))), plan.Options{})
	c := p.Actions[0].Changes[0]
	want := []plan.Line{{Op: "+", Text: "line 0"}, {Text: "line 1"}, {Op: "@", Text: "3997 unchanged"}, {Text: "line 3999"}, {Op: "-", Text: "line 4000"}, {Op: "+", Text: "last"}}
	if !c.Lines || !slices.Equal(c.Diff, want) || c.From != "line 4000" || c.To != "line 0\nlast" {
		t.Errorf("got %+v from %q to %q, want %+v", c.Diff, c.From, c.To, want)
	}
}
