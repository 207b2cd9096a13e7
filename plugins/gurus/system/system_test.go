package system

import (
	"testing"
	"testing/fstest"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/compile"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/schema"
)

const tree = `
apiVersion: weft.dev/v1alpha1
kind: Zone
metadata: {name: zone1}
spec: {networkType: Advanced}
---
apiVersion: weft.dev/v1alpha1
kind: PhysicalNetwork
metadata: {name: fabric}
spec:
  isolation: VLAN
  vnets: ["100-199"]
  traffic: [{type: Guest, label: cloudbr1}, {type: Management, label: cloudbr0}, {type: Storage, label: cloudbr2}]
---
apiVersion: weft.dev/v1alpha1
kind: Host
metadata: {name: kvm1}
spec: {bridges: [{name: cloudbr0}, {name: cloudbr1}, {name: cloudbr2}]}
---
apiVersion: weft.dev/v1alpha1
kind: Host
metadata: {name: kvm2}
spec: {bridges: [{name: cloudbr0}, {name: cloudbr1}]}
---
apiVersion: weft.dev/v1alpha1
kind: Host
metadata: {name: kvm3}
spec: {state: Disabled}
`

func diags(t *testing.T, gurus []plugin.System) []string {
	t.Helper()
	parsed, ds := schema.Parse(fstest.MapFS{"a.yaml": {Data: []byte(tree)}}, nil)
	if len(ds) > 0 {
		t.Fatal(ds[0].String())
	}
	r := compile.New(plugin.Registry{Gurus: []plugin.Guru{plugintest.Silent{}}, System: gurus}).Update(parsed, nil, nil)
	var out []string
	for _, d := range r.Diags {
		out = append(out, d.String())
	}
	return out
}

// A label that a host lacks is reported for the traffic that goes through it, but
// not of hosts that are frozen.
func TestLabels(t *testing.T) {
	got := diags(t, Gurus())
	if len(got) != 1 || got[0] != "a.yaml:22:18: warning: host kvm2 has no bridge cloudbr2, which Storage traffic of physical network fabric goes through" {
		t.Errorf("got %q", got)
	}
}

// Each traffic type of hosts has exactly one guru; without it, or with two, that is
// a diagnostic that names why.
func TestOne(t *testing.T) {
	for _, traffic := range []string{model.TrafficManagement, model.TrafficStorage, model.TrafficControl} {
		n := 0
		for _, g := range Gurus() {
			if g.CanHandle(&model.PhysicalNetwork{}, traffic) == "" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d gurus claim %s traffic", n, traffic)
		}
	}
	if got := diags(t, []plugin.System{PodBased{}, Control{}}); len(got) != 1 || got[0] != "a.yaml:13:12: error: no guru serves Storage traffic of physical network fabric" {
		t.Errorf("without StorageNetworkGuru: %q", got)
	}
	if got := diags(t, append(Gurus(), Storage{})); len(got) != 2 || got[0] != "a.yaml:13:12: error: several gurus serve Storage traffic of physical network fabric: StorageNetworkGuru, StorageNetworkGuru" {
		t.Errorf("with two: %q", got)
	}
}
