package plugin

import (
	"fmt"

	"weft.dev/reconcile/model"
)

// A Gate is a port that security groups watch.
type Gate struct {
	NIC    string // account/vm/nic
	Groups *model.Groups
}

// String is what the groups say.
func (g Gate) String() string { return fmt.Sprintf("%s %+v", g.NIC, *g.Groups) }

// Reach says that s, a broadcast domain of n, is seg: for reachability. A NIC that
// does not run, or whose link is down, reaches nobody.
func (d *Draft) Reach(n *model.Network, s *model.Segment, seg Segment) {
	out := Domain{Network: n.ID, Segment: seg, MTU: n.MTU}
	if p := n.Spec.PVLAN; p != nil && s.Secondary != s.VNet {
		out.Private = Private{Secondary: s.Secondary, Community: p.Type == "Community"}
	}
	for _, nic := range s.NICs {
		if !nic.Running || !nic.Up() {
			continue
		}
		out.NICs = append(out.NICs, nic.ID)
		if nic.Groups != nil {
			out.Gates = append(out.Gates, Gate{nic.ID, nic.Groups})
		}
	}
	d.Domains = append(d.Domains, out)
}
