package virtualrouter

import (
	"net/netip"
	"slices"
	"testing"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/reach"
)

// TestPackets sends the first packets of connections through the rules: nothing
// is more open than a document says, whatever the wire brings.
func TestPackets(t *testing.T) {
	const guest, public = "eth0", "eth1"
	for _, x := range []sent{
		{"static NAT, as the firewall says", "full", public, "192.0.2.9", "203.0.113.21", "tcp", 25, "10.1.1.11:25"},
		{"not opened there", "full", public, "192.0.2.9", "203.0.113.21", "tcp", 26, ""},
		{"opened there for another protocol", "full", public, "192.0.2.9", "203.0.113.21", "udp", 25, ""},
		{"ping by those who may", "full", public, "192.0.2.9", "203.0.113.21", "icmp", 8, "10.1.1.11:8"},
		{"ping by others", "full", public, "192.0.3.9", "203.0.113.21", "icmp", 8, ""},
		{"another type of ICMP", "full", public, "192.0.2.9", "203.0.113.21", "icmp", 13, ""},
		{"a forward", "full", public, "192.0.2.9", "203.0.113.22", "tcp", 80, "10.1.1.11:80"},
		{"a forward to another port", "full", public, "198.51.100.9", "203.0.113.22", "tcp", 2222, "10.1.1.12:22"},
		{"opened, but the forward is for others", "full", public, "192.0.2.9", "203.0.113.22", "tcp", 2222, ""},
		{"the port behind a forward", "full", public, "198.51.100.9", "203.0.113.22", "tcp", 22, ""},
		{"ping of an address that forwards", "full", public, "192.0.2.9", "203.0.113.22", "icmp", 8, ""},
		{"the source NAT address", "full", public, "192.0.2.9", "203.0.113.20", "tcp", 80, ""},
		{"the resolver from outside", "full", public, "192.0.2.9", "203.0.113.20", "udp", 53, ""},
		{"a guest's own address from outside", "full", public, "192.0.2.9", "10.1.1.11", "tcp", 25, ""},
		{"the router's inner address from outside", "full", public, "192.0.2.9", "10.1.1.1", "udp", 53, ""},
		{"an address of somebody else", "full", public, "192.0.2.9", "203.0.113.77", "tcp", 25, ""},
		{"transit", "full", public, "192.0.2.9", "198.51.100.1", "tcp", 25, ""},
		{"DHCP from outside", "full", public, "0.0.0.0", "255.255.255.255", "udp", 67, ""},

		{"a guest asks the resolver", "full", guest, "10.1.1.12", "10.1.1.1", "udp", 53, "10.1.1.1:53"},
		{"a guest asks at length", "full", guest, "10.1.1.12", "10.1.1.1", "tcp", 53, "10.1.1.1:53"},
		{"a guest asks for a lease", "full", guest, "10.1.1.12", "10.1.1.1", "udp", 67, "10.1.1.1:67"},
		{"a guest pings the gateway", "full", guest, "10.1.1.12", "10.1.1.1", "icmp", 8, "10.1.1.1:8"},
		{"nothing else of the router", "full", guest, "10.1.1.12", "10.1.1.1", "tcp", 22, ""},
		{"who is no guest asks nothing", "full", guest, "10.9.9.9", "10.1.1.1", "udp", 53, ""},
		{"egress that is excepted", "full", guest, "10.1.1.12", "198.51.100.7", "tcp", 443, "198.51.100.7:443"},
		{"egress that is not", "full", guest, "10.1.1.12", "198.51.100.7", "tcp", 25, ""},
		{"egress of one source", "full", guest, "10.1.1.11", "9.9.9.9", "udp", 53, "9.9.9.9:53"},
		{"egress of another", "full", guest, "10.1.1.12", "9.9.9.9", "udp", 53, ""},
		{"egress of an address that is no guest's", "full", guest, "10.9.9.9", "198.51.100.7", "tcp", 443, ""},

		{"hairpin by static NAT", "full", guest, "10.1.1.12", "203.0.113.21", "tcp", 25, "10.1.1.11:25"},
		{"hairpin to oneself", "full", guest, "10.1.1.11", "203.0.113.21", "tcp", 25, "10.1.1.11:25"},
		{"hairpin by a forward", "full", guest, "10.1.1.12", "203.0.113.22", "tcp", 80, "10.1.1.11:80"},
		{"a forward for others", "full", guest, "10.1.1.11", "203.0.113.22", "tcp", 2222, ""},
		{"the router behind its public address", "full", guest, "10.1.1.11", "203.0.113.22", "tcp", 22, ""},

		{"no way out", "no-public", guest, "10.1.1.12", "198.51.100.7", "tcp", 443, ""},
		{"no source NAT, no static NAT", "forwarding-only", guest, "10.1.1.11", "198.51.100.7", "tcp", 443, ""},
		{"static NAT leaves by itself", "static-nat-only", guest, "10.1.1.11", "198.51.100.7", "tcp", 443, "198.51.100.7:443"},
		{"others do not", "static-nat-only", guest, "10.1.1.99", "198.51.100.7", "tcp", 443, ""},
		{"default Allow", "egress-allow", guest, "10.1.1.99", "198.51.100.7", "tcp", 443, "198.51.100.7:443"},
		{"an exception from it", "egress-allow", guest, "10.1.1.99", "198.51.100.7", "tcp", 585, ""},
		{"an exception with a set", "egress-allow", guest, "10.1.1.99", "172.31.0.1", "tcp", 443, ""},
		{"beside the set", "egress-allow", guest, "10.1.1.99", "172.32.0.1", "tcp", 443, "172.32.0.1:443"},
		{"a source in the set", "many-sources", public, "203.0.113.200", "203.0.113.20", "tcp", 8000, ""},
		{"a source in both sets", "many-sources", public, "198.51.100.65", "203.0.113.20", "tcp", 8009, "10.1.1.11:8009"},
		{"IPv6 sources open nothing for IPv4", "many-sources", public, "192.0.2.1", "203.0.113.20", "tcp", 22, ""},
		{"a range moved", "forwards", public, "192.0.2.9", "203.0.113.20", "tcp", 9009, "10.1.1.12:19009"},
		{"its end", "forwards", public, "192.0.2.9", "203.0.113.20", "tcp", 9010, ""},

		{"what is behind a route reaches a public address", "routes", guest, "172.16.3.4", "203.0.113.20", "tcp", 25, "10.1.1.11:25"},
		{"a guest before a route is a guest", "routes", guest, "10.1.1.99", "198.51.100.7", "tcp", 443, "198.51.100.7:443"},
		{"what is behind a route leaves", "routes", guest, "172.16.3.4", "198.51.100.7", "tcp", 443, "198.51.100.7:443"},
		{"a router that is no gateway forwards nothing", "service-only", guest, "10.1.1.11", "198.51.100.7", "tcp", 443, ""},
	} {
		arrives(t, x)
	}
}

// sent is the first packet of a connection, and where it arrives; "" is nowhere.
type sent struct {
	why, network, in, from, to, proto string
	port                              uint16
	arrives                           string
}

func arrives(t *testing.T, x sent) {
	t.Helper()
	from := netip.MustParseAddr(x.from)
	rs := reach.Routers(plugintest.Intent(t, registry, x.network).Fragments)
	i := slices.IndexFunc(rs, func(r *reach.Router) bool { return (r.Family == 4) == from.Is4() })
	if i < 0 {
		t.Fatalf("%s has no router of the family of %s", x.network, from)
	}
	v := rs[i].Send(reach.Packet{In: x.in, Src: from, Dst: netip.MustParseAddr(x.to), Proto: x.proto, Port: x.port})
	got := ""
	if v.Pass {
		got = netip.AddrPortFrom(v.Dst, v.Port).String()
	}
	if got != x.arrives {
		t.Errorf("%s (%s): %s %s to %s port %d arrives at %q, not %q: %s", x.why, x.network, x.proto, x.from, x.to, x.port, got, x.arrives, v.Rule)
	}
}
