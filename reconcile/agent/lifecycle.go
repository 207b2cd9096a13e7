package agent

import (
	"strings"

	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// lifecycles fills in the state of each network on this host: of those that should
// be here, of those that are idle, and of those that no document asks for.
func (a *Agent) lifecycles(in *resource.Intent, found map[resource.Owner]status.Owner) {
	isNetwork := func(o resource.Owner) bool { return strings.HasPrefix(string(o), "network/") }
	verified := a.Engine.Verified().Intent
	set := func(name resource.Owner, lifecycle string) {
		o := found[name]
		o.Name, o.Lifecycle = name, lifecycle
		if o.State == "" {
			o.State = status.OwnerReady
		}
		found[name] = o
	}
	for _, f := range in.Fragments {
		if !isNetwork(f.Owner) {
			continue
		}
		set(f.Owner, status.Implemented)
		if found[f.Owner].State != status.OwnerReady && (verified == nil || verified.Fragment(f.Owner) == nil) {
			set(f.Owner, status.Implementing)
		}
	}
	idle := map[resource.Owner]bool{}
	for _, t := range in.Terms {
		if t.Idle && in.Fragment(t.Owner) == nil {
			idle[t.Owner] = true
			set(t.Owner, status.Allocated)
		}
	}
	if a.result == nil {
		return
	}
	for _, x := range a.result.Left.Actions {
		switch o := x.Owner(); {
		case !isNetwork(o) || in.Fragment(o) != nil:
		case idle[o]:
			set(o, status.Shutdown)
		default:
			set(o, status.Destroy)
		}
	}
	for _, h := range a.result.Left.Held {
		if h.Cause != resource.HoldLingering {
			continue
		}
		set(h.Owner, status.Shutdown)
		o := found[h.Owner]
		o.State, o.Message, o.Resources = status.OwnerWaiting, h.Reason, h.Resources
		found[h.Owner] = o
	}
}
