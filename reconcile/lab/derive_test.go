package lab

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"testing/fstest"

	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

const cloud = `
apiVersion: weft.dev/v1alpha1
kind: Zone
metadata: {name: zone1}
spec: {networkType: Advanced, dns: [9.9.9.9]}
---
apiVersion: weft.dev/v1alpha1
kind: PhysicalNetwork
metadata: {name: guest-fabric}
spec:
  isolation: VXLAN
  vnets: ["5000-5999"]
  mtu: 1600
  traffic: [{type: Guest, label: cloudbr1}]
  providers: [VirtualRouter]
---
apiVersion: weft.dev/v1alpha1
kind: PhysicalNetwork
metadata: {name: public-fabric}
spec:
  isolation: VLAN
  traffic: [{type: Public, label: cloudbr2}]
---
apiVersion: weft.dev/v1alpha1
kind: PublicIPRange
metadata: {name: internet}
spec: {physicalNetwork: public-fabric, vlan: "vlan://50", cidr: 203.0.113.0/24, gateway: 203.0.113.1, ranges: ["203.0.113.10-203.0.113.250"]}
---
apiVersion: weft.dev/v1alpha1
kind: Host
metadata: {name: kvm1}
spec:
  bridges:
    - {name: cloudbr1, uplinks: [eth1], address: 192.168.50.11/24, gateway: 192.168.50.1, routes: [{cidr: 10.99.0.0/16, via: 192.168.50.2}]}
    - {name: cloudbr2, manage: Use, uplinks: [eth2]}
---
apiVersion: weft.dev/v1alpha1
kind: Host
metadata: {name: kvm2}
spec: {bridges: [{name: cloudbr1, uplinks: [eth1], address: 192.168.50.12/24}]}
---
apiVersion: weft.dev/v1alpha1
kind: Account
metadata: {name: acme}
spec: {}
---
apiVersion: weft.dev/v1alpha1
kind: NetworkOffering
metadata: {name: with-dhcp}
spec: {guestType: Isolated, services: {Dhcp: VirtualRouter, Dns: VirtualRouter, SourceNat: VirtualRouter}}
---
apiVersion: weft.dev/v1alpha1
kind: NetworkOffering
metadata: {name: bare}
spec: {guestType: Isolated, services: {Gateway: VirtualRouter}}
---
apiVersion: weft.dev/v1alpha1
kind: Network
metadata: {name: web, account: acme}
spec: {offering: with-dhcp, cidr: 10.1.1.0/24, dns: [1.1.1.1]}
---
apiVersion: weft.dev/v1alpha1
kind: Network
metadata: {name: bare, account: acme}
spec: {offering: bare, cidr: 10.2.2.0/24, guestDNS: [10.2.2.53], networkDomain: bare.test}
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: two, account: acme}
spec:
  host: kvm1
  nics:
    - {network: web, ip: 10.1.1.11, mac: "02:00:00:00:00:0b", interface: tap-two}
    - {network: bare, name: back, ip: 10.2.2.11, mac: "02:00:00:00:00:0c", default: true}
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: anywhere, account: acme}
spec: {hostname: db, nics: [{network: web, ip: 10.1.1.12, mac: "02:00:00:00:00:0d"}]}
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: stopped, account: acme}
spec: {host: kvm1, state: Stopped, nics: [{network: web, ip: 10.1.1.13, mac: "02:00:00:00:00:0e"}]}
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: unnumbered, account: acme}
spec: {host: kvm1, nics: [{network: web}]}
`

// none is a lock without numbers.
type none struct{}

func (none) Number(owner, field string) string { return "" }

func derive(t *testing.T, last Spec) Spec {
	t.Helper()
	return deriveFrom(t, cloud, last)
}

func deriveFrom(t *testing.T, text string, last Spec) Spec {
	t.Helper()
	tree, diags := schema.Parse(fstest.MapFS{"cloud.yaml": {Data: []byte(text)}}, nil)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	site, diags := model.BuildSite(tree, nil, nil)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var index model.Index
	for _, d := range tree.Documents {
		index.Add(d)
	}
	var networks []*model.Network
	for _, d := range index.Networks() {
		n, diags := model.Resolve(site, &index, d, none{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		networks = append(networks, n)
	}
	return SpecOf(site, networks, nil, last)
}

func TestSpecOf(t *testing.T) {
	const want = `{
  "hosts": [
    {
      "name": "kvm1",
      "bridges": [
        {
          "name": "cloudbr1",
          "wire": "zone1/cloudbr1",
          "manage": "Create",
          "uplinks": ["eth1"],
          "address": "192.168.50.11/24",
          "gateway": "192.168.50.1",
          "routes": [{"to": "10.99.0.0/16", "via": "192.168.50.2"}]
        },
        {"name": "cloudbr2", "wire": "zone1/cloudbr2", "manage": "Use", "uplinks": ["eth2"]}
      ],
      "agent": ["weft", "agent", "--host", "kvm1", "--repo", "/run/lab/repo.git", "--branch", "main"]
    },
    {
      "name": "kvm2",
      "bridges": [{"name": "cloudbr1", "wire": "zone1/cloudbr1", "manage": "Create", "uplinks": ["eth1"], "address": "192.168.50.12/24"}],
      "agent": ["weft", "agent", "--host", "kvm2", "--repo", "/run/lab/repo.git", "--branch", "main"]
    }
  ],
  "wires": [{"name": "zone1/cloudbr1", "mtu": 1600}, {"name": "zone1/cloudbr2", "mtu": 1500}],
  "ranges": [{"name": "internet", "wire": "zone1/cloudbr2", "vlan": 50, "gateways": ["203.0.113.1/24"]}],
  "vms": [
    {
      "name": "acme/anywhere", "host": "HASH", "hostname": "db",
      "nics": [{"name": "web", "mac": "02:00:00:00:00:0d", "dhcp": true, "default": true}]
    },
    {
      "name": "acme/two", "host": "kvm1", "hostname": "two",
      "nics": [
        {"name": "web", "mac": "02:00:00:00:00:0b", "interface": "tap-two", "dhcp": true},
        {"name": "back", "mac": "02:00:00:00:00:0c", "default": true, "addresses": ["10.2.2.11/24"], "gateway": "10.2.2.1", "dns": ["10.2.2.53"], "domain": "bare.test", "mtu": 1500}
      ]
    }
  ],
  "world": ["8.8.8.8", "198.51.100.5", "198.51.100.6", "2001:4860:4860::8888"],
  "dns": ["1.1.1.1", "9.9.9.9"]
}`
	got := derive(t, Spec{})
	if err := got.Check(); err != nil {
		t.Error(err)
	}
	if len(got.VMs) != 2 || (got.VMs[0].Host != "kvm1" && got.VMs[0].Host != "kvm2") {
		t.Fatalf("guests: %+v", got.VMs)
	}
	if got.VMs[0].Host != pick("acme/anywhere", []string{"kvm2", "kvm1"}) {
		t.Error("the order of hosts decides where a guest goes")
	}
	got.VMs[0].Host = "HASH"
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got %s\nwant %s", text, want)
	}
	var back Spec
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, got) {
		t.Errorf("a Spec does not survive JSON: %v\n%+v", err, back)
	}
}

func TestSpecOfKeepsWhatCannotBeJudged(t *testing.T) {
	old := VM{Name: "acme/unnumbered", Host: "kvm1", NICs: []NIC{{Name: "web", MAC: "02:00:00:00:00:09"}}}
	got := derive(t, Spec{VMs: []VM{old, {Name: "acme/stopped", Host: "kvm1"}}})
	if len(got.VMs) != 3 || !reflect.DeepEqual(got.VMs[2], old) {
		t.Errorf("guests: %+v, want the one without numbers as it was and the stopped one gone", got.VMs)
	}
}

func TestPickMovesFewGuests(t *testing.T) {
	moved := 0
	for i := range 100 {
		name := "acme/vm" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		before, after := pick(name, []string{"kvm1", "kvm2"}), pick(name, []string{"kvm1", "kvm2", "kvm3"})
		if after != before {
			moved++
			if after != "kvm3" {
				t.Errorf("%s went from %s to %s when kvm3 came", name, before, after)
			}
		}
	}
	if moved == 0 || moved > 60 {
		t.Errorf("%d of 100 guests moved to a third host", moved)
	}
}

func TestMachineOf(t *testing.T) {
	for to, want := range map[string]string{"10.99.0.0/16": "10.99.0.1", "10.99.7.8/32": "10.99.7.8"} {
		if got := machineOf(netip.MustParsePrefix(to)); got.String() != want {
			t.Errorf("behind %s is %s, want %s", to, got, want)
		}
	}
}
