package plugins_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"weft.dev/plugins"
	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/compile"
	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/driver/memhost"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

func pairs(t *testing.T) uint64 {
	t.Helper()
	if testing.Short() {
		return 15
	}
	return 40
}

// compiled is what docs mean with the lock that weft lock would write after old.
// Nothing may be wrong with them.
func compiled(t *testing.T, docs []string, old *alloc.Lock) (*compile.Result, *alloc.Lock) {
	t.Helper()
	tree, ds := schema.Parse(files(docs), nil)
	c := compile.New(plugins.All())
	lock, _, more := alloc.Allocate(c.Update(tree, old, nil).Demands(), old, alloc.Options{})
	if more.HasErrors() && old != nil {
		// What the lock has for a network is no number of what it is now.
		lock, _, more = alloc.Allocate(c.Update(tree, old, nil).Demands(), old, alloc.Options{Reallocate: misfits(more)})
	}
	r := c.Update(tree, lock, nil)
	ds = append(append(append(ds, more...), r.Diags...), r.CheckLock()...)
	ds.Sort()
	if ds.HasErrors() || len(r.Holds()) > 0 {
		i := slices.IndexFunc(ds, func(d schema.Diag) bool { return d.Severity == schema.Error })
		if i < 0 {
			t.Fatal("held:", r.Holds())
		}
		t.Fatalf("%s\n%s\n%v", ds[i].String(), ds[i].Hint, string(tree.Source(ds[i].Pos.File)))
	}
	return r, lock
}

// misfits are the owners that diagnostics of the lock ask to reallocate.
func misfits(ds schema.Diags) []string {
	var out []string
	for _, d := range ds {
		if _, owner, ok := strings.Cut(d.Hint, "--reallocate "); ok {
			out = append(out, owner)
		}
	}
	return out
}

// TestAnyWorldToAnyWorld: from any tree to any other tree each host comes in one
// round, in whatever order the plan allows, on a host that is as strict as a kernel;
// then there is nothing left to do.
func TestAnyWorldToAnyWorld(t *testing.T) {
	t.Parallel()
	kinds := map[resource.Kind]int{}
	for seed := range pairs(t) {
		rng := rand.New(rand.NewPCG(seed, 21))
		before, lock := compiled(t, world(rng), nil)
		after, _ := compiled(t, world(rng), lock)
		for _, name := range worldHosts {
			from, to := before.Intent(name), after.Intent(name)
			h := memhost.New()
			h.Frank = seed%2 == 0
			h.Load(from.Set())
			p := diffed(t, to, h, from)
			for _, s := range p.Steps {
				kinds[s.ID().Kind]++
			}
			if err := carriedOut(t, h, p, rng); err != nil || len(p.Blocked) > 0 {
				t.Fatalf("seed %d, host %s: %v, blocked %v", seed, name, err, p.Blocked)
			}
			same := maps.EqualFunc(h.Set(), to.Set(), func(a, b resource.Entry) bool {
				return a.Owner == b.Owner && a.State.Fingerprint() == b.State.Fingerprint()
			})
			if again := diffed(t, to, h, from); !same || !again.Empty() {
				t.Fatalf("seed %d, host %s: it is not there after a round; left to do: %v", seed, name, told(again))
			}
		}
	}
	for _, k := range resource.Kinds() {
		if kinds[k] == 0 {
			t.Errorf("no world had anything to do with %s", k)
		}
	}
}

func diffed(t *testing.T, to *resource.Intent, h *memhost.Host, last *resource.Intent) *plan.Plan {
	t.Helper()
	o, err := h.Observe(t.Context(), driver.Scope{Desired: to.Set()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Diff(to, o, plan.Options{Last: last})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// told is what p does, for a failing test.
func told(p *plan.Plan) (out []string) {
	for _, a := range p.Actions {
		out = append(out, fmt.Sprintf("%s %s of %s (%s)", a.Verb, a.ID, a.Owner(), a.Reason))
	}
	return out
}

// carriedOut executes p one step at a time, in any order that it allows.
func carriedOut(t *testing.T, h *memhost.Host, p *plan.Plan, rng *rand.Rand) error {
	t.Helper()
	done := make([]bool, len(p.Steps))
	for range p.Steps {
		var free []int
		for i, s := range p.Steps {
			if !done[i] && !slices.ContainsFunc(s.After, func(j int) bool { return !done[j] }) {
				free = append(free, i)
			}
		}
		i := free[rng.IntN(len(free))]
		done[i] = true
		if err := errors.Join(h.Do(t.Context(), []*plan.Step{{Index: i, Action: p.Steps[i].Action, Drop: p.Steps[i].Drop}})...); err != nil {
			return fmt.Errorf("step %d of %d: %w", i, len(p.Steps), err)
		}
	}
	return nil
}

// TestWorldsIncremental: a compiler that saw other worlds before says of one what
// one says that saw nothing, and so does the order of files not matter.
func TestWorldsIncremental(t *testing.T) {
	t.Parallel()
	cache := &schema.Cache{}
	c := compile.New(plugins.All())
	rng := rand.New(rand.NewPCG(5, 22))
	var lock *alloc.Lock
	for step := range pairs(t) {
		docs := world(rng)
		var want *compile.Result
		want, lock = compiled(t, docs, lock)
		tree, _ := schema.Parse(files(docs), cache)
		if got := say(c.Update(tree, lock, nil)); got != say(want) {
			t.Fatalf("step %d:\n%s\nwant:\n%s", step, got, say(want))
		}
		mixed := slices.Clone(docs)
		rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		other, _ := schema.Parse(files(mixed), nil)
		r := compile.New(plugins.All()).Update(other, lock, nil)
		for _, h := range worldHosts {
			if r.Intent(h).Fingerprint() != want.Intent(h).Fingerprint() {
				t.Fatalf("step %d: what %s is depends on the order of files", step, h)
			}
		}
		again, _, _ := alloc.Allocate(r.Demands(), nil, alloc.Options{})
		first, _, _ := alloc.Allocate(want.Demands(), nil, alloc.Options{})
		if string(again.Marshal()) != string(first.Marshal()) {
			t.Fatalf("step %d: the lock depends on the order of files", step)
		}
	}
}

// TestWorldsGrow: a document that goes or comes leaves the numbers of other owners
// alone.
func TestWorldsGrow(t *testing.T) {
	t.Parallel()
	for seed := range pairs(t) {
		rng := rand.New(rand.NewPCG(seed, 23))
		docs := world(rng)
		_, whole := compiled(t, docs, nil)
		i := rng.IntN(len(docs))
		if !strings.Contains(docs[i], "kind: VirtualMachine\n") || strings.Contains(docs[i], "-0,") {
			continue // others would miss it
		}
		less := slices.Delete(slices.Clone(docs), i, i+1)
		_, without := compiled(t, less, whole)
		_, back := compiled(t, docs, without)
		for _, e := range without.Entries() {
			if whole.Number(e.Owner, e.Field) != e.Value || back.Number(e.Owner, e.Field) != e.Value {
				t.Errorf("seed %d: %s %s is %s, was %s, and is then %s", seed, e.Owner, e.Field, e.Value, whole.Number(e.Owner, e.Field), back.Number(e.Owner, e.Field))
			}
		}
	}
}

// TestWorldsBreak: whatever tenant's document cannot be read, what is held stays and
// the fragments of all others are what they were; a host loses nothing.
func TestWorldsBreak(t *testing.T) {
	t.Parallel()
	for seed := range pairs(t) {
		rng := rand.New(rand.NewPCG(seed, 24))
		docs := world(rng)
		want, lock := compiled(t, docs, nil)
		i := rng.IntN(len(docs))
		if !strings.Contains(docs[i], "account: ") {
			continue
		}
		broken := slices.Clone(docs)
		broken[i] = strings.Replace(broken[i], "spec: {", "spec: {nonsense: 1, ", 1)
		tree, ds := schema.Parse(files(broken), nil)
		if !ds.HasErrors() {
			t.Fatal("nothing is wrong with", broken[i])
		}
		got := compile.New(plugins.All()).Update(tree, lock, nil)
		for _, h := range worldHosts {
			was, is := want.Intent(h), got.Intent(h)
			for _, f := range was.Fragments {
				if _, held := is.Held(f.Owner); held {
					continue
				}
				now := is.Fragment(f.Owner)
				if now == nil || now.Print != f.Print && !strings.HasPrefix(string(f.Owner), "host/") {
					t.Errorf("seed %d: %s changed on %s, because nobody can read\n%s", seed, f.Owner, h, broken[i])
					continue
				}
				if id, ok := taken(f, now); ok {
					t.Errorf("seed %d: %s of %s is taken away on %s, because nobody can read\n%s", seed, id, f.Owner, h, broken[i])
				}
			}
		}
	}
}

// taken is something that was has and now has not, or has otherwise. What nobody can
// judge may need anything of a host: it may get more, and flows lead to what it gets.
func taken(was, now *resource.Fragment) (resource.ID, bool) {
	prints := map[resource.ID]uint64{}
	for _, e := range now.Entries() {
		prints[e.State.ID()] = e.State.Fingerprint()
	}
	for _, e := range was.Entries() {
		id := e.State.ID()
		if print, ok := prints[id]; !ok || print != e.State.Fingerprint() && id.Kind != resource.KindFlows {
			return id, true
		}
	}
	return resource.ID{}, false
}
