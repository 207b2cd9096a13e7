package schema

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestSecretsAreHidden: whatever is wrong with a secret or beside it, nothing that people or
// programs get to see has it. The goldens of secrets.txtar show what they see instead.
func TestSecretsAreHidden(t *testing.T) {
	const head = "apiVersion: weft.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: v, account: acme}\nspec:\n  nics: [{netwrk: web}]\n"
	for _, spec := range []string{
		"  password: hunter2\n",
		"  password: hunter2: x\n",
		"  password: \"hunter2\n  hunter2\n",
		"  password: 'it''s hunter2' hunter2: x\n",
		"  password: 12345 # hunter2\n",
		"  password: !hunter2 x\n",
		"  password: *hunter2\n",
		"  password: &hunter2 x\n",
		"  password: &a hunter2\n  hostname: *a\n  x: [\n",
		"  password:\n    - hunter2\n",
		"  password:\n  - hunter2\n  - !x hunter2\n",
		"  password:\n    secretFile: hunter2 x\n    hunter2:\n",
		"  password:\n    secretFil: hunter2\n    secretFile: hunter2\n    secretFile: hunter2\n",
		"  password: {secretFile: /etc/x, value: hunter2}\n",
		"  password: {secretFile: /etc/x, hunter2: 1, hunter2: 2}\n",
		"  password: {secretFile: hunter2 x}\n",
		"  password: [hunter2, {a: hunter2}\n",
		"  password: |\n    hunter2\n   hunter2: [\n",
		"  password: ENC[AES256_GCM,data:hunter2,tag:x]\n",
		"  password hunter2\n  password: hunter2\n   hunter2: [\n",
		"  passwrd: hunter2\n",
		"  Password : hunter2\n",
		"  'password': hunter2\n",
		"  ? password\n  : hunter2\n",
		"  psk: hunter2\n  private_key: hunter2\n  key: hunter2\n",
		"  userData: \"\\x01 hunter2\"\n",
		"  userData: [hunter2]\n",
		"  userData: 007 # hunter2\n",
		"  userData: |2\n      hunter2\x01\n",
		"  userData: >-\n    a hunter2\n\n    b hunter2\n\t c hunter2\n",
		"  userData: \"" + strings.Repeat("hunter2", 10000) + "\"\n",
		"  userData: \"hunter2\r\n\r\n    hunter2\"\r\n",
		"  - password: hunter2\n",
		"  {password: hunter2, hostname: A_B}\n",
		"  {\"password\":\"hunter2\", hostname: A_B}\n",
		"  {hostname: A_B, password: {a: 'hunter2}'}, password: \"a\\\"hunter2\" }\n",
		"  {hostname: A_B, password:\n     hunter2,\n   password: hunter2, x: [\n",
	} {
		tree, ds := Parse(fstest.MapFS{"a.yaml": {Data: []byte(head + spec)}}, nil)
		if len(ds) == 0 {
			t.Errorf("nothing is wrong with\n%s", spec)
		}
		seen := describe(tree, ds) + string(tree.Source("a.yaml"))
		for _, d := range ds {
			seen += d.Message + d.Text + d.Hint
		}
		// One is no secret but a broken line of its own.
		if seen = strings.ReplaceAll(seen, "password hunter2", ""); strings.Contains(seen, "hunter2") || strings.Contains(seen, "12345") || strings.Contains(seen, "007") {
			t.Errorf("shown of\n%s:\n%s", spec, seen)
		}
		if !strings.Contains(seen, "metadata: {name: v, account: acme}") {
			t.Errorf("more than the secrets is hidden:\n%s", seen)
		}
	}
}

// TestMaskEnds: what comes after a secret is shown again.
func TestMaskEnds(t *testing.T) {
	for text, want := range map[string]string{
		"a: 1\npassword: x\nb: 2\n":                               "a: 1\npassword: *\nb: 2\n",
		"password: |\n  x\n\n  y\nb: 2\n":                         "password: |\n  *\n\n  *\nb: 2\n",
		"- password: 'x\n  y'\n  b: 2\n- c: 3\n":                  "- password: **\n****\n  b: 2\n- c: 3\n",
		"password:\n- x\nb: 2\n":                                  "password:\n***\nb: 2\n",
		"{password: x, b: 2, userData: [y, {z}], c: 3}\n":         "{password: *, b: 2, userData: ********, c: 3}\n",
		"password: {secretFile: /etc/x}\nb: 2\n":                  "password: {secretFile: /etc/x}\nb: 2\n",
		"{password: {secretFile: \"/etc/x\"}, b: 2}\n":            "{password: {secretFile: \"/etc/x\"}, b: 2}\n",
		"password:\n  secretFile: /etc/x\nb: 2\n":                 "password:\n  secretFile: /etc/x\nb: 2\n",
		"password: \"x\n---\nb: 2\n":                              "password: **\n---\nb: 2\n",
		"publicKey: a\nsshKeys: [b]\nservices: {UserData: c}\n":   "publicKey: a\nsshKeys: [b]\nservices: {UserData: c}\n",
		"password: äöü\r\nb: 2\r\n":                               "password: ***\r\nb: 2\r\n",
		"hostname: password\nspec: {userData: x, nics: []}\nb: 2": "hostname: password\nspec: {userData: *, nics: []}\nb: 2",
	} {
		if got := mask(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// TestMaskKeepsPlaces: every line has its length and its end.
func TestMaskKeepsPlaces(t *testing.T) {
	part := rapid.SampledFrom([]string{"password", ": ", ":", "\n", "\r\n", "  ", "- ", "{", "}", "[", "]", "\"", "'", ", ", "|", "x", "ä", "\xff", "secretFile", "/etc/x", "userData", "---\n", "\\", "#", "? "})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(part).Draw(t, "parts"), "")
		got := mask(text)
		before, after := strings.SplitAfter(text, "\n"), strings.SplitAfter(got, "\n")
		if len(before) != len(after) {
			t.Fatalf("%q became %q", text, got)
		}
		for i := range before {
			if utf8.RuneCountInString(before[i]) != utf8.RuneCountInString(after[i]) {
				t.Fatalf("%q became %q", before[i], after[i])
			}
		}
	})
}

// TestSecretWords: every field that holds a secret is known as one.
func TestSecretWords(t *testing.T) {
	found := 0
	for _, table := range tables {
		for i := range table.fields {
			f := &table.fields[i]
			typ := table.typ.Field(f.index).Type
			if typ == reflect.TypeFor[Secret]() || typ == reflect.TypeFor[*Secret]() || f.secret {
				found++
				if !f.secret || !slices.Contains(secretWords, f.name) {
					t.Errorf("%s.%s is not known to hold a secret", table.typ.Name(), f.name)
				}
			}
		}
	}
	if found < 2 {
		t.Errorf("%d fields hold secrets", found)
	}
}
