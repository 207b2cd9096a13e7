package compile

import (
	"strings"
	"testing"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/compile/cloudgen"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/schema"
)

// TestClashWithUnchanged: a network that takes what one has that did not change,
// a resource, or the name of an interface, is reported with both lines and both
// are held, also for a compiler of another host.
func TestClashWithUnchanged(t *testing.T) {
	size := cloudgen.Size{Networks: 2, Hosts: 1, NICs: 2, Spread: 1}
	for _, c := range []struct {
		name, code string
		change     func(*plugin.Registry, map[string]string)
	}{
		{"resource", "two-claim-one", func(r *plugin.Registry, _ map[string]string) { r.Elements = []plugin.Element{greedy{}} }},
		{"interface", "interface-taken", func(_ *plugin.Registry, files map[string]string) {
			for name, text := range files {
				files[name] = strings.Replace(text, "    - network: net", "    - interface: tap7\n      network: net", 1)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			registry, files := fakes(), cloudgen.Files(size)
			c.change(&registry, files)
			second := cloudgen.NetworkFile(size, 1)
			text := files[second]
			delete(files, second)
			var cache schema.Cache
			all, other := New(registry), Only(registry, "elsewhere")
			lock := lockFor(t, parse(cloudgen.Files(size), nil), nil)
			for _, compiler := range []*Compiler{all, other} {
				if r := compiler.Update(parse(files, &cache), lock, nil); r.Diags.HasErrors() || len(r.Holds()) > 0 {
					t.Fatal("there is a mistake before the second network comes:", showDiags(r.Diags))
				}
			}
			files[second] = text
			for _, compiler := range []*Compiler{all, other} {
				r := compiler.Update(parse(files, &cache), lock, nil)
				if r.Stats.Compiled != 1 {
					t.Errorf("%d units were compiled, not the new one", r.Stats.Compiled)
				}
				if len(r.Holds()) != 2 {
					t.Errorf("%d owners are held, want both: %v", len(r.Holds()), r.Holds())
				}
				d := r.Diags[0]
				if d.Code != c.code || d.Pos.IsZero() || len(d.Related) != 1 || d.Related[0].Pos.IsZero() || d.Related[0].Pos.File == d.Pos.File {
					t.Errorf("got %s %s, want %s with both lines", d.Code, d, c.code)
				}
			}
		})
	}
}

// TestSecondaryIsTaken: a document that states for a NIC what the lock has for
// another one is judged as alloc.Check does.
func TestSecondaryIsTaken(t *testing.T) {
	files := cloudgen.Files(cloudgen.Size{Networks: 1, Hosts: 1, NICs: 2, Spread: 1})
	tree := parse(files, nil)
	lock := lockFor(t, tree, nil)
	var others string
	for _, d := range New(fakes()).Update(tree, lock, nil).Demands() {
		if d.Field == model.FieldIP {
			others = lock.Number(d.Owner, d.Field) // in the end that of the last NIC
		}
	}
	name := cloudgen.NetworkFile(cloudgen.Size{Networks: 1, Hosts: 1, NICs: 2, Spread: 1}, 0)
	text := strings.Replace(files[name], "    - network: net", "    - secondaryIPs: ["+others+"]\n      network: net", 1)
	if text == files[name] || others == "" {
		t.Fatalf("no NIC to give %q to in\n%s", others, text)
	}
	files[name] = text
	// The lock has an answer to each demand; that two are equal is what is wrong.
	var owner string
	for _, d := range New(fakes()).Update(parse(files, nil), lock, nil).Demands() {
		if strings.HasPrefix(d.Field, model.FieldSecondaryIP) {
			owner = d.Owner
		}
	}
	lock, ds := alloc.Parse(alloc.FileName, append(lock.Marshal(), owner+" "+model.FieldSecondaryIP+others+" "+others+"\n"...), nil)
	r := New(fakes()).Update(parse(files, nil), lock, nil)
	got, want := showDiags(r.CheckLock()), showDiags(alloc.Check(r.Demands(), lock))
	if ds.HasErrors() || owner == "" || got != want || !strings.Contains(got, others) {
		t.Errorf("the lock is judged\n%s\nwant\n%s\n%v", got, want, ds)
	}
}
