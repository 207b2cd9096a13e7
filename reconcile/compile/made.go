package compile

import (
	"sync"
	"weak"

	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// made are the entries of something whose fragments keep none, by host. Somebody
// who asks for one host often asks for the others next, and all of them come of
// one design, so they stay until memory is short.
type made struct {
	mu    sync.Mutex
	hosts weak.Pointer[map[string][]resource.Entry]
}

// on returns the entries of u on a host. As plugins are pure these are those that
// it was compiled to.
func (m *made) on(d designer, u *unit, host string) []resource.Entry {
	return m.from(host, func() *plugin.Draft { return d.draft(&unit{id: u.id, owner: u.owner, net: u.net, vpc: u.vpc}) })
}

// from returns the entries on a host, of a draft when they are not there.
func (m *made) from(host string, draft func() *plugin.Draft) []resource.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	hosts := m.hosts.Value()
	if hosts == nil {
		hosts = &map[string][]resource.Entry{}
		for name, entries := range draft().Hosts {
			var known schema.Diags // when they were fingerprinted
			(*hosts)[name] = resource.Fold(entries, claimTwice(&known)).Entries()
		}
		m.hosts = weak.Make(hosts)
	}
	return (*hosts)[host]
}
