package compile

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

var update = flag.Bool("update", false, "write what is there as what is wanted")

// greedy asks for the same bridge on every host whatever the network.
type greedy struct{ fakeElement }

func (greedy) Implement(n *model.Network, out *plugin.Draft) {
	for _, h := range n.Hosts {
		out.Ask(h.Name, resource.Bridge{Name: "shared", FailMode: n.ID.Name})
	}
}

// twofold asks for two states of one thing.
type twofold struct{ fakeElement }

func (twofold) Implement(n *model.Network, out *plugin.Draft) {
	out.Ask(n.Hosts[0].Name, resource.NS{Name: "x", Owner: "a"})
	out.Ask(n.Hosts[0].Name, resource.NS{Name: "x", Owner: "b"}, n.NICs[0].Pos)
}

// registries are what a case may ask for in its first line, "registry: NAME".
var registries = map[string]func(*plugin.Registry){
	"":     func(*plugin.Registry) {},
	"none": func(r *plugin.Registry) { r.Gurus = nil },
	"decline": func(r *plugin.Registry) {
		r.Gurus = []plugin.Guru{fakeGuru{"AGuru", "it is tired"}, fakeGuru{"BGuru", "the switch of host kvm1 has no STT"}}
	},
	"two":   func(r *plugin.Registry) { r.Gurus = append(r.Gurus, fakeGuru{name: "OtherGuru"}) },
	"no-vr": func(r *plugin.Registry) { r.Elements = nil },
	"no-public": func(r *plugin.Registry) {
		r.Public = fakePublic{fakeGuru{"PublicNetworkGuru", "it knows no such VLAN"}}
	},
	"greedy":  func(r *plugin.Registry) { r.Elements = []plugin.Element{greedy{}} },
	"twofold": func(r *plugin.Registry) { r.Elements = []plugin.Element{twofold{}} },
}

// TestRules reads trees from testdata/*.txtar and compares what compile says of
// them, and whom it holds, with their last file. A tree without weft.lock gets one
// first, as weft lock would make it.
func TestRules(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { rule(t, name) })
	}
}

func rule(t *testing.T, name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	a := txtar.Parse(text)
	last := &a.Files[len(a.Files)-1]
	files := map[string]string{}
	var lock *alloc.Lock
	var parsed schema.Diags
	for _, f := range a.Files[:len(a.Files)-1] {
		if f.Name == alloc.FileName {
			lock, parsed = alloc.Parse(f.Name, f.Data, nil)
			continue
		}
		files[f.Name] = string(f.Data)
	}
	first, _, _ := strings.Cut(string(a.Comment), "\n")
	variant, _ := strings.CutPrefix(first, "registry: ")
	if variant == first {
		variant = ""
	}
	registry := fakes()
	registries[variant](&registry)
	tree, more := schema.Parse(cloudFS(files), nil)
	parsed = append(parsed, more...)
	if lock == nil {
		lock, _, _ = alloc.Allocate(New(registry).Update(tree, nil, nil).Demands(), nil, alloc.Options{})
	}
	r := New(registry).Update(tree, lock, nil)
	var got bytes.Buffer
	ds := append(r.Diags, parsed...)
	ds.Sort()
	if err := ds.Render(&got, tree.Source, false); err != nil {
		t.Fatal(err)
	}
	for _, h := range r.Hosts() {
		in := r.Intent(h)
		fmt.Fprintf(&got, "%s:\n", h)
		if in.Frozen != "" {
			fmt.Fprintf(&got, "  frozen: %s\n", in.Frozen)
		}
		for _, x := range in.Holds {
			fmt.Fprintf(&got, "  hold %s %s: %s\n", x.Owner, x.Cause, x.Reason)
		}
		for _, f := range in.Fragments {
			fmt.Fprintf(&got, "  %s: %d\n", f.Owner, f.Len())
		}
	}
	if *update {
		last.Data = got.Bytes()
		if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got.Bytes(), last.Data) {
		t.Errorf("got:\n%s\nwant:\n%s", got.Bytes(), last.Data)
	}
}
