package compile

import (
	"slices"
	"strings"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// A verdict is why a unit is held, beside its own reason; "" is not held.
type verdict struct{ cause, reason string }

// laterKinds are words of the language that nothing on a host can come of yet,
// so that a document of them holds nothing.
var laterKinds = []string{
	"VPCOffering", "ServiceProvider", "VPC", "NetworkACL", "LoadBalancer", "SecurityGroup", "PrivateGateway",
	"SiteToSiteVPN", "RemoteAccessVPN", "Expectation", "Policy",
}

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
		for _, kind := range []string{schema.KindNetwork, schema.KindVirtualMachine, schema.KindPublicIP} {
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
	hosts map[schema.ID][]string
}

// touched holds what broken documents may concern: invalid ones, and VMs and
// public addresses whose network does not exist.
func (c *Compiler) touched(tree *schema.Tree, dangling []*schema.Document) *toucher {
	t := &toucher{compiler: c, tree: tree, lock: c.input.lock, holds: map[schema.ID]verdict{}, hosts: map[schema.ID][]string{}}
	for _, d := range suspects(tree) {
		why := d.ID().String() + " is invalid"
		if tree.Lookup(d.ID()) != nil || !slices.Contains(tree.Invalid, d) {
			why = d.Pos.String() + " is invalid"
		}
		switch d.Kind {
		case schema.KindNetwork:
			t.hold(d.ID(), why)
		case schema.KindVirtualMachine, schema.KindPublicIP:
			t.broken(d, why)
		}
	}
	for _, d := range dangling {
		t.broken(d, d.ID().String()+" refers to a network that does not exist")
	}
	return t
}

func (t *toucher) hold(id schema.ID, why string) {
	if _, ok := t.holds[id]; !ok {
		t.holds[id] = verdict{resource.HoldInvalid, why}
	}
}

// broken holds the networks that d names, those that its numbers in the lock
// tell of, and where that is not certain all of its account.
func (t *toucher) broken(d *schema.Document, why string) {
	ids, sure := t.concerns(d)
	if !sure {
		ids = t.account(d.Meta.Account)
	}
	var hosts []string
	if d.Kind == schema.KindVirtualMachine {
		hosts = t.hostsOf(d)
	}
	for _, id := range ids {
		t.hold(id, why)
		t.hosts[id] = append(t.hosts[id], hosts...)
	}
}

// concerns lists the networks that d may be about; sure is false where there may
// be more.
func (t *toucher) concerns(d *schema.Document) (ids []schema.ID, sure bool) {
	text := ""
	for _, id := range model.NetworksOf(d) {
		if t.compiler.units[id] != nil {
			ids = append(ids, id)
		}
	}
	if d.Spec == nil {
		text = t.text(d)
		if strings.ContainsAny(text, "\\&*") {
			return nil, false // names may be spelt in ways that are not seen here
		}
		for id := range t.compiler.units {
			if id.Kind == schema.KindNetwork && names(text, id, d.Meta.Account) {
				ids = append(ids, id)
			}
		}
	}
	if d.Kind == schema.KindPublicIP {
		return ids, len(ids) > 0
	}
	more, sure := t.numbered(d, text)
	return append(ids, more...), sure
}

// hostsOf lists the hosts that a broken VM may be on: those that it names, else
// all.
func (t *toucher) hostsOf(d *schema.Document) []string {
	all := t.compiler.site.Anywhere()
	spec, ok := d.Spec.(*schema.VirtualMachine)
	if ok && (spec.Host != "" || len(spec.Hosts) > 0) {
		return append(slices.Clone(spec.Hosts), spec.Host)
	}
	if ok {
		return all
	}
	text := t.text(d)
	named := slices.DeleteFunc(slices.Clone(all), func(h string) bool { return !hasWord(text, h) })
	if len(named) == 0 || strings.ContainsAny(text, "\\&*") {
		return all
	}
	return named
}

// numbered lists the networks of NICs that the lock knows and d does not declare
// any more; sure is false where they are not known.
func (t *toucher) numbered(d *schema.Document, text string) (ids []schema.ID, sure bool) {
	spec, _ := d.Spec.(*schema.VirtualMachine)
	for _, name := range t.lock.NICs(d.Meta.Account, d.Meta.Name) {
		if spec != nil && t.exists(spec, d, name) || spec == nil && hasWord(text, name) {
			continue
		}
		id := schema.ID{Kind: schema.KindNetwork, Account: d.Meta.Account, Name: name}
		if t.compiler.units[id] == nil {
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, true
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

// account lists all networks of an account.
func (t *toucher) account(account string) []schema.ID {
	var ids []schema.ID
	for id := range t.compiler.units {
		if id.Account == account && id.Kind == schema.KindNetwork {
			ids = append(ids, id)
		}
	}
	return ids
}

// text is what d says, as written.
func (t *toucher) text(d *schema.Document) string {
	rest := string(t.tree.Source(d.File))
	for i := 1; i < d.Pos.Line; i++ {
		_, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return ""
		}
		rest = after
	}
	if i := strings.Index(rest, "\n---"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// names reports whether text has the name of a network, as account may write it.
func names(text string, id schema.ID, account string) bool {
	if id.Account == account {
		return hasWord(text, id.Name)
	}
	return hasWord(text, id.Account+"/"+id.Name)
}

// hasWord reports whether text has word with nothing of a name on either side.
func hasWord(text, word string) bool {
	for off := 0; ; {
		i := strings.Index(text[off:], word)
		if i < 0 {
			return false
		}
		i += off
		end := i + len(word)
		if (i == 0 || !nameByte(text[i-1])) && (end == len(text) || !nameByte(text[end])) {
			return true
		}
		off = i + 1
	}
}

func nameByte(c byte) bool {
	return c == '-' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
}
