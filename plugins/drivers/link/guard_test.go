package link

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/resource"
)

const someMAC = "02:00:00:00:00:01"

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// Nothing that the language lets through, and nothing else, ends in a rule as something
// that it is not.
func TestGuardRefused(t *testing.T) {
	good := resource.Guard{MAC: someMAC, Owned: []resource.Owned{{MAC: someMAC, CIDR: prefix("10.0.0.1/32")}}}
	if _, err := render("weft", "acme/web-1/eth0", &good); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"", "a b", "a\nflush ruleset", "a;b", "a}b", `a"b`, "a*", "ä"} {
		if text, err := render("weft", id, &good); err == nil {
			t.Errorf("%q was taken: %s", id, text)
		}
	}
	for _, mac := range []string{"", "02:00:00:00:00:01 accept", "02-00-00-00-00-01", "02:00:00:00:00:AA", "02:00:00:00:00:01:02:03"} {
		g := good
		g.MAC = mac
		if text, err := render("weft", "a/b/c", &g); err == nil {
			t.Errorf("%q was taken: %s", mac, text)
		}
		g = good
		g.Owned = []resource.Owned{{MAC: mac, CIDR: prefix("10.0.0.1/32")}}
		if text, err := render("weft", "a/b/c", &g); err == nil {
			t.Errorf("%q was taken: %s", mac, text)
		}
		g = good
		g.Reserved = &resource.Reserved{MACs: []string{mac}}
		if text, err := render("weft", "a/b/c", &g); err == nil {
			t.Errorf("%q was taken: %s", mac, text)
		}
	}
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("fe80::1%eth0 accept")} {
		g := good
		g.Reserved = &resource.Reserved{Addrs: []netip.Addr{a}}
		if text, err := render("weft", "a/b/c", &g); err == nil {
			t.Errorf("%s was taken: %s", a, text)
		}
	}
	empty := good
	empty.Owned = []resource.Owned{{MAC: someMAC}}
	if text, err := render("weft", "a/b/c", &empty); err == nil {
		t.Errorf("an empty address was taken: %s", text)
	}
}

func TestNameable(t *testing.T) {
	for name, want := range map[string]bool{
		"": true, "vnet7": true, "eth0.100": true, "tap-web_1": true, "a;b": true, // nft quotes it
		"a,b": false, `a"b`: false, `a\b`: false, "a}": false, "{a": false, "vnet*": false, "a\nb": false, "a\x01": false, "\xff": false, "tapä": false,
	} {
		if nameable(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

// Every chain that lets something pass refuses the rest.
func TestGuardRefusesTheRest(t *testing.T) {
	rule := resource.GuestRule{Proto: 6, Ports: []resource.PortSpan{{From: 22, To: 22}}, ICMPType: -1, ICMPCode: -1, Peers: []netip.Prefix{prefix("0.0.0.0/0")}}
	for name, g := range map[string]resource.Guard{
		"down":   {Down: true, MAC: someMAC},
		"any":    {Any: true, MAC: someMAC},
		"own":    {MAC: someMAC, Owned: []resource.Owned{{MAC: someMAC, CIDR: prefix("10.0.0.1/32")}, {MAC: someMAC, CIDR: prefix("fd00::1/128")}}},
		"groups": {MAC: someMAC, Groups: &resource.GuestGroups{Open: true, Ingress: []resource.GuestRule{rule}}},
		"open":   {Open: true, MAC: someMAC, Groups: &resource.GuestGroups{Egress: []resource.GuestRule{rule}}},
	} {
		text, err := render("weft", "a/b/c", &g)
		if err != nil {
			t.Fatal(name, err)
		}
		last := map[string]string{}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, "add rule bridge weft "); ok {
				chain, rule, _ := strings.Cut(strings.TrimSpace(rest), " ")
				last[chain] = rule
			}
		}
		for chain, rule := range last {
			passes := chain == "to-a/b/c" && g.Groups == nil && !g.Down || chain == "from-a/b/c" && g.Open
			if passes == (rule == "drop") {
				t.Errorf("%s: %s ends with %q", name, chain, rule)
			}
		}
	}
}

func TestGuardsAreRead(t *testing.T) {
	g := guards{blocks: map[string]string{}, bound: map[string]map[string]string{mapFrom: {}, mapTo: {}}}
	g.parse("table bridge weft {\n\tmap from {\n\t\ttype ifname : verdict\n\t}\n\n\tset asked-ip-a/b/c {\n\t\tsize 5\n\t}\n\n" +
		"\tchain from-a/b/c {\n\t\tether saddr 1 { 2 } drop\n\t\tdrop\n\t}\n}\n")
	if got := g.blocks["from-a/b/c"]; got != "chain\n\t\tether saddr 1 { 2 } drop\n\t\tdrop\n" || len(g.blocks) != 2 {
		t.Errorf("%q", g.blocks)
	}
	got := elements("table bridge weft {\n\tmap from {\n\t\ttype ifname : verdict\n\t\telements = { \"vnet1\" : jump from-a/b/c,\n\t\t\t     \"vnet2\" : jump from-d }\n\t}\n}\n")
	if len(got) != 2 || got["vnet1"] != "from-a/b/c" || got["vnet2"] != "from-d" {
		t.Errorf("%q", got)
	}
	g.bound[mapFrom], g.bound[mapTo] = map[string]string{"vnet1": "from-a/b/c"}, map[string]string{"vnet1": "to-a/b/c"}
	for name, want := range map[string]bool{"vnet1": true, "vnet2": false, "": false} {
		if g.leads("a/b/c", name) != want {
			t.Errorf("%q leads there: %v", name, !want)
		}
	}
	if !slices.Equal(g.orphans(nil), []string{"a/b/c"}) || g.orphans(map[string]bool{"a/b/c": true}) != nil {
		t.Error("orphans:", g.orphans(nil))
	}
}
