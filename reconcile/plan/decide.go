package plan

import (
	"fmt"
	"slices"

	"weft.dev/reconcile/resource"
)

// A node is one resource with something to do.
type node struct {
	id            resource.ID
	before, after *resource.Entry
	verb          Verb
	changes       []Change
	reason        string
	cause         *node  // what drags it along, when it has no difference of its own
	gone          *node  // the parent it vanishes with, without a step of its own
	fixed         bool   // cannot change in place
	renew         string // why it is replaced though it need not be, or ""
	blocked       string
	meant         Verb // what a blocked node should have done
	mk, dr        int  // its steps, -1 for none
}

func (n *node) owner() resource.Owner {
	if n.after != nil {
		return n.after.Owner
	}
	return n.before.Owner
}

// goes reports whether the present resource ceases to exist on the way.
func (n *node) goes() bool { return n.before != nil && (n.verb == Replace || n.verb == Delete) }

// renewed reports whether n is replaced on account of somebody who asks for that.
func (n *node) renewed() bool { return n.renew != "" }

// makes reports whether a step makes n's desired state true.
func (n *node) makes() bool { return n.verb == Create || n.verb == Update || n.verb == Replace }

// A decision says what happens to which resource. It is made anew whenever
// something turns out to be impossible, until nothing does.
type decision struct {
	*world
	nodes map[resource.ID]*node
	// list holds the nodes in the stable order; those that are dragged along
	// come after those that differ.
	list []*node
	// pins says why a present resource must not go.
	pins map[resource.ID]string
	// stuck are resources that cannot be made what they should be, and
	// why; shared by all attempts.
	stuck map[resource.ID]string
	// split are updates that are broken into drop and make (rule 7).
	split map[resource.ID]bool
	// explicit gives what vanishes with its parent a step of its own.
	explicit bool
	foreign  []Foreign
}

// decide finds what is to be done, given what differs.
func (w *world) decide(differ []resource.ID, stuck map[resource.ID]string, split map[resource.ID]bool, explicit bool) *decision {
	d := &decision{world: w, stuck: stuck, split: split, explicit: explicit}
	for {
		d.nodes, d.list, d.pins, d.foreign = map[resource.ID]*node{}, nil, map[resource.ID]string{}, nil
		known := len(stuck)
		d.pinLeft()
		for _, id := range differ {
			d.visit(id)
		}
		slices.SortFunc(d.list, compareNodes)
		d.pinWanted()
		d.spread()
		d.refuse()
		if len(stuck) == known {
			return d
		}
	}
}

// visit judges one resource by itself.
func (d *decision) visit(id resource.ID) {
	before, after := d.find(id)
	if d.leave(id, before, after) != "" {
		d.cross(id, before, after)
		return
	}
	n := &node{id: id, before: before, after: after, mk: -1, dr: -1, blocked: d.stuck[id]}
	switch {
	case before == nil:
		if d.stands(after) {
			return
		}
		n.verb = Create
	case after == nil:
		n.verb = Delete
	default:
		n.changes, n.fixed = compare(before, after, d.world)
		n.renew = d.opt.Renew[id]
		if n.changes == nil && !n.renewed() {
			return
		}
		n.verb, n.reason = Update, n.renew
		if n.fixed || n.renewed() || d.split[id] {
			n.verb = Replace
		}
	}
	d.add(n)
}

// cross blocks who wants what somebody who is left alone has, and what nobody
// can be asked about.
func (d *decision) cross(id resource.ID, before, after *resource.Entry) {
	if after == nil && d.leave(id, before, nil) == ownerUnknown {
		d.add(&node{id: id, before: before, verb: Delete, mk: -1, dr: -1, blocked: ownerUnknown})
		return
	}
	if before == nil || after == nil || d.ownerOf(id, before) == after.Owner || d.leave(id, nil, after) != "" {
		return
	}
	d.add(&node{id: id, before: before, after: after, verb: Update, mk: -1, dr: -1, blocked: d.leave(id, before, nil)})
}

func (d *decision) add(n *node) {
	d.nodes[n.id] = n
	d.list = append(d.list, n)
	if n.blocked != "" {
		n.meant, n.verb = n.verb, ""
	}
}

// stands reports whether something of somebody else's serves as after. A
// foreign thing that does not blocks it.
func (d *decision) stands(after *resource.Entry) bool {
	id := after.State.ID()
	b, isBridge := after.State.(resource.Bridge)
	existing := isBridge && b.Existing
	if d.observed == nil {
		return existing
	}
	words, ok := d.observed.Foreign[id]
	switch {
	case ok && resource.Adopts(after.State):
		d.foreign = append(d.foreign, Foreign{ID: id, Owner: after.Owner, Words: words, Adopted: true})
		return true
	case ok:
		d.foreign = append(d.foreign, Foreign{ID: id, Owner: after.Owner, Words: words})
		d.stuck[id] = "something that is not ours is in its place: " + words
	case existing:
		d.stuck[id] = "it does not exist, and it is not ours to make"
	}
	return false
}

// block gives up on n and remembers why for the next attempt.
func (d *decision) block(n *node, why string) {
	if _, ok := d.stuck[n.id]; !ok {
		d.stuck[n.id] = why
	}
	n.meant, n.blocked, n.verb = n.verb, d.stuck[n.id], ""
}

// spread drags along what cannot stay as it is when something else goes.
func (d *decision) spread() {
	work := make([]*node, 0, len(d.list))
	for _, n := range d.list {
		if n.goes() {
			work = append(work, n)
		}
	}
	for len(work) > 0 {
		g := work[0]
		work = work[1:]
		for _, user := range d.usersOf(g.id) {
			if n := d.drag(g, user); n != nil {
				work = append(work, n)
			}
		}
	}
}

// drag says what becomes of user when g goes; it returns the node if it goes
// now and did not before.
func (d *decision) drag(g *node, user resource.ID) *node {
	n := d.nodes[user]
	if n == nil {
		before, after := d.find(user)
		if before == nil || after == nil || d.leave(user, before, after) != "" {
			return nil
		}
		n = &node{id: user, before: before, after: after, mk: -1, dr: -1}
	}
	if n.before == nil || n.blocked != "" {
		return nil
	}
	went := n.goes()
	switch {
	case slices.Contains(d.parentsOf(user, n.before, n.after), g.id):
		if n.gone == nil && !d.explicit {
			n.gone = g
		}
		if n.after == nil {
			break
		}
		d.force(n, g, Replace, "vanishes with "+g.id.String())
	case n.after == nil || !slices.Contains(d.wasRequired(user, n.before, n.after), g.id):
	case !slices.Contains(resource.Requires(n.after.State), g.id):
		d.force(n, g, Update, "lets go of "+g.id.String())
	default:
		d.force(n, g, Replace, "makes way for "+g.id.String())
	}
	if n.verb == Update && d.split[user] {
		n.verb = Replace
	}
	if n.verb != "" && d.nodes[user] == nil {
		d.add(n)
	}
	if n.goes() && !went {
		return n
	}
	return nil
}

// force gives n at least the fate v, on account of g.
func (d *decision) force(n, g *node, v Verb, reason string) {
	if n.verb == "" {
		n.cause = g
	}
	if n.verb == "" || n.verb == Update && v == Replace {
		n.verb, n.reason = v, reason
	}
}

// refuse blocks what needs something that will not be there, or wants to
// hold what another keeps.
func (d *decision) refuse() {
	holders := d.holders()
	for _, n := range d.list {
		if !n.makes() {
			continue
		}
		for _, r := range resource.Requires(n.after.State) {
			if why := d.lacks(r); why != "" {
				d.block(n, fmt.Sprintf("it needs %s, %s", r, why))
				break
			}
		}
		for _, c := range resource.Claims(n.after.State) {
			if h, ok := holders[c]; ok && h != n.id && n.blocked == "" {
				why := "stays as it is"
				if k := d.nodes[h]; k != nil {
					why = k.blocked
				} else if before, after := d.find(h); d.leave(h, before, after) != "" {
					why = d.leave(h, before, after)
				}
				d.block(n, fmt.Sprintf("%s is held by %s: %s", c, h, why))
			}
		}
	}
}

// lacks says why r will not exist at the end, "" if it will.
func (d *decision) lacks(r resource.ID) string {
	if n := d.nodes[r]; n != nil {
		if n.before != nil || n.blocked == "" {
			return "" // present and kept, or made; what is wanted is never deleted
		}
		return "which cannot be made: " + n.blocked
	}
	before, after := d.find(r)
	switch {
	case before != nil:
		return ""
	case after == nil:
		if d.observed != nil {
			if _, ok := d.observed.Foreign[r]; ok {
				return ""
			}
		}
		return "which nobody asks for"
	case d.leave(r, nil, after) != "":
		return "which is not there: " + d.leave(r, nil, after)
	}
	return "" // adopted
}

// holders lists who keeps which claim, as far as somebody may want it.
func (d *decision) holders() map[string]resource.ID {
	wanted := map[string]bool{}
	for _, n := range d.list {
		if n.makes() {
			for _, c := range resource.Claims(n.after.State) {
				wanted[c] = true
			}
		}
	}
	out := map[string]resource.ID{}
	if len(wanted) == 0 {
		return out
	}
	for id, b := range d.before {
		n := d.nodes[id]
		for _, c := range resource.Claims(b.State) {
			switch {
			case !wanted[c]:
			case n == nil || n.verb == "":
				out[c] = smaller(out, c, id)
			case n.after != nil && slices.Contains(resource.Claims(n.after.State), c):
				out[c] = smaller(out, c, id)
			}
		}
	}
	return out
}

func smaller(m map[string]resource.ID, c string, id resource.ID) resource.ID {
	if old, ok := m[c]; ok && old.Compare(id) < 0 {
		return old
	}
	return id
}
