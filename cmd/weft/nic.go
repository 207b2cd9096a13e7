package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft.dev/reconcile/lab"
	"weft.dev/reconcile/lab/libvirt"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
)

func (a *app) nic() *cobra.Command {
	c := &cobra.Command{
		Use:   "nic",
		Short: "What a hypervisor needs to know of a NIC",
	}
	c.AddCommand(&cobra.Command{
		Use:   "xml ACCOUNT/VM[/NIC] [DIR]",
		Short: "Print the libvirt interface element of a NIC, or of all NICs of a VM",
		Long: `Prints <interface> for the VM's domain, so that weft recognises the port when libvirt plugs it:
by its MAC on weft-int of Open vSwitch, or on the network's own bridge elsewhere. A NIC with
"interface" is made by libvirt under that name and plugged by weft. --host picks one of the
VM's hosts where they differ.`,
		Example: `  weft nic xml acme/web-1/web >nic.xml && virsh attach-device acme.web-1 nic.xml --live --config`,
		Args:    cobra.RangeArgs(1, 2),
		RunE:    func(_ *cobra.Command, args []string) error { return a.nicXML(args[0], dirArg(args[1:])) },
	})
	return c
}

func (a *app) nicXML(name, dir string) error {
	t, err := newCompiler().workTree(dir)
	if err != nil {
		return err
	}
	t.checkLock()
	if err := a.refuse(t); err != nil {
		return err
	}
	legs := t.legs(name)
	if len(legs) == 0 {
		return fmt.Errorf("there is no NIC %s: give ACCOUNT/VM or ACCOUNT/VM/NIC of a virtual machine", name)
	}
	for _, l := range legs {
		element, err := a.element(t, l)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.out, element)
	}
	return nil
}

// A leg is a NIC in its network.
type leg struct {
	*model.NIC
	network *model.Network
}

// legs are the NICs that ACCOUNT/VM[/NIC] names, in the order of the VM.
func (c *compiled) legs(name string) []leg {
	var out []leg
	for _, n := range c.Networks() {
		for _, nic := range n.NICs {
			if nic.ID == name || vm(nic) == name {
				out = append(out, leg{nic, n})
			}
		}
	}
	order := func(l leg) int {
		for i := range l.VMSpec.NICs {
			if l.VMSpec.NICs[i].NICName() == l.Name {
				return i
			}
		}
		return -1
	}
	slices.SortFunc(out, func(a, b leg) int { return order(a) - order(b) })
	return out
}

// element is the interface of a NIC on --host, or on any of its hosts where
// that is the same.
func (a *app) element(t *compiled, l leg) (libvirt.Interface, error) {
	hosts := l.Hosts
	switch {
	case a.host != "" && !slices.Contains(hosts, a.host):
		return libvirt.Interface{}, fmt.Errorf("%s does not run on host %s, but on %s", l.ID, a.host, strings.Join(hosts, ", "))
	case a.host != "":
		hosts = []string{a.host}
	case l.Host != "":
		hosts = []string{l.Host}
	}
	var first libvirt.Interface
	for i, h := range hosts {
		e, err := t.elementOn(l, h)
		if err != nil {
			return e, err
		}
		if i > 0 && e != first {
			return e, fmt.Errorf("the interface of %s is one on %s and another on %s: give --host", l.ID, hosts[0], h)
		}
		first = e
	}
	return first, first.Check()
}

func (c *compiled) elementOn(l leg, host string) (libvirt.Interface, error) {
	bridge := ""
	if l.Interface == "" && l.network.Physical.Spec.VSwitch != "OpenVSwitch" {
		if bridge = bridgeOf(c.Intent(host), ownerOf(l.network), l.ID); bridge == "" {
			return libvirt.Interface{}, fmt.Errorf("NIC %s has no bridge on host %s", l.ID, host)
		}
	}
	e := lab.InterfaceOf(l.network, l.NIC, bridge)
	for _, z := range c.Site.Zones {
		for _, h := range z.Hosts {
			if h.Name == host && l.network.Physical.Spec.VSwitch == "OpenVSwitch" {
				e.Plain = h.Spec.OVS.Datapath == "netdev"
			}
		}
	}
	return e, nil
}

// bridgeOf is the bridge of the kernel's that a NIC of owner's is plugged into on a
// host, "" if there is none.
func bridgeOf(in *resource.Intent, owner resource.Owner, nic string) string {
	f := in.Fragment(owner)
	if f == nil {
		return ""
	}
	for _, e := range f.Entries() {
		if p, ok := e.State.(resource.BridgePort); ok && p.IfaceID == nic {
			return p.Bridge
		}
	}
	return ""
}
