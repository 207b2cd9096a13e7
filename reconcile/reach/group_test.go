package reach

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/schema"
)

// TestGates: what groups let begin is told, and who hears whom is not.
func TestGates(t *testing.T) {
	rule := func(proto, typ int, ports []schema.PortRange, named []string, stated ...string) model.GroupRule {
		r := model.GroupRule{Proto: proto, ICMPType: typ, ICMPCode: model.AllTypes, Ports: ports, Named: named}
		for _, p := range stated {
			r.Stated = append(r.Stated, netip.MustParsePrefix(p))
		}
		return r
	}
	web := &model.Groups{Key: "acme/web", Open: true, Ingress: []model.GroupRule{
		rule(6, model.AllTypes, []schema.PortRange{{From: 80, To: 80}, {From: 8000, To: 8100}}, nil, "0.0.0.0/0", "::/0"),
		rule(1, 8, nil, nil, "10.0.0.0/8"),
	}}
	db := &model.Groups{Key: "acme/db acme/web", Ingress: []model.GroupRule{rule(6, model.AllTypes, []schema.PortRange{{From: 5432, To: 5432}}, []string{"acme/web"})},
		Egress: []model.GroupRule{rule(model.AllProtocols, model.AllTypes, nil, nil, "192.0.2.7/32")}}
	domain := func(gates ...plugin.Gate) []plugin.Domain {
		d := plugin.Domain{Network: schema.ID{Kind: schema.KindNetwork, Account: "acme", Name: "n"}, Gates: gates}
		for _, g := range gates {
			d.NICs = append(d.NICs, g.NIC)
		}
		return []plugin.Domain{d}
	}
	var got []string
	for _, w := range Compare(nil, Members(domain(plugin.Gate{NIC: "acme/a/n", Groups: web}, plugin.Gate{NIC: "acme/b/n", Groups: db}))).Added {
		got = append(got, w.String())
	}
	want := []string{
		"nic/acme/b/n -> 192.0.2.7 all", "nic/acme/a/n -> internet all",
		"internet -> nic/acme/a/n 80/tcp", "internet -> nic/acme/a/n 8000-8100/tcp", "10.0.0.0/8 -> nic/acme/a/n icmp type 8",
		"securitygroup/acme/web -> nic/acme/b/n 5432/tcp",
		"nic/acme/b/n -> securitygroup/acme/db member", "nic/acme/a/n -> securitygroup/acme/web member", "nic/acme/b/n -> securitygroup/acme/web member",
	}
	has := fmt.Sprint(got)
	for _, w := range want {
		if !strings.Contains(has, w) {
			t.Errorf("%q is missing in %q", w, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d ways, want %d: %q", len(got), len(want), got)
	}

	// Ports count one by one, and a group without rules opens nothing.
	more := *web
	more.Ingress = []model.GroupRule{rule(6, model.AllTypes, []schema.PortRange{{From: 80, To: 81}}, nil, "0.0.0.0/0")}
	c := Compare(Members(domain(plugin.Gate{NIC: "acme/a/n", Groups: web})), Members(domain(plugin.Gate{NIC: "acme/a/n", Groups: &more})))
	if e := c.Exposed(); len(e) != 1 || e[0] != "nic/acme/a/n:81/tcp" {
		t.Errorf("exposed %q", e)
	}
	c = Compare(nil, Members(domain(plugin.Gate{NIC: "acme/a/n", Groups: &model.Groups{}})))
	if len(c.Added) > 0 {
		t.Errorf("nothing is open, but %v", c.Added)
	}
}
