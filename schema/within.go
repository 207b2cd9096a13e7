package schema

import (
	"strings"
	"unicode/utf8"
)

// Within is the place of a character of a text field, for values that have a language of their own:
// line and col count in the value, from 1. Where it cannot be told, it is the place of the value.
func (d *Document) Within(path string, line, col int) Pos {
	at := d.At(path)
	lines := strings.SplitAfter(d.text, "\n")
	first := at.Line - d.line
	if first < 0 || first >= len(lines) || line < 1 {
		return at
	}
	value, ok := d.valueAt(path)
	if !ok {
		return at
	}
	offset := offsetOf(value, line, col)
	start := byteOf(lines[first], at.Col)
	w := wanderer{text: strings.Join(lines[first:], "")[start:], line: at.Line, col: at.Col}
	if !w.open() || !w.to(value, offset) {
		return at
	}
	return Pos{File: d.File, Line: w.line, Col: w.col}
}

// valueAt is the text of a scalar.
func (d *Document) valueAt(path string) (string, bool) {
	var ns nodes
	var ds Diags
	n := parseChunk(d.File, chunk{d.text, d.line}, &ns, &ds)
	for n != 0 && path != "" {
		n, path = descend(ns, n, path)
	}
	if n == 0 || ns[n].kind != scalarNode {
		return "", false
	}
	return ns[n].value, true
}

// offsetOf is the byte of a text that line and column name; its end where there is no such place.
func offsetOf(text string, line, col int) int {
	at := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(text[at:], '\n')
		if i < 0 {
			return len(text)
		}
		at += i + 1
	}
	return at + byteOf(text[at:], col)
}

// byteOf is where the col-th character of s starts.
func byteOf(s string, col int) int {
	for i := range s {
		if col--; col <= 0 {
			return i
		}
	}
	return len(s)
}

// A wanderer goes along a scalar as it is written.
type wanderer struct {
	text      string
	line, col int
	quote     byte
}

// open goes to the first character of the content.
func (w *wanderer) open() bool {
	switch {
	case w.text == "":
		return false
	case w.text[0] == '"' || w.text[0] == '\'':
		w.quote = w.text[0]
		w.step()
	case w.text[0] == '|' || w.text[0] == '>':
		for w.text != "" && w.text[0] != '\n' {
			w.step()
		}
		w.space()
	}
	return w.text != ""
}

// step goes one character on.
func (w *wanderer) step() {
	_, size := utf8.DecodeRuneInString(w.text)
	if w.col++; w.text[0] == '\n' {
		w.line, w.col = w.line+1, 1
	}
	w.text = w.text[size:]
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// space goes behind white space, escaped or not.
func (w *wanderer) space() {
	for w.text != "" {
		switch {
		case isSpace(w.text[0]):
		case w.quote == '"' && w.text[0] == '\\' && len(w.text) > 1 && strings.IndexByte("ntr \n", w.text[1]) >= 0:
			w.step()
		default:
			return
		}
		w.step()
	}
}

// to goes to the character that stands for value[offset]. White space is folded in many ways, so
// each run of it is one.
func (w *wanderer) to(value string, offset int) bool {
	for i := 0; i < min(offset, len(value)); {
		switch {
		case w.text == "":
			return false
		case isSpace(value[i]):
			for i < min(offset, len(value)) && isSpace(value[i]) {
				i++
			}
			if i < offset || i == len(value) || !isSpace(value[i]) {
				w.space()
			}
			continue
		case isSpace(w.text[0]):
			w.space()
			continue
		case w.quote == '"' && w.text[0] == '\\' && len(w.text) > 1, w.quote == '\'' && strings.HasPrefix(w.text, "''"):
			w.step()
		case w.text[0] != value[i]:
			return false
		}
		_, size := utf8.DecodeRuneInString(value[i:])
		i += size
		w.step()
	}
	return w.text != ""
}
