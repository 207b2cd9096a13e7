package dns

import (
	"net"
	"net/netip"
	"strings"

	"weft.dev/reconcile/resource"
)

// backup reports whether this host has the router of a pair that is not to tell now:
// with is the address that the primary has.
func (d *Driver) backup(with *resource.ID) bool {
	if with == nil {
		return false
	}
	ns, rest, _ := strings.Cut(with.Name, "/")
	_, prefix, _ := strings.Cut(rest, "/")
	want, err := netip.ParsePrefix(prefix)
	if err != nil {
		return true
	}
	there := false
	err = d.host.In(ns, func() error {
		list, err := net.InterfaceAddrs()
		for _, a := range list {
			has, err := netip.ParsePrefix(a.String())
			there = there || err == nil && has == want
		}
		return err
	})
	return err != nil || !there // without a namespace it is no primary
}

// waits returns backup of a record's router, asked once for each among the desired.
func (d *Driver) waits(desired resource.Set) func(resource.Record) bool {
	known := map[resource.ID]bool{}
	for _, e := range desired {
		if r, ok := e.State.(resource.Record); ok && r.With != nil {
			if _, asked := known[*r.With]; !asked {
				known[*r.With] = d.backup(r.With)
			}
		}
	}
	return func(r resource.Record) bool { return r.With != nil && known[*r.With] }
}
