package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"weft.dev/reconcile/lab/link"
)

var (
	label    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	linkName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$`)
	nicName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	domain   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
)

// reserved are first parts of names that mean something else than a guest.
var reserved = map[string]bool{"host": true, "agent": true, "router": true}

func cutLast(name string) (before, after string, found bool) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

// checker collects what is wrong with a Spec. Every name in it ends in a path, a link or a command line.
type checker struct {
	errs  []error
	taken map[string]string
}

func (c *checker) fail(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

// once reports a second holder of what only one may hold.
func (c *checker) once(what, key, holder string) {
	key = what + " " + key
	if other, ok := c.taken[key]; ok {
		c.fail("%s: %s is that of %s", holder, key, other)
	}
	c.taken[key] = holder
}

// Check says what in the Spec cannot be built, all of it at once.
func (s Spec) Check() error {
	c := &checker{taken: map[string]string{}}
	wires := map[string]bool{}
	for _, w := range s.Wires {
		c.once("wire", w.Name, "wire "+w.Name)
		wires[w.Name] = true
		if w.mtu() < link.MinMTU || w.mtu() > link.MaxMTU {
			c.fail("wire %s: mtu %d is not in %d-%d", w.Name, w.MTU, link.MinMTU, link.MaxMTU)
		}
	}
	hosts := map[string]bool{}
	for _, h := range s.Hosts {
		hosts[h.Name] = true
		c.host(h, wires)
	}
	for _, r := range s.Ranges {
		c.publicRange(r, wires)
	}
	for _, v := range s.VMs {
		c.vm(v, hosts)
	}
	return errors.Join(c.errs...)
}

func (c *checker) host(h Host, wires map[string]bool) {
	who := "host " + h.Name
	c.once("name", h.Name, who)
	if !label.MatchString(h.Name) {
		c.fail("%s: the name is not a DNS label", who)
	}
	for _, b := range h.Bridges {
		who := who + ", bridge " + b.Name
		if !wires[b.Wire] {
			c.fail("%s: there is no wire %q", who, b.Wire)
		}
		c.once("link on "+h.Name, b.Name, who)
		for _, name := range append([]string{b.Name}, b.Uplinks...) {
			if !linkName.MatchString(name) || name == "lo" {
				c.fail("%s: %q cannot be the name of a link", who, name)
			}
		}
		for _, uplink := range b.Uplinks {
			c.once("link on "+h.Name, uplink, who)
		}
		switch b.Manage {
		case "", Create, Use:
		case Takeover:
			if len(b.Uplinks) == 0 {
				c.fail("%s: there is no uplink to take over", who)
			}
		default:
			c.fail("%s: manage is Create, Use or Takeover, not %q", who, b.Manage)
		}
	}
}

func (c *checker) publicRange(r Range, wires map[string]bool) {
	who := "public range " + r.Name
	if !wires[r.Wire] {
		c.fail("%s: there is no wire %q", who, r.Wire)
	}
	if r.VLAN < 0 || r.VLAN > 4094 {
		c.fail("%s: vlan %d is not in 1-4094", who, r.VLAN)
	}
	for _, g := range r.Gateways {
		if !g.IsValid() {
			c.fail("%s: a gateway is missing", who)
		}
	}
}

func (c *checker) vm(v VM, hosts map[string]bool) {
	who := "vm " + v.Name
	c.once("name", v.Name, who)
	account, name, ok := cutLast(v.Name)
	if !ok || !label.MatchString(account) || !label.MatchString(name) || reserved[account] {
		c.fail("%s: the name is not ACCOUNT/NAME of DNS labels (an account host, agent or router cannot be in a lab)", who)
	}
	if !domain.MatchString(v.hostname()) || len(v.hostname()) > 64 {
		c.fail("%s: %q cannot be a hostname", who, v.hostname())
	}
	if !hosts[v.Host] {
		c.fail("%s: there is no host %q", who, v.Host)
	}
	if v.Runtime != "" && v.Runtime != Qemu {
		c.fail("%s: there is no runtime %q", who, v.Runtime)
	}
	for _, n := range v.NICs {
		c.nic(v.Name, n)
		if v.Runtime != Qemu {
			continue
		}
		if n.Element == nil || n.Element.Bridge == "" && n.Element.Target == "" {
			c.fail("%s, nic %s: a guest with runtime %s is plugged into Open vSwitch, or by the name of an interface", who, n.Name, Qemu)
		} else if err := n.Element.Check(); err != nil {
			c.fail("%s, nic %s: %w", who, n.Name, err)
		}
	}
}

func (c *checker) nic(vm string, n NIC) {
	who := "vm " + vm + ", nic " + n.Name
	c.once("nic", vm+"/"+n.Name, who)
	if !nicName.MatchString(n.Name) {
		c.fail("%s: the name is not of letters, digits, dot, dash, underscore", who)
	}
	if mac, err := net.ParseMAC(n.MAC); err != nil || len(mac) != 6 || mac[0]&1 != 0 {
		c.fail("%s: %q is not the MAC of one card", who, n.MAC)
	}
	if n.Interface != "" {
		c.once("interface", n.Interface, who)
		if !linkName.MatchString(n.Interface) || n.Interface == "lo" {
			c.fail("%s: %q cannot be the name of a link", who, n.Interface)
		}
		if strings.HasPrefix(n.Interface, "vnet") {
			c.fail("%s: interface %q: vnet names are the hypervisor's", who, n.Interface)
		}
	}
	if n.Domain != "" && !domain.MatchString(n.Domain) {
		c.fail("%s: %q is not a domain", who, n.Domain)
	}
	if n.MTU != 0 && (n.MTU < 576 || n.MTU > link.MaxMTU) {
		c.fail("%s: mtu %d is not in 576-%d", who, n.MTU, link.MaxMTU)
	}
}

// world is what the internet is besides gateways: nothing that a public range may give to a router.
func (s Spec) world() (addresses, resolvers []netip.Addr) {
	seen := map[netip.Addr]bool{}
	for i, a := range append(append([]netip.Addr{}, s.DNS...), s.World...) {
		inside := false
		for _, r := range s.Ranges {
			for _, g := range r.Gateways {
				inside = inside || g.Masked().Contains(a)
			}
		}
		if inside || seen[a] || !a.IsValid() {
			continue
		}
		seen[a] = true
		addresses = append(addresses, a)
		if i < len(s.DNS) {
			resolvers = append(resolvers, a)
		}
	}
	return addresses, resolvers
}
