package model

import (
	"strconv"
)

// vswitches holds that a label is one bridge, of one switch, and that two switches
// of a zone's hosts do not end tunnels on one port.
func (b *builder) vswitches() {
	for _, name := range b.zoneNames {
		z := b.parts[name]
		labels := map[string]*PhysicalNetwork{}
		ends := map[int]*PhysicalNetwork{}
		for _, p := range z.Physical {
			b.vswitchOf(z, p, labels)
			if p.Spec.Isolation != "VXLAN" {
				continue
			}
			port := p.VXLANPort()
			if o := ends[port]; o != nil && o.Spec.VSwitch != p.Spec.VSwitch {
				b.diags.Errorf(p.Doc.At("spec.isolation"), "shared-tunnel-port", "physical networks %s and %s have different switches and the same UDP port %d for VXLAN", o.Name, p.Name, port).
					Offending(strconv.Itoa(port)).See(o.Doc.At("spec.isolation"), "the other one").Hintf("add vxlan: {port: %d} to one of them", port+1)
				b.zoneBroken(name, "physical networks "+o.Name+" and "+p.Name+" share a tunnel port")
			}
			ends[port] = p
		}
		b.vxlanModes(z)
	}
}

func (b *builder) vswitchOf(z *Zone, p *PhysicalNetwork, labels map[string]*PhysicalNetwork) {
	for i := range p.Spec.Traffic {
		t := &p.Spec.Traffic[i]
		if o := labels[t.Label]; o != nil && o.Spec.VSwitch != p.Spec.VSwitch {
			b.diags.Errorf(d2(p.Doc, "spec.traffic", i, "label"), "label-of-two-switches", "label %s is a bridge of %s for physical network %s, and of %s for %s", t.Label, p.Spec.VSwitch, p.Name, o.Spec.VSwitch, o.Name).
				Offending(t.Label).See(nameOf(o.Doc), "the other physical network").Hintf("a label is one bridge: give both the same vswitch, or another label")
			b.zoneBroken(z.Name, "label "+t.Label+" is of two switches")
			continue
		}
		labels[t.Label] = p
	}
}

// VXLANPort is the UDP port that VXLANs of p end on.
func (p *PhysicalNetwork) VXLANPort() int {
	if v := p.Spec.VXLAN; v != nil && v.Port != 0 {
		return int(v.Port)
	}
	return 4789
}
