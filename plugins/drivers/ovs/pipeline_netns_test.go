//go:build netns

package ovs

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// Reg values: where a frame is from and where it goes.
const (
	here = iota
	tunnel
	wire
)

// A network of the pipeline of reference/lab-notes 11.
type network struct {
	owner  resource.Owner
	fabric uint64
	vnet   uint64
	remote string // tunnel port, "" = by the wire
	nics   []string
}

func (n network) metadata() uint64 { return n.fabric<<32 | n.vnet }

// rules are what the network adds to the pipeline of a host.
func (n network) rules() []resource.Flow {
	meta := is(resource.FieldMetadata, n.metadata())
	out := []resource.Flow{
		{Table: 20, Match: []resource.Cond{meta}, Do: do(resource.Act{Op: resource.OpLearn, Table: learnTable}, to(25))},
	}
	var local []resource.Act
	for _, nic := range n.nics {
		sym := resource.NICSym(nic, "")
		local = append(local, resource.Act{Op: resource.OpDeliver, Sym: sym, Table: 60})
		out = append(out,
			resource.Flow{Priority: 10, Match: []resource.Cond{at(sym), masked(resource.FieldVLAN, 0, 0x1000)},
				Do: do(setTo(resource.FieldMetadata, n.metadata()), setTo(resource.FieldReg0, here), to(10))},
			resource.Flow{Table: 10, Match: []resource.Cond{at(sym)}, Do: do(to(20))},
			resource.Flow{Table: 60, Match: []resource.Cond{meta, {Field: resource.FieldReg2, Sym: sym}}, Do: do(resource.Act{Op: resource.OpOutput, Sym: sym})})
	}
	away := append([]resource.Act{}, local...)
	if n.remote != "" {
		away = append(away, act(resource.OpTunFromMeta), resource.Act{Op: resource.OpOutput, Sym: resource.PortSym(n.remote)})
	} else {
		away = append(away, act(resource.OpPushVLAN), act(resource.OpVIDFromMeta), resource.Act{Op: resource.OpOutput, Sym: resource.PortSym("p-int")})
	}
	return append(out,
		resource.Flow{Table: 50, Priority: 10, Match: []resource.Cond{meta, is(resource.FieldReg0, here)}, Do: away},
		resource.Flow{Table: 50, Match: []resource.Cond{meta}, Do: local})
}

// hostRules are what the networks of a host share.
func hostRules(tunnelPort string, overlay, vlan uint64) []resource.Flow {
	return []resource.Flow{
		{Priority: 10, Match: []resource.Cond{at(resource.PortSym(tunnelPort))},
			Do: do(setTo(resource.FieldMetadata, overlay<<32), act(resource.OpMetaFromTun), setTo(resource.FieldReg0, tunnel), to(20))},
		{Priority: 10, Match: []resource.Cond{at(resource.PortSym("p-int")), masked(resource.FieldVLAN, 0x1000, 0x1000)},
			Do: do(setTo(resource.FieldMetadata, vlan<<32), act(resource.OpMetaFromVID), act(resource.OpPopVLAN), setTo(resource.FieldReg0, wire), to(20))},
		{Table: 25, Priority: 10, Match: []resource.Cond{masked(resource.FieldEthDst, 1<<40, 1<<40)}, Do: do(to(50))},
		{Table: 25, Do: do(resource.Act{Op: resource.OpResubmit, Table: learnTable}, to(40))},
		{Table: 40, Priority: 30, Match: []resource.Cond{is(resource.FieldReg2, 0)}, Do: do(to(50))},
		{Table: 40, Priority: 20, Match: []resource.Cond{is(resource.FieldReg3, here)}, Do: do(to(60))},
		{Table: 40, Priority: 10, Match: []resource.Cond{is(resource.FieldReg0, here), is(resource.FieldReg3, tunnel)}, Do: do(act(resource.OpTunFromMeta), act(resource.OpOutReg2))},
		{Table: 40, Priority: 10, Match: []resource.Cond{is(resource.FieldReg0, here), is(resource.FieldReg3, wire)}, Do: do(act(resource.OpPushVLAN), act(resource.OpVIDFromMeta), act(resource.OpOutReg2))},
	}
}

// A site is one host of the test: a switch in a namespace, two networks, a
// guest in each.
type site struct {
	*vswitch
	n     int
	d     *Driver
	world []resource.Entry
}

func newSite(t *testing.T, n int) *site {
	t.Helper()
	name := fmt.Sprintf("h%d", n)
	s := &site{vswitch: startSwitch(t, name), n: n}
	s.d = s.vswitch.driver("")
	tun := resource.Tunnel{Bridge: resource.IntegrationBridge, Name: "t-peer", Type: "vxlan", DstPort: 4789,
		Local: endpoint(n), Remote: endpoint(3 - n)}
	vxlanNet := network{"network/acme/red", 1, 7001, tun.Name, []string{s.nic("red")}}
	vlanNet := network{"network/acme/blue", 2, 100, "", []string{s.nic("blue")}}
	flows := func(owner resource.Owner, rules []resource.Flow) resource.Entry {
		return entry(owner, resource.Flows{Bridge: resource.IntegrationBridge, Owner: owner, Rules: rules})
	}
	s.world = []resource.Entry{
		intBridge(),
		entry(shared, resource.Bridge{Name: "cloudbr", Datapath: "netdev", FailMode: "standalone"}),
		entry(shared, resource.Port{Bridge: "cloudbr", Name: "up0"}),
		entry(shared, resource.Port{Bridge: "cloudbr", Name: "p-wire", Type: "patch", Peer: "p-int"}),
		entry(shared, resource.Port{Bridge: resource.IntegrationBridge, Name: "p-int", Type: "patch", Peer: "p-wire"}),
		entry(shared, tun),
		entry(vxlanNet.owner, resource.Port{Bridge: resource.IntegrationBridge, Name: "g-red", IfaceID: s.nic("red")}),
		entry(vlanNet.owner, resource.Port{Bridge: resource.IntegrationBridge, Name: "g-blue", IfaceID: s.nic("blue")}),
		flows(shared, hostRules(tun.Name, vxlanNet.fabric, vlanNet.fabric)),
		flows(vxlanNet.owner, vxlanNet.rules()),
		flows(vlanNet.owner, vlanNet.rules()),
	}
	return s
}

func (s *site) nic(net string) string { return fmt.Sprintf("acme/vm%d/%s", s.n, net) }

func (s *site) guest(net string) string { return fmt.Sprintf("%s%d", net, s.n) }

func endpoint(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 9, 0, byte(n)}) }

// plugGuests makes a guest in each network, both with the same address.
func (s *site) plugGuests(t *testing.T) {
	for i, net := range []string{"red", "blue"} {
		g, port := s.guest(net), "g-"+net
		sh(t, fmt.Sprintf(`ip netns add %[1]s
			ip -n %[2]s link add %[3]s type veth peer name eth0 netns %[1]s
			ip netns exec %[1]s ethtool -K eth0 tx off >/dev/null
			ip -n %[2]s link set %[3]s up mtu 1400; ip -n %[1]s link set lo up
			ip -n %[1]s link set eth0 address 02:00:00:00:0%[5]d:0%[4]d mtu 1400 up
			ip -n %[1]s addr add 10.1.1.%[4]d/24 dev eth0`, g, s.ns, port, s.n, i))
		t.Cleanup(func() { sh(t, "ip netns del "+g) })
	}
}

func (s *site) settle(t *testing.T) {
	t.Helper()
	mustDo(t, s.d, after(steps(mustObserve(t, s.d, s.world...), s.world...)))
	s.mustBe("", s.world...)
}

func ping(from, to string, args ...string) (string, error) {
	argv := append([]string{"netns", "exec", from, "ping", "-q", "-W", "1"}, args...)
	out, err := exec.Command("ip", append(argv, to)...).CombinedOutput()
	return string(out), err
}

// The whole pipeline: two hosts, VXLAN and VLAN, the same addresses in both
// networks, guests that come late, rules that change under traffic, a switch that
// dies.
func TestPipeline(t *testing.T) {
	one, two := newSite(t, 1), newSite(t, 2)
	sh(t, "ip -n h1 link add up0 type veth peer name up0 netns h2; ip -n h1 link set up0 up; ip -n h2 link set up0 up")
	for _, s := range []*site{one, two} {
		mustDo(t, s.d, after(steps(nil, s.world...)))
		sh(t, fmt.Sprintf("ip -n %s addr add %s/24 dev cloudbr; ip -n %[1]s link set cloudbr up", s.ns, endpoint(s.n)))
		s.mustBe("", s.world...)
		s.plugGuests(t)
		eventually(t, "guests have ports", func() bool {
			return len(differing(mustObserve(t, s.d, s.world...), s.world...)) == 2 // both networks' rules
		})
		s.settle(t)
	}
	reach := func(when string) {
		t.Helper()
		for _, net := range []string{"red", "blue"} {
			eventually(t, net+" "+when, func() bool {
				_, err := ping(one.guest(net), "10.1.1.2", "-c1", "-s1300")
				return err == nil
			})
		}
	}
	reach("at first")

	t.Run("networks are apart", func(t *testing.T) {
		sh(t, "ip -n blue2 addr add 10.1.1.99/24 dev eth0")
		if out, err := ping("blue1", "10.1.1.99", "-c2"); err != nil {
			t.Errorf("in its own network: %s", out)
		}
		if out, err := ping("red1", "10.1.1.99", "-c2", "-i0.2"); err == nil {
			t.Errorf("across: %s", out)
		}
	})
	t.Run("the switch answers for who is away", func(t *testing.T) {
		red := one.world[9].State.(resource.Flows)
		red.Rules = append(append([]resource.Flow{}, red.Rules...), resource.Flow{Table: 20, Priority: 10, Do: do(resource.Act{Op: resource.OpARPReply, Value: 0x0200000000ee}),
			Match: []resource.Cond{eth(0x0806), is(resource.FieldMetadata, 1<<32|7001), is(resource.FieldReg0, here), is(resource.FieldARPOp, 1), is(resource.FieldARPTPA, 0x0a01014d)}})
		mustDo(t, one.d, steps(nil, entry(one.world[9].Owner, red)))
		_, _ = ping("red1", "10.1.1.77", "-c1", "-W0.2")
		if out := sh(t, "ip -n red1 neigh show 10.1.1.77"); !strings.Contains(out, "02:00:00:00:00:ee") {
			t.Errorf("neighbour: %s", out)
		}
		one.settle(t)
	})
	t.Run("rules change under traffic", func(t *testing.T) {
		done := make(chan string)
		go func() {
			out, _ := ping("red1", "10.1.1.2", "-c100", "-i0.01")
			done <- out
		}()
		blue := one.world[10]
		more := blue.State.(resource.Flows)
		more.Rules = append(append([]resource.Flow{}, more.Rules...), resource.Flow{Table: 10, Priority: 5, Match: []resource.Cond{eth(0x88cc)}})
		red := one.world[9]
		other := red.State.(resource.Flows)
		other.Rules = append(append([]resource.Flow{}, other.Rules...), resource.Flow{Table: 10, Priority: 6, Match: []resource.Cond{eth(0x88cd)}})
		var out string
		for i := 0; out == ""; i++ {
			change := []resource.Entry{blue, red}
			if i%2 == 0 {
				change = []resource.Entry{entry(blue.Owner, more), entry(red.Owner, other)}
			}
			mustDo(t, one.d, steps(nil, change...))
			select {
			case out = <-done:
			default:
			}
		}
		if !strings.Contains(out, " 0% packet loss") {
			t.Errorf("rewriting rules lost packets: %s", out)
		}
		one.settle(t)
	})
	t.Run("the switch dies", func(t *testing.T) {
		stop(two.sw)
		two.startVswitchd()
		eventually(t, "switch answers", func() bool {
			o, err := two.d.Observe(t.Context(), scopeOf(two.world...))
			return err == nil && len(o.Unread) == 0 && len(differing(o, two.world...)) == 3
		})
		two.settle(t)
		reach("after a restart")
	})
	t.Run("a network goes", func(t *testing.T) {
		mustDo(t, one.d, []*plan.Step{dropStep(0, one.world[9])})
		if out, err := ping("red1", "10.1.1.2", "-c1"); err == nil {
			t.Errorf("still there: %s", out)
		}
		if out := one.ofctl("dump-flows", resource.IntegrationBridge, "table=30,metadata=0x100001b59"); strings.Contains(out, "dl_dst") {
			t.Errorf("what it learned stays: %s", out)
		}
		if out, err := ping("blue1", "10.1.1.2", "-c1"); err != nil {
			t.Errorf("the other suffers: %s", out)
		}
	})
}
