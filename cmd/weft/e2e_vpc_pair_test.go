//go:build e2e

package main

import (
	"fmt"
	"strings"
)

// vpcPair: another offering makes the VPC's router a pair; when the keepalived of one of
// them ends the other one has all tiers, addresses and lists, and connections outlive that.
func (c *cloud) vpcPair() {
	pair := &pairLab{cloud: c, back: new(int)}
	c.edit("cloud.yaml", "offering: Default VPC offering", "offering: Redundant VPC offering")
	c.commit()
	primary := func() string {
		var lead []string
		for _, h := range hosts {
			out, err := c.try("host/"+h, "ip", "netns", "exec", "weft-acme-vpc.shop", "ip", "-br", "-4", "addr")
			if err != nil {
				return ""
			}
			if strings.Contains(out, "10.20.1.1/24") && strings.Contains(out, "10.20.3.1/24") && strings.Contains(out, "203.0.113.20/24") {
				lead = append(lead, h)
			}
		}
		if len(lead) != 1 {
			return ""
		}
		return lead[0]
	}
	var first string
	var pids []string
	c.until(slow, "the VPC has a primary and a backup", func() string {
		if first = primary(); first == "" {
			return "there is not one primary"
		}
		for _, h := range hosts {
			if pids = pair.daemons(h); len(pids) != 3 {
				return fmt.Sprintf("keepalived of %s is %q", h, pids)
			}
			if why := c.unwell(h, c.head()); why != "" {
				return h + ": " + why
			}
		}
		pids = pair.daemons(first)
		return ""
	})
	c.reaches("acme/app-1", "10.20.3.11", slow)
	streams := []*probe{c.streaming("acme/app-1", "acme/db-1", "10.20.3.11"), c.streaming("acme/web-1", "acme/app-1", "10.20.2.11")}
	c.in("host/"+first, "kill", "-9", pids[1]) // its own process looks after the rest
	c.until(soon, "the other one takes over", func() string {
		if now := primary(); now == "" || now == first {
			return "not yet"
		}
		return ""
	})
	c.walls(
		knock{"acme/web-1", "10.20.2.11:8080", true}, knock{"acme/web-1", "10.20.2.11:8081", false}, knock{"acme/app-1", "10.20.3.11:22", false},
		knock{"internet", "203.0.113.20:8000", true}, knock{"acme/db-1", branch + ":80", true},
	)
	for _, f := range streams {
		f.unbroken()
	}
}
