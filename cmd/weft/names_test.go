package main

import (
	"fmt"
	"strings"
	"testing"

	"weft.dev/schema"
)

// What is hostile in a message reaches no terminal, and gets no line of its own.
func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"a\tb\r\nc":            "a b  c",
		"\x1b[2J \u009b31m":    "\uFFFD[2J \uFFFD31m",
		"gnp.\u202eexe\u2028x": "gnp.\uFFFDexe\uFFFDx",
		"\xff caf\u00e9":       "\uFFFD caf\u00e9",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	if got := someLines("a\nb\x1b"); got != "a\nb\uFFFD" {
		t.Errorf("%q", got)
	}
}

// What is hostile in a tree neither begins a workflow command nor controls a terminal.
func TestDiagsGitHub(t *testing.T) {
	var ds schema.Diags
	ds.Errorf(schema.Pos{File: "a,b\x1b.yaml", Line: 3, Col: 5}, "bad", "\x1b[2J100%%\n::stop")
	var b strings.Builder
	if err := diagsGitHub(&b, ds); err != nil {
		t.Fatal(err)
	}
	if want := "::error file=a%2Cb\\x1b.yaml,line=3,col=5,title=bad::\\x1b[2J100%25%0A::stop\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

// A place in SARIF is a reference to a URI, whatever the file is called.
func TestSARIFPlace(t *testing.T) {
	for file, want := range map[string]string{
		"zones/a.yaml": "zones/a.yaml", "a b/50%.yaml": "a%20b/50%25.yaml", "x:y.yaml": "./x:y.yaml",
	} {
		if got := fmt.Sprint(sarifPlace(schema.Pos{File: file})); got != "map[physicalLocation:map[artifactLocation:map[uri:"+want+"] region:map[startColumn:1 startLine:1]]]" {
			t.Errorf("%s", got)
		}
	}
}
