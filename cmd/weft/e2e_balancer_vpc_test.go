//go:build e2e

package main

import "fmt"

// balancedVPC: the lists of the tiers decide on the members' port and the client's own
// address, for what HAProxy takes too; an internal balancer is for who may reach its tier.
func (c *cloud) balancedVPC() {
	const mall, api = "203.0.113.30", "10.20.2.5"
	for _, x := range []struct{ from, to string }{{"internet", mall}, {"shop-1", api}, {"api-1", api}} {
		from := x.from
		if from != "internet" {
			from = "acme/" + from
		}
		c.until(slow, x.from+" reaches both members by "+x.to, func() string {
			seen := map[string]int{}
			for range 6 {
				out, err := c.try(from, "curl", "-s", "-m", "2", x.to)
				if err != nil {
					return err.Error()
				}
				seen[firstWord(out)]++
			}
			if len(seen) != 2 {
				return fmt.Sprint(seen)
			}
			return ""
		})
	}
	c.unanswered(
		call{"internet", []string{"--interface", "8.8.8.8", mall}}, // a rule denies the members' port
		call{"internet", []string{mall + ":8080"}},                 // which is none of the address
		call{"internet", []string{api}},                            //
		call{"acme/shop-2", []string{api}},                         // no source of the tier's list
		call{"acme/shop-1", []string{mall}},                        // nothing of its own list lets it leave
		call{"acme/api-1", []string{mall}},                         // likewise
		call{"acme/shop-1", []string{"10.20.2.11:8080"}},           // its list lets it go to the balancer, not to members
	)
	c.until(slow, "datagrams go to both in turn", func() string {
		if seen := c.asked("internet", world, mall+":53", 8); seen["shop-1 "+world] != 4 || seen["shop-2 "+world] != 4 {
			return fmt.Sprint(seen)
		}
		return ""
	})
	// Whoever the list lets in no longer is out, though HAProxy listens still.
	c.edit("cloud.yaml", "{number: 20, name: shop, action: Allow, protocol: tcp, ports: 8080}", "{number: 20, name: shop, action: Allow, protocol: tcp, ports: 8080, sources: [198.51.100.5/32]}")
	c.commit()
	c.well()
	c.fetched("internet", "--interface", world, mall)
	c.unanswered(call{"internet", []string{"--interface", "198.51.100.6", mall}})
}
