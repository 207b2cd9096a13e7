package ovs

import (
	"maps"
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
)

// A binder knows the port numbers of one bridge. Ports of any hand count: what
// libvirt plugs in binds as well as what weft does.
type binder struct {
	bridge string
	links  map[string]*interfaceRow
	nic    map[string][]int // by iface-id, in the order of their names
	mac    map[string][]int // by attached-mac
}

func newBinder(b *bridge) *binder {
	x := &binder{bridge: b.Name, links: b.links, nic: map[string][]int{}, mac: map[string][]int{}}
	for _, name := range slices.Sorted(maps.Keys(b.links)) {
		l := b.links[name]
		n, ok := plugged(l)
		if !ok {
			continue
		}
		if id := l.ExternalIDs[keyIfaceID]; id != "" {
			x.nic[id] = append(x.nic[id], n)
		}
		if mac := strings.ToLower(l.ExternalIDs[keyMAC]); mac != "" {
			x.mac[mac] = append(x.mac[mac], n)
		}
	}
	return x
}

// number returns the port number of a symbol, 0 while it has none. Where several
// ports claim one NIC, that keeps it which had it before, else the first by name
// has it: who plugs in another takes nothing away.
func (x *binder) number(sym string, before int) int {
	all := x.claimants(sym)
	switch {
	case len(all) == 0:
		return 0
	case slices.Contains(all, before):
		return before
	}
	return all[0]
}

func (x *binder) claimants(sym string) []int {
	if name, ok := strings.CutPrefix(sym, resource.PortSym("")); ok {
		if name == x.bridge {
			return []int{localPort}
		}
		if l := x.links[name]; l != nil {
			if n, ok := plugged(l); ok {
				return []int{n}
			}
		}
		return nil
	}
	nic, ok := strings.CutPrefix(sym, "nic:")
	if !ok {
		return nil
	}
	cut := strings.LastIndexByte(nic, ',')
	if cut < 0 {
		return nil
	}
	if all := x.nic[nic[:cut]]; cut > 0 && len(all) > 0 {
		return all
	}
	return x.mac[strings.ToLower(nic[cut+1:])]
}

// bind resolves every symbol that the rules name; before are the numbers they had.
func (x *binder) bind(f resource.Flows, before map[string]int) map[string]int {
	out := map[string]int{}
	note := func(sym string) {
		if _, known := out[sym]; sym != "" && !known {
			out[sym] = x.number(sym, before[sym])
		}
	}
	for i := range f.Rules {
		for _, c := range f.Rules[i].Match {
			note(c.Sym)
		}
		for _, a := range f.Rules[i].Do {
			note(a.Sym)
		}
	}
	return out
}

// unbound lists the symbols without a port.
func unbound(bound map[string]int) []string {
	var out []string
	for sym, n := range bound {
		if n == 0 {
			out = append(out, sym)
		}
	}
	slices.Sort(out)
	return out
}
