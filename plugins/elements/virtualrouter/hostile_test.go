package virtualrouter

import (
	"fmt"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/tools/txtar"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/compile"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

var placeholder = regexp.MustCompile(`<<([a-z-]+)=([^>]*)>>`)

// hostile are values of somebody who wants more than a name.
var hostile = []string{
	"a\nport=0", "a\nCOMMIT", "a\r\nb", "a\rb", "a\x00b", "a\tb", "a\u0085b", "a\u2028b", "\u202eweb", "web\u200b", "w\u0435b", "\uff57eb", "\u00e9",
	"a'b", `a"b`, `a" -j ACCEPT`, `a\`, "a;reboot", "$(reboot)", "${IFS}", "`reboot`", "a|b", "a&b", "a>b", "!a", "%s%n", "a b", " a", "a ", "#", "a#b",
	"-j ACCEPT", "--conf-file=/etc/passwd", "-a", "a-", "_a", "a_b", "{run}", "{run}/../../x", "..", ".", "../../etc/passwd", ".hidden", "a/b", "/etc/passwd", "a//b",
	"a,b", "a,ignore", "a=b", "a:b", "tag:extra", "set:extra", "id:*", "*", "eth*", "a.b", "a.", ".a", "a..b", "A", "WEB", "ACCEPT", "DROP", "INPUT",
	"ignore", "infinite", "2h", "45m", "60", "1w", "web7", "7web", "0", "007", "1e3", "0x1f", "localhost", "10.1.1.77", "1.1.5", "null", "~", "yes", "true", "", "[]", "{}",
	"lo", "all", "default", "eth0", "eth1", "weft", "weft-int", "vnet7", "system", "host", "dnsmasq", "leases", "con", "aux",
	"10.1.1.0/24\n", "10.1.1.9\n", "::ffff:10.1.1.12", "0.0.0.0", "255.255.255.255", "127.0.0.1", "224.0.0.1", "127.0.0.0/8", "10.1.1.300", "1-65535", "9223372036s", "2562047h",
	strings.Repeat("a", 15), strings.Repeat("a", 16), strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("9", 63), strings.Repeat("a-", 31) + "a",
	strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("b", 61), strings.Repeat("a.", 200), strings.Repeat("x", 5000),
}

// written are the fields whose values stand in dnsmasq's files as they are.
var written = []string{"hostname", "unnamed-vm", "network-domain", "dns", "guest-dns", "lease-time"}

// TestHostile puts every hostile value in the place of every string of a tree:
// either it is refused, at a place, or everything has the form that it has with
// the usual value, and the parsers take it.
func TestHostile(t *testing.T) {
	text, err := os.ReadFile("testdata/hostile.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cache := new(schema.Cache)
	usual, ok := judge(t, cache, string(text), "", "")
	if !ok {
		t.Fatal("the usual values are refused")
	}
	accepted := map[string]int{}
	for _, field := range fields(string(text)) {
		for _, value := range hostile {
			in, ok := judge(t, cache, string(text), field, value)
			if !ok {
				continue
			}
			accepted[field]++
			if d := differ(form(usual), form(in)); d != "" {
				t.Errorf("%s = %q changes the form: %s", field, value, d)
			}
			clean(t, field+"="+value, in)
			if slices.Contains(written, field) {
				parsers(t, in)
			}
		}
	}
	for _, field := range []string{"account", "network", "vm", "hostname", "network-domain", "nic", "interface", "public-ip", "egress-name", "forward-name", "firewall-name", "label", "offering"} {
		if accepted[field] == 0 {
			t.Errorf("no value of %s was accepted: nothing was tried", field)
		}
	}
}

func fields(text string) []string {
	var out []string
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// judge compiles the tree with value in the place of field. It returns false where
// somebody refuses it.
func judge(t *testing.T, cache *schema.Cache, text, field, value string) (*resource.Intent, bool) {
	t.Helper()
	text = placeholder.ReplaceAllStringFunc(text, func(s string) string {
		m := placeholder.FindStringSubmatch(s)
		if m[1] == field {
			return strconv.Quote(value)
		}
		return strconv.Quote(m[2])
	})
	var files []txtar.File // one a document, so that the cache knows the others
	for i, doc := range strings.Split(text, "\n---\n") {
		files = append(files, txtar.File{Name: fmt.Sprint(i, ".yaml"), Data: []byte(doc + "\n")})
	}
	tree, ds := schema.Parse(treeOf(files), cache)
	for _, d := range ds {
		if d.Pos.IsZero() {
			t.Errorf("%s = %q: a diagnostic without a place: %s", field, value, d.String())
		}
	}
	if ds.HasErrors() {
		return nil, false
	}
	c := compile.New(registry)
	lock, _, ds := alloc.Allocate(c.Update(tree, nil, nil).Demands(), nil, alloc.Options{})
	res := c.Update(tree, lock, nil)
	if ds.HasErrors() || res.Diags.HasErrors() {
		return nil, false
	}
	return res.Intent(res.Hosts()[0]), true
}

// form is what an intent looks like without the values in it: how many resources
// of which sort, and in them how many lines, which directives, rules and words.
func form(in *resource.Intent) []string {
	var out []string
	for _, h := range in.Holds {
		out = append(out, "hold "+h.Cause)
	}
	for _, e := range in.Set() {
		s := string(e.State.ID().Kind)
		switch st := e.State.(type) {
		case resource.File:
			s += " " + path.Base(st.Path) + " " + strings.Join(directives(st.Parts[0].Text), " ")
		case resource.Process:
			s += fmt.Sprint(" ", len(st.Argv), st.Argv[:2], len(st.Test))
		case resource.Chain:
			s += fmt.Sprint(" ", st.Table, st.Policy, len(st.Rules))
			var rules []string // in any order: those of public addresses come by name
			for _, r := range st.Rules {
				rules = append(rules, fmt.Sprint(" ", r.Do.Target, r.Do.Jump != "", r.Match.In, r.Match.Out, r.Match.SrcSet != ""))
			}
			slices.Sort(rules)
			s += strings.Join(rules, "")
		case resource.AddrSet:
			s += fmt.Sprint(" ", len(st.Members))
		case resource.Addr:
			s += " " + st.Link
		case resource.Sysctl:
			s += " " + st.Key + "=" + st.Value
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// directives are the lines of a configuration without their values.
func directives(text string) []string {
	var out []string
	for l := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimSuffix(l, "\n"), "=")
		if !ok {
			// hosts and dhcp-hosts: how many words, of which only the last is a name.
			name = fmt.Sprint(len(strings.Fields(l)), strings.Count(l, ","), strings.HasPrefix(l, "#"))
			rest = ""
		}
		if strings.HasPrefix(name, "dhcp-option") {
			name += "=" + strings.TrimRight(strings.SplitAfter(rest, ",")[0], ",")
		}
		out = append(out, name)
	}
	return out
}

func differ(a, b []string) string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			return "new: " + s
		}
	}
	for _, s := range a {
		if !slices.Contains(b, s) {
			return "missing: " + s
		}
	}
	if len(a) != len(b) {
		return fmt.Sprintf("%d resources, not %d", len(b), len(a))
	}
	return ""
}

var (
	safeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	safeWord = regexp.MustCompile(`^[A-Za-z0-9{}_./=-]+$`)
	safeLine = regexp.MustCompile(`^[A-Za-z0-9#*!,:/=. -]*$`)
)

// clean holds that what ends in names, command lines and files has only
// characters that mean themselves there.
func clean(t *testing.T, what string, in *resource.Intent) {
	t.Helper()
	name := func(s string, limit int) {
		if !safeName.MatchString(s) || len(s) > limit {
			t.Errorf("%s: the name %q", what, s)
		}
	}
	for _, e := range in.Set() {
		switch st := e.State.(type) {
		case resource.NS:
			name(st.Name, 255)
		case resource.Link:
			name(st.Host, 15)
		case resource.Chain:
			name(st.Name, 28)
			for _, r := range st.Rules {
				name(r.Name, 63)
			}
		case resource.AddrSet:
			name(st.Name, 31)
		case resource.File:
			if filepath.Clean(st.Path) != st.Path || !filepath.IsLocal(st.Path) {
				t.Errorf("%s: the path %q", what, st.Path)
			}
			for part := range strings.SplitSeq(st.Path, "/") {
				name(part, 255)
			}
			for l := range strings.Lines(st.Parts[0].Text) {
				if !safeLine.MatchString(strings.TrimSuffix(l, "\n")) || len(l) > 1024 {
					t.Errorf("%s: the line %q", what, l)
				}
			}
		case resource.Process:
			for _, w := range st.Argv {
				if !safeWord.MatchString(w) {
					t.Errorf("%s: the word %q", what, w)
				}
			}
		}
	}
}

// FuzzLine holds that no text breaks its line, nor ends it early.
func FuzzLine(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		var c config
		c.line("first=%s", a)
		c.line("second=%s,%s", b, a)
		lines := strings.Split(c.String(), "\n")
		if len(lines) != 3 || lines[2] != "" || !strings.HasPrefix(lines[0], "first=") || !strings.HasPrefix(lines[1], "second=") {
			t.Fatalf("%q", c.String())
		}
		if i := strings.IndexFunc(c.String(), func(r rune) bool { return r != '\n' && unicode.Is(unicode.Cc, r) && r < 0x80 }); i >= 0 {
			t.Fatalf("a control character in %q", c.String())
		}
	})
}

// FuzzHosts holds that each machine has its one line in the files about machines,
// in their order, whatever it is called.
func FuzzHosts(f *testing.F) {
	for i, s := range hostile {
		f.Add(s, hostile[len(hostile)-1-i], i%2 == 0, uint32(i))
	}
	f.Fuzz(func(t *testing.T, one, two string, extra bool, addr uint32) {
		ip := netip.AddrFrom4([4]byte{10, byte(addr >> 16), byte(addr >> 8), byte(addr)})
		r := router{n: &model.Network{NICs: []*model.NIC{
			{Hostname: one, IP: ip, MAC: schema.MAC{2, 1}, Running: true, Default: !extra},
			{Hostname: "stopped", IP: ip, MAC: schema.MAC{2, 2}},
			{Hostname: two, IP: ip.Next(), MAC: schema.MAC{2, 3}, Running: true, Default: true},
		}}}
		hosts, leases := strings.Split(r.hosts(), "\n"), strings.Split(r.leases(), "\n")
		if len(hosts) != 3 || len(leases) != 4 {
			t.Fatalf("%q %q", hosts, leases)
		}
		if !strings.HasPrefix(hosts[0], ip.String()+" ") || !strings.HasPrefix(hosts[1], ip.Next().String()+" ") || hosts[2] != "" {
			t.Errorf("hosts: %q", hosts)
		}
		for i, mac := range []string{"02:01:00:00:00:00", "02:02:00:00:00:00,set:extra", "02:03:00:00:00:00"} {
			if !strings.HasPrefix(leases[i], mac) || !strings.HasSuffix(leases[i], ".") {
				t.Errorf("dhcp-hosts: %q", leases[i])
			}
		}
	})
}
