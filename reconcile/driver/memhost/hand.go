package memhost

import (
	"maps"
	"slices"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
)

// Set returns what is ours on the host, as it was made.
func (h *Host) Set() resource.Set {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.has)
}

// Load puts a whole world on the host without asking whether it can be there.
func (h *Host) Load(s resource.Set) {
	h.another(func() { h.has = maps.Clone(s) })
}

// Touched lists what steps were done to since the last call.
func (h *Host) Touched() []resource.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.done
	h.done = nil
	return out
}

// another is what another hand does.
func (h *Host) another(f func()) {
	h.mu.Lock()
	f()
	h.epoch++
	tell := slices.Collect(maps.Values(h.watches))
	h.mu.Unlock()
	for _, changed := range tell {
		changed(driver.Scope{})
	}
}

// Restart does what the restart of a daemon does: "vswitchd" loses all flows,
// "host" everything but files and what another server has.
func (h *Host) Restart(what string) {
	h.another(func() {
		maps.DeleteFunc(h.has, func(id resource.ID, _ resource.Entry) bool {
			return what == "host" && id.Kind != resource.KindFile && id.Kind != resource.KindRecord || what == "vswitchd" && id.Kind == resource.KindFlows
		})
	})
}

// Remove takes id and what lies within it away, in use or not.
func (h *Host) Remove(id resource.ID) {
	h.another(func() {
		for g := range h.within(id) {
			delete(h.has, g)
		}
	})
}

// AddForeign puts something of somebody else's where id would stand.
func (h *Host) AddForeign(id resource.ID, words string) {
	h.another(func() { h.foreign[id] = words })
}

// RemoveForeign takes it away again.
func (h *Host) RemoveForeign(id resource.ID) { h.another(func() { delete(h.foreign, id) }) }

// HasForeign reports whether it still stands there.
func (h *Host) HasForeign(id resource.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.foreign[id]
	return ok
}

// Hide makes parts of the host unreadable; none makes it whole again.
func (h *Host) Hide(parts ...resource.Unread) { h.another(func() { h.unread = parts }) }

// Plug plugs a guest's NIC, as a hypervisor does, or unplugs it.
func (h *Host) Plug(nic string, in bool) {
	h.another(func() {
		if in {
			h.plugged[nic] = true
		} else {
			delete(h.plugged, nic)
		}
	})
}

// Corrupt changes a field of one of ours, or takes it away, by another hand. pick
// chooses a number below n. It returns what it did it to; the zero ID on an
// empty host.
func (h *Host) Corrupt(pick func(n int) int) resource.ID {
	var id resource.ID
	h.another(func() {
		ids := h.has.IDs()
		if len(ids) == 0 {
			return
		}
		id = ids[pick(len(ids))]
		h.corrupt(id)
	})
	return id
}

// Spoil changes a field of id by another hand.
func (h *Host) Spoil(id resource.ID) { h.another(func() { h.corrupt(id) }) }

func (h *Host) corrupt(id resource.ID) {
	e, ok := h.has[id]
	if !ok {
		return
	}
	switch s := e.State.(type) {
	case resource.Bridge:
		s.FailMode = "spoilt " + s.FailMode
		e.State = s
	case resource.Port:
		s.MAC = "spoilt " + s.MAC
		e.State = s
	case resource.Tunnel:
		s.DstPort++
		e.State = s
	case resource.Link:
		s.MTU++
		e.State = s
	case resource.BridgePort:
		s.Static = !s.Static
		e.State = s
	case resource.Qdisc:
		s.Mbit++
		e.State = s
	case resource.Sysctl:
		s.Value = "spoilt " + s.Value
		e.State = s
	case resource.Process:
		s.Load++
		e.State = s
	case resource.Record:
		s.TTL++
		e.State = s
	case resource.Chain, resource.AddrSet, resource.Flows, resource.File:
		up, _ := resource.Parent(s)
		e.State = resource.Seen{
			Ident: id, Print: s.Fingerprint(), Up: up, Needed: s.Needs(), Held: resource.Claims(s),
			Drift: "+ a line that is missing\n- a line of another hand",
		}
	case resource.Seen:
		s.Drift += "\n- another line of another hand"
		e.State = s
	default: // NS, Addr and Route are there or not
		for g := range h.within(id) {
			delete(h.has, g)
		}
		return
	}
	h.has[id] = e
}
