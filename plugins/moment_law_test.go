package plugins_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft.dev/plugins/drivers/fw/course"
	"weft.dev/reconcile/driver/memhost"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/reach"
	"weft.dev/reconcile/resource"
)

// TestNeverMoreOpen: while a host goes from any tree to any other tree, at no moment does
// a router's packet filter let a packet pass that neither the old nor the new one does, or
// to somewhere else, or by a link that only the other has, with the addresses and routes
// of the moment. Packet filters are written as their driver does, write by write, all else
// step by step in any order that the engine may take.
func TestNeverMoreOpen(t *testing.T) {
	t.Parallel()
	w := &watched{t: t}
	for seed := range pairs(t) / 2 {
		rng := rand.New(rand.NewPCG(seed, 25))
		tree := world
		if seed%4 > 0 {
			tree = filtered
		}
		before, lock := compiled(t, tree(rng), nil)
		after, _ := compiled(t, tree(rng), lock)
		for _, name := range worldHosts {
			from, to := before.Intent(name), after.Intent(name)
			h := memhost.New()
			h.Load(from.Set())
			w.what = fmt.Sprintf("seed %d, host %s", seed, name)
			w.begin(rng, from.Set(), to.Set())
			w.goes(h, diffed(t, to, h, from), rng)
		}
	}
	if w.moments < 300 || w.passed < 1000 {
		t.Errorf("%d moments, %d packets passed", w.moments, w.passed)
	}
	t.Logf("%d moments, %d packets passed", w.moments, w.passed)
}

// filtered draws a network and a VPC that stay, and rules of all sorts about a few ports
// and sources, which do not.
func filtered(r *rand.Rand) []string {
	d := &drawing{Rand: r}
	d.infra()
	many := "192.0.2.0/28, 192.0.2.16/28, 192.0.2.32/28, 192.0.2.48/28, "
	source := func() string {
		return d.one("198.51.100.1/32", many+"198.51.100.1/32", many+"198.51.100.2/32", "0.0.0.0/0")
	}
	rules := func(format string, more func() string) string {
		var out []string
		for i := range 1 + d.IntN(3) {
			out = append(out, fmt.Sprintf(format, i, d.IntN(3), more()))
		}
		return strings.Join(out, ", ")
	}
	sources := func() string { return "sources: [" + source() + "]" }
	public := func(name, where, vm string) {
		var forwards []string
		for i := range 3 {
			if d.some(2, 3) {
				forwards = append(forwards, fmt.Sprintf("{name: p%d, protocol: tcp, ports: 808%d, to: {vm: %s-%d}, toPorts: 808%d%s}", i, i, vm, d.IntN(2), d.IntN(3), d.either(1, 2, ", "+sources())))
			}
		}
		d.doc("PublicIP", name+"-vip, account: acme", "zone: adv, %s, range: internet, address: 203.0.113.%d, portForwarding: [%s], firewall: [%s]", where, 20+len(name), strings.Join(forwards, ", "),
			rules("{name: f%d, protocol: tcp, ports: 808%d, %s}", sources))
	}
	d.doc("Network", "web, account: acme", "zone: adv, offering: isolated, physicalNetwork: vxlan, cidr: 10.1.0.0/24, egress: [%s]",
		rules("{name: e%d, action: Allow, protocol: tcp, ports: 808%d, destinations: [%s]}", source))
	public("web", "network: web", "web")
	d.doc("VPC", "shop, account: acme", "zone: adv, offering: Default VPC offering, cidr: 10.100.0.0/16")
	d.doc("NetworkACL", "list, account: acme", "vpc: shop, rules: [%s]", rules("{number: 1%d, name: r%[1]d, action: "+d.one("Allow", "Deny")+", protocol: tcp, ports: 808%d, %s}", sources))
	d.doc("Network", "front, account: acme", "zone: adv, vpc: shop, offering: tier, physicalNetwork: vxlan, cidr: 10.100.1.0/24, acl: %s", d.one("list", "list", "default_allow"))
	public("front", "vpc: shop", "front")
	for _, network := range []string{"web", "front"} {
		for i := range 2 {
			d.doc("VirtualMachine", fmt.Sprintf("%s-%d, account: acme", network, i), "host: a1, nics: [{network: %s, name: nic}]", network)
		}
	}
	return d.docs
}

// watched are the routers of a host on its way.
type watched struct {
	t               *testing.T
	what            string
	was, is         map[string]resource.Set       // by namespace
	links           map[string][2]map[string]bool // plugged before and after
	packets         map[string][]reach.Packet
	moments, passed int
}

// begin notes what passes before and after, and which packets tell them apart.
func (w *watched) begin(rng *rand.Rand, was, is resource.Set) {
	w.was, w.is, w.packets = map[string]resource.Set{}, map[string]resource.Set{}, map[string][]reach.Packet{}
	w.links = map[string][2]map[string]bool{}
	for _, ns := range slices.Sorted(maps.Keys(spaces(was, is))) {
		w.was[ns], w.is[ns] = inside(was, ns), inside(is, ns)
		w.links[ns] = [2]map[string]bool{plugged(was, ns), plugged(is, ns)}
		w.packets[ns] = drawn(rng, w.was[ns], w.is[ns])
	}
}

// spaces are the namespaces with a packet filter that is not the same in both.
func spaces(sets ...resource.Set) map[string]bool {
	out := map[string]bool{}
	for i, s := range sets {
		for id, e := range s {
			if st := sets[1-i][id].State; id.Kind == resource.KindChain && (st == nil || st.Fingerprint() != e.State.Fingerprint()) {
				out[e.State.(resource.Chain).NS] = true
			}
		}
	}
	return out
}

// inside is what of a set is in a namespace and decides what passes.
func inside(s resource.Set, ns string) resource.Set {
	out := resource.Set{}
	for id, e := range s {
		at, _, _ := strings.Cut(id.Name, "/")
		switch e.State.(type) {
		case resource.Chain, resource.AddrSet, resource.Addr, resource.Route, resource.RoutingRule, resource.NS:
			if at == ns {
				out[id] = e
			}
		}
	}
	return out
}

func routers(s resource.Set, ns string) []*reach.Router {
	in := inside(s, ns)
	var entries []resource.Entry
	for _, id := range in.IDs() {
		entries = append(entries, in[id])
	}
	return reach.Routers([]*resource.Fragment{resource.NewFragment("router/"+resource.Owner(ns), entries)})
}

// moment looks whether what passes now passes before or after, to the same end.
func (w *watched) moment(s resource.Set, ns string) {
	w.t.Helper()
	if w.packets[ns] == nil {
		return
	}
	links := plugged(s, ns)
	w.moments++
	now, was, is := routers(s, ns), routers(with(s, w.was[ns]), ns), routers(with(s, w.is[ns]), ns)
	for _, p := range w.packets[ns] {
		v, ok := sent(now, p)
		if !ok || !links[p.In] {
			continue
		}
		w.passed++
		old, before := sent(was, p)
		fresh, after := sent(is, p)
		if !(before && old == v && w.links[ns][0][p.In]) && !(after && fresh == v && w.links[ns][1][p.In]) {
			w.t.Fatalf("%s, %s: %+v passes to %s, before to %q (%v), after to %q (%v)", w.what, ns, p, v, old, before, fresh, after)
		}
	}
}

// plugged are the links of a namespace by which packets come in.
func plugged(s resource.Set, ns string) map[string]bool {
	ports := map[string]bool{}
	for _, e := range s {
		switch p := e.State.(type) {
		case resource.Port:
			ports[p.Name] = true
		case resource.BridgePort:
			ports[p.Name] = true
		}
	}
	out := map[string]bool{}
	for _, e := range s {
		if l, ok := e.State.(resource.Link); ok && l.NS == ns && ports[l.Host] {
			out[l.Name] = true
		}
	}
	return out
}

// with is s with the packet filter of another set; nothing where that has none: nothing
// passes where there is no router.
func with(s, filter resource.Set) resource.Set {
	out := resource.Set{}
	for _, x := range []struct {
		from   resource.Set
		filter bool
	}{{s, false}, {filter, true}} {
		for id, e := range x.from {
			if (id.Kind == resource.KindChain || id.Kind == resource.KindSet) == x.filter {
				out[id] = e
			}
		}
	}
	if !slices.ContainsFunc(out.IDs(), func(id resource.ID) bool { return id.Kind == resource.KindChain }) {
		return nil
	}
	return out
}

// sent is where a packet comes to.
func sent(routers []*reach.Router, p reach.Packet) (string, bool) {
	for _, r := range routers {
		if (r.Family == 4) == p.Dst.Is4() {
			v := r.Send(p)
			return fmt.Sprint(v.Dst, v.Port, v.Local, v.Behind), v.Pass
		}
	}
	return "", false
}

// goes does what p says and looks after each moment.
func (w *watched) goes(h *memhost.Host, p *plan.Plan, rng *rand.Rand) {
	w.t.Helper()
	done, last, early := make([]bool, len(p.Steps)), late(p), 0
	for _, l := range last {
		if !l {
			early++
		}
	}
	ready := func(i int, in map[int]bool) bool {
		return !done[i] && (!last[i] || early == 0) && !slices.ContainsFunc(p.Steps[i].After, func(j int) bool { return !done[j] && !in[j] })
	}
	for left := len(p.Steps); left > 0; {
		var free []int
		for i := range p.Steps {
			if ready(i, nil) {
				free = append(free, i)
			}
		}
		list := []int{free[rng.IntN(len(free))]}
		st := p.Steps[list[0]]
		ns, _, _ := strings.Cut(st.ID().Name, "/")
		if filters(st) {
			list = nil
			in := map[int]bool{}
			for i := range p.Steps {
				if at, _, _ := strings.Cut(p.Steps[i].ID().Name, "/"); at == ns && filters(p.Steps[i]) && ready(i, in) {
					in[i], list = true, append(list, i)
				}
			}
			w.writes(h.Set(), p, list, ns)
		}
		for _, i := range list {
			if err := errors.Join(h.Do(w.t.Context(), []*plan.Step{{Index: i, Action: p.Steps[i].Action, Drop: p.Steps[i].Drop}})...); err != nil {
				w.t.Fatalf("%s: %v", w.what, err)
			}
			if done[i] = true; !last[i] {
				early--
			}
		}
		left -= len(list)
		w.moment(h.Set(), ns)
	}
}

// late are the steps that the engine leaves for the end: drops that nothing waits for.
func late(p *plan.Plan) []bool {
	out := make([]bool, len(p.Steps))
	for i, st := range p.Steps {
		out[i] = st.Drop
	}
	for i := len(p.Steps) - 1; i >= 0; i-- {
		for _, j := range p.Steps[i].After {
			out[j] = out[j] && out[i]
		}
	}
	return out
}

func filters(st *plan.Step) bool {
	return st.ID().Kind == resource.KindChain || st.ID().Kind == resource.KindSet
}

// writes does what the driver of packet filters does for steps of one namespace.
func (w *watched) writes(has resource.Set, p *plan.Plan, list []int, ns string) {
	w.t.Helper()
	was, is := maps.Clone(has), maps.Clone(has)
	for _, i := range list {
		if id := p.Steps[i].ID(); p.Steps[i].Drop {
			delete(is, id)
		} else {
			is[id] = *p.Steps[i].Action.After
		}
	}
	for _, family := range []int{4, 6} {
		before, after := filter(was, ns, family), filter(is, ns, family)
		for _, x := range course.Writes(before, after) {
			if x.Set != nil {
				was.Put(resource.Entry{State: *x.Set})
			}
			for _, c := range x.Chains {
				was.Put(resource.Entry{State: c})
			}
			for _, name := range x.Drops {
				delete(was, resource.ChainID(ns, family, x.Table, name))
			}
			w.moment(was, ns)
		}
	}
}

func filter(s resource.Set, ns string, family int) course.Filter {
	out := course.Filter{Chains: map[course.Place]resource.Chain{}, Sets: map[string]resource.AddrSet{}}
	for _, e := range inside(s, ns) {
		switch st := e.State.(type) {
		case resource.Chain:
			if st.Family == family {
				out.Chains[course.At(st)] = st
			}
		case resource.AddrSet:
			if st.Family == family {
				out.Sets[st.Name] = st
			}
		}
	}
	return out
}

// drawn are packets about which rules of two states have something to say.
func drawn(rng *rand.Rand, states ...resource.Set) []reach.Packet {
	v := &vocabulary{addrs: map[netip.Addr]bool{netip.MustParseAddr("8.8.8.8"): true, netip.MustParseAddr("2001:db8:8::8"): true}, ports: map[uint16]bool{0: true, 8: true, 53: true}, links: map[string]bool{}}
	for _, s := range states {
		for _, e := range s {
			v.read(e.State)
		}
	}
	links, ports := slices.Sorted(maps.Keys(v.links)), slices.Sorted(maps.Keys(v.ports))
	addrs := slices.SortedFunc(maps.Keys(v.addrs), netip.Addr.Compare)
	var out []reach.Packet
	for range 4000 {
		p := reach.Packet{
			In: links[rng.IntN(len(links))], Src: addrs[rng.IntN(len(addrs))], Dst: addrs[rng.IntN(len(addrs))],
			Proto: []string{"tcp", "tcp", "udp", "icmp"}[rng.IntN(4)], Port: ports[rng.IntN(len(ports))],
		}
		if p.Src.Is4() != p.Dst.Is4() {
			continue
		}
		if p.Src.Is6() && p.Proto == "icmp" {
			p.Proto = "icmpv6"
		}
		if out = append(out, p); len(out) == 300 {
			break
		}
	}
	return out
}

// vocabulary is what rules name.
type vocabulary struct {
	addrs map[netip.Addr]bool
	ports map[uint16]bool
	links map[string]bool
}

func (v *vocabulary) read(st resource.State) {
	switch s := st.(type) {
	case resource.Addr:
		v.links[s.Link], v.addrs[s.Prefix.Addr()] = true, true
	case resource.AddrSet:
		for _, m := range s.Members {
			v.addrs[m.Addr()] = true
		}
	case resource.Chain:
		for _, r := range s.Rules {
			for _, p := range []netip.Prefix{r.Match.Src, r.Match.Dst} {
				if p.IsValid() {
					v.addrs[p.Addr()], v.addrs[p.Addr().Next()] = true, true
				}
			}
			if r.Do.To.IsValid() {
				v.addrs[r.Do.To] = true
			}
			for _, p := range r.Match.DstPorts {
				v.ports[p.From], v.ports[p.To] = true, true
			}
		}
	}
}
