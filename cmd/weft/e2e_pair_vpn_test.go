//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/status"
)

const vpnTree = "../../examples/vpn-site-to-site"

// vpnSecrets puts what the VPNs of the example need where a lab's hosts see it.
func vpnSecrets(t testing.TB, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(vpnTree, "lab-secrets"))); err != nil {
		t.Fatal(err)
	}
}

// vpnDocs are the VPNs of the example, at an address beside that of source NAT.
func (c *pairLab) vpnDocs() string {
	c.Helper()
	b, err := os.ReadFile(filepath.Join(vpnTree, "cloud.yaml"))
	if err != nil {
		c.Fatal(err)
	}
	out := "apiVersion: weft.dev/v1alpha1\nkind: PublicIP\nmetadata: {name: gate, account: acme}\nspec: {network: web, address: 203.0.113.20}\n"
	n := 0
	for doc := range strings.SplitSeq(string(b), "\n---\n") {
		if strings.Contains(doc, "kind: SiteToSiteVPN") || strings.Contains(doc, "kind: RemoteAccessVPN") {
			out += "---\n" + strings.Replace(doc, "  network: web\n", "  network: web\n  publicIP: gate\n", 1) + "\n"
			n++
		}
	}
	if n != 4 {
		c.Fatalf("the example has %d VPNs", n)
	}
	return out
}

// vpn: the tunnels of a pair end at whichever router leads; where that one's host dies they
// come up from the other, and nothing leaves in the clear meanwhile.
func (c *pairLab) vpn() {
	vpnSecrets(c, c.secrets)
	c.edit("cloud.yaml", "    UserData: VirtualRouter\n", "    UserData: VirtualRouter\n    Vpn: VirtualRouter\n")
	c.write("vpn.yaml", c.vpnDocs())
	c.commit()
	c.whole("kvm1", "kvm2")
	peers, err := filepath.Abs(filepath.Join(vpnTree, "peers.sh"))
	if err != nil {
		c.Fatal(err)
	}
	if out, err := c.tryFor(3*time.Minute, "internet", "sh", peers, c.secrets); err != nil {
		c.Fatalf("peers.sh: %v\n%s", err, out)
	}
	guest := strings.TrimSpace(c.in("acme/web-1", "sh", "-c", "ip -o -4 addr show dev eth0 | sed 's,.* inet \\([0-9.]*\\)/.*,\\1,'"))
	works := func() {
		c.Helper()
		c.reaches("acme/web-1", "10.50.0.1", slow)
		c.reaches("acme/web-1", "10.60.0.1", slow)
		c.farPings("berlin", "10.50.1.1", guest)
	}
	works()
	c.farPings("ann", "10.254.0.2", guest)
	c.farPings("bob", "10.254.1.2", guest)
	heard := c.overheard("pair")
	killed := c.failsOver("its host dies", func(primary string) { c.must("lab", "kill", "host/"+primary) }, works)
	c.must("lab", "start", "host/"+killed)
	c.whole("kvm1", "kvm2")
	c.farPings("ann", "10.254.0.2", guest) // WireGuard notices by itself, within 15 seconds
	// Gracefully, the one that had it ends its tunnels.
	c.failsOver("its keepalived ends", func(primary string) {
		c.in("host/"+primary, append([]string{"kill", "-TERM"}, c.daemons(primary)[0])...)
	}, works)
	c.whole("kvm1", "kvm2")
	primary, backup := c.primary("kvm1", "kvm2")
	c.until(slow, "the primary tells of its VPNs, and the backup that they are not there", func() string {
		for _, vpn := range []string{"berlin", "paris", "staff", "laptops"} {
			if s := c.vpnService(primary, vpn); s.VPN == nil || s.VPN.State != status.VPNConnected {
				return fmt.Sprintf("%s on %s: %+v", vpn, primary, s)
			}
			if s := c.vpnService(backup, vpn); s.State != status.ServiceAbsent || s.VPN != nil || s.Restarts > 0 {
				return fmt.Sprintf("%s on %s: %+v", vpn, backup, s)
			}
		}
		return ""
	})
	if bare := clear(heard()); bare != "" || !strings.Contains(heard(), "UDP-encap: ESP") {
		c.Errorf("in the clear:\n%s", bare)
	}
	for _, far := range []string{"berlin", "paris", "ann", "bob"} {
		c.in("internet", "sh", "-c", "ip netns pids "+far+" | xargs -r kill -9; ip netns del "+far)
	}
	c.edit("cloud.yaml", "    Vpn: VirtualRouter\n", "")
	if err := os.Remove(filepath.Join(c.tree, "vpn.yaml")); err != nil {
		c.Fatal(err)
	}
	c.commit()
	c.whole("kvm1", "kvm2")
}

// failsOver does something to the primary, and tells how long a tunnel was not there.
func (c *pairLab) failsOver(why string, do func(primary string), works func()) (former string) {
	c.Helper()
	primary, backup := c.primary("kvm1", "kvm2")
	ping := c.pinging("acme/web-1", "10.50.0.1")
	do(primary)
	c.until(soon, backup+" takes over", func() string {
		if !c.leads(backup) {
			return "not yet"
		}
		return ""
	})
	works()
	t := ping.tally()
	c.Logf("%s: %d of %d pings through the tunnel lost, longest gap %v", why, t.Lost, t.Sent, t.Gap.Round(time.Millisecond))
	return primary
}

// vpnService is what the status of a host says of a VPN.
func (c *pairLab) vpnService(host, vpn string) status.Service {
	s, err := c.status(host)
	if err != nil {
		return status.Service{Message: err.Error()}
	}
	for _, r := range s.Routers {
		for _, x := range r.Services {
			if x.Name == "vpn/acme/"+vpn {
				return x
			}
		}
	}
	return status.Service{Message: "it is not told of"}
}

// vpnTold waits until the status of the host says of VPNs what it has to.
func (c *cloud) vpnTold(want map[string]string) {
	c.Helper()
	c.until(slow, "the status tells of the tunnels", func() string {
		s, err := c.status("kvm1")
		if err != nil {
			return err.Error()
		}
		got := map[string]string{}
		for _, r := range s.Routers {
			for _, x := range r.Services {
				if x.VPN != nil {
					got[strings.TrimPrefix(x.Name, "vpn/acme/")] = x.VPN.Line()
				}
			}
		}
		for name, line := range want {
			if !strings.HasPrefix(got[name], line) {
				return fmt.Sprint(got)
			}
		}
		return ""
	})
}
