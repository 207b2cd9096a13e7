//go:build netns

package fw_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"weft.dev/plugins/drivers/fw"
	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

var seq atomic.Int32

// newHost returns a host of an instance of its own, with which everything of the
// test ends.
func newHost(tb testing.TB) *host.Host {
	tb.Helper()
	inst := fmt.Sprintf("wf%x%d", os.Getpid(), seq.Add(1))
	h := host.New("kvm1", inst)
	h.RunDir = tb.TempDir()
	tb.Cleanup(func() {
		h.Close()
		names, _ := filepath.Glob(filepath.Join(h.Netns, inst+"-*"))
		for _, n := range names {
			_ = exec.Command("ip", "netns", "del", filepath.Base(n)).Run()
		}
	})
	return h
}

// sh runs a command line, in namespace ns unless "", and returns its output.
func sh(tb testing.TB, ns, line string) string {
	tb.Helper()
	args := []string{"sh", "-c", line}
	if ns != "" {
		args = append([]string{"ip", "netns", "exec", ns}, args...)
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s in %q: %v\n%s", line, ns, err, out)
	}
	return string(out)
}

const owner = resource.Owner("network/acme/web")

func entry(st resource.State) resource.Entry { return resource.Entry{State: st, Owner: owner} }

// steps makes or, with drop, drops states in order, each after the one before.
func steps(drop bool, states ...resource.State) []*plan.Step {
	var out []*plan.Step
	for i, st := range states {
		e := entry(st)
		a := &plan.Action{ID: st.ID(), Verb: plan.Create, After: &e}
		if drop {
			a = &plan.Action{ID: st.ID(), Verb: plan.Delete, Before: &e}
		}
		out = append(out, &plan.Step{Index: i, Action: a, Drop: drop})
	}
	return out
}

func do(tb testing.TB, d driver.Driver, list []*plan.Step) {
	tb.Helper()
	for i, err := range d.Do(tb.Context(), list) {
		if err != nil {
			tb.Fatalf("%s: %v", list[i].ID(), err)
		}
	}
}

func set(states ...resource.State) resource.Set {
	s := resource.Set{}
	for _, st := range states {
		s.Put(entry(st))
	}
	return s
}

func observe(tb testing.TB, d driver.Driver, desired resource.Set) *resource.Observed {
	tb.Helper()
	o, err := d.Observe(tb.Context(), driver.Scope{Desired: desired})
	if err != nil {
		tb.Fatal(err)
	}
	if len(o.Unread) > 0 {
		tb.Fatalf("unread: %v", o.Unread)
	}
	return o
}

// diff lists how observed differs from desired.
func diff(o *resource.Observed, desired resource.Set) (out []string) {
	for _, id := range desired.IDs() {
		got, ok := o.Set[id]
		switch {
		case !ok:
			out = append(out, "missing "+id.String())
		case got.State.Fingerprint() != desired[id].State.Fingerprint():
			out = append(out, fmt.Sprintf("%s is %+v", id, got.State))
		case got.Owner != desired[id].Owner:
			out = append(out, fmt.Sprintf("%s is of %s", id, got.Owner))
		}
	}
	for _, id := range o.Set.IDs() {
		if _, ok := desired[id]; !ok {
			out = append(out, fmt.Sprintf("extra %s: %+v", id, o.Set[id].State))
		}
	}
	return out
}

func same(tb testing.TB, d driver.Driver, desired resource.Set) {
	tb.Helper()
	if l := diff(observe(tb, d, desired), desired); l != nil {
		tb.Fatalf("observed differs:\n%s", strings.Join(l, "\n"))
	}
}

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// variants lists those that are installed: a test runs with each.
func variants(tb testing.TB) (out []fw.Variant) {
	tb.Helper()
	for _, v := range []fw.Variant{fw.NFT, fw.Legacy} {
		if _, err := exec.LookPath("iptables-" + string(v) + "-restore"); err == nil {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		tb.Fatal("no variant of iptables is installed")
	}
	return out
}

func space(tb testing.TB, h *host.Host, i int) string {
	tb.Helper()
	ns := fmt.Sprintf("%s-r%d", h.Instance, i)
	if _, err := h.MakeSpace(ns, string(owner)); err != nil {
		tb.Fatal(err)
	}
	return ns
}

func ports(p ...int) (out []schema.PortRange) {
	for i := 0; i < len(p); i += 2 {
		out = append(out, schema.PortRange{From: uint16(p[i]), To: uint16(p[i+1])})
	}
	return out
}

func accept(m resource.Match, name string) resource.Rule {
	return resource.Rule{Name: name, Match: m, Do: resource.Verdict{Target: "ACCEPT"}}
}

// firewall is all of one router: two sets and chains in three tables and two
// families that use everything there is.
func firewall(ns string) []resource.State {
	var many []int
	for i := range 20 {
		many = append(many, 1000+10*i, 1000+10*i+i%2)
	}
	vm := netip.MustParseAddr("10.1.1.10")
	jump := func(c string, m resource.Match) resource.Rule {
		return resource.Rule{Name: "to " + c, Match: m, Do: resource.Verdict{Jump: c}}
	}
	return []resource.State{
		resource.AddrSet{NS: ns, Name: "office", Family: 4, Members: []netip.Prefix{pfx("192.0.2.0/24"), pfx("198.51.100.7/32")}},
		resource.AddrSet{NS: ns, Name: "world", Family: 4, Members: []netip.Prefix{pfx("0.0.0.0/0")}},
		resource.AddrSet{NS: ns, Name: "world6", Family: 6, Members: []netip.Prefix{pfx("::/0")}},
		resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "EGRESS", Rules: []resource.Rule{
			accept(resource.Match{Proto: "tcp", DstPorts: ports(many...)}, "many ports"),
			accept(resource.Match{Proto: "udp", SrcPorts: ports(53, 53), DstPorts: ports(1024, 65535)}, ""),
			accept(resource.Match{Proto: "icmp", ICMPType: 9, ICMPCode: 1}, "ping"),
			accept(resource.Match{Proto: "47"}, "gre"),
			{Name: "no tcp", Match: resource.Match{Proto: "tcp"}, Do: resource.Verdict{Target: "REJECT"}},
			{Name: "no more", Do: resource.Verdict{Target: "REJECT"}},
		}},
		resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "FORWARD", Policy: "DROP", Rules: []resource.Rule{
			accept(resource.Match{CT: []string{"RELATED", "ESTABLISHED"}}, "replies"),
			jump("EGRESS", resource.Match{In: "eth0", Out: "eth1", Src: pfx("10.1.1.0/24")}),
			accept(resource.Match{In: "eth1", CT: []string{"DNAT"}, OrigDst: pfx("203.0.113.5/32"), SrcSet: "office"}, "published"),
			accept(resource.Match{DstSet: "world", Dst: pfx("10.0.0.0/8"), NotDst: true, Mark: 7}, ""),
		}},
		resource.Chain{NS: ns, Family: 4, Table: "mangle", Name: "FORWARD", Policy: "ACCEPT", Rules: []resource.Rule{
			{Name: "mss", Match: resource.Match{Proto: "tcp", SYN: true}, Do: resource.Verdict{Target: "CLAMPMSS"}},
			{Name: "save", Match: resource.Match{In: "eth1", CT: []string{"NEW"}}, Do: resource.Verdict{Target: "SAVEMARK", Mask: 0xffff0000}},
			{Name: "restore", Match: resource.Match{In: "eth0"}, Do: resource.Verdict{Target: "RESTOREMARK", Mask: 0xffff0000}},
			{Name: "mark", Match: resource.Match{In: "eth0"}, Do: resource.Verdict{Target: "MARK", Mark: 7}},
		}},
		resource.Chain{NS: ns, Family: 4, Table: "nat", Name: "PREROUTING", Policy: "ACCEPT", Rules: []resource.Rule{
			{Name: "web", Match: resource.Match{Dst: pfx("203.0.113.5/32"), Proto: "tcp", DstPorts: ports(80, 80)}, Do: resource.Verdict{Target: "DNAT", To: vm, Ports: schema.PortRange{From: 8080, To: 8080}}},
			{Name: "range", Match: resource.Match{Dst: pfx("203.0.113.5/32"), Proto: "udp", DstPorts: ports(5000, 5010)}, Do: resource.Verdict{Target: "DNAT", To: vm, Ports: schema.PortRange{From: 6000, To: 6010}, Base: 5000}},
			{Name: "all", Match: resource.Match{Dst: pfx("203.0.113.6/32")}, Do: resource.Verdict{Target: "DNAT", To: vm}},
		}},
		resource.Chain{NS: ns, Family: 4, Table: "nat", Name: "POSTROUTING", Policy: "ACCEPT", Rules: []resource.Rule{
			{Name: "source nat", Match: resource.Match{Src: pfx("10.1.1.0/24"), Out: "eth1"}, Do: resource.Verdict{Target: "SNAT", To: netip.MustParseAddr("203.0.113.5")}},
		}},
		resource.Chain{NS: ns, Family: 6, Table: "filter", Name: "INPUT", Policy: "DROP", Rules: []resource.Rule{
			accept(resource.Match{Proto: "icmpv6", ICMPType: 136}, "neighbours"),
			accept(resource.Match{SrcSet: "world6", Src: pfx("2001:db8::/32"), Proto: "tcp", DstPorts: ports(22, 22)}, ""),
			{Name: "else", Do: resource.Verdict{Target: "REJECT"}},
		}},
		resource.Chain{NS: ns, Family: 6, Table: "nat", Name: "PREROUTING", Policy: "ACCEPT", Rules: []resource.Rule{
			{Match: resource.Match{Proto: "tcp", DstPorts: ports(80, 90)}, Do: resource.Verdict{Target: "DNAT", To: netip.MustParseAddr("2001:db8::5"), Ports: schema.PortRange{From: 180, To: 190}, Base: 80}},
		}},
	}
}

func reverse(l []resource.State) (out []resource.State) {
	for i := len(l) - 1; i >= 0; i-- {
		out = append(out, l[i])
	}
	return out
}
