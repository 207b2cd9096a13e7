package alloc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// numbers is a pool of the numbers from..to.
type numbers struct {
	space    string
	from, to int
}

func (p numbers) Space() string      { return p.space }
func (p numbers) Describe() string   { return "VNI in " + p.space }
func (p numbers) Size() uint64       { return uint64(p.to - p.from + 1) }
func (p numbers) At(i uint64) string { return strconv.Itoa(p.from + int(i)) }

func (p numbers) Contains(v string) bool {
	n, err := strconv.Atoi(v)
	return err == nil && p.from <= n && n <= p.to
}

var fabric = numbers{"fabric", 5000, 5999}

func need(name string, pool model.Pool) model.Demand {
	return model.Demand{Owner: "network/acme/" + name, Field: model.FieldVNet, Pool: pool, Pos: schema.Pos{File: name + ".yaml", Line: 1, Col: 1}}
}

func needs(n int, pool model.Pool) []model.Demand {
	out := make([]model.Demand, n)
	for i := range out {
		out[i] = need(fmt.Sprintf("n%d", i), pool)
	}
	return out
}

func fixed(name, value string, pool model.Pool) model.Demand {
	d := need(name, pool)
	d.Fixed = value
	return d
}

func must(t *testing.T, demands []model.Demand, old *Lock, opts Options) (*Lock, Report) {
	t.Helper()
	l, r, ds := Allocate(demands, old, opts)
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	return l, r
}

func lockOf(t *testing.T, text string) *Lock {
	t.Helper()
	l, ds := Parse(FileName, []byte(text), nil)
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	return l
}

// holders maps values to owners and fails when one has two.
func holders(t *testing.T, l *Lock) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, e := range l.Entries() {
		if o, ok := out[e.Value]; ok {
			t.Fatalf("%s is held by %s and %s", e.Value, o, e.Owner)
		}
		out[e.Value] = e.Owner
	}
	return out
}

func TestStable(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	all := needs(600, fabric)
	base := all[:400]
	l, r := must(t, base, nil, Options{})
	if len(r.Allocated) != 400 || len(r.Changed)+len(r.Released) != 0 {
		t.Fatal("report", len(r.Allocated), len(r.Changed), len(r.Released))
	}
	holders(t, l)

	again, r := must(t, base, l, Options{})
	if !r.Empty() || string(again.Marshal()) != string(l.Marshal()) {
		t.Error("a second run changes something")
	}
	for range 10 {
		shuffled := slices.Clone(base)
		rnd.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		fresh, _ := must(t, shuffled, nil, Options{})
		if string(fresh.Marshal()) != string(l.Marshal()) {
			t.Fatal("the order of demands matters")
		}
	}
	more, r := must(t, all, l, Options{})
	if len(r.Changed) != 0 || len(r.Allocated) != 200 {
		t.Error("inserting changes others", r.Changed)
	}
	holders(t, more)
	less, r := must(t, all[200:], more, Options{})
	if len(r.Changed) != 0 || len(r.Released) != 200 || len(r.Allocated) != 0 {
		t.Error("deleting changes others", r.Changed)
	}
	for _, e := range less.Entries() {
		if more.Number(e.Owner, e.Field) != e.Value {
			t.Error("moved", e)
		}
	}
}

// TestBranches: two branches that add networks to one base rarely pick the same
// numbers; with a pool 100 times as large as what both add, hardly any.
func TestBranches(t *testing.T) {
	pool := numbers{"fabric", 1, 10000}
	base := needs(100, pool)
	l, _ := must(t, base, nil, Options{})
	var ours, theirs []model.Demand
	for i := range 50 {
		ours = append(ours, need(fmt.Sprintf("ours%d", i), pool))
		theirs = append(theirs, need(fmt.Sprintf("theirs%d", i), pool))
	}
	a, _ := must(t, append(slices.Clone(base), ours...), l, Options{})
	b, _ := must(t, append(slices.Clone(base), theirs...), l, Options{})
	taken, both := holders(t, a), 0
	for v, o := range holders(t, b) {
		if p := taken[v]; p != "" && p != o {
			both++
		}
	}
	if both > 3 {
		t.Errorf("%d of 50 numbers were picked by both branches", both)
	}

	union := append(a.Marshal(), b.Marshal()...)
	merged, ds := Parse(FileName, union, nil)
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	all := append(append(slices.Clone(base), ours...), theirs...)
	fixedUp, _ := must(t, all, merged, Options{Base: a})
	holders(t, fixedUp)
	for _, e := range a.Entries() {
		if fixedUp.Number(e.Owner, e.Field) != e.Value {
			t.Error("an entry of the base moved", e)
		}
	}
}

func TestFillsWholePool(t *testing.T) {
	for _, size := range []int{1, 2, 7, 100, 128, 1000} {
		pool := numbers{"fabric", 1, size}
		l, _ := must(t, needs(size, pool), nil, Options{})
		if got := len(holders(t, l)); got != size {
			t.Errorf("%d of %d", got, size)
		}
		_, _, ds := Allocate(needs(size+1, pool), l, Options{})
		want := fmt.Sprintf("no free VNI in fabric (%d of %d used)", size, size)
		if len(ds) != 1 || ds[0].Message != want {
			t.Errorf("%v, want %s", ds, want)
		}
	}
}

func TestExplicit(t *testing.T) {
	l, _ := must(t, needs(3, fabric), nil, Options{})
	n1 := l.Number("network/acme/n1", model.FieldVNet)

	ds := append(needs(3, fabric)[1:], fixed("n0", "4242", fabric))
	out, r := must(t, ds, l, Options{})
	if out.Number("network/acme/n0", model.FieldVNet) != "4242" || len(r.Changed) != 1 || r.Changed[0].Owner != "network/acme/n0" {
		t.Error("an explicit number replaces its own entry only", r)
	}

	_, _, diags := Allocate(append(needs(3, fabric)[1:], fixed("n0", n1, fabric)), l, Options{})
	if len(diags) != 1 || diags[0].Code != "number-taken" || diags[0].File != FileName || diags[0].Line != 2 || diags[0].Related[0].Pos.File != "n0.yaml" {
		t.Errorf("%+v", diags)
	}
	out, _ = must(t, append(needs(3, fabric)[1:], fixed("n0", n1, fabric)), l, Options{Reallocate: []string{"network/acme/n1"}})
	if out.Number("network/acme/n0", model.FieldVNet) != n1 || out.Number("network/acme/n1", model.FieldVNet) == n1 {
		t.Error("reallocate makes room")
	}

	_, _, diags = Allocate([]model.Demand{fixed("a", "7", fabric), fixed("b", "7", fabric)}, nil, Options{})
	if len(diags) != 1 || diags[0].File != "b.yaml" || diags[0].Related[0].Pos.File != "a.yaml" {
		t.Errorf("%+v", diags)
	}
}

func TestOutsidePool(t *testing.T) {
	l := lockOf(t, "network/acme/n0 vnet 4000\nnetwork/acme/n1 vnet 5001\n")
	out, _, ds := Allocate(needs(2, fabric), l, Options{})
	if len(ds) != 1 || ds[0].Code != "outside-pool" || !strings.Contains(ds[0].Message, "network/acme/n0") || !strings.Contains(ds[0].Hint, "--reallocate network/acme/n0") {
		t.Errorf("%+v", ds)
	}
	if out.Number("network/acme/n0", model.FieldVNet) != "4000" {
		t.Error("the entry does not stay until it is reallocated")
	}
	out, r := must(t, needs(2, fabric), l, Options{Reallocate: []string{"network/acme/n0"}})
	if !fabric.Contains(out.Number("network/acme/n0", model.FieldVNet)) || len(r.Changed) != 1 {
		t.Error("not reallocated")
	}
	if _, _, ds := Allocate(needs(2, fabric), out, Options{Reallocate: []string{"network/acme/no"}}); len(ds) != 1 || ds[0].Code != "unknown-owner" {
		t.Errorf("%+v", ds)
	}
}

func TestPin(t *testing.T) {
	pin := func(v string) Options { return Options{Pin: []Entry{{"network/acme/n0", model.FieldVNet, v}}} }
	l, _ := must(t, needs(2, fabric), nil, pin("5500"))
	if l.Number("network/acme/n0", model.FieldVNet) != "5500" {
		t.Error("not pinned")
	}
	if _, r := must(t, needs(2, fabric), l, Options{}); !r.Empty() {
		t.Error("a pin does not stay", r)
	}
	for value, code := range map[string]string{"4000": "outside-pool", l.Number("network/acme/n1", model.FieldVNet): "number-taken"} {
		_, _, ds := Allocate([]model.Demand{need("n0", fabric), fixed("n1", l.Number("network/acme/n1", model.FieldVNet), fabric)}, nil, pin(value))
		if len(ds) != 1 || ds[0].Code != code {
			t.Errorf("%s: %+v", value, ds)
		}
	}
	if _, _, ds := Allocate([]model.Demand{fixed("n0", "5001", fabric)}, nil, pin("5002")); len(ds) != 1 || ds[0].Code != "pin-contradicts" {
		t.Errorf("%+v", ds)
	}
}

func TestFormerly(t *testing.T) {
	l, _ := must(t, needs(2, fabric), nil, Options{})
	was := l.Number("network/acme/n0", model.FieldVNet)
	renamed := need("new", fabric)
	renamed.Formerly = "network/acme/n0"
	out, r := must(t, []model.Demand{renamed, need("n1", fabric)}, l, Options{})
	if out.Number("network/acme/new", model.FieldVNet) != was || len(r.Released) != 1 {
		t.Error("the number did not move with the name", r)
	}
	copied, _ := must(t, append(needs(2, fabric), renamed), l, Options{})
	if copied.Number("network/acme/n0", model.FieldVNet) != was {
		t.Error("a copy took the number of what is still there")
	}
	holders(t, copied)
}

func TestDuplicateInLock(t *testing.T) {
	l := lockOf(t, "network/acme/n0 vnet 5001\nnetwork/acme/n1 vnet 5001\n")
	_, _, ds := Allocate(needs(2, fabric), l, Options{})
	if len(ds) != 1 || ds[0].Code != "number-taken" || ds[0].Line != 2 || ds[0].Related[0].Pos.Line != 1 {
		t.Errorf("%+v", ds)
	}
	base := lockOf(t, "network/acme/n1 vnet 5001\n")
	out, r := must(t, needs(2, fabric), l, Options{Base: base})
	if out.Number("network/acme/n1", model.FieldVNet) != "5001" || len(r.Changed) != 1 || r.Changed[0].Owner != "network/acme/n0" {
		t.Error("the base's entry has to stay", r)
	}
}

func TestTwoValues(t *testing.T) {
	l, ds := Parse(FileName, []byte("network/acme/n0 vnet 5001\nnetwork/acme/n0 vnet 5002\nnetwork/acme/n1 vnet 5003\n"), nil)
	if len(ds) != 1 || ds[0].Code != codeTwoValues || ds[0].Line != 2 || ds[0].Related[0].Pos.Line != 1 {
		t.Fatalf("%+v", ds)
	}
	if l.Number("network/acme/n0", model.FieldVNet) != "" || l.Number("network/acme/n1", model.FieldVNet) != "5003" {
		t.Error("only the field with two values is unknown")
	}
	if l.Unreadable() != "" {
		t.Error("the rest can be trusted")
	}
	out, _ := must(t, needs(2, fabric), l, Options{Base: lockOf(t, "network/acme/n0 vnet 5002\n")})
	if out.Number("network/acme/n0", model.FieldVNet) != "5002" {
		t.Error("the base's value has to win")
	}
}

func TestCheck(t *testing.T) {
	l := lockOf(t, "network/acme/n0 vnet 5001\nnetwork/acme/old vnet 5002\n")
	ds := Check(append(needs(2, fabric)[1:], fixed("n0", "5009", fabric)), l)
	want := map[string]string{
		"n1.yaml:1:1":   "weft.lock has no vnet for network/acme/n1",
		"weft.lock:1:1": "vnet of network/acme/n0 is now 5009, not 5001",
		"weft.lock:2:1": "nothing needs vnet 5002 of network/acme/old any more",
	}
	if len(ds) != len(want) {
		t.Fatalf("%+v", ds)
	}
	for _, d := range ds {
		if want[d.Pos.String()] != d.Message {
			t.Errorf("%s: %s", d.Pos, d.Message)
		}
	}
	if ds := Check(needs(500, fabric), nil); len(ds) != 1 || ds[0].Message != "weft.lock lacks 500 numbers" {
		t.Errorf("%+v", ds[0])
	}
	full, _ := must(t, needs(500, fabric), nil, Options{})
	if ds := Check(needs(500, fabric), full); len(ds) != 0 {
		t.Errorf("%+v", ds[0])
	}
}

// TestShares: a number that is stated may be that of others who share it, and of
// nobody else; what is given out is nobody's yet.
func TestShares(t *testing.T) {
	vlans := numbers{"vlan", 100, 103}
	sharing := func(d model.Demand, with string) model.Demand {
		d.Shares = with
		return d
	}
	demands := []model.Demand{
		sharing(fixed("a", "100", vlans), "overlap"), sharing(fixed("b", "100", vlans), "overlap"),
		sharing(need("c", vlans), "overlap"), sharing(need("d", vlans), "overlap"), need("e", vlans),
	}
	lock, _ := must(t, demands, nil, Options{})
	seen := map[string]bool{}
	for _, name := range []string{"c", "d", "e"} {
		v := lock.Number("network/acme/"+name, model.FieldVNet)
		if v == "100" || seen[v] {
			t.Errorf("%s got %s, which somebody has", name, v)
		}
		seen[v] = true
	}
	if ds := Check(demands, lock); len(ds) > 0 {
		t.Error(ds)
	}
	for with, what := range map[string]string{"": "who shares nothing", "pvlan": "who shares with others"} {
		_, _, ds := Allocate(append(slices.Clone(demands[:2]), sharing(fixed("x", "100", vlans), with)), nil, Options{})
		if len(ds) != 1 || ds[0].Code != "number-taken" {
			t.Errorf("%s gets the number too: %v", what, ds)
		}
	}
}
