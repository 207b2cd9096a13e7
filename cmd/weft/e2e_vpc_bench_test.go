//go:build e2e

package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// BenchmarkACLRule is the time from a commit to the wire where one rule among 1,000 of a
// tier's ACL changes: what it opens is reached.
func BenchmarkACLRule(b *testing.B) {
	c := startLab(b, fmt.Sprintf("acl%d", os.Getpid()), vpcTree)
	var rules strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&rules, "    - {number: %d, name: r%d, action: Deny, protocol: tcp, ports: %d, sources: [192.0.2.%d/32, 10.66.%d.%d/32]}\n", 100+i, i, 2000+i, i%256, i/256, i%256)
	}
	c.edit("cloud.yaml", "    - {number: 20, name: ping,", rules.String()+"    - {number: 20, name: ping,")
	c.edit("cloud.yaml", "portForwarding: [", "portForwarding: [{name: other, protocol: tcp, ports: 8001, toPorts: 81, to: {vm: web-1}}, ")
	c.commit()
	c.probe("acme/web-1", "e2e-echo", ":80")
	c.probe("acme/web-1", "e2e-echo", ":81")
	next := map[int]int{80: 81, 81: 80}
	port := 80
	for b.Loop() {
		b.StopTimer()
		c.edit("cloud.yaml", fmt.Sprintf("name: http, action: Allow, protocol: tcp, ports: %d}", port), fmt.Sprintf("name: http, action: Allow, protocol: tcp, ports: %d}", next[port]))
		port = next[port]
		to := netip.AddrPortFrom(netip.MustParseAddr("203.0.113.20"), uint16(8000+port-80))
		knock := c.probe("internet", "e2e-knock", to.String())
		b.StartTimer()
		if _, _, err := c.lab.Commit(c.ctx, c.tree, "another port"); err != nil {
			b.Fatal(err)
		}
		if err := <-knock.done; err != nil {
			b.Fatal(err)
		}
	}
}
