package plan

import (
	"strings"

	"weft.dev/reconcile/resource"
)

// unplug pulls the ports of links that go from a namespace before its packet filter
// changes. The new rules know nothing of these links: what still came in by one would meet
// none of those that were about it.
func (s *steps) unplug() {
	chains := map[string][]int{} // steps that write or drop them, by namespace
	for _, n := range s.d.list {
		if n.id.Kind != resource.KindChain {
			continue
		}
		ns, _, _ := strings.Cut(n.id.Name, "/")
		if n.mk >= 0 {
			chains[ns] = append(chains[ns], n.mk)
		} else if n.goes() && n.gone == nil {
			chains[ns] = append(chains[ns], n.dr)
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
			for _, then := range chains[inside[name]] {
				s.before(i, then)
			}
		}
	}
}

// together lets built-in chains that go do so with the chains of their packet filter that
// are written: else what one of them did, above all to where packets go, would be done
// until the end of the plan, under rules that know nothing of it.
func (s *steps) together() {
	type filter struct {
		ns     string
		family int
	}
	written := map[filter][]int{}
	for _, n := range s.d.list {
		if n.mk >= 0 && n.after != nil {
			if c, ok := n.after.State.(resource.Chain); ok {
				at := filter{c.NS, c.Family}
				written[at] = append(written[at], n.mk)
			}
		}
	}
	for _, n := range s.d.list {
		if n.before == nil || n.mk >= 0 {
			continue
		}
		if c, ok := n.before.State.(resource.Chain); ok && c.Policy != "" && n.goes() && n.gone == nil {
			for _, mk := range written[filter{c.NS, c.Family}] {
				s.before(n.dr, mk)
			}
		}
	}
}
