package plugin

import (
	"slices"
	"testing"

	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// TestReach: only NICs that run and whose link is up are in a domain or watched.
func TestReach(t *testing.T) {
	nic := func(id, link string, running bool) *model.NIC {
		return &model.NIC{ID: id, Spec: &schema.NIC{Link: link}, Running: running, Groups: &model.Groups{Key: "acme/web"}}
	}
	s := &model.Segment{NICs: []*model.NIC{nic("acme/a/n", "Up", true), nic("acme/b/n", "Down", true), nic("acme/c/n", "Up", false)}}
	d := NewDraft("network/acme/web", schema.Pos{})
	n := &model.Network{MTU: 1450, Spec: &schema.Network{}}
	d.Reach(n, s, Segment{Scheme: schema.SchemeVLAN, VNet: 100})
	if len(d.Domains) != 1 || d.Domains[0].MTU != 1450 || d.Domains[0].Segment.VNet != 100 {
		t.Fatalf("domains: %+v", d.Domains)
	}
	if got := d.Domains[0].NICs; !slices.Equal(got, []string{"acme/a/n"}) {
		t.Errorf("NICs: %v", got)
	}
	if got := d.Domains[0].Gates; len(got) != 1 || got[0].NIC != "acme/a/n" {
		t.Errorf("gates: %v", got)
	}
	// Promiscuous ports have the primary as their secondary VLAN.
	for typ, want := range map[string]Private{"Promiscuous": {}, "Isolated": {Secondary: 201}, "Community": {Secondary: 201, Community: true}} {
		n.Spec.PVLAN, s.VNet, s.Secondary = &schema.PVLAN{Type: typ}, 100, 201
		if typ == "Promiscuous" {
			s.Secondary = 100
		}
		d.Domains = nil
		if d.Reach(n, s, Segment{}); d.Domains[0].Private != want {
			t.Errorf("%s: %+v", typ, d.Domains[0].Private)
		}
	}
}
