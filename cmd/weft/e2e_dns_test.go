//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/status"
)

const (
	names   = "198.51.100.6" // the DNS server of the company
	corp    = "corp.example.net"
	webHome = "network/acme/web"
)

// TestDNSUpdates holds what examples/dns-updates promises, with BIND 9 as the company's
// server, which its administrator set up by hand.
func TestDNSUpdates(t *testing.T) {
	const dir = "../../examples/dns-updates"
	secrets := t.TempDir()
	if err := os.CopyFS(secrets, os.DirFS(filepath.Join(dir, "lab-secrets"))); err != nil {
		t.Fatal(err)
	}
	c := startLab(t, fmt.Sprintf("dns%d", os.Getpid()), dir, "--secrets", secrets)
	c.secrets = secrets
	c.in("internet", "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0") // a machine without the server says so each time
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Nobody", (*cloud).dnsNobody},
		{"Told", (*cloud).dnsTold},
		{"Machines", (*cloud).dnsMachines},
		{"Taken", (*cloud).dnsTaken},
		{"Router", (*cloud).dnsRouter},
		{"Guests", (*cloud).dnsGuests},
		{"Down", (*cloud).dnsDown},
		{"Key", (*cloud).dnsKey},
		{"Removed", (*cloud).dnsRemoved},
	} {
		if !t.Run(part.name, func(t *testing.T) {
			p := *c
			p.TB = t
			part.run(&p)
		}) {
			return // each begins where the one before ended
		}
	}
}

// serveNames starts the company's server.
func (c *cloud) serveNames() {
	c.Helper()
	c.in("internet", "sh", filepath.Join(c.tree, "server.sh"), c.secrets)
	for _, h := range hosts {
		c.in("host/"+h, "weft", "reconcile")
	}
}

// records is what the company's server has, without what is about zones themselves.
func (c *cloud) records() []string {
	c.Helper()
	secret, err := os.ReadFile(filepath.Join(c.secrets, "dns.key"))
	if err != nil {
		c.Fatal(err)
	}
	var out []string
	for _, zone := range []string{corp, "10.64.100.in-addr.arpa", "0.0.1.0.8.b.d.0.1.0.0.2.ip6.arpa"} {
		text, _ := c.try("internet", "dig", "+noall", "+answer", "+tries=1", "+time=2", "-y", "hmac-sha256:weft:"+strings.TrimSpace(string(secret)), "@"+names, zone, "AXFR")
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			if len(f) < 5 || strings.HasPrefix(line, ";") || slices.Contains([]string{"SOA", "NS"}, f[3]) {
				continue
			}
			out = append(out, strings.Join(slices.Delete(f, 1, 3), " "))
		}
	}
	slices.Sort(out)
	return out
}

// resolves waits until a node that asks the company's server hears that.
func (c *cloud) resolves(node, want string, args ...string) {
	c.Helper()
	c.until(2*slow, fmt.Sprintf("%s asks for %q", node, args), func() string {
		out, err := c.try(node, append([]string{"dig", "+short", "+tries=1", "+time=2", "@" + names}, args...)...)
		if err == nil && strings.TrimSpace(out) == want {
			return ""
		}
		return fmt.Sprintf("%q, want %q, %v", out, want, err)
	})
}

// known waits until a machine of acme/web is known by its name and addresses.
func (c *cloud) known(name, ip, ip6 string) {
	c.Helper()
	full := name + ".web." + corp
	c.resolves("internet", ip, full, "A")
	c.resolves("internet", ip6, full, "AAAA")
	c.resolves("internet", full+".", "-x", ip)
	c.resolves("internet", full+".", "-x", ip6)
}

// ip6 is the address that a machine made itself.
func (c *cloud) ip6(vm string) string {
	c.Helper()
	var out string
	c.until(slow, vm+" has an address", func() string {
		for _, f := range strings.Fields(c.in(vm, "ip", "-6", "-br", "addr", "show", "scope", "global")) {
			if a, _, ok := strings.Cut(f, "/"); ok && strings.Contains(a, ":") {
				out = a
				return ""
			}
		}
		return "none"
	})
	return out
}

// dnsFailing waits until a host says of acme/web that it fails so, and is ready all the same.
func (c *cloud) dnsFailing(host, words string) {
	c.Helper()
	c.until(2*slow, host+" tells of the server", func() string {
		s, err := c.status(host)
		if err != nil {
			return err.Error()
		}
		i := slices.IndexFunc(s.Owners, func(o status.Owner) bool { return string(o.Name) == webHome })
		switch {
		case i < 0 || s.Owners[i].State != status.OwnerFailing || !strings.Contains(s.Owners[i].Message, words) || s.Owners[i].Retry.IsZero():
			return fmt.Sprintf("%+v", s.Owners)
		case !s.Condition(status.Ready).True:
			return fmt.Sprintf("%+v", s.Conditions)
		}
		return ""
	})
}

// dnsNobody: without the server all else is as it should be.
func (c *cloud) dnsNobody() {
	c.dnsFailing("kvm1", "ask "+names+" for ns1."+corp+": it ")
	c.reaches("internet", "100.64.10.11", slow)
	if s, err := c.status("kvm2"); err != nil || len(s.Owners) == 0 || slices.ContainsFunc(s.Owners, func(o status.Owner) bool { return o.State != status.OwnerReady }) {
		c.Errorf("a host that has nothing to tell: %+v, %v", s, err)
	}
}

// dnsTold: once the server is there it hears of all, and what its administrator wrote stays.
func (c *cloud) dnsTold() {
	c.serveNames()
	c.known("web-1", "100.64.10.11", c.ip6("acme/web-1"))
	c.in("internet", "sh", "-ec", `printf 'server %s\nzone %s\nupdate delete web-1.web.%s A\nupdate add web-1.web.%s 60 AAAA 2001:db8::bad\nsend\n' $1 $2 $2 $2 |
		nsupdate -y hmac-sha256:weft:$(cat "$3/dns.key")`, "sh", names, corp, c.secrets)
	c.in("host/kvm1", "weft", "reconcile")
	c.known("web-1", "100.64.10.11", c.ip6("acme/web-1")) // another hand's doing is undone
	c.known("web-2", "100.64.10.12", c.ip6("acme/web-2"))
	c.resolves("acme/desk-1", "100.64.10.12", "web-2.web."+corp) // a client behind another router
	c.resolves("internet", "192.0.2.80", "www."+corp)
	if got := strings.Join(c.records(), "\n"); strings.Contains(got, "desk-1") || strings.Contains(got, "10.1.1.11") {
		c.Errorf("it was told of a network that is none of its business:\n%s", got)
	}
	c.well()
}

const anotherWeb = `
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: web-3, account: acme}
spec: {host: kvm1, nics: [{network: web, ip: 100.64.10.13}]}
`

// retree replaces the tree by the example's with edits and an appended text.
func (c *cloud) retree(add string, edits ...string) {
	c.Helper()
	c.copyTree("../../examples/dns-updates")
	for i := 0; i < len(edits); i += 2 {
		c.edit("cloud.yaml", edits[i], edits[i+1])
	}
	if add != "" {
		c.write("more.yaml", strings.TrimPrefix(add, "\n---\n"))
	}
	c.commit()
}

// dnsMachines: a machine comes, moves, is renamed and goes.
func (c *cloud) dnsMachines() {
	c.retree(anotherWeb)
	ip6 := c.ip6("acme/web-3")
	c.known("web-3", "100.64.10.13", ip6)
	before := c.records()
	c.retree(strings.Replace(anotherWeb, "host: kvm1", "host: kvm2", 1))
	if got := c.records(); !slices.Equal(got, before) {
		c.Errorf("when it moved:\n%s\nbefore:\n%s", strings.Join(got, "\n"), strings.Join(before, "\n"))
	}
	c.retree(strings.Replace(anotherWeb, "host: kvm1", "host: kvm2, hostname: shop", 1))
	c.known("shop", "100.64.10.13", ip6)
	c.resolves("internet", "", "web-3.web."+corp)
	c.retree("")
	c.resolves("internet", "", "shop.web."+corp)
	c.resolves("internet", "", "-x", "100.64.10.13")
	c.resolves("internet", "", "-x", ip6)
	if got := strings.Join(c.records(), "\n"); strings.Contains(got, "web-3") || strings.Contains(got, "shop") {
		c.Errorf("marks were left:\n%s", got)
	}
}

// dnsTaken: a name that the administrator gave to something is told, and left alone.
func (c *cloud) dnsTaken() {
	c.retree(strings.Replace(anotherWeb, "nics:", "hostname: taken, nics:", 1))
	c.until(slow, "kvm1 tells of the name that is taken", func() string {
		s, err := c.status("kvm1")
		if err == nil && strings.Contains(strings.Join(s.Notes, "\n"), "taken.web."+corp+"/A") {
			return ""
		}
		return fmt.Sprintf("%+v, %v", s, err)
	})
	c.resolves("internet", "192.0.2.81", "taken.web."+corp)
	c.retree("")
	c.resolves("internet", "192.0.2.81", "taken.web."+corp)
}

// dnsRouter: the host that the router moves to takes the records over.
func (c *cloud) dnsRouter() {
	c.until(slow, "the records are kvm1's", func() string { return c.marked("kvm1") })
	if out, code := c.run("lock", c.tree, "--evacuate", "kvm1"); code != exitOK {
		c.Fatalf("lock --evacuate: exit status %d\n%s", code, out)
	}
	c.must("lab", "commit", c.tree)
	c.until(slow, "the records are kvm2's", func() string { return c.marked("kvm2") })
	c.known("web-1", "100.64.10.11", c.ip6("acme/web-1"))
	c.retree("")
	c.until(slow, "the records are kvm1's again", func() string { return c.marked("kvm1") })
}

// marked says why not all marks at the server are a host's, eight of them.
func (c *cloud) marked(host string) string {
	marks := slices.DeleteFunc(c.records(), func(r string) bool { return !strings.Contains(r, "heritage=weft") })
	for _, r := range marks {
		if !strings.Contains(r, `"host=`+host+`"`) {
			return r
		}
	}
	if len(marks) != 8 {
		return strings.Join(marks, "\n")
	}
	return ""
}

// dnsGuests: guests are told the names of their own network by their router, in its own
// domain, and all else by the upstream that is nearest: the network's, the zone's.
func (c *cloud) dnsGuests() {
	c.retree("", "{offering: hidden, ", "{offering: hidden, dns: [8.8.8.8], ")
	near, far := c.listen("router/acme/desk", "eth1"), c.listen("router/acme/web", "eth1")
	for _, x := range [][]string{
		{"acme/web-1", "100.64.10.12", "+search", "web-2"},
		{"acme/web-1", "web-2.web." + corp + ".", "-x", "100.64.10.12"},
		{"acme/web-1", "100.64.10.1", "gateway.web." + corp},
		{"acme/web-1", "198.51.100.5", "example.com"},
		{"acme/desk-1", "10.1.1.11", "+search", "desk-1"},
		{"acme/desk-1", "10.1.1.11", "desk-1.zone1.internal"},
		{"acme/desk-1", "198.51.100.5", "example.com"},
		{"acme/desk-1", "", "web-2.web." + corp}, // its upstream knows nothing of it
	} {
		c.digs(x[0], x[1], x[2:]...)
	}
	near.hears(c, " > 8.8.8.8.53: ")
	far.hears(c, " > 9.9.9.9.53: ")
	if near.heard(" > 9.9.9.9.53: ") || far.heard(" > 8.8.8.8.53: ") {
		c.Error("a router asked the other network's upstream")
	}
	c.retree("")
}

// dnsDown: while the server is away the rest of the same network changes, and is healed;
// afterwards the server hears what it missed.
func (c *cloud) dnsDown() {
	c.in("internet", "sh", "-c", "kill $(cat /run/names/pid); while kill -0 $(cat /run/names/pid) 2>/dev/null; do sleep 0.05; done")
	c.retree(anotherWeb)
	c.dnsFailing("kvm1", "dns.record udp:ns1."+corp+":53")
	c.reaches("internet", "100.64.10.13", slow)
	c.in("router/acme/web", "sh", "-c", "ip link set eth0 down")
	c.reaches("internet", "100.64.10.13", slow)
	c.serveNames()
	c.known("web-3", "100.64.10.13", c.ip6("acme/web-3"))
	c.well()
	c.retree("")
	c.resolves("internet", "", "web-3.web."+corp)
}

// dnsKey: with a key that the server does not know nothing is told or taken away, the
// status says why, and all else goes on.
func (c *cloud) dnsKey() {
	file := filepath.Join(c.secrets, "dns.key")
	right, err := os.ReadFile(file)
	if err != nil {
		c.Fatal(err)
	}
	before := c.records()
	for _, wrong := range []struct{ text, words string }{
		{"YW5vdGhlciBzZWNyZXQsIGFuZCBhIHdyb25nIG9uZS4=\n", "the server does not take the key"},
		{"not base64!\n", "a TSIG key is text in base64"},
	} {
		if err := os.WriteFile(file, []byte(wrong.text), 0o600); err != nil {
			c.Fatal(err)
		}
		c.retree(anotherWeb)
		c.dnsFailing("kvm1", wrong.words)
		c.reaches("internet", "100.64.10.13", slow)
		out := c.in("host/kvm1", "weft", "status")
		if strings.Contains(out, strings.TrimSpace(wrong.text)) {
			c.Errorf("the status shows the secret:\n%s", out)
		}
		c.retree("")
	}
	if err := os.WriteFile(file, right, 0o600); err != nil {
		c.Fatal(err)
	}
	if got := c.records(); !slices.Equal(got, before) {
		c.Errorf("with wrong keys:\n%s\nbefore:\n%s", strings.Join(got, "\n"), strings.Join(before, "\n"))
	}
	c.until(2*slow, "the network is well again", func() string {
		s, err := c.status("kvm1")
		if err == nil && !slices.ContainsFunc(s.Owners, func(o status.Owner) bool { return o.State != status.OwnerReady }) {
			return ""
		}
		return fmt.Sprintf("%+v, %v", s, err)
	})
}

// dnsRemoved: a network that is not told any more leaves what was there before it.
func (c *cloud) dnsRemoved() {
	c.retree("", "  dnsUpdates: corporate\n", "")
	want := []string{"ns1." + corp + ". A " + names, "taken.web." + corp + ". A 192.0.2.81", "www." + corp + ". A 192.0.2.80"}
	c.until(slow, "nothing of weft is left", func() string {
		if got := c.records(); !slices.Equal(got, want) {
			return strings.Join(got, "\n")
		}
		return ""
	})
}
