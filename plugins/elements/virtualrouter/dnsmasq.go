package virtualrouter

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

const (
	// maxResolvers and maxRoutes fit an option of DHCP (255 bytes) as well as a
	// line of dnsmasq's configuration (1024).
	maxResolvers = 60
	maxRoutes    = 25
	// minLease is dnsmasq's, in seconds.
	minLease = 120
)

// dnsmasq asks for the DHCP and DNS service. Names are read again at SIGHUP. The
// guests' addresses are part of the configuration, so that a change of one is a
// restart. After it dnsmasq knows no lease but what it is told here, so nothing is
// lost but its cache of names.
//
// A dhcp-hostsfile, which SIGHUP reads again, would keep the process when a NIC
// comes or goes, but not every guest its address. Measured with 2.90 and lines
// without tags: NICs come and go well, but an address that moves to another MAC,
// now or after any number of commits, is "leased to" the old one until that lease
// ends, which may be never, and nothing in the file makes dnsmasq let go of it. What
// is started or loaded depends on the tree alone, which cannot tell an address that
// somebody had before from a new one: either every change is a restart or none is.
// (With a tag in a line, 2.86 to 2.90 crash at SIGHUP once its machine has a lease.)
func (r *side) dnsmasq() {
	dhcp, dns := r.provides(r.services().Dhcp), r.provides(r.services().Dns)
	if !dhcp && !dns && r.on.IP6 == nil {
		return
	}
	mode := "--keep-in-foreground"
	if r.r.Host.Facts.Rootless {
		// setgroups is denied in a user namespace; only this mode does without.
		mode = "--no-daemon"
	}
	conf := r.file(r.dir()+"/dnsmasq.conf", r.conf(dhcp, dns))
	option := "--conf-file={run}/" + conf.Path
	p := resource.Process{
		Name: r.name() + "/dnsmasq", NS: r.r.NS, Argv: []string{"dnsmasq", mode, option},
		Start: conf.Content(), Test: []string{"dnsmasq", "--test", option},
		After: []resource.ID{conf.ID(), resource.LinkID(r.r.NS, r.side.Link)}, Probes: r.probes(dhcp, dns),
	}
	if r.r.VPC != nil { // see listens
		p.Device = r.side.Link
	}
	for _, s := range r.on.Subnets {
		p.After = append(p.After, resource.AddrID(r.r.NS, r.side.Link, leg(s)))
	}
	if r.on.IP6 != nil {
		p.After = append(p.After, resource.AddrID(r.r.NS, r.side.Link, r.guest6()), resource.AddrID(r.r.NS, r.side.Link, linkLocal(r.knownMAC())))
	}
	if dns {
		hosts := r.file(r.dir()+"/hosts", r.hosts())
		p.Argv = append(p.Argv, "--addn-hosts={run}/"+hosts.Path)
		p.Load, p.Reload = hosts.Content(), "HUP"
		p.After = append(p.After, hosts.ID())
	}
	r.ask(p)
}

func (r *router) file(path string, c *config) resource.File {
	f := resource.File{Path: path, Mode: 0o644, Parts: []resource.Part{{Text: c.String()}}, Authors: c.authors}
	r.ask(f)
	return f
}

func (r *side) conf(dhcp, dns bool) *config {
	c := &config{authors: make([]resource.Lines, 0, len(r.on.NICs))}
	c.line("# of %s, made by weft: edits are undone", r.out.Owner)
	// With a name in full dnsmasq binds DHCP to the device of that moment, and is
	// deaf to one that takes its place; with a pattern it is not.
	c.line("interface=%s", r.listens())
	r.vpnAsk(c)
	c.line("except-interface=lo")
	c.line("bind-dynamic")
	c.line("pid-file=") // all namespaces would write the host's
	c.line("log-facility=-")
	c.line("no-resolv")
	c.line("no-hosts")
	c.line("domain=%s", r.n.Domain)
	if r.r.Host.Facts.Rootless {
		c.line("user=root")
	}
	if dns {
		r.dnsConf(c)
	} else {
		c.line("port=0")
	}
	if dhcp {
		r.dhcpConf(c, dns)
	}
	r.conf6(c, dns)
	return c
}

// listens is the link that dnsmasq serves, as it is to be named: where others serve
// the links beside it DHCP has to be bound to the one device, or what is sent to the
// router alone reaches any of them.
func (r *side) listens() string {
	if r.r.VPC != nil {
		return r.side.Link
	}
	return strings.TrimRight(r.side.Link, "0123456789") + "*"
}

func (r *side) dnsConf(c *config) {
	c.line("domain-needed")
	c.line("bogus-priv")
	c.line("localise-queries")
	c.line("cache-size=1000")
	c.line("local=/%s/", r.n.Domain)
	c.line("expand-hosts")
	for _, s := range r.upstream() {
		c.line("server=%s", s)
	}
}

func (r *side) dhcpConf(c *config, dns bool) {
	for _, s := range r.on.Subnets {
		c.line("dhcp-range=%s%s,static,%s,%s", r.tag("set", s), s.CIDR.Addr(), mask(s.CIDR), lease(r.n.Spec.LeaseTime))
	}
	c.line("dhcp-authoritative")
	c.line("dhcp-ignore=tag:!known")
	c.line("dhcp-ignore-clid") // a guest is its MAC; clones share what else they say
	c.line("dhcp-lease-max=%d", 1<<20)
	c.line("leasefile-ro") // every lease is below
	c.line("no-ping")
	c.line("dhcp-option=option:mtu,%d", r.n.MTU)
	for _, s := range r.on.Subnets {
		c.line("dhcp-option=%soption:router,%s", r.tag("tag", s), s.Gateway)
		if list := r.resolvers(dns, s); len(list) > 0 {
			c.line("dhcp-option=%soption:dns-server,%s", r.tag("tag", s), join(list))
		}
	}
	c.line("dhcp-option=option:domain-search,%s", r.n.Domain)
	// A NIC that does not carry the VM's default route gets neither router
	// nor resolver nor domain (reference 5.3). Of options with tags that all match
	// dnsmasq takes the last.
	for _, o := range []string{"router", "dns-server", "domain-name", "domain-search"} {
		c.line("dhcp-option=tag:extra,option:%s", o)
	}
	for _, s := range r.on.Subnets {
		r.routesConf(c, s)
	}
	r.leases(c)
}

// tag tells the options of several subnets apart, "" for the only one.
func (r *side) tag(word string, s *model.Subnet) string {
	if len(r.on.Subnets) == 1 {
		return ""
	}
	return word + ":subnet-" + s.Name + ","
}

// routesConf hands out the network's routes, as far as an option holds them: the
// router knows them too. Who takes this option takes no other router
// beside it (RFC 3442), so it names the gateway; 249 is Windows' number of it.
func (r *side) routesConf(c *config, s *model.Subnet) {
	var routes []string
	for _, x := range r.n.Spec.Routes {
		if s.CIDR.Contains(x.Via) {
			routes = append(routes, x.CIDR.Masked().String(), x.Via.String())
		}
	}
	if n := len(routes) / 2; n == 0 || n > maxRoutes {
		return
	}
	list := strings.Join(routes, ",")
	for _, o := range []string{"121", "249"} {
		c.line("dhcp-option=%s%s,%s,0.0.0.0/0,%s", r.tag("tag", s), o, list, s.Gateway)
		c.line("dhcp-option=%stag:extra,%s,%s", r.tag("tag", s), o, list)
	}
}

// resolvers is what guests are told to ask.
func (r *side) resolvers(dns bool, s *model.Subnet) []netip.Addr {
	list := r.n.DNS
	switch {
	case len(r.n.Spec.GuestDNS) > 0:
		list = r.n.Spec.GuestDNS
	case dns:
		list = []netip.Addr{s.RouterIP}
	}
	list = only4(list)
	return list[:min(len(list), maxResolvers)]
}

// gatewayName is what guests may call their gateway, unless one of them has the name.
const gatewayName = "gateway"

// hosts is the addn-hosts file: the names of the network's machines, and of what
// serves them. The first name of an address is what a reverse lookup gives.
func (r *side) hosts() *config {
	c := &config{authors: make([]resource.Lines, 0, len(r.n.NICs))}
	named := r.n.NICs
	if r.r.VPC != nil {
		named = r.r.VPC.NICs // those of all tiers: they have one domain
	}
	if !slices.ContainsFunc(named, func(nic *model.NIC) bool { return nic.Hostname == gatewayName }) {
		for _, s := range r.on.Subnets {
			c.line("%s %s", s.Gateway, gatewayName)
		}
		if six := r.on.IP6; six != nil && six.Gateway.IsValid() {
			c.line("%s %s", six.Gateway, gatewayName)
		}
	}
	if r.provides(r.services().UserData) {
		for _, s := range r.on.Subnets {
			c.line("%s %s", s.RouterIP, dataServer)
		}
	}
	for _, nic := range named {
		if nic.Running {
			c.lineOf(nic, "%s %s", nic.IP, nic.Hostname)
			if nic.IP6.IsValid() {
				c.lineOf(nic, "%s %s", nic.IP6, nic.Hostname)
			}
		}
	}
	return c
}

// leases says who gets which address. Stopped machines are among them: to start
// one is no change. The dot after a name keeps dnsmasq from taking "ignore",
// "infinite" or "2h" for a word of its own.
func (r *side) leases(c *config) {
	c.authors = slices.Grow(c.authors, len(r.on.NICs))
	for _, nic := range r.on.NICs {
		tag := ""
		if !nic.Default {
			tag = ",set:extra"
		}
		if len(nic.Spec.DHCPOptions) > 0 {
			tag += ",set:" + ownTag(nic)
		}
		six := ""
		if nic.IP6.IsValid() && r.dhcp6() {
			six = ",[" + nic.IP6.String() + "]"
		}
		c.lineOf(nic, "dhcp-host=%s%s,%s%s,%s.", nic.MAC, tag, nic.IP, six, nic.Hostname)
	}
	// The last line wins where several are for a guest.
	for _, nic := range r.on.NICs {
		if len(nic.Spec.DHCPOptions) == 0 {
			continue
		}
		for _, o := range slices.Sorted(maps.Keys(nic.Spec.DHCPOptions)) {
			c.lineOf(nic, "dhcp-option=tag:%s,%d,%s", ownTag(nic), o, nic.Spec.DHCPOptions[o])
		}
	}
}

// ownTag is what marks the guest of one NIC.
func ownTag(nic *model.NIC) string { return "nic-" + strings.ReplaceAll(nic.MAC.String(), ":", "") }

// config collects lines. Values come from typed fields and validated names;
// should one hold a line break all the same, it cannot start a line of its own.
type config struct {
	strings.Builder
	lines   int
	authors []resource.Lines
}

// lineOf adds a line that follows from a NIC.
func (c *config) lineOf(nic *model.NIC, format string, args ...any) {
	c.from(nic)
	c.line(format, args...)
}

// textOf adds a line that follows from a NIC, as it is.
func (c *config) textOf(nic *model.NIC, text []byte) {
	c.from(nic)
	c.text(text)
}

// from tells that the next line follows from a NIC.
func (c *config) from(nic *model.NIC) {
	by := resource.Author{Pos: nic.Pos, NIC: nic.ID}
	if n := len(c.authors); n > 0 && c.authors[n-1].By == by && c.authors[n-1].From+c.authors[n-1].N == c.lines {
		c.authors[n-1].N++
		return
	}
	c.authors = append(c.authors, resource.Lines{From: c.lines, N: 1, By: by})
}

func (c *config) line(format string, args ...any) {
	var room [128]byte
	c.text(fmt.Appendf(room[:0], format, args...))
}

// text adds a line without what would end it.
func (c *config) text(line []byte) {
	from := 0
	for i, b := range line {
		if b < ' ' || b == 0x7f {
			c.Write(line[from:i])
			from = i + 1
		}
	}
	c.Write(line[from:])
	c.WriteByte('\n')
	c.lines++
}

func mask(p netip.Prefix) netip.Addr {
	bits := uint32(0xffffffff) << (32 - p.Bits())
	return netip.AddrFrom4([4]byte{byte(bits >> 24), byte(bits >> 16), byte(bits >> 8), byte(bits)})
}

// lease is a lease time as dnsmasq writes it; none stated, or more than its int
// holds, means for ever, as in CloudStack.
func lease(d schema.Duration) string {
	s := int64(d / time.Second)
	if d <= 0 || s > math.MaxInt32 {
		return "infinite"
	}
	return fmt.Sprint(max(s, minLease))
}

// only4 drops what neither an option of DHCP holds nor a router without IPv6
// reaches.
func only4(list []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		if a.Is4() {
			out = append(out, a)
		}
	}
	return out
}

func join(list []netip.Addr) string {
	parts := make([]string, len(list))
	for i, a := range list {
		parts[i] = a.String()
	}
	return strings.Join(parts, ",")
}
