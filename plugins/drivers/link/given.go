package link

import (
	"time"

	"weft.dev/reconcile/resource"
)

// Some addresses and routes a daemon gives and takes, all of them at once: those
// with With. They are as wanted where all are there, and where none is, so that weft
// neither sees drift in what the daemon does nor undoes it. What is there without
// the rest is drift: weft takes it away, or puts what is missing.

// protoDaemon is the protocol of such routes beside weft's own: RTPROT_KEEPALIVED.
const protoDaemon = 18

// The daemon takes a moment from the first to the last: what looks half done is
// looked at again.
const (
	givenTries = 4
	givenPause = 100 * time.Millisecond
)

// with is the address that st comes and goes with, or nil.
func with(st resource.State) *resource.ID {
	switch s := st.(type) {
	case resource.Addr:
		return s.With
	case resource.Route:
		return s.With
	}
	return nil
}

// settle adds to what was seen in ns what is absent as it should be, and marks as
// drift what is there and should not. It reports whether all was as wanted.
func (k *look) settle(out *resource.Observed, ns string) bool {
	list := k.given[ns]
	here := make(map[resource.ID]bool, len(list))
	for _, e := range list {
		for _, id := range []resource.ID{e.State.ID(), *with(e.State)} {
			_, here[id] = out.Set[id]
		}
	}
	fine := true
	for _, e := range list {
		id, lead := e.State.ID(), *with(e.State)
		switch {
		case here[id] == here[lead]:
			if !here[id] {
				out.Set.Put(e)
			}
		case here[lead]:
			fine = false
		default:
			fine = false
			drift := "it is here without " + lead.Name
			s := resource.Seen{Ident: id, Print: resource.Digest("given", drift), Drift: drift}
			if c, ok := e.State.(resource.Contained); ok {
				s.Up = c.Parent()
			}
			s.Held = resource.Claims(e.State)
			out.Set.Put(resource.Entry{Owner: e.Owner, State: s})
		}
	}
	return fine
}

// leads reports what to do about st, which a daemon gives: whether the address that
// it comes with is there now.
func (x *site) leads(st resource.State) (bool, error) {
	lead, ok := addrOf(*with(st))
	if !ok {
		return false, nil
	}
	l, ok, err := linkNamed(x.space, lead.Link)
	if err != nil || !ok {
		return false, err
	}
	all, err := addrs(x.space)
	for _, a := range all {
		if a.index == l.index && a.prefix == lead.Prefix {
			return true, err
		}
	}
	return false, err
}

// makeGiven makes st, which a daemon gives and takes, agree with the address that it
// comes with. That address itself is the daemon's alone: were it put here, two hosts
// might have it.
func (x *site) makeGiven(st resource.State) error {
	there, err := x.leads(st)
	if err != nil {
		return err
	}
	self := *with(st) == st.ID()
	switch s := st.(type) {
	case resource.Addr:
		switch {
		case self:
			return nil
		case there:
			return x.makeAddr(s)
		}
		return x.dropAddr(s)
	case resource.Route:
		if there {
			return x.makeRoute(s)
		}
		return x.dropRoute(s.Dst)
	}
	return nil
}
