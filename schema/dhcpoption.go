package schema

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// addressOptions hold nothing but addresses; these are those that dnsmasq, which
// gives them out, knows as such.
var addressOptions = []int{3, 6, 7, 9, 16, 21, 32, 33, 41, 42, 44, 45, 48, 49, 65, 68, 69, 70, 71, 74, 150}

// domainOptions hold domain names, of which the second may hold addresses too.
var domainOptions = []int{119, 120}

// vendorOption is what a vendor's guests understand.
const vendorOption = 43

// domains reports whether v lists domain names, or addresses.
func domains(v string) bool {
	for part := range strings.SplitSeq(v, ",") {
		ip, err := netip.ParseAddr(part)
		name := isDomain(strings.ToLower(part)) && strings.Trim(part, "0123456789.") != ""
		if !name && (err != nil || !ip.Is4()) {
			return false
		}
	}
	return true
}

// dhcpOwn are what DHCP itself says to a guest, and where that comes from.
var dhcpOwn = map[int]string{
	1: "the network's cidr", 28: "the network's cidr", 50: "ip", 51: "the network's leaseTime", 52: "", 53: "", 54: "", 55: "", 56: "", 57: "",
	58: "the network's leaseTime", 59: "the network's leaseTime", 61: "", 81: "hostname", 82: "", 118: "",
}

// dhcpOptions holds that the server can say what a NIC asks for: one that it cannot
// would keep it from starting.
func (c *checker) dhcpOptions(options map[int]string, base []any) {
	if len(options) == 0 {
		return
	}
	for _, n := range slices.Sorted(maps.Keys(options)) {
		value := options[n]
		at := join(base, "dhcpOptions", strconv.Itoa(n))
		if from, own := dhcpOwn[n]; own {
			d := c.errorf(at, "own-option", "option %d is what DHCP itself says to a guest", n)
			if from != "" {
				d.Hintf("%s sets it", from)
			}
			continue
		}
		switch {
		case value == "": // said already
			continue
		case n == vendorOption && strings.Trim(value, "0123456789 ") == "":
			c.errorf(at, "bad-option", "option %d holds bytes or text, and %q is a number", n, value).
				Hintf("write bytes in hexadecimal with colons, such as 05:06")
			continue
		case slices.Contains(domainOptions, n) && !domains(value):
			c.errorf(at, "bad-option", "option %d holds domain names, and %q is none", n, value).Hintf("write such as example.com,example.net")
			continue
		}
		list := slices.Contains(addressOptions, n)
		if !list && !addressLike(value) || slices.Contains(domainOptions, n) {
			continue
		}
		for part := range strings.SplitSeq(value, ",") {
			if ip, err := netip.ParseAddr(part); err == nil && ip.Is4() {
				continue
			}
			if p, err := netip.ParsePrefix(part); err == nil && p.Addr().Is4() && !list {
				continue
			}
			if list {
				c.errorf(at, "bad-option", "option %d holds IPv4 addresses, and %q is none", n, part).Hintf("write such as 10.1.1.5,10.1.1.6")
			} else {
				c.errorf(at, "bad-option", "%q is no IPv4 address, and the value of option %d would be a list of addresses", part, n).
					Hintf("write bytes in hexadecimal with colons, such as 05:06")
			}
			break
		}
	}
}

// addressLike reports whether dnsmasq takes a value for a list of addresses: it has
// digits, dots, slashes, commas and spaces only, and is no mere number.
func addressLike(v string) bool {
	return strings.Trim(v, "0123456789./, ") == "" && strings.ContainsAny(v, "./, ")
}
