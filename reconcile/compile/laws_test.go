package compile

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/compile/cloudgen"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// same fails unless both results say the same of everything.
func same(t *testing.T, what string, got, want *Result) {
	t.Helper()
	if !slices.Equal(got.Hosts(), want.Hosts()) {
		t.Fatalf("%s: hosts %v, want %v", what, got.Hosts(), want.Hosts())
	}
	for _, h := range got.Hosts() {
		a, b := got.Intent(h), want.Intent(h)
		if a.Fingerprint() != b.Fingerprint() {
			t.Fatalf("%s: host %s:\n%s\nwant:\n%s", what, h, show(a), show(b))
		}
		for _, f := range a.Fragments {
			again := resource.NewFragment(f.Owner, f.Entries())
			if again.Print != f.Print || again.Len() != f.Len() || !slices.Equal(again.Marks(), f.Marks()) {
				t.Fatalf("%s: host %s: %s is not the same when made again", what, h, f.Owner)
			}
		}
	}
	if a, b := showDiags(got.CheckLock()), showDiags(alloc.Check(want.Demands(), want.lock)); a != b {
		t.Fatalf("%s: the lock is judged\n%s\nwant:\n%s", what, a, b)
	}
	if a, b := showDiags(got.Diags), showDiags(want.Diags); a != b {
		t.Fatalf("%s: diagnostics:\n%s\nwant:\n%s", what, a, b)
	}
	if a, b := fmt.Sprint(got.Domains()), fmt.Sprint(want.Domains()); a != b {
		t.Fatalf("%s: domains %s, want %s", what, a, b)
	}
	a, b := got.Demands(), want.Demands()
	if len(a) != len(b) {
		t.Fatalf("%s: %d demands, want %d", what, len(a), len(b))
	}
	for i := range a {
		if a[i].Owner != b[i].Owner || a[i].Field != b[i].Field || a[i].Fixed != b[i].Fixed || a[i].Pool.Describe() != b[i].Pool.Describe() || a[i].Pos != b[i].Pos {
			t.Fatalf("%s: demand %+v, want %+v", what, a[i], b[i])
		}
	}
}

func show(in *resource.Intent) string {
	var b strings.Builder
	fmt.Fprintf(&b, "frozen %q\n", in.Frozen)
	for _, h := range in.Holds {
		fmt.Fprintf(&b, "hold %s %s %s\n", h.Owner, h.Cause, h.Reason)
	}
	for _, f := range in.Fragments {
		fmt.Fprintf(&b, "%s %x\n", f.Owner, f.Print)
		for _, e := range f.Entries() {
			fmt.Fprintf(&b, "  %s %x\n", e.State.ID(), e.State.Fingerprint())
		}
	}
	return b.String()
}

func showDiags(ds schema.Diags) string {
	var b strings.Builder
	for _, d := range ds {
		b.WriteString(d.String() + " " + d.Hint)
		for _, n := range d.Related {
			b.WriteString(" :: " + n.Pos.String() + n.Message)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// edits change the files of a small cloud; each may leave mistakes.
var edits = []func(rnd *rand.Rand, s cloudgen.Size, files map[string]string){
	func(rnd *rand.Rand, s cloudgen.Size, files map[string]string) { // come back, or a new network
		n := rnd.IntN(s.Networks + 3)
		files[cloudgen.NetworkFile(s, n)] = cloudgen.Network(s, n)
	},
	func(rnd *rand.Rand, s cloudgen.Size, files map[string]string) {
		delete(files, cloudgen.NetworkFile(s, rnd.IntN(s.Networks)))
	},
	replace("state: Running", "state: Stopped"), replace("host: kvm0", "host: kvm1"), replace("host: kvm1", "hosts: [kvm0, kvm1]"),
	replace("host: kvm2", "pin: false"), replace("network: net", "network: nte"), replace("account: acc0", "account: acc9"),
	replace("    - network: net1", "    - ip: 10.1.1.9\n      network: net1"), replace("    - network: net", "    - mac: \"02:00:00:00:00:09\"\n      network: net"),
	replace("    - network: net", "    - interface: tap7\n      network: net"), replace("nics:", "nicks:"), replace("egress:", "egres:"),
	replace("offering: Default", "offering: Defaul"), replace("kind: Network\n", "kind: Netwrk\n"), replace("kind: VirtualMachine", "kind: VPC"),
	replace("physicalNetwork: z0-vxlan", "physicalNetwork: z0-gre"), replace("  zone: zone0\n", ""), replace("  egress:\n", "  cidr: 10.9.0.0/24\n  egress:\n"),
	replace("metadata: {name: net1,", "metadata: {name: net1, annotations: {weft.dev/suspend: \"true\"},"),
	replace("metadata: {name: kvm1, ", "metadata: {name: kvm1, annotations: {weft.dev/suspend: \"true\"}, "),
	replace("mtu: 1600", "mtu: 1500"), replace("10000-29999", "20000-29999"), replace("cloudbr1", "cloudbr2"), replace("dns: [9.9.9.9]", "dns: [1.1.1.1]"),
	replace("uplinks: [eth1]", "uplinks: [eth2]"), replace("kind: Host", "kind: Hots"), replace("zone: zone0", "zone: zone7"), replace("kind: Account\n", "kind: Acount\n"),
	replace("portForwarding:", "sourceNat: true\n  portForwarding:"), replace("to: {vm: vm", "to: {vm: vx"), replace("vlan: 50", "vlan: 60"), replace("network: net2\n", ""),
	replace("spec: {}", "spec: {vnets: {z0-vxlan: [\"10000-10999\"], z0-vlan: [\"100-200\"]}, vnetsFallback: false}"), replace("vnetsFallback: false", "vnetsFallback: true"),
	replace("dns: [9.9.9.9]", "dns: [9.9.9.9], gcWait: 10m"), replace("[\"10000-10999\"]", "[\"10500-29999\"]"), replace("spec: {}", "spec: {limits: {networks: 2, publicIPs: 3}}"), replace("networks: 2", "networks: 9"),
	replace("spec: {zone: zone0, vlan: 50", "spec: {account: acc0, zone: zone0, vlan: 50"), replace("spec: {account: acc0, zone", "spec: {account: acc1, zone"), replace("spec: {}", "spec: {publicIPFallback: false}"),
	func(_ *rand.Rand, _ cloudgen.Size, files map[string]string) { files["dual.yaml"] = dual },
	replace("offering: "+model.OfferingSourceNat, "offering: dual"), replace("networkType: Advanced", "ip6Prefix: \"2001:db8::/62\", networkType: Advanced"),
	replace("gateway: 100.", "ip6: {cidr: \"2001:db8:0:1::/64\", gateway: \"2001:db8:0:1::1\"}, gateway: 100."), replace("/62", "/61"),
	replace("  offering: dual\n", "  offering: dual\n  ip6: {mode: DHCPv6}\n"), replace("{mode: DHCPv6}", "{cidr: \"2001:db8:0:2::/64\"}"),
	func(_ *rand.Rand, _ cloudgen.Size, files map[string]string) { files["office.yaml"] = office },
	replace("mode: DHCPv6}, subnets", "mode: SLAAC}, subnets"), replace("2001:db8:f0:", "2001:db8:0:"), replace("db8:f0:1::2", "db8:f0:1::3"), replace("gateway: \"2001:db8:f0:1::9\"", "gateway: \"2001:db8:f0:1::8\""),
	replace(", ip6: {cidr: \"2001:db8:f0:2::/64\"}", ""), replace("vlan: 3001", "vlan: 3000"), replace("reserved: [", "reserved: [\"2001:db8:f0:1::8000:0/97\", "), replace(", secondaryIPs: [", ", secondaryIPs: [\"2001:db8:f0:1::5\", "),
	func(_ *rand.Rand, s cloudgen.Size, files map[string]string) { maps.Copy(files, cloudgen.Files(s)) },
}

// office are Shared networks with IPv6, one of which has two broadcast domains.
const office = `apiVersion: weft.dev/v1alpha1
kind: NetworkOffering
metadata: {name: office}
spec: {guestType: Shared, specifyVlan: true, specifyIPRanges: true, services: {Dhcp: VirtualRouter, Dns: VirtualRouter}}
---
apiVersion: weft.dev/v1alpha1
kind: Network
metadata: {name: office, account: acc0}
spec:
  zone: zone0
  physicalNetwork: z0-vlan
  offering: office
  reserved: [198.18.0.240/28]
  routerIPs: ["2001:db8:f0:1::2"]
  vlan: 3000
  ip6: {cidr: "2001:db8:f0:1::/64", gateway: "2001:db8:f0:1::9", mode: DHCPv6}
  subnets: [{name: a, cidr: 198.18.0.0/24}, {name: b, vlan: 3001, cidr: 198.18.1.0/24, ip6: {cidr: "2001:db8:f0:2::/64"}}]
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: desk, account: acc0}
spec: {zone: zone0, nics: [{network: office}]}
---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: printer, account: acc0}
spec: {zone: zone0, host: kvm1, nics: [{network: office, ip: 198.18.0.5, ip6: "2001:db8:f0:1::7", secondaryIPs: [198.18.0.6]}]}
`

// dual is an offering of dual stack networks.
const dual = `apiVersion: weft.dev/v1alpha1
kind: NetworkOffering
metadata: {name: dual}
spec:
  guestType: Isolated
  internetProtocol: DualStack
  services: {Dhcp: VirtualRouter, Dns: VirtualRouter, SourceNat: VirtualRouter, StaticNat: VirtualRouter, PortForwarding: VirtualRouter, Firewall: VirtualRouter}
`

func replace(old, new string) func(*rand.Rand, cloudgen.Size, map[string]string) {
	return func(rnd *rand.Rand, _ cloudgen.Size, files map[string]string) {
		names := slices.Sorted(maps.Keys(files))
		for range 30 {
			name := names[rnd.IntN(len(names))]
			if at := strings.Count(files[name], old); at > 0 {
				files[name] = strings.Replace(files[name], old, new, 1+rnd.IntN(at))
				return
			}
		}
	}
}

// TestIncrementalEqualsCold: after any edit a compiler that knows the tree before
// says what one says that knows nothing.
func TestIncrementalEqualsCold(t *testing.T) {
	steps := 150
	if testing.Short() {
		steps = 30
	}
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			incremental(t, seed, steps)
		})
	}
}

func incremental(t *testing.T, seed uint64, steps int) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	size := cloudgen.Size{Zones: 1 + int(seed%2), Hosts: 4, Networks: 6}
	files := cloudgen.Files(size)
	var cache schema.Cache
	c, own := New(fakes()), Only(fakes(), "kvm1")
	lock := lockFor(t, parse(files, &cache), nil)
	facts := map[string]model.Facts{}
	for step := range steps {
		edits[rnd.IntN(len(edits))](rnd, size, files)
		tree := parse(files, &cache)
		switch rnd.IntN(4) {
		case 0:
			lock, _, _ = alloc.Allocate(c.Update(tree, lock, facts).Demands(), lock, alloc.Options{})
		case 1:
			lock = spoil(rnd, lock)
		case 2:
			h := fmt.Sprintf("kvm%d", rnd.IntN(4))
			f := model.StockFacts()
			f.Instance = []string{"weft", "other"}[rnd.IntN(2)]
			facts[h] = f
		}
		got := c.Update(tree, lock, facts)
		want := New(fakes()).Update(tree, lock, facts)
		same(t, fmt.Sprintf("step %d", step), got, want)
		one := own.Update(tree, lock, facts)
		if a, b := one.Intent("kvm1"), want.Intent("kvm1"); a.Fingerprint() != b.Fingerprint() {
			t.Fatalf("step %d: for one host:\n%s\nwant:\n%s", step, show(a), show(b))
		}
	}
}

// spoil changes one line of a lock.
func spoil(rnd *rand.Rand, l *alloc.Lock) *alloc.Lock {
	lines := strings.SplitAfter(string(l.Marshal()), "\n")
	if len(lines) < 3 {
		return l
	}
	i, j := rnd.IntN(len(lines)-1), rnd.IntN(len(lines)-1)
	switch rnd.IntN(3) {
	case 0:
		lines = slices.Delete(lines, i, i+1)
	case 1:
		a, b := strings.Fields(lines[i]), strings.Fields(lines[j])
		lines[i] = a[0] + " " + a[1] + " " + b[2] + "\n"
	case 2:
		lines = slices.Insert(lines, i, lines[j])
	}
	out, _ := alloc.Parse(alloc.FileName, []byte(strings.Join(lines, "")), l)
	return out
}

// TestShuffled: the same documents in other files and another order give the same
// intents.
func TestShuffled(t *testing.T) {
	files := cloudgen.Files(cloudgen.Size{Networks: 12, Hosts: 6})
	tree := parse(files, nil)
	lock := lockFor(t, tree, nil)
	want := New(fakes()).Update(tree, lock, nil)
	if want.Diags.HasErrors() || len(want.Holds()) > 0 {
		t.Fatal("the cloud has mistakes")
	}
	var docs []string
	for _, text := range files {
		docs = append(docs, strings.Split(text, "---\n")...)
	}
	slices.Sort(docs)
	for seed := range uint64(5) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		rnd.Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
		other := map[string]string{}
		for i, d := range docs {
			other[fmt.Sprintf("f%d.yaml", i%7)] += "---\n" + d
		}
		tree := parse(other, nil)
		got := New(fakes()).Update(tree, lock, nil)
		for _, h := range want.Hosts() {
			if a, b := got.Intent(h), want.Intent(h); a.Fingerprint() != b.Fingerprint() {
				t.Fatalf("host %s:\n%s\nwant:\n%s", h, show(a), show(b))
			}
		}
		again, _, _ := alloc.Allocate(got.Demands(), nil, alloc.Options{})
		if string(again.Marshal()) != string(lock.Marshal()) {
			t.Fatal("the lock depends on the order of files")
		}
	}
}

// TestInsert: a new document changes neither the numbers nor the fragments of
// other owners.
func TestInsert(t *testing.T) {
	size := cloudgen.Size{Networks: 12, Hosts: 6}
	files := cloudgen.Files(size)
	lock := lockFor(t, parse(files, nil), nil)
	before := New(fakes()).Update(parse(files, nil), lock, nil)
	files["tenants/new.yaml"] = cloudgen.Network(size, 99)
	after := lockFor(t, parse(files, nil), lock)
	for _, e := range lock.Entries() {
		if after.Number(e.Owner, e.Field) != e.Value {
			t.Errorf("%s %s was %s, is %s", e.Owner, e.Field, e.Value, after.Number(e.Owner, e.Field))
		}
	}
	r := New(fakes()).Update(parse(files, nil), after, nil)
	for _, h := range before.Hosts() {
		for _, f := range before.Intent(h).Fragments {
			if !strings.HasPrefix(string(f.Owner), "host/") && r.Intent(h).Fragment(f.Owner).Print != f.Print {
				t.Errorf("%s changed on %s", f.Owner, h)
			}
		}
	}
}

// TestBreakOne: whatever one document of a tenant becomes, its owner's resources
// stay as they are: they are held, everybody else's fragments say what they said
// before, and what hosts share loses nothing.
func TestBreakOne(t *testing.T) {
	size := cloudgen.Size{Networks: 8, Hosts: 6, NICs: 4, Spread: 3}
	files := cloudgen.Files(size)
	tree := parse(files, nil)
	lock := lockFor(t, tree, nil)
	before := New(fakes()).Update(tree, lock, nil)
	for _, broken := range []struct{ kind, old, new string }{
		{"Network", "offering:", "ofering:"}, {"Network", "tcp", "tpc"}, {"Network", "spec:", "spec: ["}, {"Network", "offering: Default", "offering: Defaul"},
		{"Network", "action: Allow", "action: Deny"}, {"Network", "physicalNetwork: z0", "physicalNetwork: z9"},
		{"VirtualMachine", "nics:", "nicks:"}, {"VirtualMachine", "network: net", "network: nte"}, {"VirtualMachine", "zone: zone0", "zone: zone9"},
		{"VirtualMachine", "host: kvm", "host: vkm"}, {"VirtualMachine", "    - network: net", "    - interface: vnet0\n      network: net"},
		{"PublicIP", "portForwarding:", "portForward:"}, {"PublicIP", "network: net", "network: nte"}, {"PublicIP", "to: {vm: vm", "to: {vm: vv"},
	} {
		for n := range size.Networks {
			name := cloudgen.NetworkFile(size, n)
			docs := strings.Split(files[name], "---\n")
			for i, d := range docs {
				if !strings.Contains(d, "kind: "+broken.kind+"\n") || !strings.Contains(d, broken.old) {
					continue
				}
				now := maps.Clone(files)
				changed := slices.Clone(docs)
				changed[i] = strings.Replace(d, broken.old, broken.new, 1)
				now[name] = strings.Join(changed, "---\n")
				checkBroken(t, fmt.Sprintf("net%d %s: %s", n, broken.kind, broken.new), n, before, New(fakes()).Update(parse(now, nil), lock, nil))
			}
		}
	}
}

func checkBroken(t *testing.T, what string, n int, before, after *Result) {
	t.Helper()
	owner := resource.Owner(fmt.Sprintf("network/acc%d/net%d", n%2, n))
	for _, h := range before.Hosts() {
		was, is := before.Intent(h), after.Intent(h)
		if is.Frozen != "" {
			continue
		}
		if _, held := is.Held(owner); !held {
			t.Errorf("%s: %s is not held on %s", what, owner, h)
		}
		for _, f := range was.Fragments {
			if _, held := is.Held(f.Owner); held {
				continue
			}
			now := is.Fragment(f.Owner)
			if strings.HasPrefix(string(f.Owner), "host/") {
				for _, e := range f.Entries() {
					i := slices.IndexFunc(now.Entries(), func(x resource.Entry) bool { return x.State.ID() == e.State.ID() })
					if i < 0 || now.Entries()[i].State.Fingerprint() != e.State.Fingerprint() {
						t.Errorf("%s: %s lost %s", what, f.Owner, e.State.ID())
					}
				}
			} else if now == nil || now.Print != f.Print {
				t.Errorf("%s: %s changed on %s", what, f.Owner, h)
			}
		}
	}
}
