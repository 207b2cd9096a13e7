package compile

import (
	"slices"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// A verdict is why a unit is held, beside its own reason; "" is not held.
type verdict struct{ cause, reason string }

// laterKinds are words of the language that nothing on a host can come of yet,
// so that a document of them holds nothing.
var laterKinds = []string{"Expectation"}

// frozen says why no host may change at all, or "": something could not be read,
// and nobody knows what it said.
func (c *Compiler) frozen(tree *schema.Tree) string {
	if why := c.input.lock.Unreadable(); why != "" && len(c.units) > 0 {
		return why
	}
	for _, d := range tree.Invalid {
		switch {
		case d.Kind == "" || d.Meta.Name == "" || schema.IsTenant(d.Kind) && d.Meta.Account == "":
			return d.Pos.String() + ": it is not known what the document says"
		case !known(d.Kind) && d.Meta.Account == "":
			return d.Pos.String() + ": kind " + d.Kind + " is unknown"
		}
	}
	return ""
}

func known(kind string) bool {
	return slices.Contains(laterKinds, kind) || slices.Contains(schema.Kinds(), kind)
}

// suspects lists the documents that cannot be judged. One of an account whose kind
// is no word may have been a network, or anything of one.
func suspects(tree *schema.Tree) []*schema.Document {
	out := make([]*schema.Document, 0, len(tree.Invalid))
	for _, d := range tree.Invalid {
		if known(d.Kind) || d.Meta.Account == "" {
			out = append(out, d)
			continue
		}
		for _, kind := range []string{schema.KindNetwork, schema.KindVPC, schema.KindNetworkACL, schema.KindPrivateGateway, schema.KindVirtualMachine, schema.KindPublicIP, schema.KindSecurityGroup} {
			as := *d
			as.Kind = kind
			out = append(out, &as)
		}
	}
	return out
}

// toucher finds the networks that documents which cannot be judged may concern.
type toucher struct {
	compiler *Compiler
	tree     *schema.Tree
	lock     *alloc.Lock
	holds    map[schema.ID]verdict
	// hosts are those that a held network may be on beside those of its VMs.
	hosts    map[schema.ID][]string
	sources  map[string]*source
	accounts map[string]*account
	shared   map[string]map[string][]schema.ID // see lent
	vpcs     map[string][]schema.ID            // of each account
}

// account is what all networks of one share.
type account struct {
	networks []schema.ID
	hosts    map[string]bool // that all of them may be on
}

// touched holds what broken documents may concern: invalid ones, and VMs and
// public addresses whose network does not exist.
func (c *Compiler) touched(tree *schema.Tree, dangling []*schema.Document) *toucher {
	t := &toucher{
		compiler: c, tree: tree, lock: c.input.lock, holds: map[schema.ID]verdict{}, hosts: map[schema.ID][]string{},
		sources: map[string]*source{}, accounts: map[string]*account{}, shared: map[string]map[string][]schema.ID{}, vpcs: map[string][]schema.ID{},
	}
	for _, d := range suspects(tree) {
		why := d.ID().String() + " is invalid"
		if tree.Lookup(d.ID()) != nil || !slices.Contains(tree.Invalid, d) {
			why = d.Pos.String() + " is invalid"
		}
		switch d.Kind {
		case schema.KindVPC:
			t.hold(d.ID(), why)
		case schema.KindNetworkACL, schema.KindPrivateGateway:
			t.cloud(d, why)
		case schema.KindNetwork:
			t.hold(d.ID(), why)
			t.cloud(d, why)
			t.grouped(c.index.Concerned(d), why)
		case schema.KindSecurityGroup:
			t.grouped(c.index.Concerned(d), why)
		case schema.KindVirtualMachine, schema.KindPublicIP:
			t.broken(d, why)
		case schema.KindLoadBalancer, schema.KindSiteToSiteVPN, schema.KindRemoteAccessVPN:
			t.detached(d, why)
		}
	}
	for _, d := range dangling {
		if d.Kind == schema.KindNetwork || d.Kind == schema.KindNetworkACL || d.Kind == schema.KindPrivateGateway {
			t.cloud(d, d.ID().String()+" refers to a VPC that does not exist")
			continue
		}
		switch d.Kind {
		case schema.KindLoadBalancer, schema.KindSiteToSiteVPN, schema.KindRemoteAccessVPN:
			t.detached(d, d.ID().String()+" refers to what does not exist")
			continue
		}
		t.broken(d, d.ID().String()+" refers to a network that does not exist")
	}
	return t
}

func (t *toucher) hold(id schema.ID, why string) {
	if _, ok := t.holds[id]; !ok {
		t.holds[id] = verdict{resource.HoldInvalid, why}
	}
}

// grouped holds those of ids that have security groups.
func (t *toucher) grouped(ids []schema.ID, why string) {
	for _, id := range ids {
		if u := t.compiler.units[id]; u != nil && u.net != nil && u.net.Grouped() {
			t.hold(id, why)
		}
	}
}

// broken holds the networks that d names, those that its numbers in the lock
// tell of, and where that is not certain all of its account.
func (t *toucher) broken(d *schema.Document, why string) {
	if d.Kind == schema.KindVirtualMachine {
		// It may be a member of any group of its account.
		t.grouped(t.compiler.index.Naming(d.Meta.Account), why)
	}
	var text *spelling
	if d.Spec == nil {
		text = t.spelling(d)
	}
	var hosts []string
	if d.Kind == schema.KindVirtualMachine {
		hosts = t.hostsOf(d, text)
	}
	ids, sure := t.concerns(d, text)
	if !sure {
		t.all(d.Meta.Account, hosts, why)
		return
	}
	for _, id := range ids {
		t.hold(id, why)
		t.hosts[id] = append(t.hosts[id], hosts...)
	}
}

// detached holds the network that d, which belongs to one or to its public address,
// names, and where that is not known all of its account.
func (t *toucher) detached(d *schema.Document, why string) {
	ids := model.NetworksOf(d)
	if home, ok := t.compiler.index.Home(d); ok {
		ids = append(ids, home)
	}
	sure := true
	if d.Spec == nil {
		text := t.spelling(d)
		ids = t.homes(d, text)
		// Most belong to an address, so that a word may be a network's by chance.
		sure = !text.unclear && (len(ids) > 0 || d.Kind == schema.KindSiteToSiteVPN)
		ids = append(ids, text.ids(d.Meta.Account, schema.KindNetwork, schema.KindVPC)...)
	}
	ids = slices.DeleteFunc(ids, func(id schema.ID) bool { return t.compiler.units[id] == nil })
	if len(ids) == 0 || !sure {
		t.all(d.Meta.Account, nil, why)
	}
	for _, id := range ids {
		t.hold(id, why)
	}
}

// homes are what the public addresses serve that text names.
func (t *toucher) homes(d *schema.Document, text *spelling) []schema.ID {
	var out []schema.ID
	for _, ip := range text.ids(d.Meta.Account, schema.KindPublicIP) {
		if home, ok := t.compiler.index.Serves(ip); ok && t.compiler.units[home] != nil {
			out = append(out, home)
		}
	}
	return out
}

// all holds the networks of an account, and those shared with it. What was said of all of them before is not
// said again: a mistake may be in every document.
func (t *toucher) all(name string, hosts []string, why string) {
	a := t.accounts[name]
	if a == nil {
		a = &account{hosts: map[string]bool{}}
		t.accounts[name] = a
		own := t.compiler.site.Accounts[name]
		for id, u := range t.compiler.units {
			if u.net != nil && (id.Account == name || own != nil && model.SharedWith(u.net.Spec, own)) {
				a.networks = append(a.networks, id)
				t.hold(id, why)
			}
		}
	}
	hosts = slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return a.hosts[h] })
	for _, h := range hosts {
		a.hosts[h] = true
	}
	for _, id := range a.networks {
		t.hosts[id] = append(t.hosts[id], hosts...)
	}
}

// concerns lists the networks that d may be about; sure is false where there may
// be more.
func (t *toucher) concerns(d *schema.Document, text *spelling) (ids []schema.ID, sure bool) {
	for _, id := range model.NetworksOf(d) {
		if t.compiler.units[id] != nil {
			ids = append(ids, id)
		}
	}
	if text != nil {
		if text.unclear {
			return nil, false
		}
		for _, id := range text.ids(d.Meta.Account, schema.KindNetwork, schema.KindVPC) {
			if t.compiler.units[id] != nil {
				ids = append(ids, id)
			}
		}
	}
	if d.Kind == schema.KindPublicIP {
		if text != nil { // where its kind is no word it may belong to another address
			ids = append(ids, t.homes(d, text)...)
		}
		return ids, len(ids) > 0
	}
	more, sure := t.numbered(d, text)
	return append(ids, more...), sure
}

// hostsOf lists the hosts that a broken VM may be on: those that it names, else
// all.
func (t *toucher) hostsOf(d *schema.Document, text *spelling) []string {
	spec, ok := d.Spec.(*schema.VirtualMachine)
	if ok && (spec.Host != "" || len(spec.Hosts) > 0) {
		return append(slices.Clone(spec.Hosts), spec.Host)
	}
	all := t.compiler.site.Anywhere()
	if ok {
		return all
	}
	named := slices.DeleteFunc(slices.Clone(all), func(h string) bool { return !text.words[h] })
	if len(named) == 0 || text.unclear {
		return all
	}
	return named
}

// numbered lists the networks of NICs that the lock knows and d does not declare
// any more; sure is false where they are not known.
func (t *toucher) numbered(d *schema.Document, text *spelling) (ids []schema.ID, sure bool) {
	spec, _ := d.Spec.(*schema.VirtualMachine)
	for _, name := range t.lock.NICs(d.Meta.Account, d.Meta.Name) {
		if spec != nil && t.exists(spec, d, name) || text != nil && text.words[name] {
			continue
		}
		had := t.lent(d.Meta.Account)[name]
		if id := (schema.ID{Kind: schema.KindNetwork, Account: d.Meta.Account, Name: name}); t.compiler.units[id] != nil {
			had = append(slices.Clip(had), id)
		}
		if len(had) == 0 {
			return nil, false
		}
		ids = append(ids, had...)
	}
	return ids, true
}

// lent are the networks of others that are shared with an account, by name: a NIC
// has its name from its network, whoever's that is.
func (t *toucher) lent(name string) map[string][]schema.ID {
	if out, ok := t.shared[name]; ok {
		return out
	}
	var out map[string][]schema.ID
	if own := t.compiler.site.Accounts[name]; own != nil {
		for _, u := range t.compiler.order {
			if u.net == nil || len(u.net.Spec.SharedWith) == 0 || u.id.Account == name || !model.SharedWith(u.net.Spec, own) {
				continue
			}
			if out == nil {
				out = map[string][]schema.ID{}
			}
			out[u.id.Name] = append(out[u.id.Name], u.id)
		}
	}
	t.shared[name] = out
	return out
}

// exists reports whether d declares the NIC, and its network is there: where a
// reference broke, nobody knows where the NIC was.
func (t *toucher) exists(spec *schema.VirtualMachine, d *schema.Document, nic string) bool {
	for i := range spec.NICs {
		if n := &spec.NICs[i]; n.NICName() == nic {
			id := schema.ID{Kind: schema.KindNetwork, Account: n.Network.Or(d.Meta.Account), Name: n.Network.Name}
			return t.compiler.units[id] != nil
		}
	}
	return false
}
