package course

import (
	"net/netip"
	"slices"
	"sort"

	"weft.dev/reconcile/resource"
)

type prefix = netip.Prefix

// part is what two lists of rules, laid beside each other, have in one place: one rule
// that both have, or some that only the one has, and some of the other.
type part struct {
	both     []resource.Rule
	old, now []resource.Rule
}

// align lays two lists of rules beside each other, each in its order, with what both have
// once, as far as the order allows.
func align(old, now []resource.Rule) []part {
	at := map[string][]int{} // where a rule was
	for i := range old {
		k := key(&old[i])
		at[k] = append(at[k], i)
	}
	// Pairs of places of equal rules, each rule in one pair, in the order of now.
	var pairs [][2]int
	for j := range now {
		k := key(&now[j])
		if l := at[k]; len(l) > 0 {
			pairs, at[k] = append(pairs, [2]int{l[0], j}), l[1:]
		}
	}
	var out []part
	i, j := 0, 0
	upTo := func(x, y int) {
		if i < x || j < y {
			out = append(out, part{old: old[i:x], now: now[j:y]})
		}
		i, j = x, y
	}
	for _, p := range rising(pairs) {
		upTo(p[0], p[1])
		out = append(out, part{both: old[i : i+1]})
		i, j = i+1, j+1
	}
	upTo(len(old), len(now))
	return out
}

// key is what a rule does, whatever it is called.
func key(r *resource.Rule) string { return r.Match.String() + "\n" + r.Do.String() }

// rising is the longest list of pairs, in their order, whose first numbers rise.
func rising(pairs [][2]int) [][2]int {
	var ends []int // by length: the pair that ends the list of it with the least number
	before := make([]int, len(pairs))
	for i, p := range pairs {
		n := sort.Search(len(ends), func(k int) bool { return pairs[ends[k]][0] >= p[0] })
		before[i] = -1
		if n > 0 {
			before[i] = ends[n-1]
		}
		if n == len(ends) {
			ends = append(ends, i)
		}
		ends[n] = i
	}
	var out [][2]int
	if len(ends) > 0 {
		for i := ends[len(ends)-1]; i >= 0; i = before[i] {
			out = append(out, pairs[i])
		}
	}
	slices.Reverse(out)
	return out
}
