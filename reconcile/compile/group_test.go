package compile

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/plugin/pipeline"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// groupGuru writes what the groups of NICs let through, beside their ports.
type groupGuru struct{ fakeGuru }

func (g groupGuru) Design(n *model.Network, out *plugin.Draft) {
	g.fakeGuru.Design(n, out)
	for _, h := range n.Hosts {
		f := pipeline.Firewall{Segment: plugin.Segment{Scheme: n.Scheme, VNet: n.VNet}, Zone: n.CTZone}
		out.Flows(h.Name, 0, func(all *resource.Flows) {
			for _, nic := range n.NICs {
				if nic.Groups != nil && nic.Running {
					all.Join(f.Policy(nic.Groups, uint32(nic.MAC[4])<<8|uint32(nic.MAC[5])|1<<16))
				}
			}
		})
	}
}

type groupElement struct{ fakeElement }

func (groupElement) Name() string                            { return "SecurityGroupProvider" }
func (groupElement) Implement(*model.Network, *plugin.Draft) {}

func groupFakes() plugin.Registry {
	r := fakes()
	r.Gurus = []plugin.Guru{groupGuru{fakeGuru{name: "OvsGuestNetworkGuru"}}}
	r.Elements = append(r.Elements, groupElement{})
	return r
}

// groupCloud has two accounts, four networks of which one has no groups and one is
// in another zone, and groups that name each other.
func groupCloud() map[string]string {
	files := map[string]string{}
	doc := func(file, kind, meta, spec string) {
		files[file+".yaml"] = "apiVersion: weft.dev/v1alpha1\nkind: " + kind + "\nmetadata: {" + meta + "}\nspec: " + spec + "\n"
	}
	for i := range 2 {
		doc(fmt.Sprintf("zone%d", i), "Zone", fmt.Sprintf("name: z%d", i), "{networkType: Advanced, securityGroups: true}")
		doc(fmt.Sprintf("wire%d", i), "PhysicalNetwork", fmt.Sprintf("name: w%d", i), fmt.Sprintf("{zone: z%d, isolation: VLAN, vnets: [100-199], traffic: [{type: Guest, label: br%d}], providers: [SecurityGroupProvider, VirtualRouter]}", i, i))
		for j := range 2 {
			doc(fmt.Sprintf("host%d%d", i, j), "Host", fmt.Sprintf("name: h%d%d", i, j), fmt.Sprintf("{zone: z%d, bridges: [{name: br%d, uplinks: [eth1]}]}", i, i))
		}
		doc(fmt.Sprintf("account%d", i), "Account", fmt.Sprintf("name: a%d", i), fmt.Sprintf("{domain: root/d%d}", i))
	}
	doc("sg", "NetworkOffering", "name: sg", "{guestType: Shared, specifyIPRanges: true, specifyVlan: true, services: {SecurityGroup: SecurityGroupProvider}}")
	doc("plain", "NetworkOffering", "name: plain", "{guestType: Shared, specifyIPRanges: true, specifyVlan: true}")
	for i, offering := range []string{"sg", "sg", "plain", "sg"} {
		doc(fmt.Sprintf("net%d", i), "Network", fmt.Sprintf("name: n%d, account: a0", i), fmt.Sprintf("{zone: z%d, offering: %s, vlan: \"vlan://12%d\", cidr: 10.%d.0.0/24, ranges: [10.%d.0.10-10.%d.0.200], sharedWith: [a1]}", i/3, offering, i, i, i, i))
	}
	for i, groups := range []string{"", "[web]", "[db]", "", "[web, db]", "", "[a0/web]", ""} {
		if groups != "" {
			groups = ", securityGroups: " + groups
		}
		net := []int{0, 0, 1, 1, 3, 2, 0, 1}[i]
		ref := ""
		if i > 5 {
			ref = "a0/"
		}
		doc(fmt.Sprintf("vm%d", i), "VirtualMachine", fmt.Sprintf("name: v%d, account: a%d", i, i/6), fmt.Sprintf("{zone: z%d, host: h%d%d, nics: [{network: %sn%d%s}]}", net/3, net/3, i%2, ref, net, groups))
	}
	doc("gdefault", "SecurityGroup", "name: default, account: a0", "{ingress: [{name: ssh, protocol: tcp, ports: 22, sources: [0.0.0.0/0]}, {name: peers, protocol: all, groups: [default]}]}")
	doc("gweb", "SecurityGroup", "name: web, account: a0", "{ingress: [{name: http, protocol: tcp, ports: 80, sources: [0.0.0.0/0]}], sharedWith: [a1]}")
	doc("gdb", "SecurityGroup", "name: db, account: a0", "{ingress: [{name: sql, protocol: tcp, ports: 5432, groups: [web]}], egress: [{name: dns, protocol: udp, ports: 53, destinations: [10.0.0.0/8], groups: [a1/default]}]}")
	doc("gother", "SecurityGroup", "name: default, account: a1", "{ingress: [{name: all, protocol: icmp, groups: [a0/web]}], sharedWith: [domain/root/d0]}")
	return files
}

var groupEdits = []func(*rand.Rand, map[string]string){
	swap("state: Running", "state: Stopped"), swap("{zone: z0, host", "{state: Stopped, zone: z0, host"), swap("state: Stopped, ", ""),
	swap(", securityGroups: [web]", ""), swap("[web]", "[db]"), swap("[db]", "[default]"), swap("groups: [web]", "groups: [wbe]"), swap("ports: 80", "ports: [80, 443]"),
	swap("sharedWith: [a1]", "sharedWith: [\"*\"]"), swap(", sharedWith: [a1]", ""), swap("sharedWith: [domain", "sharedwith: [domain"), swap("domain: root/d0", "domain: root/d1"),
	swap("kind: SecurityGroup", "kind: SecurtyGroup"), swap("protocol: tcp", "protocol: tpc"), swap("offering: sg", "offering: plain"), swap("offering: plain", "offering: sg"),
	swap("securityGroups: true", "securityGroups: false"), swap("kind: VirtualMachine", "kind: VirtualMachin"), swap("nics:", "nicks:"), swap("network: n", "network: m"),
	swap("kind: Network\n", "kind: Netwok\n"), swap("egress: [{", "egress: [{name: more, protocol: all, destinations: [192.0.2.0/24]}, {"),
	swap("name: web, account: a0", "name: web, account: a0, annotations: {weft.dev/suspend: \"true\"}"), swap("name: v1", "name: v9"),
	swap("services: {SecurityGroup: SecurityGroupProvider}", "services: {}"), swap("name: a1}", "name: a2}"),
	swap("ranges: [10.0", "ip6: {cidr: \"2001:db8:0:1::/64\"}, ranges: [10.0"), swap("ranges: [10.1", "ip6: {cidr: \"2001:db8:0:2::/64\"}, ranges: [10.1"),
	swap("db8:0:1::/64", "db8:0:3::/64"), swap("db8:0:2::/64", "db8:0:1::/64"), swap("}, ranges", ", mode: DHCPv6}, ranges"), swap(", mode: DHCPv6", ""),
	swap("SecurityGroupProvider}}", "SecurityGroupProvider, Dhcp: VirtualRouter}}"), swap("{network: n1", "{secondaryIPs: [\"2001:db8:0:2::5\"], network: n1"),
	func(rnd *rand.Rand, files map[string]string) {
		names := slices.Sorted(maps.Keys(files))
		delete(files, names[rnd.IntN(len(names))])
	},
	func(_ *rand.Rand, files map[string]string) { maps.Copy(files, groupCloud()) },
	func(_ *rand.Rand, files map[string]string) { maps.Copy(files, groupCloud()) },
}

func swap(old, now string) func(*rand.Rand, map[string]string) {
	return func(rnd *rand.Rand, files map[string]string) {
		names := slices.Sorted(maps.Keys(files))
		rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names {
			if strings.Contains(files[name], old) {
				files[name] = strings.Replace(files[name], old, now, 1)
				return
			}
		}
	}
}

func groupLock(t *testing.T, tree *schema.Tree, old *alloc.Lock) *alloc.Lock {
	t.Helper()
	lock, _, _ := alloc.Allocate(New(groupFakes()).Update(tree, old, nil).Demands(), old, alloc.Options{})
	return lock
}

// TestGroupsIncrementalEqualsCold: whatever becomes of groups and their members,
// what is compiled is what one makes of it that knows nothing.
func TestGroupsIncrementalEqualsCold(t *testing.T) {
	steps := 200
	if testing.Short() {
		steps = 40
	}
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 11))
			files := groupCloud()
			if seed%2 == 1 { // groups come later
				maps.DeleteFunc(files, func(name, _ string) bool { return name[0] == 'g' })
			}
			var cache schema.Cache
			c := New(groupFakes())
			lock := groupLock(t, parse(files, &cache), nil)
			for step := range steps {
				groupEdits[rnd.IntN(len(groupEdits))](rnd, files)
				tree := parse(files, &cache)
				switch rnd.IntN(4) {
				case 0:
					lock = groupLock(t, tree, lock)
				case 1:
					lock = spoil(rnd, lock)
				}
				same(t, fmt.Sprintf("step %d", step), c.Update(tree, lock, nil), New(groupFakes()).Update(tree, lock, nil))
			}
		})
	}
}

// TestGroupChangeCompilesItsUsers: a change compiles those units again that it
// concerns, and no other.
func TestGroupChangeCompilesItsUsers(t *testing.T) {
	for _, c := range []struct {
		file, old, now string
		units          string // that are compiled again
	}{
		{"gdb.yaml", "ports: 5432", "ports: 5433", "network/a0/n1 network/a0/n3 securitygroup/a0/db"},
		{"gweb.yaml", "ports: 80", "ports: 81", "network/a0/n0 network/a0/n1 network/a0/n3 securitygroup/a0/db securitygroup/a0/web securitygroup/a1/default"},
		{"vm1.yaml", "host: h01", "host: h00", "network/a0/n0 network/a0/n1 network/a0/n3"}, // in web, which db names
		{"vm2.yaml", "host: h00", "host: h01", "network/a0/n1"},
		{"vm5.yaml", "host: h01", "host: h00", "network/a0/n0 network/a0/n1 network/a0/n2"}, // in default, as far as is known
		{"vm6.yaml", "host: h00", "host: h01", "network/a0/n0 network/a0/n1 network/a0/n3"},
	} {
		t.Run(c.file, func(t *testing.T) {
			files := groupCloud()
			var cache schema.Cache
			tree := parse(files, &cache)
			lock := groupLock(t, tree, nil)
			k := New(groupFakes())
			if r := k.Update(tree, lock, nil); r.Diags.HasErrors() || len(r.Holds()) > 0 {
				t.Fatalf("the cloud has mistakes:\n%s", showDiags(r.Diags))
			}
			before := maps.Clone(k.units)
			if !strings.Contains(files[c.file], c.old) {
				t.Fatalf("%s: %s", c.file, files[c.file])
			}
			files[c.file] = strings.Replace(files[c.file], c.old, c.now, 1)
			k.Update(parse(files, &cache), lock, nil)
			var got []string
			for id, u := range k.units {
				if before[id] != u {
					got = append(got, id.String())
				}
			}
			slices.Sort(got)
			if strings.Join(got, " ") != c.units {
				t.Errorf("compiled %v, want %s", got, c.units)
			}
		})
	}
}

// TestBrokenMemberHolds: who cannot be read may have been a member: the rules that name
// its groups stay as they are.
func TestBrokenMemberHolds(t *testing.T) {
	files := groupCloud()
	lock := groupLock(t, parse(files, nil), nil)
	before := New(groupFakes()).Update(parse(files, nil), lock, nil)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		kind := ""
		for _, k := range []string{"VirtualMachine", "Network", "SecurityGroup"} {
			if strings.Contains(files[name], "kind: "+k+"\n") {
				kind = k
			}
		}
		if kind == "" {
			continue
		}
		for _, broken := range [][2]string{{"kind: " + kind, "kind: x" + kind}, {"spec: {", "spec: {nonsense: 1, "}, {"network: ", "network: x"}} {
			if !strings.Contains(files[name], broken[0]) {
				continue
			}
			now := maps.Clone(files)
			now[name] = strings.Replace(now[name], broken[0], broken[1], 1)
			after := New(groupFakes()).Update(parse(now, nil), lock, nil)
			for _, h := range before.Hosts() {
				is := after.Intent(h)
				for _, f := range before.Intent(h).Fragments {
					if _, held := is.Held(f.Owner); held || is.Frozen != "" || strings.HasPrefix(string(f.Owner), "host/") {
						continue
					}
					if got := is.Fragment(f.Owner); got == nil || got.Print != f.Print {
						t.Errorf("%s: %s: %s changed on %s", name, broken[1], f.Owner, h)
					}
				}
			}
		}
	}
}
