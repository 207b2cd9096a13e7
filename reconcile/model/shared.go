package model

import (
	"slices"
	"strings"

	"weft.dev/schema"
)

// SharedWith reports whether the network that spec is of may be used by VMs of
// account, beside its owner's: by name, by domain with all below it, or by all.
func SharedWith(spec *schema.Network, account *Account) bool {
	return slices.ContainsFunc(spec.SharedWith, func(with string) bool {
		domain, isDomain := strings.CutPrefix(with, "domain/")
		switch {
		case with == "*", with == account.Name && !isDomain:
			return true
		case !isDomain:
			return false
		}
		own := account.Spec.Domain
		return own == domain || strings.HasPrefix(own, domain+"/")
	})
}

// nicAccess holds that a VM uses networks of its account, and those that are
// shared with it.
func (r *resolver) nicAccess(n *NIC, i int) {
	name := n.VM.Meta.Account
	if name == r.n.ID.Account {
		return
	}
	account := r.site.Accounts[name]
	if account == nil {
		r.blocked(schema.KindAccount, name)
		return // CheckVM reports it
	}
	if !slices.Contains(r.n.Guests, account) {
		r.n.Guests = append(r.n.Guests, account)
	}
	if !SharedWith(r.spec, account) {
		r.diags.Errorf(d2(n.VM, "spec.nics", i, "network"), "not-shared", "network %s of account %s is not shared with account %s", r.n.ID.Name, r.n.ID.Account, name).
			Offending(n.Spec.Network.String()).See(nameOf(r.doc), "the network").Hintf("add %s to sharedWith of the network, or use one of account %s", name, name)
	}
}

// sharing holds that those exist whom the network is shared with.
func (r *resolver) sharing() {
	for i, with := range r.spec.SharedWith {
		if with == "*" || strings.HasPrefix(with, "domain/") {
			continue
		}
		if a := r.site.Accounts[with]; a != nil {
			if !slices.Contains(r.n.Guests, a) {
				r.n.Guests = append(r.n.Guests, a)
			}
			continue
		}
		if !r.blocked(schema.KindAccount, with) {
			unknown(&r.diags, d1(r.doc, "spec.sharedWith", i), "account", with, keys(r.site.Accounts))
		}
	}
}
