package fw

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func ports(p ...uint16) (out []schema.PortRange) {
	for i := 0; i < len(p); i += 2 {
		out = append(out, schema.PortRange{From: p[i], To: p[i+1]})
	}
	return out
}

func TestRender(t *testing.T) {
	var sixteen []uint16
	for i := range uint16(16) {
		sixteen = append(sixteen, 100+i, 100+i)
	}
	accept := resource.Verdict{Target: "ACCEPT"}
	to := netip.MustParseAddr("10.0.0.5")
	cases := []struct {
		name  string
		table string
		fam   int
		rule  resource.Rule
		want  []string // without "-A c" in front, comment as #
	}{
		{"nothing", "filter", 4, resource.Rule{Do: accept}, []string{"# -j ACCEPT"}},
		{"ends", "filter", 4, resource.Rule{Match: resource.Match{In: "eth0", Out: "eth1.5", Src: pfx("10.0.0.7/8"), Dst: pfx("192.0.2.1/32"), NotDst: true, SrcSet: "a", DstSet: "b"}, Do: accept},
			[]string{"-s 10.0.0.0/8 ! -d 192.0.2.1/32 -i eth0 -o eth1.5 -m set --match-set a src -m set --match-set b dst # -j ACCEPT"}},
		{"port", "filter", 4, resource.Rule{Match: resource.Match{Proto: "udp", SrcPorts: ports(1, 2), DstPorts: ports(53, 53)}, Do: accept},
			[]string{"-p udp -m udp --sport 1:2 --dport 53 # -j ACCEPT"}},
		{"ports", "filter", 4, resource.Rule{Match: resource.Match{Proto: "6", SrcPorts: ports(1, 1), DstPorts: ports(80, 80, 90, 99)}, Do: accept},
			[]string{"-p 6 -m tcp --sport 1 -m multiport --dports 80,90:99 # -j ACCEPT"}},
		{"16 ports", "filter", 4, resource.Rule{Match: resource.Match{Proto: "tcp", DstPorts: ports(sixteen...)}, Do: accept},
			[]string{"-p tcp -m multiport --dports 100,101,102,103,104,105,106,107,108,109,110,111,112,113,114 # -j ACCEPT", "-p tcp -m tcp --dport 115 # -j ACCEPT"}},
		{"icmp", "filter", 4, resource.Rule{Match: resource.Match{Proto: "icmp", ICMPType: 4, ICMPCode: 5}, Do: accept}, []string{"-p icmp -m icmp --icmp-type 3/4 # -j ACCEPT"}},
		{"icmpv6", "filter", 6, resource.Rule{Match: resource.Match{Proto: "icmpv6", ICMPType: 129}, Do: accept}, []string{"-p icmpv6 -m icmp6 --icmpv6-type 128 # -j ACCEPT"}},
		{"states", "filter", 4, resource.Rule{Match: resource.Match{CT: []string{"NEW", "DNAT"}, OrigDst: pfx("203.0.113.1/32"), Mark: 16}, Do: accept},
			[]string{"-m conntrack --ctstate NEW,DNAT --ctorigdst 203.0.113.1/32 -m mark --mark 0x10 # -j ACCEPT"}},
		{"reject", "filter", 4, resource.Rule{Do: resource.Verdict{Target: "REJECT"}}, []string{"# -j REJECT --reject-with icmp-port-unreachable"}},
		{"reject tcp", "filter", 6, resource.Rule{Match: resource.Match{Proto: "tcp"}, Do: resource.Verdict{Target: "REJECT"}}, []string{"-p tcp # -j REJECT --reject-with tcp-reset"}},
		{"reject6", "filter", 6, resource.Rule{Do: resource.Verdict{Target: "REJECT"}}, []string{"# -j REJECT --reject-with icmp6-port-unreachable"}},
		{"dnat", "nat", 4, resource.Rule{Do: resource.Verdict{Target: "DNAT", To: to}}, []string{"# -j DNAT --to-destination 10.0.0.5"}},
		{"dnat port", "nat", 4, resource.Rule{Match: resource.Match{Proto: "tcp", DstPorts: ports(80, 80)}, Do: resource.Verdict{Target: "DNAT", To: to, Ports: schema.PortRange{From: 8080, To: 8080}}},
			[]string{"-p tcp -m tcp --dport 80 # -j DNAT --to-destination 10.0.0.5:8080"}},
		{"dnat range", "nat", 4, resource.Rule{Match: resource.Match{Proto: "tcp", DstPorts: ports(80, 89)}, Do: resource.Verdict{Target: "DNAT", To: to, Ports: schema.PortRange{From: 180, To: 189}, Base: 80}},
			[]string{"-p tcp -m tcp --dport 80:89 # -j DNAT --to-destination 10.0.0.5:180-189/80"}},
		{"dnat6", "nat", 6, resource.Rule{Match: resource.Match{Proto: "udp"}, Do: resource.Verdict{Target: "DNAT", To: netip.MustParseAddr("2001:db8::1"), Ports: schema.PortRange{From: 1, To: 2}}},
			[]string{"-p udp # -j DNAT --to-destination [2001:db8::1]:1-2"}},
		{"snat", "nat", 4, resource.Rule{Do: resource.Verdict{Target: "SNAT", To: to}}, []string{"# -j SNAT --to-source 10.0.0.5"}},
		{"mss", "mangle", 4, resource.Rule{Match: resource.Match{Proto: "tcp"}, Do: resource.Verdict{Target: "CLAMPMSS"}}, []string{"-p tcp -m tcp --tcp-flags SYN,RST SYN # -j TCPMSS --clamp-mss-to-pmtu"}},
		{"mark of some bits", "mangle", 4, resource.Rule{Do: resource.Verdict{Target: "MARK", Mark: 0x10000, Mask: 0xffff0000}}, []string{"# -j MARK --set-xmark 0x10000/0xffff0000"}},
		{"save mark", "mangle", 4, resource.Rule{Do: resource.Verdict{Target: "SAVEMARK", Mask: 0xffff0000}}, []string{"# -j CONNMARK --save-mark --nfmask 0xffff0000 --ctmask 0xffff0000"}},
		{"restore mark", "mangle", 4, resource.Rule{Do: resource.Verdict{Target: "RESTOREMARK"}}, []string{"# -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff"}},
		{"mark", "mangle", 4, resource.Rule{Do: resource.Verdict{Target: "MARK", Mark: 255}}, []string{"# -j MARK --set-xmark 0xff/0xffffffff"}},
		{"out of a tunnel", "filter", 4, resource.Rule{Match: resource.Match{IPsec: "in"}, Do: accept}, []string{"-m policy --dir in --pol ipsec # -j ACCEPT"}},
		{"past the tunnel", "filter", 4, resource.Rule{Match: resource.Match{IPsec: "clear"}, Do: accept}, []string{"-m policy --dir out --pol none # -j ACCEPT"}},
		{"nth", "nat", 4, resource.Rule{Match: resource.Match{Nth: 3}, Do: resource.Verdict{Target: "DNAT", To: to}}, []string{"-m statistic --mode nth --every 3 --packet 0 # -j DNAT --to-destination 10.0.0.5"}},
		{"hash", "nat", 4, resource.Rule{Match: resource.Match{Hash: resource.Hash{Nodes: 3, Mask: 5, Seed: 255}}, Do: resource.Verdict{Target: "DNAT", To: to}},
			[]string{"-m cluster --cluster-total-nodes 3 --cluster-local-nodemask 0x5 --cluster-hash-seed 0xff # -j DNAT --to-destination 10.0.0.5"}},
		{"jump", "filter", 4, resource.Rule{Do: resource.Verdict{Jump: "EGRESS"}}, []string{"# -j EGRESS"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.rule.Name = "n"
			got, err := render(resource.Chain{NS: "x", Family: c.fam, Table: c.table, Name: "c", Rules: []resource.Rule{c.rule}}, "network/a/b")
			if err != nil {
				t.Fatal(err)
			}
			for i, w := range c.want {
				c.want[i] = "-A c " + strings.ReplaceAll(w, "#", `-m comment --comment "network/a/b n"`)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	to := netip.MustParseAddr("10.0.0.5")
	accept := resource.Verdict{Target: "ACCEPT"}
	rules := map[string]resource.Rule{
		"no verdict":        {},
		"two verdicts":      {Do: resource.Verdict{Target: "DROP", Jump: "x"}},
		"unknown target":    {Do: resource.Verdict{Target: "LOG\n-A INPUT -j ACCEPT"}},
		"bad jump":          {Do: resource.Verdict{Jump: "x -j ACCEPT"}},
		"jump to built-in":  {Do: resource.Verdict{Jump: "INPUT"}},
		"wildcard":          {Match: resource.Match{In: "eth+"}, Do: accept},
		"interface option":  {Match: resource.Match{Out: "-j"}, Do: accept},
		"interface blank":   {Match: resource.Match{In: "e -j ACCEPT"}, Do: accept},
		"interface newline": {Match: resource.Match{In: "e\n"}, Do: accept},
		"set blank":         {Match: resource.Match{SrcSet: "a src -j ACCEPT"}, Do: accept},
		"family":            {Match: resource.Match{Src: pfx("2001:db8::/32")}, Do: accept},
		"mapped":            {Match: resource.Match{Src: pfx("::ffff:10.0.0.0/104")}, Do: accept},
		"not nothing":       {Match: resource.Match{NotDst: true}, Do: accept},
		"protocol":          {Match: resource.Match{Proto: "tcp -j ACCEPT"}, Do: accept},
		"protocol number":   {Match: resource.Match{Proto: "256"}, Do: accept},
		"protocol octal":    {Match: resource.Match{Proto: "06"}, Do: accept},
		"protocol all":      {Match: resource.Match{Proto: "0"}, Do: accept},
		"icmpv6 in 4":       {Match: resource.Match{Proto: "icmpv6"}, Do: accept},
		"ports without":     {Match: resource.Match{DstPorts: ports(1, 1)}, Do: accept},
		"ports of gre":      {Match: resource.Match{Proto: "47", DstPorts: ports(1, 1)}, Do: accept},
		"ports reversed":    {Match: resource.Match{Proto: "tcp", DstPorts: ports(2, 1)}, Do: accept},
		"icmp type of tcp":  {Match: resource.Match{Proto: "tcp", ICMPType: 1}, Do: accept},
		"icmp code alone":   {Match: resource.Match{Proto: "icmp", ICMPCode: 1}, Do: accept},
		"icmp type":         {Match: resource.Match{Proto: "icmp", ICMPType: 257}, Do: accept},
		"syn of udp":        {Match: resource.Match{Proto: "udp", SYN: true}, Do: accept},
		"state":             {Match: resource.Match{CT: []string{"NEW -j ACCEPT"}}, Do: accept},
		"address of accept": {Do: resource.Verdict{Target: "ACCEPT", To: to}},
		"dnat in filter":    {Do: resource.Verdict{Target: "DNAT", To: to}},
		"ipsec":             {Match: resource.Match{IPsec: "in --pol none"}, Do: accept},
		"nth negative":      {Match: resource.Match{Nth: -1}, Do: accept},
		"hash of none":      {Match: resource.Match{Hash: resource.Hash{Mask: 1}}, Do: accept},
		"hash of 33":        {Match: resource.Match{Hash: resource.Hash{Nodes: 33, Mask: 1}}, Do: accept},
		"hash outside":      {Match: resource.Match{Hash: resource.Hash{Nodes: 2, Mask: 4}}, Do: accept},
		"hash nobody":       {Match: resource.Match{Hash: resource.Hash{Nodes: 2}}, Do: accept},
		"mss of all":        {Do: resource.Verdict{Target: "CLAMPMSS"}},
	}
	for name, r := range rules {
		if got, err := render(resource.Chain{NS: "x", Family: 4, Table: "filter", Name: "c", Rules: []resource.Rule{r}}, "o"); err == nil {
			t.Errorf("%s: rendered %q", name, got)
		}
	}
	nat := map[string]resource.Verdict{
		"no address":    {Target: "DNAT"},
		"family":        {Target: "SNAT", To: netip.MustParseAddr("::1")},
		"zone":          {Target: "SNAT", To: netip.MustParseAddr("fe80::1%eth0")},
		"port zero":     {Target: "DNAT", To: to, Ports: schema.PortRange{From: 0, To: 5}},
		"base of snat":  {Target: "SNAT", To: to, Ports: schema.PortRange{From: 10, To: 12}, Base: 80},
		"other length":  {Target: "DNAT", To: to, Ports: schema.PortRange{From: 10, To: 20}, Base: 80},
		"another base":  {Target: "DNAT", To: to, Ports: schema.PortRange{From: 10, To: 12}, Base: 79},
		"base no ports": {Target: "DNAT", To: to, Base: 80},
	}
	for name, v := range nat {
		r := resource.Rule{Match: resource.Match{Proto: "tcp", DstPorts: ports(80, 82)}, Do: v}
		if got, err := render(resource.Chain{NS: "x", Family: 4, Table: "nat", Name: "c", Rules: []resource.Rule{r}}, "o"); err == nil {
			t.Errorf("%s: rendered %q", name, got)
		}
	}
	chains := map[string]resource.Chain{
		"family":        {Family: 5, Table: "filter", Name: "c"},
		"table":         {Family: 4, Table: "filter\nCOMMIT", Name: "c"},
		"empty name":    {Family: 4, Table: "filter"},
		"long name":     {Family: 4, Table: "filter", Name: strings.Repeat("c", 29)},
		"name breaks":   {Family: 4, Table: "filter", Name: "c\n-P INPUT ACCEPT"},
		"option":        {Family: 4, Table: "filter", Name: "-F"},
		"target":        {Family: 4, Table: "filter", Name: "DROP"},
		"policy":        {Family: 4, Table: "filter", Name: "INPUT", Policy: "REJECT"},
		"policy of own": {Family: 4, Table: "filter", Name: "c", Policy: "DROP"},
	}
	for name, c := range chains {
		if _, err := render(c, "o"); err == nil {
			t.Errorf("chain, %s: rendered", name)
		}
	}
}

func FuzzComment(f *testing.F) {
	for _, s := range []string{"plain", `a" -j ACCEPT`, "a\nb", `\`, `\"`, strings.Repeat("ü", 300), "\xff", "\u2028"} {
		f.Add("network/a/b", s)
	}
	f.Fuzz(func(t *testing.T, owner, name string) {
		c := comment(resource.Owner(owner), name)
		in := c[1 : len(c)-1]
		if c[0] != '"' || c[len(c)-1] != '"' || strings.ContainsAny(in, "\"\\\n\r\x00") || len(in) > commentLimit || !utf8.ValidString(in) {
			t.Errorf("comment of %q is %q", name, c)
		}
	})
}

func edits(t *testing.T, chains ...resource.Chain) (out []*edit) {
	t.Helper()
	for _, c := range chains {
		lines, err := render(c, "o")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, &edit{chain: c, lines: lines})
	}
	return out
}

func TestRestoreText(t *testing.T) {
	c := func(table, name, policy string, rules ...resource.Rule) resource.Chain {
		return resource.Chain{NS: "x", Family: 4, Table: table, Name: name, Policy: policy, Rules: rules}
	}
	list := edits(t,
		c("filter", "FORWARD", "DROP", resource.Rule{Do: resource.Verdict{Jump: "mine"}}),
		c("filter", "mine", "", resource.Rule{Do: resource.Verdict{Target: "RETURN"}}))
	list = append(list, &edit{chain: c("filter", "old", ""), drop: true}, &edit{chain: c("filter", "OUTPUT", ""), drop: true})
	const want = "*filter\n:FORWARD DROP [0:0]\n:mine - [0:0]\n:old - [0:0]\n:OUTPUT ACCEPT [0:0]\n-F FORWARD\n-F OUTPUT\n" +
		"-A FORWARD -m comment --comment \"o\" -j mine\n-A mine -m comment --comment \"o\" -j RETURN\n-X old\nCOMMIT\n" +
		"*nat\n:POSTROUTING ACCEPT [0:0]\n-F POSTROUTING\nCOMMIT\n"
	if got := string(restoreText([]section{{"filter", list}, {"nat", edits(t, c("nat", "POSTROUTING", "ACCEPT"))}})); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// TestPassage: what is written of a change that opens one table and closes another,
// beside a translation that moves.
func TestPassage(t *testing.T) {
	port := func(p uint16, target string) resource.Rule {
		return resource.Rule{Match: resource.Match{Proto: "tcp", DstPorts: []schema.PortRange{{From: p, To: p}}}, Do: resource.Verdict{Target: target}}
	}
	dnat := func(to string) resource.Rule {
		return resource.Rule{Match: resource.Match{Dst: pfx("203.0.113.1/32")}, Do: resource.Verdict{Target: "DNAT", To: netip.MustParseAddr(to)}}
	}
	filter := func(mangle, forward uint16, to string) []resource.Chain {
		c := func(table, name, policy string, rules ...resource.Rule) resource.Chain {
			return resource.Chain{NS: "x", Family: 4, Table: table, Name: name, Policy: policy, Rules: rules}
		}
		return []resource.Chain{
			c("mangle", "PREROUTING", "DROP", port(mangle, "ACCEPT")), c("nat", "PREROUTING", "ACCEPT", dnat(to)), c("filter", "FORWARD", "DROP", port(forward, "ACCEPT")),
		}
	}
	x := &site{note: &note{Chains: map[string]written{}}}
	kernel := tables{}
	for _, e := range edits(t, filter(22, 80, "10.0.0.5")...) {
		k := &kchain{policy: e.policy(), rules: e.lines}
		kernel[e.chain.ID()] = k
		x.note.Chains[e.chain.ID().Name] = written{Owner: "o", Chain: e.chain, Text: k.text()}
	}
	told := func(jobs []*job) string {
		sections, err := x.passage(4, jobs, kernel)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, line := range strings.Split(string(restoreText(sections)), "\n") {
			if line != "COMMIT" && line != "" && line[0] != ':' && !strings.HasPrefix(line, "-F") {
				out = append(out, strings.ReplaceAll(line, ` -m comment --comment "o"`, ""))
			}
		}
		return strings.Join(out, "\n")
	}
	jobs := func(chains []resource.Chain) (out []*job) {
		for _, e := range edits(t, chains...) {
			out = append(out, &job{edit: e, step: &plan.Step{Action: &plan.Action{ID: e.chain.ID(), After: &resource.Entry{State: e.chain, Owner: "o"}}}})
		}
		return out
	}
	const tcp = " -p tcp -m tcp --dport "
	for _, c := range []struct {
		name string
		to   []resource.Chain
		want []string
	}{
		{"all of it", filter(80, 22, "10.0.0.6"), []string{
			"*mangle", "*filter", "*nat", "-A PREROUTING -d 203.0.113.1/32 -j DNAT --to-destination 10.0.0.6",
			"*mangle", "-A PREROUTING" + tcp + "80 -j ACCEPT", "*filter", "-A FORWARD" + tcp + "22 -j ACCEPT",
		}},
		{"one table", filter(80, 80, "10.0.0.5"), []string{
			"*mangle", "-A PREROUTING" + tcp + "80 -j ACCEPT",
			// What is as it was is written once more, since it was asked for.
			"*filter", "-A FORWARD" + tcp + "80 -j ACCEPT", "*nat", "-A PREROUTING -d 203.0.113.1/32 -j DNAT --to-destination 10.0.0.5",
		}},
	} {
		got := told(jobs(c.to))
		if want := strings.Join(c.want, "\n"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	got := tables{}
	err := got.parse("x", 4, "# Generated\n*filter\n:INPUT DROP [3:180]\n:my chain - [0:0]\n:c - [0:0]\n-A INPUT -j c\n-A c -j DROP\nCOMMIT\n# Done\n")
	if err != nil {
		t.Fatal(err)
	}
	if c := got[resource.ChainID("x", 4, "filter", "INPUT")]; c == nil || c.policy != "DROP" || !slices.Equal(c.rules, []string{"-A INPUT -j c"}) {
		t.Errorf("INPUT is %+v", c)
	}
	if got[resource.ChainID("x", 4, "filter", "my chain")] == nil || len(got) != 3 {
		t.Errorf("chains are %v", got)
	}
	for _, bad := range []string{"-A c -j DROP\n", ":c - [0:0]\n", "what\n", "*filter\n:c\n"} {
		if err := (tables{}).parse("x", 4, bad); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}

func TestSplitJoin(t *testing.T) {
	for _, l := range [][]netip.Prefix{
		{},
		{pfx("10.0.0.0/8"), pfx("192.0.2.1/32")},
		{pfx("0.0.0.0/0")},
		{pfx("0.0.0.0/0"), pfx("10.0.0.0/8")},
		{pfx("::/0"), pfx("2001:db8::/32")},
	} {
		s := split(l)
		for _, p := range s {
			if p.Bits() == 0 {
				t.Errorf("%v is split into %v", l, s)
			}
		}
		if got := join(s); !slices.Equal(got, l) {
			t.Errorf("%v became %v", l, got)
		}
	}
	half := pfx("0.0.0.0/1")
	if got := join([]netip.Prefix{half}); !slices.Equal(got, []netip.Prefix{half}) {
		t.Errorf("one half became %v", got)
	}
}

func TestRenderSet(t *testing.T) {
	s := resource.AddrSet{NS: "x", Name: "s", Family: 4, Members: []netip.Prefix{pfx("0.0.0.0/0")}}
	const head = "create weft-new hash:net family inet maxelem 65536\nadd weft-new 0.0.0.0/1\nadd weft-new 128.0.0.0/1\n"
	for _, x := range []struct {
		have *kset
		want string
	}{
		{nil, head + "rename weft-new s\n"},
		{&kset{family: 4}, head + "swap weft-new s\ndestroy weft-new\n"},
		{&kset{family: 6}, head + "destroy s\nrename weft-new s\n"},
	} {
		if got, err := renderSet(s, x.have); err != nil || string(got) != x.want {
			t.Errorf("got %q, %v, want %q", got, err, x.want)
		}
	}
	for _, bad := range []resource.AddrSet{
		{Name: "s", Family: 5},
		{Name: "s\ndestroy x", Family: 4},
		{Name: "-q", Family: 4},
		{Name: strings.Repeat("s", 32), Family: 4},
		{Name: spareSet, Family: 4},
		{Name: "s", Family: 4, Members: []netip.Prefix{pfx("::/0")}},
		{Name: "s", Family: 4, Members: []netip.Prefix{pfx("10.0.0.1/8")}},
		{Name: "s", Family: 4, Members: []netip.Prefix{{}}},
	} {
		if got, err := renderSet(bad, nil); err == nil {
			t.Errorf("%+v became %q", bad, got)
		}
	}
}

func TestDrift(t *testing.T) {
	was := []string{":DROP", "-A c 1", "-A c 2", "-A c 2"}
	for _, x := range []struct {
		c    kchain
		want string
	}{
		{kchain{"DROP", []string{"-A c 1", "-A c 2", "-A c 2"}}, ""},
		{kchain{"ACCEPT", []string{"-A c 1", "-A c 2", "-A c 2"}}, "policy is ACCEPT instead of DROP"},
		{kchain{"DROP", []string{"-A c 1", "-A c 2"}}, "missing -A c 2"},
		{kchain{"DROP", []string{"-A c 1", "-A c 2", "-A c 2", "-A c 3"}}, "extra -A c 3"},
		{kchain{"DROP", []string{"-A c 2", "-A c 1", "-A c 2"}}, "the rules are in another order"},
	} {
		if got := drift(was, &x.c); got != x.want {
			t.Errorf("%v: %q, want %q", x.c, got, x.want)
		}
	}
}

func FuzzParseSet(f *testing.F) {
	f.Add([]byte{8, 0, 2, 0, 'a', 0, 0, 0})
	f.Fuzz(func(_ *testing.T, b []byte) { parseSet(b) })
}

func FuzzParseSaved(f *testing.F) {
	f.Add("*filter\n:INPUT DROP [0:0]\n-A INPUT -j DROP\nCOMMIT\n")
	f.Fuzz(func(_ *testing.T, s string) { _ = (tables{}).parse("x", 4, s) })
}
