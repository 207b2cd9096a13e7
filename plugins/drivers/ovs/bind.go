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
	nic    map[string]int // by iface-id
	mac    map[string]int // by attached-mac
}

func newBinder(b *bridge) *binder {
	x := &binder{bridge: b.Name, links: b.links, nic: map[string]int{}, mac: map[string]int{}}
	// The first by name of several holds.
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(b.links))) {
		l := b.links[name]
		n, ok := plugged(l)
		if !ok {
			continue
		}
		if id := l.ExternalIDs[keyIfaceID]; id != "" {
			x.nic[id] = n
		}
		if mac := l.ExternalIDs[keyMAC]; mac != "" {
			x.mac[strings.ToLower(mac)] = n
		}
	}
	return x
}

// number returns the port number of a symbol, 0 while it has none.
func (x *binder) number(sym string) int {
	if name, ok := strings.CutPrefix(sym, resource.PortSym("")); ok {
		if name == x.bridge {
			return localPort
		}
		if l := x.links[name]; l != nil {
			n, _ := plugged(l)
			return n
		}
		return 0
	}
	nic, ok := strings.CutPrefix(sym, "nic:")
	if !ok {
		return 0
	}
	cut := strings.LastIndexByte(nic, ',')
	if cut < 0 {
		return 0
	}
	if n := x.nic[nic[:cut]]; cut > 0 && n != 0 {
		return n
	}
	return x.mac[strings.ToLower(nic[cut+1:])]
}

// bind resolves every symbol that the rules name.
func (x *binder) bind(f resource.Flows) map[string]int {
	out := map[string]int{}
	note := func(sym string) {
		if sym != "" {
			out[sym] = x.number(sym)
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
