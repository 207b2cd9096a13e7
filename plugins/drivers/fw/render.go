package fw

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// builtins are the chains that a table has by itself.
var builtins = map[string][]string{
	"filter": {"INPUT", "FORWARD", "OUTPUT"},
	"nat":    {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"},
	"mangle": {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
	"raw":    {"PREROUTING", "OUTPUT"},
}

func builtin(table, chain string) bool { return slices.Contains(builtins[table], chain) }

// Names as they may stand unquoted on a line of iptables-restore. A "+" at the
// end of an interface would match any that begins so.
var (
	chainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,27}$`)
	setName   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}$`)
	ifName    = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.@-]{0,14}$`)
)

// ctStates are what a rule may say of a connection.
var ctStates = []string{"NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "DNAT", "SNAT"}

// targets are words that no chain may be called, among others those of verdicts.
var targets = []string{"ACCEPT", "DROP", "RETURN", "REJECT", "DNAT", "SNAT", "TCPMSS", "MARK", "CONNMARK", "QUEUE"}

// render returns the lines of iptables-restore that make the rules of c, each
// beginning with "-A".
func render(c resource.Chain, owner resource.Owner) ([]string, error) {
	if err := checkChain(c); err != nil {
		return nil, err
	}
	var out []string
	for i, r := range c.Rules {
		w := &rule{chain: c, Rule: r}
		lines, err := w.lines(owner)
		if err != nil {
			return nil, fmt.Errorf("rule %d (%s) of chain %s: %w", i+1, r, c.Name, err)
		}
		out = append(out, lines...)
	}
	return out, nil
}

func checkChain(c resource.Chain) error {
	switch {
	case c.Family != 4 && c.Family != 6:
		return fmt.Errorf("chain %q is of family %d, neither 4 nor 6", c.Name, c.Family)
	case builtins[c.Table] == nil:
		return fmt.Errorf("chain %q is in table %q, which does not exist", c.Name, c.Table)
	case !chainName.MatchString(c.Name) || slices.Contains(targets, c.Name):
		return fmt.Errorf("%q is no name for a chain", c.Name)
	case !builtin(c.Table, c.Name) && c.Policy != "":
		return fmt.Errorf("chain %s has the policy %q, but only built-in chains have one", c.Name, c.Policy)
	case !slices.Contains([]string{"", "ACCEPT", "DROP"}, c.Policy):
		return fmt.Errorf("chain %s has the policy %q, neither ACCEPT nor DROP", c.Name, c.Policy)
	}
	return nil
}

// rule is one rule being rendered.
type rule struct {
	resource.Rule
	chain resource.Chain
	words []string
}

func (r *rule) add(words ...string) { r.words = append(r.words, words...) }

// lines renders one rule: several lines where it has more ports than one line
// takes.
func (r *rule) lines(owner resource.Owner) ([]string, error) {
	for _, f := range []func() error{r.ends, r.protocol, r.states, r.shares} {
		if err := f(); err != nil {
			return nil, err
		}
	}
	before := r.words
	r.words = nil
	if err := r.verdict(); err != nil {
		return nil, err
	}
	after := append([]string{"-m", "comment", "--comment", comment(owner, r.Name)}, r.words...)
	ports, err := r.ports()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range ports {
		out = append(out, strings.Join(slices.Concat([]string{"-A", r.chain.Name}, before, p, after), " "))
	}
	return out, nil
}

// ends renders interfaces, addresses and sets.
func (r *rule) ends() error {
	m := r.Match
	for _, x := range []struct {
		p    netip.Prefix
		flag string
		not  bool
	}{{m.Src, "-s", false}, {m.Dst, "-d", m.NotDst}} {
		if !x.p.IsValid() {
			if x.not {
				return fmt.Errorf("a destination is negated that is not there")
			}
			continue
		}
		if err := r.fits(x.p.Addr()); err != nil {
			return err
		}
		if x.not {
			r.add("!")
		}
		r.add(x.flag, x.p.Masked().String())
	}
	for _, x := range []struct{ name, flag string }{{m.In, "-i"}, {m.Out, "-o"}} {
		if x.name == "" {
			continue
		}
		if !ifName.MatchString(x.name) {
			return fmt.Errorf("%q is no name for an interface", x.name)
		}
		r.add(x.flag, x.name)
	}
	for _, x := range []struct{ name, side string }{{m.SrcSet, "src"}, {m.DstSet, "dst"}} {
		if x.name == "" {
			continue
		}
		if !setName.MatchString(x.name) {
			return fmt.Errorf("%q is no name for a set", x.name)
		}
		r.add("-m", "set", "--match-set", x.name, x.side)
	}
	return nil
}

func (r *rule) fits(a netip.Addr) error {
	if a.Is4() != (r.chain.Family == 4) || a.Zone() != "" || a.Is4In6() {
		return fmt.Errorf("address %s in a chain of IPv%d", a, r.chain.Family)
	}
	return nil
}

// protocol renders the protocol and what only one protocol has, except ports.
func (r *rule) protocol() error {
	m := r.Match
	if m.Proto != "" {
		if err := r.checkProto(m.Proto); err != nil {
			return err
		}
		r.add("-p", m.Proto)
	}
	if m.ICMPCode > 0 && m.ICMPType == 0 {
		return fmt.Errorf("an ICMP code without its type")
	}
	if m.ICMPType > 0 {
		typ := strconv.Itoa(m.ICMPType - 1)
		if m.ICMPCode > 0 {
			typ += "/" + strconv.Itoa(m.ICMPCode-1)
		}
		switch {
		case m.ICMPType > 256 || m.ICMPCode > 256:
			return fmt.Errorf("ICMP type %s is above 255", typ)
		case r.proto() == 1:
			r.add("-m", "icmp", "--icmp-type", typ)
		case r.proto() == 58:
			r.add("-m", "icmp6", "--icmpv6-type", typ)
		default:
			return fmt.Errorf("an ICMP type, but the protocol is %q", m.Proto)
		}
	}
	if m.SYN || r.Do.Target == "CLAMPMSS" {
		if r.proto() != 6 {
			return fmt.Errorf("tcp flags, but the protocol is %q", m.Proto)
		}
		r.add("-m", "tcp", "--tcp-flags", "SYN,RST", "SYN")
	}
	return nil
}

// checkProto takes the names that are the same everywhere, and numbers.
func (r *rule) checkProto(p string) error {
	switch p {
	case "tcp", "udp", "sctp":
		return nil
	case "icmp", "icmpv6":
		if (p == "icmp") != (r.chain.Family == 4) {
			return fmt.Errorf("protocol %s in a chain of IPv%d", p, r.chain.Family)
		}
		return nil
	}
	n, err := strconv.Atoi(p)
	if err != nil || n < 1 || n > 255 || strconv.Itoa(n) != p {
		return fmt.Errorf("%q is no protocol: tcp, udp, sctp, icmp, icmpv6 or 1 to 255", p)
	}
	return nil
}

// proto is the number of the protocol matched, 0 for any.
func (r *rule) proto() int {
	switch r.Match.Proto {
	case "tcp":
		return 6
	case "udp":
		return 17
	case "sctp":
		return 132
	case "icmp":
		return 1
	case "icmpv6":
		return 58
	}
	n, _ := strconv.Atoi(r.Match.Proto)
	return n
}

// states renders what is known of the connection and the packet's mark.
func (r *rule) states() error {
	m := r.Match
	if len(m.CT) > 0 || m.OrigDst.IsValid() {
		r.add("-m", "conntrack")
	}
	if len(m.CT) > 0 {
		for _, s := range m.CT {
			if !slices.Contains(ctStates, s) {
				return fmt.Errorf("%q is no state of a connection", s)
			}
		}
		r.add("--ctstate", strings.Join(m.CT, ","))
	}
	if m.OrigDst.IsValid() {
		if err := r.fits(m.OrigDst.Addr()); err != nil {
			return err
		}
		r.add("--ctorigdst", m.OrigDst.Masked().String())
	}
	switch m.IPsec {
	case "":
	case "in", "out":
		r.add("-m", "policy", "--dir", m.IPsec, "--pol", "ipsec")
	case "clear":
		r.add("-m", "policy", "--dir", "out", "--pol", "none")
	default:
		return fmt.Errorf("%q is none of in, out and clear", m.IPsec)
	}
	if m.Mark != 0 {
		r.add("-m", "mark", "--mark", fmt.Sprintf("%#x", m.Mark))
	}
	return nil
}

// shares renders which part of what comes here a rule is for.
func (r *rule) shares() error {
	if n := r.Match.Nth; n < 0 {
		return fmt.Errorf("one of %d packets", n)
	} else if n > 0 {
		r.add("-m", "statistic", "--mode", "nth", "--every", strconv.Itoa(n), "--packet", "0")
	}
	h := r.Match.Hash
	switch {
	case h == resource.Hash{}:
		return nil
	case h.Nodes < 1 || h.Nodes > 32 || h.Mask == 0 || uint64(h.Mask) >= 1<<h.Nodes:
		return fmt.Errorf("parts %#x of %d are none of 1 to 32", h.Mask, h.Nodes)
	}
	r.add("-m", "cluster", "--cluster-total-nodes", strconv.Itoa(h.Nodes), "--cluster-local-nodemask", fmt.Sprintf("%#x", h.Mask), "--cluster-hash-seed", fmt.Sprintf("%#x", h.Seed))
	return nil
}

// multiportLimit is XT_MULTI_PORTS; a range counts as two.
const multiportLimit = 15

// ports renders the ports: one list of words for each line that is needed.
func (r *rule) ports() ([][]string, error) {
	m := r.Match
	if len(m.SrcPorts)+len(m.DstPorts) == 0 {
		return [][]string{nil}, nil
	}
	if p := r.proto(); p != 6 && p != 17 && p != 132 {
		return nil, fmt.Errorf("ports, but the protocol is %q", m.Proto)
	}
	var out [][]string
	src, err := portWords("--sport", "--sports", m.SrcPorts, r.proto())
	if err != nil {
		return nil, err
	}
	dst, err := portWords("--dport", "--dports", m.DstPorts, r.proto())
	if err != nil {
		return nil, err
	}
	for _, s := range src {
		for _, d := range dst {
			if len(s) > 1 && len(d) > 1 && s[1] == d[1] && s[1] != "multiport" {
				d = d[2:] // the same module takes both
			}
			out = append(out, slices.Concat(s, d))
		}
	}
	return out, nil
}

func portWords(one, many string, list []schema.PortRange, proto int) ([][]string, error) {
	var groups [][]string
	var group []string
	weight := 0
	for _, p := range list {
		if p.From > p.To {
			return nil, fmt.Errorf("ports %d-%d are the wrong way round", p.From, p.To)
		}
		w, word := 1, strconv.Itoa(int(p.From))
		if p.To != p.From {
			w, word = 2, word+":"+strconv.Itoa(int(p.To))
		}
		if weight+w > multiportLimit {
			groups, group, weight = append(groups, group), nil, 0
		}
		group, weight = append(group, word), weight+w
	}
	groups = append(groups, group)
	module := map[int]string{6: "tcp", 17: "udp", 132: "sctp"}[proto]
	out := make([][]string, len(groups))
	for i, g := range groups {
		switch len(g) {
		case 0:
		case 1:
			out[i] = []string{"-m", module, one, g[0]}
		default:
			out[i] = []string{"-m", "multiport", many, strings.Join(g, ",")}
		}
	}
	return out, nil
}

// commentLimit is XT_MAX_COMMENT_LEN less the NUL.
const commentLimit = 255

// comment is the quoted comment of a rule: who asked for it, and its name there.
// What could end the quotes or the line is replaced.
func comment(owner resource.Owner, name string) string {
	text := strings.TrimSpace(string(owner) + " " + name)
	var b strings.Builder
	for _, c := range text {
		switch {
		case c == '"':
			c = '\''
		case c == '\\':
			c = '/'
		case c == utf8.RuneError || !unicode.IsPrint(c):
			c = '?'
		}
		if b.Len()+utf8.RuneLen(c) > commentLimit {
			break
		}
		b.WriteRune(c)
	}
	return `"` + b.String() + `"`
}
