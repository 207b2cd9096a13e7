package schema

import (
	"path"
	"slices"
	"strings"
)

// hostAddr is the format of a prefix that states an interface's address: its host bits are set.
const hostAddr = "hostaddr"

// A format is a rule for strings. Strings of the language end in file names, interface names,
// config files and command lines, so each field that takes one states what may be in it.
type format struct {
	name    string
	what    string                // "a DNS label"
	rule    string                // hint: what is allowed
	pattern string                // the same for JSON Schema, where it can be said so
	ok      func(s string) bool   // not called for fields that are no strings
	hint    func(s string) string // a better hint for this text, may be nil
}

const (
	patternLabel  = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`
	patternDomain = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`
	patternIfname = `^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`
)

var formats = func() map[string]*format {
	m := map[string]*format{}
	for _, f := range slices.Concat(vpcFormats(), vpnFormats(), balancerFormats(), []format{
		{name: "name", what: "a name", pattern: patternLabel, ok: isLabel, hint: lowerHint,
			rule: "a name has 1-63 lower-case letters, digits and hyphens, and starts and ends with a letter or digit"},
		{name: "hostname", what: "a host name", pattern: patternLabel, ok: isLabel, hint: lowerHint,
			rule: "a host name has 1-63 lower-case letters, digits and hyphens, without dots (RFC 1123)"},
		{name: "domain", what: "a domain name", pattern: patternDomain, ok: isNetworkDomain, hint: lowerHint,
			rule: "a domain name has labels of lower-case letters, digits and hyphens, joined by dots, at most 189 characters (with a host name before it 253, RFC 1123)"},
		{name: "ifname", what: "an interface name", pattern: patternIfname, ok: isIfname,
			rule: "an interface name has 1-15 letters, digits and _ . - and starts with a letter or digit; names that start with weft, wg-, wi-, wl-, wp- or wt- are taken", hint: ifnameHint},
		{name: "nicname", what: "a name for a VM's port", pattern: patternIfname, ok: isNICName,
			rule: "a port name has 1-15 letters, digits and _ . - and starts with a letter or digit; names that start with weft, wg-, wi-, wl-, wp- or wt- are taken", hint: ifnameHint},
		{name: "label", what: "a tag", pattern: `^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`, ok: isLabelValue,
			rule: "a tag has 1-63 letters, digits and _ . - and starts and ends with a letter or digit"},
		{name: "labelkey", what: "a label key", pattern: `^[A-Za-z0-9][A-Za-z0-9_./-]{0,316}$`, ok: isLabelKey,
			rule: "a key has letters, digits and _ . - with at most one slash, such as rack or example.org/rack"},
		{name: "offering", what: "the name of an offering", pattern: `^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`, ok: isLabelValue,
			rule: "an offering's name has 1-63 letters, digits and _ . -"},
		{name: "domainpath", what: "the path of a domain", pattern: `^[a-z0-9]([a-z0-9-]*[a-z0-9])?(/[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`, ok: isDomainPath, hint: lowerHint,
			rule: "a path has names of lower-case letters, digits and hyphens joined by /, such as root/customers"},
		{name: "ovsdb", what: "the address of ovsdb-server", pattern: `^unix:/[A-Za-z0-9_./-]{1,106}$`, ok: isOVSDB,
			rule: "write unix: and an absolute path, such as unix:/run/openvswitch/db.sock"},
		{name: "endpoint", what: "the address of a server", pattern: `^(udp|tcp):([0-9a-z.-]+|\[[0-9a-f:.]+\]):[1-9][0-9]{0,4}$`, ok: isEndpoint,
			rule: "write udp: or tcp:, an address or a name, and a port, such as udp:10.0.0.53:53 or tcp:[2001:db8::53]:53"},
		{name: "path", what: "an absolute path", pattern: `^/[A-Za-z0-9_./-]+$`, ok: isPath,
			rule: "a path starts with /, has letters, digits and _ . - / and no empty, . or .. parts"},
		{name: "version", what: "a version", pattern: `^[0-9]{1,5}(\.[0-9]{1,5}){0,3}$`, ok: isVersion,
			rule: "write numbers joined by dots, such as 3.1.0, in quotes"},
		{name: "share", what: "an account, a domain or *", ok: isShare,
			rule: `write an account's name, domain/PATH for a domain and those below it, or "*"`},
		{name: "protocol", what: "a protocol", ok: isGroupProtocol, pattern: `^(tcp|udp|icmp|icmpv6|all|[0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])$`,
			rule: "write tcp, udp, icmp, icmpv6, all or a number from 0 to 255 in quotes"},
		{name: "text", what: "text", ok: isText, rule: "text must not contain control characters"},
		{name: "sshkey", what: "a public key", ok: isSSHKey,
			rule: "write one line of authorized_keys: type, key in base64, and optionally a comment"},
		{name: "dhcpoption", what: "the value of a DHCP option", pattern: `^[A-Za-z0-9 _.,:/+=@-]{1,255}$`, ok: isDHCPOption,
			rule: "a value has 1-255 letters, digits, spaces and _ . , : / + = @ -"},
		{name: "sentence", what: "one line of text", ok: isSentence, rule: "write one line of at most 1000 characters, without control characters"},
		{name: "policykind", what: "a kind that policies judge", pattern: `^[A-Z][A-Za-z0-9]{1,62}$`, ok: isPolicyKind, hint: policyKindHint,
			rule: "write a kind of the language, or Plan"},
		{name: "object", what: "an object", ok: isObject, hint: objectHint,
			rule: "write kind/[account/]name, such as publicip/acme/vip or host/kvm1"},
		{name: "fieldpath", what: "the path of a field", pattern: `^[A-Za-z0-9]+(\.[A-Za-z0-9]+)*$`, ok: isFieldPath,
			rule: "write names of fields joined by dots, such as spec.firewall"},
		{name: hostAddr, what: "an address with prefix length", rule: "write the address and the length of its network, such as 192.168.50.11/24"},
	}) {
		m[f.name] = &f
	}
	return m
}()

func isAlnum(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// only reports whether s has 1 to limit bytes, all letters, digits or in extra.
func only(s, extra string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && strings.IndexByte(extra, s[i]) < 0 {
			return false
		}
	}
	return true
}

// isLabel is the DNS label of RFC 1123 in lower case.
func isLabel(s string) bool {
	if !only(s, "-", 63) || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return false
		}
	}
	return true
}

func isDomain(s string) bool { return len(s) <= 253 && every(s, ".", isLabel) }

// isNetworkDomain leaves room for a host name and a dot (CloudStack: 190 characters).
func isNetworkDomain(s string) bool { return len(s) <= 253-64 && isDomain(s) }

func isDomainPath(s string) bool { return len(s) <= 253 && every(s, "/", isLabel) }

func every(s, sep string, ok func(string) bool) bool {
	for part := range strings.SplitSeq(s, sep) {
		if !ok(part) {
			return false
		}
	}
	return true
}

// isIfname keeps to what the kernel, sysctl paths, iptables and Open vSwitch all take; 15 is
// IFNAMSIZ less the zero byte.
func isIfname(s string) bool {
	switch {
	case !only(s, "_.-", 15), !isAlnum(s[0]):
		return false
	case s == "lo", s == "all", s == "default", isOurs(s):
		return false // lo and the words of net.ipv4.conf, and what weft makes itself
	}
	return true
}

// isOurs reports whether weft itself gives ports such names: its bridge, the links of routers (wg-,
// wp-), the patch ports of labels (wi-, wl-) and tunnels (wt-).
func isOurs(s string) bool {
	return slices.ContainsFunc([]string{"weft", "wg-", "wi-", "wl-", "wp-", "wt-"}, func(prefix string) bool {
		return strings.HasPrefix(s, prefix)
	})
}

func isNICName(s string) bool { return isIfname(s) && !isVnet(s) }

// isVnet reports whether libvirt would take the name for one of its own and replace it.
func isVnet(s string) bool {
	rest, ok := strings.CutPrefix(s, "vnet")
	return ok && rest != "" && strings.Trim(rest, "0123456789") == ""
}

func isLabelValue(s string) bool {
	return only(s, "_.-", 63) && isAlnum(s[0]) && isAlnum(s[len(s)-1])
}

func isLabelKey(s string) bool {
	prefix, name, ok := strings.Cut(s, "/")
	if !ok {
		return isLabelValue(s)
	}
	return isDomain(prefix) && isLabelValue(name)
}

func isOVSDB(s string) bool {
	p, ok := strings.CutPrefix(s, "unix:")
	return ok && len(p) <= 107 && isPath(p) // 107 is the room in sun_path
}

func isPath(s string) bool {
	return only(s, "_./-", 1024) && path.IsAbs(s) && path.Clean(s) == s && s != "/"
}

func isVersion(s string) bool {
	return strings.Count(s, ".") <= 3 && every(s, ".", func(n string) bool {
		return n != "" && len(n) <= 5 && strings.Trim(n, "0123456789") == ""
	})
}

func isShare(s string) bool {
	if domain, ok := strings.CutPrefix(s, "domain/"); ok {
		return isDomainPath(domain)
	}
	return s == "*" || isLabel(s)
}

func isText(s string) bool {
	return isClean(strings.NewReplacer("\n", "", "\t", "").Replace(s))
}

func isSSHKey(s string) bool {
	if len(s) > 16384 || !isClean(s) {
		return false
	}
	parts := strings.SplitN(s, " ", 3)
	return len(parts) >= 2 && only(parts[0], "-@.", 64) && only(parts[1], "+/=", 16384)
}

func isDHCPOption(s string) bool { return only(s, " _.,:/+=@-", 255) }

func lowerHint(s string) string {
	if low := strings.ToLower(s); low != s && isDomain(low) {
		return "write " + low
	}
	return ""
}

func ifnameHint(s string) string {
	switch {
	case isOurs(s):
		return "weft gives such names to ports of its own; choose another one"
	case isVnet(s):
		return "libvirt names its own ports vnetN; choose another name, such as tap-web-1"
	case len(s) > 15:
		return "Linux allows 15 characters"
	}
	return ""
}
