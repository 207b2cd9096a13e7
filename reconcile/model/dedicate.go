package model

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"weft.dev/schema"
)

// A Tiered pool has candidates that are given before its others: those below
// First, which is 0 where all are alike.
type Tiered interface {
	Pool
	First() uint64
}

// A Denier is a pool that knows why it has not a value that it might have.
type Denier interface {
	Pool
	// Denies says why value is not to be had, or "".
	Denies(value string) string
}

// A dedication is a range of numbers that only one account gets.
type dedication struct {
	space    string // of the pool
	physical string
	account  string
	span     span
}

// dedications resolves the numbers that accounts have for themselves. What is
// wrong dedicates nothing: nobody's numbers move because of it.
func (b *builder) dedications() {
	for _, name := range slices.Sorted(maps.Keys(b.site.Accounts)) {
		a := b.site.Accounts[name]
		for _, physical := range slices.Sorted(maps.Keys(a.Spec.VNets)) {
			p := b.site.Physical[physical]
			switch {
			case p != nil && p.Guest != "":
				b.dedicate(a, p)
			case p != nil:
				b.diags.Errorf(a.Doc.At("spec.vnets."+physical), "no-guest-traffic", "physical network %s carries no Guest traffic", physical).
					Offending(physical).See(p.Doc.At("spec.traffic"), "its traffic types")
			case b.site.Invalid[schema.ID{Kind: schema.KindPhysicalNetwork, Name: physical}] == "":
				unknown(&b.diags, a.Doc.At("spec.vnets."+physical), "physical network", physical, keys(b.site.Physical))
			}
		}
	}
	for _, z := range b.parts {
		slices.SortFunc(z.dedicated, func(x, y dedication) int {
			return cmp.Or(cmp.Compare(x.physical, y.physical), cmp.Compare(x.account, y.account), cmp.Compare(x.span.from, y.span.from))
		})
	}
	for _, r := range b.kinds[schema.KindPublicIPRange] {
		spec, _ := r.Spec.(*schema.PublicIPRange)
		if spec.Account != "" && b.site.Accounts[spec.Account] == nil && b.site.Invalid[schema.ID{Kind: schema.KindAccount, Name: spec.Account}] == "" {
			unknown(&b.diags, r.At("spec.account"), "account", spec.Account, keys(b.site.Accounts))
		}
	}
}

// dedicate gives a the numbers of p that its document names.
func (b *builder) dedicate(a *Account, p *PhysicalNetwork) {
	z := b.parts[p.Zone]
	space := vnetSpace(p)
	for i, r := range a.Spec.VNets[p.Name] {
		at := a.Doc.At(fmt.Sprintf("spec.vnets.%s[%d]", p.Name, i))
		x := dedication{space, p.Name, a.Name, span{uint64(r.From), uint64(r.To)}}
		if !slices.ContainsFunc(p.Spec.VNets, func(v schema.IDRange) bool { return v.From <= r.From && r.To <= v.To }) {
			b.diags.Errorf(at, "outside-vnets", "%s is not within the vnets of physical network %s", r, p.Name).
				Offending(r.String()).See(p.Doc.At("spec.vnets"), "its vnets")
			continue
		}
		j := slices.IndexFunc(z.dedicated, func(o dedication) bool {
			return o.space == space && o.span.from <= x.span.to && x.span.from <= o.span.to
		})
		if j >= 0 {
			o := z.dedicated[j]
			b.diags.Errorf(at, "overlapping-range", "%s is dedicated twice: to account %s on physical network %s, and to account %s on %s", r, o.account, o.physical, a.Name, p.Name).
				Offending(r.String()).See(b.site.Accounts[o.account].Doc.At("spec.vnets."+o.physical), "dedicated here")
			continue
		}
		z.dedicated = append(z.dedicated, x)
	}
}

// vnetSpace is what the numbers of p's isolation are unique in. Hosts share their
// tunnel ports by encapsulation, whatever the wire.
func vnetSpace(p *PhysicalNetwork) string {
	if p.Spec.Isolation == "VLAN" {
		return vlanSpace(p.Zone, p.Guest)
	}
	return p.Spec.Isolation + " in " + p.Zone
}

// vlanSpace is what the VLANs of a label are unique in.
func vlanSpace(zone, label string) string { return "vlan on " + zone + "/" + label }

// exclude takes what is dedicated to anybody out of a common pool.
func (z *Zone) exclude(p *vnetPool) {
	for _, d := range z.dedicated {
		if d.space == p.space {
			p.spans = p.spans.without(d.span)
			p.taken = append(p.taken, d)
		}
	}
}

// vnetPool is where networks of account on p get their number: what is dedicated
// to it, then the common pool where it may fall back to that.
func (z *Zone) vnetPool(p *PhysicalNetwork, account *Account) *vnetPool {
	common := z.vnets[p]
	if len(account.Spec.VNets[p.Name]) == 0 {
		return common
	}
	key := "vnets " + p.Name + " " + account.Name + " " + strconv.FormatBool(account.Spec.VNetsFallback)
	if x, ok := z.memo.Load(key); ok {
		return x.(*vnetPool)
	}
	out := &vnetPool{space: common.space, describe: common.describe + " for account " + account.Name}
	for _, d := range z.dedicated {
		switch {
		case d.physical == p.Name && d.account == account.Name:
			out.spans = append(out.spans, d.span)
		case d.space == common.space:
			out.taken = append(out.taken, d)
		}
	}
	if p.Spec.Isolation == "VLAN" {
		out.spans = z.wires[p.Guest].less(out.spans)
	}
	switch out.tier = out.spans.size(); {
	case len(out.spans) == 0:
		out = common // nothing of what the account names can be dedicated
	case account.Spec.VNetsFallback:
		out.spans = append(out.spans, common.spans...)
	default:
		out.describe = common.describe + " dedicated to account " + account.Name
	}
	kept, _ := z.memo.LoadOrStore(key, out)
	return kept.(*vnetPool)
}

// First implements Tiered.
func (p *vnetPool) First() uint64 { return p.tier }

// Denies implements Denier.
func (p *vnetPool) Denies(value string) string {
	id, ok := parseID(value)
	if !ok {
		return ""
	}
	for _, d := range p.taken {
		if d.span.from <= uint64(id) && uint64(id) <= d.span.to {
			return "it is dedicated to account " + d.account
		}
	}
	return ""
}

// First implements Tiered.
func (p *addrPool) First() uint64 { return p.tier }

// dedicatedVNet reports that a stated number is another account's.
func (r *resolver) dedicatedVNet(space string, id uint32, text, path string) bool {
	for _, d := range r.n.Zone.dedicated {
		if d.space != space || d.account == r.n.Account.Name || uint64(id) < d.span.from || d.span.to < uint64(id) {
			continue
		}
		x := r.diags.Errorf(r.doc.At(path), "vnet-dedicated", "%s is dedicated to account %s", text, d.account).Offending(text)
		if a := r.site.Accounts[d.account]; a != nil {
			x.See(a.Doc.At("spec.vnets."+d.physical), "dedicated here")
		}
		return true
	}
	return false
}

// own lists what is dedicated to account of the numbers of p.
func (z *Zone) own(p *PhysicalNetwork, account *Account) *vnetPool {
	pool := z.vnetPool(p, account)
	if pool.tier == 0 {
		return nil
	}
	own := &vnetPool{space: pool.space, describe: pool.describe}
	for left := pool.tier; left > 0; {
		x := pool.spans[len(own.spans)]
		own.spans = append(own.spans, x)
		left -= min(left, x.to-x.from+1)
	}
	return own
}

// common reports whether id of that space is one that anybody may be given of p's
// vnets.
func (z *Zone) common(p *PhysicalNetwork, space string, id uint32) bool {
	return space == vnetSpace(p) && z.vnets[p].spans.contains(uint64(id))
}

// commonVNet reports that a stated number is of the common pool, and the account
// may not fall back to that.
func (r *resolver) commonVNet(space string, id uint32, text, path string) bool {
	n := r.n
	if n.Account.Spec.VNetsFallback || n.Common() || !n.Zone.common(n.Physical, space, id) {
		return false
	}
	own := n.Zone.own(n.Physical, n.Account)
	if own == nil || own.spans.contains(uint64(id)) {
		return false
	}
	r.diags.Errorf(r.doc.At(path), "vnet-common", "%s is common, and account %s has dedicated ones of physical network %s without vnetsFallback", text, n.Account.Name, n.Physical.Name).
		Offending(text).See(n.Account.Doc.At("spec.vnets."+n.Physical.Name), "dedicated to the account").Hintf("state one of those, or one that is not in vnets of %s", n.Physical.Name)
	return true
}

// OfPool reports whether the broadcast domain that d asks for is one of the vnets of
// n's physical network: not where d states another, or one of another isolation.
func (n *Network) OfPool(d *Demand) bool {
	if n.Physical == nil || d.Pool.Space() != vnetSpace(n.Physical) {
		return false
	}
	id, stated := parseID(d.Fixed)
	return !stated || slices.ContainsFunc(n.Physical.Spec.VNets, func(v schema.IDRange) bool { return v.From <= id && id <= v.To })
}

// Preferred is what d, a number that a network of n's account asks for, should be
// of as long as that has free ones: the numbers that are dedicated to the account.
// It is nil where there are none, or where d states one that nobody is given.
func (n *Network) Preferred(d *Demand) Pool {
	if n.Physical == nil || n.Account == nil || n.Common() || d.Field != FieldVNet || len(n.Account.Spec.VNets[n.Physical.Name]) == 0 {
		return nil
	}
	own := n.Zone.own(n.Physical, n.Account)
	if own == nil || d.Pool.Space() != own.space {
		return nil
	}
	if id, ok := parseID(d.Fixed); ok && !own.spans.contains(uint64(id)) && !n.Zone.common(n.Physical, own.space, id) {
		return nil
	}
	return own
}

// noVNets reports that there is nothing to allocate a broadcast domain from.
func (r *resolver) noVNets() {
	p := r.n.Physical
	d := r.diags.Errorf(r.doc.At("spec"), "no-vnets", "physical network %s has no vnets to allocate from", p.Name).
		See(p.Doc.At("spec"), "the physical network").Hintf("add vnets to it")
	if len(p.Spec.VNets) == 0 {
		return
	}
	var others []string
	for _, x := range r.n.Zone.dedicated {
		if x.space == vnetSpace(p) && !slices.Contains(others, x.account) {
			others = append(others, x.account)
		}
	}
	if len(others) > 0 {
		d.Message = "physical network " + p.Name + " has no vnets left for account " + r.n.Account.Name + ": they are dedicated to " + list(others)
	}
}

// rangesFor lists the public ranges that account may have addresses of: those
// dedicated to it first, then the common ones where it may fall back to them.
func (z *Zone) rangesFor(account *Account) []*PublicRange {
	dedicated := slices.ContainsFunc(z.Ranges, func(r *PublicRange) bool { return r.Spec.Account != "" })
	if !dedicated {
		return z.Ranges
	}
	var own, common []*PublicRange
	for _, r := range z.Ranges {
		switch {
		case account != nil && r.Spec.Account == account.Name:
			own = append(own, r)
		case r.Spec.Account == "":
			common = append(common, r)
		}
	}
	if len(own) > 0 && !account.Spec.PublicIPFallback {
		return own
	}
	return append(own, common...)
}

// fallsBack reports whether usable ranges need no choice: one is dedicated, one is
// common.
func fallsBack(usable []*PublicRange, account string) bool {
	return len(usable) == 2 && usable[0].Spec.Account == account && usable[1].Spec.Account == ""
}

// rangeUsable reports whether rng, which a public address names or lies in, is
// among those that its account may use.
func rangeUsable(site *Site, usable []*PublicRange, rng *PublicRange, d *schema.Document, spec *schema.PublicIP, ds *schema.Diags) bool {
	if slices.Contains(usable, rng) {
		return true
	}
	path, text, what := "spec.range", spec.Range, "public range "+rng.Name
	if spec.Range == "" {
		path, text, what = "spec.address", spec.Address.String(), "the public address "+spec.Address.String()
	}
	if rng.Spec.Account != "" {
		ds.Errorf(d.At(path), "range-dedicated", "%s is dedicated to account %s", what, rng.Spec.Account).
			Offending(text).See(rng.Doc.At("spec.account"), "dedicated here")
		return false
	}
	x := ds.Errorf(d.At(path), "range-dedicated", "%s is common, and account %s has dedicated ones without publicIPFallback", what, d.Meta.Account).Offending(text)
	if a := site.Accounts[d.Meta.Account]; a != nil && a.Doc != nil {
		x.See(a.Doc.At("spec.publicIPFallback"), "the account").Hintf("use %s", list(rangeNames(usable)))
	}
	return false
}

// publicPool returns the pool of ranges, of which the dedicated ones come first;
// networks share it.
func (z *Zone) publicPool(ranges []*PublicRange) *addrPool {
	key := "public"
	dedicated := 0
	for _, r := range ranges {
		key += " " + r.Name
		if r.Spec.Account != "" {
			dedicated++
		}
	}
	if p, ok := z.memo.Load(key); ok {
		return p.(*addrPool)
	}
	kept, _ := z.memo.LoadOrStore(key, publicPool(z, ranges, dedicated))
	return kept.(*addrPool)
}

// Dedicated reports whether a public address that comes from pool is of a range
// that is dedicated to account.
func (s *Site) Dedicated(account string, pool Pool, address string) bool {
	p, ok := pool.(*addrPool)
	if !ok || p.zone == nil {
		return false
	}
	ip := addrOf(address)
	if r := rangeOf(p.zone.Ranges, ip); r != nil {
		return r.Spec.Account == account
	}
	// Not allocated yet: the dedicated ones come first.
	own := p.zone.rangesFor(s.Accounts[account])
	return len(own) > 0 && own[0].Spec.Account == account && !ip.IsValid()
}

// RangeOf is the public range that an address from pool is of: of one that is not
// allocated yet that which pool begins with. nil where that is not known.
func RangeOf(pool Pool, address string) *PublicRange {
	p, ok := pool.(*addrPool)
	if !ok || p.zone == nil {
		return nil
	}
	if address == "" && p.Size() > 0 {
		address = p.At(0)
	}
	return rangeOf(p.zone.Ranges, addrOf(address))
}

// Size counts the addresses that may be given.
func (r *PublicRange) Size() uint64 {
	n := uint64(0)
	for _, x := range r.Spec.Ranges {
		n += offset(x.From, x.To) + 1
		if x.Contains(r.Spec.Gateway) {
			n--
		}
	}
	return n
}
