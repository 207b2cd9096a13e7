//go:build e2e

package main

import (
	"fmt"
	"strings"
)

// tallied: pings that come in and their answers are counted by the byte, once each way.
// What else passes at the moment may be counted too: so again, until nothing does.
func (c *cloud) tallied(host, metric, labels, node string, ping ...string) {
	c.Helper()
	const n, data = 20, 1000
	size := data + 28 // the heads of ICMP and IP
	if strings.Contains(ping[len(ping)-1], ":") {
		size += 20
	}
	series := func(direction string) string {
		return fmt.Sprintf("%s{%s}", metric, strings.ReplaceAll(labels, "DIRECTION", direction))
	}
	c.until(slow, metric+" of "+labels+" is what passed", func() string {
		in, out := c.metricOf(host, series("in")), c.metricOf(host, series("out"))
		argv := append([]string{}, ping[:len(ping)-1]...)
		argv = append(argv, "-c", fmt.Sprint(n), "-i", "0.01", "-s", fmt.Sprint(data), "-W", "2", ping[len(ping)-1])
		text, err := c.try(node, argv...)
		if err != nil || !strings.Contains(text, fmt.Sprintf("%d received", n)) {
			return text
		}
		if in, out = c.metricOf(host, series("in"))-in, c.metricOf(host, series("out"))-out; in != float64(n*size) || out != float64(n*size) {
			return fmt.Sprintf("%d pings of %d bytes are counted as %v in, %v out", n, size, in, out)
		}
		return ""
	})
}

// routedUsage: where nothing is translated what passes is the router's address's, and of
// IPv6 what passes is that of its address of IPv6.
func (c *cloud) routedUsage() {
	nics, networks := c.nics6()
	router := networks["acme/app-2"].Router
	for _, x := range []struct{ address, guest string }{{router.Outer.String(), "100.64.10.12"}, {router.IP6().String(), nics["acme/app-2"].IP6.String()}} {
		c.tallied(router.Host.Name, "weft_publicip_bytes_total", `account="acme",address="`+x.address+`",direction="DIRECTION"`, "internet", "ping", x.guest)
	}
	// What the router itself is asked counts, what it says to its neighbours does not.
	c.tallied(router.Host.Name, "weft_publicip_bytes_total", `account="acme",address="`+router.IP6().String()+`",direction="DIRECTION"`, "internet", "ping", router.IP6().String())
}

// vpnUsage: what passes inside a tunnel is counted once each way, whichever side begins
// it, by IPsec and by WireGuard.
func (c *cloud) vpnUsage() {
	of := func(name string) string { return `account="acme",direction="DIRECTION",vpn="` + name + `"` }
	c.tallied("kvm1", "weft_vpn_bytes_total", of("berlin"), "acme/web-1", "ping", "10.50.0.1")
	c.tallied("kvm1", "weft_vpn_bytes_total", of("berlin"), "internet", far("berlin", "ping", "-I", "10.50.0.1", "10.1.1.11")...)
	c.tallied("kvm1", "weft_vpn_bytes_total", of("paris"), "acme/web-1", "ping", "10.60.0.1")
	c.tallied("kvm1", "weft_vpn_bytes_total", of("staff"), "internet", far("ann", "ping", "-I", "10.254.0.2", "10.1.1.11")...)
}
