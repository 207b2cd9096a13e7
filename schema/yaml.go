package schema

import (
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// parseYAML reads one document by yaml.v3, the reference for what a document means. Only the
// syntax tree of that package is used: its decoder panics on some input and guesses types. It
// returns the root, or 0 after at least one diagnostic.
func parseYAML(file string, c chunk, ns *nodes, ds *Diags) (root int32) {
	defer func() {
		if r := recover(); r != nil {
			root = 0
			ds.Errorf(Pos{file, c.line, 1}, "bad-yaml", "the document can not be read: %v", r)
		}
	}()
	var doc, rest yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(c.text))
	if err := dec.Decode(&doc); err != nil {
		diagnoseSyntax(file, c, err, ds)
		return 0
	}
	if err := dec.Decode(&rest); err == nil {
		ds.Errorf(Pos{file, rest.Line + c.line - 1, rest.Column}, "bad-yaml", "text behind the end of the document")
		return 0
	} else if !errors.Is(err, io.EOF) {
		diagnoseSyntax(file, c, err, ds)
		return 0
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		ds.Errorf(Pos{file, c.line, 1}, "bad-yaml", "the document is empty")
		return 0
	}
	ns.reset()
	w := walker{file: file, line: c.line, ns: ns, ds: ds}
	root = w.convert(doc.Content[0], 0)
	if w.failed {
		return 0
	}
	return root
}

// walker copies a syntax tree into nodes and refuses what the language does not have.
type walker struct {
	file    string
	line    int
	ns      *nodes
	ds      *Diags
	aliases int
	active  []*yaml.Node // anchors being expanded
	hidden  bool         // the value being copied is a secret
	failed  bool
}

func (w *walker) pos(n *yaml.Node) Pos32 { return pos32(n.Line+w.line-1, n.Column) }

func (w *walker) fail(n *yaml.Node, code, format string, args ...any) *Diag {
	w.failed = true
	p := w.pos(n)
	return w.ds.Errorf(Pos{w.file, int(p.Line), int(p.Col)}, code, format, args...)
}

func (w *walker) convert(n *yaml.Node, depth int) int32 {
	switch {
	case w.failed:
		return 0
	case depth > maxDepth:
		w.fail(n, "too-deep", "values are nested more than %d deep", maxDepth)
		return 0
	case len(*w.ns) > maxNodes:
		w.fail(n, "too-large", "the document has more than %d values (each alias counts all it stands for)", maxNodes)
		return 0
	case n.Style&yaml.TaggedStyle != 0:
		diag := w.fail(n, "tag", "tags are not part of the language").Hintf("leave it out, or put the text in quotes")
		if !w.hidden {
			diag.Offending(n.Tag)
		}
		return 0
	}
	switch n.Kind {
	case yaml.ScalarNode:
		return w.ns.add(node{kind: scalarNode, value: n.Value, style: styleOf(n), pos: w.pos(n)})
	case yaml.AliasNode:
		return w.alias(n, depth)
	case yaml.SequenceNode:
		id := w.ns.add(node{kind: sequenceNode, pos: w.pos(n)})
		list := appender{ns: w.ns, parent: id}
		for _, item := range n.Content {
			list.append(w.convert(item, depth+1))
		}
		return id
	case yaml.MappingNode:
		return w.mapping(n, depth)
	}
	w.fail(n, "bad-yaml", "unexpected YAML node")
	return 0
}

func (w *walker) mapping(n *yaml.Node, depth int) int32 {
	id := w.ns.add(node{kind: mappingNode, pos: w.pos(n)})
	list := appender{ns: w.ns, parent: id}
	for i := 0; i+1 < len(n.Content) && !w.failed; i += 2 {
		key := n.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode:
			w.fail(key, "bad-key", "a key must be a plain word")
		case key.Style&yaml.TaggedStyle != 0:
			w.fail(key, "tag", "tags are not part of the language").Offending(key.Tag)
		case key.Value == "<<" && styleOf(key) == plainStyle:
			w.fail(key, "merge-key", "merge keys are not part of the language").Offending("<<").
				Hintf("write the fields out, or use an alias for a whole value")
		default:
			list.append(w.convert(key, depth+1))
			before := w.hidden
			w.hidden = before || isSecretWord(key.Value)
			list.append(w.convert(n.Content[i+1], depth+1))
			w.hidden = before
		}
	}
	return id
}

func (w *walker) alias(n *yaml.Node, depth int) int32 {
	w.aliases++
	if w.aliases > maxAliases {
		w.fail(n, "too-many-aliases", "the document has more than %d aliases", maxAliases)
		return 0
	}
	for _, a := range w.active {
		if a == n.Alias {
			w.fail(n, "alias-cycle", "the alias stands for a value that contains it").Offending("*" + n.Value)
			return 0
		}
	}
	w.active = append(w.active, n.Alias)
	id := w.convert(n.Alias, depth)
	w.active = w.active[:len(w.active)-1]
	return id
}

func styleOf(n *yaml.Node) nodeStyle {
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return blockStyle
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		return quotedStyle
	}
	return plainStyle
}

var yamlErrorLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)

// diagnoseSyntax turns an error of yaml.v3 into a diagnostic. The package often names a wrong
// line (where the enclosing value starts), so the fast parser, which stops at the first thing
// it does not know, is asked too; a tab in the indentation and an unclosed bracket, the usual
// mistakes, are found by looking.
func diagnoseSyntax(file string, c chunk, err error, ds *Diags) {
	m := yamlErrorLine.FindStringSubmatch(err.Error())
	message := strings.TrimSpace(m[2])
	if line, col, ok := leadingTab(c.text); ok {
		ds.Errorf(Pos{file, c.line + line - 1, col}, "bad-yaml", "a tab can not be used for indentation").
			Offending("\t").Hintf("use spaces")
		return
	}
	if open := unclosed(c.text); open != nil {
		ds.Errorf(Pos{file, c.line + open.line - 1, open.col}, "bad-yaml", "%q is not closed", open.what).
			Offending(string(open.what))
		return
	}
	if strings.HasPrefix(message, "unknown anchor") {
		message = "an alias names no anchor" // without its text, which may be a secret that starts with *
	}
	p := fastParser{ns: new(nodes)}
	at := Pos32{}
	if _, ok := p.parse(c); !ok {
		at = p.here()
	}
	line, col := int(at.Line), int(at.Col)
	if n, err := strconv.Atoi(m[1]); err == nil && (at.IsZero() || c.line+n-1 > line) {
		line, col = c.line+n-1, 1
	}
	if line < c.line {
		line, col = c.line, 1
	}
	ds.Errorf(Pos{file, line, col}, "bad-yaml", "this is not valid YAML: %s", message)
}

// leadingTab finds the first line whose indentation has a tab and that is not blank.
func leadingTab(text string) (line, col int, ok bool) {
	for i, l := range strings.Split(text, "\n") {
		rest := strings.TrimLeft(l, " ")
		if strings.HasPrefix(rest, "\t") && strings.TrimSpace(rest) != "" && !strings.HasPrefix(strings.TrimSpace(rest), "#") {
			return i + 1, len(l) - len(rest) + 1, true
		}
	}
	return 0, 0, false
}

type bracket struct {
	what      rune
	line, col int
}

// unclosed finds the outermost bracket or quote that is opened and never closed. It knows
// quotes and comments, not block scalars, so it is only asked when the document is broken.
func unclosed(text string) *bracket {
	var stack []bracket
	var quote *bracket
	comment := false
	line, col := 1, 0
	prev := '\n'
	for _, r := range text {
		col++
		switch {
		case r == '\n':
			line, col, comment = line+1, 0, false
		case comment:
		case quote != nil:
			if r == quote.what && (r != '"' || prev != '\\') {
				quote = nil
			}
		case r == '#' && startsWord(prev):
			comment = true
		case (r == '"' || r == '\'') && (startsWord(prev) || strings.ContainsRune("[{,:", prev)):
			quote = &bracket{r, line, col}
		default:
			stack = brackets(stack, bracket{r, line, col}, startsWord(prev))
		}
		prev = r
	}
	switch {
	case quote != nil:
		return quote
	case len(stack) > 0:
		return &stack[0]
	}
	return nil
}

func startsWord(prev rune) bool { return prev == ' ' || prev == '\n' }

// brackets pushes an opening bracket and pops at a closing one; outside of brackets one opens
// only at the start of a word.
func brackets(stack []bracket, b bracket, start bool) []bracket {
	switch b.what {
	case '[', '{':
		if start || len(stack) > 0 {
			return append(stack, b)
		}
	case ']', '}':
		if len(stack) > 0 {
			return stack[:len(stack)-1]
		}
	}
	return stack
}
