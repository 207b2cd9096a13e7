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

// Of a Routed VPC each tier needs a way, by its one router, unless BGP tells of them.
func TestUpstreamOfVPC(t *testing.T) {
	compile := func(mode string) *compiled {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("../../examples/routed")); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "vpc.yaml")
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "routingMode: Dynamic", "routingMode: "+mode)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := newCompiler().workTree(dir)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	r := &plan.Report{}
	tellUpstream(r, compile("Dynamic"), compile("Static"))
	want := []string{
		"add a route to 100.64.33.0/24 by 203.0.113.19 and 2001:db8:100:f345::/64 by 2001:db8:1::e135:ed4f of network back upstream: weft cannot",
		"add a route to 100.64.32.0/24 by 203.0.113.19 and 2001:db8:100:284a::/64 by 2001:db8:1::e135:ed4f of network front upstream: weft cannot",
	}
	if len(r.Checks) != len(want) || r.Checks[0].Message != want[0] || r.Checks[1].Message != want[1] {
		t.Errorf("%+v, want %q", r.Checks, want)
	}
}

// What gateways have to advertise is said when it comes or changes, and on the hosts
// where guests wait for it.
func TestAdvertised(t *testing.T) {
	tree, err := newCompiler().workTree("../../examples/shared-dual-stack")
	if err != nil {
		t.Fatal(err)
	}
	before, err := newCompiler().workTree("../../examples/security-groups")
	if err != nil {
		t.Fatal(err)
	}
	const given = "2001:db8:120::/64 by the gateway 2001:db8:120::1: on-link, managed (flag M), not autonomous"
	const made = "2001:db8:130::/64 by the gateway 2001:db8:130::fe: on-link, autonomous, with other configuration (flag O)"
	r := &plan.Report{}
	tellAdvertised(r, before, tree)
	if len(r.Checks) != 2 || !strings.Contains(r.Checks[0].Message, made) || !strings.Contains(r.Checks[1].Message, given) || r.Checks[0].Source.Line == 0 {
		t.Errorf("%+v", r.Checks)
	}
	r = &plan.Report{}
	tellAdvertised(r, tree, tree)
	tellAdvertised(r, tree, before)
	if len(r.Checks) > 0 {
		t.Errorf("nothing changes: %+v", r.Checks)
	}
	if notes := strings.Join(notesOf(tree, "kvm2"), "\n"); !strings.Contains(notes, given) || !strings.Contains(notes, made) {
		t.Errorf("kvm2 says %q", notes)
	}
}
