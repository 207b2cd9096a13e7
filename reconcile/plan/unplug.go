package plan

import (
	"strings"

	"weft.dev/reconcile/resource"
)

// unplug pulls the ports of links that go from a namespace before its packet filter
// changes. The new rules know nothing of these links: what still came in by one would meet
// none of those that were about it.
func (s *steps) unplug() {
	chains := map[string][]int{} // steps that write them, by namespace
	for _, n := range s.d.list {
		if n.id.Kind == resource.KindChain && n.mk >= 0 {
			ns, _, _ := strings.Cut(n.id.Name, "/")
			chains[ns] = append(chains[ns], n.mk)
		}
	}
	if len(chains) == 0 {
		return
	}
	inside := map[string]string{} // the namespace that a port leads to
	for _, n := range s.d.list {
		if !n.goes() {
			continue
		}
		if l, ok := n.before.State.(resource.Link); ok && l.NS != "" && l.Host != "" && chains[l.NS] != nil {
			inside[l.Host] = l.NS
		}
	}
	for _, n := range s.d.list {
		if n.before == nil || len(inside) == 0 {
			continue
		}
		name := ""
		switch p := n.before.State.(type) {
		case resource.Port:
			name = p.Name
		case resource.BridgePort:
			name = p.Name
		}
		if i := s.goneBy(n); name != "" && i >= 0 {
			for _, mk := range chains[inside[name]] {
				s.before(i, mk)
			}
		}
	}
}
