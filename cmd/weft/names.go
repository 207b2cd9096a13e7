package main

import (
	"strings"

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

// oneLine keeps a message on its line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
