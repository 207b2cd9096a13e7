package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
)

// world is the input of a plan: what is there (before) and what should be
// (after). same holds fragments that stand on both sides and were not looked
// into.
type world struct {
	before map[resource.ID]resource.Entry
	after  map[resource.ID]*resource.Entry
	same   []*resource.Fragment
	last   map[resource.ID]*resource.Entry

	observed *resource.Observed // nil between two intents
	holds    []resource.Hold
	opt      Options

	heldOwner map[resource.Owner]resource.Hold
	terms     map[resource.Owner]resource.Term
	target    map[resource.Owner]bool
	cookies   map[string]resource.Owner // of held owners' flows

	// users say who requires a thing, on either side, among what is not in same;
	// built when asked. asked has the whole answers.
	users, asked map[resource.ID][]resource.ID
}

func newWorld(holds []resource.Hold, opt Options) *world {
	w := &world{
		before: map[resource.ID]resource.Entry{}, after: map[resource.ID]*resource.Entry{}, holds: holds, opt: opt,
		heldOwner: map[resource.Owner]resource.Hold{}, terms: map[resource.Owner]resource.Term{}, target: map[resource.Owner]bool{}, cookies: map[string]resource.Owner{},
	}
	for _, h := range holds {
		w.heldOwner[h.Owner] = h
		w.cookies[fmt.Sprintf("%012x", resource.Cookie(h.Owner))] = h.Owner
	}
	for _, o := range opt.Target {
		w.target[o] = true
	}
	return w
}

// want adds a fragment to the desired side.
func (w *world) want(f *resource.Fragment) error {
	entries := f.Entries()
	for i := range entries {
		e := &entries[i]
		id := e.State.ID()
		if d, ok := w.after[id]; ok {
			return fmt.Errorf("%s is asked for twice: by %s%s and by %s%s", id, d.Owner, at(d), e.Owner, at(e))
		}
		w.after[id] = e
	}
	return nil
}

func at(e *resource.Entry) string {
	if len(e.Origin) == 0 {
		return ""
	}
	return " (" + e.Origin[0].String() + ")"
}

// claims reports two desired holders of one claim, which the compiler should
// have seen. What held owners ask for does not count.
func (w *world) claims() error {
	holders := map[string]*resource.Entry{}
	for _, id := range w.sortedAfter() {
		e := w.after[id]
		if _, held := w.heldOwner[e.Owner]; held {
			continue
		}
		for _, c := range resource.Claims(e.State) {
			h, ok := holders[c]
			if ok && h != e {
				return fmt.Errorf("%s is claimed twice: by %s of %s%s and by %s of %s%s",
					c, h.State.ID(), h.Owner, at(h), id, e.Owner, at(e))
			}
			holders[c] = e
		}
	}
	return nil
}

// meets reports what differs and has an ID or a claim of what does not: a folded
// fragment is opened only to name it.
func (w *world) meets() error {
	if len(w.after) == 0 || len(w.same) == 0 {
		return nil
	}
	differs := make(map[uint64]*resource.Entry, len(w.after))
	for _, e := range w.after {
		_, held := w.heldOwner[e.Owner]
		for i, m := range resource.Marks(e.State) {
			if i == 0 || !held {
				differs[m] = e
			}
		}
	}
	for _, f := range w.same {
		_, held := w.heldOwner[f.Owner]
		for i, m := range f.Marks() {
			e, ok := differs[m]
			if !ok || held && i >= f.Len() {
				continue
			}
			for _, o := range f.Entries() {
				if what, ok := resource.Marked(o.State, m); ok {
					return fmt.Errorf("%s is asked for twice: by %s%s and by %s%s", what, o.Owner, at(&o), e.Owner, at(e))
				}
			}
		}
	}
	return nil
}

// sortedAfter lists the desired claimants in a stable order.
func (w *world) sortedAfter() []resource.ID {
	var out []resource.ID
	for id, e := range w.after {
		if _, ok := e.State.(resource.Claimant); ok {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, resource.ID.Compare)
	return out
}

// find returns both sides of id, nil where it is not.
func (w *world) find(id resource.ID) (before, after *resource.Entry) {
	if e, ok := w.before[id]; ok {
		before = &e
	}
	after = w.after[id]
	if before != nil || after != nil {
		return before, after
	}
	for _, f := range w.same {
		if !f.Has(id) {
			continue
		}
		entries := f.Entries()
		i, ok := slices.BinarySearchFunc(entries, id, func(e resource.Entry, id resource.ID) int { return e.State.ID().Compare(id) })
		if ok {
			return &entries[i], &entries[i]
		}
	}
	return nil, nil
}

// lastOf returns what was intended of id, if that is known.
func (w *world) lastOf(id resource.ID) *resource.Entry {
	if w.last == nil && w.opt.Last != nil {
		w.last = make(map[resource.ID]*resource.Entry, w.opt.Last.Len())
		for _, f := range w.opt.Last.Fragments {
			entries := f.Entries()
			for i := range entries {
				w.last[entries[i].State.ID()] = &entries[i]
			}
		}
	}
	return w.last[id]
}

// wasRequired lists what the present resource stands on. Kernels do not tell
// everything: what was written last, where that is what is there, tells the rest.
func (w *world) wasRequired(id resource.ID, before, after *resource.Entry) []resource.ID {
	if before == nil {
		return nil
	}
	out := resource.Requires(before.State)
	if before == after {
		return out
	}
	if after != nil && before.State.Fingerprint() == after.State.Fingerprint() {
		return append(slices.Clip(out), resource.Requires(after.State)...)
	}
	if l := w.lastOf(id); l != nil && l.State.Fingerprint() == before.State.Fingerprint() {
		out = append(slices.Clip(out), resource.Requires(l.State)...)
	}
	return out
}

// parentsOf lists what takes the present resource with it when it goes.
func (w *world) parentsOf(id resource.ID, before, after *resource.Entry) []resource.ID {
	var out []resource.ID
	add := func(e *resource.Entry) {
		if p, ok := resource.Parent(e.State); ok && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	add(before)
	if after != nil && before.State.Fingerprint() == after.State.Fingerprint() {
		add(after)
	} else if l := w.lastOf(id); l != nil && l.State.Fingerprint() == before.State.Fingerprint() {
		add(l)
	}
	return out
}

// usersOf lists who requires id, on either side, in a stable order.
func (w *world) usersOf(id resource.ID) []resource.ID {
	if w.users == nil {
		w.index()
	}
	if l, ok := w.asked[id]; ok {
		return l
	}
	l := w.users[id]
	_, there := w.before[id]
	_, wanted := w.after[id]
	for _, f := range w.same {
		// What one fragment has no other has.
		if !f.Needs(id) && (there || wanted || !f.Has(id)) {
			continue
		}
		for _, e := range f.Entries() {
			if user := e.State.ID(); user != id && slices.Contains(resource.Requires(e.State), id) {
				l = append(l, user)
			}
		}
	}
	slices.SortFunc(l, resource.ID.Compare)
	l = slices.Compact(l)
	w.asked[id] = l
	return l
}

// index makes users.
func (w *world) index() {
	w.users, w.asked = make(map[resource.ID][]resource.ID, len(w.before)), map[resource.ID][]resource.ID{}
	for user, b := range w.before {
		a := w.after[user]
		w.use(user, w.wasRequired(user, &b, a))
		if a != nil {
			w.use(user, resource.Requires(a.State))
		}
	}
	for user, a := range w.after {
		if _, ok := w.before[user]; !ok {
			w.use(user, resource.Requires(a.State))
		}
	}
}

func (w *world) use(user resource.ID, required []resource.ID) {
	for _, r := range required {
		if r != user {
			w.users[r] = append(w.users[r], user)
		}
	}
}

// ownerUnknown is why something is kept that may belong to a held owner.
const ownerUnknown = "its owner is not known, and some owners are held"

// leave returns why the resource is to be left as it is, "" if it is not.
func (w *world) leave(id resource.ID, before, after *resource.Entry) string {
	for _, e := range []*resource.Entry{before, after} {
		if e == nil {
			continue
		}
		owner := w.ownerOf(id, e)
		if why := w.leaveOwner(owner); why != "" {
			return why
		}
		if owner == "" && after == nil && len(w.holds) > 0 && id.Kind != resource.KindFlows {
			return ownerUnknown
		}
	}
	if u, ok := w.unread(id, before, after); ok {
		return u
	}
	return ""
}

// leaveOwner returns why all of owner's is to be left as it is, "" if it is not.
func (w *world) leaveOwner(owner resource.Owner) string {
	if h, ok := w.heldOwner[owner]; ok {
		return fmt.Sprintf("%s is held (%s)", owner, h.Cause)
	}
	if len(w.target) > 0 && !w.target[owner] {
		return string(owner) + " is no target of this plan"
	}
	return ""
}

// ownerOf is the owner of e. A switch knows a cookie only.
func (w *world) ownerOf(id resource.ID, e *resource.Entry) resource.Owner {
	if e.Owner != "" || id.Kind != resource.KindFlows {
		return e.Owner
	}
	return w.cookies[id.Name[strings.LastIndexByte(id.Name, '/')+1:]]
}

// unread reports whether id lies in a part of the host that was not seen, as
// it is or as it should be.
func (w *world) unread(id resource.ID, before, after *resource.Entry) (string, bool) {
	if w.observed == nil {
		return "", false
	}
	for _, u := range w.observed.Unread {
		if u.Kind != id.Kind {
			continue
		}
		// A process that is not seen may run in any namespace.
		somewhere := u.Kind == resource.KindProcess && before == nil
		if u.NS == "" || somewhere || u.NS == namespace(id, before) || u.NS == namespace(id, after) {
			return unreadWords(u), true
		}
	}
	return "", false
}

func unreadWords(u resource.Unread) string {
	where := string(u.Kind)
	switch {
	case u.NS != "" && u.Kind == resource.KindRecord:
		where += " of server " + u.NS
	case u.NS != "":
		where += " in namespace " + u.NS
	}
	return where + " could not be read"
}

// namespace is the network namespace that id lies in, "" for the host's own; of a
// record of names it is the server and its zone.
func namespace(id resource.ID, e *resource.Entry) string {
	switch id.Kind {
	case resource.KindNS:
		return id.Name
	case resource.KindLink, resource.KindAddr, resource.KindRoute, resource.KindRule, resource.KindSysctl, resource.KindQdisc,
		resource.KindChain, resource.KindSet:
		ns, _, _ := strings.Cut(id.Name, "/")
		return ns
	case resource.KindRecord:
		server, rest, _ := strings.Cut(id.Name, "/")
		zone, _, _ := strings.Cut(rest, "/")
		return server + "/" + zone
	case resource.KindProcess:
		if e == nil {
			return ""
		}
		p, _ := e.State.(resource.Process)
		return p.NS
	default:
		return ""
	}
}

// carries reports whether things of kind u may stand on id, so that it cannot
// or must not go while nobody sees them.
func carries(id resource.ID, u resource.Unread) bool {
	within := u.NS == "" || namespace(id, nil) == u.NS
	in := func(kinds ...resource.Kind) bool { return within && slices.Contains(kinds, id.Kind) }
	switch u.Kind {
	case resource.KindPort, resource.KindTunnel, resource.KindFlows:
		return id.Kind == resource.KindBridge
	case resource.KindBridgePort:
		return id.Kind == resource.KindLink && namespace(id, nil) == ""
	case resource.KindQdisc:
		return in(resource.KindNS, resource.KindLink, resource.KindBridgePort)
	case resource.KindAddr, resource.KindRoute, resource.KindRule, resource.KindSysctl:
		return in(resource.KindNS, resource.KindLink)
	case resource.KindLink:
		return in(resource.KindNS, resource.KindBridge)
	case resource.KindChain:
		// A chain does not lie within a set, but holds on to it.
		return in(resource.KindNS, resource.KindSet)
	case resource.KindSet, resource.KindProcess:
		return in(resource.KindNS)
	}
	return false
}

func compareNodes(a, b *node) int {
	if c := cmp.Compare(a.owner(), b.owner()); c != 0 {
		return c
	}
	return a.id.Compare(b.id)
}
