//go:build netns

package fw_test

import (
	"net/netip"
	"sync/atomic"
	"testing"

	"weft.dev/plugins/drivers/fw"
	"weft.dev/reconcile/resource"
)

// TestNeverMoreOpen: a firewall changes to and fro, and each time one table opens what
// another closes, and a set gets whom its rule is no more for. A stranger, whom both let
// pass in no state, never passes; a friend always does.
func TestNeverMoreOpen(t *testing.T) {
	friend, stranger := pfx("127.0.0.1/32"), pfx("127.0.0.9/32")
	from := func(p netip.Prefix) resource.Match { return resource.Match{Src: p} }
	for _, v := range variants(t) {
		t.Run(string(v), func(t *testing.T) {
			h := newHost(t)
			ns := space(t, h, 1)
			sh(t, ns, "ip link set lo up; ip addr add 127.0.0.9/8 dev lo")
			d := fw.New(h, fw.WithVariant(v))
			state := func(second bool) []resource.State {
				chain := func(table string, open bool, more ...resource.Rule) resource.Chain {
					c := resource.Chain{NS: ns, Family: 4, Table: table, Name: "INPUT", Policy: "DROP", Rules: []resource.Rule{accept(from(friend), "friend")}}
					if open {
						c.Rules = append(c.Rules, accept(from(stranger), "stranger"))
					}
					c.Rules = append(c.Rules, more...)
					return c
				}
				listed, set := resource.Match{SrcSet: "list"}, resource.AddrSet{NS: ns, Name: "list", Family: 4, Members: []netip.Prefix{friend}}
				if second {
					listed.Proto, set.Members = "tcp", []netip.Prefix{stranger}
				}
				return []resource.State{set, chain("mangle", second), chain("filter", !second, accept(listed, "listed"))}
			}
			do(t, d, steps(false, state(false)...))

			var stop atomic.Bool
			result := make(chan error, 1)
			go func() { result <- h.In(ns, func() error { return speak(friend.Addr(), stranger.Addr(), &stop) }) }()
			for i := range 40 {
				do(t, d, steps(false, state(i%2 == 0)...))
			}
			stop.Store(true)
			if err := <-result; err != nil {
				t.Error(err)
			}
			same(t, d, set(state(false)...))
		})
	}
}
