package virtualrouter

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// dnsmasq asks for the DHCP and DNS service. dnsmasq reads its configuration at
// start only; host lists it reads again at SIGHUP, so that a new guest needs no
// restart.
func (r *router) dnsmasq() {
	dhcp, dns := provides(r.services.Dhcp), provides(r.services.Dns)
	if !dhcp && !dns {
		return
	}
	dir := "routers/" + r.r.NS
	conf := r.file(dir+"/dnsmasq.conf", r.conf(dhcp, dns))
	hosts := r.file(dir+"/hosts", r.hosts())
	leases := r.file(dir+"/dhcp-hosts", r.leases())
	mode := "--keep-in-foreground"
	if r.r.Host.Facts.Rootless {
		// setgroups is denied in a user namespace; only this mode does without.
		mode = "--no-daemon"
	}
	run := []string{"dnsmasq", mode, "--conf-file={run}/" + conf.Path}
	if dns {
		run = append(run, "--addn-hosts={run}/"+hosts.Path)
	}
	if dhcp {
		run = append(run, "--dhcp-hostsfile={run}/"+leases.Path)
	}
	link := resource.LinkID(r.r.NS, model.GuestLink)
	r.ask(resource.Process{
		Name: r.r.NS + "/dnsmasq", NS: r.r.NS, Argv: run,
		Start: conf.Content(), Load: resource.Digest(fmt.Sprint(hosts.Content(), leases.Content())), Reload: "HUP",
		Test: []string{"dnsmasq", "--test", "--conf-file={run}/" + conf.Path},
		After: []resource.ID{
			conf.ID(), hosts.ID(), leases.ID(), link,
			resource.AddrID(r.r.NS, model.GuestLink, r.guest()),
		},
	})
}

func (r *router) file(path, content string) resource.File {
	f := resource.File{Path: path, Mode: 0o644, Parts: []resource.Part{{Text: content}}}
	r.ask(f)
	return f
}

func (r *router) conf(dhcp, dns bool) string {
	var c config
	c.line("# of %s, made by weft: edits are undone", r.out.Owner)
	c.line("interface=%s", model.GuestLink)
	c.line("except-interface=lo")
	c.line("bind-interfaces")
	c.line("no-resolv")
	c.line("no-hosts")
	if r.r.Host.Facts.Rootless {
		c.line("user=root")
	}
	if dns {
		r.dnsConf(&c)
	} else {
		c.line("port=0")
	}
	if dhcp {
		r.dhcpConf(&c, dns)
	}
	return c.String()
}

func (r *router) dnsConf(c *config) {
	c.line("domain-needed")
	c.line("bogus-priv")
	c.line("localise-queries")
	c.line("cache-size=1000")
	if r.n.Domain != "" {
		c.line("domain=%s", r.n.Domain)
		c.line("local=/%s/", r.n.Domain)
		c.line("expand-hosts")
	}
	for _, s := range r.n.DNS {
		c.line("server=%s", s)
	}
}

func (r *router) dhcpConf(c *config, dns bool) {
	c.line("dhcp-range=%s,static,%s,%s", r.n.CIDR.Masked().Addr(), mask(r.n.CIDR), lease(r.n.Spec.LeaseTime))
	c.line("dhcp-authoritative")
	c.line("dhcp-ignore=tag:!known")
	c.line("dhcp-lease-max=%d", 1<<20)
	c.line("leasefile-ro") // every lease is in dhcp-hosts
	c.line("no-ping")
	c.line("dhcp-option=option:router,%s", r.n.Gateway)
	c.line("dhcp-option=option:mtu,%d", r.n.MTU)
	if list := r.resolvers(dns); len(list) > 0 {
		c.line("dhcp-option=option:dns-server,%s", join(list))
	}
	if r.n.Domain != "" {
		c.line("dhcp-option=option:domain-search,%s", r.n.Domain)
		if !dns {
			c.line("domain=%s", r.n.Domain)
		}
	}
	// A NIC that does not carry the VM's default route gets neither router
	// nor resolver nor domain (reference 5.3).
	c.line("dhcp-option=tag:extra,option:router")
	c.line("dhcp-option=tag:extra,option:dns-server")
	c.line("dhcp-option=tag:extra,option:domain-search")
}

// resolvers is what guests are told to ask.
func (r *router) resolvers(dns bool) []netip.Addr {
	switch {
	case len(r.n.Spec.GuestDNS) > 0:
		return r.n.Spec.GuestDNS
	case dns:
		return []netip.Addr{r.n.Gateway}
	}
	return r.n.DNS
}

// hosts is the addn-hosts file: the names of the network's machines.
func (r *router) hosts() string {
	var c config
	for _, nic := range r.n.NICs {
		if nic.Running {
			c.line("%s %s", nic.IP, nic.Hostname)
		}
	}
	return c.String()
}

// leases is the dhcp-hostsfile.
func (r *router) leases() string {
	var c config
	for _, nic := range r.n.NICs {
		if !nic.Running {
			continue
		}
		tag := ""
		if !nic.Default {
			tag = ",set:extra"
		}
		c.line("%s%s,%s,%s", nic.MAC, tag, nic.IP, nic.Hostname)
	}
	return c.String()
}

// config collects lines. Values come from typed fields and validated names;
// should one hold a line break all the same, it cannot start a line of its own.
type config struct{ strings.Builder }

func (c *config) line(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	c.WriteString(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s))
	c.WriteByte('\n')
}

func mask(p netip.Prefix) netip.Addr {
	bits := uint32(0xffffffff) << (32 - p.Bits())
	return netip.AddrFrom4([4]byte{byte(bits >> 24), byte(bits >> 16), byte(bits >> 8), byte(bits)})
}

// lease is a lease time as dnsmasq writes it; none stated means for ever, as in
// CloudStack.
func lease(d schema.Duration) string {
	if d <= 0 {
		return "infinite"
	}
	return fmt.Sprintf("%d", max(int(d/time.Second), 120)) // dnsmasq's least
}

func join(list []netip.Addr) string {
	parts := make([]string, len(list))
	for i, a := range list {
		parts[i] = a.String()
	}
	return strings.Join(parts, ",")
}
