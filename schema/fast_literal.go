package schema

import "strings"

// literal reads a | or |- scalar and goes to the line after it.
func (p *fastParser) literal(indent int) (int32, bool) {
	at := p.here()
	p.off++
	strip := p.peek(0) == '-'
	if strip {
		p.off++
	}
	if p.peek(0) != '\n' || p.off >= len(p.text)-1 {
		return 0, false
	}
	p.off++
	p.line++
	p.lineStart = p.off
	depth := 0
	for p.peek(depth) == ' ' {
		depth++
	}
	if depth <= indent || p.peek(depth) == '\n' {
		return 0, false
	}
	var b strings.Builder
	blanks := 0
	for p.off < len(p.text) {
		i := strings.IndexByte(p.text[p.off:], '\n')
		if i < 0 {
			return 0, false
		}
		line := p.text[p.off : p.off+i]
		if content := strings.TrimLeft(line, " "); content == "" {
			if len(line) > depth {
				return 0, false
			}
			blanks++
		} else if len(line)-len(content) < depth {
			break
		} else {
			for ; blanks > 0; blanks-- {
				b.WriteByte('\n')
			}
			b.WriteString(line[depth:])
			b.WriteByte('\n')
		}
		p.off += i + 1
		p.line++
		p.lineStart = p.off
	}
	value := b.String()
	if strip {
		value = strings.TrimSuffix(value, "\n")
	}
	id := p.ns.add(node{value: value, style: blockStyle, pos: at})
	p.line-- // nextLine counts the line that ended the scalar again
	p.lineStart = -1
	p.nextLine()
	p.moved = true
	return id, true
}
