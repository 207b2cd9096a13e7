package model

import (
	"net/netip"

	"weft.dev/schema"
)

// Reserved is what the routers of a pair are known by in a guest network: no guest may
// use it, and none speaks VRRP to them, whatever else may leave its port. Whoever
// could would be the gateway, or have the two believe that the other one lives.
type Reserved struct {
	MACs  []schema.MAC // by place
	Addrs []netip.Addr // the gateways, then each router's own address, then those of IPv6
}

// Reserved is what the pair that serves the segment has for itself; nil where none does.
func (s *Segment) Reserved() *Reserved {
	if s.Side == nil || s.Side.Router.Pair == nil {
		return nil
	}
	r := &Reserved{}
	for _, sub := range s.Subnets {
		r.Addrs = append(r.Addrs, sub.RouterIP)
	}
	for _, x := range s.Side.Router.Each() {
		side := x.side(s)
		r.MACs = append(r.MACs, side.MAC)
		r.Addrs = append(r.Addrs, side.Own)
	}
	if s.IP6 != nil && s.IP6.Router.IsValid() {
		r.Addrs = append(r.Addrs, s.IP6.Router, r.MACs[0].LinkLocal()) // both have that in turn
	}
	return r
}
