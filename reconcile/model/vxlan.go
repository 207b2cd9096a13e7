package model

// Modes are how a host finds the other ends of a VXLAN, as a document has them.
const (
	Unicast   = "Unicast"
	Multicast = "Multicast"
	EVPN      = "EVPN"
)

// VXLANMode is how the hosts of p find each other, "" where p has no VXLANs.
func (p *PhysicalNetwork) VXLANMode() string {
	switch v := p.Spec.VXLAN; {
	case p.Spec.Isolation != "VXLAN":
		return ""
	case v == nil || v.Mode == "":
		return Unicast
	default:
		return v.Mode
	}
}

// vxlanModes holds that where routing daemons say what is behind the VXLANs of a
// zone's hosts, nobody else does: such a daemon takes all that it finds.
func (b *builder) vxlanModes(z *Zone) {
	var first *PhysicalNetwork
	for _, p := range z.Physical {
		if p.Spec.VSwitch != "LinuxBridge" || p.VXLANMode() == "" {
			continue
		}
		if first == nil {
			first = p
			continue
		}
		if one, other := first.VXLANMode(), p.VXLANMode(); one != other && (one == EVPN || other == EVPN) {
			b.diags.Errorf(p.Doc.At("spec.isolation"), "two-vxlan-modes", "physical network %s has VXLANs of mode %s, and %s of mode %s: a host's routing daemon takes them all", p.Name, other, first.Name, one).
				Offending("VXLAN").See(first.Doc.At("spec.isolation"), "the other one").Hintf("give both the same vxlan.mode")
			b.zoneBroken(z.Name, "the hosts' routing daemons would take VXLANs that are not theirs")
		}
	}
}
