package virtualrouter

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"weft.dev/plugins/drivers/file"
	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/bgp"
	kernel "weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
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

// FuzzPassword: whatever a host's file of a password holds, it is refused, or bgpd takes
// the configuration with it, and that has as many lines as any.
func FuzzPassword(f *testing.F) {
	for _, s := range []string{
		"fine", "", "\n", "two\nlines", "x\n neighbor 203.0.113.1 shutdown\n", "x\r", "a b", "a\tb", "\x00", "\x1b[0m", "pä\xff",
		"!", "#x", "|include", "?", "$(id)", "`id`", "\\n", "%s%n", "8", "<cr>", "WORD", "exit", strings.Repeat("x", 80), strings.Repeat("x", 81),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, secret []byte) {
		dir := t.TempDir()
		at := path.Join(dir, "password")
		if err := os.WriteFile(at, secret, 0o600); err != nil {
			t.Fatal(err)
		}
		h := kernel.New("kvm1", "")
		h.RunDir, h.StateDir = path.Join(dir, "run"), path.Join(dir, "state")
		st := resource.File{Path: "bgpd.conf", Mode: 0o600, Parts: []resource.Part{
			{Text: "router bgp 65001\n neighbor 203.0.113.1 remote-as 65500\n neighbor 203.0.113.1 password "},
			{Secret: at, Word: maxPassword}, {Text: "\n neighbor 203.0.113.1 timers 3 9\n"},
		}}
		a := &plan.Action{ID: st.ID(), Verb: plan.Create, After: &resource.Entry{State: st, Owner: "network/acme/web"}}
		if err := file.New(h, file.Below(dir)).Do(t.Context(), []*plan.Step{{Action: a}})[0]; err != nil {
			return
		}
		conf := path.Join(file.Dir(h), "bgpd.conf")
		text, err := os.ReadFile(conf)
		if err != nil || strings.Count(string(text), "\n") != 4 {
			t.Fatalf("%q becomes %q, %v", secret, text, err)
		}
		if code, _ := bgp.Main([]string{bgp.Verb, "--conf", conf, "--test"}); code != 0 {
			t.Errorf("bgpd refuses %q", secret)
		}
	})
}
