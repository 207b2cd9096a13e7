//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"strings"
)

// apply: a person plans and applies on a host whose agent is stopped.
func (c *cloud) apply() {
	const on = "host/kvm1"
	file := filepath.Join(c.TempDir(), "plan.json")
	says := func(want int, words []string, argv ...string) {
		c.Helper()
		out, code := c.code(on, append([]string{"weft"}, argv...)...)
		if code != want {
			c.Errorf("weft %s: exit status %d, want %d\n%s", strings.Join(argv, " "), code, want, out)
		}
		for _, w := range words {
			if !strings.Contains(out, w) {
				c.Errorf("weft %s does not say %q:\n%s", strings.Join(argv, " "), w, out)
			}
		}
	}
	// Beside an agent that follows the same tree: it is asked, where there is something to do.
	says(0, []string{"No changes"}, "plan", c.tree, "--host", "kvm1", "--detailed-exitcode")
	says(0, []string{"No changes"}, "apply", c.tree, "--host", "kvm1", "--auto-approve")
	c.in(on, "sh", "-ec", "kill -9 $(pgrep -f '^dnsmasq.*weft-acme-app/dnsmasq.conf')")
	says(0, nil, "apply", c.tree, "--host", "kvm1", "--auto-approve") // the agent may be faster
	says(0, []string{"No changes"}, "plan", c.tree, "--host", "kvm1", "--detailed-exitcode")
	// What it cannot do is refused, and so is another tree.
	says(5, []string{"an agent runs here", "--target", "weft suspend"}, "apply", c.tree, "--host", "kvm1", "--auto-approve", "--target", "network/acme/app")
	c.edit("tenants/beta.yaml", "ports: 25,", "ports: 24,")
	says(5, []string{"follows another tree", "weft suspend"}, "apply", c.tree, "--host", "kvm1", "--auto-approve")
	c.edit("tenants/beta.yaml", "ports: 24,", "ports: 25,")

	c.must("lab", "kill", "agent/kvm1")
	says(0, []string{"No changes"}, "plan", c.tree, "--host", "kvm1", "--detailed-exitcode")
	says(0, []string{"No changes"}, "apply", c.tree, "--host", "kvm1", "--auto-approve")

	c.probe("beta/mail", "e2e-echo", ":26")
	c.edit("tenants/beta.yaml", "ports: 25,", "ports: 26,")
	says(2, []string{"FW_203.0.113.73", "1 to change", "tenants/beta.yaml:"}, "plan", c.tree, "--host", "kvm1", "--detailed-exitcode")
	says(1, []string{"nobody to ask"}, "apply", c.tree, "--host", "kvm1")
	says(2, []string{"Plan: "}, "plan", c.tree, "--host", "kvm1", "--detailed-exitcode", "--out", file)

	// The plan is stale once the host is another.
	c.in("router/beta/office", "iptables", "-I", "FORWARD", "1", "-p", "tcp", "-j", "ACCEPT")
	says(5, []string{"stale"}, "apply", c.tree, "--host", "kvm1", "--plan", file)
	c.in("router/beta/office", "iptables", "-D", "FORWARD", "1")
	// And once the tree is another.
	c.edit("tenants/beta.yaml", "ports: 26,", "ports: 27,")
	says(5, []string{"stale"}, "apply", c.tree, "--host", "kvm1", "--plan", file)
	c.edit("tenants/beta.yaml", "ports: 27,", "ports: 26,")
	says(0, []string{"Applied and verified"}, "apply", c.tree, "--host", "kvm1", "--plan", file)
	says(0, []string{"No changes"}, "plan", c.tree, "--host", "kvm1", "--detailed-exitcode")
	together(
		func() { c.connects(true, "internet", "", "203.0.113.73", 26) },
		func() { c.connects(false, "internet", "", "203.0.113.73", 25) },
	)

	// Drift is a section of its own.
	c.in(on, "sh", "-ec", "kill -9 $(pgrep -f '^dnsmasq.*weft-acme-app/dnsmasq.conf')")
	says(2, []string{"process weft-acme-app/dnsmasq"}, "plan", c.tree, "--host", "kvm1", "--detailed-exitcode")
	says(0, []string{"Applied and verified"}, "apply", c.tree, "--host", "kvm1", "--auto-approve")

	// Wrong hosts, trees and files.
	says(1, []string{"its hosts are kvm1, kvm2"}, "plan", c.tree, "--host", "kvm9")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		c.Fatal(err)
	}
	says(1, []string{"is no plan"}, "apply", c.tree, "--host", "kvm1", "--plan", file)
	c.edit("tenants/beta.yaml", "offering: open", "offering: opne")
	says(1, []string{"there is no offering"}, "apply", c.tree, "--host", "kvm1", "--auto-approve")

	// The agent makes it what its repository says.
	c.must("lab", "start", "agent/kvm1")
	c.well()
	c.connects(false, "internet", "", "203.0.113.73", 26)
}
