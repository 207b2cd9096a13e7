package schema

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// hostile are documents made to hurt: each must give diagnostics, in bounded time and memory.
func hostile() map[string]string {
	bomb := "a: &a0 [x, x]\n"
	for i := 1; i < 60; i++ {
		bomb += fmt.Sprintf("b%d: &a%d [*a%d, *a%d, *a%d]\n", i, i, i-1, i-1, i-1)
	}
	const big = maxDocumentSize - 100
	return map[string]string{
		"alias bomb":       bomb,
		"many aliases":     "a: &a x\nb: [" + strings.Repeat("*a, ", 1000) + "]\n",
		"alias cycle":      "a: &a [*a]\n",
		"merge panic":      "{[a, b]: 1, <<: {c: 1}}\n",
		"merge":            "a: &a {b: c}\nd:\n  <<: *a\n",
		"open brackets":    strings.Repeat("[", big),
		"open braces":      "a: " + strings.Repeat("{a: ", big/4),
		"dashes":           strings.Repeat("- ", big/2),
		"deep blocks":      deep(1400),
		"many keys":        strings.Repeat("a: b\n", big/5),
		"many items":       "a:\n" + strings.Repeat("- b\n", big/4),
		"many comments":    "a: b\n" + strings.Repeat("# c\n", big/4),
		"many quotes":      "a: '" + strings.Repeat("''", big/2) + "'\n",
		"long scalar":      "a: " + strings.Repeat("x", big),
		"long key":         strings.Repeat("x", big) + ": a\n",
		"many colons":      strings.Repeat("a:", big/2) + "\n",
		"question marks":   strings.Repeat("? ", big/2) + "\n",
		"anchors":          strings.Repeat("&a ", big/3) + "\n",
		"tags":             "a: !!binary x\nb: !foo y\n",
		"directive":        "%YAML 1.1\n",
		"escapes":          "a: \"" + strings.Repeat(`\x1b`, big/4) + "\"\n",
		"control":          "a: \x1b[31m\n",
		"not utf-8":        "a: \xff\n",
		"utf-16":           "\xff\xfea\x00:\x00 \x00b\x00",
		"nul":              "a: \x00\n",
		"too large":        "a: b\n" + strings.Repeat("#", maxDocumentSize),
		"list of maps":     "a: [" + strings.Repeat("{b: c}, ", big/8) + "]\n",
		"unknown fields":   "apiVersion: weft.dev/v1alpha1\nkind: Pod\nmetadata: {name: a}\nspec: {" + manyFields(20000) + "}\n",
		"duplicate names":  "apiVersion: weft.dev/v1alpha1\nkind: PublicIP\nmetadata: {name: a, account: b}\nspec: {network: n, firewall: [" + strings.Repeat("{name: a, protocol: tcp, ports: 1},", 20000) + "]}\n",
		"many ports":       "apiVersion: weft.dev/v1alpha1\nkind: PublicIP\nmetadata: {name: a, account: b}\nspec: {network: n, firewall: [{name: a, protocol: tcp, ports: [" + manyPorts() + "]}]}\n",
		"many forwards":    "apiVersion: weft.dev/v1alpha1\nkind: PublicIP\nmetadata: {name: a, account: b}\nspec: {network: n, portForwarding: [" + manyForwards(8000) + "]}\n",
		"many reserved":    "apiVersion: weft.dev/v1alpha1\nkind: Network\nmetadata: {name: a, account: b}\nspec: {offering: o, cidr: 10.0.0.0/8, reserved: [" + manyReserved(20000) + "]}\n",
		"tab":              "a:\n\tb: c\n",
		"right to left":    "a\u202e: b\n",
		"deeply unclosed":  "a: [" + strings.Repeat("\"x\", [", 5000),
		"number of digits": "apiVersion: weft.dev/v1alpha1\nkind: PhysicalNetwork\nmetadata: {name: a}\nspec: {isolation: VLAN, traffic: [], mtu: " + strings.Repeat("9", 100000) + "}\n",
	}
}

func deep(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "field%d: 1, ", i)
	}
	return b.String()
}

func manyPorts() string {
	var b strings.Builder
	for i := 65535; i > 0; i -= 2 {
		fmt.Fprintf(&b, "%d, ", i)
	}
	return b.String()
}

func manyForwards(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{name: r%d, protocol: tcp, ports: %d, to: {vm: v}}, ", i, i+1)
	}
	return b.String()
}

func manyReserved(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "10.%d.%d.%d/32, ", i>>16, i>>8&255, i&255)
	}
	return b.String()
}

func TestHostile(t *testing.T) {
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			tree, ds := Parse(fstest.MapFS{"f.yaml": {Data: []byte(text)}}, nil)
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %v", took)
			} else if took > 200*time.Millisecond {
				t.Logf("took %v", took)
			}
			if !ds.HasErrors() && !strings.HasPrefix(name, "many ") {
				t.Error("no error")
			}
			if len(ds) > maxDiags+1 {
				t.Errorf("%d diagnostics", len(ds))
			}
			checkDiags(t, tree, ds)
		})
	}
}

// checkDiags checks what holds for every diagnostic.
func checkDiags(t *testing.T, tree *Tree, ds Diags) {
	t.Helper()
	for _, d := range ds {
		if d.File == "" || d.Line < 1 || d.Col < 1 || d.Code == "" || d.Message == "" {
			t.Errorf("incomplete: %+v", d)
		}
	}
	for _, color := range []bool{false, true} {
		var b strings.Builder
		if err := ds.Render(&b, tree.Source, color); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if color {
			for _, style := range []string{bold, red, yellow, blue, cyan, "0"} {
				text = strings.ReplaceAll(text, "\x1b["+style+"m", "")
			}
		}
		for _, line := range strings.Split(text, "\n") {
			if !isClean(line) {
				t.Fatalf("control character in %q", line)
			}
		}
	}
}

// TestManyBroken: a tree of nothing but mistakes gives a list that ends, and every document of
// it is still known to be invalid.
func TestManyBroken(t *testing.T) {
	tree := fstest.MapFS{}
	for i := range 20 {
		tree[fmt.Sprintf("f%02d.yaml", i)] = &fstest.MapFile{Data: []byte(strings.Repeat("---\napiVersion: weft.dev/v1alpha1\nkind: Pod\nmetadata: {nam: a}\nspec: {}\n", 1000))}
	}
	tree["many.yaml"] = &fstest.MapFile{Data: []byte(strings.Repeat("---\na\n", maxFileDocuments+1))}
	tree["same.yaml"] = &fstest.MapFile{Data: []byte(strings.Repeat("---\napiVersion: weft.dev/v1alpha1\nkind: Account\nmetadata: {name: a}\n", 20_000))}
	out, ds := Parse(tree, nil)
	if len(ds) > maxTreeDiags+1 || ds[len(ds)-1].Code != "too-many-errors" {
		t.Errorf("%d diagnostics, the last is %v", len(ds), ds[len(ds)-1])
	}
	if len(out.Documents) != 0 || len(out.Invalid) != 20_000+1+20_000 {
		t.Errorf("%d valid, %d invalid", len(out.Documents), len(out.Invalid))
	}
}
