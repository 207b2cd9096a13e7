package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// routers is an intent of n networks with a router each and about 50 entries.
func routers(n int) *resource.Intent {
	fragments := []*resource.Fragment{resource.NewFragment(shared, []resource.Entry{of(shared, resource.Bridge{Name: "br0", Datapath: "system"})})}
	for i := range n {
		fragments = append(fragments, routerFragment(i, 0))
	}
	return resource.NewIntent(hostName, fragments, nil)
}

func routerFragment(i, change int) *resource.Fragment {
	owner := resource.Owner(fmt.Sprintf("network/acme/n%05d", i))
	ns := fmt.Sprintf("r%05d", i)
	ask := []resource.Entry{of(owner, resource.NS{Name: ns, Owner: owner})}
	add := func(st resource.State) resource.ID {
		ask = append(ask, of(owner, st))
		return st.ID()
	}
	link := add(resource.Link{NS: ns, Name: "eth0", Host: ns, MTU: 1450, Up: true})
	add(resource.Addr{NS: ns, Link: "eth0", Prefix: netip.MustParsePrefix("10.1.1.1/24")})
	add(resource.Route{NS: ns, Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.1.1.254"), Dev: "eth0"})
	var guards []resource.ID
	for j := range 20 {
		var rules []resource.Rule
		for k := range 5 {
			rules = append(rules, resource.Rule{
				Name:  fmt.Sprint("rule", k),
				Match: resource.Match{Proto: "tcp", DstPorts: []schema.PortRange{{From: uint16(k + 1 + change), To: uint16(k + 1 + change)}}},
				Do:    resource.Verdict{Target: "ACCEPT"},
			})
		}
		guards = append(guards, add(resource.Chain{NS: ns, Family: 4, Table: "filter", Name: fmt.Sprint("C", j), Rules: rules}))
	}
	var files []resource.ID
	for j := range 10 {
		files = append(files, add(resource.File{Path: fmt.Sprintf("%s/f%d", ns, j), Parts: []resource.Part{{Text: "some text of a file\n"}}}))
	}
	add(resource.Process{Name: ns + "/dnsmasq", NS: ns, Argv: []string{"dnsmasq"}, After: append(files, link)})
	port := add(resource.Port{Bridge: "br0", Name: ns, Link: &link, Guards: guards[:2]})
	for j := range 12 {
		add(resource.Port{Bridge: "br0", Name: fmt.Sprintf("%s-%d", ns, j), IfaceID: fmt.Sprintf("acme/vm%d/n%d", j, i)})
	}
	var flows []resource.Flow
	for j := range 60 {
		flows = append(flows, resource.Flow{Table: 60, Priority: uint16(j), Match: []resource.Cond{{Field: resource.FieldMetadata, Value: uint64(i)}}, Do: []resource.Act{{Op: resource.OpOutput, Sym: resource.PortSym(ns)}}})
	}
	add(resource.Flows{Bridge: "br0", Owner: owner, Rules: flows, Ports: []resource.ID{port}})
	return resource.NewFragment(owner, ask)
}

// changed is in with one fragment made anew.
func changed(in *resource.Intent, f *resource.Fragment) *resource.Intent {
	fragments := slices.Clone(in.Fragments)
	for i := range fragments {
		if fragments[i].Owner == f.Owner {
			fragments[i] = f
		}
	}
	return resource.NewIntent(in.Host, fragments, nil)
}

func benchmarkDiff(b *testing.B, to, from *resource.Intent, actions int) {
	b.Helper()
	seen := observedOf(from)
	b.ReportMetric(float64(to.Len()), "entries")
	b.ReportAllocs()
	for b.Loop() {
		p, err := plan.Diff(to, seen, plan.Options{Last: from})
		if err != nil || len(p.Actions) != actions {
			b.Fatalf("%d actions, want %d; %v", len(p.Actions), actions, err)
		}
	}
}

func benchmarkBetween(b *testing.B, base, head *resource.Intent, actions int) {
	b.Helper()
	b.ReportMetric(float64(head.Len()), "entries")
	b.ReportAllocs()
	for b.Loop() {
		p, err := plan.Between(base, head, plan.Options{})
		if err != nil || len(p.Actions) != actions {
			b.Fatalf("%d actions, want %d; %v", len(p.Actions), actions, err)
		}
	}
}

func BenchmarkDiff200RoutersUnchanged(b *testing.B) { in := routers(200); benchmarkDiff(b, in, in, 0) }

func BenchmarkDiff200RoutersOneChange(b *testing.B) {
	in := routers(200)
	benchmarkDiff(b, changed(in, routerFragment(100, 1)), in, 20)
}

func BenchmarkDiff200RoutersBringUp(b *testing.B) {
	in := routers(200)
	benchmarkDiff(b, in, resource.NewIntent(hostName, nil, nil), in.Len())
}

func BenchmarkDiff200RoutersTearDown(b *testing.B) {
	in := routers(200)
	benchmarkDiff(b, resource.NewIntent(hostName, nil, nil), in, in.Len())
}

func BenchmarkBetween10kFragmentsEqual(b *testing.B) {
	in := routers(10000)
	benchmarkBetween(b, in, in, 0)
}

func BenchmarkBetween10kFragmentsOneChange(b *testing.B) {
	in := routers(10000)
	benchmarkBetween(b, in, changed(in, routerFragment(5000, 1)), 20)
}

func BenchmarkBetween10kFragmentsOneRemoved(b *testing.B) {
	in := routers(10000)
	head := resource.NewIntent(hostName, slices.Delete(slices.Clone(in.Fragments), 5001, 5002), nil)
	benchmarkBetween(b, in, head, in.Fragments[5001].Len())
}
