package resource

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"weft.dev/schema"
)

// Chain is one iptables chain of one table and family in one namespace of
// weft's; it is written as a whole, atomically with the other chains of its
// table that change at the same time.
type Chain struct {
	NS     string `json:"ns"`
	Family int    `json:"family"` // 4 or 6
	Table  string `json:"table"`  // filter | nat | mangle
	Name   string `json:"name"`
	// Policy is ACCEPT or DROP on a built-in chain, "" on others.
	Policy string `json:"policy,omitempty"`
	Rules  []Rule `json:"rules,omitempty"`
	// Meter is what its first rule counts; nil: nothing that is told.
	Meter *Meter `json:"meter,omitempty"`
}

// ChainID is the ID of a chain.
func ChainID(ns string, family int, table, name string) ID {
	return ID{KindChain, fmt.Sprintf("%s/%d/%s/%s", ns, family, table, name)}
}

// ID implements State.
func (c Chain) ID() ID { return ChainID(c.NS, c.Family, c.Table, c.Name) }

// Parent implements Contained.
func (c Chain) Parent() ID { return ID{KindNS, c.NS} }

// Needs implements State: chains jumped to and sets matched.
func (c Chain) Needs() []ID {
	var out []ID
	for _, r := range c.Rules {
		if r.Do.Jump != "" {
			out = append(out, ChainID(c.NS, c.Family, c.Table, r.Do.Jump))
		}
		for _, s := range []string{r.Match.SrcSet, r.Match.DstSet} {
			if s != "" {
				out = append(out, ID{KindSet, c.NS + "/" + s})
			}
		}
	}
	return out
}

// Fingerprint implements State. Names are part of it (they stand in the
// kernel as comments), origins are not.
func (c Chain) Fingerprint() uint64 {
	h := newHash(string(KindChain)).str(c.NS).num(uint64(c.Family)).str(c.Table).str(c.Name).str(c.Policy)
	for _, r := range c.Rules {
		h.str(r.Name).str(r.Match.String()).str(r.Do.String())
	}
	return h.sum()
}

// Fields implements State.
func (c Chain) Fields() []Field {
	lines := make([]string, len(c.Rules))
	for i, r := range c.Rules {
		lines[i] = r.String()
	}
	return []Field{
		{Name: "policy", Value: c.Policy},
		{Name: "rules", Value: strings.Join(lines, "\n"), Lines: true},
	}
}

// A Rule is one typed firewall rule; drivers render it.
type Rule struct {
	// Name is the rule's name in its document ("https"), or what it is for.
	Name   string     `json:"name,omitempty"`
	Match  Match      `json:"match"`
	Do     Verdict    `json:"do"`
	Origin schema.Pos `json:"origin,omitzero"`
	// Behind is whom a service of the router passes on what the rule lets in. It is
	// no part of a state.
	Behind []netip.AddrPort `json:"behind,omitempty"`
}

// String is the rule for people.
func (r Rule) String() string {
	s := strings.TrimSpace(strings.TrimSpace(r.Match.String()) + " -> " + r.Do.String())
	if r.Name != "" {
		s += "  # " + r.Name
	}
	return s
}

// Match is what a rule matches; zero values match everything.
type Match struct {
	In       string             `json:"in,omitempty"` // interface
	Out      string             `json:"out,omitempty"`
	Src      netip.Prefix       `json:"src,omitzero"`
	Dst      netip.Prefix       `json:"dst,omitzero"`
	NotDst   bool               `json:"notDst,omitempty"` // Dst negated
	SrcSet   string             `json:"srcSet,omitempty"` // fw.set in the same namespace
	DstSet   string             `json:"dstSet,omitempty"`
	Proto    string             `json:"proto,omitempty"` // tcp udp icmp icmpv6 or a number
	SrcPorts []schema.PortRange `json:"srcPorts,omitempty"`
	DstPorts []schema.PortRange `json:"dstPorts,omitempty"`
	ICMPType int                `json:"icmpType,omitempty"` // type+1; 0 = any
	ICMPCode int                `json:"icmpCode,omitempty"` // code+1; 0 = any
	// CT lists connection states: NEW ESTABLISHED RELATED INVALID DNAT SNAT.
	CT []string `json:"ct,omitempty"`
	// OrigDst is the destination before DNAT (conntrack's ctorigdst).
	OrigDst netip.Prefix `json:"origDst,omitzero"`
	SYN     bool         `json:"syn,omitempty"` // tcp SYN without RST
	Mark    uint32       `json:"mark,omitempty"`
	// IPsec is "in" for what came out of a tunnel of the kernel's, "out" for what is going
	// into one, "clear" for what is leaving by none.
	IPsec string `json:"ipsec,omitempty"`
	// Nth matches the first of every so many packets that come here; 0 = any.
	Nth int `json:"nth,omitempty"`
	// Hash matches some clients, always the same.
	Hash Hash `json:"hash,omitzero"`
}

// Hash divides clients by their address into Nodes (1 to 32) equal parts, and is
// those whose bit is in Mask. Seed makes one division differ from another. Zero is
// all clients.
type Hash struct {
	Nodes int    `json:"nodes"`
	Mask  uint32 `json:"mask"`
	Seed  uint32 `json:"seed"`
}

// plainMatch is a Match without methods.
type plainMatch Match

// matchJSON shows ICMP types and codes as they are.
type matchJSON struct {
	plainMatch
	ICMPType *int `json:"icmpType,omitempty"`
	ICMPCode *int `json:"icmpCode,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (m Match) MarshalJSON() ([]byte, error) {
	out := matchJSON{plainMatch: plainMatch(m)}
	for _, x := range []struct {
		to *(*int)
		n  int
	}{{&out.ICMPType, m.ICMPType}, {&out.ICMPCode, m.ICMPCode}} {
		if x.n > 0 {
			v := x.n - 1
			*x.to = &v
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Match) UnmarshalJSON(b []byte) error {
	var in matchJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*m = Match(in.plainMatch)
	if in.ICMPType != nil {
		m.ICMPType = *in.ICMPType + 1
	}
	if in.ICMPCode != nil {
		m.ICMPCode = *in.ICMPCode + 1
	}
	return nil
}

// String is the match for people and fingerprints; it is complete.
func (m Match) String() string {
	var b strings.Builder
	add := func(name, v string) {
		if v != "" {
			b.WriteString(name)
			b.WriteByte(' ')
			b.WriteString(v)
			b.WriteByte(' ')
		}
	}
	add("in", m.In)
	add("out", m.Out)
	add("from", prefix(m.Src))
	if m.NotDst {
		add("not to", prefix(m.Dst))
	} else {
		add("to", prefix(m.Dst))
	}
	add("from set", m.SrcSet)
	add("to set", m.DstSet)
	add("proto", m.Proto)
	add("sports", ports(m.SrcPorts))
	add("dports", ports(m.DstPorts))
	if m.ICMPType > 0 {
		add("icmp-type", fmt.Sprint(m.ICMPType-1))
	}
	if m.ICMPCode > 0 {
		add("icmp-code", fmt.Sprint(m.ICMPCode-1))
	}
	add("ct", strings.Join(m.CT, ","))
	add("orig-to", prefix(m.OrigDst))
	if m.SYN {
		add("tcp-flags", "SYN")
	}
	if m.Mark != 0 {
		add("mark", fmt.Sprintf("%#x", m.Mark))
	}
	add("ipsec", m.IPsec)
	if m.Nth > 0 {
		add("nth", fmt.Sprint(m.Nth))
	}
	if h := m.Hash; h != (Hash{}) {
		add("hash", fmt.Sprintf("%#x of %d by %#x", h.Mask, h.Nodes, h.Seed))
	}
	return b.String()
}

func prefix(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

func ports(l []schema.PortRange) string {
	var out []string
	for _, p := range l {
		out = append(out, p.String())
	}
	return strings.Join(out, ",")
}

// Verdict is what a rule does. Exactly one of Target and Jump is set.
type Verdict struct {
	// Target is ACCEPT DROP RETURN REJECT DNAT SNAT CLAMPMSS MARK, and SAVEMARK and
	// RESTOREMARK, which copy the packet's mark to its connection and back.
	Target string `json:"target,omitempty"`
	Jump   string `json:"jump,omitempty"` // a chain of the same table
	// To and Ports are the new destination (DNAT) or source (SNAT). Ports
	// zero keeps the port. A range is mapped one to one: Base is then the
	// first port matched, which becomes Ports.From.
	To    netip.Addr       `json:"to,omitzero"`
	Ports schema.PortRange `json:"ports,omitzero"`
	Base  uint16           `json:"base,omitempty"`
	Mark  uint32           `json:"mark,omitempty"`
	// Mask are the bits of the mark that count; 0 is all.
	Mask uint32 `json:"mask,omitempty"`
	// Ends: when a rule with this comes for a destination (Match.Dst), or the last one
	// goes, the connections from and to there that have begun end. They go by what was
	// true when they began: they are translated, or not, as others no longer are.
	Ends bool `json:"ends,omitempty"`
}

// String is the verdict for people and fingerprints; it is complete.
func (v Verdict) String() string {
	s := v.Target
	if v.Jump != "" {
		s = "jump " + v.Jump
	}
	if v.To.IsValid() {
		s += " " + v.To.String()
		if v.Ports != (schema.PortRange{}) {
			s += ":" + v.Ports.String()
		}
		if v.Base != 0 {
			s += fmt.Sprintf(" from %d", v.Base)
		}
	}
	if v.Mark != 0 {
		s += fmt.Sprintf(" %#x", v.Mark)
	}
	if v.Mask != 0 {
		s += fmt.Sprintf(" of %#x", v.Mask)
	}
	if v.Ends {
		s += ", ends what has begun"
	}
	return s
}

// AddrSet is an ipset of networks.
type AddrSet struct {
	NS      string         `json:"ns"`
	Name    string         `json:"name"` // at most 31 bytes
	Family  int            `json:"family"`
	Members []netip.Prefix `json:"members"` // masked, sorted, unique; 0.0.0.0/0 is allowed
}

// ID implements State.
func (s AddrSet) ID() ID { return ID{KindSet, s.NS + "/" + s.Name} }

// Parent implements Contained.
func (s AddrSet) Parent() ID { return ID{KindNS, s.NS} }

// Needs implements State.
func (AddrSet) Needs() []ID { return nil }

// Fingerprint implements State.
func (s AddrSet) Fingerprint() uint64 {
	h := newHash(string(KindSet)).str(s.NS).str(s.Name).num(uint64(s.Family))
	for _, m := range s.Members {
		h.str(m.String())
	}
	return h.sum()
}

// Fields implements State.
func (s AddrSet) Fields() []Field {
	lines := make([]string, len(s.Members))
	for i, m := range s.Members {
		lines[i] = m.String()
	}
	return []Field{
		{Name: "family", Value: fmt.Sprint(s.Family), Fixed: true},
		{Name: "members", Value: strings.Join(lines, "\n"), Lines: true},
	}
}
