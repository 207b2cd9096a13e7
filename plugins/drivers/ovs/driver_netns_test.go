//go:build netns

package ovs

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/driver/drivertest"
	"weft.dev/reconcile/resource"
)

func TestDriver(t *testing.T) {
	s := startSwitch(t, "")
	makeLinks(t, "up0", "up1")
	drivertest.Run(t, drivertest.Fixture{
		New:     func(t *testing.T) driver.Driver { s.t = t; return s.driver("") },
		Samples: s.samples(),
		Foreign: s.foreign(),
	})
}

// by is another hand.
func (s *vswitch) by(command string) func(*testing.T) {
	return func(t *testing.T) { s.t = t; s.vsctl(strings.Fields(command)...) }
}

// has looks a name up with other eyes.
func (s *vswitch) has(verb, under, name string) func(*testing.T, resource.State) error {
	return func(t *testing.T, st resource.State) error {
		s.t = t
		args := []string{verb}
		if under != "" {
			if gone := s.tryVsctl("br-exists", under) != nil; gone {
				return nil //nolint:nilerr // what is under nothing is not there
			}
			args = append(args, under)
		}
		found := strings.Contains("\n"+s.vsctl(args...)+"\n", "\n"+name+"\n")
		if p, ok := st.(resource.Port); ok && p.Bridge != under {
			return nil
		}
		if p, ok := st.(resource.Tunnel); ok && p.Bridge != under {
			return nil
		}
		if found != (st != nil) {
			return fmt.Errorf("%v %s: %v", args, name, found)
		}
		return nil
	}
}

func (s *vswitch) samples() []drivertest.Sample {
	br := func(name string) resource.Bridge {
		return resource.Bridge{Name: name, Datapath: "netdev", FailMode: "secure"}
	}
	bridge := br("br1")
	open, small := bridge, bridge
	open.FailMode, small.MTU = "standalone", 1400

	on := []resource.State{br("br1"), br("br2")}
	guest := resource.Port{Bridge: "br1", Name: "vnet0", IfaceID: "acme/vm/a", MAC: "02:00:00:00:00:0a"}
	guests := []resource.State{}
	for _, change := range []func(*resource.Port){
		func(p *resource.Port) { p.Bridge = "br2" }, func(p *resource.Port) { p.IfaceID = "acme/vm/b" }, func(p *resource.Port) { p.IfaceID = "" },
		func(p *resource.Port) { p.MAC = "02:00:00:00:00:0b" }, func(p *resource.Port) { p.MAC = "" },
		func(p *resource.Port) { p.Type, p.Peer = "patch", "nowhere" },
	} {
		p := guest
		change(&p)
		guests = append(guests, p)
	}
	uplink := resource.Port{Bridge: "br1", Name: "up0", Uplink: true}
	noUplink := uplink
	noUplink.Uplink = false
	patch := resource.Port{Bridge: "br1", Name: "p1", Type: "patch", Peer: "p2"}
	turned := patch
	turned.Peer = "p3"

	tunnel := resource.Tunnel{Bridge: "br1", Name: "t1", Type: "vxlan", Local: netip.MustParseAddr("10.0.0.1"), Remote: netip.MustParseAddr("10.0.0.2"), DstPort: 4789}
	tunnels := []resource.State{}
	for _, change := range []func(*resource.Tunnel){
		func(t *resource.Tunnel) { t.Bridge = "br2" }, func(t *resource.Tunnel) { t.Type, t.DstPort = "geneve", 6081 }, func(t *resource.Tunnel) { t.Type, t.DstPort = "gre", 0 },
		func(t *resource.Tunnel) { t.Local = netip.MustParseAddr("10.0.0.3") }, func(t *resource.Tunnel) { t.Remote = netip.MustParseAddr("10.0.0.3") },
		func(t *resource.Tunnel) { t.DstPort = 4790 },
		func(t *resource.Tunnel) {
			t.Local, t.Remote = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
		},
	} {
		x := tunnel
		change(&x)
		tunnels = append(tunnels, x)
	}

	base := []resource.State{br(resource.IntegrationBridge)}
	unit := func(rules ...resource.Flow) resource.Flows {
		return resource.Flows{Bridge: resource.IntegrationBridge, Owner: drivertest.Owner, Rules: rules}
	}
	rule := resource.Flow{Table: 60, Priority: 1, Match: []resource.Cond{is(resource.FieldMetadata, 7)}, Do: do(to(61))}
	edited := func(change func(*resource.Flow)) resource.Flows {
		r := rule
		change(&r)
		return unit(r)
	}
	return []drivertest.Sample{
		{State: bridge, Changed: []resource.State{open, small}, Spoil: s.by("set-fail-mode br1 standalone"), Vanish: s.by("del-br br1"), Check: s.has("list-br", "", "br1")},
		{State: guest, Under: on, Changed: guests, Spoil: s.by("set port vnet0 tag=7"), Vanish: s.by("--if-exists del-port vnet0"), Check: s.has("list-ports", "br1", "vnet0")},
		{State: uplink, Under: on, Changed: []resource.State{noUplink}, Spoil: s.by("set port up0 vlan_mode=access"), Vanish: s.by("--if-exists del-port up0"), Check: s.has("list-ports", "br1", "up0")},
		{State: patch, Under: on, Changed: []resource.State{turned}, Spoil: s.by("set interface p1 options:peer=p9"), Vanish: s.by("--if-exists del-port p1")},
		{State: tunnel, Under: on, Changed: tunnels, Spoil: s.by("set interface t1 options:key=9"), Vanish: s.by("--if-exists del-port t1"), Check: s.has("list-ports", "br1", "t1")},
		{State: unit(rule), Under: base, Changed: []resource.State{
			unit(), unit(rule, resource.Flow{Table: 61}),
			edited(func(r *resource.Flow) { r.Table = 59 }), edited(func(r *resource.Flow) { r.Priority = 2 }),
			edited(func(r *resource.Flow) { r.Match = nil }), edited(func(r *resource.Flow) { r.Do = nil }),
		}, Spoil: func(t *testing.T) {
			s.t = t
			s.ofctl("mod-flows", resource.IntegrationBridge, "table=60,actions=drop")
			s.ofctl("add-flow", resource.IntegrationBridge, "cookie=0x1,table=60,priority=1,metadata=7,actions=goto_table:70")
		}},
	}
}

func (s *vswitch) foreign() []drivertest.Foreign {
	gone := func(t *testing.T) {
		t.Cleanup(func() { s.t = t; s.vsctl("--if-exists", "del-br", "theirs") })
	}
	intact := func(t *testing.T) error {
		s.t = t
		if got := s.vsctl("list-ports", "theirs"); got != "taken" {
			return fmt.Errorf("its ports: %s", got)
		}
		if got := s.vsctl("get", "bridge", "theirs", "external_ids") + s.vsctl("get", "port", "taken", "external_ids", "tag"); got != "{a=b}{}\n5" {
			return errors.New(got)
		}
		return nil
	}
	make := func(t *testing.T) {
		s.t = t
		s.vsctl("add-br", "theirs", "--", "set", "bridge", "theirs", "datapath_type=netdev", "external_ids:a=b",
			"--", "add-port", "theirs", "taken", "tag=5", "--", "set", "interface", "taken", "type=internal")
		gone(t)
	}
	return []drivertest.Foreign{
		{Name: "bridge", Make: make, Intact: intact, InTheWay: resource.Bridge{Name: "theirs", Datapath: "netdev", FailMode: "secure"}, Forbidden: true},
		{Name: "port", Make: make, Intact: intact, InTheWay: resource.Port{Bridge: "br1", Name: "taken"}, Forbidden: true},
		{Name: "port under a tunnel's name", Make: make, Intact: intact, InTheWay: vxlan("taken", "10.0.0.1", "10.0.0.2"), Forbidden: true},
	}
}
