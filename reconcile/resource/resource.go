// Package resource is the narrow waist between those who decide (gurus,
// elements, compile: pure) and those who act (drivers): the closed vocabulary
// of what may exist on a host.
//
// In go the typed states that plugins ask for and that drivers observe; out
// come fragments, sets and intents with fingerprints. Everybody may import it;
// it imports schema for positions only. It touches nothing.
package resource

import (
	"slices"
	"strings"

	"weft.dev/schema"
)

// A Kind names one sort of resource, family first, such as "ovs.port".
type Kind string

// The kinds. A new one is rare and reviewed like a new word.
const (
	KindBridge     Kind = "ovs.bridge"
	KindPort       Kind = "ovs.port"
	KindTunnel     Kind = "ovs.tunnel"
	KindFlows      Kind = "ovs.flows"
	KindNS         Kind = "net.ns"
	KindLink       Kind = "net.link"
	KindAddr       Kind = "net.addr"
	KindRoute      Kind = "net.route"
	KindRule       Kind = "net.rule"
	KindSysctl     Kind = "net.sysctl"
	KindBridgePort Kind = "net.port"
	KindQdisc      Kind = "net.qdisc"
	KindChain      Kind = "fw.chain"
	KindSet        Kind = "fw.set"
	KindFile       Kind = "file"
	KindProcess    Kind = "process"
	KindRecord     Kind = "dns.record"
)

// An ID identifies one resource on one host.
type ID struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
}

// String is "kind name", as plans show it.
func (id ID) String() string { return string(id.Kind) + " " + id.Name }

// Compare orders by kind, then name.
func (id ID) Compare(o ID) int {
	if id.Kind != o.Kind {
		return strings.Compare(string(id.Kind), string(o.Kind))
	}
	return strings.Compare(id.Name, o.Name)
}

// A State is the whole value of one resource, desired or observed. Values are
// canonical (lists sorted where order means nothing) and never mutated. No
// state holds what only one boot knows: ifindex, ofport, kernel-made
// addresses.
type State interface {
	ID() ID
	// Needs lists what must exist before this does, beside its parent.
	Needs() []ID
	// Fingerprint is equal exactly for equal states of one ID, in every
	// process and on every machine.
	Fingerprint() uint64
	// Fields describes the state to people, in a fixed order. It may be
	// slow; it is asked of what differs only.
	Fields() []Field
}

// Contained states vanish by themselves with their parent.
type Contained interface{ Parent() ID }

// Claimant states hold something that only one resource of a host may hold at
// a time, such as an address in a namespace or a tunnel key towards a peer.
type Claimant interface{ Claims() []string }

// Adopter states may stand on something foreign of the same ID: it then
// satisfies them, is not marked, not changed and never removed.
type Adopter interface{ Adopts() bool }

// NICBound states belong to one NIC rather than to its whole network; the
// lifecycle calls their coming and going prepare and release.
type NICBound interface{ NIC() string }

// A Field is one named, printable part of a State.
type Field struct {
	Name  string
	Value string
	// Fixed fields cannot change in place: the resource is replaced.
	Fixed bool
	// Rules marks a value of many lines that is compared line by line.
	Lines bool
}

// Parent returns the parent of st, if it has one.
func Parent(st State) (ID, bool) {
	if c, ok := st.(Contained); ok {
		if p := c.Parent(); p != (ID{}) {
			return p, true
		}
	}
	return ID{}, false
}

// Requires lists all that st cannot exist without: needs and parent.
func Requires(st State) []ID {
	out := st.Needs()
	if p, ok := Parent(st); ok {
		out = append(slices.Clip(out), p)
	}
	return out
}

// Claims lists what st holds exclusively.
func Claims(st State) []string {
	if c, ok := st.(Claimant); ok {
		return c.Claims()
	}
	return nil
}

// Adopts reports whether something foreign satisfies st.
func Adopts(st State) bool {
	a, ok := st.(Adopter)
	return ok && a.Adopts()
}

// NICOf returns the "account/vm/nic" that st belongs to, or "".
func NICOf(st State) string {
	if n, ok := st.(NICBound); ok {
		return n.NIC()
	}
	return ""
}

// An Owner is who asked for a resource: the ID of the document whose unit it
// is ("network/acme/web"), or "host/NAME" for what networks of a host share.
type Owner string

// An Entry is a State, who owns it and the document lines that asked for it.
// Origin is no part of the state: moved lines are an empty plan.
type Entry struct {
	State  State
	Owner  Owner
	Origin []schema.Pos
}
