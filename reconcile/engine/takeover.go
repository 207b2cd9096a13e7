package engine

import (
	"fmt"
	"slices"

	"weft.dev/reconcile/resource"
)

// withheld are the links that are to be taken over, with what would take their
// addresses or them, unless somebody watches that the host is still reached. A link
// that is in its bridge already is not reached by its addresses any more: what is
// left to do there needs nobody.
func (w *pass) withheld(observed *resource.Observed) map[resource.ID]string {
	if w.options.Trial != "" || w.options.Watched {
		return nil
	}
	var out map[resource.ID]string
	for id, e := range w.set {
		l, ok := e.State.(resource.Link)
		if !ok || l.Takeover == nil || w.plugged(l, observed) {
			continue
		}
		if now, ok := observed.Set[id].State.(resource.Link); ok && now.Takeover != nil {
			continue
		}
		if out == nil {
			out = map[resource.ID]string{}
		}
		why := fmt.Sprintf("takeover of %s needs weft apply --confirm-timeout", l.Name)
		out[id] = why
		for user, e := range w.set {
			if slices.Contains(e.State.Needs(), id) {
				out[user] = why
			}
		}
	}
	return out
}

// plugged reports whether a link is a port of the bridge that takes it over.
func (w *pass) plugged(l resource.Link, observed *resource.Observed) bool {
	p, ok := observed.Set[resource.ID{Kind: resource.KindPort, Name: l.Name}].State.(resource.Port)
	return ok && p.Bridge == l.Takeover.Bridge
}
