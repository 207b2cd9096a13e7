package reach

import (
	"fmt"
	"net/netip"
	"slices"

	"weft.dev/reconcile/resource"
)

// A rule may name 10,000 CIDRs, and two rules 10,000 each: places that no rule tells
// apart are tried as one, and are told one by one only where something came of it.

// cidrs is a set of CIDRs that is asked quickly.
type cidrs struct {
	list []netip.Prefix
	has  map[netip.Prefix]bool
	bits []int // lengths that occur
}

// few CIDRs are faster looked through than hashed.
const few = 8

func setOf(list []netip.Prefix) *cidrs {
	c := &cidrs{list: list}
	if len(list) <= few {
		return c
	}
	c.has = make(map[netip.Prefix]bool, len(list))
	var lengths [129]bool
	for _, p := range list {
		c.has[p] = true
		lengths[p.Bits()] = true
	}
	for n, on := range lengths {
		if on {
			c.bits = append(c.bits, n)
		}
	}
	return c
}

// contains reports whether one of the CIDRs holds a; nil holds nothing.
func (c *cidrs) contains(a netip.Addr) bool {
	if c == nil {
		return false
	}
	if c.has == nil {
		return slices.ContainsFunc(c.list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return slices.ContainsFunc(c.bits, func(n int) bool {
		p, err := a.Prefix(n)
		return err == nil && c.has[p]
	})
}

// A test is what one rule asks of an address.
type test struct {
	cidr netip.Prefix
	set  *cidrs
}

func (t test) holds(a netip.Addr) bool {
	if t.set != nil {
		return t.set.contains(a)
	}
	return t.cidr.Contains(a)
}

// tests are those of a grid's rules at one end of packets, each once.
type tests struct {
	list []test
	had  map[test]bool
}

func (t *tests) add(p netip.Prefix, set *cidrs) {
	for _, x := range []test{{cidr: p}, {set: set}} {
		if x == (test{}) || t.had[x] {
			continue
		}
		if t.had == nil {
			t.had = map[test]bool{}
		}
		t.had[x] = true
		t.list = append(t.list, x)
	}
}

// meet notes what a rule tells packets apart by.
func (g *grid) meet(r *Router, m *resource.Match) {
	g.src = append(g.src, r.named(m.Src, m.SrcSet)...)
	g.dst = append(g.dst, r.named(m.Dst, m.DstSet)...)
	g.from.add(m.Src, r.sets[m.SrcSet])
	g.to.add(m.Dst, r.sets[m.DstSet])
	g.cut(m)
}

// alike joins the places that all tests, and the ways of all routers, treat alike
// into one that stands for them; that of all the rest stays by itself.
func (g *grid) alike(list []place, by tests) []place {
	var out []place
	at := map[string]int{}
	for _, p := range list {
		if p.all {
			out = append(out, p)
			continue
		}
		key := make([]byte, 0, 2*len(g.routers)+len(by.list)/8+1)
		for _, r := range g.routers {
			key = append(append(key, r.route(p.probe)...), ' ')
			if r.own(p.probe) {
				key = append(key, '!')
			}
		}
		var octet byte
		for i, t := range by.list {
			if octet <<= 1; t.holds(p.probe) {
				octet |= 1
			}
			if i%8 == 7 || i == len(by.list)-1 {
				key, octet = append(key, octet), 0
			}
		}
		i, known := at[string(key)]
		if !known {
			at[string(key)] = len(out)
			out = append(out, p)
			continue
		}
		if len(out[i].each) == 0 {
			out[i].each = []place{out[i]}
		}
		out[i].each = append(out[i].each, p)
	}
	return out
}

// members are the places that p stands for.
func (p place) members() []place {
	if len(p.each) == 0 {
		return []place{p}
	}
	return p.each
}

// told is how many ways are told one by one for what is alike; two rules of 10,000
// CIDRs at both ends are 100,000,000.
const told = 20_000

// expand tells trials apart again by their places. Where they would be too many, the
// end that has more places is told by its first one and their number.
func expand(list []trial) []trial {
	var out []trial
	for _, t := range list {
		from, to := t.from.members(), t.to.members()
		for len(from)*len(to) > told {
			if len(from) > len(to) {
				from = summed(from)
			} else {
				to = summed(to)
			}
		}
		for _, f := range from {
			for _, o := range to {
				one := t
				one.from, one.to = f, o
				out = append(out, one)
			}
		}
	}
	return out
}

func summed(list []place) []place {
	return []place{{name: fmt.Sprintf("%s and %d more", list[0].name, len(list)-1)}}
}
