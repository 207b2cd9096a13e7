//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const balancerExample = "../../examples/loadbalancer"

// TestLoadBalancer holds what balancers promise, in the lab of examples/loadbalancer.
func TestLoadBalancer(t *testing.T) {
	secrets := t.TempDir()
	if err := os.CopyFS(secrets, os.DirFS(filepath.Join(balancerExample, "secrets"))); err != nil {
		t.Fatal(err)
	}
	c := startLab(t, fmt.Sprintf("lb%d", os.Getpid()), balancerExample, "--secrets", secrets)
	c.secrets = secrets
	c.well()
	c.serve()
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Weights", (*cloud).balancedByWeight},
		{"Cookie", (*cloud).balancedByCookie},
		{"AppCookie", (*cloud).balancedByAppCookie},
		{"TLS", (*cloud).balancedTLS},
		{"Certificate", (*cloud).balancedCertificate},
		{"Source", (*cloud).balancedBySource},
		{"Closed", (*cloud).balancedClosed},
		{"Scanned", (*cloud).balancedScanned},
		{"Limits", (*cloud).balancedLimits},
		{"UDP", (*cloud).balancedUDP},
		{"VPC", (*cloud).balancedVPC},
		{"Health", (*cloud).balancedHealth},
		{"Change", (*cloud).balancedChange},
		{"Killed", (*cloud).balancedKilled},
	} {
		t.Run(part.name, func(t *testing.T) {
			p := *c
			p.TB = t
			part.run(&p)
		})
	}
}

// serve starts the members, and waits until the balancers have found them well.
func (c *cloud) serve() {
	for _, name := range []string{"web-1", "web-2", "web-3", "shop-1", "shop-2", "api-1", "api-2"} {
		c.probe("acme/"+name, "e2e-member", name)
	}
	for port, want := range map[string]int{"80": 2, "25": 2, "8000": 3, "993": 3} {
		c.until(slow, "all members serve port "+port, func() string {
			seen := map[string]int{}
			for range 12 {
				if out, err := c.try("internet", "curl", "-s", "-m", "2", "--interface", world, vip+":"+port); err == nil {
					seen[firstWord(out)]++
				}
			}
			if port == "993" && len(seen) == 1 || len(seen) == want { // one client sticks to one
				return ""
			}
			return fmt.Sprint(seen)
		})
	}
}

const vip = "203.0.113.20"

// calls is who answers n calls.
func (c *cloud) calls(n int, from string, args ...string) map[string]int {
	c.Helper()
	seen := map[string]int{}
	for range n {
		seen[firstWord(c.fetched(from, args...))]++
	}
	return seen
}

// firstWord is who answers, or "".
func firstWord(answer string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(answer), " ")
	return word
}

// balancedByWeight: three of four connections go to web-1.
func (c *cloud) balancedByWeight() {
	c.until(slow, "three of four go to web-1", func() string {
		seen := c.calls(20, "internet", vip+":25")
		if seen["web-1"] != 15 || seen["web-2"] != 5 {
			return fmt.Sprint(seen)
		}
		return ""
	})
}

// balancedByCookie: without the cookie in turn, with it to the same; members do not
// see it.
func (c *cloud) balancedByCookie() {
	c.until(slow, "both are called without a cookie", func() string {
		if seen := c.calls(8, "internet", vip); len(seen) != 2 {
			return fmt.Sprint(seen)
		}
		return ""
	})
	c.in("internet", "rm", "-f", "/run/jar")
	first := firstWord(c.fetched("internet", "-c", "/run/jar", vip))
	if jar := c.in("internet", "cat", "/run/jar"); !regexp.MustCompile(`\tS\t[0-9a-f]{12}\n`).MatchString(jar) {
		c.Errorf("the cookie: %q", jar)
	}
	c.until(soon, "the cookie is that of "+first, func() string {
		if seen := c.calls(8, "internet", "-b", "/run/jar", vip); seen[first] != 8 {
			return fmt.Sprint(seen)
		}
		return ""
	})
	out := c.fetched("internet", "-b", "/run/jar", "-b", "other=1", "-H", "X-Forwarded-For: 9.9.9.9", vip)
	if strings.Contains(out, "S=") || !strings.Contains(out, `cookies="other=1"`) || !regexp.MustCompile(`for=.*\d\n`).MatchString(out) {
		c.Errorf("the member is told %q", out)
	}
}

// balancedTLS: decrypted here, TLS 1.2 at least, HTTP/2; members are told.
func (c *cloud) balancedTLS() {
	out := c.fetched("internet", "-k", "-w", "\nversion %{http_version}", "https://"+vip)
	if !strings.Contains(out, "proto=https") || !strings.Contains(out, "version 2") {
		c.Errorf("%q", out)
	}
	if out, err := c.try("internet", "sh", "-c", "echo | openssl s_client -connect "+vip+":443 -tls1_1 -cipher DEFAULT@SECLEVEL=0 2>&1"); err == nil && strings.Contains(out, "BEGIN CERTIFICATE") {
		c.Errorf("TLS 1.1 is spoken: %s", out)
	}
	if out := c.in("internet", "sh", "-c", "echo | openssl s_client -connect "+vip+":443 -tls1_2 2>/dev/null"); !strings.Contains(out, "CN = shop.example") && !strings.Contains(out, "CN=shop.example") {
		c.Errorf("another certificate: %s", out)
	}
	if out, err := c.try("host/kvm1", "sh", "-c", "grep -rl 'PRIVATE KEY' /run/weft/files | xargs stat -c '%a %n'"); err != nil || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "600 ") {
		c.Errorf("the key is here: %q, %v", out, err)
	}
}

// balancedBySource: a client has one member, by hash or by memory, and tcp-proxy tells
// who it is.
func (c *cloud) balancedBySource() {
	for _, port := range []string{"465", "993"} {
		c.until(soon, "one client has one member at port "+port, func() string {
			if seen := c.calls(8, "internet", "--interface", world, vip+":"+port); len(seen) != 1 {
				return fmt.Sprint(seen)
			}
			return ""
		})
	}
	if out := c.fetched("internet", "--interface", world, vip+":465"); !strings.Contains(out, "remote="+world+" ") {
		c.Errorf("the member is told %q", out)
	}
	c.until(slow, "twelve clients have two members", func() string {
		members := map[string]bool{}
		for i := range 12 {
			addr := fmt.Sprintf("198.51.100.%d", 100+i)
			c.in("internet", "ip", "addr", "replace", addr+"/32", "dev", "lo")
			for name := range c.calls(1, "internet", "--interface", addr, vip+":465") {
				members[name] = true
			}
		}
		if len(members) != 2 {
			return fmt.Sprint(members)
		}
		return ""
	})
}

// A call is one by curl.
type call struct {
	from string
	args []string
}

// unanswered holds that no call is answered, trying all at once.
func (c *cloud) unanswered(list ...call) {
	c.Helper()
	var all sync.WaitGroup
	for _, x := range list {
		all.Go(func() {
			if out, err := c.try(x.from, append([]string{"curl", "-s", "-m", "1"}, x.args...)...); err == nil {
				c.Errorf("%s %v is answered: %s", x.from, x.args, out)
			}
		})
	}
	all.Wait()
}

// balancedClosed: only what is allowed reaches a balancer, from inside and outside.
func (c *cloud) balancedClosed() {
	c.fetched("acme/web-3", vip) // hairpin
	c.fetched("acme/web-1", vip) // and a member itself
	c.fetched("internet", "--interface", world, vip+":993")
	c.unanswered(
		call{"acme/web-3", []string{vip + ":993"}},                         // none of its sources
		call{"internet", []string{"--interface", "8.8.8.8", vip + ":993"}}, // likewise
		call{"internet", []string{vip + ":8081/admin?stats;csv"}},          // statistics are for guests
		call{"internet", []string{"10.1.1.1:8081/admin?stats;csv"}},        //
		call{"internet", []string{vip + ":81"}},                            // a member's port is none of the address
		call{"internet", []string{"--interface", world, "10.1.1.11:80"}},   // nor is a member
	)
	out := c.fetched("acme/web-3", "10.1.1.1:8081/admin?stats;csv")
	if !strings.Contains(out, "\nacme.http,BACKEND,") || strings.Contains(out, "acme.app") {
		c.Errorf("statistics: %s", out)
	}
	c.fetched("acme/web-3", "-X", "POST", "-d", "s=acme.web-1.web&action=disable&b=acme.http", "10.1.1.1:8081/admin?stats")
	if out := c.fetched("acme/web-3", "10.1.1.1:8081/admin?stats;csv"); strings.Contains(out, "MAINT") {
		c.Error("a guest has disabled a member")
	}
	// Nothing is open that no rule of the firewall opens, balancer or not.
	c.edit("cloud.yaml", "ports: [25, 465, 993]", "ports: [465, 993]")
	c.commit()
	c.well()
	c.unanswered(call{"internet", []string{vip + ":25"}})
	c.fetched("acme/web-3", vip+":25")
	c.edit("cloud.yaml", "ports: [465, 993]", "ports: [25, 465, 993]")
	c.commit()
	c.well()
	c.fetched("internet", vip+":25")
}

// asked is who answers n clients with a datagram each, and what they see.
func (c *cloud) asked(node, from, to string, n int) map[string]int {
	c.Helper()
	var got map[string]int
	c.until(slow, node+" asks "+to, func() string {
		out, err := c.try(node, "weft", "e2e-datagrams", from, to, strconv.Itoa(n))
		if err != nil {
			return out
		}
		got = nil
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			return out
		}
		return ""
	})
	return got
}

// balancedUDP: clients in turn by weight, or each to its own; members see their
// addresses; a guest's call comes back.
func (c *cloud) balancedUDP() {
	c.until(slow, "two of three ask web-1", func() string { // a port of a moment ago goes where it went
		seen := c.asked("internet", world, vip+":53", 30)
		if seen["web-1 "+world] != 20 || seen["web-2 "+world] != 10 {
			return fmt.Sprint(seen)
		}
		return ""
	})
	if seen := c.asked("internet", world, vip+":514", 12); len(seen) != 1 {
		c.Errorf("one client by source: %v", seen)
	}
	all := map[string]bool{}
	for i := range 16 {
		addr := fmt.Sprintf("198.51.100.%d", 130+i)
		c.in("internet", "ip", "addr", "replace", addr+"/32", "dev", "lo")
		for who := range c.asked("internet", addr, vip+":514", 1) {
			all[strings.Fields(who)[0]] = true
		}
	}
	if len(all) < 2 {
		c.Errorf("sixteen clients by source: %v", all)
	}
	if seen := c.asked("acme/web-3", "10.1.1.13", vip+":53", 3); len(seen) != 2 {
		c.Errorf("from a guest: %v", seen)
	}
	if out, err := c.try("internet", "weft", "e2e-datagrams", "8.8.8.8", vip+":514", "1"); err == nil {
		c.Errorf("from where the firewall lets nobody in: %s", out)
	}
}

// balancedHealth: a member that does not answer its check leaves and comes back, and
// no client sees it.
func (c *cloud) balancedHealth() {
	c.in("acme/web-2", "touch", "/run/sick")
	c.until(slow, "web-2 has left", func() string {
		if seen := c.calls(6, "internet", vip); seen["web-1"] != 6 {
			return fmt.Sprint(seen)
		}
		return ""
	})
	c.until(soon, "a balancer that only asks for a connection has both", func() string {
		if seen := c.calls(8, "internet", vip+":25"); len(seen) != 2 {
			return fmt.Sprint(seen)
		}
		return ""
	})
	c.in("acme/web-2", "rm", "/run/sick")
	c.until(slow, "web-2 is back", func() string {
		if seen := c.calls(6, "internet", vip); seen["web-2"] == 0 {
			return fmt.Sprint(seen)
		}
		return ""
	})
}

// balancedChange: members change under continuous requests, and none is lost; a
// connection of before goes on.
func (c *cloud) balancedChange() {
	stream := c.probe("internet", "e2e-clients", vip+":25", "one")
	clients := c.probe("internet", "e2e-clients", vip+":25", "many")
	c.change(10)
	for name, p := range map[string]*probe{"requests": clients, "a connection": stream} {
		if got := p.tally(); got.Lost > 0 || got.Sent < 20 {
			c.Errorf("%s: %d of %d are lost\n%s", name, got.Lost, got.Sent, c.in("host/kvm1", "sh", "-c", "tail -n 200 /run/weft/log/*haproxy*"))
		}
	}
}

// change gives the balancer of port 25 other members, n times.
func (c *cloud) change(n int) {
	was := "members: [{vm: web-1, weight: 3}, {vm: web-2}]"
	for i := range n {
		now := fmt.Sprintf("members: [{vm: web-1}, {vm: web-3, weight: %d}]", i+1)
		if i == n-1 {
			now = "members: [{vm: web-1, weight: 3}, {vm: web-2}]"
		}
		c.edit("cloud.yaml", was, now)
		c.commit()
		c.well()
		was = now
	}
}

// balancedKilled: HAProxy that ends is started again.
func (c *cloud) balancedKilled() {
	pids := func() []string {
		var out []string
		for line := range strings.Lines(c.in("host/kvm1", "ps", "ax", "-o", "pid=,args=")) {
			if f := strings.Fields(line); f[1] == "haproxy" && strings.Contains(line, "weft-acme-web") {
				out = append(out, f[0])
			}
		}
		return out
	}
	was := pids()
	if len(was) == 0 {
		c.Fatal("there is none")
	}
	_, _ = c.try("host/kvm1", append([]string{"kill", "-9"}, was...)...) // one of before may have ended since
	c.until(slow, "another runs", func() string {
		if now := pids(); len(now) == 0 || slices.ContainsFunc(now, func(p string) bool { return slices.Contains(was, p) }) {
			return fmt.Sprint(now)
		}
		return ""
	})
	c.fetched("internet", vip+":25")
}

// BenchmarkBalancerChanges counts the requests that are lost while members change a
// hundred times.
func BenchmarkBalancerChanges(b *testing.B) {
	c := startLab(b, fmt.Sprintf("bl%d", os.Getpid()), balancerExample, "--secrets", filepath.Join(balancerExample, "secrets"))
	c.well()
	c.serve()
	sent, lost := 0, 0
	b.ResetTimer()
	for range b.N {
		clients := c.probe("internet", "e2e-clients", vip+":25", "many")
		c.change(100)
		got := clients.tally()
		sent, lost = sent+got.Sent, lost+got.Lost
	}
	b.ReportMetric(float64(sent)/float64(b.N), "requests")
	b.ReportMetric(float64(lost)/float64(b.N), "lost")
}
