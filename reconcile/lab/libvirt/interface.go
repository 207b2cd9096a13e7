// Package libvirt renders what libvirt reads: the interface element of a virtual machine's NIC, and the domain of a lab's
// guest with such NICs. In come values, out comes XML in which every value is escaped. It runs nothing and knows no model;
// reconcile/lab, its packages and cmd/weft import it.
package libvirt

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// Interface is one NIC of a virtual machine as its hypervisor has to plug it for weft to recognise the port. Either Bridge
// or Target is set, or both where the port shall have that name on the bridge.
type Interface struct {
	MAC         string `json:"mac"`
	Bridge      string `json:"bridge,omitempty"`      // that libvirt plugs into; empty: it makes the device Target and weft plugs that
	OpenVSwitch bool   `json:"openVSwitch,omitempty"` // Bridge is one of Open vSwitch's
	Target      string `json:"target,omitempty"`      // name of the device on the host; empty: libvirt's choice (vnetN)
	MTU         int    `json:"mtu,omitempty"`         // 0: that of the bridge
	Down        bool   `json:"down,omitempty"`        // the guest sees no carrier
	// Plain keeps the guest from leaving checksums and segmentation to its card, for the userspace datapath of Open vSwitch,
	// which passes such packets on as they are.
	Plain bool `json:"plain,omitempty"`
}

// Check says why libvirt would not plug the interface as it is meant, or nil.
func (i Interface) Check() error {
	switch {
	case i.Bridge == "" && i.Target == "":
		return fmt.Errorf("interface %s has neither a bridge nor a device", i.MAC)
	case strings.HasPrefix(i.Target, "vnet"):
		return fmt.Errorf("interface %s: libvirt takes names that begin with vnet, such as %s, for its own and picks another", i.MAC, i.Target)
	}
	return nil
}

// String is the element as text, indented by two spaces a level, without a newline at the end.
func (i Interface) String() string { return indented(i.element()) }

// element is <interface> as encoding/xml writes it.
type element struct {
	XMLName xml.Name `xml:"interface"`
	Type    string   `xml:"type,attr"`
	MAC     struct {
		Address string `xml:"address,attr"`
	} `xml:"mac"`
	Source *struct {
		Bridge string `xml:"bridge,attr"`
	} `xml:"source"`
	VirtualPort *struct {
		Type string `xml:"type,attr"`
	} `xml:"virtualport"`
	Target *struct {
		Dev string `xml:"dev,attr"`
	} `xml:"target"`
	Model struct {
		Type string `xml:"type,attr"`
	} `xml:"model"`
	Driver *driver `xml:"driver"`
	MTU    *struct {
		Size int `xml:"size,attr"`
	} `xml:"mtu"`
	Link struct {
		State string `xml:"state,attr"`
	} `xml:"link"`
}

// driver switches off what a card can do for its guest (host) and what the guest takes from it (guest).
type driver struct {
	Host struct {
		CSum string `xml:"csum,attr"`
		GSO  string `xml:"gso,attr"`
		TSO4 string `xml:"tso4,attr"`
		TSO6 string `xml:"tso6,attr"`
		ECN  string `xml:"ecn,attr"`
		UFO  string `xml:"ufo,attr"`
	} `xml:"host"`
}

func (i Interface) element() element {
	e := element{Type: "bridge"}
	e.MAC.Address = i.MAC
	e.Model.Type = "virtio"
	e.Link.State = "up"
	if i.Down {
		e.Link.State = "down"
	}
	if i.Bridge == "" {
		e.Type = "ethernet"
	} else {
		e.Source = &struct {
			Bridge string `xml:"bridge,attr"`
		}{i.Bridge}
	}
	if i.OpenVSwitch && i.Bridge != "" {
		e.VirtualPort = &struct {
			Type string `xml:"type,attr"`
		}{"openvswitch"}
	}
	if i.Target != "" {
		e.Target = &struct {
			Dev string `xml:"dev,attr"`
		}{i.Target}
	}
	if i.MTU != 0 {
		e.MTU = &struct {
			Size int `xml:"size,attr"`
		}{i.MTU}
	}
	if i.Plain {
		e.Driver = &driver{}
		e.Driver.Host.CSum, e.Driver.Host.GSO, e.Driver.Host.TSO4 = "off", "off", "off"
		e.Driver.Host.TSO6, e.Driver.Host.ECN, e.Driver.Host.UFO = "off", "off", "off"
	}
	return e
}

// indented renders any element; what encoding/xml cannot write is a mistake in this package.
func indented(v any) string {
	text, err := xml.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("libvirt: " + err.Error())
	}
	return emptied(string(text))
}
