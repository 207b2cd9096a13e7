package policy

import (
	"strings"
	"testing"
	"testing/fstest"
)

// TestTrial: a test tells what is found and not wanted, and what is wanted and not found.
func TestTrial(t *testing.T) {
	tree := parse(t, fstest.MapFS{"p.yaml": {Data: []byte(policyOf("p", "Account", "old != null && old.spec.domain == object.spec.domain") + policyOf("plans", "Plan", "plan.destroy < 3") +
		strings.Replace(policyOf("excepted", "Account", "false"), "message: refused", "message: refused, exceptions: [{object: account/acme, owner: ann, until: 2026-12-31}, {object: account/old, owner: ann, until: 2020-12-31}]", 1))}})
	account := "-- a.yaml --\n" + strings.TrimPrefix(head, "---\n") + "kind: Account\nmetadata: {name: acme}"
	for _, c := range []struct{ name, policy, text, want string }{
		{"met", "p", strings.ReplaceAll(account, "a.yaml", "base/a.yaml") + "\nspec: {}\n" + account + "\nspec: {}\n", ""},
		{"found", "p", account + " # want\nspec: {}\n", ""},
		{"found with words", "p", account + " # want: refused\nspec: {}\n", ""},
		{"other words", "p", account + " # want: allowed\nspec: {}\n", "not wanted: a.yaml:3:18: error: refused (policy p); a.yaml:3: wanted, and not found: allowed"},
		{"not wanted", "p", account + "\nspec: {}\n", "not wanted: a.yaml:3:18: error: refused (policy p)"},
		{"other line", "p", account + "\nspec: {} # want\n", "not wanted: a.yaml:3:18: error: refused (policy p); a.yaml:4: wanted, and not found:"},
		{"a word that begins so", "p", account + " # want\nspec: {} # wanted by ann\n", ""},
		{"exceptions of the tree", "excepted", account + " # want\nspec: {}\n", ""},
		{"invalid", "p", account + "\nspec: {colour: red}\n", `a.yaml:4:8: error: unknown field "colour" in spec`},
		{"no policy", "gone", account + "\nspec: {}\n", "there is no policy gone, or it is off"},
		{"its own", "own", account + " # want\nspec: {}\n" + policyOf("own", "Account", "false"), ""},
		{"plan", "plans", "-- plan.yaml --\nhosts: [{name: a, destroy: 1}, {name: b, destroy: 1}]\n-- plan-2.yaml --\n# want\ndestroy: 3\n", ""},
		{"plan not wanted", "plans", "-- plan.yaml --\nhosts: [{destroy: 5}]\n", "not wanted: plan.yaml: refused (policy plans)"},
		{"plan field", "plans", "-- plan.yaml --\ndestroyed: 5\n", "field destroyed not found"},
		{"day", "p", "today: tomorrow\n" + account, "is not a date"},
		{"empty", "p", "nothing\n", "the archive has no file"},
	} {
		trial, err := ParseTrial("dir/"+c.policy+TestSuffix, []byte(c.text))
		var got string
		if err != nil {
			got = err.Error()
			if c.want != "" && strings.Contains(got, c.want) {
				continue
			}
		} else {
			got = strings.Join(trial.Run(tree, nil), "; ")
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
