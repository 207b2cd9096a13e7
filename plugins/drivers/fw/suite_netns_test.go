//go:build netns

package fw_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"weft.dev/plugins/drivers/fw"
	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/driver/drivertest"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// TestSuite passes what every driver passes.
func TestSuite(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(string(v), func(t *testing.T) { suite(t, v) })
	}
}

func suite(t *testing.T, v fw.Variant) {
	t.Helper()
	h := newHost(t)
	ns := space(t, h, 1)
	ipt := "ip netns exec " + ns + " iptables-" + string(v) + " "
	run := func(line string) func(*testing.T) { return func(t *testing.T) { t.Helper(); sh(t, "", line) } }
	rules := func(r ...resource.Rule) []resource.Rule { return r }
	own := resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "EGRESS", Rules: rules(accept(resource.Match{Proto: "tcp"}, "a"), accept(resource.Match{Proto: "udp"}, "b"))}
	own2, own3 := own, own
	own2.Rules = rules(own.Rules[1], own.Rules[0])
	own3.Rules = rules(own.Rules[0])
	office := resource.AddrSet{NS: ns, Name: "office", Family: 4, Members: []netip.Prefix{pfx("192.0.2.0/24")}}
	office2, office6 := office, office
	office2.Members = []netip.Prefix{pfx("0.0.0.0/0"), pfx("192.0.2.0/24")}
	office6.Family, office6.Members = 6, []netip.Prefix{pfx("2001:db8::/32")}
	forward := resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "FORWARD", Policy: "DROP", Rules: rules(
		resource.Rule{Name: "out", Do: resource.Verdict{Jump: "EGRESS"}},
		accept(resource.Match{SrcSet: "office"}, "office"))}
	open := forward
	open.Policy = "ACCEPT"
	nat := resource.Chain{NS: ns, Family: 4, Table: "nat", Name: "POSTROUTING", Policy: "ACCEPT", Rules: rules(
		resource.Rule{Do: resource.Verdict{Target: "SNAT", To: netip.MustParseAddr("203.0.113.1")}})}
	six := resource.Chain{NS: ns, Family: 6, Table: "filter", Name: "INPUT", Policy: "DROP"}
	six2 := six
	six2.Rules = rules(accept(resource.Match{Proto: "icmpv6"}, ""))
	listed := func(word string) func(*testing.T, resource.State) error {
		return func(t *testing.T, st resource.State) error {
			t.Helper()
			if has := strings.Contains(sh(t, ns, "iptables-"+string(v)+"-save; ipset list -n"), word); has != (st != nil) {
				return fmt.Errorf("%q is listed: %v", word, has)
			}
			return nil
		}
	}
	drivertest.Run(t, drivertest.Fixture{
		New: func(t *testing.T) driver.Driver {
			fresh := host.New("kvm1", h.Instance)
			fresh.RunDir = h.RunDir
			t.Cleanup(fresh.Close)
			return fw.New(fresh, fw.WithVariant(v))
		},
		Owner: owner,
		Samples: []drivertest.Sample{
			{State: own, Changed: []resource.State{own2, own3}, Spoil: run(ipt + "-A EGRESS -j ACCEPT"), Vanish: run(ipt + "-F EGRESS; " + ipt + "-X EGRESS"), Check: listed("-A EGRESS")},
			{
				Under: []resource.State{own, office}, State: forward, Changed: []resource.State{open}, Spoil: run(ipt + "-P FORWARD ACCEPT"),
				Check: listed("-A FORWARD"),
			},
			{State: nat, Spoil: run(ipt + "-t nat -F POSTROUTING"), Check: listed("--to-source 203.0.113.1")},
			{State: six, Changed: []resource.State{six2}},
			{
				State: office, Changed: []resource.State{office2, office6}, Check: listed("office"),
				Spoil: run("ip netns exec " + ns + " ipset flush office"), Vanish: run("ip netns exec " + ns + " ipset destroy office"),
			},
		},
		Foreign: []drivertest.Foreign{{
			Name: "namespace beside",
			Make: func(t *testing.T) {
				other := ns + "-x"
				sh(t, "", "ip netns add "+other+"; ip netns exec "+other+" iptables-"+string(v)+" -A INPUT -j DROP")
				t.Cleanup(func() { sh(t, "", "ip netns del "+other) })
			},
			Intact: func(*testing.T) error {
				return exec.Command("ip", "netns", "exec", ns+"-x", "iptables-"+string(v), "-C", "INPUT", "-j", "DROP").Run()
			},
		}},
	})
}
