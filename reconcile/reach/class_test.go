package reach_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"weft.dev/reconcile/reach"
	"weft.dev/reconcile/resource"
)

// many are n CIDRs of 203.0.0.0/8, of which no two touch.
func many(n int) []netip.Prefix {
	var out []netip.Prefix
	for i := range n {
		out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte{203, byte(i >> 14), byte(i >> 6), byte(i << 2)}), 31))
	}
	return out
}

// listed is a router whose guests reach what is listed, and whose lists of sources
// and of destinations are sets.
func listed(sources, destinations []netip.Prefix) *resource.Fragment {
	f := router(nil, nil, []resource.Rule{
		{Match: resource.Match{Proto: "tcp", SrcSet: "guests", DstSet: "list", DstPorts: ports(25, 25)}, Do: resource.Verdict{Target: "ACCEPT"}},
	})
	return resource.NewFragment(f.Owner, append(slices.Clone(f.Entries()),
		entry(resource.AddrSet{NS: "r", Name: "guests", Family: 4, Members: sources}),
		entry(resource.AddrSet{NS: "r", Name: "list", Family: 4, Members: destinations})))
}

// TestLongLists: 10,000 CIDRs, and 200 guests that reach them: one more is told
// alone, and a new rule in a bearable number of lines.
func TestLongLists(t *testing.T) {
	var guests []netip.Prefix
	for i := range 200 {
		guests = append(guests, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 1, byte(10 + i)}), 32))
	}
	all := many(10_000)
	less := slices.Delete(slices.Clone(all), 5000, 5001)
	c := reach.Between(intent(listed(guests[:2], less)), intent(listed(guests[:2], all)))
	want := []string{
		fmt.Sprintf("network/a/web 10.1.1.10/32 -> %s 25/tcp", all[5000]),
		fmt.Sprintf("network/a/web 10.1.1.11/32 -> %s 25/tcp", all[5000]),
	}
	if !slices.Equal(lines(c.Added), want) || len(c.Removed) > 0 {
		t.Errorf("added %v, removed %d", lines(c.Added), len(c.Removed))
	}
	c = reach.Between(intent(listed(guests, less)), intent(listed(guests, all)))
	if len(c.Added) != 200 || len(c.Removed) > 0 {
		t.Errorf("200 guests and a CIDR more: %d added, %d removed", len(c.Added), len(c.Removed))
	}
	c = reach.Between(intent(router(nil, nil, nil)), intent(listed(guests, all)))
	want = []string{fmt.Sprintf("network/a/web 10.1.1.10/32 -> %s and 9999 more 25/tcp", all[0])}
	if len(c.Added) != 200 || !slices.Equal(lines(c.Added[:1]), want) {
		t.Errorf("a rule of 200 and 10,000: %d ways, the first %v", len(c.Added), lines(c.Added[:1]))
	}
	if n := len(reach.Of(listed(guests[:1], all))); n != 0 {
		t.Errorf("the way of one guest is none of all: %d", n)
	}
	if n := len(reach.Of(listed([]netip.Prefix{prefix("10.0.0.0/8")}, all))); n != 10_000 {
		t.Errorf("%d ways to 10,000 CIDRs", n)
	}
}

func BenchmarkLongLists(b *testing.B) {
	all := many(10_000)
	before := intent(listed([]netip.Prefix{prefix("10.0.0.0/8")}, slices.Delete(slices.Clone(all), 5000, 5001)))
	after := intent(listed([]netip.Prefix{prefix("10.0.0.0/8")}, all))
	for b.Loop() {
		reach.Between(before, after)
	}
}
