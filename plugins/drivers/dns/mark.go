package dns

import (
	"slices"
	"strings"

	"weft.dev/reconcile/resource"

	"github.com/miekg/dns"
)

// A mark says whose a record is.
type mark struct {
	instance, host string
	owner          resource.Owner
}

const (
	markPrefix = "_weft-"
	heritage   = "heritage=weft"
)

// marking is where the mark of the records of a type at name stands.
func marking(name, kind string) string { return markPrefix + strings.ToLower(kind) + "." + name }

// marked is the name and type that a mark is about.
func marked(at string) (name, kind string, ok bool) {
	label, name, _ := strings.Cut(at, ".")
	kind, ok = strings.CutPrefix(label, markPrefix)
	kind = strings.ToUpper(kind)
	return name, kind, ok && slices.Contains([]string{"A", "AAAA", "PTR"}, kind)
}

func (m mark) text() []string {
	return []string{heritage, "instance=" + m.instance, "host=" + m.host, "owner=" + string(m.owner)}
}

// parseMark reads a mark; false for another text.
func parseMark(text []string) (mark, bool) {
	var m mark
	if len(text) < 4 || text[0] != heritage {
		return m, false
	}
	for _, t := range text[1:] {
		word, value, _ := strings.Cut(t, "=")
		switch word {
		case "instance":
			m.instance = value
		case "host":
			m.host = value
		case "owner":
			m.owner = resource.Owner(value)
		}
	}
	return m, m.instance != "" && m.host != ""
}

// mine says whether what m marks is ours to change for owner: made by this host, or by
// another for the same network, whose router came here.
func (d *Driver) mine(m mark, owner resource.Owner) bool {
	return m.instance == d.host.Instance && (m.host == d.host.Name || m.owner == owner)
}

// words say whose a marked record is.
func (m mark) words() string {
	return "it is that of " + string(m.owner) + " by host " + m.host + " of the instance " + m.instance + " of weft"
}

// canonical is a name as states have it.
func canonical(name string) string { return strings.TrimSuffix(dns.CanonicalName(name), ".") }

// value is what rr says, as states have it.
func value(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.A:
		return rr.A.String()
	case *dns.AAAA:
		return rr.AAAA.String()
	case *dns.PTR:
		return canonical(rr.Ptr)
	case *dns.CNAME:
		return canonical(rr.Target)
	}
	return ""
}
