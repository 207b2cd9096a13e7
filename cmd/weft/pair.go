package main

import (
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/pair"
	"weft.dev/reconcile/status"
)

// rolesOn reads what the routers of pairs on h became.
func rolesOn(h *host.Host) func(ns string) []status.Role {
	return func(ns string) []status.Role {
		list, err := pair.Read(h.Kept(ns + "/keepalived"))
		if err != nil {
			return nil // torn: it begins anew with the next change
		}
		out := make([]status.Role, len(list))
		for i, c := range list {
			out[i] = status.Role{State: string(c.State), Since: c.Time}
		}
		return out
	}
}
