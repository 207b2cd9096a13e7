package schema

import (
	"strings"
	"unicode/utf8"
)

// parseChunk reads the nodes of one document: fast where it is plain, else by yaml.v3. It
// returns 0 after a diagnostic.
func parseChunk(file string, c chunk, ns *nodes, ds *Diags) (root int32) {
	p := fastParser{ns: ns}
	if root, ok := p.parse(c); ok {
		return root
	}
	if !checkText(file, c, ds) {
		return 0
	}
	return parseYAML(file, c, ns, ds)
}

// checkText reports the first thing in the text that YAML does not take, or that the language
// leaves out, where yaml.v3 would say it less well.
func checkText(file string, c chunk, ds *Diags) bool {
	line, col := c.line, 1
	for i := 0; i < len(c.text); {
		r, size := utf8.DecodeRuneInString(c.text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			ds.Errorf(Pos{file, line, col}, "bad-character", "the text is not UTF-8").Offending(c.text[i : i+1])
			return false
		case r < ' ' && r != '\n' && r != '\r' && r != '\t', r >= 0x7f && r < 0xa0 && r != 0x85, r == 0xfffe, r == 0xffff:
			ds.Errorf(Pos{file, line, col}, "bad-character", "the text has the control character %U", r).Offending(string(r))
			return false
		case col == 1 && r == '%':
			ds.Errorf(Pos{file, line, col}, "bad-yaml", "directives are not part of the language").Offending("%").Hintf("remove the line")
			return false
		}
		if col++; r == '\n' {
			line, col = line+1, 1
		}
		i += size
	}
	return true
}

// reader decodes documents one after another with the same memory.
type reader struct {
	ns nodes
}

// document decodes one document. It returns nil for one that is not of weft.
func (r *reader) document(file string, c chunk, ds *Diags) (doc *Document, valid bool) {
	if len(c.text) > maxDocumentSize {
		ds.Errorf(Pos{file, c.line, 1}, "too-large", "the document has %d bytes, at most %d are allowed", len(c.text), maxDocumentSize)
		return salvage(file, c), false
	}
	root := parseChunk(file, c, &r.ns, ds)
	if root == 0 {
		return salvage(file, c), false
	}
	d := decoder{file: file, ns: r.ns, ds: ds}
	doc = d.envelope(c, root)
	if d.errs > maxDiags {
		ds.Errorf(doc.Pos, "too-many-errors", "%d more errors in this document", d.errs-maxDiags)
	}
	if d.errs == 0 {
		return doc, true
	}
	if doc.APIVersion != APIVersion {
		// One of weft with a mistake in its apiVersion keeps its identity, anything else is not
		// of weft and owns nothing.
		if d.identity(doc, root); findKind(doc.Kind) == nil {
			return nil, false
		}
	}
	return doc, false
}

// salvage finds the identity of a document that is not YAML by looking for the lines where
// people write it, so that only its owner's resources are held. What it does not find is left
// empty.
func salvage(file string, c chunk) *Document {
	doc := &Document{File: file, Pos: Pos{file, c.line, 1}, text: c.text, line: c.line}
	inMeta := false
	for line := range strings.Lines(c.text) {
		if trimmed := strings.TrimLeft(line, " "); len(trimmed) == len(line) {
			key, value, _ := strings.Cut(line, ":")
			switch key {
			case "kind":
				doc.Kind = salvageWord(value)
			case "metadata":
				if _, inner, ok := strings.Cut(value, "{"); ok {
					value = inner // behind an anchor or tag too
				}
				for part := range strings.SplitSeq(strings.Trim(value, " {}\r\n"), ",") {
					doc.salvageMeta(part)
				}
			}
			inMeta = key == "metadata"
		} else if inMeta {
			doc.salvageMeta(trimmed)
		}
	}
	return doc
}

func (d *Document) salvageMeta(line string) {
	key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
	switch key {
	case "name":
		d.Meta.Name = salvageWord(value)
	case "account":
		d.Meta.Account = salvageWord(value)
	}
}

func salvageWord(s string) string {
	s, _, _ = strings.Cut(s, " #")
	s = strings.Trim(s, " \t\r\n\"'{}[],")
	if !isLabelValue(s) {
		return ""
	}
	return s
}
