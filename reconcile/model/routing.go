package model

import (
	"net/netip"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// A Router is a virtual router, complete in itself: who drafts it reads nothing
// beside it. It is that of a segment of a network, or of a VPC.
type Router struct {
	ID       schema.ID // of the network or VPC that it is of
	Doc      *schema.Document
	Zone     *Zone
	Domain   string           // DNS domain
	DNS      []netip.Addr     // upstream resolvers
	Services *schema.Services // of the network's offering, or of the VPC's
	Rate     int              // of a public leg in Mbit/s, 0 without limit

	// VPC whose router it is; nil for a network's.
	VPC *VPC

	Host *Host
	NS   string // its namespace
	// Pair has the router and the one that stands for it, Place is which it is; nil
	// for one that stands alone.
	Pair  *Pair
	Place int

	// Sides are the guest networks that it serves: one, but in a VPC one for each
	// tier, by the tier's name.
	Sides []*Side
	// Legs are the links to public networks; the first is that of source NAT, and
	// leads to the world.
	Legs []*Leg
	IPs  []*PublicIP // by ID
	// Balancers are those at IPs and in the guest networks, by ID.
	Balancers []*Balancer
	// VPNs are those that end at it, by ID.
	VPNs []*VPN
	// SourceNAT is the address that guests appear as; zero without the SourceNat
	// service.
	SourceNAT netip.Addr
	// Outer is the own address of a router that translates nothing: the world routes
	// the guests' networks to it. BGP is how it tells; nil: the operator does.
	Outer netip.Addr
	BGP   *BGP
}

// A Side is a router's link into a guest network.
type Side struct {
	Name    string // of the tier; "" in a network's own router
	Router  *Router
	Network *Network
	Segment *Segment
	Link    string // its inner name
	Port    string // its name on the host
	MAC     schema.MAC
	// Own is the router's own address in the first subnet where it is one of a pair,
	// which has IP in common; else zero.
	Own netip.Addr
	ACL *ACL // in a VPC

	twin struct { // what the second of a pair has instead
		mac schema.MAC
		own netip.Addr
	}
	// IP is the router's address in the first subnet of the segment (see
	// Subnet.RouterIP): the gateway where the router is that (services Gateway,
	// SourceNat, StaticNat or PortForwarding), else one of its own.
	IP netip.Addr
}

// A Leg is a router's link to a public network.
type Leg struct {
	Link  string // its inner name
	Port  string // its name on the host
	MAC   schema.MAC
	Range *PublicRange
	MTU   int
	// IP6 is the router's address there, zero without IPv6: what the world routes
	// the guests' prefixes to. Gateway6 leads to the world.
	IP6      netip.Prefix
	Gateway6 netip.Addr
	key      string // of its public network; "" of the first leg
}

// The inner names of the links of a network's own router.
const (
	GuestLink  = "eth0"
	PublicLink = "eth1"
)

// What the inner names of a VPC router's links begin with: those of tiers, and of private
// gateways.
const (
	TierLinks    = "t-"
	GatewayLinks = "g-"
)

// Outside reports whether the router has a link to networks that are not its guests':
// public ones, or private ones of the operator's.
func (r *Router) Outside() bool { return r.Public() || r.VPC != nil && len(r.VPC.Gateways) > 0 }

// Public reports whether the router has a leg on a public network.
func (r *Router) Public() bool { return len(r.Legs) > 0 }

// IP6 is the router's own address on the first of its public networks that has IPv6;
// zero without.
func (r *Router) IP6() netip.Addr {
	for _, l := range r.Legs {
		if l.IP6.IsValid() {
			return l.IP6.Addr()
		}
	}
	return netip.Addr{}
}

// Dual reports whether the router has a side with IPv6.
func (r *Router) Dual() bool {
	for _, s := range r.Sides {
		if s.Segment.IP6 != nil {
			return true
		}
	}
	return false
}

// nameRouter gives the names that a network's router has on its host. They hold the
// instance, so that two instances of weft do not meet. segment is that which it is
// for, or "".
func nameRouter(id schema.ID, segment string, x *Router) {
	instance := x.Host.Facts.Instance
	x.NS = resource.Short(maxNS, instance, id.Account, id.Name)
	guest := resource.Short(15, "wg", id.Account, id.Name, instance)
	if segment != "" {
		x.NS = resource.Short(maxNS, instance, id.Account, id.Name, segment)
		guest = resource.Short(15, "wg", id.Account, id.Name, segment, instance)
	}
	for _, s := range x.Sides {
		s.Link, s.Port = GuestLink, guest
	}
	nameLegs(x, id.Account, id.Name, instance)
}
