package reach_test

import (
	"slices"
	"testing"

	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/reach"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// domain is a network in VLAN 100 of a wire; NICs are VMs of its name.
func domain(name string, private plugin.Private, vms ...string) plugin.Domain {
	d := plugin.Domain{
		Network: schema.ID{Kind: "Network", Account: "a", Name: name}, Private: private,
		Segment: plugin.Segment{Scheme: schema.SchemeVLAN, VNet: 100, Label: "cloudbr1", Zone: "zone1"},
	}
	for _, vm := range vms {
		d.NICs = append(d.NICs, "a/"+vm+"/"+name)
	}
	return d
}

func everyone(resource.Owner) bool { return true }

// What networks share a broadcast domain for is that they hear each other: what that
// adds is reachable from then on, whichever of them changed.
func TestHeard(t *testing.T) {
	var (
		none      plugin.Private
		isolated  = plugin.Private{Secondary: 201}
		community = plugin.Private{Secondary: 202, Community: true}
		other     = plugin.Private{Secondary: 203, Community: true}
	)
	web, db := domain("web", none, "w1"), domain("db", none, "d1")
	far := domain("far", none, "f1")
	far.Segment.Zone = "zone2"
	alone := domain("alone", isolated, "i1", "i2")
	for _, c := range []struct {
		name           string
		base, head     []plugin.Domain
		added, removed []string
	}{
		{"nothing changes", []plugin.Domain{web, db}, []plugin.Domain{db, web}, nil, nil},
		{
			"a network comes into the VLAN of another", []plugin.Domain{web}, []plugin.Domain{web, db},
			[]string{"nic/a/d1/db -> network/a/db all", "nic/a/w1/web -> network/a/db all", "nic/a/d1/db -> network/a/web all"}, nil,
		},
		{
			"and one without NICs, of which nobody hears", []plugin.Domain{web}, []plugin.Domain{web, domain("db", none)}, nil, nil,
		},
		{
			"a NIC goes, and others stay", []plugin.Domain{web, domain("db", none, "d1", "d2")}, []plugin.Domain{web, db},
			nil, []string{"nic/a/d2/db -> network/a/db all", "nic/a/d2/db -> network/a/web all"},
		},
		{
			"one of another zone is on another wire", []plugin.Domain{web}, []plugin.Domain{web, far},
			[]string{"nic/a/f1/far -> network/a/far all"}, nil,
		},
		{"isolated ports hear nobody", nil, []plugin.Domain{alone}, nil, nil},
		{
			"but promiscuous ones", []plugin.Domain{alone}, []plugin.Domain{alone, web},
			[]string{"nic/a/w1/web -> network/a/alone all", "nic/a/i1/alone -> network/a/web all", "nic/a/i2/alone -> network/a/web all", "nic/a/w1/web -> network/a/web all"}, nil,
		},
		{
			"a community hears itself, and no other", []plugin.Domain{alone}, []plugin.Domain{alone, domain("c", community, "c1"), domain("o", other, "o1")},
			[]string{"nic/a/c1/c -> network/a/c all", "nic/a/o1/o -> network/a/o all"}, nil,
		},
		{
			"isolated ports become a community", []plugin.Domain{alone}, []plugin.Domain{domain("alone", plugin.Private{Secondary: 201, Community: true}, "i1", "i2")},
			[]string{"nic/a/i1/alone -> network/a/alone all", "nic/a/i2/alone -> network/a/alone all"}, nil,
		},
	} {
		got := reach.Heard(c.base, c.head, everyone)
		if !sameLines(lines(got.Added), c.added) || !sameLines(lines(got.Removed), c.removed) {
			t.Errorf("%s: added %q, removed %q", c.name, lines(got.Added), lines(got.Removed))
		}
		back := reach.Heard(c.head, c.base, everyone)
		if !slices.Equal(lines(back.Added), lines(got.Removed)) || !slices.Equal(lines(back.Removed), lines(got.Added)) {
			t.Errorf("%s: the way back is %+v", c.name, back)
		}
	}
	// About one network: what begins or ends there.
	got := reach.Heard(nil, []plugin.Domain{web, db, far}, func(o resource.Owner) bool { return o == "network/a/db" })
	if want := []string{"nic/a/d1/db -> network/a/db all", "nic/a/w1/web -> network/a/db all", "nic/a/d1/db -> network/a/web all"}; !sameLines(lines(got.Added), want) {
		t.Errorf("about db: %q", lines(got.Added))
	}
}

func sameLines(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// A network of several broadcast domains is in each of them.
func TestHeardInPods(t *testing.T) {
	one, two := domain("guests", plugin.Private{}, "v1"), domain("guests", plugin.Private{}, "v2")
	two.Segment.VNet = 101
	more := two
	more.NICs = append(slices.Clone(two.NICs), "a/v3/guests")
	got := reach.Heard([]plugin.Domain{one, two}, []plugin.Domain{one, more}, everyone)
	if want := []string{"nic/a/v3/guests -> network/a/guests all"}; !slices.Equal(lines(got.Added), want) || got.Removed != nil {
		t.Errorf("%+v", got)
	}
}

// Pods are untagged, each on its own switch: their domains look alike.
func TestHeardInPodsThatLookAlike(t *testing.T) {
	one, two := domain("guests", plugin.Private{}, "v1"), domain("guests", plugin.Private{}, "v2")
	more := domain("guests", plugin.Private{}, "v2", "v3")
	got := reach.Heard([]plugin.Domain{one, two}, []plugin.Domain{one, more}, everyone)
	if want := []string{"nic/a/v3/guests -> network/a/guests all"}; !slices.Equal(lines(got.Added), want) || got.Removed != nil {
		t.Errorf("a NIC comes: %+v", got)
	}
	got = reach.Heard([]plugin.Domain{one, two}, []plugin.Domain{two}, everyone)
	if want := []string{"nic/a/v1/guests -> network/a/guests all"}; !slices.Equal(lines(got.Removed), want) || got.Added != nil {
		t.Errorf("a pod goes: %+v", got)
	}
	if all := reach.Members([]plugin.Domain{one, two}); len(all) != 2 {
		t.Errorf("members: %v", all)
	}
}
