package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft.dev/reconcile/plan"
)

// Where a routing daemon has to run is said when it begins to be so, and on the hosts.
func TestDaemons(t *testing.T) {
	compile := func(old, new string) *compiled {
		dir := t.TempDir()
		for _, name := range []string{"cloud.yaml", "weft.lock"} {
			text, err := os.ReadFile("../../examples/evpn/" + name)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(string(text), old, new)), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		c, err := newCompiler().workTree(dir)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	both := compile("", "")
	mesh := compile("mode: EVPN", "mode: Unicast")
	alone := compile("host: kvm2, hosts: [kvm1, kvm2]", "host: kvm1")
	for name, x := range map[string]struct {
		base, head *compiled
		want       string
	}{
		"same": {both, both, ""}, "mode": {mesh, both, "needs a routing daemon on kvm1, kvm2 "}, "hosts": {alone, both, "needs a routing daemon on kvm1, kvm2 "},
		"back": {both, mesh, ""}, "one host": {mesh, alone, ""},
	} {
		r := &plan.Report{}
		tellDaemons(r, x.base, x.head)
		if (len(r.Checks) > 0) != (x.want != "") {
			t.Errorf("%s: %+v", name, r.Checks)
		}
		for _, c := range r.Checks {
			if !strings.Contains(c.Message, x.want) || c.Source.Line == 0 {
				t.Errorf("%s: %+v, want %q", name, c, x.want)
			}
		}
	}
	if notes := notesOf(both, "kvm1"); len(notes) != 1 || !strings.Contains(notes[0], "physical network fabric reach as far as this host's routing daemon tells") {
		t.Errorf("kvm1 says %q", notes)
	}
	if notes := append(notesOf(mesh, "kvm1"), notesOf(alone, "kvm1")...); len(notes) > 0 {
		t.Errorf("without EVPN, or without another host: %q", notes)
	}
}
