//go:build e2e

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/lab"
)

// manyNetworks is a tree of one host with n networks, each with a router, DHCP,
// DNS and source NAT.
func manyNetworks(n int) string {
	var b strings.Builder
	b.WriteString(`apiVersion: weft.dev/v1alpha1
kind: Zone
metadata: {name: z}
spec: {networkType: Advanced, dns: [9.9.9.9]}
---
apiVersion: weft.dev/v1alpha1
kind: Host
metadata: {name: kvm1}
spec:
  bridges: [{name: cloudbr0, uplinks: [eth0]}, {name: cloudbr1, uplinks: [eth1], address: 192.168.50.11/24}]
  ovs: {datapath: netdev}
---
apiVersion: weft.dev/v1alpha1
kind: PhysicalNetwork
metadata: {name: vlan}
spec: {isolation: VLAN, vnets: ["100-4000"], traffic: [{type: Guest, label: cloudbr1}], providers: [VirtualRouter]}
---
apiVersion: weft.dev/v1alpha1
kind: PhysicalNetwork
metadata: {name: public}
spec: {isolation: VLAN, traffic: [{type: Public, label: cloudbr0}]}
---
apiVersion: weft.dev/v1alpha1
kind: PublicIPRange
metadata: {name: internet}
spec: {physicalNetwork: public, cidr: 203.0.112.0/22, gateway: 203.0.112.1, ranges: ["203.0.112.10-203.0.115.250"]}
---
apiVersion: weft.dev/v1alpha1
kind: Account
metadata: {name: a}
spec: {}
---
apiVersion: weft.dev/v1alpha1
kind: NetworkOffering
metadata: {name: o}
spec:
  guestType: Isolated
  persistent: true
  egressDefaultPolicy: Allow
  services: {Dhcp: VirtualRouter, Dns: VirtualRouter, SourceNat: VirtualRouter, StaticNat: VirtualRouter, PortForwarding: VirtualRouter, Firewall: VirtualRouter}
`)
	for i := range n {
		fmt.Fprintf(&b, `---
apiVersion: weft.dev/v1alpha1
kind: Network
metadata: {name: n%d, account: a}
spec: {offering: o, physicalNetwork: vlan, cidr: 10.1.1.0/24}
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: v%[1]d, account: a}
spec: {host: kvm1, state: Stopped, nics: [{network: n%[1]d}]}
`, i)
	}
	return b.String()
}

// bench is a cloud for a benchmark, with a directory for its tree.
func bench(b *testing.B) *cloud {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	b.Cleanup(cancel)
	return &cloud{TB: b, ctx: ctx, tree: b.TempDir()}
}

// hostAlone starts a lab of the tree without an agent, which ends when the
// function that is returned is called.
func (c *cloud) hostAlone(name string) (down func()) {
	c.Helper()
	t, err := newCompiler().workTree(c.tree)
	if err != nil {
		c.Fatal(err)
	}
	spec := lab.SpecOf(t.Site, t.Networks(), t.VPCs(), lab.Spec{})
	for i := range spec.Hosts {
		spec.Hosts[i].Agent = nil
	}
	if c.lab, err = lab.Start(c.ctx, lab.Options{Name: name, Spec: spec}); err != nil {
		c.Fatal(err)
	}
	return func() {
		c.Helper()
		_ = c.lab.Close()
		if err := lab.Down(c.ctx, name); err != nil {
			c.Fatal(err)
		}
	}
}

// timed runs a probe that prints its times.
func (c *cloud) timed(node string, args ...string) []time.Duration {
	c.Helper()
	out := c.in(node, append([]string{"weft"}, args...)...)
	var t took
	if err := json.Unmarshal([]byte(out), &t); err != nil || len(t.Times) == 0 {
		c.Fatalf("%s: %v: %q", strings.Join(args, " "), err, out)
	}
	return t.Times
}

func median(l []time.Duration) time.Duration {
	l = slices.Sorted(slices.Values(l))
	return l[len(l)/2]
}

// BenchmarkBringUp is `weft apply` of networks with routers on a host that has
// nothing, and the same number of routers by a program that does no more than
// it must: x-floor is how many times as long weft takes.
func BenchmarkBringUp(b *testing.B) {
	for _, n := range []int{50, 200} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			c := bench(b)
			c.write("cloud.yaml", manyNetworks(n))
			if out, code := c.run("lock", c.tree); code != exitOK {
				b.Fatal(out)
			}
			var floor, weft []time.Duration
			for b.Loop() {
				b.StopTimer()
				down := c.hostAlone(fmt.Sprintf("floor%d", os.Getpid()))
				floor = append(floor, c.timed("host/kvm1", "e2e-floor", strconv.Itoa(n))...)
				down()
				down = c.hostAlone(fmt.Sprintf("up%d", os.Getpid()))
				b.StartTimer()
				began := time.Now()
				c.in("host/kvm1", "weft", "apply", c.tree, "--host", "kvm1", "--auto-approve")
				weft = append(weft, time.Since(began))
				b.StopTimer()
				down()
				b.StartTimer()
			}
			b.ReportMetric(median(floor).Seconds(), "floor-s")
			b.ReportMetric(median(weft).Seconds(), "weft-s")
			b.ReportMetric(median(weft).Seconds()/median(floor).Seconds(), "x-floor")
		})
	}
}

// BenchmarkNoOp is a look at a host of 200 routers on which all is well: by an
// agent's engine, which knows what it saw last, and by a process that knows
// nothing.
func BenchmarkNoOp(b *testing.B) {
	c := bench(b)
	c.write("cloud.yaml", manyNetworks(200))
	if out, code := c.run("lock", c.tree); code != exitOK {
		b.Fatal(out)
	}
	defer c.hostAlone(fmt.Sprintf("noop%d", os.Getpid()))()
	c.in("host/kvm1", "weft", "apply", c.tree, "--host", "kvm1", "--auto-approve")
	b.Run("agent", func(b *testing.B) {
		var passes []time.Duration
		for b.Loop() {
			passes = append(passes, c.timed("host/kvm1", "e2e-pass", c.tree, "5")...)
		}
		b.ReportMetric(float64(median(passes).Milliseconds()), "ms/pass")
	})
	b.Run("process", func(b *testing.B) {
		for b.Loop() {
			if out, code := c.code("host/kvm1", "weft", "plan", c.tree, "--host", "kvm1", "--detailed-exitcode"); code != exitOK {
				b.Fatalf("exit status %d\n%s", code, out)
			}
		}
	})
}

// BenchmarkCommit is the time from a commit to the wire: a port of a public
// address is opened, and the internet gets through.
func BenchmarkCommit(b *testing.B) {
	c := startLab(b, fmt.Sprintf("commit%d", os.Getpid()), quickstart)
	vip := netip.MustParseAddr("203.0.113.73")
	c.probe("beta/mail", "e2e-echo", ":25")
	c.probe("beta/mail", "e2e-echo", ":26")
	next := map[int]int{25: 26, 26: 25}
	port := 25
	file := filepath.Join("tenants", "beta.yaml")
	for b.Loop() {
		b.StopTimer()
		c.edit(file, fmt.Sprintf("ports: %d,", port), fmt.Sprintf("ports: %d,", next[port]))
		port = next[port]
		knock := c.probe("internet", "e2e-knock", netip.AddrPortFrom(vip, uint16(port)).String())
		b.StartTimer()
		if _, _, err := c.lab.Commit(c.ctx, c.tree, "open another port"); err != nil {
			b.Fatal(err)
		}
		if err := <-knock.done; err != nil {
			b.Fatal(err)
		}
	}
}
