package resource

import (
	"cmp"
	"maps"
	"slices"
)

// A Hold is an owner of which nothing is made, changed or removed.
type Hold struct {
	Owner Owner `json:"owner"`
	// Cause is one of the words below; Reason is the sentence for people.
	Cause  string `json:"cause"`
	Reason string `json:"reason"`
}

// The causes of a hold.
const (
	HoldInvalid     = "Invalid"
	HoldUnallocated = "Unallocated"
	HoldSuspended   = "Suspended"
	HoldLingering   = "Lingering"
	HoldPrune       = "PruneBlocked"
	HoldDisabled    = "Disabled"
)

// An Intent is all that one host should have: fragments sorted by owner, and
// the owners to leave alone. An owner that is in neither is to be removed.
type Intent struct {
	Host      string
	Fragments []*Fragment
	Holds     []Hold
	// Terms say how owners are treated, by owner; most have none.
	Terms []Term
	// Frozen, when not empty, is why nothing at all may change on this host.
	Frozen string
}

// NewIntent sorts fragments and holds; it takes both slices.
func NewIntent(host string, fragments []*Fragment, holds []Hold) *Intent {
	slices.SortFunc(fragments, func(a, b *Fragment) int { return cmp.Compare(a.Owner, b.Owner) })
	slices.SortFunc(holds, func(a, b Hold) int { return cmp.Compare(a.Owner, b.Owner) })
	return &Intent{Host: host, Fragments: fragments, Holds: holds}
}

// Held returns why owner is held, if it is.
func (in *Intent) Held(owner Owner) (Hold, bool) {
	i, ok := slices.BinarySearchFunc(in.Holds, owner, func(h Hold, o Owner) int { return cmp.Compare(h.Owner, o) })
	if !ok {
		return Hold{}, false
	}
	return in.Holds[i], true
}

// Fragment returns the fragment of owner, or nil.
func (in *Intent) Fragment(owner Owner) *Fragment {
	i, ok := slices.BinarySearchFunc(in.Fragments, owner, func(f *Fragment, o Owner) int { return cmp.Compare(f.Owner, o) })
	if !ok {
		return nil
	}
	return in.Fragments[i]
}

// Len counts the entries.
func (in *Intent) Len() int {
	n := 0
	for _, f := range in.Fragments {
		n += f.Len()
	}
	return n
}

// Fingerprint covers every fragment and hold.
func (in *Intent) Fingerprint() uint64 {
	h := newHash("intent").str(in.Host).str(in.Frozen)
	for _, f := range in.Fragments {
		h = h.str(string(f.Owner)).num(f.Print)
	}
	for _, x := range in.Holds {
		h = h.str(string(x.Owner)).str(x.Cause).str(x.Reason)
	}
	for _, t := range in.Terms {
		h.str(string(t.Owner)).flag(t.Keep).str(t.IgnoreDrift).flag(t.Idle).num(uint64(t.Linger))
	}
	return h.sum()
}

// A Set holds at most one Entry per ID.
type Set map[ID]Entry

// Set copies the entries of an intent into one flat set.
func (in *Intent) Set() Set {
	s := make(Set, in.Len())
	for _, f := range in.Fragments {
		for _, e := range f.Entries() {
			s[e.State.ID()] = e
		}
	}
	return s
}

// Put adds an entry; the last of one ID wins.
func (s Set) Put(e Entry) { s[e.State.ID()] = e }

// IDs lists s in a stable order.
func (s Set) IDs() []ID { return slices.SortedFunc(maps.Keys(s), ID.Compare) }

// Observed is what drivers see of us on a host, with what they could not see.
type Observed struct {
	// Set holds what carries our mark. Origin is empty.
	Set Set
	// Foreign lists what is not ours but stands where something desired
	// wants to be, by ID, with words for people.
	Foreign map[ID]string
	// Unread lists what could not be read: there nothing is made, changed
	// or removed.
	Unread []Unread
	// Unbound lists flow symbols whose port does not exist yet, by owner:
	// shown, no drift.
	Unbound map[Owner][]string
	// Notices are words for people about what somebody else has yet to do, by
	// owner: shown, no drift.
	Notices map[Owner][]string
	// Guests lists the ports that say which NIC they are, whether anybody wants
	// one there or not.
	Guests []GuestPort
}

// A GuestPort is a guest's port as a switch knows it.
type GuestPort struct {
	Port string `json:"port"`
	// IfaceID is "account/vm/nic", MAC the NIC's; one of them may be "".
	IfaceID string `json:"ifaceID,omitempty"`
	MAC     string `json:"mac,omitempty"`
	// Used ports carry what rules of ours say of the NIC.
	Used bool `json:"used,omitempty"`
}

// Unread is a part of the host that could not be observed.
type Unread struct {
	Kind Kind
	// NS limits it to one network namespace, or of records of names to "SERVER/ZONE";
	// "" is the whole kind.
	NS  string
	Err string
}

// NewObserved returns an empty observation.
func NewObserved() *Observed {
	return &Observed{Set: Set{}, Foreign: map[ID]string{}, Unbound: map[Owner][]string{}, Notices: map[Owner][]string{}}
}

// Merge adds what o saw.
func (x *Observed) Merge(o *Observed) {
	maps.Copy(x.Set, o.Set)
	maps.Copy(x.Foreign, o.Foreign)
	x.Unread = append(x.Unread, o.Unread...)
	for k, v := range o.Unbound {
		x.Unbound[k] = append(x.Unbound[k], v...)
	}
	for k, v := range o.Notices {
		x.Notices[k] = append(x.Notices[k], v...)
	}
	x.Guests = append(x.Guests, o.Guests...)
}
