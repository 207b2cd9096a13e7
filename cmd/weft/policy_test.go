package main

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// TestRefused: an agent does not follow what a policy denies, by the day of the commit and not of the
// clock; it follows what only warns.
func TestRefused(t *testing.T) {
	const account = "apiVersion: weft.dev/v1alpha1\nkind: Account\nmetadata: {name: acme}\nspec: {}\n"
	policy := func(spec string) string {
		return "---\napiVersion: weft.dev/v1alpha1\nkind: Policy\nmetadata: {name: domain}\nspec: {" + spec + "}\n"
	}
	const about = "match: {kinds: [Account]}, message: a domain is missing, "
	const excepted = "exceptions: [{object: account/acme, owner: ann, until: 2026-06-01}], "
	for _, c := range []struct{ name, policy, day, want string }{
		{"none", "", "2026-06-01", ""},
		{"met", policy(about + "expression: \"true\""), "2026-06-01", ""},
		{"denied", policy(about + "expression: object.spec.domain != 'root'"), "2026-06-01", "denied by policy domain: a.yaml:3:18: a domain is missing"},
		{"warned", policy(about + "action: Warn, expression: object.spec.domain != 'root'"), "2026-06-01", ""},
		{"excepted", policy(about + excepted + "expression: \"false\""), "2026-06-01", ""},
		{"over", policy(about + excepted + "expression: \"false\""), "2026-06-02", "denied by policy domain"},
		{"no CEL", policy(about + "expression: object.spec.domian != 'root'"), "2026-06-01", "undefined field 'domian'"},
		{"invalid", policy(about + "expresion: x"), "2026-06-01", "a policy is invalid"},
		{"over plans", policy("match: {kinds: [Plan]}, expression: \"false\""), "2026-06-01", ""},
		{"built in", strings.ReplaceAll(policy(""), "domain", "account-without-limits"), "2026-06-01", "denied by policy account-without-limits"},
	} {
		day, err := time.Parse(time.DateOnly, c.day)
		if err != nil {
			t.Fatal(err)
		}
		files := fstest.MapFS{"a.yaml": {Data: []byte(account + c.policy)}, ".": {Mode: 0o755 | 1<<31, ModTime: day.Add(23 * time.Hour)}}
		tree, err := newCompiler().compile(files, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = refused(tree, files)
		if got := ""; c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			if err != nil {
				got = err.Error()
			}
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
