package libvirt

import (
	"encoding/xml"
	"strings"
	"testing"
)

func TestInterface(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Interface
		want string
	}{
		{"recognised", Interface{MAC: "02:00:4c:00:00:0b", Bridge: "weft-int", OpenVSwitch: true, MTU: 1450}, `<interface type="bridge">
  <mac address="02:00:4c:00:00:0b"/>
  <source bridge="weft-int"/>
  <virtualport type="openvswitch"/>
  <model type="virtio"/>
  <mtu size="1450"/>
  <link state="up"/>
</interface>`},
		{"named", Interface{MAC: "02:00:4c:00:00:0b", Target: "tap-web-1", OpenVSwitch: true, Down: true}, `<interface type="ethernet">
  <mac address="02:00:4c:00:00:0b"/>
  <target dev="tap-web-1"/>
  <model type="virtio"/>
  <link state="down"/>
</interface>`},
		{"bridge of the kernel", Interface{MAC: "02:00:4c:00:00:0b", Bridge: "breth1-120"}, `<interface type="bridge">
  <mac address="02:00:4c:00:00:0b"/>
  <source bridge="breth1-120"/>
  <model type="virtio"/>
  <link state="up"/>
</interface>`},
	} {
		if got := c.in.String(); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
		if err := c.in.Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, bad := range []Interface{{MAC: "02:00:4c:00:00:0b"}, {MAC: "02:00:4c:00:00:0b", Target: "vnet3"}} {
		if bad.Check() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// evil tries to leave the attribute or element that it is put into.
const evil = "a'/><hostdev mode=\"subsystem\"/>&lt;]]>\x01\n<!--"

func TestNothingBreaksOut(t *testing.T) {
	clean := Domain{Channels: []Channel{{}}, Interfaces: []Interface{{Bridge: "b", OpenVSwitch: true, Target: "t"}}}
	hostile := Domain{Name: evil, Title: evil, Kernel: evil, Initrd: evil, Command: evil, Console: evil,
		Channels:   []Channel{{evil, evil}},
		Interfaces: []Interface{{MAC: evil, Bridge: evil, OpenVSwitch: true, Target: evil}}}
	want, got := elements(t, clean.String()), elements(t, hostile.String())
	if got != strings.Replace(want, " name ", " name title ", 1) {
		t.Errorf("elements of a hostile domain: %s\nof a clean one: %s", got, want)
	}
}

// elements are the names of all elements, in their order.
func elements(t *testing.T, text string) string {
	t.Helper()
	var names []string
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if token == nil {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok {
			names = append(names, start.Name.Local)
		}
	}
	return strings.Join(names, " ")
}
