package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/compile/cloudgen"
)

func TestSpell(t *testing.T) {
	for _, c := range []struct {
		text    string
		words   string
		pairs   string
		unclear bool
	}{
		{"", "", "[]", false},
		{"  - {network: web-1, nicks: beta/shared}\n", "- beta network nicks shared web-1", "[[beta shared]]", false},
		{"a/b/c x/ y /z Web", "a b c eb x y z", "[[a b] [b c]]", false},
		{"network: \"w\\x65b\"", "network w x65b", "[]", true},
		{"network: *web", "network web", "[]", true},
	} {
		s := spell(c.text)
		if words := strings.Join(slices.Sorted(maps.Keys(s.words)), " "); words != c.words || fmt.Sprint(s.pairs) != c.pairs || s.unclear != c.unclear {
			t.Errorf("%q: words %q, pairs %v, unclear %t", c.text, words, s.pairs, s.unclear)
		}
	}
}

// TestManyBroken: one mistake in every document of a file, as a program that
// writes them makes it, costs no more than reading them. Before files were read
// once it took minutes; the limit is far above what a busy machine needs.
func TestManyBroken(t *testing.T) {
	size := cloudgen.Size{Networks: 400, Hosts: 20, NICs: 5, Accounts: 4, Spread: 4}
	good := cloudgen.Files(size)
	lock := lockFor(t, parse(good, nil), nil)
	for _, broken := range []string{"nicks:", "nicks: &all"} {
		files := map[string]string{}
		for name, text := range good {
			if strings.Contains(name, "/net") {
				files["all.yaml"] += "---\n" + strings.ReplaceAll(text, "nics:", broken)
				continue
			}
			files[name] = text
		}
		tree := parse(files, nil)
		began := time.Now()
		r := New(fakes()).Update(tree, lock, nil)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%d broken documents took %s", len(tree.Invalid), took)
		}
		if len(r.Holds()) != size.Networks {
			t.Errorf("%d of %d networks are held", len(r.Holds()), size.Networks)
		}
	}
}
