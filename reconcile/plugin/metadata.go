package plugin

import (
	"net/netip"
	"strings"

	"weft.dev/reconcile/model"
)

// A Datum is one thing that a guest may ask about itself.
type Datum struct{ Key, Value string }

// MetaData is what a guest may ask about itself, by CloudStack's keys in their order:
// in n, whose router is r, or nil where n has none.
func MetaData(n *model.Network, r *model.Router, nic *model.NIC) []Datum {
	id := InstanceID(nic)
	data := make([]Datum, 0, 9)
	add := func(key, value string) { data = append(data, Datum{key, value}) }
	add("availability-zone", n.Zone.Name)
	add("cloud-identifier", "CloudStack-{"+n.Zone.Name+"}")
	add("instance-id", id)
	add("local-hostname", nic.Hostname)
	if nic.IP.IsValid() {
		add("local-ipv4", nic.IP.String())
	}
	add("public-hostname", nic.Hostname)
	if nic.IP.IsValid() {
		add("public-ipv4", seenAs(r, nic).String())
	}
	if list := nic.VMSpec.SSHKeys; len(list) > 0 {
		add("public-keys", strings.Join(list, "\n"))
	}
	add("vm-id", id)
	return data
}

// InstanceID is what a guest is known by: what it does once per instance, it does
// again for another ID only.
func InstanceID(nic *model.NIC) string { return nic.VM.Meta.Name + "." + nic.VM.Meta.Account }

// seenAs is the address that the world sees a guest by: its own public one, else
// that of source NAT, else its own.
func seenAs(r *model.Router, nic *model.NIC) netip.Addr {
	if r == nil {
		return nic.IP
	}
	for _, ip := range r.IPs {
		if ip.StaticNAT == nic && ip.StaticTo == nic.IP {
			return ip.Addr
		}
	}
	if r.SourceNAT.IsValid() {
		return r.SourceNAT
	}
	return nic.IP
}
