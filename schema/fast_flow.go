package schema

import "strings"

// skipFlow skips spaces, line ends and comments inside a flow collection.
func (p *fastParser) skipFlow() bool {
	for p.off < len(p.text) {
		switch c := p.text[p.off]; {
		case c == ' ':
			p.off++
		case c == '\n':
			p.off++
			p.lineStart = p.off
			p.line++
		case c == '#':
			if p.off > 0 && p.text[p.off-1] != ' ' && p.text[p.off-1] != '\n' {
				return false
			}
			i := strings.IndexByte(p.text[p.off:], '\n')
			if i < 0 {
				return false
			}
			p.off += i
		default:
			return true
		}
	}
	return false
}

// flow reads [a, b] or {a: b} with anything but empty values.
func (p *fastParser) flow() (int32, bool) {
	if p.depth >= maxDepth || len(*p.ns) > maxNodes {
		return 0, false
	}
	p.depth++
	defer func() { p.depth-- }()
	kind, end := sequenceNode, byte(']')
	if p.peek(0) == '{' {
		kind, end = mappingNode, '}'
	}
	id := p.ns.add(node{kind: kind, pos: p.here()})
	list := appender{ns: p.ns, parent: id}
	for p.off++; ; p.off++ { // past the bracket or comma
		if !p.skipFlow() {
			return 0, false
		}
		if p.text[p.off] == end {
			p.off++
			return id, true
		}
		if kind == mappingNode {
			n := p.key(p.off)
			if n == 0 {
				return 0, false
			}
			list.append(p.ns.add(node{value: p.text[p.off : p.off+n], pos: p.here()}))
			if p.off += n + 1; !p.skipFlow() {
				return 0, false
			}
		}
		v, ok := p.flowValue()
		if !ok || !p.skipFlow() {
			return 0, false
		}
		list.append(v)
		switch p.text[p.off] {
		case end:
			p.off++
			return id, true
		case ',':
		default:
			return 0, false
		}
	}
}

func (p *fastParser) flowValue() (int32, bool) {
	switch c := p.peek(0); c {
	case '[', '{':
		return p.flow()
	case '"', '\'':
		return p.quoted(c)
	}
	return p.plain(true)
}
