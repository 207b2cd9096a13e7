package resource

import (
	"fmt"
	"net/netip"
)

// RoutingRule makes what belongs to one of several links to the outside leave by it:
// packets with its mark and those from its network; directly to what lies in that
// network, else by its gateway. What leads inside comes before: routes of the main table
// by links that no such rule is about.
//
// It is one thing for the kernel's rules, routing table and link group together: a part
// of them alone would send packets out elsewhere.
type RoutingRule struct {
	NS string `json:"ns"`
	// Table is unique in the namespace, from RoutingTables on.
	Table uint32       `json:"table"`
	Dev   string       `json:"dev"`
	Net   netip.Prefix `json:"net"` // masked
	Via   netip.Addr   `json:"via"`
	Mark  uint32       `json:"mark"` // of the bits in Mask
	Mask  uint32       `json:"mask"`
	// Rest: what has no mark and is of no network of such a link leaves here too.
	Rest bool `json:"rest,omitempty"`
}

// RoutingTables is the first of the routing tables that rules of weft's use; 65,536 follow.
const RoutingTables = 1000

// ID implements State.
func (r RoutingRule) ID() ID { return RoutingRuleID(r.NS, r.Table) }

// RoutingRuleID is the ID of the rule of a table.
func RoutingRuleID(ns string, table uint32) ID {
	return ID{KindRule, fmt.Sprintf("%s/%d", ns, table)}
}

// Parent implements Contained: the kernel's rules stay when the link goes.
func (r RoutingRule) Parent() ID { return ID{KindNS, r.NS} }

// Needs implements State.
func (r RoutingRule) Needs() []ID { return []ID{LinkID(r.NS, r.Dev)} }

// Fingerprint implements State.
func (r RoutingRule) Fingerprint() uint64 {
	return newHash(string(KindRule)).str(r.NS).num(uint64(r.Table)).str(r.Dev).str(r.Net.String()).str(r.Via.String()).
		num(uint64(r.Mark)).num(uint64(r.Mask)).flag(r.Rest).sum()
}

// Fields implements State.
func (r RoutingRule) Fields() []Field {
	return []Field{
		{Name: "dev", Value: r.Dev, Fixed: true},
		{Name: "net", Value: r.Net.String()},
		{Name: "via", Value: r.Via.String()},
		{Name: "mark", Value: fmt.Sprintf("%#x/%#x", r.Mark, r.Mask)},
		{Name: "rest", Value: boolean(r.Rest)},
	}
}
