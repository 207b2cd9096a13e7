package policies

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft.dev/reconcile/policy"
	"weft.dev/schema"
)

// TestPolicies runs every policy's test.
func TestPolicies(t *testing.T) {
	if len(All()) < 10 {
		t.Fatalf("only %d policies", len(All()))
	}
	for _, d := range All() {
		t.Run(d.Meta.Name, func(t *testing.T) {
			name := d.Meta.Name + policy.TestSuffix
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(string(text), "# want") == 0 {
				t.Error("the test has no finding")
			}
			trial, err := policy.ParseTrial(name, text)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range trial.Run(&schema.Tree{}, All()) {
				t.Error(line)
			}
		})
	}
	tests, err := filepath.Glob("*" + policy.TestSuffix)
	if err != nil || len(tests) != len(All()) {
		t.Errorf("%d tests of %d policies: %v", len(tests), len(All()), err)
	}
}

// TestForm: a policy says why, warns or is off, and is alone in the file of its name.
func TestForm(t *testing.T) {
	for _, d := range All() {
		spec := d.Spec.(*schema.Policy)
		text, err := os.ReadFile(d.File)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case d.File != d.Meta.Name+".yaml":
			t.Errorf("%s is in %s", d.Meta.Name, d.File)
		case !strings.HasPrefix(string(text), "# ") || spec.Why == "":
			t.Errorf("%s does not say why", d.Meta.Name)
		case spec.Action == "Deny":
			t.Errorf("%s denies: trees decide that", d.Meta.Name)
		}
	}
}
