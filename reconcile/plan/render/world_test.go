package render_test

import (
	"net/netip"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

const (
	web  = resource.Owner("network/acme/web")
	db   = resource.Owner("network/acme/db")
	beta = resource.Owner("network/beta/lab")
)

func from(file string, line int) []schema.Pos { return []schema.Pos{{File: file, Line: line, Col: 3}} }

func entry(owner resource.Owner, st resource.State, origin []schema.Pos) resource.Entry {
	return resource.Entry{State: st, Owner: owner, Origin: origin}
}

// router is what a network with a router has on its host.
func router(owner resource.Owner, ns, doc string, mtu int, rules []resource.Rule) []resource.Entry {
	forward := resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "FORWARD", Policy: "DROP", Rules: rules}
	inside := resource.LinkID(ns, "eth0")
	addr := netip.MustParsePrefix("10.1.1.1/24")
	hosts := resource.File{Path: ns + "/hosts", Mode: 0o644, Parts: []resource.Part{{Text: "10.1.1.11 web-1\n10.1.1.12 web-2\n"}}}
	return []resource.Entry{
		entry(owner, resource.NS{Name: ns, Owner: owner}, from(doc, 4)),
		entry(owner, resource.Link{NS: ns, Name: "eth0", Host: ns + "-0", MTU: mtu, Up: true}, from(doc, 4)),
		entry(owner, resource.Addr{NS: ns, Link: "eth0", Prefix: addr}, from(doc, 9)),
		entry(owner, forward, from("publicips/vip.yaml", 12)),
		entry(owner, hosts, from(doc, 4)),
		entry(owner, resource.Process{Name: ns + "/dnsmasq", NS: ns, Argv: []string{"dnsmasq", "-C", "{run}/" + ns + "/dnsmasq.conf"}, Load: hosts.Content(), Reload: "HUP", After: []resource.ID{inside, hosts.ID()}}, from(doc, 4)),
		entry(owner, resource.Port{Bridge: "weft-int", Name: ns + "-0", Link: &inside, Guards: []resource.ID{forward.ID()}}, from(doc, 4)),
	}
}

func nic(owner resource.Owner, name, id, mac string, line int) resource.Entry {
	return entry(owner, resource.Port{Bridge: "weft-int", Name: name, IfaceID: id, MAC: mac}, from("vms/web.yaml", line))
}

func base(host string) []resource.Entry {
	return []resource.Entry{entry(resource.Owner("host/"+host), resource.Bridge{Name: "weft-int", Datapath: "system", FailMode: "secure"}, from("hosts.yaml", 3))}
}

func rule(name, proto string, port uint16) resource.Rule {
	return resource.Rule{Name: name, Match: resource.Match{Proto: proto, DstPorts: []schema.PortRange{{From: port, To: port}}}, Do: resource.Verdict{Target: "ACCEPT"}}
}

func intent(host string, holds []resource.Hold, lists ...[]resource.Entry) *resource.Intent {
	var fragments []*resource.Fragment
	for _, l := range lists {
		fragments = append(fragments, resource.NewFragment(l[0].Owner, l))
	}
	return resource.NewIntent(host, fragments, holds)
}

// change is a report of two hosts with one of everything.
func change(t *testing.T) *plan.Report {
	t.Helper()
	old := []resource.Rule{rule("ssh", "tcp", 22), rule("http", "tcp", 80), rule("dns", "udp", 53), rule("ntp", "udp", 123)}
	will := []resource.Rule{rule("ssh", "tcp", 22), rule("https", "tcp", 443), rule("dns", "udp", 53), rule("ntp", "udp", 123)}
	before := intent("kvm1", nil, base("kvm1"),
		append(router(web, "acme-web", "networks/web.yaml", 1450, old), nic(web, "tap-web-1", "acme/web-1/web", "02:00:4c:00:00:0b", 9)),
		append(router(db, "acme-db", "networks/db.yaml", 1450, nil), nic(db, "tap-db-1", "acme/db-1/db", "02:00:4c:00:00:0c", 30)))
	after := intent("kvm1", nil, base("kvm1"),
		append(router(web, "acme-web", "networks/web.yaml", 1400, will), nic(web, "tap-web-2", "acme/web-2/web", "02:00:4c:00:00:0d", 19)),
		router(beta, "beta-lab", "networks/lab.yaml", 1450, nil))
	opt := plan.Options{Revision: "4f1c2aa", Lock: "sha256:11"}
	one, err := plan.Between(before, after, opt)
	if err != nil {
		t.Fatal(err)
	}
	r := plan.NewReport("9d3b7e0", "4f1c2aa", []*plan.Plan{live(t, opt), one})
	r.Allocations = []plan.Allocation{
		{Verb: plan.Create, Owner: "network/beta/lab", Field: "vnet", To: "5012"},
		{Verb: plan.Delete, Owner: "network/acme/db", Field: "vnet", From: "5007"},
	}
	r.Reachability = &plan.Reachability{
		Gained: []plan.Path{
			{From: "internet", To: "publicip/acme/vip", Ports: "443/tcp", Source: plan.Source{File: "publicips/vip.yaml", Line: 12}},
			{From: "vm/acme/web-2", To: "internet", Ports: "all"},
		},
		Lost:    []plan.Path{{From: "internet", To: "publicip/acme/vip", Ports: "80/tcp"}},
		Exposed: []string{"203.0.113.20:443/tcp"},
	}
	r.Checks = []plan.Check{
		{Name: "world-to-vip", Status: plan.Passed},
		{Name: "no-world-ssh", Status: plan.Warned, Message: "SSH must not be open to the world", Source: plan.Source{File: "policies/ssh.yaml", Line: 2}},
	}
	return r
}

// live is the plan of a host on which others were at work.
func live(t *testing.T, opt plan.Options) *plan.Plan {
	t.Helper()
	rules := []resource.Rule{rule("ssh", "tcp", 22)}
	desired := intent("kvm2", []resource.Hold{{Owner: db, Cause: resource.HoldInvalid, Reason: `networks/db.yaml:7:3: unknown field "cdir", did you mean "cidr"?`}},
		append(base("kvm2"), entry("host/kvm2", resource.Bridge{Name: "cloudbr1", Datapath: "system", FailMode: "standalone", Adopt: true}, from("hosts.yaml", 21))),
		append(router(web, "acme-web", "networks/web.yaml", 1450, rules),
			entry(web, resource.Sysctl{NS: "acme-web", Key: "net.ipv4.ip_forward", Value: "1"}, from("networks/web.yaml", 4)),
			entry(web, resource.NS{Name: "taken", Owner: web}, from("networks/web.yaml", 4))))
	seen := resource.NewObserved()
	for _, f := range desired.Fragments {
		for _, e := range f.Entries() {
			e.Origin = nil
			seen.Set.Put(e)
		}
	}
	delete(seen.Set, resource.ID{Kind: resource.KindNS, Name: "taken"})
	delete(seen.Set, resource.ID{Kind: resource.KindBridge, Name: "cloudbr1"})
	delete(seen.Set, resource.ID{Kind: resource.KindProcess, Name: "acme-web/dnsmasq"})
	chain := resource.ChainID("acme-web", 4, "filter", "FORWARD")
	seen.Set.Put(resource.Entry{Owner: web, State: resource.Seen{Ident: chain, Up: resource.ID{Kind: resource.KindNS, Name: "acme-web"}, Drift: "missing -A FORWARD -p tcp --dport 22 -j ACCEPT\nextra -A FORWARD -j ACCEPT"}})
	stray := resource.Port{Bridge: "weft-int", Name: "old0"}
	seen.Set.Put(resource.Entry{Owner: web, State: stray})
	for _, e := range router(db, "acme-db", "", 1450, nil) {
		e.Origin = nil
		seen.Set.Put(e)
	}
	seen.Foreign[resource.ID{Kind: resource.KindNS, Name: "taken"}] = "a namespace without weft's mark"
	seen.Foreign[resource.ID{Kind: resource.KindBridge, Name: "cloudbr1"}] = "a bridge with 3 ports of others"
	seen.Unread = []resource.Unread{{Kind: resource.KindSet, NS: "acme-db", Err: "ipset save in namespace acme-db: exit 1: Kernel error received"}}
	seen.Unbound[web] = []string{resource.NICSym("acme/web-3/web", "02:00:4c:00:00:0e")}
	opt.Last = desired
	p, err := plan.Diff(desired, seen, opt)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
