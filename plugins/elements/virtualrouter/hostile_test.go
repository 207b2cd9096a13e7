package virtualrouter

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// written are the fields whose values stand in dnsmasq's files as they are.
var written = []string{"hostname", "unnamed-vm", "network-domain", "dns", "guest-dns", "lease-time"}

// TestHostile: whatever a person writes and nobody refuses, everything has the form
// that it has with the usual value, and the parsers take it.
func TestHostile(t *testing.T) {
	must := []string{"user-data", "password", "account", "network", "vm", "hostname", "network-domain", "nic", "interface", "public-ip", "egress-name", "forward-name", "firewall-name", "label", "offering"}
	plugintest.Hostile(t, registry, "testdata/hostile.yaml", must, func(field, value string, usual, got *resource.Intent) {
		if d := differ(form(usual), form(got)); d != "" {
			t.Errorf("%s = %q changes the form: %s", field, value, d)
		}
		clean(t, field+"="+value, got)
		if slices.Contains(written, field) {
			parsers(t, got)
		}
	})
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
			switch name := path.Base(st.Path); {
			case st.Parts[0].Closed():
				s += " " + path.Base(path.Dir(st.Path)) // of whose address the name is
			case name == "guests":
				s += fmt.Sprint(" guests ", strings.Count(st.Parts[0].Text, "\n"))
			default:
				s += " " + name + " " + strings.Join(directives(st.Parts[0].Text), " ")
			}
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
			name, rest = fmt.Sprint(len(strings.Fields(l)), strings.HasPrefix(l, "#")), ""
		}
		first, _, _ := strings.Cut(rest, ",")
		switch name {
		case "dhcp-option":
			name += "=" + first
		case "dhcp-host":
			name += fmt.Sprint(strings.Count(rest, ","))
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
	safeWord = regexp.MustCompile(`^[A-Za-z0-9{}_.:/=-]+$`)
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
			if st.Parts[0].Closed() {
				continue
			}
			for l := range strings.Lines(st.Parts[0].Text) {
				if name := path.Base(st.Path); name == "guests" || name == "server" {
					if !json.Valid([]byte(l)) {
						t.Errorf("%s: the line %q", what, l)
					}
					continue
				}
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
	for _, s := range plugintest.HostileValues {
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

// FuzzHosts holds that each machine has its one line, in their order, whatever it
// is called.
func FuzzHosts(f *testing.F) {
	all := plugintest.HostileValues
	for i, s := range all {
		f.Add(s, all[len(all)-1-i], i%2 == 0, uint32(i))
	}
	f.Fuzz(func(t *testing.T, one, two string, extra bool, addr uint32) {
		ip := netip.AddrFrom4([4]byte{10, byte(addr >> 16), byte(addr >> 8), byte(addr)})
		n := &model.Network{NICs: []*model.NIC{
			{Hostname: one, IP: ip, MAC: schema.MAC{2, 1}, Running: true, Default: !extra, Spec: &schema.NIC{}},
			{Hostname: "stopped", IP: ip, MAC: schema.MAC{2, 2}, Spec: &schema.NIC{}},
			{Hostname: two, IP: ip.Next(), MAC: schema.MAC{2, 3}, Running: true, Default: true, Spec: &schema.NIC{}},
		}}
		n.Offering = &model.Offering{Spec: &schema.NetworkOffering{}}
		r := side{router: &router{r: &model.Router{}}, n: n, on: &model.Segment{NICs: n.NICs}}
		var c config
		r.leases(&c)
		hosts, leases := strings.Split(r.hosts().String(), "\n"), strings.Split(c.String(), "\n")
		if len(hosts) != 3 || len(leases) != 4 {
			t.Fatalf("%q %q", hosts, leases)
		}
		if !strings.HasPrefix(hosts[0], ip.String()+" ") || !strings.HasPrefix(hosts[1], ip.Next().String()+" ") || hosts[2] != "" {
			t.Errorf("hosts: %q", hosts)
		}
		for i, mac := range []string{"02:01:00:00:00:00", "02:02:00:00:00:00,set:extra", "02:03:00:00:00:00"} {
			if !strings.HasPrefix(leases[i], "dhcp-host="+mac) || !strings.HasSuffix(leases[i], ".") {
				t.Errorf("leases: %q", leases[i])
			}
		}
	})
}
