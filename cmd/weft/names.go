package main

import (
	"strings"
	"unicode"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
)

// ownerOf is who owns a network's resources.
func ownerOf(n *model.Network) resource.Owner { return resource.Owner(n.ID.String()) }

// cutRouter turns router/ACCOUNT/NAME into the owner of that router.
func cutRouter(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, "router/")
	if !ok {
		return name, false
	}
	rest = strings.TrimPrefix(rest, "network/")
	return "network/" + rest, true
}

// oneLine keeps a message on its line, and what is not printable in it off the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// someLines is oneLine for a message that may have several.
func someLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = oneLine(lines[i])
	}
	return strings.Join(lines, "\n")
}
