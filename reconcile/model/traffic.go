package model

import (
	"net/netip"
	"slices"

	"weft.dev/schema"
)

// TrafficTypes are those of physical networks, and that which needs none.
const (
	TrafficManagement = "Management"
	TrafficStorage    = "Storage"
	TrafficControl    = "Control"
)

// Label is that of a traffic type, or "".
func (p *PhysicalNetwork) Label(traffic string) string {
	switch traffic {
	case "Guest":
		return p.Guest
	case "Public":
		return p.Public
	case TrafficManagement:
		return p.Management
	case TrafficStorage:
		return p.Storage
	}
	return ""
}

// Labels lists the labels of all traffic types, without repeats.
func (p *PhysicalNetwork) Labels() []string {
	var out []string
	for _, l := range []string{p.Guest, p.Public, p.Management, p.Storage} {
		if l != "" && !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

// storageVLAN is a VLAN that Storage traffic has on a wire.
type storageVLAN struct {
	on *PhysicalNetwork
	at schema.Pos32
}

func (s storageVLAN) pos() schema.Pos { return s.on.Doc.PosOf(s.at) }

// storageVLANs notes on each wire which VLANs Storage traffic has.
func (z *Zone) storageVLANs() {
	for _, p := range z.Physical {
		w := z.wires[p.Storage]
		for i := range p.Spec.StorageRanges {
			r := &p.Spec.StorageRanges[i]
			if _, ok := w.vlanOfStorage(r.VLAN.ID); w != nil && r.VLAN.ID != 0 && !ok {
				w.storage[r.VLAN.ID] = storageVLAN{p, r.At}
			}
		}
	}
}

func (w *wire) vlanOfStorage(id uint32) (storageVLAN, bool) {
	if w == nil {
		return storageVLAN{}, false
	}
	s, ok := w.storage[id]
	return s, ok
}

// ground is a network of the hosts or of the internet, whose addresses are not
// guests': what is reserved of it nobody else may have.
type ground struct {
	what    string // "public range internet"
	doc     *schema.Document
	path    string // before cidr, gateway and ranges
	cidr    netip.Prefix
	gateway netip.Addr
	ranges  []schema.IPRange
	label   string
	vlan    uint32
	pod     bool
}

func (g *ground) at(field string) schema.Pos { return g.doc.At(g.path + field) }

// reserved holds that the networks of the hosts (management, storage) and the
// public ones do not get into each other's way, and that no host has an address
// that is reserved.
func (b *builder) reserved() {
	for _, name := range b.zoneNames {
		z := b.parts[name]
		b.storagePods(z)
		list := z.grounds()
		for i := range list {
			for j := range i {
				b.distinct(&list[i], &list[j])
			}
			b.hostsOutside(z, &list[i])
			if g := &list[i]; g.pod && z.Spec.GuestCIDR.IsValid() && g.cidr.Overlaps(z.Spec.GuestCIDR) {
				b.diags.Errorf(g.at("cidr"), "overlapping-cidr", "%s of %s overlaps %s, which guests of zone %s get", g.cidr, g.what, z.Spec.GuestCIDR, z.Name).
					Offending(g.cidr.String()).See(z.Doc.At("spec.guestCIDR"), "the zone's guestCIDR")
			}
		}
		b.storageOnWires(z)
	}
}

// storagePods holds that storage ranges name pods of their zone.
func (b *builder) storagePods(z *Zone) {
	for _, p := range z.Physical {
		for i := range p.Spec.StorageRanges {
			name := p.Spec.StorageRanges[i].Pod
			if pod := b.site.pods[name]; pod != nil && slices.Contains(z.Pods, pod) || b.site.Invalid[schema.ID{Kind: schema.KindPod, Name: name}] != "" {
				continue
			}
			unknown(&b.diags, d2(p.Doc, "spec.storageRanges", i, "pod"), "pod", name, podNames(z))
		}
	}
}

// grounds lists the public ranges, pods and storage ranges of a zone.
func (z *Zone) grounds() []ground {
	var out []ground
	for _, r := range z.Ranges {
		out = append(out, ground{"public range " + r.Name, r.Doc, "spec.", r.Spec.CIDR, r.Spec.Gateway, r.Spec.Ranges, r.Physical.Public, r.Spec.VLAN.ID, false})
	}
	for _, d := range z.Pods {
		s, _ := d.Spec.(*schema.Pod)
		out = append(out, ground{"pod " + d.Meta.Name, d, "spec.", s.CIDR, s.Gateway, s.Ranges, "", 0, true})
	}
	for _, p := range z.Physical {
		for i := range p.Spec.StorageRanges {
			r := &p.Spec.StorageRanges[i]
			out = append(out, ground{"the storage range of pod " + r.Pod + " on " + p.Name, p.Doc, path1("spec.storageRanges", i) + ".", r.CIDR, r.Gateway, r.Ranges, p.Storage, r.VLAN.ID, false})
		}
	}
	return out
}

// distinct holds that two networks overlap only where they are one: then their
// ranges do not. Public ranges, and pods, are compared with their like elsewhere.
func (b *builder) distinct(g, o *ground) {
	public := func(x *ground) bool { return !x.pod && x.path == "spec." }
	switch {
	case !g.cidr.Overlaps(o.cidr), g.pod && o.pod, public(g) && public(o):
		return
	case g.cidr.Masked() != o.cidr.Masked() || g.gateway.IsValid() && o.gateway.IsValid() && g.gateway != o.gateway:
		b.diags.Errorf(g.at("cidr"), "overlapping-cidr", "%s of %s overlaps %s of %s, but with another size or gateway", g.cidr, g.what, o.cidr, o.what).
			Offending(g.cidr.String()).See(o.at("cidr"), "%s", o.what).Hintf("ranges of one network have equal cidr and gateway")
		return
	}
	for i, x := range g.ranges {
		for j, y := range o.ranges {
			if x.Overlaps(y) {
				b.diags.Errorf(g.doc.At(path1(g.path+"ranges", i)), "overlapping-range", "the addresses %s of %s overlap %s of %s", x, g.what, y, o.what).
					Offending(x.String()).See(o.doc.At(path1(o.path+"ranges", j)), "%s", o.what)
			}
		}
	}
}

// hostsOutside holds that what is reserved is no address of a host.
func (b *builder) hostsOutside(z *Zone, g *ground) {
	for _, h := range z.Hosts {
		for i := range h.Spec.Bridges {
			ip := h.Spec.Bridges[i].Address.Addr()
			j := slices.IndexFunc(g.ranges, func(r schema.IPRange) bool { return ip.IsValid() && r.Contains(ip) })
			if j < 0 {
				continue
			}
			b.diags.Errorf(d2(h.Doc, "spec.bridges", i, "address"), "address-reserved", "the address %s of host %s lies in %s of %s, which is reserved", ip, h.Name, g.ranges[j], g.what).
				Offending(h.Spec.Bridges[i].Address.String()).See(g.doc.At(path1(g.path+"ranges", j)), "the range")
		}
	}
}

// storageOnWires holds that Storage traffic and public ranges of one wire have
// different VLANs.
func (b *builder) storageOnWires(z *Zone) {
	for _, p := range z.Physical {
		for i := range p.Spec.StorageRanges {
			r := &p.Spec.StorageRanges[i]
			k := slices.IndexFunc(z.Ranges, func(x *PublicRange) bool {
				return x.Physical.Public == p.Storage && x.Spec.VLAN.ID == r.VLAN.ID && r.VLAN.ID != 0
			})
			if k >= 0 {
				b.diags.Errorf(d2(p.Doc, "spec.storageRanges", i, "vlan"), "vlan-taken", "%s is that of public range %s on the same wire", r.VLAN, z.Ranges[k].Name).
					Offending(r.VLAN.String()).See(z.Ranges[k].Doc.At("spec.vlan"), "the range")
			}
		}
	}
}
