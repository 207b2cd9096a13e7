package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft.dev/reconcile/plan"
)

// What the operator has to do upstream is said when it changes, and only then.
func TestUpstream(t *testing.T) {
	compile := func(edit func(string) string) *compiled {
		dir := t.TempDir()
		for _, name := range []string{"cloud.yaml", "weft.lock"} {
			text, err := os.ReadFile("../../examples/dual-stack/" + name)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name), []byte(edit(string(text))), 0o644)
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
	same := func(s string) string { return s }
	moved := func(s string) string { return strings.ReplaceAll(s, "2001:db8:100:9:", "2001:db8:100:a:") }
	gone := func(s string) string { return strings.ReplaceAll(s, "DualStack", "IPv4") }
	const was, is = "2001:db8:100:9::/64 by 2001:db8:feed::38cd", "2001:db8:100:a::/64 by 2001:db8:feed::38cd"
	for name, x := range map[string]struct {
		base, head func(string) string
		want       []string
	}{
		"same":  {same, same, nil},
		"moved": {same, moved, []string{"change the route to " + was + " of network db upstream to " + is + ": weft cannot"}},
		"added": {gone, same, []string{"add a route to " + was + " of network db", "add a route to 2001:db8:100:5::/64 by 2001:db8:feed::9251 of network web"}},
		"gone":  {same, gone, []string{"the route to " + was + " of network db can go", "the route to 2001:db8:100:5::/64 by 2001:db8:feed::9251 of network web can go"}},
	} {
		r := &plan.Report{}
		tellUpstream(r, compile(x.base), compile(x.head))
		if len(r.Checks) != len(x.want) {
			t.Errorf("%s: %+v, want %q", name, r.Checks, x.want)
			continue
		}
		for i, c := range r.Checks {
			if !strings.HasPrefix(c.Message, x.want[i]) || c.Source.Line == 0 {
				t.Errorf("%s: %+v, want %q", name, c, x.want[i])
			}
		}
	}
	if notes := notesOf(compile(same), "kvm2"); len(notes) != 1 || !strings.Contains(notes[0], was) {
		t.Errorf("kvm2 says %q", notes)
	}
}
