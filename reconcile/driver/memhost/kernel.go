package memhost

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
)

// The longest names, as Linux, iptables, ipset and DNS have them.
const (
	longestLink  = 15
	longestChain = 28
	longestSet   = 31

	longestLabel  = 63
	longestDomain = 253
)

// make puts e on the host or says why it cannot be there.
func (h *Host) make(e resource.Entry) error {
	st, id := e.State, e.State.ID()
	if err := names(st); err != nil {
		return fmt.Errorf("make %s: %w", id, err)
	}
	if words, ok := h.foreign[id]; ok {
		return fmt.Errorf("make %s: it exists and is not ours: %s", id, words)
	}
	if h.hidden(id, st) {
		return fmt.Errorf("make %s: this part of the host does not answer", id)
	}
	for _, r := range resource.Requires(st) {
		_, foreign := h.foreign[r]
		if _, ok := h.has[r]; !ok && !foreign && r != id {
			return fmt.Errorf("make %s: %s does not exist", id, r)
		}
	}
	for _, c := range resource.Claims(st) {
		for other, o := range h.has {
			if other != id && slices.Contains(resource.Claims(o.State), c) {
				return fmt.Errorf("make %s: %s is held by %s", id, c, other)
			}
		}
	}
	if err := h.plugs(st); err != nil {
		return fmt.Errorf("make %s: %w", id, err)
	}
	if old, ok := h.has[id]; ok {
		if err := fixed(old.State, st); err != nil {
			return fmt.Errorf("change %s: %w", id, err)
		}
	}
	h.has[id] = e
	return nil
}

// plugs refuses a port in what is no bridge, and a bridge in another.
func (h *Host) plugs(st resource.State) error {
	p, ok := st.(resource.BridgePort)
	if !ok {
		return nil
	}
	if l, ok := h.has[resource.LinkID("", p.Bridge)].State.(resource.Link); ok && l.Bridge == nil && l.Sort() != "" {
		return fmt.Errorf("%s is no bridge", p.Bridge)
	}
	if l, ok := h.has[resource.LinkID("", p.Name)].State.(resource.Link); ok && l.Bridge != nil {
		return fmt.Errorf("%s is a bridge itself", p.Name)
	}
	return nil
}

// fixed refuses to change in place what cannot be.
func fixed(was, will resource.State) error {
	if _, ok := was.(resource.Seen); ok {
		return nil // written as a whole
	}
	old := was.Fields()
	for i, f := range will.Fields() {
		if f.Fixed && i < len(old) && old[i].Value != f.Value {
			return fmt.Errorf("%s cannot change from %q to %q in place", f.Name, old[i].Value, f.Value)
		}
	}
	return nil
}

func names(st resource.State) error {
	longest := func(what, name string, limit int) error {
		if name == "" || len(name) > limit {
			return fmt.Errorf("%s name %q: must have 1 to %d bytes", what, name, limit)
		}
		if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("/:%", r) }) {
			return fmt.Errorf("%s name %q: has a character that no such name has", what, name)
		}
		return nil
	}
	switch s := st.(type) {
	case resource.Bridge:
		return longest("bridge", s.Name, longestLink)
	case resource.Port:
		return longest("port", s.Name, longestLink)
	case resource.Tunnel:
		return longest("tunnel", s.Name, longestLink)
	case resource.Link:
		if s.Host != "" {
			if err := longest("link", s.Host, longestLink); err != nil {
				return err
			}
		}
		return longest("link", s.Name, longestLink)
	case resource.BridgePort:
		if s.Name == "" {
			return nil
		}
		return longest("port", s.Name, longestLink)
	case resource.Chain:
		return longest("chain", s.Name, longestChain)
	case resource.AddrSet:
		return longest("set", s.Name, longestSet)
	case resource.Record:
		return record(s)
	}
	return nil
}

// drop removes id and what lies within it. What is gone already is no error.
func (h *Host) drop(id resource.ID) error {
	if words, ok := h.foreign[id]; ok {
		return fmt.Errorf("drop %s: it is not ours: %s", id, words)
	}
	e, ok := h.has[id]
	if !ok {
		return nil
	}
	if h.hidden(id, e.State) {
		return fmt.Errorf("drop %s: this part of the host does not answer", id)
	}
	going := h.within(id)
	for other, o := range h.has {
		if going[other] {
			continue
		}
		for _, n := range h.inForce(o.State).Needs() {
			if going[n] {
				return fmt.Errorf("drop %s: %s is used by %s", id, n, other)
			}
		}
	}
	for g := range going {
		delete(h.has, g)
	}
	return nil
}

// within is id and all that vanishes with it.
func (h *Host) within(id resource.ID) map[resource.ID]bool {
	children := map[resource.ID][]resource.ID{}
	for other, o := range h.has {
		if up, ok := resource.Parent(h.inForce(o.State)); ok {
			children[up] = append(children[up], other)
		}
	}
	going := map[resource.ID]bool{}
	work := []resource.ID{id}
	for len(work) > 0 {
		next := work[0]
		work = work[1:]
		if !going[next] {
			going[next] = true
			work = append(work, children[next]...)
		}
	}
	return going
}

// record refuses what has no place in a message of DNS, or is not of its zone.
func record(r resource.Record) error {
	name := func(s string) error {
		for label := range strings.SplitSeq(s, ".") {
			if label == "" || len(label) > longestLabel || len(s) > longestDomain {
				return fmt.Errorf("%q is no name of DNS", s)
			}
		}
		return nil
	}
	if err := name(r.Name); err != nil {
		return err
	}
	if r.Name != r.Zone && !strings.HasSuffix(r.Name, "."+r.Zone) {
		return fmt.Errorf("%s is not in the zone %s", r.Name, r.Zone)
	}
	for _, v := range r.Values {
		addr, err := netip.ParseAddr(v)
		switch {
		case r.Type == "PTR":
			err = name(v)
		case err == nil && addr.Is4() != (r.Type == "A"):
			err = fmt.Errorf("%s is no value of type %s", v, r.Type)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
