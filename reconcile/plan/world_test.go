package plan_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

const hostName = "kvm1"

// draw makes random but consistent worlds: everything needed is there, and
// nothing is claimed twice.
type draw struct {
	*rand.Rand
	by     map[resource.Owner][]resource.Entry
	have   resource.Set
	bridge []resource.ID
}

func newRand(seed, law uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, law)) }

func (d *draw) some(n, of int) bool { return d.IntN(of) < n }

func (d *draw) ask(owner resource.Owner, st resource.State) resource.ID {
	e := resource.Entry{State: st, Owner: owner, Origin: []schema.Pos{{File: "net.yaml", Line: 1 + d.IntN(90)}}}
	d.by[owner] = append(d.by[owner], e)
	d.have.Put(e)
	return st.ID()
}

// pick draws those of ids that are there, each with a chance of one half.
func (d *draw) pick(ids []resource.ID) []resource.ID {
	var out []resource.ID
	for _, id := range ids {
		if d.some(1, 2) {
			out = append(out, id)
		}
	}
	return out
}

// world draws an intent without holds.
func world(r *rand.Rand) *resource.Intent {
	d := &draw{Rand: r, by: map[resource.Owner][]resource.Entry{}, have: resource.Set{}}
	d.shared()
	d.linuxShared()
	for i := range 3 {
		if d.some(3, 4) {
			d.network(i)
		}
	}
	var fragments []*resource.Fragment
	for owner, entries := range d.by {
		fragments = append(fragments, resource.NewFragment(owner, entries))
	}
	return resource.NewIntent(hostName, fragments, nil)
}

const shared = resource.Owner("host/" + hostName)

func (d *draw) shared() {
	var ends []resource.ID
	for i := range 3 {
		if !d.some(4, 5) {
			continue
		}
		name := fmt.Sprintf("br%d", i)
		b := resource.Bridge{Name: name, Datapath: []string{"netdev", "system"}[d.IntN(8)/7], FailMode: "secure", MTU: 1500 + 100*d.IntN(2)}
		d.bridge = append(d.bridge, d.ask(shared, b))
		if !d.some(2, 3) {
			continue
		}
		d.ask(shared, resource.Link{Name: name, Of: name, Up: true, MTU: 1500 + d.IntN(2)})
		a := resource.Addr{Link: name, Prefix: netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/24", i+1+3*d.IntN(2)))}
		ends = append(ends, d.ask(shared, a))
	}
	if len(d.bridge) == 0 {
		return
	}
	remotes := d.Perm(4)
	for i := range 3 {
		if !d.some(2, 3) {
			continue
		}
		t := resource.Tunnel{
			Bridge: d.bridge[d.IntN(len(d.bridge))].Name, Name: fmt.Sprintf("tun%d", i), Type: "vxlan",
			Local: netip.MustParseAddr("192.0.2.1"), Remote: netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + remotes[i])}), DstPort: 4789,
		}
		if len(ends) > 0 && d.some(1, 2) {
			t.Endpoint = &ends[d.IntN(len(ends))]
		}
		d.ask(shared, t)
	}
}

func (d *draw) network(i int) {
	owner := resource.Owner(fmt.Sprintf("network/acme/n%d", i))
	ns := fmt.Sprintf("r%d", i)
	ready := []resource.ID{}
	if d.some(4, 5) {
		ready = d.router(owner, ns)
	}
	var files []resource.ID
	for j := range 2 {
		if d.some(2, 3) {
			// A file whose name networks share changes hands.
			path := fmt.Sprintf("n%d/f%d", i, j)
			if j == 1 {
				path = "common"
			}
			if _, ok := d.have[resource.ID{Kind: resource.KindFile, Name: path}]; ok {
				continue
			}
			text := fmt.Sprintf("line %d\n", d.IntN(3))
			files = append(files, d.ask(owner, resource.File{Path: path, Mode: 0o644, Parts: []resource.Part{{Text: text}}}))
		}
	}
	if _, ok := d.have[resource.ID{Kind: resource.KindNS, Name: ns}]; !ok {
		ns = ""
	}
	if d.some(2, 3) {
		p := resource.Process{Name: fmt.Sprintf("n%d/dnsmasq", i), NS: ns, Argv: []string{"dnsmasq"}, Start: uint64(d.IntN(2)), Load: uint64(d.IntN(2))}
		p.After = d.pick(append(slices.Clone(files), ready...))
		d.ask(owner, p)
	}
	d.plugs(owner, i, ready)
	if d.some(1, 2) {
		d.linux(owner, i)
	}
}

// router draws what lies in a namespace; it returns what others may need.
func (d *draw) router(owner resource.Owner, ns string) []resource.ID {
	ids := []resource.ID{d.ask(owner, resource.NS{Name: ns, Owner: owner})}
	addrs := d.Perm(4)
	for j := range 2 {
		if !d.some(3, 4) {
			continue
		}
		name := fmt.Sprintf("eth%d", j)
		link := d.ask(owner, resource.Link{NS: ns, Name: name, Host: fmt.Sprintf("%s-%s-%d", ns, name, d.IntN(6)/5), Up: true, MTU: 1450 + d.IntN(2), MAC: fmt.Sprint("02:00:00:00:00:0", d.IntN(2))})
		ids = append(ids, link)
		if !d.some(3, 4) {
			continue
		}
		a := d.ask(owner, resource.Addr{NS: ns, Link: name, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 1, byte(1 + addrs[j])}), 24)})
		ids = append(ids, a)
		if d.some(1, 2) {
			six := netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::%d/64", j, 1+d.IntN(2)))
			ids = append(ids, d.ask(owner, resource.Addr{NS: ns, Link: name, Prefix: six}))
			d.ask(owner, resource.Sysctl{NS: ns, Key: "net.ipv6.conf." + name + ".accept_ra", Value: fmt.Sprint(d.IntN(2)), Link: &link})
		}
		if d.some(1, 3) {
			d.ask(owner, resource.Qdisc{NS: ns, Link: name, Mbit: 10 + d.IntN(2)})
		}
		if d.some(1, 2) && !d.has(resource.ID{Kind: resource.KindRoute, Name: ns + "/0.0.0.0/0"}) {
			r := resource.Route{NS: ns, Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.AddrFrom4([4]byte{10, 1, 1, byte(200 + d.IntN(2))}), Dev: name}
			if d.some(1, 2) {
				r.From = &a
			}
			ids = append(ids, d.ask(owner, r))
		}
	}
	ids = append(ids, d.filter(owner, ns)...)
	if d.some(1, 2) {
		s := resource.Sysctl{NS: ns, Key: "net.ipv4.ip_forward", Value: fmt.Sprint(d.IntN(2)), After: d.pick(ids[1:])}
		ids = append(ids, d.ask(owner, s))
	}
	return ids
}

func (d *draw) has(id resource.ID) bool { _, ok := d.have[id]; return ok }

func (d *draw) filter(owner resource.Owner, ns string) []resource.ID {
	var ids []resource.ID
	var rules []resource.Rule
	for j := range 2 {
		if d.some(1, 2) {
			name := fmt.Sprintf("set%d", j)
			members := []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", d.IntN(3)))}
			ids = append(ids, d.ask(owner, resource.AddrSet{NS: ns, Name: name, Family: 4 + d.IntN(6)/5*2, Members: members}))
			if d.some(1, 2) {
				rules = append(rules, resource.Rule{Name: name, Match: resource.Match{SrcSet: name}, Do: resource.Verdict{Target: "ACCEPT"}})
			}
		}
	}
	// Chains jump to those made before them, in either of two orders.
	names := []string{"one", "two", "three"}
	if d.some(1, 2) {
		slices.Reverse(names)
	}
	for _, name := range names {
		if !d.some(2, 3) {
			continue
		}
		own := slices.Clone(rules)
		if d.some(1, 3) {
			own = append(own, resource.Rule{Match: resource.Match{In: "eth0"}, Do: resource.Verdict{Target: "DROP"}})
		}
		id := d.ask(owner, resource.Chain{NS: ns, Family: 4, Table: "filter", Name: name, Rules: own})
		ids = append(ids, id)
		rules = append(rules, resource.Rule{Do: resource.Verdict{Jump: name}})
	}
	return ids
}

// plugs draws ports and flows on bridges.
func (d *draw) plugs(owner resource.Owner, i int, ready []resource.ID) {
	if len(d.bridge) == 0 {
		return
	}
	var ports []resource.ID
	for j := range 3 {
		if !d.some(2, 3) {
			continue
		}
		p := resource.Port{Bridge: d.bridge[d.IntN(len(d.bridge))].Name, Name: fmt.Sprintf("n%dp%d", i, j), IfaceID: fmt.Sprintf("acme/vm%d/n%d", j, i), MAC: fmt.Sprint("02:", d.IntN(3))}
		for _, id := range d.pick(ready) {
			switch id.Kind {
			case resource.KindLink:
				p.Link = &id
			case resource.KindChain, resource.KindSet:
				p.Guards = append(p.Guards, id)
			}
		}
		ports = append(ports, d.ask(owner, p))
	}
	if d.some(2, 3) {
		f := resource.Flows{Bridge: d.bridge[d.IntN(len(d.bridge))].Name, Owner: owner, Ports: d.pick(ports)}
		for _, p := range f.Ports {
			f.Rules = append(f.Rules, resource.Flow{Priority: uint16(d.IntN(3)), Do: []resource.Act{{Op: resource.OpOutput, Sym: resource.PortSym(p.Name)}}})
		}
		d.ask(owner, f)
	}
}

// observedOf is the observation of a host that is all that in says.
func observedOf(in *resource.Intent) *resource.Observed {
	o := resource.NewObserved()
	o.Set = in.Set()
	return o
}

// shuffled is in, written down in another order.
func shuffled(r *rand.Rand, in *resource.Intent) *resource.Intent {
	var fragments []*resource.Fragment
	for _, i := range r.Perm(len(in.Fragments)) {
		f := in.Fragments[i]
		var entries []resource.Entry
		for _, j := range r.Perm(f.Len()) {
			entries = append(entries, f.Entries()[j])
		}
		fragments = append(fragments, resource.NewFragment(f.Owner, entries))
	}
	return resource.NewIntent(in.Host, fragments, slices.Clone(in.Holds))
}

// without is in less the fragments of owners.
func without(in *resource.Intent, owners ...resource.Owner) []*resource.Fragment {
	return slices.DeleteFunc(slices.Clone(in.Fragments), func(f *resource.Fragment) bool { return slices.Contains(owners, f.Owner) })
}
