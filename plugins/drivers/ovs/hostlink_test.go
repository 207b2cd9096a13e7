package ovs

import (
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestOwnLink(t *testing.T) {
	for _, c := range []struct {
		link netlink.Link
		want string
	}{
		{&netlink.Device{}, "network card"},
		{&netlink.Bridge{}, "bridge"},
		{&netlink.Bond{}, "bond"},
		{&netlink.Vlan{}, "vlan"},
		{&netlink.GenericLink{LinkType: "openvswitch"}, "openvswitch"},
		{&netlink.Dummy{}, "dummy"},
		{&netlink.Tuntap{}, ""},
		{&netlink.Veth{}, ""},
	} {
		got := ownLink(c.link)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", c.link.Type(), got)
		}
	}
}

func TestIsDefault(t *testing.T) {
	prefix := func(s string) *net.IPNet {
		_, p, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		route netlink.Route
		want  bool
	}{
		{netlink.Route{Type: unix.RTN_UNICAST}, true},
		{netlink.Route{Type: unix.RTN_UNICAST, Dst: prefix("0.0.0.0/0")}, true},
		{netlink.Route{Type: unix.RTN_UNICAST, Dst: prefix("::/0")}, true},
		{netlink.Route{Type: unix.RTN_UNICAST, Dst: prefix("::/0"), Protocol: unix.RTPROT_RA}, false},
		{netlink.Route{Type: unix.RTN_UNICAST, Dst: prefix("10.0.0.0/8")}, false},
		{netlink.Route{Type: unix.RTN_MULTICAST, Dst: prefix("ff00::/8")}, false},
	} {
		if got := isDefault(c.route); got != c.want {
			t.Errorf("%v: %v", c.route, got)
		}
	}
}
