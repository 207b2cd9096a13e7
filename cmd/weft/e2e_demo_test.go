//go:build e2e

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDemos: each example comes up, and what it promises holds with real packets.
func TestDemos(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	trees, err := filepath.Glob("../../examples/*/weft.lock")
	if err != nil || len(trees) < 10 {
		t.Fatal(trees, err)
	}
	for _, path := range trees {
		name := filepath.Base(filepath.Dir(path))
		if name == "bonded-host" || name == "evpn" || name == "metadata" || name == "vpn-site-to-site" || name == "dns-updates" { // they wait for their operator: TestTakeover, TestEVPN, TestMetadata, TestVPN, TestDNSUpdates
			continue
		}
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			c := &cloud{TB: t, ctx: ctx, tree: filepath.Join(t.TempDir(), name)}
			c.copyTree(filepath.Dir(path))
			args := []string{"lab", "demo", c.tree}
			if secrets := filepath.Join(filepath.Dir(path), "secrets"); name == "loadbalancer" {
				args = append(args, "--secrets", secrets)
			}
			out, code := c.run(args...)
			defer func() {
				if out, code := c.run("lab", "down", c.tree); code != exitOK {
					t.Errorf("lab down: exit status %d\n%s", code, out)
				}
			}()
			if code != exitOK || !strings.Contains(out, "What it promises") {
				t.Errorf("exit status %d\n%s", code, out)
			}
		})
	}
}
