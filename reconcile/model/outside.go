package model

import (
	"slices"
	"strings"
)

// outsiders adds the hosts of the zone where the NIC's port was seen, though its VM
// does not name them: what runs there is not cut off. That host knows the others;
// they do not know it before the tree says so.
func (r *resolver) outsiders(n *NIC) {
	for _, h := range r.n.Zone.outside {
		if !strings.Contains(" "+h.Facts.Outside, " "+n.ID+" ") {
			continue
		}
		if slices.Contains(n.Hosts, h.Name) || h.Bridge(r.n.Physical.Guest) == nil {
			continue
		}
		n.Outside = append(n.Outside, h.Name)
		n.Hosts = append(slices.Clip(n.Hosts), h.Name)
	}
}
