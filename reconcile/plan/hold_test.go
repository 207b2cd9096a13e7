package plan_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"weft.dev/reconcile/driver/memhost"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// settle runs rounds until nothing is planned any more, and fails on any
// error: what cannot be done must not be planned.
func settle(t *testing.T, h *memhost.Host, to *resource.Intent, r *rand.Rand, opt plan.Options) *plan.Plan {
	t.Helper()
	for range 4 {
		p := diff(t, to, look(t, h, to), opt)
		if p.Empty() {
			return p
		}
		errs := run(t, h, p, r)
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("%v\n%s", err, describe(p, errs))
		}
	}
	p := diff(t, to, look(t, h, to), opt)
	if !p.Empty() {
		t.Fatalf("still something to do after four rounds:\n%s", describe(p, nil))
	}
	return p
}

// untouched fails if those of was that pick names are not as they were.
func untouched(t *testing.T, was, is resource.Set, pick func(resource.ID, resource.Entry) bool) {
	t.Helper()
	for id, e := range was {
		if !pick(id, e) {
			continue
		}
		now, ok := is[id]
		if !ok || now.Owner != e.Owner || now.State.Fingerprint() != e.State.Fingerprint() {
			t.Fatalf("%s of %s was touched", id, e.Owner)
		}
	}
	for id, e := range is {
		if _, ok := was[id]; !ok && pick(id, e) {
			t.Fatalf("%s of %s was made", id, e.Owner)
		}
	}
}

// accounted fails if something is neither as desired nor said to be blocked.
func accounted(t *testing.T, is resource.Set, to *resource.Intent, p *plan.Plan, pick func(resource.ID, resource.Entry) bool) {
	t.Helper()
	blocked := map[resource.ID]bool{}
	for _, b := range p.Blocked {
		blocked[b.ID] = true
		if b.Reason == "" {
			t.Fatalf("%s is blocked without words", b.ID)
		}
	}
	want := to.Set()
	for id, e := range want {
		now, ok := is[id]
		if !pick(id, e) && !blocked[id] && (!ok || now.State.Fingerprint() != e.State.Fingerprint()) {
			t.Fatalf("%s of %s is not as desired and not blocked", id, e.Owner)
		}
	}
	for id, e := range is {
		if _, ok := want[id]; !ok && !pick(id, e) && !blocked[id] {
			t.Fatalf("%s of %s was not removed and is not blocked", id, e.Owner)
		}
	}
}

func TestHeldOwnersAreLeftAlone(t *testing.T) {
	t.Parallel()
	for seed := range worlds(t) {
		r := newRand(seed, 11)
		from, to := world(r), world(r)
		var holds []resource.Hold
		var owners []resource.Owner
		for i := range 3 {
			if r.IntN(3) == 0 {
				owner := resource.Owner(fmt.Sprintf("network/acme/n%d", i))
				owners = append(owners, owner)
				holds = append(holds, resource.Hold{Owner: owner, Cause: resource.HoldInvalid, Reason: "the document is broken"})
			}
		}
		fragments := to.Fragments
		if r.IntN(2) == 0 {
			fragments = without(to, owners...)
		}
		to = resource.NewIntent(hostName, fragments, holds)
		h := hostOf(from, seed)
		was := h.Set()
		opt := plan.Options{}
		if !h.Frank {
			opt.Last = from // a kernel does not tell what a held resource stands on
		}
		p := settle(t, h, to, r, opt)
		held := func(_ resource.ID, e resource.Entry) bool { return slices.Contains(owners, e.Owner) }
		untouched(t, was, h.Set(), held)
		accounted(t, h.Set(), to, p, held)
		if len(p.Held) != len(owners) {
			t.Fatalf("seed %d: %d owners are held, the plan tells of %d", seed, len(owners), len(p.Held))
		}
	}
}

func TestTargetLimitsThePlan(t *testing.T) {
	t.Parallel()
	for seed := range worlds(t) / 4 {
		r := newRand(seed, 12)
		from, to := world(r), world(r)
		h := hostOf(from, 0)
		was := h.Set()
		target := resource.Owner(fmt.Sprintf("network/acme/n%d", r.IntN(3)))
		others := func(_ resource.ID, e resource.Entry) bool { return e.Owner != target }
		p := settle(t, h, to, r, plan.Options{Target: []resource.Owner{target}})
		untouched(t, was, h.Set(), others)
		accounted(t, h.Set(), to, p, others)
	}
}

func TestUnreadPartsAreLeftAlone(t *testing.T) {
	t.Parallel()
	kinds := resource.Kinds()
	for seed := range worlds(t) / 2 {
		r := newRand(seed, 13)
		from, to := world(r), world(r)
		h := hostOf(from, seed)
		was := h.Set()
		var hidden []resource.Unread
		for range 1 + r.IntN(2) {
			u := resource.Unread{Kind: kinds[r.IntN(len(kinds))], Err: "no answer"}
			if r.IntN(2) == 0 && u.Kind != resource.KindNS && u.Kind != resource.KindFile {
				u.NS = fmt.Sprintf("r%d", r.IntN(3))
			}
			hidden = append(hidden, u)
		}
		h.Hide(hidden...)
		opt := plan.Options{Last: from}
		if !h.Frank && seed%4 == 1 {
			opt.Last = nil // then it is known what may stand on what, not what does
		}
		settle(t, h, to, r, opt)
		untouched(t, was, h.Set(), func(id resource.ID, e resource.Entry) bool {
			return slices.ContainsFunc(hidden, func(u resource.Unread) bool { return u.Kind == id.Kind && (u.NS == "" || u.NS == inNS(e.State)) })
		})
		h.Hide()
		p := settle(t, h, to, r, plan.Options{Last: from})
		if !same(h, to) || len(p.Blocked) > 0 {
			t.Fatalf("seed %d: readable again, and not as desired:\n%s", seed, describe(p, nil))
		}
	}
}

func inNS(st resource.State) string {
	switch s := st.(type) {
	case resource.Link:
		return s.NS
	case resource.Addr:
		return s.NS
	case resource.Route:
		return s.NS
	case resource.Sysctl:
		return s.NS
	case resource.Chain:
		return s.NS
	case resource.AddrSet:
		return s.NS
	case resource.Process:
		return s.NS
	}
	return ""
}

func TestForeignThingsAreLeftAlone(t *testing.T) {
	t.Parallel()
	for seed := range worlds(t) / 2 {
		r := newRand(seed, 14)
		from, to := world(r), world(r)
		h := hostOf(from, seed)
		want := to.Set()
		ids := want.IDs()
		if len(ids) == 0 {
			continue
		}
		was := from.Set()
		var foreign []resource.ID
		for range 1 + r.IntN(3) {
			if id := ids[r.IntN(len(ids))]; !contains(was, id) && !h.HasForeign(id) {
				h.AddForeign(id, "made by hand")
				foreign = append(foreign, id)
			}
		}
		p := settle(t, h, to, r, plan.Options{})
		for _, id := range foreign {
			if contains(h.Set(), id) || !h.HasForeign(id) {
				t.Fatalf("seed %d: %s was taken", seed, id)
			}
			i := slices.IndexFunc(p.Foreign, func(f plan.Foreign) bool { return f.ID == id })
			if i < 0 {
				t.Fatalf("seed %d: %s is not reported", seed, id)
			}
			stuck := slices.ContainsFunc(p.Blocked, func(b plan.Blocked) bool { return b.ID == id })
			if adopted := resource.Adopts(want[id].State); adopted != p.Foreign[i].Adopted || adopted == stuck {
				t.Fatalf("seed %d: %s: adopts %v, reported %+v, blocked %v", seed, id, adopted, p.Foreign[i], stuck)
			}
			h.RemoveForeign(id)
		}
		if p := settle(t, h, to, r, plan.Options{}); !same(h, to) || len(p.Blocked) > 0 {
			t.Fatalf("seed %d: nothing is in the way any more:\n%s", seed, describe(p, nil))
		}
	}
}

func contains(s resource.Set, id resource.ID) bool {
	_, ok := s[id]
	return ok
}

// What a network that lingers stands on stays whole: a patch has two ends.
func TestBothEndsOfAPatchStay(t *testing.T) {
	t.Parallel()
	const host, owner = resource.Owner("host/kvm1"), resource.Owner("network/acme/web")
	near := resource.Port{Bridge: "weft-int", Name: "wi-1", Type: "patch", Peer: "wl-1"}
	far := resource.Port{Bridge: "cloudbr1", Name: "wl-1", Type: "patch", Peer: "wi-1"}
	fragment := func(owner resource.Owner, states ...resource.State) *resource.Fragment {
		var entries []resource.Entry
		for _, st := range states {
			entries = append(entries, resource.Entry{State: st, Owner: owner})
		}
		return resource.NewFragment(owner, entries)
	}
	inner, outer := resource.Bridge{Name: "weft-int"}, resource.Bridge{Name: "cloudbr1"}
	flows := resource.Flows{Bridge: "weft-int", Owner: owner, Rules: []resource.Flow{{Priority: 1}}, Ports: []resource.ID{near.ID()}}
	base := resource.NewIntent("kvm1", []*resource.Fragment{fragment(host, inner, outer, near, far), fragment(owner, flows)}, nil)
	for cause, want := range map[string]int{resource.HoldLingering: 0, "": 3} {
		var holds []resource.Hold
		if cause != "" {
			holds = append(holds, resource.Hold{Owner: owner, Cause: cause, Reason: "for a while"})
		}
		head := resource.NewIntent("kvm1", []*resource.Fragment{fragment(host, inner, outer)}, holds)
		p, err := plan.Between(base, head, plan.Options{})
		if err != nil || len(p.Actions) != want || len(p.Blocked) > 0 {
			t.Errorf("%q: %v, %v", cause, p, err)
		}
	}
}
