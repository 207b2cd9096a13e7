package schema

import (
	"net/netip"
	"time"
)

// ZoneBGP is how routers of Dynamic networks tell the operator's routers what lies behind them.
type ZoneBGP struct {
	// ASNs that the numbers of networks without an asn are allocated from: `64512` or `"65000-65099"`.
	ASNs []IDRange `yaml:"asns"`
	// Peers that each such router speaks with.
	Peers []BGPPeer `yaml:"peers" weft:"required,unique=name"`
}

// BGPPeer is a router of the operator's.
type BGPPeer struct {
	At Pos32 `yaml:"-"`
	// Name of the peer, unique in the zone.
	Name string `yaml:"name" weft:"required,format=name"`
	// Address that it speaks at: both families are told over it.
	Address netip.Addr `yaml:"address" weft:"required"`
	// ASN is its autonomous system.
	ASN int `yaml:"asn" weft:"required,min=1,max=4294967294"`
	// Password of the session (TCP MD5): one word of up to 80 characters.
	Password *Secret `yaml:"password"`
	// Multihop is how many hops away it may be; 1: on a public network of the router.
	Multihop int `yaml:"multihop" weft:"min=1,max=255,default=1"`
	// Keepalive is the time between two signs of life.
	Keepalive Duration `yaml:"keepalive" weft:"default=20s"`
	// HoldTime after which a silent peer is taken for gone: at least three times keepalive.
	HoldTime Duration `yaml:"holdTime" weft:"default=60s"`
}

// maxHold is what the protocol has room for, in seconds.
const maxHold = 65535

// bgp checks how a zone's routers speak BGP.
func (c *checker) bgp(z *ZoneBGP) {
	if z == nil {
		return
	}
	for i, r := range z.ASNs {
		if r.To == 1<<32-1 {
			c.errorf(at("bgp", "asns", i), "out-of-range", "%s is no range of AS numbers", r).Hintf("1 to 4294967294")
		}
	}
	seen := map[netip.Addr]int{}
	for i := range z.Peers {
		p := &z.Peers[i]
		if j, twice := seen[p.Address]; twice && p.Address.IsValid() {
			c.errorf(at("bgp", "peers", i, "address"), "duplicate-item", "two peers have the address %s", p.Address).See(c.pos("bgp", "peers", j, "address"), "the other peer")
		} else {
			seen[p.Address] = i
		}
		if p.Address.IsValid() && (p.Address.IsUnspecified() || p.Address.IsMulticast() || p.Address.IsLoopback() || p.Address.IsLinkLocalUnicast()) {
			c.errorf(at("bgp", "peers", i, "address"), "bad-address", "%s is no address of a router", p.Address)
		}
		keep, hold := p.Keepalive, p.HoldTime
		switch {
		case keep < time.Second || keep%time.Second != 0 || hold%time.Second != 0:
			c.errorf(at("bgp", "peers", i), "bad-duration", "keepalive and holdTime are whole seconds")
		case hold < 3*keep || hold > maxHold*time.Second:
			c.errorf(at("bgp", "peers", i), "bad-duration", "holdTime %s is not at least three times keepalive %s, and at most %d s", hold, keep, maxHold)
		}
	}
}
