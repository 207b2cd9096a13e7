package compile

import (
	"strings"
	"testing"

	"weft.dev/reconcile/compile/cloudgen"
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
