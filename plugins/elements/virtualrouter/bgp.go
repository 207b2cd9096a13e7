package virtualrouter

import (
	"net/netip"
	"strconv"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// bgpPort is where routers speak with each other; maxPassword is what TCP has room for in
// a key (TCP_MD5SIG_MAXKEYLEN).
const (
	bgpPort     = 179
	maxPassword = 80
)

// bgp asks for FRR's bgpd, kept by weft (reconcile/bgp): what is new is told to the
// daemon that runs, so that no session ends. It tells what lies behind the router and
// learns nothing: the way out is the public network's gateway. Should it end, peers keep
// the routes for a while (graceful restart).
func (r *router) bgp() {
	b := r.r.BGP
	if b == nil {
		return
	}
	f := resource.File{Path: "routers/" + r.r.NS + "/bgpd.conf", Mode: 0o600, Parts: r.bgpConf()}
	r.ask(f, r.r.Doc.Pos)
	conf := "{run}/" + f.Path
	argv := []string{"{weft}", "bgp-serve", "--conf", conf, "--state", "{state}"}
	if r.r.Host.Facts.Rootless {
		argv = append(argv, "--same-user")
	}
	p := resource.Process{
		Name: r.r.NS + "/bgpd", NS: r.r.NS, Argv: r.primary(argv),
		Start: bgpStart(b), Load: f.Content(), Reload: "HUP", Test: []string{"{weft}", "bgp-serve", "--conf", conf, "--test"},
		After:  []resource.ID{f.ID(), resource.LinkID(r.r.NS, r.r.Legs[0].Link)},
		Probes: r.bgpProbes(),
	}
	r.ask(p, r.r.Doc.Pos)
}

// bgpProbes ask the keeper how bgpd is, and how its sessions are: those have another end,
// and nothing is started anew because of it.
func (r *router) bgpProbes() []resource.Probe {
	at := r.speaks(netip.IPv4Unspecified()).String()
	out := []resource.Probe{{Service: "bgp", Kind: resource.ProbeUnix, At: at, Path: "@weft-bgp", Ask: "\n", Want: "bgpd answers"}}
	for _, p := range r.r.BGP.Peers {
		out = append(out, resource.Probe{
			Service: "bgp/" + p.Spec.Name, Kind: resource.ProbeBGP, At: at, Path: "@weft-bgp", Ask: p.Spec.Address.String() + "\n",
			Want: "Established", Outside: true,
		})
	}
	return out
}

// bgpStart changes with what bgpd cannot change while it runs.
func bgpStart(b *model.BGP) uint64 {
	return resource.Digest("bgpd", strconv.FormatUint(uint64(b.ASN), 10), b.Router.String())
}

func (r *router) bgpConf() []resource.Part {
	var parts []resource.Part
	c := &config{}
	b := r.r.BGP
	c.line("! of %s, made by weft: edits are undone", r.out.Owner)
	c.line("frr defaults traditional")
	for _, n := range b.Networks {
		c.line("%s prefix-list told permit %s", ipWord(n.Addr()), n)
	}
	c.line("route-map nothing deny 10")
	c.line("route-map told4 permit 10")
	c.line(" match ip address prefix-list told")
	c.line("route-map told6 permit 10")
	c.line(" match ipv6 address prefix-list told")
	if own := r.r.IP6(); own.IsValid() {
		c.line(" set ipv6 next-hop global %s", own)
	}
	c.line("router bgp %d", b.ASN)
	c.line(" bgp router-id %s", b.Router)
	c.line(" no bgp default ipv4-unicast")
	c.line(" no bgp network import-check")
	c.line(" bgp graceful-restart")
	c.line(" bgp graceful-restart preserve-fw-state")
	for _, p := range b.Peers {
		a := p.Spec.Address
		c.line(" neighbor %s remote-as %d", a, p.Spec.ASN)
		c.line(" neighbor %s description %s", a, p.Spec.Name)
		if own := r.speaks(a); own.IsValid() {
			c.line(" neighbor %s update-source %s", a, own)
		}
		c.line(" neighbor %s timers %d %d", a, p.Keepalive, p.Hold)
		c.line(" neighbor %s timers connect 5", a)
		if p.Spec.Multihop > 1 && p.Spec.ASN != int(b.ASN) {
			c.line(" neighbor %s ebgp-multihop %d", a, p.Spec.Multihop)
		}
		c.line(" neighbor %s disable-connected-check", a)
		if s := p.Spec.Password; s != nil {
			c.WriteString(" neighbor " + a.String() + " password ")
			parts = append(parts, resource.Part{Text: c.String()}, resource.Part{Secret: s.SecretFile, Word: maxPassword, Pos: r.r.Zone.Doc.PosOf(s.At)})
			c = &config{}
			c.line("")
		}
	}
	for _, family := range []int{4, 6} {
		c.line(" address-family %s unicast", map[int]string{4: "ipv4", 6: "ipv6"}[family])
		for _, n := range b.Networks {
			if n.Addr().Is4() == (family == 4) {
				c.line("  network %s", n)
			}
		}
		for _, p := range b.Peers {
			c.line("  neighbor %s activate", p.Spec.Address)
			c.line("  neighbor %s route-map nothing in", p.Spec.Address)
			c.line("  neighbor %s route-map told%d out", p.Spec.Address, family)
		}
		c.line(" exit-address-family")
	}
	return append(parts, resource.Part{Text: c.String()})
}

func ipWord(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ipv6"
}

// speaks is the router's address that it speaks with a peer from.
func (r *router) speaks(peer netip.Addr) netip.Addr {
	if peer.Is4() {
		return r.r.Outer
	}
	return r.r.IP6()
}

// bgpRules let peers speak with the router: family 4 or 6. They stand in a chain that
// packets from outside meet.
func (r *router) bgpRules(family int) []resource.Rule {
	if r.r.BGP == nil {
		return nil
	}
	var out []resource.Rule
	for _, p := range r.r.BGP.Peers {
		if a := p.Spec.Address; a.Is4() == (family == 4) {
			out = append(out, rule("bgp", match{
				In: r.r.Legs[0].Link, Src: host(a), Proto: "tcp", DstPorts: []schema.PortRange{{From: bgpPort, To: bgpPort}},
			}, "ACCEPT", r.r.Zone.Doc.PosOf(p.Spec.At)))
		}
	}
	return out
}

// routed reports whether the router translates nothing of IPv4.
func (r *router) routed() bool { return r.r.Outer.IsValid() }

// comesIn passes what is for guests of a router that translates nothing on to the chain
// that says what may come in.
func (r *side) comesIn() []resource.Rule {
	var out []resource.Rule
	for _, l := range r.r.Legs {
		out = append(out, jump("ingress", match{In: l.Link, Out: r.side.Link, Dst: r.n.CIDR}, "INGRESS"))
	}
	return out
}

// passes lets what may be for guests get as far as there: answers also to those behind
// routes. The world has no business with the addresses among theirs that are the
// router's own: gateways, those of each router of a pair, and internal balancers.
func (r *router) passes() []resource.Rule {
	if !r.routed() {
		return nil
	}
	var out []resource.Rule
	for _, l := range r.r.Legs {
		for _, s := range r.sides() {
			out = append(out, rule("gateway", match{In: l.Link, Dst: host(s.side.IP)}, "DROP"))
		}
		for _, one := range r.r.Each() {
			for _, s := range one.Sides {
				if s.Own.IsValid() {
					out = append(out, rule("router", match{In: l.Link, Dst: host(s.Own)}, "DROP"))
				}
			}
		}
		for _, b := range r.r.Balancers {
			out = append(out, rule(b.ID.Name, match{In: l.Link, Dst: host(b.Addr)}, "DROP", b.Doc.Pos))
		}
		for _, s := range r.sides() {
			for _, p := range s.inside() {
				out = append(out, rule("routed", match{In: l.Link, Dst: p}, "ACCEPT"))
			}
		}
	}
	return out
}

// known is the address that guests appear as, or that the world sends to for them.
func (r *router) known() netip.Addr {
	if r.routed() {
		return r.r.Outer
	}
	return r.r.SourceNAT
}
