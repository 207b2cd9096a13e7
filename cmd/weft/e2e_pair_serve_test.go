//go:build e2e

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// failover has the router that is the backup take over, and returns the two as they
// are then.
func (c *pairLab) failover() (primary, backup string) {
	c.Helper()
	backup, primary = c.primary("kvm1", "kvm2")
	var pids []string
	c.until(soon, "keepalived runs as one does", func() string { // but for the moment in which it starts something
		if pids = c.daemons(backup); len(pids) != 3 {
			return fmt.Sprint(pids)
		}
		return ""
	})
	c.in("host/"+backup, "kill", "-9", pids[1]) // its own process looks after the rest
	c.until(soon, primary+" takes over", func() string {
		if !c.leads(primary) || c.leads(backup) {
			return "not yet"
		}
		return ""
	})
	c.whole("kvm1", "kvm2")
	return primary, backup
}

// lease is the address that a guest is given.
func (c *pairLab) lease(vm string) string {
	c.Helper()
	lease := regexp.MustCompile(`lease of (\S+) obtained`)
	var got []string
	c.until(soon, vm+" gets a lease", func() string {
		out, _ := c.try(vm, "udhcpc", "-f", "-q", "-n", "-t", "5", "-T", "1", "-i", "eth0", "-s", "/bin/true")
		if got = lease.FindStringSubmatch(out); got == nil {
			return out
		}
		return ""
	})
	return got[1]
}

// calling opens a connection to a balancer; what it returns sends a request by it, and
// returns what comes until it is closed, which it is at once.
func (c *pairLab) calling(addr string) func() string {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, 2*slow)
	c.Cleanup(cancel)
	script := `exec 3<>/dev/tcp/` + strings.Replace(addr, ":", "/", 1) + `; echo open; read line; printf 'GET / HTTP/1.0\r\n\r\n' >&3; cat <&3; echo over`
	cmd, err := c.command(ctx, "internet", "bash", "-c", script)
	if err != nil {
		c.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		c.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	said := bufio.NewReader(out)
	if line, err := said.ReadString('\n'); err != nil || line != "open\n" {
		c.Fatalf("no connection to %s: %q, %v", addr, line, err)
	}
	return func() string {
		c.Helper()
		begun := time.Now()
		_, err := io.WriteString(in, "now\n")
		rest, _ := io.ReadAll(said)
		if _ = cmd.Wait(); err != nil || time.Since(begun) > soon {
			c.Errorf("a connection through the router of before ended after %v: %q, %v", time.Since(begun), rest, err)
		}
		return string(rest)
	}
}

// services: what one router did for a guest the other one goes on with: addresses,
// names, data, balancers, and who sticks to whom by cookie. What only the memory of
// one knew is gone, a password that was taken too: it is told once more.
func (c *pairLab) services() {
	const balancer = "203.0.113.40:8080"
	guests := c.guests()
	if err := os.WriteFile(filepath.Join(c.secrets, "web-1.pw"), []byte("correct horse\n"), 0o600); err != nil {
		c.Fatal(err)
	}
	const plain, with = `echo first\n"}`, `echo first\n", password: {secretFile: /etc/weft/web-1.pw}}`
	c.edit("cloud.yaml", plain, with)
	c.commit()
	c.whole("kvm1", "kvm2")
	for _, vm := range []string{"web-1", "web-2"} {
		c.probe("acme/"+vm, "e2e-member", vm)
	}
	ask := func(request, want string) {
		c.Helper()
		c.hears("acme/web-1", "10.1.1.1:8080", want, "DomU_Request: "+request)
	}
	ask("send_my_password", "correct horse")
	ask("saved_password", "saved_password")
	ask("send_my_password", "saved_password")
	c.until(slow, "both members serve", func() string {
		seen := map[string]int{}
		for range 6 {
			out, _ := c.try("internet", "curl", "-s", "-m", "2", "--interface", world, balancer)
			seen[firstWord(out)]++
		}
		if seen["web-1"] == 0 || seen["web-2"] == 0 {
			return fmt.Sprint(seen)
		}
		return ""
	})
	c.in("internet", "rm", "-f", "/run/pair-jar")
	member := firstWord(c.fetched("internet", "-c", "/run/pair-jar", "--interface", world, balancer))

	for round := range 2 { // there and back
		call := c.calling(balancer)
		c.failover()
		if answer := call(); strings.Contains(answer, "web-") {
			c.Errorf("a balancer went on with a connection of the other one's: %q", answer)
		}
		begun := time.Now()
		c.hears("internet", balancer, "web-", "X-First: after the failover")
		c.Logf("the balancer answers %v after the pair was whole", time.Since(begun).Round(time.Millisecond))
		if seen := c.calls(6, "internet", "-b", "/run/pair-jar", "--interface", world, balancer); seen[member] != 6 {
			c.Errorf("who has a cookie of %s comes to %v", member, seen)
		}
		for _, vm := range []string{"acme/web-1", "acme/web-2", "acme/appliance"} {
			if got, want := c.lease(vm), guests[vm].ip.String(); got != want {
				c.Errorf("%s is given %s, and was %s", vm, got, want)
			}
		}
		c.until(soon, "names are told", func() string {
			out, err := c.try("acme/web-1", "dig", "+short", "+tries=1", "+time=1", "web-2.zone1.internal", "@10.1.1.1")
			if err != nil || strings.TrimSpace(out) != guests["acme/web-2"].ip.String() {
				return fmt.Sprintf("%q, %v", out, err)
			}
			return ""
		})
		c.hears("acme/web-1", "10.1.1.1/latest/user-data", "echo first")
		c.hears("acme/web-1", "10.1.1.1/latest/meta-data/local-ipv4", guests["acme/web-1"].ip.String())
		if round == 0 { // the other one knows nothing of it
			ask("send_my_password", "correct horse")
			ask("saved_password", "saved_password")
		}
		ask("send_my_password", "saved_password")
	}
	c.edit("cloud.yaml", with, plain)
	c.commit()
	c.whole("kvm1", "kvm2")
}

// splits cuts the wire between the two routers' hosts, both of which hear all others,
// and heals it.
func (c *pairLab) splits() {
	ping := c.pinging("acme/web-1", "203.0.113.1")
	apart := func(cut bool) {
		for host, other := range map[string]string{"kvm1": "192.168.50.12", "kvm2": "192.168.50.11"} {
			match := "ip,nw_src=" + other
			if cut {
				c.in("host/"+host, "ovs-ofctl", "add-flow", "cloudbr1", "priority=65000,"+match+",actions=drop")
			} else {
				c.in("host/"+host, "ovs-ofctl", "del-flows", "cloudbr1", match)
			}
		}
	}
	apart(true)
	c.until(soon, "both are primary", func() string {
		if !c.leads("kvm1") || !c.leads("kvm2") {
			return fmt.Sprint(c.leads("kvm1"), c.leads("kvm2"))
		}
		return ""
	})
	// Of two each guest has one.
	c.answered("acme/web-1", "10.1.1.1")
	c.until(soon, "both say so", func() string {
		a, b := c.role("kvm1").State, c.role("kvm2").State
		if a != "PRIMARY" || b != "PRIMARY" {
			return a + " " + b
		}
		return ""
	})
	apart(false)
	c.until(soon, "the second in weft.lock gives way", func() string {
		if !c.leads("kvm1") || c.leads("kvm2") {
			return fmt.Sprint(c.leads("kvm1"), c.leads("kvm2"))
		}
		return ""
	})
	healed := time.Now()
	c.serves()
	c.Logf("after %v all is served", time.Since(healed).Round(time.Millisecond))
	c.whole("kvm1", "kvm2")
	t := ping.tally()
	c.Logf("%d of %d pings lost, longest gap %v", t.Lost, t.Sent, t.Gap.Round(time.Millisecond))
}
