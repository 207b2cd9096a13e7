package plugin

import (
	"net/netip"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// AskAddress asks for the address and the routes of a label's bridge, whatever its
// switch: after its uplink lost them, where they are taken over.
func (d *Draft) AskAddress(h *model.Host, b *schema.HostBridge) {
	if !b.Address.IsValid() {
		return
	}
	at := h.Doc.PosOf(b.At)
	addr := resource.Addr{Link: b.Name, Prefix: b.Address}
	if b.Manage == "Takeover" && len(b.Uplinks) > 0 {
		from := resource.LinkID("", b.Uplinks[0])
		addr.After = &from
	}
	id := addr.ID()
	d.Ask(h.Name, addr, at)
	if b.Gateway.IsValid() {
		d.Ask(h.Name, resource.Route{Dst: everywhere(b.Gateway), Via: b.Gateway, Dev: b.Name, From: &id}, at)
	}
	for _, r := range b.Routes {
		d.Ask(h.Name, resource.Route{Dst: r.CIDR.Masked(), Via: r.Via, Dev: b.Name, From: &id}, h.Doc.PosOf(r.At))
	}
}

// Uplink is a link that leads from a label's bridge to the wire: up, and without the
// addresses and routes that the bridge takes over.
func Uplink(b *schema.HostBridge, name string) resource.Link {
	l := resource.Link{Name: name, Up: true}
	if b.Manage != "Takeover" {
		return l
	}
	l.Takeover = &resource.Takeover{Bridge: b.Name, Addresses: []netip.Prefix{b.Address}}
	if b.Gateway.IsValid() {
		l.Takeover.Ways = append(l.Takeover.Ways, resource.Way{Dst: everywhere(b.Gateway), Via: b.Gateway})
	}
	for _, r := range b.Routes {
		l.Takeover.Ways = append(l.Takeover.Ways, resource.Way{Dst: r.CIDR.Masked(), Via: r.Via})
	}
	return l
}

// BridgeMAC is that of a label's bridge which weft makes, locally administered and the
// same for ever, whatever is plugged in: other hosts' tunnels and neighbours keep it
// for minutes.
func BridgeMAC(h *model.Host, label string) string {
	v := resource.Digest("bridge-mac", h.Zone, h.Name, label)
	return schema.MAC{2, byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}.String()
}

// Endpoint is where tunnels end on h: the bridge that has the address, and the
// net.addr where weft makes it; "" where no bridge of h has it.
func Endpoint(h *model.Host) (string, *resource.ID) {
	for i := range h.Spec.Bridges {
		b := &h.Spec.Bridges[i]
		if !b.Address.IsValid() || b.Address.Addr() != h.TunnelIP {
			continue
		}
		if b.Manage == "Use" {
			return b.Name, nil
		}
		id := resource.AddrID("", b.Name, b.Address)
		return b.Name, &id
	}
	return "", nil
}

// everywhere is the destination of a default route of the family of via.
func everywhere(via netip.Addr) netip.Prefix {
	if via.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}
