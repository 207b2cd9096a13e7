package virtualrouter

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/bgp"
	"weft.dev/reconcile/resource"
)

// TestHostileBGP: whatever a person writes and nobody refuses, there are as many lines
// of as many words as with the usual value, and bgpd takes them.
func TestHostileBGP(t *testing.T) {
	must := []string{"peer", "network", "account", "secret"}
	tried := map[string]bool{}
	plugintest.Hostile(t, registry, "testdata/hostile-bgp.yaml", must, func(field, value string, usual, got *resource.Intent) {
		was, _ := bgpForm(usual)
		is, text := bgpForm(got)
		if !slices.Equal(was, is) {
			t.Errorf("%s = %q changes the form:\n%s", field, value, text)
		}
		if tried[field] && field != "peer" { // whose name stands in it as it is
			return
		}
		tried[field] = true
		file := path.Join(t.TempDir(), "bgpd.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _ := bgp.Main([]string{bgp.Verb, "--conf", file, "--test"}); code != 0 {
			t.Errorf("%s = %q: bgpd refuses\n%s", field, value, text)
		}
	})
}

// bgpForm is bgpd.conf as how many words its lines have, and its text.
func bgpForm(in *resource.Intent) (words []string, text string) {
	for _, h := range in.Holds {
		words = append(words, "hold "+h.Cause)
	}
	for _, e := range in.Set() {
		f, ok := e.State.(resource.File)
		if !ok || path.Base(f.Path) != "bgpd.conf" {
			continue
		}
		for _, p := range f.Parts {
			if text += p.Text; p.Secret != "" {
				text += "secret"
			}
		}
	}
	for l := range strings.Lines(text) {
		words = append(words, fmt.Sprint(len(strings.Fields(l))))
	}
	slices.Sort(words) // peers are in the order of their names
	return words, text
}
