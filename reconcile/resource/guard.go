package resource

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Guard says what may pass the port of a guest on a bridge of the kernel's.
type Guard struct {
	// Down ports carry nothing; all else is then without meaning.
	Down bool `json:"down,omitempty"`
	// Open ports send what they like. Others send from MAC, with Any from whatever
	// address, else from what Owned lists. They are no DHCP servers and no IPv6
	// routers, and without an IPv6 address of their own speak no IPv6.
	Open  bool    `json:"open,omitempty"`
	Any   bool    `json:"any,omitempty"`
	MAC   string  `json:"mac,omitempty"`
	Owned []Owned `json:"owned,omitempty"`
	// Reserved is what the port may not use even if all of the above lets it, nor
	// tell VRRP to.
	Reserved *Reserved `json:"reserved,omitempty"`
	// Groups judge what that leaves, and what is for the guest; nil: nothing does.
	Groups *GuestGroups `json:"groups,omitempty"`
}

// Reserved is what others have for themselves.
type Reserved struct {
	MACs  []string     `json:"macs,omitempty"` // lower case, with colons
	Addrs []netip.Addr `json:"addrs,omitempty"`
}

// Owned is addresses that are used with a MAC.
type Owned struct {
	MAC  string       `json:"mac"` // lower case, with colons
	CIDR netip.Prefix `json:"cidr"`
}

// GuestGroups are the security groups of a port. Answers, and errors about what
// passed, pass.
type GuestGroups struct {
	// Open: all that the guest begins passes; else what an Egress rule lets.
	Open    bool        `json:"open,omitempty"`
	Ingress []GuestRule `json:"ingress,omitempty"`
	Egress  []GuestRule `json:"egress,omitempty"`
	// Local are the network's addresses: DHCP is answered from there only.
	Local []netip.Prefix `json:"local,omitempty"`
	// Resolvers may be asked whatever the groups say.
	Resolvers []netip.Addr `json:"resolvers,omitempty"`
}

// A GuestRule lets traffic begin.
type GuestRule struct {
	// Proto is the number of an IP protocol, or -1 for all.
	Proto int        `json:"proto"`
	Ports []PortSpan `json:"ports,omitempty"` // of the destination; none is all
	// ICMPType and ICMPCode are -1 for all.
	ICMPType int `json:"icmpType"`
	ICMPCode int `json:"icmpCode"`
	// Peers are the other ends.
	Peers []netip.Prefix `json:"peers,omitempty"`
}

// PortSpan is a range of ports.
type PortSpan struct {
	From uint16 `json:"from"`
	To   uint16 `json:"to"`
}

func (g *Guard) hash(h hash) hash {
	if g == nil {
		return h
	}
	h = h.str("guard").flag(g.Down).flag(g.Open).flag(g.Any).str(g.MAC).num(uint64(len(g.Owned)))
	for _, o := range g.Owned {
		h = h.str(o.MAC).str(o.CIDR.String())
	}
	if r := g.Reserved; r != nil {
		h = h.str("reserved").num(uint64(len(r.MACs)))
		for _, m := range r.MACs {
			h = h.str(m)
		}
		h = h.num(uint64(len(r.Addrs)))
		for _, a := range r.Addrs {
			h = h.str(a.String())
		}
	}
	if g.Groups == nil {
		return h
	}
	h = h.str("groups").flag(g.Groups.Open)
	for _, list := range [][]GuestRule{g.Groups.Ingress, g.Groups.Egress} {
		h = h.num(uint64(len(list)))
		for i := range list {
			h = list[i].hash(h)
		}
	}
	h = h.num(uint64(len(g.Groups.Local)))
	for _, p := range g.Groups.Local {
		h = h.str(p.String())
	}
	h = h.num(uint64(len(g.Groups.Resolvers)))
	for _, a := range g.Groups.Resolvers {
		h = h.str(a.String())
	}
	return h
}

func (r *GuestRule) hash(h hash) hash {
	h = h.num(uint64(r.Proto)).num(uint64(r.ICMPType)).num(uint64(r.ICMPCode)).num(uint64(len(r.Ports)))
	for _, p := range r.Ports {
		h = h.num(uint64(p.From)).num(uint64(p.To))
	}
	h = h.num(uint64(len(r.Peers)))
	for _, p := range r.Peers {
		h = h.str(p.String())
	}
	return h
}

// String describes g in lines, for people.
func (g *Guard) String() string {
	switch {
	case g == nil:
		return ""
	case g.Down:
		return "down: nothing passes"
	}
	var b strings.Builder
	switch {
	case g.Open:
		b.WriteString("sends anything\n")
	case g.Any:
		fmt.Fprintf(&b, "sends from %s\n", g.MAC)
	}
	for _, o := range g.Owned {
		fmt.Fprintf(&b, "sends from %s %s\n", o.MAC, o.CIDR)
	}
	if r := g.Reserved; r != nil {
		for _, m := range r.MACs {
			fmt.Fprintf(&b, "never as %s\n", m)
		}
		for _, a := range r.Addrs {
			fmt.Fprintf(&b, "never as %s\n", a)
		}
	}
	if s := g.Groups; s != nil {
		for i := range s.Ingress {
			fmt.Fprintf(&b, "in %s\n", s.Ingress[i].text("from"))
		}
		if s.Open {
			b.WriteString("out anything\n")
		}
		for i := range s.Egress {
			fmt.Fprintf(&b, "out %s\n", s.Egress[i].text("to"))
		}
		for _, p := range s.Local {
			fmt.Fprintf(&b, "DHCP from %s\n", p)
		}
		for _, a := range s.Resolvers {
			fmt.Fprintf(&b, "DNS of %s\n", a)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (r *GuestRule) text(word string) string {
	out := "all protocols"
	if r.Proto >= 0 {
		out = "protocol " + strconv.Itoa(r.Proto)
	}
	for _, p := range r.Ports {
		out += fmt.Sprintf(" %d-%d", p.From, p.To)
	}
	if r.ICMPType >= 0 {
		out += fmt.Sprintf(" type %d", r.ICMPType)
	}
	if r.ICMPCode >= 0 {
		out += fmt.Sprintf(" code %d", r.ICMPCode)
	}
	for _, p := range r.Peers {
		out += " " + word + " " + p.String()
		word = ""
	}
	return strings.ReplaceAll(out, "  ", " ")
}
