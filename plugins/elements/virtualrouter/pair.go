package virtualrouter

import (
	"net/netip"
	"slices"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// The routers of a pair are made alike, each with all services, which run all the
// time. What the world and the guests know, gateways and public addresses, the routes
// by them with it, keepalived gives to one of the two: so nothing has to be started
// when the other one takes over, and weft finds on both what it asked for. Whoever has
// no address on a public link says nothing there, so that both can have one MAC, and
// neighbours need not learn another.
//
// They hear each other in one of their guest networks, by addresses of their
// own and as unicast: guests hear nothing of it, and cannot speak for them, because
// what is theirs no guest may use, not even one with antiSpoof: false (see
// model.Reserved). conntrackd goes the same way.

const (
	// advert is how often the primary says that it lives, in seconds. Three are
	// missed, and a part of one by priority: 0.64 and 0.72 s. Less is possible (0.1 s:
	// 0.3 s without service), but a host that stands still for a moment then
	// costs a change.
	advert = "0.2"
	// spread is the pause between two announcements on a link, in seconds: a tunnel that
	// nobody used yet loses what comes before its other end is found, and the next round
	// is a second later.
	spread = "0.05"
	// prefer and second are priorities. They are far apart so that of two that begin
	// at once the first speaks a whole 80 ms before the other would.
	prefer = 200
	second = 100

	protoVRRP = "112"
	syncPort  = 3780
)

// nonlocal lets services listen at addresses that the other router has.
const nonlocal = "net.ipv4.ip_nonlocal_bind"

// near and far are the sides by which the two routers hear each other.
func (r *router) near() *model.Side { return r.r.Sides[r.r.Pair.Lead] }
func (r *router) far() *model.Side  { return r.r.Other().Sides[r.r.Pair.Lead] }

// lead is the address by which the primary is known: the gateway of the guest network
// in which the two hear each other.
func (r *router) lead() netip.Prefix { return leg(r.near().Segment.Subnets[0]) }

func (r *router) leadID() *resource.ID {
	id := resource.AddrID(r.r.NS, r.near().Link, r.lead())
	return &id
}

// give turns what a single router has into what one of a pair has: what moves comes
// and goes with the lead.
func (r *router) give(st resource.State) resource.State {
	switch s := st.(type) {
	case resource.Addr:
		if r.own(s.Link, s.Prefix.Addr()) || !r.moves(s.Link) {
			return st
		}
		s.With = r.leadID()
		r.moved(s)
		return s
	case resource.Route:
		i := r.sideIndex(s.Dev)
		if !r.moves(s.Dev) {
			return st
		}
		if i >= 0 && s.Dst.Addr().Is4() {
			own := resource.AddrID(r.r.NS, s.Dev, ownLeg(r.r.Sides[i]))
			s.From = &own
			return s
		}
		s.With, s.From = r.leadID(), nil
		r.moved(s)
		return s
	case resource.Process:
		s.After = append(slices.Clone(s.After), resource.Sysctl{NS: r.r.NS, Key: nonlocal}.ID())
		return s
	}
	return st
}

// moved notes what the primary has, once: the sides of a VPC ask for one public leg.
func (r *router) moved(st resource.State) {
	if !slices.ContainsFunc(r.given, func(o resource.State) bool { return o.ID() == st.ID() }) {
		r.given = append(r.given, st)
	}
}

// moves reports whether a link is one whose addresses neighbours know, and not a
// tunnel's.
func (r *router) moves(link string) bool {
	if r.sideIndex(link) >= 0 || slices.ContainsFunc(r.r.Legs, func(l *model.Leg) bool { return l.Link == link }) {
		return true
	}
	return r.r.VPC != nil && slices.ContainsFunc(r.r.VPC.Gateways, func(g *model.Gateway) bool { return g.Leg.Link == link })
}

func (r *router) sideIndex(link string) int {
	return slices.IndexFunc(r.r.Sides, func(s *model.Side) bool { return s.Link == link })
}

func (r *router) own(link string, a netip.Addr) bool {
	i := r.sideIndex(link)
	return i >= 0 && r.r.Sides[i].Own == a
}

// ownLeg is the router's own address among the guests.
func ownLeg(s *model.Side) netip.Prefix {
	return netip.PrefixFrom(s.Own, s.Segment.Subnets[0].CIDR.Bits())
}

// primary is the command line that runs argv on the primary only.
func (r *router) primary(argv []string) []string {
	if r.r.Pair == nil {
		return argv
	}
	return append([]string{"{weft}", "while-address", "--address", r.lead().String(), "--link", r.near().Link, "--"}, argv...)
}

// knownMAC is the MAC that a side's link-local address is made of: both routers of a
// pair have that address in turn.
func (r *side) knownMAC() schema.MAC {
	for _, s := range r.r.Each()[0].Sides {
		if s.Link == r.side.Link {
			return s.MAC
		}
	}
	return r.side.MAC
}

// pairInput lets the other router of the pair speak.
func (r *router) pairInput() []resource.Rule {
	if r.r.Pair == nil {
		return nil
	}
	near, far := r.near(), r.far()
	m := match{In: near.Link, Src: host(far.Own), Dst: host(near.Own)}
	vrrp, sync := m, m
	vrrp.Proto = protoVRRP
	sync.Proto, sync.DstPorts = "udp", []schema.PortRange{{From: syncPort, To: syncPort}}
	return []resource.Rule{rule("vrrp", vrrp, "ACCEPT"), rule("conntrackd", sync, "ACCEPT")}
}

// pair asks for what makes the router one of a pair. All that moves has been asked for.
func (r *router) pair() {
	if r.r.Pair == nil {
		return
	}
	ns := r.r.NS
	r.ask(resource.Sysctl{NS: ns, Key: nonlocal, Value: "1"})
	if r.r.Dual() {
		r.ask(resource.Sysctl{NS: ns, Key: "net.ipv6.ip_nonlocal_bind", Value: "1"})
		r.silent()
	}
	dir := "routers/" + ns
	conf := r.configFile(dir+"/keepalived.conf", r.keepalived())
	near := r.near()
	own := resource.AddrID(ns, near.Link, ownLeg(near))
	p := resource.Process{
		Name: ns + "/keepalived", NS: ns,
		Argv: []string{"{weft}", "keepalived-serve", "--config", "{run}/" + conf.Path, "--state", "{state}"},
		Load: conf.Content(), Reload: "HUP",
		Test:  []string{"{weft}", "keepalived-serve", "--test", "--config", "{run}/" + conf.Path},
		After: append([]resource.ID{conf.ID(), own}, r.pairLinks()...),
	}
	// Before weft takes away what is not wanted any more, keepalived lets go of it: it
	// takes an address that vanishes for a failure.
	for _, st := range r.given {
		p.After = append(p.After, st.ID())
	}
	r.ask(p)
	sync := r.configFile(dir+"/conntrackd.conf", r.conntrackd())
	r.ask(resource.Process{
		Name: ns + "/conntrackd", NS: ns,
		Argv:  []string{"{weft}", "conntrackd-serve", "--config", "{run}/" + sync.Path, "--state", "{state}", "--address", r.lead().String(), "--link", near.Link},
		Start: sync.Content(), After: []resource.ID{sync.ID(), own},
	})
}

// silent keeps the kernel of the backup from telling the public networks what groups
// it joined or left, which it does even without an address: switches would look for
// the MAC of both routers here.
func (r *router) silent() {
	var rules []resource.Rule
	for _, l := range r.r.Legs {
		rules = append(rules, rule("no-address", match{Out: l.Link, Src: host(netip.IPv6Unspecified())}, "DROP"))
	}
	r.ask(resource.Chain{NS: r.r.NS, Family: 6, Table: "filter", Name: "OUTPUT", Policy: "ACCEPT", Rules: rules})
}

func (r *router) configFile(path string, c *config) resource.File {
	f := resource.File{Path: path, Mode: 0o644, Parts: []resource.Part{{Text: c.String()}}}
	r.ask(f)
	return f
}

func (r *router) pairLinks() []resource.ID {
	var out []resource.ID
	for _, l := range r.links() {
		out = append(out, resource.LinkID(r.r.NS, l))
	}
	return out
}

// links are those whose addresses move.
func (r *router) links() []string {
	var out []string
	for _, s := range r.r.Sides {
		out = append(out, s.Link)
	}
	for _, l := range r.r.Legs {
		out = append(out, l.Link)
	}
	if r.r.VPC != nil {
		for _, g := range r.r.VPC.Gateways {
			out = append(out, g.Leg.Link)
		}
	}
	return out
}

// keepalived is its configuration. Both begin as backup and none takes over from one
// that lives (nopreempt), whatever its priority: a router that comes back stays the
// backup. Two that did not hear each other are both primary until they do; then the
// one of lower priority gives way. Only the lead is in what they tell each other:
// while a change of the rest is in force on one host only, they still agree.
func (r *router) keepalived() *config {
	c := &config{}
	near, far := r.near(), r.far()
	priority := prefer
	if r.r.Place > 0 {
		priority = second
	}
	c.line("# of %s, made by weft: edits are undone", r.out.Owner)
	c.block("global_defs", func() {
		c.line("router_id weft")
		c.line("vrrp_version 3")
		c.line("notify_fifo {dir}/fifo root")
		c.line("vrrp_skip_check_adv_addr")
		c.line("vrrp_garp_master_delay 1")
		c.line("vrrp_garp_master_repeat 3")
		c.line("vrrp_garp_master_refresh 30")
		c.line("vrrp_garp_interval %s", spread)
		c.line("vrrp_gna_interval %s", spread)
		c.line("dynamic_interfaces")
		c.line("max_auto_priority 50") // it is scheduled before others once it was late
	})
	c.block("vrrp_instance pair", func() {
		c.line("interface %s", near.Link)
		c.line("state BACKUP")
		c.line("nopreempt")
		c.line("virtual_router_id %d", r.r.Pair.VRID)
		c.line("priority %d", priority)
		c.line("advert_int %s", advert)
		c.line("unicast_src_ip %s", near.Own)
		c.block("unicast_peer", func() { c.line("%s", far.Own) })
		c.line("check_unicast_src")
		links := slices.DeleteFunc(r.links(), func(l string) bool { return l == near.Link })
		if len(links) > 0 {
			c.block("track_interface", func() {
				for _, l := range links {
					c.line("%s", l)
				}
			})
		}
		r.virtual(c)
	})
	return c
}

// virtual lists what the primary has.
func (r *router) virtual(c *config) {
	lead := *r.leadID()
	c.block("virtual_ipaddress", func() { c.line("%s dev %s", r.lead(), r.near().Link) })
	var addrs, routes []string
	for _, st := range r.given {
		switch s := st.(type) {
		case resource.Addr:
			if s.ID() != lead {
				addrs = append(addrs, s.Prefix.String()+" dev "+s.Link)
			}
		case resource.Route:
			text := s.Dst.String()
			if s.Via.IsValid() {
				text += " via " + s.Via.String()
			}
			text += " dev " + s.Dev
			routes = append(routes, text)
		}
	}
	for _, b := range []struct {
		name string
		list []string
	}{{"virtual_ipaddress_excluded", addrs}, {"virtual_routes", routes}} {
		if len(b.list) > 0 {
			c.block(b.name, func() {
				for _, l := range b.list {
					c.line("%s", l)
				}
			})
		}
	}
}

// conntrackd is its configuration: what the primary knows of connections the kernel
// of the backup knows at once. Connections of the routers themselves stay where
// they are.
func (r *router) conntrackd() *config {
	c := &config{}
	near, far := r.near(), r.far()
	c.line("# of %s, made by weft: edits are undone", r.out.Owner)
	c.block("Sync", func() {
		c.block("Mode FTFW", func() {
			c.line("DisableExternalCache On")
			c.line("StartupResync On")
		})
		c.block("UDP", func() {
			c.line("IPv4_address %s", near.Own)
			c.line("IPv4_Destination_Address %s", far.Own)
			c.line("Port %d", syncPort)
			c.line("Interface %s", near.Link)
			c.line("SndSocketBuffer 1249280")
			c.line("RcvSocketBuffer 1249280")
			c.line("Checksum On")
		})
	})
	c.block("General", func() {
		c.line("Systemd Off")
		c.line("HashSize 32768")
		c.line("HashLimit 131072")
		c.line("Syslog Off")
		c.line("LogFile Off")
		c.line("LockFile /proc/self/cwd/lock")
		c.block("UNIX", func() { c.line("Path /proc/self/cwd/ctl") })
		c.line("NetlinkBufferSize 2097152")
		c.line("NetlinkBufferSizeMaxGrowth 8388608")
		c.block("Filter From Kernelspace", func() {
			c.block("Address Ignore", func() {
				for _, a := range r.localAddrs() {
					c.line("IPv4_address %s", a)
				}
			})
		})
	})
	return c
}

// localAddrs are those whose connections end at a router of the pair, as far as no
// guest's have them.
func (r *router) localAddrs() []netip.Addr {
	out := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	for _, x := range r.r.Each() {
		for _, s := range x.Sides {
			out = append(out, s.Own)
			for _, sub := range s.Segment.Subnets {
				out = append(out, sub.RouterIP)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// block writes a section in braces.
func (c *config) block(name string, inside func()) {
	c.line("%s", strings.TrimSpace(name)+" {")
	inside()
	c.line("}")
}
