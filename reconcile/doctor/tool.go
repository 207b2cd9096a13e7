package doctor

import (
	"slices"
	"strings"

	"weft.dev/reconcile/resource"
)

// A tool is a program that weft or one of its routers runs.
type tool struct {
	any  []string // one of these; absolute ones are no programs but files
	pkg  string   // of Debian
	need string   // key of exam.wants; "": the host's share does not tell
	// always: no host works without.
	always bool
	what   string // does not work without
}

// The keys of exam.wants: beside these the words of keepers, such as bgp-serve.
const (
	needOVS    = "ovs"
	needNFT    = "nft"
	needImage  = "image"
	needBridge = "linux bridge"
	needVLAN   = "vlan device"
	needRoute  = "route"
	needDHCP   = "dnsmasq"
	needFilter = "chain"
	needSet    = "set"
	needWG     = "wg"
)

const plugins = "/usr/lib/ipsec/plugins/libstrongswan-"

var tools = []tool{
	{any: []string{"dnsmasq"}, pkg: "dnsmasq-base", need: needDHCP, always: true, what: "addresses and names for guests"},
	{any: []string{"iptables-restore"}, pkg: "iptables", need: needFilter, always: true, what: "translation and firewalls of routers"},
	{any: []string{"ip6tables-restore"}, pkg: "iptables", need: needFilter, what: "routers with IPv6"},
	{any: []string{"ipset"}, pkg: "ipset", need: needSet, always: true, what: "firewalls of routers"},
	{any: []string{"ovs-vswitchd"}, pkg: "openvswitch-switch", need: needOVS, always: true, what: "networks on Open vSwitch"},
	{any: []string{"ovs-ofctl"}, pkg: "openvswitch-common", need: needOVS, always: true, what: "networks on Open vSwitch"},
	{any: []string{"nft"}, pkg: "nftables", need: needNFT, what: "guests' ports on Linux bridges"},
	{any: []string{"haproxy"}, pkg: "haproxy", need: "balance-serve", what: "load balancers but of udp"},
	{any: []string{"charon-systemd"}, pkg: "charon-systemd", need: "ipsec-serve", what: "VPNs by IPsec"},
	{any: []string{plugins + "openssl.so"}, pkg: "libstrongswan-standard-plugins", need: "ipsec-serve", what: "VPNs by IPsec"},
	{any: []string{plugins + "eap-mschapv2.so"}, pkg: "libcharon-extauth-plugins", what: "users by IKEv2"},
	{any: []string{"xl2tpd"}, pkg: "xl2tpd", need: "l2tp-serve", what: "users by L2TP"},
	{any: []string{"pppd"}, pkg: "ppp", need: "l2tp-serve", what: "users by L2TP"},
	{any: []string{"wg"}, pkg: "wireguard-tools", need: needWG, what: "users by WireGuard, whose kernel part is here"},
	{any: []string{"keepalived"}, pkg: "keepalived", need: "keepalived-serve", what: "redundant routers"},
	{any: []string{"conntrackd"}, pkg: "conntrackd", need: "conntrackd-serve", what: "redundant routers"},
	{any: []string{"/usr/lib/frr/bgpd"}, pkg: "frr", need: "bgp-serve", what: "Routed networks that tell of themselves by BGP"},
	{any: []string{"genisoimage", "mkisofs", "xorrisofs"}, pkg: "genisoimage", need: needImage, what: "config drives"},
}

// wanted reads from the host's share what it needs to be there.
func (x *exam) wanted() {
	x.wants = map[string]string{}
	for _, id := range x.Share.Set.IDs() {
		for _, need := range needsOf(x.Share.Set[id].State) {
			if x.wants[need] == "" {
				x.wants[need] = string(id.Kind) + " " + strings.TrimPrefix(id.Name, "/")
			}
		}
	}
}

func needsOf(st resource.State) []string {
	switch s := st.(type) {
	case resource.Process:
		return needsOfProcess(s.Argv)
	case resource.File:
		if s.Image != "" {
			return []string{needImage}
		}
	case resource.Link:
		switch {
		case s.VLAN != nil:
			return []string{needVLAN}
		case s.Bridge != nil:
			return []string{needBridge}
		}
	case resource.BridgePort:
		if s.IfaceID != "" {
			return []string{needNFT, needBridge}
		}
		return []string{needBridge}
	case resource.Route:
		if s.NS == "" {
			return []string{needRoute}
		}
	case resource.RoutingRule:
		if s.NS == "" {
			return []string{needRoute}
		}
	case resource.Chain:
		return []string{needFilter}
	}
	switch kind := st.ID().Kind; {
	case kind == resource.KindSet:
		return []string{needSet}
	case strings.HasPrefix(string(kind), "ovs."):
		return []string{needOVS}
	}
	return nil
}

// needsOfProcess: weft's own keepers are known by their verbs, of which one may run
// another.
func needsOfProcess(argv []string) (out []string) {
	if len(argv) > 0 && argv[0] != "{weft}" {
		return argv[:1]
	}
	for i, word := range argv[:max(len(argv)-1, 0)] {
		switch {
		case word != "{weft}":
		case argv[i+1] != "wireguard-serve":
			out = append(out, argv[i+1])
		case slices.Contains(argv, "--kernel"):
			out = append(out, needWG)
		}
	}
	return out
}

// tools tells which programs are missing: those that the host's share needs are an
// error; of a host without a tree those that nobody can do without.
func (x *exam) tools() {
	for _, t := range tools {
		if slices.ContainsFunc(t.any, x.has) || t.need == needWG && !x.Facts.WireGuard {
			continue
		}
		name := strings.Join(t.any, " or ")
		if i := strings.LastIndexByte(name, '/'); i >= 0 {
			name = name[i+1:]
		}
		cure := "apt install " + t.pkg
		asked := x.wants[t.need]
		switch {
		case asked != "":
			x.tell(Error, "tools", cure, "%s is not installed, and %s needs it: no %s", name, asked, t.what)
		case x.Share != nil && t.need == needOVS && x.wants[needBridge] != "":
			// a host of Linux bridges: none is wanted
		case t.always && x.Share == nil:
			x.tell(Error, "tools", cure, "%s is not installed: no %s", name, t.what)
		case t.always:
			x.tell(Warning, "tools", cure, "%s is not installed, and no network needs it here today: no %s", name, t.what)
		default:
			x.tell(Note, "tools", cure, "%s is not installed: no %s", name, t.what)
		}
	}
}
