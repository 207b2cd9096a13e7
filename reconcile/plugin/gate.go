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

// Gates lists those of the running NICs.
func Gates(nics []*model.NIC) []Gate {
	var out []Gate
	for _, n := range nics {
		if n.Running && n.Groups != nil {
			out = append(out, Gate{n.ID, n.Groups})
		}
	}
	return out
}
