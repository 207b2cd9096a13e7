package model

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Told is one record that an external DNS server has of a machine.
type Told struct {
	Zone  string // of the server
	Name  string
	Type  string // A | AAAA | PTR
	Value string
}

// Told lists what is told of a NIC of n: nothing while its machine does not run.
func (n *Network) Told(c *NIC) []Told {
	if n.Published == nil || !c.Running {
		return nil
	}
	p := n.Published
	name := c.Hostname + "." + n.Domain
	var out []Told
	for _, a := range []netip.Addr{c.IP, c.IP6} {
		if !a.IsValid() {
			continue
		}
		kind := "A"
		if a.Is6() {
			kind = "AAAA"
		}
		out = append(out, Told{p.Domain, name, kind, a.String()})
		if zone := reverseZone(p.Provider.Spec.Reverse, a); zone != "" {
			out = append(out, Told{zone, reverseName(a), "PTR", name})
		}
	}
	return out
}

// reverseZone is the zone of the longest of nets that a is in, "" without one.
func reverseZone(nets []netip.Prefix, a netip.Addr) string {
	var in netip.Prefix
	for _, p := range nets {
		if p.Contains(a) && (!in.IsValid() || p.Bits() > in.Bits()) {
			in = p
		}
	}
	if !in.IsValid() {
		return ""
	}
	labels := strings.Split(reverseName(in.Addr()), ".")
	step := 8
	if a.Is6() {
		step = 4
	}
	return strings.Join(labels[(a.BitLen()-in.Bits())/step:], ".")
}

// reverseName is where the name of an address is looked up.
func reverseName(a netip.Addr) string {
	var labels []string
	last := "in-addr"
	if a.Is4() {
		for _, b := range a.AsSlice() {
			labels = append(labels, strconv.Itoa(int(b)))
		}
	} else {
		last = "ip6"
		labels = strings.Split(hex.EncodeToString(a.AsSlice()), "")
	}
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "." + last + ".arpa"
}
