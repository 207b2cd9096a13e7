//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weft.dev/reconcile/status"
	"weft.dev/schema"
)

// A VPC of a pair that tells of itself by BGP, beside the pair of the example.
const (
	toldNS = "weft-acme-vpc.told"
	toldVM = "100.64.32.11"
	told   = `apiVersion: weft.dev/v1alpha1
kind: VPCOffering
metadata: {name: told-vpc}
spec: {services: {NetworkACL: VpcVirtualRouter}, redundantRouter: true, networkMode: Routed, routingMode: Dynamic}
---
apiVersion: weft.dev/v1alpha1
kind: NetworkOffering
metadata: {name: told-tier}
spec:
  guestType: Isolated
  forVPC: true
  services: {Dhcp: VpcVirtualRouter, Dns: VpcVirtualRouter, NetworkACL: VpcVirtualRouter}
  networkMode: Routed
  routingMode: Dynamic
---
apiVersion: weft.dev/v1alpha1
kind: VPC
metadata: {name: told, account: acme}
spec: {offering: told-vpc, cidr: 100.64.32.0/20}
---
apiVersion: weft.dev/v1alpha1
kind: Network
metadata: {name: front, account: acme}
spec: {vpc: told, offering: told-tier, acl: default_allow, cidr: 100.64.32.0/24}
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: front-1, account: acme}
spec: {host: kvm3, nics: [{network: front, ip: 100.64.32.11}]}
`
)

// bgp: of a pair the primary tells; where it goes the other one tells the same, and the
// peer sends packets there all the time.
func (c *pairLab) bgp() {
	before := c.read("cloud.yaml")
	c.edit("cloud.yaml", "  routers: {spreadBy: rack}", "  routers: {spreadBy: rack, healthCheckInterval: 1s}\n  bgp: {asns: [\"65000-65099\"], peers: [{name: edge, address: 203.0.113.1, asn: 65500, keepalive: 1s, holdTime: 3s}]}")
	c.edit("cloud.yaml", "providers: [VirtualRouter]", "providers: [VirtualRouter, VpcVirtualRouter]")
	c.write("told.yaml", told)
	c.commit()
	c.whole("kvm1", "kvm2")
	kill := c.edge()
	// The lab's own way to the tier: from now on BGP has to tell.
	c.until(soon, "the lab's way to the tier is gone", func() string {
		out, _ := c.try("internet", "ip", "route", "del", "100.64.32.0/24", "proto", "static")
		return out
	})
	outer := c.outerOf(schema.ID{Kind: schema.KindVPC, Account: "acme", Name: "told"})
	c.until(slow, "the edge knows the way to the tier", func() string {
		out, _ := c.try("internet", "ip", "route", "show", "100.64.32.0/24")
		if !strings.Contains(out, "via "+outer.String()) || !strings.Contains(out, "proto bgp") {
			return out
		}
		return ""
	})
	c.answered("internet", toldVM)
	killed := c.toldOn("its host dies", func(primary string) { c.must("lab", "kill", "host/"+primary) })
	c.must("lab", "start", "host/"+killed)
	c.whole("kvm1", "kvm2")
	kill()
	c.write("cloud.yaml", before)
	if err := os.Remove(filepath.Join(c.tree, "told.yaml")); err != nil {
		c.Fatal(err)
	}
	c.commit()
	c.whole("kvm1", "kvm2")
}

// toldBy waits until one of the hosts tells the edge, as its status says, and returns which
// one; the other one says that nobody is there to be asked.
func (c *pairLab) toldBy(hosts ...string) (primary string) {
	c.Helper()
	c.until(slow, "one of the pair tells the edge", func() string {
		says, telling := "", 0
		for _, h := range hosts {
			r, all := c.cloud.bgp(h, "router/acme/told")
			i := slices.IndexFunc(r.Services, func(s status.Service) bool { return s.Name == "bgp/edge" })
			switch {
			case i < 0:
				return h + " does not tell of it"
			case all["bgp/edge"].State == status.BGPEstablished && all["bgp/edge"].Told == 1:
				primary = h
				telling++
			case r.Services[i].State != status.ServiceAbsent:
				telling = -1
			}
			says += h + ": " + r.Services[i].State + " " + r.Services[i].Message + "\n"
		}
		if telling != 1 {
			return says
		}
		return ""
	})
	return primary
}

// toldOn does something to the primary and holds that the world reaches the tier by the
// other one soon, and that the edge's way there was there all the time.
func (c *pairLab) toldOn(why string, do func(primary string)) (former string) {
	c.Helper()
	former = c.toldBy("kvm1", "kvm2")
	other := map[string]string{"kvm1": "kvm2", "kvm2": "kvm1"}[former]
	watch := c.in("internet", "sh", "-c", "ip monitor route >/run/told.log 2>/dev/null & echo $!")
	ping := c.pinging("internet", toldVM)
	do(former)
	c.toldBy(other)
	c.answered("internet", toldVM)
	t := ping.tally()
	c.Logf("%s: %d of %d pings lost, longest gap %v", why, t.Lost, t.Sent, t.Gap.Round(time.Millisecond))
	c.in("internet", "kill", strings.TrimSpace(watch))
	if out := c.in("internet", "cat", "/run/told.log"); strings.Contains(out, "100.64.32.0/24") {
		c.Errorf("%s: the edge's way to the tier changed:\n%s", why, out)
	}
	return former
}
