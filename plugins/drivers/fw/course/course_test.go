package course_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft.dev/plugins/drivers/fw/course"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// packet is the first one of a connection.
type packet struct {
	src, dst byte // hosts of 10.0.0.0/24
	port     uint16
}

func addr(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, last}) }

func one(last byte) netip.Prefix { return netip.PrefixFrom(addr(last), 32) }

// send returns where a packet comes out of f; false: nowhere.
func send(f course.Filter, p packet) (packet, bool) {
	for _, hook := range []course.Place{{Table: "mangle", Name: "PREROUTING"}, {Table: "nat", Name: "PREROUTING"}, {Table: "filter", Name: "FORWARD"}} {
		c := f.Chains[hook]
		target := walk(f, hook, &p)
		if target == "" && c.Policy == "DROP" || target == "DROP" || target == "REJECT" {
			return p, false
		}
	}
	return p, true
}

// walk is the target that ends a chain, "" at its end.
func walk(f course.Filter, at course.Place, p *packet) string {
	for _, r := range f.Chains[at].Rules {
		m := r.Match
		switch {
		case m.Src.IsValid() && !m.Src.Contains(addr(p.src)), m.Dst.IsValid() && !m.Dst.Contains(addr(p.dst)):
			continue
		case m.SrcSet != "" && !slices.Contains(f.Sets[m.SrcSet].Members, one(p.src)):
			continue
		case len(m.DstPorts) > 0 && (p.port < m.DstPorts[0].From || p.port > m.DstPorts[0].To):
			continue
		case len(m.CT) > 0 && !slices.Contains(m.CT, "NEW"):
			continue
		case r.Do.Jump != "":
			if t := walk(f, course.Place{Table: at.Table, Name: r.Do.Jump}, p); t != "" {
				return t
			}
			continue
		case r.Do.Target == "DNAT":
			p.dst = r.Do.To.As4()[3]
			return "ACCEPT"
		case r.Do.Target == "RETURN":
			return ""
		case r.Do.Target != "MARK":
			return r.Do.Target
		}
	}
	return ""
}

// sets are the targets of rules with sets: none tells two things apart.
var sets = map[string][]string{
	"PREROUTING": {"ACCEPT", "DROP"}, "FORWARD": {"ACCEPT", "DROP"}, "fw": {"ACCEPT", "DROP"}, "out": {"ACCEPT", "DROP"}, "list": {"RETURN", "DROP"},
}

// drawn is a filter of a few rules, each of some shapes, and what was is where another
// stays as it was.
func drawn(r *rand.Rand, was *course.Filter) course.Filter {
	f := course.Filter{Chains: map[course.Place]resource.Chain{}, Sets: map[string]resource.AddrSet{}}
	chain := func(table, name, policy string, from, to int, do ...resource.Verdict) {
		at := course.Place{Table: table, Name: name}
		c := resource.Chain{NS: "x", Family: 4, Table: table, Name: name, Policy: policy}
		if was != nil {
			if old, ok := was.Chains[at]; ok {
				c.Rules = slices.Clone(old.Rules)
				if policy != "" && r.IntN(4) > 0 {
					c.Policy = old.Policy
				}
			}
		}
		for range r.IntN(3) {
			if n := len(c.Rules); n > 0 {
				i := r.IntN(n)
				c.Rules = slices.Delete(c.Rules, i, i+1)
			}
		}
		for range from + r.IntN(to-from+1) {
			x := resource.Rule{Do: do[r.IntN(len(do))]}
			if r.IntN(2) == 0 {
				x.Match.Src = one(byte(r.IntN(4)))
			}
			if p := uint16(r.IntN(4)); r.IntN(2) == 0 {
				x.Match.DstPorts = []schema.PortRange{{From: p, To: p + uint16(r.IntN(2))}}
			}
			if to := byte(r.IntN(4)); r.IntN(3) == 0 {
				x.Match.Dst = one(to)
			}
			if table != "nat" && slices.Contains(sets[name], x.Do.Target) && r.IntN(3) == 0 {
				x.Match.Src, x.Match.SrcSet = netip.Prefix{}, fmt.Sprint(x.Do.Target, r.IntN(2))
			}
			c.Rules = slices.Insert(c.Rules, r.IntN(len(c.Rules)+1), x)
		}
		f.Chains[at] = c
	}
	to := func(words ...string) (out []resource.Verdict) {
		for _, w := range words {
			v := resource.Verdict{Target: w}
			if name, ok := strings.CutPrefix(w, "to "); ok {
				v = resource.Verdict{Jump: name}
			}
			out = append(out, v)
		}
		return out
	}
	policies := []string{"ACCEPT", "DROP"}
	chain("mangle", "PREROUTING", policies[r.IntN(2)], 1, 3, to("ACCEPT", "DROP", "MARK", "to fw", "to list", "to fw")...)
	chain("mangle", "fw", "", 0, 3, to("ACCEPT", "DROP", "RETURN")...)
	chain("mangle", "list", "", 0, 3, to("RETURN", "DROP")...)
	chain("filter", "FORWARD", policies[r.IntN(2)], 1, 3, to("ACCEPT", "DROP", "to out", "to list", "to gone")...)
	chain("filter", "out", "", 0, 3, to("ACCEPT", "DROP", "to list", "RETURN")...)
	chain("filter", "list", "", 0, 3, to("RETURN", "DROP")...)
	if r.IntN(2) == 0 {
		chain("filter", "gone", "", 0, 2, to("ACCEPT", "DROP")...)
	} else {
		for at, c := range f.Chains {
			c.Rules = slices.DeleteFunc(c.Rules, func(x resource.Rule) bool { return x.Do.Jump == "gone" })
			f.Chains[at] = c
		}
	}
	var dnat []resource.Verdict
	for i := range byte(4) {
		dnat = append(dnat, resource.Verdict{Target: "DNAT", To: addr(i)})
	}
	chain("nat", "PREROUTING", "ACCEPT", 0, 2, dnat...)
	for _, target := range []string{"ACCEPT", "DROP", "RETURN"} {
		for i := range 2 {
			s := resource.AddrSet{NS: "x", Name: fmt.Sprint(target, i), Family: 4}
			for n := range byte(4) {
				if r.IntN(2) == 0 {
					s.Members = append(s.Members, one(n))
				}
			}
			f.Sets[s.Name] = s
		}
	}
	return f
}

// written is f after a write. It fails as the kernel does.
func written(t *testing.T, f course.Filter, w course.Write) course.Filter {
	t.Helper()
	f = course.Filter{Chains: maps.Clone(f.Chains), Sets: maps.Clone(f.Sets)}
	if w.Set != nil {
		f.Sets[w.Set.Name] = *w.Set
	}
	for _, c := range w.Chains {
		f.Chains[course.At(c)] = c
	}
	for _, name := range w.Drops {
		delete(f.Chains, course.Place{Table: w.Table, Name: name})
	}
	for at, c := range f.Chains {
		for _, x := range c.Rules {
			if _, ok := f.Chains[course.Place{Table: at.Table, Name: x.Do.Jump}]; x.Do.Jump != "" && !ok {
				t.Fatalf("%v jumps to %s, which is not there", at, x.Do.Jump)
			}
			if _, ok := f.Sets[x.Match.SrcSet]; x.Match.SrcSet != "" && !ok {
				t.Fatalf("%v has set %s, which is not there", at, x.Match.SrcSet)
			}
		}
	}
	return f
}

// TestNeverMoreOpen: from any filter to any other, at no moment does a packet pass that
// passes neither before nor after, or somewhere else; and most of what passes in both
// alike passes at all moments.
func TestNeverMoreOpen(t *testing.T) {
	waited, moments, kept := 0, 0, 0
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 31))
		was := drawn(r, nil)
		is := drawn(r, &was)
		now := was
		for i, w := range course.Writes(was, is) {
			now = written(t, now, w)
			moments++
			for n := range 4 * 4 * 5 {
				p := packet{byte(n % 4), byte(n / 4 % 4), uint16(n / 16)}
				to, passes := send(now, p)
				old, before := send(was, p)
				fresh, after := send(is, p)
				switch {
				case passes && !(before && old == to) && !(after && fresh == to):
					t.Fatalf("seed %d, write %d (%+v): %v comes to %v, before to %v (%v), after to %v (%v)", seed, i, w, p, to, old, before, fresh, after)
				case before && after && old == fresh:
					if kept++; !passes {
						waited++
					}
				}
			}
		}
		same := func(a, b resource.Chain) bool { return a.Fingerprint() == b.Fingerprint() }
		if !maps.EqualFunc(now.Chains, is.Chains, same) {
			t.Fatalf("seed %d: it does not come there", seed)
		}
	}
	if moments < 10_000 || waited*10 > kept {
		t.Errorf("%d moments; %d of %d times a packet waited that passes before and after", moments, waited, kept)
	}
	t.Logf("%d moments; %d of %d times a packet waited that passes before and after", moments, waited, kept)
}

// TestOneMoment: what is one write in the kernel is one here.
func TestOneMoment(t *testing.T) {
	was := drawn(rand.New(rand.NewPCG(1, 31)), nil)
	if got := course.Writes(was, was); len(got) > 0 {
		t.Errorf("for nothing: %+v", got)
	}
	is := course.Filter{Chains: was.Chains, Sets: maps.Clone(was.Sets)}
	is.Sets["ACCEPT0"] = resource.AddrSet{NS: "x", Name: "ACCEPT0", Family: 4, Members: []netip.Prefix{one(77)}}
	if got := course.Writes(was, is); len(got) != 1 || len(got[0].Set.Members) != 1 {
		t.Errorf("for a set: %+v", got)
	}
	is = course.Filter{Chains: maps.Clone(was.Chains), Sets: was.Sets}
	for _, name := range []string{"list", "out"} {
		at := course.Place{Table: "filter", Name: name}
		c := is.Chains[at]
		c.Rules = append([]resource.Rule{{Match: resource.Match{Src: one(77)}, Do: resource.Verdict{Target: "DROP"}}}, c.Rules...)
		is.Chains[at] = c
	}
	if got := course.Writes(was, is); len(got) != 1 || len(got[0].Chains) != 2 {
		t.Errorf("for two chains of a table: %+v", got)
	}
}

// BenchmarkWrites is a rule in each of two tables with 1,000 each.
func BenchmarkWrites(b *testing.B) {
	filter := func(n uint16) course.Filter {
		f := course.Filter{Chains: map[course.Place]resource.Chain{}}
		for table, hook := range map[string]string{"mangle": "PREROUTING", "filter": "FORWARD"} {
			c := resource.Chain{NS: "x", Family: 4, Table: table, Name: hook, Policy: "DROP"}
			for i := range uint16(1000) {
				port := i
				if i == 500 {
					port = n
				}
				c.Rules = append(c.Rules, resource.Rule{Match: resource.Match{Proto: "tcp", DstPorts: []schema.PortRange{{From: port, To: port}}}, Do: resource.Verdict{Target: "ACCEPT"}})
			}
			f.Chains[course.At(c)] = c
		}
		return f
	}
	was, is := filter(2000), filter(3000)
	for b.Loop() {
		if len(course.Writes(was, is)) != 4 {
			b.Fatal("it is not closed first")
		}
	}
}
