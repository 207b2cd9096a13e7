package schema

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ServiceProvider is something outside of weft that networks are told to: a DNS server.
type ServiceProvider struct {
	// Type: `Dns`, a server that takes updates (RFC 2136).
	Type string `yaml:"type" weft:"required,enum=Dns|Ovn,laterenum=Ovn" instead:"no element talks to an OVN controller: use PhysicalNetworks with an isolation"`
	// Zone of the networks that may name it; may be left out where the tree has one zone.
	Zone string `yaml:"zone" weft:"format=name"`
	// Endpoint of the server: `udp:10.0.0.53:53` or `tcp:...`, or a name instead of the address, which the hosts ask the zone's internalDNS
	// for. Zones are read by TCP at the same port.
	Endpoint string `yaml:"endpoint" weft:"required,format=endpoint"`
	// Domains are zones of the server in which names are told; the longest one that a network's domain lies in is taken.
	Domains []string `yaml:"domains" weft:"required,format=domain"`
	// Reverse are the networks whose reverse zones the server has: 10.1.0.0/16 is `1.10.in-addr.arpa`; absent: no PTR.
	Reverse []netip.Prefix `yaml:"reverse"`
	// TTL of what is told.
	TTL Duration `yaml:"ttl" weft:"default=60s"`
	// TSIG is the key that updates and transfers are signed with; absent: the server lets the hosts in by their addresses.
	TSIG *TSIG `yaml:"tsig"`
	// TLS towards a server that is spoken to by it.
	TLS *ProviderTLS `yaml:"tls" later:"providers that are spoken to by TLS"`
}

// ProviderTLS is how a ServiceProvider is spoken to by TLS.
type ProviderTLS struct {
	At Pos32 `yaml:"-"`
	// Certificate of its authority, PEM.
	Certificate string `yaml:"certificate" weft:"format=certificate"`
}

// TSIG is a key that a DNS server knows too (RFC 8945).
type TSIG struct {
	At Pos32 `yaml:"-"`
	// Name of the key.
	Name string `yaml:"name" weft:"required,format=domain"`
	// Algorithm of the key.
	Algorithm string `yaml:"algorithm" weft:"enum=hmac-sha256|hmac-sha384|hmac-sha512,default=hmac-sha256"`
	// PSK is the key in base64, as tsig-keygen writes it.
	PSK *Secret `yaml:"psk" weft:"required"`
}

// maxTTL is for how long resolvers keep an answer at most, whatever it says (RFC 8767, 4).
const maxTTL = 7 * 24 * time.Hour

func (c *checker) serviceProvider(s *ServiceProvider) {
	if s.Domains != nil && len(s.Domains) == 0 {
		c.errorf(at("domains"), "empty-value", "the list is empty").Hintf("state at least one domain")
	}
	for i, d := range s.Domains {
		if j := slices.Index(s.Domains, d); j < i {
			c.errorf(at("domains", i), "duplicate-item", "the domain %s is there twice", d).See(c.pos("domains", j), "the first")
		}
	}
	for i, p := range s.Reverse {
		if !p.IsValid() {
			continue
		}
		step := 8
		if p.Addr().Is6() {
			step = 4
		}
		switch j := slices.Index(s.Reverse, p); {
		case p.Bits() == 0 || p.Bits()%step != 0 || p.Bits() == p.Addr().BitLen():
			c.errorf(at("reverse", i), "bad-cidr", "%s is no reverse zone", p).Hintf("IPv4: a /8, /16 or /24; IPv6: a multiple of 4 bits")
		case j < i:
			c.errorf(at("reverse", i), "duplicate-item", "%s is there twice", p).See(c.pos("reverse", j), "the first")
		}
	}
	if s.TTL < time.Second || s.TTL%time.Second != 0 || s.TTL > Duration(maxTTL) {
		c.errorf(at("ttl"), "bad-duration", "ttl is whole seconds, from 1s to 168h")
	}
}

func isEndpoint(s string) bool {
	network, address, _ := strings.Cut(s, ":")
	if network != "udp" && network != "tcp" {
		return false
	}
	if a, err := netip.ParseAddrPort(address); err == nil {
		return address == a.String() && a.Port() > 0 && a.Addr().Zone() == "" && !a.Addr().Is4In6() && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast()
	}
	name, port, _ := strings.Cut(address, ":")
	n, err := netip.ParseAddrPort("0.0.0.0:" + port)
	last := name[strings.LastIndexByte(name, '.')+1:]
	return err == nil && n.Port() > 0 && n.String() == "0.0.0.0:"+port && isNetworkDomain(name) && strings.Trim(last, "0123456789") != ""
}
