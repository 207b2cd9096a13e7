package schema

import (
	"strings"
	"unicode/utf8"
)

// fastParser reads the part of YAML that people write (block and flow collections, plain and
// quoted scalars on one line, | scalars) about twenty times faster than yaml.v3 and without
// garbage: values are parts of the text. Law: it either gives exactly the nodes that parseYAML
// gives, or stops and says so; then parseYAML is asked. It never reports a mistake itself.
type fastParser struct {
	ns *nodes

	text      string
	off       int // next byte
	lineStart int // of the current line
	line      int // of the file
	indent    int // column of the current line's content, 0-based
	eof       bool
	moved     bool // a block scalar has gone to the next line already
	ascii     bool
	depth     int
}

// parse reads one document into p.ns; !ok means that it is not plain enough.
func (p *fastParser) parse(c chunk) (root int32, ok bool) {
	p.ns.reset()
	*p = fastParser{ns: p.ns, text: c.text, line: c.line - 1, off: 0}
	if p.ascii, ok = plainText(c.text); !ok {
		p.line = c.line
		return 0, false
	}
	p.lineStart = -1
	if !p.nextLine() {
		return 0, false
	}
	if root, ok = p.block(); !ok || !p.eof {
		return 0, false
	}
	return root, true
}

// here is the place where the parser stands.
func (p *fastParser) here() Pos32 {
	return p.pos(min(p.off, len(p.text)))
}

func (p *fastParser) pos(off int) Pos32 {
	start := max(p.lineStart, 0)
	if p.ascii || off < start {
		return pos32(p.line, off-start+1)
	}
	return pos32(p.line, utf8.RuneCountInString(p.text[start:off])+1)
}

// plainText reports whether text has only characters that need no thought: no tabs, carriage
// returns, control characters, Unicode line breaks or byte order marks.
func plainText(text string) (ascii, ok bool) {
	ascii = true
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c >= utf8.RuneSelf {
			ascii = false
			break
		}
		if c < ' ' && c != '\n' || c == 0x7f {
			return true, false
		}
	}
	if ascii {
		return true, true
	}
	for _, r := range text {
		switch {
		case r < ' ' && r != '\n', r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029, r == 0xfeff, r >= 0xfffd && r < 0x10000:
			return false, false
		}
	}
	return false, true
}

// nextLine goes to the content of the next line that has any.
func (p *fastParser) nextLine() bool {
	for {
		if p.lineStart >= 0 {
			i := strings.IndexByte(p.text[p.off:], '\n')
			if i < 0 {
				p.off, p.eof = len(p.text), true
				return false
			}
			p.off += i + 1
		}
		p.lineStart = p.off
		p.line++
		for p.off < len(p.text) && p.text[p.off] == ' ' {
			p.off++
		}
		p.indent = p.off - p.lineStart
		if p.off == len(p.text) {
			p.eof = true
			return false
		}
		if c := p.text[p.off]; c != '\n' && c != '#' {
			return true
		}
	}
}

func (p *fastParser) peek(i int) byte {
	if p.off+i < len(p.text) {
		return p.text[p.off+i]
	}
	return '\n'
}

func (p *fastParser) isDash() bool {
	return p.peek(0) == '-' && (p.peek(1) == ' ' || p.peek(1) == '\n')
}

// block reads the collection that starts at the current line's content.
func (p *fastParser) block() (int32, bool) {
	if p.depth >= maxDepth || len(*p.ns) > maxNodes {
		return 0, false
	}
	p.depth++
	defer func() { p.depth-- }()
	if p.isDash() {
		return p.sequence(p.indent)
	}
	return p.mapping(p.indent)
}

// key returns the length of the plain key at off when one is there with its colon.
func (p *fastParser) key(off int) int {
	i := off
	for i < len(p.text) && keyChar[p.text[i]] {
		i++
	}
	n := i - off
	if n == 0 || n > 128 || i == len(p.text) || p.text[i] != ':' || p.text[off] == '-' || p.text[off] == '.' {
		return 0
	}
	if i+1 < len(p.text) && p.text[i+1] != ' ' && p.text[i+1] != '\n' {
		return 0
	}
	return n
}

func (p *fastParser) mapping(indent int) (int32, bool) {
	id := p.ns.add(node{kind: mappingNode, pos: p.here()})
	list := appender{ns: p.ns, parent: id}
	for {
		n := p.key(p.off)
		if n == 0 {
			return 0, false
		}
		list.append(p.ns.add(node{value: p.text[p.off : p.off+n], pos: p.here()}))
		p.off += n + 1
		v, ok := p.value(indent)
		if !ok {
			return 0, false
		}
		list.append(v)
		if p.eof || p.indent < indent {
			return id, true
		}
		if p.indent > indent || p.isDash() {
			return 0, false
		}
	}
}

// value reads what follows a key's colon and goes to the next line.
func (p *fastParser) value(indent int) (int32, bool) {
	if p.skipToEnd() {
		if !p.nextLine() || p.indent < indent || p.indent == indent && !p.isDash() {
			return 0, false
		}
		return p.block()
	}
	v, ok := p.inline(indent)
	return v, ok && p.endLine(indent)
}

// endLine checks that nothing follows a value on its line and that the next line does not
// continue it, and goes there.
func (p *fastParser) endLine(indent int) bool {
	if p.moved {
		p.moved = false
		return p.eof || p.indent <= indent
	}
	before := p.off
	if !p.skipToEnd() || p.peek(0) == '#' && before == p.off {
		return false
	}
	return !p.nextLine() || p.indent <= indent
}

// skipToEnd skips spaces; it reports whether the line has no more content.
func (p *fastParser) skipToEnd() bool {
	for p.peek(0) == ' ' {
		p.off++
	}
	c := p.peek(0)
	return c == '\n' || c == '#'
}

func (p *fastParser) sequence(indent int) (int32, bool) {
	id := p.ns.add(node{kind: sequenceNode, pos: p.here()})
	list := appender{ns: p.ns, parent: id}
	for {
		p.off++ // the dash
		v, ok := p.item(indent)
		if !ok {
			return 0, false
		}
		list.append(v)
		if p.eof || p.indent < indent || p.indent == indent && !p.isDash() {
			return id, true
		}
		if p.indent > indent {
			return 0, false
		}
	}
}

func (p *fastParser) item(indent int) (int32, bool) {
	if p.skipToEnd() {
		if !p.nextLine() || p.indent <= indent {
			return 0, false
		}
		return p.block()
	}
	if p.key(p.off) > 0 {
		p.indent = p.off - p.lineStart
		return p.block()
	}
	v, ok := p.inline(indent)
	return v, ok && p.endLine(indent)
}

// inline reads a value that starts on the line of its key or dash.
func (p *fastParser) inline(indent int) (int32, bool) {
	switch c := p.peek(0); c {
	case '[', '{':
		return p.flow()
	case '"', '\'':
		return p.quoted(c)
	case '|':
		return p.literal(indent)
	}
	return p.plain(false)
}

// plain reads a plain scalar to the end of the line, or in a flow collection to its end there.
func (p *fastParser) plain(flow bool) (int32, bool) {
	start := p.off
	first, second := p.peek(0), p.peek(1)
	if first < utf8.RuneSelf && !plainStart[first] || first == '-' && !plainStart[second] {
		return 0, false
	}
	i := start
scan:
	for ; i < len(p.text); i++ {
		switch c := p.text[i]; c {
		case '\n':
			break scan
		case '#':
			if p.text[i-1] == ' ' {
				break scan
			}
		case ':':
			if i+1 == len(p.text) || strings.IndexByte(" \n,[]{}", p.text[i+1]) >= 0 {
				return 0, false
			}
		case ',', ']', '}':
			if flow {
				break scan
			}
		case '[', '{', '?':
			if flow {
				return 0, false
			}
		}
	}
	value := strings.TrimRight(p.text[start:i], " ")
	p.off = start + len(value)
	at := p.pos(start)
	return p.ns.add(node{value: value, pos: at}), true
}

func (p *fastParser) quoted(quote byte) (int32, bool) {
	start := p.off + 1
	for i := start; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '\n', c == '\\' && quote == '"':
			return 0, false
		case c == quote:
			if quote == '\'' && i+1 < len(p.text) && p.text[i+1] == quote {
				return 0, false
			}
			at := p.here()
			p.off = i + 1
			return p.ns.add(node{value: p.text[start:i], style: quotedStyle, pos: at}), true
		}
	}
	return 0, false
}

var keyChar, plainStart = charTables()

func charTables() (key, start [256]bool) {
	for c := '0'; c <= 'z'; c++ {
		if c <= '9' || c >= 'a' || c >= 'A' && c <= 'Z' {
			key[c], start[c] = true, true
		}
	}
	for _, c := range "_./-" {
		key[c], start[c] = true, true
	}
	for _, c := range "+$^=(;\\~<" {
		start[c] = true
	}
	return key, start
}
