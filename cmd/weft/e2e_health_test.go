//go:build e2e

package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"weft.dev/reconcile/status"
)

// TestHealth holds what is done for routers that are sick, and what is counted, in a lab
// of the quickstart whose routers are asked every second.
func TestHealth(t *testing.T) {
	c := startLab(t, fmt.Sprintf("he%d", os.Getpid()), quickstart)
	c.edit("infra/zone.yaml", "networkType: Advanced", "networkType: Advanced\n  routers: {healthCheckInterval: 1s}")
	c.commit()
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Well", (*cloud).feelsWell},
		{"Usage", (*cloud).counted},
		{"Killed", (*cloud).killedDaemon},
		{"Stopped", (*cloud).stoppedDaemon},
		{"LeftAlone", (*cloud).leftAlone},
		{"Sick", (*cloud).sickRouter},
	} {
		t.Run(part.name, func(t *testing.T) {
			p := *c
			p.TB = t
			part.run(&p)
		})
	}
}

const sickNS = "weft-beta-office" // the router that these tests make sick, on kvm1

// router is how one router on kvm1 is.
func (c *cloud) router(name string) (status.Router, error) {
	s, err := c.status("kvm1")
	if err != nil {
		return status.Router{}, err
	}
	for _, r := range s.Routers {
		if r.Name == name {
			return r, nil
		}
	}
	return status.Router{}, fmt.Errorf("kvm1 tells nothing of %s", name)
}

// feels waits until a service of beta's router is in a state.
func (c *cloud) feels(service, state string) status.Router {
	c.Helper()
	var r status.Router
	c.until(slow, service+" is "+state, func() string {
		var err error
		if r, err = c.router("router/beta/office"); err != nil {
			return err.Error()
		}
		for _, s := range r.Services {
			if s.Name == service && s.State == state {
				return ""
			}
		}
		return fmt.Sprintf("%+v", r.Services)
	})
	return r
}

// metric is a number of kvm1's agent, 0 where it has none of that name and labels.
func (c *cloud) metric(series string) float64 {
	c.Helper()
	return c.metricOf("kvm1", series)
}

// metricOf is metric of any host.
func (c *cloud) metricOf(host, series string) float64 {
	c.Helper()
	text := c.in("host/"+host, "curl", "-s", "-m", "10", "http://127.0.0.1:9464/metrics")
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				c.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// feelsWell: every service answers, and all say so.
func (c *cloud) feelsWell() {
	for _, s := range []string{"dns", "dhcp", "gateway"} {
		c.feels(s, status.ServiceWell)
	}
	out := c.in("host/kvm1", "weft", "status", "router/beta/office")
	if !regexp.MustCompile(`(?m)^ +dhcp +Well .*offers 10\.1\.1\.`).MatchString(out) {
		c.Errorf("weft status router/beta/office:\n%s", out)
	}
	if out := c.in("host/kvm1", "weft", "status", "router/beta/office", "-o", "json"); !strings.Contains(out, `"name": "router/beta/office"`) {
		c.Errorf("as JSON:\n%s", out)
	}
	c.until(slow, "the metric says so", func() string {
		if v := c.metric(`weft_router_check{outside="false",router="router/beta/office",service="dns"}`); v != 1 {
			return fmt.Sprint(v)
		}
		return ""
	})
	if s, err := c.status("kvm1"); err != nil || !s.Condition(status.Healthy).True {
		c.Errorf("not healthy: %v, %v", s, err)
	}
}

// counted: numbers grow by what was sent, and a change of other rules takes nothing away.
func (c *cloud) counted() {
	c.well()
	const in, out = `weft_publicip_bytes_total{account="acme",address="203.0.113.20",direction="in"}`, `weft_publicip_bytes_total{account="acme",address="203.0.113.20",direction="out"}`
	wasOut := c.metric(out)
	const n, size = 20, 1028 // the head of IP and 1000 bytes of ICMP's
	c.until(slow, "all pings are answered", func() string {
		before := c.metric(in)
		text, err := c.try("internet", "ping", "-c", fmt.Sprint(n), "-i", "0.01", "-s", fmt.Sprint(size-28), "-W", "2", "203.0.113.20")
		if err != nil || !strings.Contains(text, fmt.Sprintf("%d received", n)) {
			return text
		}
		if got := c.metric(in) - before; got != n*size {
			return fmt.Sprintf("%d pings of %d bytes are counted as %v", n, size, got)
		}
		return ""
	})
	if got := c.metric(out) - wasOut; got < n*size {
		c.Errorf("the answers are counted as %v bytes", got)
	}
	nicOut := `weft_nic_bytes_total{account="acme",direction="out",nic="web",vm="web-1"}`
	before, snat := c.metric(nicOut), c.metric(`weft_publicip_packets_total{account="beta",address="`+c.sourceNAT()+`",direction="out"}`)
	c.in("acme/web-1", "ping", "-c", "10", "-i", "0.01", "-s", "1000", "-W", "2", "10.1.1.1")
	if got := c.metric(nicOut) - before; got < 10*size {
		c.Errorf("ten pings of a guest are counted as %v bytes of its NIC", got)
	}
	c.in("beta/files", "ping", "-c", "10", "-i", "0.01", "-W", "2", "203.0.113.1")
	if got := c.metric(`weft_publicip_packets_total{account="beta",address="`+c.sourceNAT()+`",direction="out"}`) - snat; got < 10 {
		c.Errorf("ten pings to the world are counted as %v packets of source NAT", got)
	}
	// Another rule of the same router is rewritten: the counters stay.
	wasIn := c.metric(in)
	c.edit("tenants/acme-web.yaml", "{name: http, protocol: tcp, ports: 80, sources: [0.0.0.0/0]}", "{name: http, protocol: tcp, ports: 80, sources: [0.0.0.0/0]}\n    - {name: extra, protocol: tcp, ports: 81}")
	c.commit()
	if now := c.metric(in); now < wasIn || wasIn == 0 {
		c.Errorf("the counter fell from %v to %v", wasIn, now)
	}
	if text, code := c.code("host/kvm1", "weft", "drift"); code != exitOK || strings.Contains(text, "mangle/IN_") {
		c.Errorf("counting is drift: %s", text)
	}
}

// sourceNAT is the address that beta's guests appear as.
func (c *cloud) sourceNAT() string {
	c.Helper()
	text := c.in("host/kvm1", "ip", "netns", "exec", sickNS, "iptables", "-t", "nat", "-S", "POSTROUTING")
	found := regexp.MustCompile(`-s 10\.1\.1\.0/24 -o eth1 .*--to-source ([0-9.]+)`).FindStringSubmatch(text)
	if found == nil {
		c.Fatalf("beta has no source NAT:\n%s", text)
	}
	return found[1]
}

// daemon is the process number of beta's dnsmasq.
func (c *cloud) daemon() string {
	c.Helper()
	var out string
	c.until(slow, "dnsmasq runs", func() string {
		out, _ = c.try("host/kvm1", "pgrep", "-f", "^dnsmasq.*"+sickNS+"/dnsmasq.conf")
		if out = strings.TrimSpace(out); out == "" || strings.Contains(out, "\n") {
			return fmt.Sprintf("pgrep: %q", out)
		}
		return ""
	})
	return out
}

// killedDaemon: who is dead is back at once, and that is told.
func (c *cloud) killedDaemon() {
	pid := c.daemon()
	c.in("host/kvm1", "kill", "-9", pid)
	c.until(slow, "another runs, and is counted", func() string {
		if now := c.daemon(); now == pid {
			return "it is the same"
		}
		if r, err := c.router("router/beta/office"); err != nil || r.Deaths == 0 {
			return fmt.Sprintf("%+v, %v", r, err)
		}
		return ""
	})
	if v := c.metric(`weft_process_deaths_total{process="dnsmasq"}`); v < 1 {
		c.Errorf("%v deaths are counted", v)
	}
	c.feels("dns", status.ServiceWell)
}

// stoppedDaemon: who is there and does not answer is started anew.
func (c *cloud) stoppedDaemon() {
	pid := c.daemon()
	c.in("host/kvm1", "kill", "-STOP", pid)
	c.until(slow, "another runs", func() string {
		if c.daemon() == pid {
			return "it is the same"
		}
		return ""
	})
	c.feels("dhcp", status.ServiceWell)
	r := c.feels("dns", status.ServiceWell)
	restarts := 0
	for _, s := range r.Services {
		restarts += s.Restarts
	}
	if restarts == 0 {
		c.Errorf("told: %+v", r)
	}
	c.toldOf("dnsmasq started anew")
	if v := c.metric(`weft_router_restarts_total{router="router/beta/office",service="dhcp"}`) + c.metric(`weft_router_restarts_total{router="router/beta/office",service="dns"}`); v < float64(restarts) {
		c.Errorf("%v restarts are counted, %d told", v, restarts)
	}
	if text, _ := c.code("host/kvm1", "weft", "drift"); strings.Contains(text, sickNS+"/dnsmasq\n      pid") {
		c.Errorf("what weft did itself is called drift: %s", text)
	}
}

// toldOf waits until history has a record with these words.
func (c *cloud) toldOf(words string) {
	c.Helper()
	c.until(slow, "history has "+words, func() string {
		for _, r := range c.history("kvm1") {
			if strings.Contains(r.Note, words) && r.Outcome == "Applied" {
				return ""
			}
		}
		return c.in("host/kvm1", "weft", "history")
	})
}

// leftAlone: what is suspended is asked, and left alone; so is what is right while
// somebody outside is silent.
func (c *cloud) leftAlone() {
	c.in("host/kvm1", "weft", "suspend", "beta/office", "--reason", "somebody looks")
	was, space := c.daemon(), c.space()
	c.in("internet", "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=8") // it answers nobody who asks where it is
	c.in("host/kvm1", "kill", "-STOP", was)
	r := c.feels("dns", status.ServiceSick)
	if !strings.Contains(r.Leave, "somebody looks") {
		c.Errorf("told: %+v", r)
	}
	if s, err := c.status("kvm1"); err != nil || s.Condition(status.Healthy).True {
		c.Errorf("healthy though dns is sick: %v", err)
	}
	if c.daemon() != was {
		c.Error("it was started anew though it is suspended")
	}
	c.in("host/kvm1", "kill", "-CONT", was)
	c.feels("dns", status.ServiceWell)
	c.feels("dhcp", status.ServiceWell)
	c.in("host/kvm1", "weft", "resume", "beta/office")
	c.feels("gateway", status.ServiceSick)
	c.until(slow, "it is healthy, and the gateway is told", func() string {
		s, err := c.status("kvm1")
		if err != nil {
			return err.Error()
		}
		if h := s.Condition(status.Healthy); !h.True || !strings.Contains(h.Message, "gateway") {
			return fmt.Sprintf("%+v", h)
		}
		return ""
	})
	c.in("internet", "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=0")
	c.feels("gateway", status.ServiceWell)
	if c.daemon() != was || c.space() != space {
		c.Error("something was made anew")
	}
}

// space tells beta's namespace from one that takes its place.
func (c *cloud) space() string {
	c.Helper()
	return c.in("host/kvm1", "stat", "-Lc", "%i", "/run/netns/"+sickNS)
}

// sickRouter: rules of the other variant of iptables, which weft does not look at, keep
// every question from dnsmasq. To start it anew is no help; to make the router anew is.
func (c *cloud) sickRouter() {
	before, err := c.router("router/beta/office")
	if err != nil {
		c.Fatal(err)
	}
	old := c.space()
	c.in("host/kvm1", "sh", "-c", `if iptables -V | grep -q nf_tables; then x=iptables-legacy; else x=iptables-nft; fi
		ip netns exec `+sickNS+` $x -I INPUT -p udp --dport 53 -j DROP`)
	c.until(slow, "it is another namespace", func() string {
		if now, _ := c.try("host/kvm1", "stat", "-Lc", "%i", "/run/netns/"+sickNS); now == old {
			r, err := c.router("router/beta/office")
			return fmt.Sprintf("%+v, %v", r, err)
		}
		return ""
	})
	c.toldOf(sickNS + " made anew")
	c.feels("dns", status.ServiceWell)
	r := c.feels("dhcp", status.ServiceWell)
	if r.Rebuilds <= before.Rebuilds {
		c.Errorf("told: %+v", r)
	}
	if v := c.metric(`weft_router_rebuilds_total{router="router/beta/office"}`); v < float64(r.Rebuilds) {
		c.Errorf("%v rebuilds are counted, %d told", v, r.Rebuilds)
	}
	if out := c.in("host/kvm1", "weft", "status", "router/beta/office"); !regexp.MustCompile(`made anew \d+×`).MatchString(out) {
		c.Errorf("weft status router/beta/office:\n%s", out)
	}
	c.well()
	c.reaches("beta/mail", world, slow)
}
