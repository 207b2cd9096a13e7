package schema

import (
	"strconv"
	"strings"
)

// Metadata is the part of the envelope that identifies and describes a document.
type Metadata struct {
	// Name is a DNS label of 1-63 characters, unique per kind (and account).
	Name string `yaml:"name" weft:"required"`
	// Account owns the document: required for tenant kinds, refused for infrastructure kinds.
	Account string `yaml:"account"`
	// Labels are free key-value pairs that other documents select by (`spreadBy`, policies).
	Labels map[string]string `yaml:"labels"`
	// Annotations are free key-value pairs; those of `weft.dev/` change how weft treats the document.
	Annotations map[string]string `yaml:"annotations"`
}

// Document is one YAML document. It is immutable after Parse and may be shared.
type Document struct {
	File string
	Pos  Pos // where its content starts

	APIVersion string
	Kind       string
	Meta       Metadata

	// Spec points to the kind's struct (*Network, *Host, ...) with defaults filled in. In
	// Tree.Invalid it may be nil.
	Spec any

	text string // its own text, from the line of text's start
	line int    // line of the file that text starts on
}

// ID identifies the document. In Tree.Invalid parts of it may be empty or wrong.
func (d *Document) ID() ID { return ID{Kind: d.Kind, Account: d.Meta.Account, Name: d.Meta.Name} }

// PosOf completes the place of one of the document's list items. A zero place becomes the
// document's own.
func (d *Document) PosOf(at Pos32) Pos {
	if at.IsZero() {
		return d.Pos
	}
	return Pos{File: d.File, Line: int(at.Line), Col: int(at.Col)}
}

// At is the place of a field's value, named by its path as diagnostics print it:
// "spec.nics[0].mac", "metadata.name". Where the field is not written it is the nearest value
// above. It reads the document's text again: for messages, not for loops over a tree.
func (d *Document) At(path string) Pos {
	var ns nodes
	var ds Diags
	root := parseChunk(d.File, chunk{d.text, d.line}, &ns, &ds)
	if root == 0 {
		return d.Pos
	}
	n := root
	for path != "" {
		next, rest := descend(ns, n, path)
		if next == 0 {
			break
		}
		n, path = next, rest
	}
	if n == root {
		return d.Pos
	}
	return d.PosOf(ns[n].pos)
}

// descend takes the first step of a path; next is 0 where there is no such value.
func descend(ns nodes, n int32, path string) (next int32, rest string) {
	path = strings.TrimPrefix(path, ".")
	if index, after, ok := strings.Cut(path, "]"); ok && strings.HasPrefix(index, "[") {
		i, err := strconv.Atoi(index[1:])
		if err != nil || i < 0 || ns[n].kind != sequenceNode {
			return 0, ""
		}
		next = ns[n].first
		for ; i > 0 && next != 0; i-- {
			next = ns[next].next
		}
		return next, after
	}
	if ns[n].kind != mappingNode {
		return 0, ""
	}
	// Keys may have dots: the longest that the path starts with is meant.
	best := ""
	for k := ns[n].first; k != 0; k = ns[ns[k].next].next {
		key := ns[k].value
		after, ok := strings.CutPrefix(path, key)
		if ok && (after == "" || after[0] == '.' || after[0] == '[') && (next == 0 || len(key) > len(best)) {
			best, next, rest = key, ns[k].next, after
		}
	}
	return next, rest
}
