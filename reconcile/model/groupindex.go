package model

import (
	"slices"

	"weft.dev/schema"
)

// groups are what an Index knows of security groups. It is nil until the tree has
// one: trees without are not burdened.
type groups struct {
	docs map[schema.ID]*schema.Document
	// vms are those with a NIC that says it is in the group, or says nothing and means
	// the group default; networks are where such NICs are, and how many.
	vms      map[schema.ID]map[*schema.Document]bool
	networks map[schema.ID]map[schema.ID]int
	// namedBy are the groups whose rules name the group.
	namedBy map[schema.ID]map[schema.ID]bool
}

// defaultGroup is the group of a NIC that names none.
const defaultGroup = "default"

// groupID is the group that d means by ref.
func groupID(d *schema.Document, ref schema.Ref) schema.ID {
	return schema.ID{Kind: schema.KindSecurityGroup, Account: ref.Or(d.Meta.Account), Name: ref.Name}
}

// eachGroup calls f for every group of every NIC of a VM.
func eachGroup(d *schema.Document, f func(group, network schema.ID)) {
	spec, ok := d.Spec.(*schema.VirtualMachine)
	if !ok {
		return
	}
	for i := range spec.NICs {
		network := refID(d, spec.NICs[i].Network)
		for _, g := range groupsOf(d, &spec.NICs[i]) {
			f(g, network)
		}
	}
}

// groupsOf lists the groups that a NIC of d means.
func groupsOf(d *schema.Document, n *schema.NIC) []schema.ID {
	if len(n.SecurityGroups) == 0 {
		return []schema.ID{{Kind: schema.KindSecurityGroup, Account: d.Meta.Account, Name: defaultGroup}}
	}
	ids := make([]schema.ID, len(n.SecurityGroups))
	for i, ref := range n.SecurityGroups {
		ids[i] = groupID(d, ref)
	}
	return ids
}

// namedIn lists the groups that rules of a group name.
func namedIn(d *schema.Document) []schema.ID {
	spec, ok := d.Spec.(*schema.SecurityGroup)
	if !ok {
		return nil
	}
	var ids []schema.ID
	add := func(refs []schema.Ref) {
		for _, ref := range refs {
			ids = append(ids, groupID(d, ref))
		}
	}
	for i := range spec.Ingress {
		add(spec.Ingress[i].Groups)
	}
	for i := range spec.Egress {
		add(spec.Egress[i].Groups)
	}
	slices.SortFunc(ids, compareID)
	return slices.Compact(ids)
}

// needGroups begins to keep track of groups.
func (x *Index) needGroups() {
	if x.groups != nil {
		return
	}
	x.groups = &groups{
		docs: map[schema.ID]*schema.Document{}, vms: map[schema.ID]map[*schema.Document]bool{},
		networks: map[schema.ID]map[schema.ID]int{}, namedBy: map[schema.ID]map[schema.ID]bool{},
	}
	seen := map[*schema.Document]bool{}
	for _, m := range x.members {
		for _, d := range m.vms {
			if !seen[d] {
				seen[d] = true
				x.groups.vm(d, true)
			}
		}
	}
}

// vm takes a VM in or out.
func (g *groups) vm(d *schema.Document, add bool) {
	eachGroup(d, func(group, network schema.ID) {
		if add {
			put(g.vms, group, d, true)
			by := g.networks[group]
			if by == nil {
				by = map[schema.ID]int{}
				g.networks[group] = by
			}
			by[network]++
			return
		}
		drop(g.vms, group, d)
		if by := g.networks[group]; by[network] > 1 {
			by[network]--
		} else {
			drop(g.networks, group, network)
		}
	})
}

// group takes the document of a group in or out.
func (g *groups) group(d *schema.Document, add bool) {
	delete(g.docs, d.ID())
	if add {
		g.docs[d.ID()] = d
	}
	for _, named := range namedIn(d) {
		if add {
			put(g.namedBy, named, d.ID(), true)
		} else {
			drop(g.namedBy, named, d.ID())
		}
	}
}

func put[K, L comparable, V any](m map[K]map[L]V, k K, l L, v V) {
	if m[k] == nil {
		m[k] = map[L]V{}
	}
	m[k][l] = v
}

func drop[K, L comparable, V any](m map[K]map[L]V, k K, l L) {
	delete(m[k], l)
	if len(m[k]) == 0 {
		delete(m, k)
	}
}

// Concerned lists the networks whose security groups d has a say in, and the groups,
// besides those that Add and Remove return: those of groups whose rules name a
// group that d is a member of, those with NICs in group d, and with NICs in groups that name
// it. It is asked before d is removed and after it was added. Networks without
// security groups may be among them.
func (x *Index) Concerned(d *schema.Document) []schema.ID {
	if x.groups == nil {
		return nil
	}
	ids := map[schema.ID]bool{}
	switch d.Kind {
	case schema.KindSecurityGroup:
		x.groups.users(d.ID(), ids)
		x.groups.naming(d.ID(), ids)
		for id := range x.groups.namedBy[d.ID()] {
			ids[id] = true
		}
	case schema.KindVirtualMachine:
		eachGroup(d, func(group, _ schema.ID) { x.groups.naming(group, ids) })
	case schema.KindNetwork:
		seen := map[schema.ID]bool{}
		if m := x.members[d.ID()]; m != nil {
			for _, vm := range m.vms {
				eachGroup(vm, func(group, network schema.ID) {
					if network == d.ID() && !seen[group] {
						seen[group] = true
						x.groups.naming(group, ids)
					}
				})
			}
		}
	}
	out := make([]schema.ID, 0, len(ids))
	for id := range ids {
		out = append(out, id)
	}
	return out
}

// users adds the networks with NICs in a group.
func (g *groups) users(group schema.ID, ids map[schema.ID]bool) {
	for id := range g.networks[group] {
		ids[id] = true
	}
}

// naming adds the networks with NICs in groups that name group.
func (g *groups) naming(group schema.ID, ids map[schema.ID]bool) {
	for by := range g.namedBy[group] {
		g.users(by, ids)
	}
}

// shared reports whether other accounts may have NICs in a group.
func (g *groups) shared(group schema.ID) bool {
	d := g.docs[group]
	if d == nil {
		return false
	}
	spec, ok := d.Spec.(*schema.SecurityGroup)
	return ok && len(spec.SharedWith) > 0
}

// Naming lists the networks with rules that name groups of an account, or shared
// ones: who could not be read there may be a member.
func (x *Index) Naming(account string) []schema.ID {
	if x.groups == nil {
		return nil
	}
	ids := map[schema.ID]bool{}
	for group := range x.groups.namedBy {
		if group.Account == account || x.groups.shared(group) {
			x.groups.naming(group, ids)
		}
	}
	out := make([]schema.ID, 0, len(ids))
	for id := range ids {
		out = append(out, id)
	}
	slices.SortFunc(out, compareID)
	return out
}

// Group returns the document of a security group, or nil.
func (x *Index) Group(id schema.ID) *schema.Document {
	if x.groups == nil {
		return nil
	}
	return x.groups.docs[id]
}
