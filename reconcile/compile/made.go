package compile

import (
	"sync"

	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// made are the entries of something whose fragments keep none, by host. Somebody
// who asks for one host usually asks for the others next, and all of them come of
// one design.
type made struct {
	once  sync.Once
	hosts map[string][]resource.Entry
}

// on returns the entries of u on a host; u is designed at the first call. As
// plugins are pure these are those that it was compiled to.
func (m *made) on(d designer, u *unit, host string) []resource.Entry {
	return m.from(host, func() *plugin.Draft { return d.draft(&unit{id: u.id, owner: u.owner, net: u.net}) })
}

// from returns the entries on a host; the first call makes the draft.
func (m *made) from(host string, draft func() *plugin.Draft) []resource.Entry {
	m.once.Do(func() {
		m.hosts = map[string][]resource.Entry{}
		for name, entries := range draft().Hosts {
			var known schema.Diags // when they were fingerprinted
			m.hosts[name] = resource.Fold(entries, claimTwice(&known)).Entries()
		}
	})
	return m.hosts[host]
}
