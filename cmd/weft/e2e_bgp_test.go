//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"weft.dev/reconcile/status"
)

// bgp is what the status of a host says of a router, and of its sessions.
func (c *cloud) bgp(host, router string) (r status.Router, sessions map[string]status.BGP) {
	c.Helper()
	sessions = map[string]status.BGP{}
	s, err := c.status(host)
	if err != nil {
		return r, sessions
	}
	if i := slices.IndexFunc(s.Routers, func(r status.Router) bool { return r.Name == router }); i >= 0 {
		r = s.Routers[i]
	}
	for _, x := range r.Services {
		if x.BGP != nil {
			sessions[x.Name] = *x.BGP
		}
	}
	return r, sessions
}

// bgpd is the pid of the daemon in a router's namespace.
func (c *cloud) bgpd(host, ns string) string {
	c.Helper()
	out := c.in("host/"+host, "sh", "-c", `for p in $(ip netns pids "$1"); do if grep -qx bgpd /proc/$p/comm; then echo $p; fi; done`, "sh", ns)
	if len(strings.Fields(out)) != 1 {
		c.Fatalf("bgpd of %s is %q", ns, out)
	}
	return strings.TrimSpace(out)
}

// toldSessions: the status tells how each session is and why, and so do the metrics. That a
// peer is away is no reason to do anything; a bgpd that hangs is started anew.
func (c *cloud) toldSessions(host string, kill func()) {
	const router = "router/acme/app"
	c.until(slow, "the sessions are told", func() string {
		_, all := c.bgp(host, router)
		edge, second := all["bgp/edge"], all["bgp/second"]
		if edge.State != status.BGPEstablished || edge.Told != 2 || edge.ASN != 65500 || edge.Since.IsZero() || second.State == "" || second.State == status.BGPEstablished || second.Reset == "" {
			return fmt.Sprintf("%+v", all)
		}
		return ""
	})
	for _, argv := range [][]string{{"weft", "status"}, {"weft", "status", router}} {
		out := c.in("host/"+host, argv...)
		for _, want := range []string{"bgp/edge", "Established", "AS 65500 at 203.0.113.1, told of 2 networks", "bgp/second", "AS 65501 at 203.0.113.2: "} {
			if !strings.Contains(out, want) {
				c.Errorf("%v does not say %q:\n%s", argv, want, out)
			}
		}
	}
	metrics := c.in("host/"+host, "curl", "-sf", "http://127.0.0.1:9464/metrics")
	for _, want := range []string{
		`weft_bgp_session{router="router/acme/app",service="bgp/edge"} 1`, `weft_bgp_session{router="router/acme/app",service="bgp/second"} 0`,
		`weft_bgp_networks_told{router="router/acme/app",service="bgp/edge"} 2`,
	} {
		if !strings.Contains(metrics, want) {
			c.Errorf("the metrics lack %s", want)
		}
	}

	pid := c.bgpd(host, "weft-acme-app")
	kill()
	c.until(slow, "it is told that the peer is there no more", func() string {
		r, all := c.bgp(host, router)
		i := slices.IndexFunc(r.Services, func(s status.Service) bool { return s.Name == "bgp/edge" })
		if i < 0 || r.Services[i].State != status.ServiceSick || all["bgp/edge"].State == status.BGPEstablished || all["bgp/edge"].Reset == "" || all["bgp/edge"].Ended.IsZero() {
			return fmt.Sprintf("%+v", all)
		}
		return ""
	})
	c.frrAt("internet", "bgpd", "-f", "/run/frr/edge.conf")
	again := func() string {
		if _, all := c.bgp(host, router); all["bgp/edge"].State != status.BGPEstablished {
			return fmt.Sprintf("%+v", all)
		}
		return ""
	}
	c.until(slow, "the session is there again", again)
	if now := c.bgpd(host, "weft-acme-app"); now != pid {
		c.Errorf("bgpd was started anew because its peer was away: %s, and was %s", now, pid)
	}

	c.in("host/"+host, "kill", "-STOP", pid)
	c.until(slow, "the bgpd that hangs is started anew", func() string {
		r, _ := c.bgp(host, router)
		i := slices.IndexFunc(r.Services, func(s status.Service) bool { return s.Name == "bgp" })
		if i < 0 || r.Services[i].Restarts == 0 {
			return fmt.Sprintf("%+v", r.Services)
		}
		return ""
	})
	c.until(slow, "the session is there again", again)
	if r, _ := c.bgp(host, router); r.Rebuilds > 0 {
		c.Errorf("the router was made anew: %+v", r)
	}
	c.bgpPassword(host, router)
}

// bgpPassword: one that is not one word is refused at the line that names it, and taken once
// it is one; a session that it is not about goes on.
func (c *cloud) bgpPassword(host, router string) {
	_, all := c.bgp(host, router)
	before := all["bgp/edge"].Since
	secret := func(text string) {
		c.Helper()
		if err := os.WriteFile(filepath.Join(c.secrets, "second.pw"), []byte(text), 0o600); err != nil {
			c.Fatal(err)
		}
	}
	secret("word\n neighbor 203.0.113.1 shutdown\n")
	c.edit("cloud.yaml", "asn: 65501, multihop: 4}", "asn: 65501, multihop: 4, password: {secretFile: /etc/weft/second.pw}}")
	if _, _, err := c.lab.Commit(c.ctx, c.tree, "a password"); err != nil {
		c.Fatal(err)
	}
	refusal := regexp.MustCompile(`cloud.yaml:\d+:\d+: secret /etc/weft/second.pw has a line break`)
	c.until(slow, "the password is refused", func() string {
		if out := c.in("host/"+host, "weft", "status"); !refusal.MatchString(out) {
			return out
		}
		return ""
	})
	secret("word\n")
	c.well()
	if out := c.in("host/"+host, "sh", "-c", `grep -rhs "neighbor 203.0.113.2 password" /run/weft /var/lib/weft`); !strings.Contains(out, "password word\n") {
		c.Errorf("the password is not in force: %s", out)
	}
	if _, all := c.bgp(host, router); all["bgp/edge"].Since != before {
		c.Errorf("the password of another peer ended the session: %+v", all)
	}
}
