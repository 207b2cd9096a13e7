package resource_test

import (
	"slices"
	"testing"

	"weft.dev/reconcile/resource"
)

func entries(states ...resource.State) []resource.Entry {
	var out []resource.Entry
	for _, st := range states {
		out = append(out, resource.Entry{State: st, Owner: "o"})
	}
	return out
}

// TestFragmentKnowsWithoutEntries: what a fragment says of its entries is so,
// whether it keeps them or not.
func TestFragmentKnowsWithoutEntries(t *testing.T) {
	link := resource.Link{NS: "r", Name: "eth0", Host: "w0"}
	list := entries(
		resource.Port{Bridge: "br0", Name: "p", Link: &resource.ID{Kind: resource.KindNS, Name: "elsewhere"}},
		link, resource.NS{Name: "r"}, resource.Addr{NS: "r", Link: "eth0"},
	)
	f := resource.NewFragment("o", list)
	made := 0
	thin := f.Thin(func() []resource.Entry { made++; return f.Entries() })
	for _, x := range []*resource.Fragment{f, thin} {
		if x.Owner != "o" || x.Print != f.Print || x.Len() != len(list) {
			t.Errorf("%s %x with %d entries", x.Owner, x.Print, x.Len())
		}
		for _, e := range list {
			id := e.State.ID()
			if !x.Has(id) || x.Needs(id) {
				t.Errorf("%s: has %v, needs %v", id, x.Has(id), x.Needs(id))
			}
		}
		for _, id := range []resource.ID{{Kind: resource.KindBridge, Name: "br0"}, {Kind: resource.KindNS, Name: "elsewhere"}} {
			if x.Has(id) || !x.Needs(id) {
				t.Errorf("%s: has %v, needs %v", id, x.Has(id), x.Needs(id))
			}
		}
		if other := (resource.ID{Kind: resource.KindNS, Name: "x"}); x.Has(other) || x.Needs(other) {
			t.Errorf("%s is known", other)
		}
	}
	if made != 0 {
		t.Error("entries were made for questions that need none")
	}
	if got := thin.Entries(); made != 1 || len(got) != len(list) {
		t.Errorf("%d entries, made %d times", len(got), made)
	}
	found := 0
	for _, m := range f.Marks() {
		if slices.ContainsFunc(list, func(e resource.Entry) bool { _, ok := resource.Marked(e.State, m); return ok }) {
			found++
		}
	}
	if claims := len(resource.Claims(link)) + len(resource.Claims(list[3].State)); found != len(list)+claims || len(f.Marks()) != found {
		t.Errorf("%d marks, %d of them are known; there are %d entries and %d claims", len(f.Marks()), found, len(list), claims)
	}
}

// TestFold: of entries that share an ID the first that was asked for stays.
func TestFold(t *testing.T) {
	a, b := resource.Bridge{Name: "br0", MTU: 1500}, resource.Bridge{Name: "br0", MTU: 9000}
	told := 0
	f := resource.Fold(entries(resource.NS{Name: "z"}, a, resource.NS{Name: "a"}, b, a), func(first, again resource.Entry) {
		if first.State != resource.State(a) {
			t.Errorf("%v stays", first.State)
		}
		told++
	})
	if got := f.Entries(); told != 2 || len(got) != 3 || got[2].State != resource.State(a) {
		t.Errorf("told %d times, %v", told, got)
	}
}
