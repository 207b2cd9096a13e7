package agent

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// A Guest is one NIC as the tree has it.
type Guest struct {
	ID      string // account/vm/nic
	Network resource.Owner
	MAC     string
	Running bool
	Down    bool     // its link
	Host    string   // where it is expected, "" for any of Hosts
	Hosts   []string // where its port may appear
}

// nicsHere says how the NICs fare that are expected on host or have a port there;
// old tells since when.
func nicsHere(host string, all iter.Seq[Guest], ports []resource.GuestPort, old []status.NIC, now time.Time) []status.NIC {
	byID, byMAC := map[string][]resource.GuestPort{}, map[string][]resource.GuestPort{}
	for _, p := range ports {
		if p.IfaceID != "" {
			byID[p.IfaceID] = append(byID[p.IfaceID], p)
		}
		if p.MAC != "" {
			byMAC[p.MAC] = append(byMAC[p.MAC], p)
		}
	}
	var out []status.NIC
	for g := range all {
		has := byID[g.ID]
		if len(has) == 0 {
			has = byMAC[strings.ToLower(g.MAC)]
		}
		if len(has) == 0 && g.Host != host {
			continue
		}
		out = append(out, nicHere(host, g, has))
	}
	slices.SortFunc(out, func(a, b status.NIC) int { return strings.Compare(a.ID, b.ID) })
	since(out, old, now)
	return out
}

// nicHere judges one NIC by the ports that it has.
func nicHere(host string, g Guest, has []resource.GuestPort) status.NIC {
	n := status.NIC{ID: g.ID, Network: g.Network, Host: g.Host, State: status.NICReserved}
	has = slices.Clone(has)
	slices.SortStableFunc(has, func(a, b resource.GuestPort) int { return compareBool(b.Used, a.Used) })
	for _, p := range has {
		n.Ports = append(n.Ports, p.Port)
	}
	var words []string
	switch {
	case len(has) == 0:
		n.State = status.NICAllocated
		words = append(words, "waits for its port")
		if !g.Running {
			words = []string{"the VM is Stopped"}
		}
	case len(has) > 1:
		n.State = status.NICTwoPorts
		words = append(words, fmt.Sprintf("%s say that they are this NIC; weft changes neither", strings.Join(n.Ports, " and ")))
		if has[0].Used {
			words = append(words, n.Ports[0]+" carries it")
		}
	case !g.Running:
		n.State = status.NICAllocated
		words = append(words, "the VM is Stopped in Git, so its port carries nothing")
	case !slices.Contains(g.Hosts, host):
		n.State = status.NICOutside
		words = append(words, "its VM's hosts are "+strings.Join(g.Hosts, ", "))
		if !has[0].Used {
			words = append(words, "nothing is realised here")
		}
	case g.Host != "" && g.Host != host:
		n.State = status.NICMoved
	case !has[0].Used:
		n.State = status.NICAllocated
		words = append(words, "its port carries nothing yet")
	}
	if g.Down {
		words = append(words, "link: Down")
	}
	n.Message = strings.Join(words, "; ")
	return n
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// since takes over when a state began.
func since(list, old []status.NIC, now time.Time) {
	for i := range list {
		list[i].Since = now
		j, known := slices.BinarySearchFunc(old, list[i].ID, func(n status.NIC, id string) int { return strings.Compare(n.ID, id) })
		if known && old[j].State == list[i].State {
			list[i].Since = old[j].Since
		}
	}
}

// see has the tree compiled anew where a NIC came to this host, or went, that is not
// expected here.
func (a *Agent) see(list []status.NIC) {
	s, ok := a.Compiler.(Seer)
	if !ok {
		return
	}
	if s.See(status.Outside(list)) {
		a.recompile.Store(true)
		select {
		case a.refetch <- struct{}{}:
		default:
		}
	}
}
