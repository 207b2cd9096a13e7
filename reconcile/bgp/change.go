package bgp

import (
	"slices"
	"strings"
)

// A line is one of a configuration, below the lines that open its context.
type line struct {
	context string // the opening lines, joined by "\n"
	text    string
}

// linesOf reads a configuration as weft writes it: indented by one blank for each
// context, comments aside.
func linesOf(conf string) []line {
	var out []line
	var open []string
	for text := range strings.Lines(conf) {
		text = strings.TrimRight(text, "\n")
		word := strings.TrimLeft(text, " ")
		depth := len(text) - len(word)
		if word == "" || strings.HasPrefix(word, "!") || word == "exit" || strings.HasPrefix(word, "exit-") {
			continue
		}
		open = append(open[:min(depth, len(open))], word)
		out = append(out, line{strings.Join(open[:len(open)-1], "\n"), word})
	}
	return out
}

// Change lists the commands, from the configuration level, that turn a running daemon of
// one configuration into one of another. A session of a neighbour that both have goes on.
func Change(was, is string) []string {
	old, now := linesOf(was), linesOf(is)
	var out []string
	in := func(context string, text string) {
		if context != "" {
			out = append(out, strings.Split(context, "\n")...)
		}
		out = append(out, text, "end", "configure terminal")
	}
	gone := map[string]bool{} // neighbours
	for _, l := range old {
		if n, as := remoteAS(l); as && !slices.Contains(now, l) {
			gone[n] = true
			in(l.context, "no neighbor "+n)
		}
	}
	for _, l := range old {
		if slices.Contains(now, l) || gone[neighbour(l)] || opens(old, l) {
			continue
		}
		in(l.context, undo(l.text))
	}
	for _, l := range now {
		if !slices.Contains(old, l) && !opens(now, l) || gone[neighbour(l)] {
			in(l.context, l.text)
		}
	}
	return out
}

// remoteAS reports the neighbour that a line makes.
func remoteAS(l line) (string, bool) {
	f := strings.Fields(l.text)
	if len(f) == 4 && f[0] == "neighbor" && f[2] == "remote-as" {
		return f[1], true
	}
	return "", false
}

func neighbour(l line) string {
	if f := strings.Fields(l.text); len(f) > 1 && f[0] == "neighbor" {
		return f[1]
	}
	return ""
}

// opens reports whether l only opens a context.
func opens(list []line, l line) bool {
	context := strings.TrimPrefix(l.context+"\n"+l.text, "\n")
	return slices.ContainsFunc(list, func(o line) bool { return o.context == context })
}

// undo is the command that takes a line back.
func undo(text string) string {
	if rest, ok := strings.CutPrefix(text, "no "); ok {
		return rest
	}
	return "no " + text
}
