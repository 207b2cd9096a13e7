//go:build e2e

package main

import (
	"fmt"
	"strings"

	"weft.dev/reconcile/status"
)

// well6: routers are asked whether they advertise and lease, and do. What they have for a
// guest by IPv6 they offer before it has that only.
func (c *cloud) well6() {
	want := map[string]string{
		"router/acme/web ra": "advertises 2001:db8:100:", "router/acme/db ra": "advertises 2001:db8:100:9::/64",
		"router/acme/db dhcp6": "", "router/acme/web dhcp": "offers 10.", "router/acme/db dhcp": "offers 10.",
	}
	c.until(slow, "routers answer over IPv6", func() string {
		seen := map[string]string{}
		for _, h := range hosts {
			s, err := c.status(h)
			if err != nil {
				return err.Error()
			}
			for _, r := range s.Routers {
				for _, x := range r.Services {
					seen[r.Name+" "+x.Name] = x.State + " " + x.Message
				}
			}
		}
		for name, words := range want {
			if !strings.HasPrefix(seen[name], status.ServiceWell+" "+words) {
				return fmt.Sprintf("%s: %q of %v", name, seen[name], seen)
			}
		}
		return ""
	})
}
