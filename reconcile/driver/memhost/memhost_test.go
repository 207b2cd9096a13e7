package memhost_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/driver/drivertest"
	"weft.dev/reconcile/driver/memhost"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

const owner = drivertest.Owner

var (
	bridge = resource.Bridge{Name: "br0", Datapath: "netdev", FailMode: "secure"}
	space  = resource.NS{Name: "acme-web", Owner: owner}
	link   = resource.Link{NS: "acme-web", Name: "eth0", Host: "web-eth0", MTU: 1450, Up: true}
	chain  = resource.Chain{NS: "acme-web", Family: 4, Table: "filter", Name: "FORWARD", Policy: "DROP"}
	lan    = resource.Link{Name: "brvx-7", MTU: 1450, Up: true, Bridge: &resource.LinuxBridge{Deaf: true}}
	uplink = resource.Link{Name: "eth1", Up: true}
	vlan   = resource.Link{Name: "eth1.7", Up: true, VLAN: &resource.VLAN{Dev: "eth1", ID: 7}}
	vxlan  = resource.Link{Name: "vxlan7", Up: true, VXLAN: &resource.VXLAN{
		VNI: 7, Local: netip.MustParseAddr("192.0.2.1"), DstPort: 4789, Remotes: []netip.Addr{netip.MustParseAddr("192.0.2.2")},
	}}
	guest = resource.BridgePort{Bridge: "brvx-7", IfaceID: "acme/web-1/eth0", MAC: "02:00:00:00:00:01", Isolated: true}
	limit = resource.Qdisc{Link: "brvx-7", Mbit: 10}
	name  = resource.Record{
		Server: resource.Server{Endpoint: "udp:10.0.0.53:53"}, Zone: "example.org", Name: "web-1.example.org",
		Type: "A", Values: []string{"10.1.1.5"}, TTL: 60,
	}
	file = resource.File{Path: "web/hosts", Mode: 0o644, Parts: []resource.Part{{Text: "10.1.1.1 gateway\n"}}}
)

func TestSuite(t *testing.T) {
	for _, frank := range []bool{false, true} {
		t.Run(fmt.Sprintf("frank=%v", frank), func(t *testing.T) {
			h := memhost.New()
			h.Frank = frank
			drivertest.Run(t, fixture(h))
		})
	}
}

func fixture(h *memhost.Host) drivertest.Fixture {
	sample := func(st resource.State, under []resource.State, changed ...resource.State) drivertest.Sample {
		return drivertest.Sample{
			Under: under, State: st, Changed: changed,
			Spoil:  func(*testing.T) { h.Spoil(st.ID()) },
			Vanish: func(*testing.T) { h.Remove(st.ID()) },
			Check: func(_ *testing.T, want resource.State) error {
				got, ok := h.Set()[st.ID()]
				if ok != (want != nil) || ok && got.State.Fingerprint() != want.Fingerprint() {
					return fmt.Errorf("got %v, want %v", got.State, want)
				}
				return nil
			},
		}
	}
	system, mtu := bridge, bridge
	system.Datapath, mtu.MTU = "system", 1600
	wide, other := link, link
	wide.MTU, other.Host = 1500, "web-eth1"
	rules := chain
	rules.Rules = []resource.Rule{{Name: "https", Match: resource.Match{Proto: "tcp"}, Do: resource.Verdict{Target: "ACCEPT"}}}
	text, mode := file, file
	text.Parts, mode.Mode = []resource.Part{{Text: "10.1.1.2 gateway\n"}}, 0o600
	snooping, fdb, tag := lan, vxlan, vlan
	snooping.Bridge = &resource.LinuxBridge{Snooping: true, Deaf: true}
	fdb.VXLAN = &resource.VXLAN{VNI: 7, Local: vxlan.VXLAN.Local, DstPort: 4789, Learning: true}
	tag.VLAN = &resource.VLAN{Dev: "eth1", ID: 8}
	open, faster := guest, limit
	open.Isolated, faster.Mbit = false, 20
	slow, moved, keyed := name, name, name
	slow.TTL, moved.Values, keyed.Server.Key = 300, []string{"10.1.1.6"}, "weft"
	taken := resource.ID{Kind: resource.KindNS, Name: "taken"}
	return drivertest.Fixture{
		New: func(*testing.T) driver.Driver { return h.Serve(resource.Kinds()...) },
		Samples: []drivertest.Sample{
			sample(bridge, nil, system, mtu),
			sample(link, []resource.State{space}, wide, other),
			sample(chain, []resource.State{space}, rules),
			sample(file, nil, text, mode),
			sample(lan, nil, snooping),
			sample(vlan, []resource.State{uplink}, tag),
			sample(vxlan, nil, fdb),
			sample(guest, []resource.State{lan}, open),
			sample(limit, []resource.State{lan}, faster),
			sample(name, nil, slow, moved, keyed),
		},
		Foreign: []drivertest.Foreign{{
			Name: "namespace",
			Make: func(t *testing.T) {
				h.AddForeign(taken, "made by hand")
				t.Cleanup(func() { h.RemoveForeign(taken) })
			},
			Intact: func(*testing.T) error {
				if !h.HasForeign(taken) {
					return errors.New("it is gone")
				}
				return nil
			},
			InTheWay:  resource.NS{Name: "taken", Owner: owner},
			Forbidden: true,
		}},
	}
}

func create(h *memhost.Host, st resource.State) error {
	a := &plan.Action{ID: st.ID(), Verb: plan.Create, After: &resource.Entry{State: st, Owner: owner}}
	return h.Do(context.Background(), []*plan.Step{{Action: a}})[0]
}

func drop(h *memhost.Host, st resource.State) error {
	a := &plan.Action{ID: st.ID(), Verb: plan.Delete, Before: &resource.Entry{State: st, Owner: owner}}
	return h.Do(context.Background(), []*plan.Step{{Action: a, Drop: true}})[0]
}

func TestRefusesLikeAKernel(t *testing.T) {
	set := resource.AddrSet{NS: "acme-web", Name: "peers", Family: 4}
	matching := chain
	matching.Rules = []resource.Rule{{Match: resource.Match{SrcSet: "peers"}, Do: resource.Verdict{Target: "ACCEPT"}}}
	addr := func(link string) resource.Addr {
		return resource.Addr{NS: "acme-web", Link: link, Prefix: netip.MustParsePrefix("10.1.1.1/24")}
	}
	second := resource.Link{NS: "acme-web", Name: "eth1", Host: "web-eth1"}
	long := strings.Repeat("x", 16)
	strange, six6, labelled, again := name, name, name, name
	strange.Name, six6.Values, again.Server.Endpoint = "web-1.example.com", []string{"2001:db8::1"}, "tcp:10.0.0.53:53"
	labelled.Name = strings.Repeat("x", 64) + ".example.org"
	system := bridge
	system.Datapath = "system"
	six := set
	six.Family = 6
	tests := []struct {
		name  string
		given []resource.State
		try   resource.State
		drop  bool
		want  string
	}{
		{"no parent", nil, link, false, "net.ns acme-web does not exist"},
		{"no need", []resource.State{space}, matching, false, "fw.set acme-web/peers does not exist"},
		{"in use", []resource.State{space, set, matching}, set, true, "is used by fw.chain"},
		{"one claim twice", []resource.State{space, link, second, addr("eth0")}, addr("eth1"), false, "is held by net.addr acme-web/eth0"},
		{"long bridge", nil, resource.Bridge{Name: long}, false, "1 to 15 bytes"},
		{"long port", []resource.State{bridge}, resource.Port{Bridge: "br0", Name: long}, false, "1 to 15 bytes"},
		{"long host end", []resource.State{space}, resource.Link{NS: "acme-web", Name: "eth0", Host: long}, false, "1 to 15 bytes"},
		{"long chain", []resource.State{space}, resource.Chain{NS: "acme-web", Family: 4, Table: "nat", Name: strings.Repeat("x", 29)}, false, "1 to 28 bytes"},
		{"long set", []resource.State{space}, resource.AddrSet{NS: "acme-web", Name: strings.Repeat("x", 32)}, false, "1 to 31 bytes"},
		{"slash in a port", []resource.State{bridge}, resource.Port{Bridge: "br0", Name: "a/b"}, false, "a character that no such name has"},
		{"space in a host end", []resource.State{space}, resource.Link{NS: "acme-web", Name: "eth0", Host: "a b"}, false, "a character that no such name has"},
		{"line break in a chain", []resource.State{space}, resource.Chain{NS: "acme-web", Family: 4, Table: "nat", Name: "a\nCOMMIT"}, false, "a character that no such name has"},
		{"fixed field", []resource.State{bridge}, system, false, "datapath cannot change"},
		{"fixed family", []resource.State{space, set}, six, false, "family cannot change"},
		{"port of no bridge", []resource.State{vxlan}, resource.BridgePort{Bridge: "vxlan7", Name: "tap0"}, false, "is no bridge"},
		{"bridge in a bridge", []resource.State{lan}, resource.BridgePort{Bridge: "brvx-7", Name: "brvx-7"}, false, "is a bridge itself"},
		{"vlan of nothing", nil, vlan, false, "net.link /eth1 does not exist"},
		{"one vni twice", []resource.State{vxlan}, resource.Link{Name: "vxlan8", VXLAN: vxlan.VXLAN}, false, "is held by net.link /vxlan7"},
		{"name of another zone", nil, strange, false, "is not in the zone"},
		{"address of another family", nil, six6, false, "is no value of type A"},
		{"long label", nil, labelled, false, "is no name of DNS"},
		{"one name told twice", []resource.State{name}, again, false, "is held by dns.record udp:10.0.0.53:53/example.org/web-1.example.org/A"},
		{"port of flows", []resource.State{bridge}, resource.Flows{Bridge: "br0", Owner: owner, Ports: []resource.ID{{Kind: resource.KindPort, Name: "p0"}}}, false, "ovs.port p0 does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := memhost.New()
			for _, st := range tt.given {
				if err := create(h, st); err != nil {
					t.Fatal(err)
				}
			}
			do := create
			if tt.drop {
				do = drop
			}
			if err := do(h, tt.try); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestDropTakesWhatLiesWithin(t *testing.T) {
	h := memhost.New()
	for _, st := range []resource.State{space, link, chain, file} {
		if err := create(h, st); err != nil {
			t.Fatal(err)
		}
	}
	if err := drop(h, space); err != nil {
		t.Fatal(err)
	}
	if left := h.Set().IDs(); len(left) != 1 || left[0] != file.ID() {
		t.Errorf("left are %v, want the file only", left)
	}
}

// TestGuestComesLater: a port and a limit of a guest's interface stand before it is
// there, unbound.
func TestGuestComesLater(t *testing.T) {
	h := memhost.New()
	slow := resource.Qdisc{IfaceID: guest.IfaceID, MAC: guest.MAC, Mbit: 5}
	for _, st := range []resource.State{lan, guest, slow} {
		if err := create(h, st); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{2, 0} {
		o, err := h.Observe(t.Context(), driver.Scope{})
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Unbound[owner]; len(got) != want {
			t.Errorf("unbound are %v, want %d", got, want)
		}
		h.Plug(guest.IfaceID, true)
	}
}

func TestUnboundAndRestart(t *testing.T) {
	h := memhost.New()
	flows := resource.Flows{Bridge: "br0", Owner: owner, Rules: []resource.Flow{
		{Do: []resource.Act{{Op: resource.OpOutput, Sym: resource.PortSym("p0")}}},
		{Match: []resource.Cond{{Field: resource.FieldInPort, Sym: resource.NICSym("acme/web-1/web", "02:00:00:00:00:01")}}},
	}}
	for _, st := range []resource.State{bridge, flows} {
		if err := create(h, st); err != nil {
			t.Fatal(err)
		}
	}
	unbound := func() []string {
		t.Helper()
		o, err := h.Observe(t.Context(), driver.Scope{})
		if err != nil {
			t.Fatal(err)
		}
		return o.Unbound[owner]
	}
	if got := unbound(); len(got) != 2 {
		t.Errorf("unbound are %v, want both symbols", got)
	}
	h.Plug("acme/web-1/web", true)
	if err := create(h, resource.Port{Bridge: "br0", Name: "p0"}); err != nil {
		t.Fatal(err)
	}
	if got := unbound(); len(got) != 0 {
		t.Errorf("unbound are %v, want none", got)
	}
	h.Restart("vswitchd")
	if _, ok := h.Set()[flows.ID()]; ok {
		t.Error("the flows survived the restart of the switch")
	}
	if _, ok := h.Set()[bridge.ID()]; !ok {
		t.Error("the bridge did not survive the restart of the switch")
	}
}

func TestBatchSkipsWhatWaitsForAFailure(t *testing.T) {
	h := memhost.New()
	step := func(i int, st resource.State, after ...int) *plan.Step {
		a := &plan.Action{ID: st.ID(), Verb: plan.Create, After: &resource.Entry{State: st, Owner: owner}}
		return &plan.Step{Index: i, Action: a, After: after}
	}
	errs := h.Do(t.Context(), []*plan.Step{step(4, link), step(5, file, 4), step(6, bridge)})
	if errs[0] == nil || !errors.Is(errs[1], plan.ErrSkipped) || errs[2] != nil {
		t.Errorf("got %v, want an error, a skip and success", errs)
	}
}
