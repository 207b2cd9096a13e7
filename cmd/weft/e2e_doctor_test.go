//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// phones is a VPN that needs PPP in the kernel.
const phones = `---
apiVersion: weft.dev/v1alpha1
kind: RemoteAccessVPN
metadata: {name: phones, account: acme}
spec:
  publicIP: gate
  protocol: L2TP
  ranges: ["10.254.2.2-10.254.2.50"]
  psk: {secretFile: /etc/weft/laptops.key}
`

// vpnDoctor: on a host that is as its tree says weft doctor finds no error; a tree that asks for
// what the kernel has not is refused at its line, and so is one whose wire is larger than it is.
func (c *cloud) vpnDoctor() {
	doctor := func(dir string) (string, int) { return c.code("host/kvm1", "weft", "doctor", dir) }
	out, code := doctor(c.tree)
	if code != exitOK || strings.Contains(out, "error") {
		c.Errorf("doctor of a host that is well: exit %d\n%s", code, out)
	}
	noPPP := strings.Contains(out, "the kernel has no PPP")

	dir := c.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		c.Fatal(err)
	}
	for name, change := range map[string]struct {
		edit func(string) string
		want string
	}{
		"l2tp": {func(s string) string { return s + phones }, `(?m)^error +tree +l2tp\.yaml:\d+:13: the kernel of host kvm1, .* has no PPP`},
		"mtu": {func(s string) string {
			return regexp.MustCompile(`kind: PhysicalNetwork\n(.*\n)spec:\n`).ReplaceAllString(s, "${0}  mtu: 9000\n")
		}, `(?m)^(error|warning) +wire +mtu\.yaml:\d+:\d+: the MTU of \S+ is \d+, and the wire of physical network \S+ is said to carry 9000`},
	} {
		if name == "l2tp" && !noPPP {
			continue
		}
		tree := filepath.Join(dir, name)
		text, err := os.ReadFile(filepath.Join(c.tree, "cloud.yaml"))
		if err == nil {
			err = os.Mkdir(tree, 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(tree, name+".yaml"), []byte(change.edit(string(text))), 0o644)
		}
		if err != nil {
			c.Fatal(err)
		}
		lock, err := os.ReadFile(filepath.Join(c.tree, "weft.lock"))
		if err == nil {
			err = os.WriteFile(filepath.Join(tree, "weft.lock"), lock, 0o644)
		}
		if err != nil {
			c.Fatal(err)
		}
		out, code := doctor(tree)
		if !regexp.MustCompile(change.want).MatchString(out) || (code != exitOK) != strings.Contains(out, "error ") {
			c.Errorf("doctor of %s: exit %d\n%s\nwant %s", name, code, out, change.want)
		}
	}
}
