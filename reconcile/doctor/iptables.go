package doctor

import (
	"path"
	"strings"
)

// iptables tells of rules in the variant that weft does not use: the kernel asks both.
func (x *exam) iptables() {
	if !x.Privileged || x.Facts.IPTables == "" {
		return
	}
	other := map[string]string{"nft": "legacy", "legacy": "nft"}[x.Facts.IPTables]
	if n := x.foreign("", other); n > 0 {
		l := Note
		if x.wants[needBridge] != "" {
			l = Warning
		}
		x.tell(l, "iptables", "iptables-"+other+"-save and ip6tables-"+other+"-save show them; whoever wrote them is to use iptables-"+x.Facts.IPTables,
			"%d rules of the host are in iptables-%s, and iptables here is iptables-%s: a packet must pass both, and each shows only its own", n, other, x.Facts.IPTables)
	}
	count, first := 0, ""
	for _, name := range x.glob("run/netns/" + x.Facts.Instance + "-*") {
		if x.foreign(path.Base(name), other) > 0 {
			count++
			if first == "" {
				first = path.Base(name)
			}
		}
	}
	if count > 0 {
		x.tell(Error, "iptables", "update-alternatives --set iptables /usr/sbin/iptables-"+other+", or flush all tables of iptables-"+other+" and ip6tables-"+other+" in each (ip netns exec "+first+" iptables-"+other+" -t nat -F, ...)",
			"%d namespaces of routers, such as %s, have rules in iptables-%s, and weft writes iptables-%s: what the old ones drop stays dropped, what they translate is translated twice", count, first, other, x.Facts.IPTables)
	}
	if out, err := x.Run(x.ctx, "", "iptables-save"); err == nil { // iptables -S would make tables
		x.policy = policyOf(string(out), "filter", "FORWARD")
	}
}

// foreign counts the rules of a variant in a namespace, of both families. The legacy one is
// asked only where it has tables: to ask is to make them.
func (x *exam) foreign(ns, variant string) int {
	n := 0
	for _, family := range []string{"ip", "ip6"} {
		if variant == "legacy" {
			out, err := x.Run(x.ctx, ns, "cat", "/proc/net/"+family+"_tables_names")
			if err != nil || strings.TrimSpace(string(out)) == "" {
				continue
			}
		}
		program := family + "tables-" + variant + "-save"
		if !x.has(program) {
			continue
		}
		out, err := x.Run(x.ctx, ns, program)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "-A ") {
				n++
			}
		}
	}
	return n
}

// policyOf is that of a chain in what iptables-save prints: ACCEPT where there is no such
// table, which nobody has used then.
func policyOf(text, table, chain string) string {
	in := ""
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0][0] == '*':
			in = words[0][1:]
		case in == table && words[0] == ":"+chain && len(words) > 1:
			return words[1]
		}
	}
	return "ACCEPT"
}
