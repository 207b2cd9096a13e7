package agent

import (
	"slices"

	"weft.dev/reconcile/resource"
)

// held lists who is left alone: by the tree, and for a secret that this host cannot read,
// which only the host knows.
func (a *Agent) held(in *resource.Intent) []resource.Hold {
	out := slices.Clone(in.Holds)
	for _, h := range a.unreadable() {
		if _, known := in.Held(h.Owner); !known {
			out = append(out, h)
		}
	}
	return out
}

// unreadable lists whom the last pass left alone for such a secret.
func (a *Agent) unreadable() []resource.Hold {
	var out []resource.Hold
	if a.result == nil || a.compiled == nil {
		return nil
	}
	in := a.desired()
	for _, h := range a.result.Left.Held {
		if _, known := in.Held(h.Owner); !known && h.Cause == resource.HoldInvalid {
			out = append(out, h.Hold)
		}
	}
	return out
}
