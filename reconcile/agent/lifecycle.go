package agent

import (
	"strings"

	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// lives are the states of networks on this host, filled into what was found of owners.
type lives map[resource.Owner]status.Owner

func (l lives) set(name resource.Owner, lifecycle string) {
	o := l[name]
	o.Name, o.Lifecycle = name, lifecycle
	if o.State == "" {
		o.State = status.OwnerReady
	}
	l[name] = o
}

// isNetwork reports whether o is a network, or a VPC, which lives as one.
func isNetwork(o resource.Owner) bool {
	return strings.HasPrefix(string(o), "network/") || strings.HasPrefix(string(o), "vpc/")
}

// lifecycles fills in the state of each network on this host: of those that should
// be here, of those that are idle, and of those that no document asks for.
func (a *Agent) lifecycles(in *resource.Intent, found lives) {
	a.wanted(in, found)
	idle := map[resource.Owner]bool{}
	for _, t := range in.Terms {
		if t.Idle && in.Fragment(t.Owner) == nil {
			idle[t.Owner] = true
			found.set(t.Owner, status.Allocated)
		}
	}
	if a.result == nil {
		return
	}
	for _, x := range a.result.Left.Actions {
		if o := x.Owner(); isNetwork(o) && in.Fragment(o) == nil {
			found.set(o, a.leaving(o, idle[o]))
		}
	}
	for _, h := range a.result.Left.Held {
		if h.Cause != resource.HoldLingering {
			continue
		}
		found.set(h.Owner, status.Shutdown)
		o := found[h.Owner]
		o.State, o.Message, o.Resources = status.OwnerWaiting, h.Reason, h.Resources
		found[h.Owner] = o
	}
}

// wanted fills in the state of networks that should be here: of those that are held it
// is what it was.
func (a *Agent) wanted(in *resource.Intent, found lives) {
	verified := a.Engine.Verified().Intent
	was := func(o resource.Owner) bool { return verified != nil && verified.Fragment(o) != nil }
	for _, f := range in.Fragments {
		switch {
		case !isNetwork(f.Owner):
		case found[f.Owner].State != status.OwnerReady && !was(f.Owner):
			found.set(f.Owner, status.Implementing)
		default:
			found.set(f.Owner, status.Implemented)
		}
	}
	for _, h := range in.Holds {
		if isNetwork(h.Owner) && in.Fragment(h.Owner) == nil && was(h.Owner) {
			found.set(h.Owner, status.Implemented)
		}
	}
}

// leaving is the state of a network of which something is here that should not be.
func (a *Agent) leaving(o resource.Owner, idle bool) string {
	switch {
	case idle:
		return status.Shutdown
	case a.compiled != nil && a.compiled.Declared != nil && a.compiled.Declared(o):
		return status.Implemented // on other hosts
	}
	return status.Destroy
}
