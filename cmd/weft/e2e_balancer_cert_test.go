//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// balancedCertificate: a key that is not the certificate's, or not there, is told at the
// line that asks for it; its balancer stays as it was, or closed where it is new, and
// what is new for others comes into force.
func (c *cloud) balancedCertificate() {
	good, err := os.ReadFile(filepath.Join(c.secrets, "shop.key"))
	if err != nil {
		c.Fatal(err)
	}
	c.until(slow, "the router's status tells of it", func() string {
		out := c.in("host/kvm1", "weft", "status", "router/acme/web")
		if !regexp.MustCompile(`(?m)^ +lb/acme/https +Well .*Serves$`).MatchString(out) {
			return out
		}
		return ""
	})
	if out, err := c.try("internet", "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "/run/other.key"); err != nil {
		c.Fatalf("%v: %s", err, out)
	}
	c.rewriteSecret("shop.key", c.in("internet", "cat", "/run/other.key"))
	c.statusSays("private key does not match public key (cloud.yaml:")
	c.edit("cloud.yaml", "[{vm: web-1, weight: 3}, {vm: web-2}]", "[{vm: web-1, weight: 9}, {vm: web-2}]")
	c.edit("cloud.yaml", "ports: [80, 443, 8000]", "ports: [80, 443, 8000, 8443]")
	c.write("new.yaml", strings.NewReplacer("KEY", "/etc/weft/none.key", "CERT", c.certificate()).Replace(`apiVersion: weft.dev/v1alpha1
kind: LoadBalancer
metadata: {name: new, account: acme}
spec:
  publicIP: shop
  port: 8443
  instancePort: 80
  protocol: ssl
  healthCheck: {interval: 1s, timeout: 1s}
  members: [{vm: web-1}, {vm: web-2}]
  tls:
    key: {secretFile: KEY}
    certificate: |
CERT`))
	if out, code := c.run("lock", c.tree); code != exitOK {
		c.Fatalf("lock: %s", out)
	}
	// The host does not say that all is done.
	if out, code := c.weft("lab", "commit", c.tree, "--timeout", "2s"); code != exitError || !strings.Contains(out, "not every host has converged") {
		c.Errorf("commit: exit status %d\n%s", code, out)
	}
	c.until(slow, "the weight of another balancer counts", func() string {
		if seen := c.calls(20, "internet", vip+":25"); seen["web-1"] != 18 {
			return fmt.Sprint(seen)
		}
		return ""
	})
	c.unanswered(call{"internet", []string{"-k", "https://" + vip + ":8443"}})
	if out := c.fetched("internet", "-k", "https://"+vip); !strings.Contains(out, "proto=https") {
		c.Errorf("with its key of before: %q", out)
	}
	// Without a commit all is well once the keys are.
	c.rewriteSecret("shop.key", string(good))
	c.statusSays("none.key: no such file or directory (new.yaml:")
	c.rewriteSecret("none.key", string(good))
	c.well()
	c.fetched("internet", "-k", "https://"+vip+":8443")
	c.edit("cloud.yaml", "[{vm: web-1, weight: 9}, {vm: web-2}]", "[{vm: web-1, weight: 3}, {vm: web-2}]")
	c.edit("cloud.yaml", "ports: [80, 443, 8000, 8443]", "ports: [80, 443, 8000]")
	if err := os.Remove(filepath.Join(c.tree, "new.yaml")); err != nil {
		c.Fatal(err)
	}
	c.commit()
	c.well()
}

// certificate is that of the example, indented as a new document has it.
func (c *cloud) certificate() string {
	c.Helper()
	b, err := os.ReadFile(filepath.Join(c.tree, "cloud.yaml"))
	if err != nil {
		c.Fatal(err)
	}
	const begin, end = "      -----BEGIN CERTIFICATE-----\n", "      -----END CERTIFICATE-----\n"
	_, rest, found := strings.Cut(string(b), begin)
	body, _, whole := strings.Cut(rest, end)
	if !found || !whole {
		c.Fatal("the example has no certificate")
	}
	return begin + body + end
}

// statusSays waits until kvm1's status has all the words in one line.
func (c *cloud) statusSays(words ...string) {
	c.Helper()
	c.until(slow, "the status says "+strings.Join(words, " "), func() string {
		out := c.in("host/kvm1", "weft", "status")
	lines:
		for line := range strings.Lines(out) {
			for _, w := range words {
				if !strings.Contains(line, w) {
					continue lines
				}
			}
			return ""
		}
		return out
	})
}
