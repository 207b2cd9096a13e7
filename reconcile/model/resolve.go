package model

import (
	"net/netip"
	"slices"

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
	if !r.ground() {
		if n.Blocked == "" && !r.diags.HasErrors() {
			n.Blocked = "what it stands on is invalid"
		}
		r.members()
		return n, r.diags
	}
	r.suspended()
	r.address()
	r.broadcast()
	r.mtu()
	r.rules()
	r.members()
	r.publicIPs()
	r.lifecycle()
	r.router()
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
	site    *Site
	index   *Index
	n       *Network
	doc     *schema.Document
	spec    *schema.Network
	numbers Numbers
	owner   string // of the network in the lock
	vms     []*schema.Document
	ips     []*schema.Document
	diags   schema.Diags

	pool  *addrPool // of guests' addresses, nil when the CIDR is wrong
	room  []NIC     // what n.NICs point into
	usedN int       // NICs that run
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
	return append(docs, r.ips...)
}

// broadcast decides the broadcast domain and asks for its number.
func (r *resolver) broadcast() {
	n, u := r.n, r.spec.VLAN
	d := Demand{Owner: r.owner, Field: FieldVNet, Pos: r.doc.Pos}
	switch {
	case !u.IsZero() && !n.Offering.Spec.SpecifyVLAN:
		r.diags.Errorf(r.doc.At("spec.vlan"), "vlan-not-allowed", "offering %s does not let a network state its VLAN", n.Offering.Name).
			Offending(u.String()).Hintf("leave vlan out, or use an offering with specifyVlan: true")
		return
	case u.IsZero() && n.Offering.Spec.SpecifyVLAN:
		r.diags.Errorf(r.doc.At("spec"), "vlan-missing", "offering %s has specifyVlan: the network has to state its VLAN", n.Offering.Name).
			Hintf("add vlan: \"vlan://ID\"")
		return
	case u.IsZero():
		n.Scheme = schemeOf(n.Physical)
		pool := n.Zone.vnets[n.Physical]
		if pool.Size() == 0 {
			r.diags.Errorf(r.doc.At("spec"), "no-vnets", "physical network %s has no vnets to allocate from", n.Physical.Name).
				See(n.Physical.Doc.At("spec"), "the physical network").Hintf("add vnets to it")
			return
		}
		d.Pool = pool
	case u.Scheme == schema.SchemeVLAN || u.Scheme == schema.SchemeNative:
		n.Scheme = u.Scheme
		w := n.Zone.wires[n.Physical.Guest]
		if p := w.public[u.ID]; p != nil {
			r.diags.Errorf(r.doc.At("spec.vlan"), "vlan-taken", "%s is that of public range %s on the same wire", u, p.Name).
				Offending(u.String()).See(p.Doc.At("spec"), "the range")
			return
		}
		d.Pool, d.Fixed = w.vlans, number(u.ID)
	default:
		n.Scheme = u.Scheme
		d.Pool, d.Fixed = n.Zone.vnets[n.Physical], number(u.ID)
	}
	if d.Fixed != "" {
		d.Pos = r.doc.At("spec.vlan")
	}
	if v := r.demand(d); v != "" {
		n.VNet, _ = parseID(v)
	}
}

// demand asks for a number and returns what the lock says, "" when that is
// nothing or no longer fits.
func (r *resolver) demand(d Demand) string {
	if d.Owner == r.owner {
		d.Formerly = formerly(r.doc)
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
	if len(n.Hosts) < 2 || n.Scheme == "" || n.Scheme == schema.SchemeVLAN || n.Scheme == schema.SchemeNative {
		return
	}
	for _, h := range n.Hosts {
		if !h.TunnelIP.IsValid() {
			r.diags.Errorf(h.Doc.At("spec"), "no-tunnel-endpoint", "host %s has no tunnel endpoint, and %s networks span it and other hosts", h.Name, n.Physical.Spec.Isolation).
				Hintf("give bridge %s an address, or state tunnelIP", n.Physical.Guest)
		}
	}
}

// hosts unites where NICs may appear and the router is.
func (r *resolver) hosts() {
	n := r.n
	if n.State != Implemented {
		return
	}
	seen := map[string]bool{}
	add := func(name string) {
		if h := r.site.Hosts[name]; h != nil && !seen[name] {
			seen[name] = true
			n.Hosts = append(n.Hosts, h)
		}
	}
	for _, nic := range n.NICs {
		if nic.Running {
			for _, h := range nic.Hosts {
				add(h)
			}
		}
	}
	if n.Router != nil {
		add(n.Router.Host.Name)
	}
	slices.SortFunc(n.Hosts, func(a, b *Host) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
}

func (r *resolver) lifecycle() {
	if r.usedN > 0 || r.n.Offering.Spec.Persistent {
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

func addrOf(v string) netip.Addr {
	ip, err := netip.ParseAddr(v)
	if err != nil {
		return netip.Addr{}
	}
	return ip
}
