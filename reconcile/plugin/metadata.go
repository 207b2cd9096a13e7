package plugin

import (
	"net/netip"
	"strings"

	"weft.dev/reconcile/model"
)

// MetaData is what a guest may ask about itself, by CloudStack's keys: in n, whose
// router is r, or nil where n has none.
func MetaData(n *model.Network, r *model.Router, nic *model.NIC) map[string]string {
	id := InstanceID(nic)
	keys := map[string]string{
		"availability-zone": n.Zone.Name,
		"cloud-identifier":  "CloudStack-{" + n.Zone.Name + "}",
		"instance-id":       id,
		"local-hostname":    nic.Hostname,
		"public-hostname":   nic.Hostname,
		"vm-id":             id,
	}
	if nic.IP.IsValid() {
		keys["local-ipv4"], keys["public-ipv4"] = nic.IP.String(), seenAs(r, nic).String()
	}
	if list := nic.VMSpec.SSHKeys; len(list) > 0 {
		keys["public-keys"] = strings.Join(list, "\n")
	}
	return keys
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
