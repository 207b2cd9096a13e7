package model

import (
	"net/netip"
	"slices"
	"strings"

	"weft.dev/schema"
)

// A Provider is a DNS server that networks of a zone may have told of their names.
type Provider struct {
	Name string
	Doc  *schema.Document
	Spec *schema.ServiceProvider
}

// Published says where the names of a network are told.
type Published struct {
	Provider *Provider
	// Domain is the provider's that the network's lies in.
	Domain string
	// Resolvers are those that know the endpoint's name; none where it is an address.
	Resolvers []netip.Addr
}

// named reports whether the provider's endpoint is a name.
func (p *Provider) named() bool {
	_, err := netip.ParseAddrPort(p.Address())
	return err != nil
}

// Address of the server, with its port.
func (p *Provider) Address() string {
	_, address, _ := strings.Cut(p.Spec.Endpoint, ":")
	return address
}

// longestPublished: a name has a mark beside it ("_weft-aaaa." before it), and a
// host name before its domain; a name of DNS has at most 253 characters.
const longestPublished = 253 - len("_weft-aaaa.") - 64

// providers gives zones theirs. Two that are told by the same server in the same domain
// could not tell their records apart.
func (b *builder) providers() {
	for _, d := range b.kinds[schema.KindServiceProvider] {
		spec, _ := d.Spec.(*schema.ServiceProvider)
		zone, ok := b.zoneOf(d, spec.Zone, "", "")
		if !ok {
			continue
		}
		z := b.parts[zone]
		p := &Provider{Name: d.Meta.Name, Doc: d, Spec: spec}
		if b.prev != nil && b.prev.Zones[zone] != nil {
			for _, o := range b.prev.Zones[zone].Providers {
				if o.Doc == d {
					p = o
				}
			}
		}
		z.Providers = append(z.Providers, p)
		b.providerApart(p)
		if p.named() && len(z.Spec.InternalDNS) == 0 {
			b.diags.Errorf(d.At("spec.endpoint"), "no-resolver", "nobody is there to ask for %s: zone %s has no internalDNS", p.Address(), zone).
				See(nameOf(z.Doc), "the zone").Hintf("write internalDNS: [10.0.0.53] in the zone, or an address in the endpoint")
			b.site.Invalid[d.ID()] = d.ID().String() + " has an endpoint that nobody can be asked for"
		}
	}
}

// providerApart reports a domain that another provider tells the same server of.
func (b *builder) providerApart(p *Provider) {
	for _, name := range b.zoneNames {
		for _, o := range b.parts[name].Providers {
			if o.Name == p.Name || o.Address() != p.Address() {
				continue
			}
			for i, domain := range p.Spec.Domains {
				if j := slices.Index(o.Spec.Domains, domain); j >= 0 {
					b.providerTwice(p, o, domain, "spec.domains", i, j)
				}
			}
			for i, net := range p.Spec.Reverse {
				if j := slices.Index(o.Spec.Reverse, net); j >= 0 {
					b.providerTwice(p, o, net.String(), "spec.reverse", i, j)
				}
			}
		}
	}
}

func (b *builder) providerTwice(p, o *Provider, what, path string, i, j int) {
	b.diags.Errorf(d1(p.Doc, path, i), "domain-twice", "%s is told of %s by %s too", p.Address(), what, o.Doc.ID()).
		See(d1(o.Doc, path, j), "the other provider").Hintf("leave one of both, with the domains of both")
	b.site.Invalid[p.Doc.ID()] = p.Doc.ID().String() + " tells the same as " + o.Doc.ID().String()
}

// published resolves where the network's names are told.
func (r *resolver) published() {
	name := r.spec.DNSUpdates
	if name == "" {
		return
	}
	n, at := r.n, r.doc.At("spec.dnsUpdates")
	var known []string
	var p *Provider
	for _, o := range n.Zone.Providers {
		if known = append(known, o.Name); o.Name == name {
			p = o
		}
	}
	if r.blocked(schema.KindServiceProvider, name) {
		return
	}
	switch {
	case p == nil:
		unknown(&r.diags, at, "service provider", name, known)
		return
	case !r.servesRouter && n.Tier == nil:
		r.diags.Errorf(at, "no-router", "network %s has no router that could tell %s of its names", n.ID.Name, name).
			Hintf("leave dnsUpdates out, or choose an offering with Dhcp or Dns of the VirtualRouter")
		return
	}
	out := &Published{Provider: p}
	for _, d := range p.Spec.Domains {
		if (n.Domain == d || strings.HasSuffix(n.Domain, "."+d)) && len(d) > len(out.Domain) {
			out.Domain = d
		}
	}
	switch {
	case out.Domain == "":
		r.diags.Errorf(at, "foreign-domain", "the domain %s of network %s is in none that %s tells of", n.Domain, n.ID.Name, name).
			See(p.Doc.At("spec.domains"), "its domains").Hintf("write a networkDomain such as %s.%s", n.ID.Name, p.Spec.Domains[0])
		return
	case len(n.Domain) > longestPublished:
		r.diags.Errorf(at, "name-too-long", "the domain %s of network %s leaves no room for the names of machines and the marks beside them", n.Domain, n.ID.Name).
			Hintf("at most %d characters", longestPublished)
		return
	}
	if p.named() {
		out.Resolvers = n.Zone.Spec.InternalDNS
	}
	n.Published = out
}
