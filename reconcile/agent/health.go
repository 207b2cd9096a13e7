package agent

import (
	"context"
	"strings"
	"time"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/health"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// lookAfter says to the checks which routers there are now, and to the counters what
// counts. Those of an owner that is left alone are checked as they were when they
// were made last.
func (a *Agent) lookAfter() {
	if a.compiled == nil {
		return
	}
	in, last := a.desired(), a.Engine.Verified().Intent
	_, all := a.saved.get().Suspended[""]
	unmade, down := a.unmade()
	leave := func(o resource.Owner) (leave, keep string) {
		h, held := in.Held(o)
		switch {
		case in.Frozen != "":
			return in.Frozen, ""
		case all:
			return "the host is suspended", ""
		case held:
			return h.Reason, ""
		}
		return "", unmade[o]
	}
	list := in.Fragments
	if last != nil {
		for _, h := range in.Holds {
			if f := last.Fragment(h.Owner); f != nil && in.Fragment(h.Owner) == nil {
				list = append(list[:len(list):len(list)], f)
			}
		}
	}
	there := resource.NewIntent(in.Host, append([]*resource.Fragment(nil), list...), nil)
	a.checker.Watch(health.RoutersOf(there, leave), down)
	var meters []resource.State
	pairs := map[string]resource.Owner{}
	for _, f := range there.Fragments {
		for _, e := range f.Entries() {
			if ns := pairOf(e.State); ns != "" {
				pairs[ns] = e.Owner
			}
			if metered(e.State) {
				meters = append(meters, e.State)
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.meters, a.pairs = meters, pairs
}

// unmade says of owners what the last pass could not make of them, and which processes
// are among that. To make anew what lacks something already helps nobody, and a process
// that cannot be started is no sick one.
func (a *Agent) unmade() (why map[resource.Owner]string, down map[string]bool) {
	why, down = map[resource.Owner]string{}, map[string]bool{}
	note := func(o resource.Owner, id resource.ID, words string) {
		if why[o] == "" && !id.Kind.Outside() {
			why[o] = id.String() + " " + words
		}
		if id.Kind == resource.KindProcess {
			down[id.Name] = true
		}
	}
	if a.result == nil {
		return why, down
	}
	for _, o := range a.result.Owners {
		for _, f := range o.Failures {
			note(o.Owner, f.ID, "cannot be made: "+f.Error)
		}
	}
	for _, x := range a.result.Left.Actions {
		note(x.Owner(), x.ID, "is not made yet")
	}
	for _, b := range a.result.Left.Blocked {
		note(b.Owner, b.ID, "cannot be made: "+b.Reason)
	}
	return why, down
}

func metered(st resource.State) bool {
	switch st := st.(type) {
	case resource.Chain:
		return st.Meter != nil
	case resource.Link:
		return st.Meter != nil
	}
	return false
}

// treat carries a cure out, unless that may not be any more: an ordinary pass in which a
// resource is made anew.
func (a *Agent) treat(ctx context.Context, c health.Cure) (retry time.Time, done bool) {
	done = a.checker.Treat(c, func() {
		a.Log.Warn("a service is sick", "router", c.Router, "service", c.Service, "why", c.Why, "anew", c.ID.String())
		a.cure, a.force = c, true
		retry = a.pass(ctx, nil)
		a.cure = health.Cure{}
	})
	a.feel()
	return retry, done
}

// feel brings the condition up to date that says how the routers are. It does not block.
func (a *Agent) feel() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Routers = a.routersLocked()
	a.status.Set(a.status.Health(), time.Now())
	a.Metrics.state(a.status)
}

// routersLocked is how they are at this moment; a.mu is held.
func (a *Agent) routersLocked() []status.Router {
	out := a.checker.Routers()
	for i := range out {
		out[i].Deaths = a.deaths[out[i].NS]
		out[i].Roles = a.roles(out[i].NS)
	}
	return append(out, a.unchecked(out)...)
}

// mourn counts the processes that ended by themselves and that r started again.
func (a *Agent) mourn(r *engine.Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range r.Plan.Actions {
		if !x.Drift || x.Verb != plan.Create || x.ID.Kind != resource.KindProcess {
			continue
		}
		if p, ok := x.After.State.(resource.Process); ok && p.NS != "" && !drifts(r.Plan, resource.ID{Kind: resource.KindNS, Name: p.NS}) {
			a.deaths[p.NS]++
			a.Metrics.died(p)
		}
	}
}

// drifts reports whether p does something about id.
func drifts(p *plan.Plan, id resource.ID) bool {
	for _, a := range p.Actions {
		if a.ID == id {
			return true
		}
	}
	return false
}

// serviceOf is the process' name within its namespace.
func serviceOf(p resource.Process) string { return strings.TrimPrefix(p.Name, p.NS+"/") }
