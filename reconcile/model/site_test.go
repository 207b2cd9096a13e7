package model_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"weft.dev/reconcile/compile/cloudgen"
	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// TestPointers: a zone's pointer changes exactly when something in it does.
func TestPointers(t *testing.T) {
	files := cloudgen.Files(cloudgen.Size{Zones: 2, Hosts: 4, Networks: 2})
	var cache schema.Cache
	build := func(facts map[string]model.Facts, prev *model.Site) *model.Site {
		fs := fstest.MapFS{}
		for name, text := range files {
			fs[name] = &fstest.MapFile{Data: []byte(text)}
		}
		tree, ds := schema.Parse(fs, &cache)
		if ds.HasErrors() {
			t.Fatal(ds[0].String())
		}
		site, ds := model.BuildSite(tree, facts, prev)
		if ds.HasErrors() {
			t.Fatal(ds[0].String())
		}
		return site
	}
	first := build(nil, nil)
	same := func(what string, site *model.Site, zone0, zone1 bool) {
		t.Helper()
		if (site.Zones["zone0"] == first.Zones["zone0"]) != zone0 || (site.Zones["zone1"] == first.Zones["zone1"]) != zone1 {
			t.Errorf("%s: wrong zones changed", what)
		}
		if site.Accounts["acc0"] != first.Accounts["acc0"] || site.Offerings[model.OfferingSourceNat] != first.Offerings[model.OfferingSourceNat] {
			t.Errorf("%s: an account or offering changed", what)
		}
	}
	edit := func(file, old, new string) func() {
		was := files[file]
		if !strings.Contains(was, old) {
			t.Fatal(file, "has no", old)
		}
		files[file] = strings.Replace(was, old, new, 1)
		return func() { files[file] = was }
	}
	same("nothing", build(nil, first), true, true)

	undo := edit("tenants/acc0/net0.yaml", "tcp", "udp")
	same("a network", build(nil, first), true, true)
	undo()
	undo = edit("infra/hosts/kvm1.yaml", "eth1", "eth2")
	now := build(nil, first)
	same("a host", now, true, false)
	if now.Hosts["kvm3"] != first.Hosts["kvm3"] || now.Hosts["kvm1"] == first.Hosts["kvm1"] {
		t.Error("the wrong host changed")
	}
	undo()
	for _, old := range []string{"gateway: 100.64.0.1", "mtu: 1600", "dns: [9.9.9.9]"} {
		undo = edit("infra/zone0.yaml", old, map[string]string{"g": "gateway: 100.64.0.2", "m": "mtu: 1700", "d": "dns: [1.1.1.1]"}[old[:1]])
		if now := build(nil, first); now.Zones["zone0"] == first.Zones["zone0"] {
			t.Errorf("%s: zone0 did not change", old)
		}
		undo()
	}
	f := model.StockFacts()
	f.STT = true
	same("facts", build(map[string]model.Facts{"kvm0": f}, first), false, true)
}

// TestIndex: what was added and removed again leaves no trace, and what was
// returned stays as it was.
func TestIndex(t *testing.T) {
	fs := fstest.MapFS{}
	for name, text := range cloudgen.Files(cloudgen.Size{Networks: 4}) {
		fs[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, _ := schema.Parse(fs, nil)
	var x model.Index
	for _, d := range tree.Documents {
		x.Add(d)
	}
	id := schema.ID{Kind: schema.KindNetwork, Account: "acc0", Name: "net0"}
	vms, ips := x.Members(id)
	if len(vms) != 3 || len(ips) != 1 || len(x.Networks()) != 4 || len(x.Dangling()) != 0 {
		t.Fatal(len(vms), len(ips), len(x.Networks()), x.Dangling())
	}
	x.Remove(x.Network(id))
	if d := x.Dangling(); len(d) != 1 || d[0] != id {
		t.Error(d)
	}
	for _, d := range vms {
		if ids := x.Remove(d); len(ids) != 1 || ids[0] != id {
			t.Error(ids)
		}
	}
	x.Remove(ips[0])
	if again, _ := x.Members(id); len(again) != 0 || len(x.Dangling()) != 0 || vms[0] == nil {
		t.Error("something is left")
	}
	for _, d := range tree.Documents {
		if d.Kind != schema.KindNetwork || d.ID() != id {
			x.Remove(d)
		}
	}
	if len(x.Networks()) != 0 {
		t.Error(x.Networks())
	}
}
