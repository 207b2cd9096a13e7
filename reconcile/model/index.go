package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"weft.dev/schema"
)

// An Index knows which tenant documents belong to which network. The zero value
// is ready. It is not safe while it is being changed; what it returned stays as
// it was.
type Index struct {
	members map[schema.ID]*members
	// loose are the public addresses without network, by ID.
	loose map[schema.ID]*schema.Document
	// unread are documents that could not be read: references to them are not
	// wrong.
	unread   map[schema.ID]bool
	groups   *groups
	attached attached
	vpcs     map[string][]schema.ID // those of members, by account
}

// SetUnread tells which tenant documents could not be read.
func (x *Index) SetUnread(docs []*schema.Document) {
	x.unread = make(map[schema.ID]bool, len(docs))
	for _, d := range docs {
		x.unread[d.ID()] = true
		if d.Kind == schema.KindSecurityGroup || !slices.Contains(schema.Kinds(), d.Kind) {
			x.needGroups()
		}
	}
}

// members are the documents of one network. Values are replaced, never changed.
type members struct {
	doc *schema.Document // nil while nothing declares the network
	vms []*schema.Document
	ips []*schema.Document
	own []*schema.Document // of kinds that name the network and are none of its guests
	// tiers are the networks of a VPC.
	tiers []*schema.Document
}

// Add takes a document in; kinds that belong to no network are ignored. It
// returns the networks whose unit changed.
func (x *Index) Add(d *schema.Document) []schema.ID { return x.change(d, true) }

// Remove takes a document out again.
func (x *Index) Remove(d *schema.Document) []schema.ID { return x.change(d, false) }

func (x *Index) change(d *schema.Document, add bool) []schema.ID {
	if x.members == nil {
		x.members, x.loose = map[schema.ID]*members{}, map[schema.ID]*schema.Document{}
	}
	switch spec := d.Spec.(type) {
	case *schema.Network:
		m := x.at(d.ID())
		m.doc = nil
		if add {
			m.doc = d
		}
		x.put(d.ID(), m)
		return append([]schema.ID{d.ID()}, x.joinVPC(d, spec, add)...)
	case *schema.VPC:
		return x.changeVPC(d, add)
	case *schema.SecurityGroup:
		x.needGroups()
		x.groups.group(d, add)
		return []schema.ID{d.ID()}
	case *schema.VirtualMachine:
		ids := NetworksOf(d)
		if x.groups != nil {
			x.groups.vm(d, add)
		}
		for _, id := range ids {
			m := x.at(id)
			m.vms = edit(m.vms, d, add)
			x.put(id, m)
		}
		return ids
	case *schema.LoadBalancer, *schema.RemoteAccessVPN, *schema.SiteToSiteVPN, *schema.NetworkACL, *schema.PrivateGateway:
		if ip, ok := addressOf(d); ok {
			return x.attach(d, ip, add)
		}
		ids := NetworksOf(d)
		for _, id := range ids {
			m := x.at(id)
			m.own = edit(m.own, d, add)
			x.put(id, m)
		}
		return ids
	case *schema.PublicIP:
		if spec.Network.IsZero() && spec.VPC.IsZero() {
			x.settle(d, d.ID(), add)
			if add {
				x.loose[d.ID()] = d
			} else {
				delete(x.loose, d.ID())
			}
			return nil
		}
		ids := NetworksOf(d)
		m := x.at(ids[0])
		m.ips = edit(m.ips, d, add)
		x.settle(d, ids[0], add)
		x.put(ids[0], m)
		return ids
	}
	return nil
}

// joinVPC takes a network in, or out, as a tier of its VPC, and returns that.
func (x *Index) joinVPC(d *schema.Document, spec *schema.Network, add bool) []schema.ID {
	if spec.VPC.IsZero() {
		return nil
	}
	id := vpcID(d, spec.VPC)
	m := x.at(id)
	m.tiers = edit(m.tiers, d, add)
	x.put(id, m)
	return []schema.ID{id}
}

// changeVPC takes a VPC in, or out, and returns it and its tiers.
func (x *Index) changeVPC(d *schema.Document, add bool) []schema.ID {
	m := x.at(d.ID())
	m.doc = nil
	if add {
		m.doc = d
	}
	x.put(d.ID(), m)
	ids := []schema.ID{d.ID()}
	for _, t := range m.tiers {
		ids = append(ids, t.ID())
	}
	return ids
}

// NetworksOf lists the networks, or VPCs, that a tenant document refers to or is,
// without repeats, in the order written. A tier's is the tier alone.
func NetworksOf(d *schema.Document) []schema.ID {
	switch spec := d.Spec.(type) {
	case *schema.Network, *schema.VPC:
		return []schema.ID{d.ID()}
	case *schema.VirtualMachine:
		ids := make([]schema.ID, 0, len(spec.NICs))
		for i := range spec.NICs {
			if id := refID(d, spec.NICs[i].Network); !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		return ids
	case *schema.PublicIP:
		if !spec.Network.IsZero() {
			return []schema.ID{refID(d, spec.Network)}
		}
		if !spec.VPC.IsZero() {
			return []schema.ID{vpcID(d, spec.VPC)}
		}
	case *schema.NetworkACL:
		return []schema.ID{vpcID(d, spec.VPC)}
	case *schema.PrivateGateway:
		return []schema.ID{vpcID(d, spec.VPC)}
	case *schema.LoadBalancer:
		if !spec.Network.IsZero() {
			return []schema.ID{refID(d, spec.Network)}
		}
	case *schema.SiteToSiteVPN:
		if !spec.Network.IsZero() {
			return []schema.ID{refID(d, spec.Network)}
		}
		return []schema.ID{{Kind: schema.KindVPC, Account: spec.VPC.Or(d.Meta.Account), Name: spec.VPC.Name}}
	}
	return nil
}

// VPCOf is the VPC that a network is a tier of, or an ACL or private gateway is of;
// false for others.
func VPCOf(d *schema.Document) (schema.ID, bool) {
	switch spec := d.Spec.(type) {
	case *schema.Network:
		return vpcID(d, spec.VPC), !spec.VPC.IsZero()
	case *schema.NetworkACL:
		return vpcID(d, spec.VPC), true
	case *schema.PrivateGateway:
		return vpcID(d, spec.VPC), true
	}
	return schema.ID{}, false
}

func vpcID(d *schema.Document, ref schema.Ref) schema.ID {
	return schema.ID{Kind: schema.KindVPC, Account: ref.Or(d.Meta.Account), Name: ref.Name}
}

func refID(d *schema.Document, ref schema.Ref) schema.ID {
	return schema.ID{Kind: schema.KindNetwork, Account: ref.Or(d.Meta.Account), Name: ref.Name}
}

// at returns a copy that may be changed.
func (x *Index) at(id schema.ID) members {
	if m := x.members[id]; m != nil {
		return *m
	}
	return members{}
}

func (x *Index) put(id schema.ID, m members) {
	none := m.doc == nil && len(m.vms)+len(m.ips)+len(m.own)+len(m.tiers) == 0
	if id.Kind == schema.KindVPC && none != (x.members[id] == nil) {
		x.listVPC(id, !none)
	}
	if none {
		delete(x.members, id)
		return
	}
	x.members[id] = &m
}

// listVPC keeps the list of VPCs.
func (x *Index) listVPC(id schema.ID, add bool) {
	if x.vpcs == nil {
		x.vpcs = map[string][]schema.ID{}
	}
	list := x.vpcs[id.Account]
	if add {
		x.vpcs[id.Account] = append(list, id)
		return
	}
	x.vpcs[id.Account] = slices.DeleteFunc(slices.Clone(list), func(o schema.ID) bool { return o == id })
}

// edit returns list with d added or removed; the list it was stays as it is.
func edit(list []*schema.Document, d *schema.Document, add bool) []*schema.Document {
	if add {
		if len(list) == cap(list) {
			list = slices.Grow(list, max(4, len(list)))
		}
		return append(list, d)
	}
	i := slices.Index(list, d)
	if i < 0 {
		return list
	}
	return slices.Concat(list[:i], list[i+1:])
}

// VPC returns the document of a VPC, or nil.
func (x *Index) VPC(id schema.ID) *schema.Document { return x.Network(id) }

// Tiers lists the networks of a VPC, by ID.
func (x *Index) Tiers(id schema.ID) []*schema.Document {
	m := x.members[id]
	if m == nil {
		return nil
	}
	out := slices.Clone(m.tiers)
	sortDocs(out)
	return out
}

// VPCs lists the VPCs of an account, declared or named, in no order. The list belongs
// to the index.
func (x *Index) VPCs(account string) []schema.ID { return x.vpcs[account] }

// Network returns the document of a network, or of a VPC; nil without.
func (x *Index) Network(id schema.ID) *schema.Document {
	if m := x.members[id]; m != nil {
		return m.doc
	}
	return nil
}

// Loose returns the document of a public address without network, or nil.
func (x *Index) Loose(id schema.ID) *schema.Document { return x.loose[id] }

// Networks lists the documents of all networks, by ID.
func (x *Index) Networks() []*schema.Document {
	out := make([]*schema.Document, 0, len(x.members))
	for _, m := range x.members {
		if m.doc != nil && m.doc.Kind == schema.KindNetwork {
			out = append(out, m.doc)
		}
	}
	sortDocs(out)
	return out
}

// Dangling lists networks and VPCs that documents refer to and none declares, by ID.
func (x *Index) Dangling() []schema.ID {
	var out []schema.ID
	for id, m := range x.members {
		if m.doc == nil {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, compareID)
	return out
}

// Reserved lists the public addresses without network, by ID.
func (x *Index) Reserved() []*schema.Document {
	out := make([]*schema.Document, 0, len(x.loose))
	for _, d := range x.loose {
		out = append(out, d)
	}
	sortDocs(out)
	return out
}

// Members lists the VMs and public addresses of a network, by ID.
func (x *Index) Members(id schema.ID) (vms, ips []*schema.Document) {
	m := x.members[id]
	if m == nil {
		return nil, nil
	}
	vms, ips = slices.Clone(m.vms), slices.Clone(m.ips)
	sortDocs(vms)
	sortDocs(ips)
	return vms, ips
}

func sortDocs(l []*schema.Document) {
	slices.SortFunc(l, func(a, b *schema.Document) int {
		if c := cmp.Compare(a.Meta.Account, b.Meta.Account); c != 0 {
			return c
		}
		return cmp.Compare(a.Meta.Name, b.Meta.Name)
	})
}

func compareID(a, b schema.ID) int {
	if c := cmp.Compare(a.Kind, b.Kind); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Account, b.Account); c != 0 {
		return c
	}
	return cmp.Compare(a.Name, b.Name)
}

// Refer reports the documents that refer to network id, which none declares, and
// what is wrong with them besides. It returns them; none where the network's
// document is there but could not be read, which is no mistake of theirs.
func Refer(site *Site, x *Index, id schema.ID, ds *schema.Diags) []*schema.Document {
	if x.unread[id] {
		return nil
	}
	hint := x.meant(id)
	vms, ips := x.Members(id)
	docs := slices.Concat(vms, ips, x.Own(id), x.Tiers(id))
	for _, d := range docs {
		path := "spec.network"
		if id.Kind == schema.KindVPC {
			path = "spec.vpc"
		}
		if spec, ok := d.Spec.(*schema.VirtualMachine); ok {
			CheckVM(site, d, ds)
			for i := range spec.NICs {
				if refID(d, spec.NICs[i].Network) == id {
					path = path1("spec.nics", i) + ".network"
					break
				}
			}
		}
		name := id.Name
		if id.Account != d.Meta.Account {
			name = id.Account + "/" + id.Name
		}
		word := "network"
		if id.Kind == schema.KindVPC {
			word = "VPC"
		}
		ds.Errorf(d.At(path), "unknown-"+strings.ToLower(word), "there is no %s %q in account %s", word, id.Name, id.Account).Offending(name).Hintf("%s", hint)
	}
	return docs
}

// meant is the hint for who names a network that is not there.
func (x *Index) meant(id schema.ID) string {
	var known []string
	for other, m := range x.members {
		if m.doc != nil && other.Account == id.Account && other.Kind == id.Kind {
			known = append(known, other.Name)
		}
	}
	slices.Sort(known)
	switch best := nearest(id.Name, known); {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(known) == 0:
		return "the account has no " + (&Network{ID: id}).word()
	case len(known) <= 8:
		return "the account has " + list(known)
	}
	return ""
}
