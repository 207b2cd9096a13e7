//go:build e2e

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestTakeover moves the address by which a host is reached from its uplink to a
// bridge: never where nobody watches, back unless it is confirmed, and back again
// when the bridge is not wanted any more.
func TestTakeover(t *testing.T) {
	takeOver(t, startLab(t, fmt.Sprintf("tko%d", os.Getpid()), "../../examples/single-host"))
}

func takeOver(t *testing.T, c *cloud) {
	sh := func(script string) string { return c.in("host/box", "sh", "-ec", script) }
	sh(`ip netns add far
ip link add up0 type veth peer name far0 netns far
ip -n far addr add 198.18.7.1/24 dev far0 && ip -n far link set far0 up && ip -n far link set lo up
ip addr add 198.18.7.2/24 brd + dev up0 && ip link set up0 up && ip route add default via 198.18.7.1 dev up0 && ip route add 198.18.70.0/24 via 198.18.7.1 dev up0`)
	shape := func() string {
		return sh("ip -o addr show scope global | grep -o '[a-z0-9]* *inet 198[^ ]*' || true; ip route show proto static; ip route show proto boot")
	}
	reached := func(when string) {
		t.Helper()
		if out, code := c.code("host/box", "ip", "netns", "exec", "far", "ping", "-c", "2", "-W", "3", "198.18.7.2"); code != 0 {
			t.Fatalf("%s: the host is not reached any more:\n%s", when, out)
		}
	}
	before := shape()
	reached("before")

	const plain = "bridges: [{name: cloudbr0, uplinks: [eth0]}]"
	taken := strings.TrimSuffix(plain, "]") +
		", {name: cloudbr9, manage: Takeover, uplinks: [up0], address: 198.18.7.2/24, gateway: 198.18.7.1, routes: [{cidr: 198.18.70.0/24, via: 198.18.7.1}]}]"
	c.edit("cloud.yaml", plain, taken) // the lab makes the uplinks of what is committed, and this one is made above
	c.in("host/box", "weft", "suspend")
	apply := func(timeout string) []string {
		return []string{"apply", c.tree, "--host", "box", "--auto-approve", "--confirm-timeout", timeout}
	}
	c.says(1, []string{"takeover of up0 needs weft apply --confirm-timeout"}, "apply", c.tree, "--host", "box", "--auto-approve")
	if got := shape(); got != before {
		t.Fatalf("it was taken over though nobody watches:\n%s", got)
	}
	reached("before it is tried")
	c.says(4, []string{"Applied and verified", "went back"}, apply("2s")...)
	if got := shape(); got != before {
		t.Fatalf("it came back as\n%s\nand was\n%s", got, before)
	}
	reached("after it went back")

	p := c.waiting(apply("60s"))
	reached("while it waits")
	if got := shape(); !strings.Contains(got, "cloudbr9    inet 198.18.7.2/24") || strings.Contains(got, "up0") {
		t.Errorf("the address is not on the bridge:\n%s", got)
	}
	c.says(0, []string{"Confirmed"}, "confirm")
	p.ends(0, "Confirmed.")
	c.says(0, []string{"No changes"}, "apply", c.tree, "--host", "box", "--auto-approve")

	// The agent's tree does not have the bridge.
	c.in("host/box", "weft", "resume")
	c.until(soon, "the uplink has all back", func() string {
		if got := shape(); got != before {
			return got
		}
		return ""
	})
	reached("after the bridge went")
}
