package plan

import (
	"fmt"
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
)

// lingering is how the reason ends that something is left alone for a while only.
const lingering = " is held (" + resource.HoldLingering + ")"

// pinLeft pins what resources that are left alone stand on.
func (d *decision) pinLeft() {
	for id, why := range d.stuck {
		if before, after := d.find(id); before != nil {
			d.pinAll(d.wasRequired(id, before, after), fmt.Sprintf("%s stands on it, and %s", id, why))
		}
	}
	if len(d.holds) == 0 && len(d.target) == 0 && (d.observed == nil || len(d.observed.Unread) == 0) {
		return
	}
	for _, f := range d.same {
		if why := d.leaveOwner(f.Owner); why != "" {
			for _, e := range f.Entries() {
				d.pinAll(resource.Requires(e.State), fmt.Sprintf("%s stands on it, and %s", e.State.ID(), why))
			}
		}
	}
	for id, b := range d.before {
		after := d.after[id]
		if why := d.leave(id, &b, after); why != "" {
			d.pinAll(d.wasRequired(id, &b, after), fmt.Sprintf("%s stands on it, and %s", id, why))
		}
	}
	d.pinUnseen()
}

// pinUnseen pins what may carry things that could not be read.
func (d *decision) pinUnseen() {
	if d.observed == nil || len(d.observed.Unread) == 0 {
		return
	}
	for id := range d.before {
		for _, u := range d.observed.Unread {
			if carries(id, u) {
				d.pinAll([]resource.ID{id}, unreadWords(u))
			}
		}
	}
	pin := func(e *resource.Entry) {
		id := e.State.ID()
		if why, ok := d.unread(id, nil, e); ok {
			d.pinAll(resource.Requires(e.State), fmt.Sprintf("%s stands on it, and %s", id, why))
		}
	}
	for _, e := range d.after {
		pin(e)
	}
	if d.opt.Last != nil {
		for _, f := range d.opt.Last.Fragments {
			for _, e := range f.Entries() {
				pin(&e)
			}
		}
	}
}

// pinAll pins ids and what they stand on. Of several reasons the first in the
// alphabet is kept: the order of calls must not show.
func (d *decision) pinAll(ids []resource.ID, why string) {
	for _, id := range ids {
		old, ok := d.pins[id]
		if ok && old <= why {
			continue
		}
		d.pins[id] = why
		if before, after := d.find(id); before != nil {
			d.pinAll(d.wasRequired(id, before, after), why)
			d.pinAll(farEnd(before.State), why)
		}
	}
}

// farEnd is the other end of a patch: one alone carries nothing.
func farEnd(st resource.State) []resource.ID {
	if p, ok := st.(resource.Port); ok && p.Peer != "" {
		return []resource.ID{{Kind: resource.KindPort, Name: p.Peer}}
	}
	return nil
}

// pinWanted pins what is to be deleted though something that stays or comes
// requires it.
func (d *decision) pinWanted() {
	for _, n := range d.list {
		if n.verb != Delete {
			continue
		}
		for _, user := range d.usersOf(n.id) {
			_, after := d.find(user)
			if after != nil && slices.Contains(resource.Requires(after.State), n.id) {
				d.pinAll([]resource.ID{n.id}, fmt.Sprintf("%s of %s needs it", user, after.Owner))
			}
		}
	}
	for _, n := range d.list {
		if why, ok := d.pins[n.id]; ok && n.verb == Delete && strings.HasSuffix(why, lingering) {
			n.verb = "" // it goes when what lingers has gone, and nothing is wrong till then
			continue
		}
		if why, ok := d.pins[n.id]; ok && n.goes() {
			d.block(n, "it has to stay: "+why)
		}
	}
}
