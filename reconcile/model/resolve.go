package model

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"weft.dev/schema"
)

// Resolve makes the unit of one network: its document, the VMs and public
// addresses that refer to it, and the numbers that a lock gives. It is pure: the
// result depends on the arguments only. The network is nil when not even its
// zone, account, offering or physical network is known; where diagnostics have
// errors, or Blocked, Missing or Suspended is set, it must be held.
func Resolve(site *Site, index *Index, doc *schema.Document, numbers Numbers) (*Network, schema.Diags) {
	spec, _ := doc.Spec.(*schema.Network)
	n := &Network{ID: doc.ID(), Doc: doc, Spec: spec, State: Allocated}
	r := &resolver{site: site, index: index, n: n, doc: doc, spec: spec, numbers: numbers, owner: n.ID.String()}
	r.vms, r.ips = index.Members(n.ID)
	r.attached = index.Attached(n.ID)
	if !r.ground() {
		if n.Blocked == "" && !r.diags.HasErrors() {
			n.Blocked = "what it stands on is invalid"
		}
		r.members()
		return n, r.diags
	}
	r.suspended()
	r.address()
	r.published()
	r.ip6()
	r.broadcast()
	r.flat()
	r.mtu()
	r.mtu6()
	r.rules()
	r.members()
	r.groups()
	r.userData()
	r.gather()
	r.publicIPs()
	r.balancers()
	r.vpns(r.vpnWays())
	r.lifecycle()
	r.router()
	r.l2tp()
	r.hosts()
	r.endpoints()
	slices.SortFunc(n.Demands, compareDemands)
	n.Demands = slices.Clip(n.Demands)
	return n, r.diags
}

func compareDemands(a, b Demand) int {
	switch {
	case a.Owner != b.Owner:
		if a.Owner < b.Owner {
			return -1
		}
		return 1
	case a.Field < b.Field:
		return -1
	case a.Field > b.Field:
		return 1
	}
	return 0
}

type resolver struct {
	site     *Site
	index    *Index
	n        *Network
	doc      *schema.Document
	spec     *schema.Network
	numbers  Numbers
	owner    string // of the network in the lock
	vms      []*schema.Document
	ips      []*schema.Document
	attached []*schema.Document // balancers, VPNs
	diags    schema.Diags

	pool  *addrPool            // of guests' addresses, nil when there are none
	pods  map[string]*addrPool // of guests of one pod, in Basic zones
	room  []NIC                // what n.NICs point into
	usedN int                  // NICs that run
	// servesRouter: an offered service is a VirtualRouter's.
	servesRouter bool
	ranges       []*PublicRange // that public addresses may come from
}

// blocked notes that the network cannot be judged because of id.
func (r *resolver) blocked(kind, name string) bool {
	why, ok := r.site.Invalid[schema.ID{Kind: kind, Name: name}]
	if ok && r.n.Blocked == "" {
		r.n.Blocked = why
	}
	return ok
}

// suspended finds the document that suspends the network.
func (r *resolver) suspended() {
	for _, d := range r.standsOn() {
		if d != nil && d.Meta.Suspended() {
			r.n.Suspended = "suspended by " + schema.AnnotationSuspend + " of " + d.ID().String()
			return
		}
	}
}

// standsOn lists the documents whose children the network is, and those of it.
func (r *resolver) standsOn() []*schema.Document {
	n := r.n
	docs := []*schema.Document{r.doc, n.Account.Doc, n.Offering.Doc, n.Physical.Doc, n.Zone.Doc}
	docs = append(docs, r.vms...)
	docs = append(docs, r.ips...)
	return append(docs, r.attached...)
}

// demand asks for a number and returns what the lock says, "" when that is
// nothing or no longer fits.
func (r *resolver) demand(d Demand) string {
	if d.Owner == r.owner || d.Formerly == "" && strings.HasPrefix(d.Owner, "subnet/") {
		d.Formerly = r.formerly(d.Owner)
	}
	r.n.Demands = append(r.n.Demands, d)
	v := r.numbers.Number(d.Owner, d.Field)
	if v == "" || d.Fixed != "" && v != d.Fixed || d.Fixed == "" && !d.Pool.Contains(v) {
		r.n.Missing = append(r.n.Missing, d)
		return ""
	}
	return v
}

func (r *resolver) endpoints() {
	n := r.n
	var reported []*Host
	for _, s := range n.Segments {
		if len(s.Hosts) < 2 || !tunneled(s.Scheme) {
			continue
		}
		for _, h := range s.Hosts {
			if h.TunnelIP.IsValid() || slices.Contains(reported, h) {
				continue
			}
			reported = append(reported, h)
			r.diags.Errorf(h.Doc.At("spec"), "no-tunnel-endpoint", "host %s has no tunnel endpoint, and %s networks span it and other hosts", h.Name, n.Physical.Spec.Isolation).
				Hintf("give bridge %s an address, or state tunnelIP", n.Physical.Guest)
		}
	}
}

// tunneled reports whether a broadcast domain spans hosts by tunnels.
func tunneled(scheme string) bool {
	return scheme != "" && scheme != schema.SchemeVLAN && scheme != schema.SchemeNative
}

// hosts unites where NICs may appear and the routers are.
func (r *resolver) hosts() {
	n := r.n
	if n.State != Implemented {
		return
	}
	for _, s := range n.Segments {
		s.Hosts = r.hostsOf(s)
	}
	if len(n.Segments) == 1 {
		n.Hosts = n.Segments[0].Hosts
		return
	}
	for _, s := range n.Segments {
		n.Hosts = append(n.Hosts, s.Hosts...)
	}
	sortHosts(n.Hosts)
	n.Hosts = slices.Compact(n.Hosts)
}

func (r *resolver) hostsOf(s *Segment) []*Host {
	var out []*Host
	seen := map[string]bool{}
	add := func(name string) {
		if h := r.site.Hosts[name]; h != nil && !seen[name] {
			seen[name] = true
			out = append(out, h)
		}
	}
	for _, nic := range s.NICs {
		if nic.Running {
			for _, h := range nic.Hosts {
				add(h)
			}
		}
	}
	if s.Side != nil {
		for _, x := range s.Side.Router.Each() {
			add(x.Host.Name)
		}
	}
	sortHosts(out)
	return out
}

func sortHosts(l []*Host) {
	slices.SortFunc(l, func(a, b *Host) int { return cmp.Compare(a.Name, b.Name) })
}

func (r *resolver) lifecycle() {
	if r.usedN > 0 || r.n.Tier != nil || r.n.Offering.Spec.Persistent || r.n.Type() != GuestIsolated {
		r.n.State = Implemented
	}
}

// formerly is the ID that a document had before a rename, or "".
func formerly(d *schema.Document) string {
	old := d.Meta.Formerly()
	if old == "" {
		return ""
	}
	id := d.ID()
	id.Name = old
	return id.String()
}

// formerly is the owner of the network's numbers under owner before it got its
// name, or "".
func (r *resolver) formerly(owner string) string {
	old := formerly(r.doc)
	if old == "" || owner == r.owner {
		return old
	}
	return "subnet/" + r.n.ID.Account + "/" + r.doc.Meta.Formerly() + owner[len("subnet/"+r.n.ID.Account+"/"+r.n.ID.Name):]
}

func addrOf(v string) netip.Addr {
	ip, err := netip.ParseAddr(v)
	if err != nil {
		return netip.Addr{}
	}
	return ip
}
