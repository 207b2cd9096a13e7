package ovs

import (
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/plugin/pipeline"
	"weft.dev/schema"
)

// share leaves it to the host to tie the ports together: other networks may have
// ports in the same broadcast domain.
func (d *draft) share(need *plugin.Needs) {
	for _, sym := range d.ports {
		need.Segments = append(need.Segments, plugin.SegmentNeed{Segment: d.seg, Port: sym})
	}
	if len(d.ports) > 0 {
		d.out.Flow(d.host.Name, d.made)
	}
}

// isolation is how guests of the network are in a private VLAN. Its router is
// promiscuous: all of them are to reach it.
func (d *draft) isolation() pipeline.Isolation {
	p := d.n.Spec.PVLAN
	if p == nil || d.on.Secondary == d.on.VNet {
		return pipeline.Isolation{}
	}
	return pipeline.Isolation{Secondary: d.on.Secondary, Community: p.Type == "Community"}
}

// secondary has every host that may have ports of the primary know the secondary
// VLAN of the network: those of other networks are to hear it, wherever they are.
func secondary(n *model.Network, s *model.Segment, seg plugin.Segment, out *plugin.Draft) {
	if s.Secondary == 0 || s.Secondary == s.VNet || s.Scheme != schema.SchemeVLAN {
		return
	}
	for _, h := range n.Zone.Hosts {
		if h.Bridge(seg.Label) != nil {
			need := out.Need(h.Name)
			need.Privates = append(need.Privates, plugin.PrivateNeed{Primary: seg, Secondary: s.Secondary})
		}
	}
}
