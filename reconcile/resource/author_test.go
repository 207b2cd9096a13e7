package resource

import (
	"testing"

	"weft.dev/schema"
)

// Lines have the author that wrote them, whatever they were joined with, and those of
// nobody in particular have none.
func TestAuthors(t *testing.T) {
	by := func(line int) Author { return Author{Pos: schema.Pos{File: "vms.yaml", Line: line}} }
	var more Flows
	more.Write(by(3), Flow{Priority: 3})
	more.Rules = append(more.Rules, Flow{Priority: 4})
	f := Flows{Rules: []Flow{{Priority: 1}}}
	f.Write(by(2), Flow{Priority: 2}, Flow{Priority: 2, Table: 1})
	f.Join(more)
	f.Write(by(3), Flow{Priority: 5})
	for line, want := range []Author{{}, by(2), by(2), by(3), {}, by(3), {}} {
		if got := AuthorOf(f, line); got != want {
			t.Errorf("rule %d is by %v, want %v", line, got, want)
		}
	}
	file := File{Authors: []Lines{{From: 1, N: 2, By: by(1)}, {From: 5, N: 1, By: by(2)}}}
	for line, want := range []Author{{}, by(1), by(1), {}, {}, by(2), {}} {
		if got := AuthorOf(file, line); got != want {
			t.Errorf("line %d is by %v, want %v", line, got, want)
		}
	}
	if got := AuthorOf(NS{}, 0); got != (Author{}) {
		t.Errorf("a namespace has no lines: %v", got)
	}
}
