package main

import (
	"iter"

	"weft.dev/reconcile/agent"
)

// guestsOf yields the NICs of a tree.
func guestsOf(t *compiled) iter.Seq[agent.Guest] {
	networks := t.Networks()
	return func(yield func(agent.Guest) bool) {
		for _, n := range networks {
			owner := ownerOf(n)
			for _, nic := range n.NICs {
				g := agent.Guest{
					ID: nic.ID, Network: owner, MAC: nic.MAC.String(), Running: nic.Running,
					Down: !nic.Up(), Host: nic.Host, Hosts: nic.Hosts,
				}
				if len(nic.Outside) > 0 {
					g.Hosts = nic.Hosts[:len(nic.Hosts)-len(nic.Outside)]
				}
				if !yield(g) {
					return
				}
			}
		}
	}
}
