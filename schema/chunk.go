package schema

import "strings"

// chunk is the text of one document of a file, without the separators.
type chunk struct {
	text string
	line int // of the file, 1-based, that text starts on
}

// split cuts a file at its document separators: lines that start with --- or ... . YAML lets no
// scalar hold such a line, so no parsing is needed, and a broken document breaks no other.
// Chunks of nothing but blank and comment lines are left out.
func split(text string) []chunk {
	var out []chunk
	line, start, startLine := 1, 0, 1
	flush := func(end int) {
		if c := (chunk{text[start:end], startLine}); !blank(c.text) {
			out = append(out, c)
		}
	}
	for off := 0; off < len(text); line++ {
		end := len(text)
		if i := strings.IndexByte(text[off:], '\n'); i >= 0 {
			end = off + i + 1
		}
		if isSeparator(text[off:end]) {
			flush(off)
			rest := text[off+3 : end]
			if blank(rest) {
				start, startLine = end, line+1
			} else {
				// A document may start behind the dashes: hand the line to the parser as it is.
				start, startLine = off, line
			}
		}
		off = end
	}
	flush(len(text))
	return out
}

func isSeparator(line string) bool {
	if len(line) < 3 || line[:3] != "---" && line[:3] != "..." {
		return false
	}
	return len(line) == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\n' || line[3] == '\r'
}

// blank reports whether text has only blank lines and comments.
func blank(text string) bool {
	for len(text) > 0 {
		line := text
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			line, text = text[:i], text[i+1:]
		} else {
			text = ""
		}
		if line = strings.Trim(line, " \t\r"); line != "" && line[0] != '#' {
			return false
		}
	}
	return true
}
