package resource_test

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"weft.dev/reconcile/resource"
)

func special() []resource.Link {
	id := resource.AddrID("", "br", netip.MustParsePrefix("10.0.0.1/24"))
	a := netip.MustParseAddr("10.0.0.1")
	return []resource.Link{
		{Name: "br", Bridge: &resource.LinuxBridge{Snooping: true, Deaf: true, Adopt: true}},
		{Name: "eth0.7", VLAN: &resource.VLAN{Dev: "eth0", ID: 7}},
		{Name: "vxlan7", VXLAN: &resource.VXLAN{
			VNI: 7, Local: a, DstPort: 4789, TTL: 10, Learning: true, Remotes: []netip.Addr{a}, Peers: []resource.Peer{{MAC: "02:00:00:00:00:01", Remote: a}},
			Group: netip.MustParseAddr("239.0.0.7"), Dev: "eth0", External: true, Joined: true, Endpoint: &id,
		}},
	}
}

// TestSpecialLinksDiffer: whatever is set of a bridge, a VLAN or a VXLAN is part of
// its fingerprint, and described to people.
func TestSpecialLinksDiffer(t *testing.T) {
	silent := []string{"Adopt", "Endpoint", "Joined"}
	for _, l := range special() {
		for _, name := range []string{"Bridge", "VLAN", "VXLAN"} {
			p := reflect.ValueOf(l).FieldByName(name)
			if p.IsNil() {
				continue
			}
			for i := range p.Elem().NumField() {
				field := p.Elem().Type().Field(i).Name
				changed := l
				c := reflect.New(p.Elem().Type())
				c.Elem().Set(p.Elem())
				c.Elem().Field(i).SetZero()
				reflect.ValueOf(&changed).Elem().FieldByName(name).Set(c)
				same := changed.Fingerprint() == l.Fingerprint()
				if same != slices.Contains(silent, field) {
					t.Errorf("%s.%s: fingerprint equal = %v", name, field, same)
				}
				if told := !slices.Equal(changed.Fields(), l.Fields()); told == same {
					t.Errorf("%s.%s: told to people = %v", name, field, told)
				}
			}
		}
	}
}

func TestSpecialLinksStandOn(t *testing.T) {
	l := special()
	for i, want := range [][]resource.ID{nil, {resource.LinkID("", "eth0")}, {*l[2].VXLAN.Endpoint, resource.LinkID("", "eth0")}} {
		if got := resource.Requires(l[i]); !slices.Equal(got, want) {
			t.Errorf("%s requires %v, want %v", l[i].Name, got, want)
		}
	}
	if !l[0].Adopts() || l[1].Adopts() || l[2].Adopts() || !(resource.Link{Name: "eth0"}).Adopts() {
		t.Error("what weft makes itself is not adopted, unless it says so")
	}
	two := resource.Link{Name: "other", VXLAN: l[2].VXLAN}
	if !slices.Equal(resource.Claims(two), resource.Claims(l[2])) || len(resource.Claims(two)) == 0 {
		t.Error("two VXLANs of one number claim different things")
	}
}

func TestGuestPorts(t *testing.T) {
	p := resource.BridgePort{Bridge: "brvx-7", IfaceID: "acme/web-1/eth0", MAC: "02:00:00:00:00:01"}
	link := resource.LinkID("", "g0")
	made := p
	made.Name, made.Link = "g0", &link
	if !p.MayWait() || made.MayWait() || (resource.BridgePort{Bridge: "br0", Name: "eth0", Uplink: true}).MayWait() {
		t.Error("a guest's link may come later, others may not")
	}
	if p.Symbol() != resource.NICSym(p.IfaceID, p.MAC) || made.Symbol() != resource.PortSym("g0") {
		t.Errorf("symbols are %q and %q", p.Symbol(), made.Symbol())
	}
	if p.ID() == made.ID() || (resource.Qdisc{Link: "g0"}).Parent() != link {
		t.Error("IDs")
	}
}

// TestGuestInterfacesAreToldApart: the host's end of a NIC has its MAC but for the
// first octet, so that nothing else may tell two NICs apart.
func TestGuestInterfacesAreToldApart(t *testing.T) {
	nic := func(id, mac string) resource.BridgePort {
		return resource.BridgePort{Bridge: "br", IfaceID: id, MAC: mac}
	}
	one := resource.Claims(nic("acme/web-1/eth0", "02:00:00:00:00:01"))
	if len(one) != 1 || !slices.Equal(one, resource.Claims(nic("evil/x/eth0", "52:00:00:00:00:01"))) {
		t.Errorf("%q is not what a NIC with another first octet claims", one)
	}
	if slices.Equal(one, resource.Claims(nic("acme/web-2/eth0", "02:00:00:00:00:02"))) {
		t.Error("two NICs claim the same")
	}
	named := nic("acme/web-1/eth0", "02:00:00:00:00:01")
	if named.Name = "tap-web-1"; len(resource.Claims(named)) != 0 {
		t.Error("an interface known by name claims a MAC")
	}
}
