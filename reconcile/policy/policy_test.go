package policy

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"

	"weft.dev/schema"
)

var update = flag.Bool("update", false, "write the goldens anew")

// TestCases judges the trees of testdata/*.txtar: files below base/ are the tree before, those below
// builtin/ the built-in policies; the golden is what is said, in the last file.
func TestCases(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			last := len(a.Files) - 1
			got := judgeArchive(t, a.Files[:last])
			if *update {
				a.Files[last].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if want := string(a.Files[last].Data); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func judgeArchive(t *testing.T, files []txtar.File) string {
	t.Helper()
	parts := map[string]fstest.MapFS{"head": {}, "base": {}, "builtin": {}}
	for _, f := range files {
		part, name, ok := strings.Cut(f.Name, "/")
		if !ok || parts[part] == nil {
			part, name = "head", f.Name
		}
		parts[part][name] = &fstest.MapFile{Data: f.Data}
	}
	head := parse(t, parts["head"])
	var base *schema.Tree
	if len(parts["base"]) > 0 {
		base = parse(t, parts["base"])
	}
	rules := Of(head, Options{Builtin: parse(t, parts["builtin"]).Documents, Today: day(t, "2026-06-01")})
	ds := append(rules.Diags, Diags(rules.Objects(base))...)
	ds.Sort()
	var b strings.Builder
	for i := range ds {
		fmt.Fprintf(&b, "[%s]\n", ds[i].Code)
		_ = ds[i:i+1].Render(&b, head.Source, false)
		b.WriteString("\n")
	}
	return b.String()
}

func parse(t testing.TB, files fs.FS) *schema.Tree {
	t.Helper()
	tree, ds := schema.Parse(files, nil)
	if ds.HasErrors() {
		t.Fatal(ds[0].String(), ds[0].Hint)
	}
	return tree
}

func day(t *testing.T, s string) schema.Date {
	t.Helper()
	d, err := schema.ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const head = "---\napiVersion: weft.dev/v1alpha1\n"

// policyOf is a document of a policy over one kind.
func policyOf(name, kind, expression string) string {
	return fmt.Sprintf("%skind: Policy\nmetadata: {name: %s}\nspec: {match: {kinds: [%s]}, message: refused, expression: %q}\n", head, name, kind, expression)
}

const things = head + `kind: PublicIP
metadata: {name: vip, account: acme, labels: {tier: front}, annotations: {example.org/owner: ann}}
spec:
  network: beta/web
  address: 203.0.113.20
  portForwarding:
    - {name: http, protocol: tcp, ports: [80, "8000-8100"], to: {vm: web-1}, sources: [198.51.100.0/24]}
  firewall:
    - {name: http, protocol: tcp, ports: [80, "8000-8100"], sources: [0.0.0.0/0]}
    - {name: ping, protocol: icmp, icmpType: 8}
` + head + `kind: VirtualMachine
metadata: {name: vm, account: acme}
spec: {nics: [{network: web, mac: "02:00:4c:00:00:0b"}]}
` + head + `kind: PublicIPRange
metadata: {name: internet}
spec: {cidr: 203.0.113.0/24, gateway: 203.0.113.1, vlan: 50, ranges: ["203.0.113.10-203.0.113.250"]}
` + head + `kind: PhysicalNetwork
metadata: {name: fabric}
spec: {isolation: VXLAN, vnets: ["5000-5999", 7000], traffic: [{type: Guest, label: cloudbr1}]}
` + head + `kind: Host
metadata: {name: kvm1}
spec: {facts: {esp: false}, bridges: [{name: cloudbr0}]}
` + head + `kind: Network
metadata: {name: web, account: beta}
spec: {offering: x, leaseTime: 1h30m}
`

// TestExpressions: what expressions see of the language. Each is true of the only object of its kind.
func TestExpressions(t *testing.T) {
	for _, c := range []struct{ kind, expression string }{
		{"PublicIP", "object.id == 'publicip/acme/vip' && object.kind == 'PublicIP' && object.metadata.name == 'vip'"},
		{"PublicIP", "object.metadata.labels.tier == 'front' && !('x' in object.metadata.labels) && has(object.metadata.annotations)"},
		{"PublicIP", "object.spec.network == 'beta/web' && object.spec.address == '203.0.113.20' && object.spec.range == ''"},
		{"PublicIP", "!has(object.spec.staticNat) && object.spec.staticNat.vm == '' && object.spec.staticNat == null && !object.spec.sourceNat"},
		{"PublicIP", "has(object.spec.portForwarding[0].to) && object.spec.portForwarding[0].to != null && object.spec.portForwarding[0].to.vm == 'web-1'"},
		{"PublicIP", "object.spec.firewall[0].ports[1].from == 8000 && object.spec.firewall[0].ports[1].to == 8100"},
		{"PublicIP", "object.spec.firewall[0].ports.includes(80) && object.spec.firewall[0].ports.includes(8050) && !object.spec.firewall[0].ports.includes(81)"},
		{"PublicIP", "object.spec.firewall[1].ports.includes(22) && size(object.spec.firewall[1].ports) == 0"},
		{"PublicIP", "object.spec.firewall[0].icmpType == null && object.spec.firewall[1].icmpType == 8"},
		{"PublicIP", "isWorld(object.spec.firewall[0].sources) && isWorld(object.spec.firewall[1].sources) && !isWorld(object.spec.portForwarding[0].sources)"},
		{"PublicIP", "isWorld('128.0.0.0/1') && isWorld('::/0') && !isWorld('10.0.0.0/8') && !isWorld('2001:db8::/32') && isWorld('0.0.0.0/7')"},
		{"PublicIP", "isPrivate('10.1.2.3') && isPrivate('192.168.0.0/16') && isPrivate('172.16.0.1-172.31.255.255') && isPrivate('fd00::/8') && !isPrivate('172.0.0.0/8') && !isPrivate('9.9.9.9')"},
		{"PublicIP", "overlap('10.1.0.0/16', '10.1.5.1') && overlap('10.0.0.1-10.0.0.9', '10.0.0.9-10.0.1.0') && !overlap('10.0.0.0/24', '10.0.1.0/24') && !overlap('0.0.0.0/0', '::/0')"},
		{"PublicIP", "cidr('203.0.113.0/24').containsIP(object.spec.address) && ip(object.spec.address).family() == 4"},
		{"PublicIP", "old == null && object.spec.portForwarding.all(f, f.to.vm.startsWith('web-') && f.toPorts == [])"},
		{"PublicIP", "object.find('network', object.spec.network).spec.offering == 'x' && object.find('Network', 'gone') == null && object.find('host', 'kvm1').kind == 'Host'"},
		{"PublicIP", "object.find('vm', 'vm').metadata.account == 'acme' && object.find('network', '') == null"},
		{"VirtualMachine", "object.spec.nics[0].antiSpoof && object.spec.nics[0].mac == '02:00:4c:00:00:0b' && object.spec.nics[0].link == 'Up' && object.spec.nics[0].rate == null"},
		{"VirtualMachine", "object.spec.state == 'Running' && object.spec.password == '' && object.spec.userData == '' && !has(object.spec.password)"},
		{"PublicIPRange", "object.spec.vlan == 'vlan://50' && object.spec.cidr == '203.0.113.0/24' && overlap(object.spec.ranges[0], object.spec.cidr)"},
		{"PhysicalNetwork", "object.spec.vnets[0].to == 5999 && object.spec.vnets[1].from == 7000 && object.spec.mtu == 1500 && !has(object.spec.vxlan) && object.spec.vxlan == null"},
		{"Host", "object.spec.facts.esp == false && object.spec.facts.wireguard == null && has(object.spec.facts) && object.spec.routers.weight == 1"},
		{"Network", "object.spec.leaseTime == duration('90m') && object.spec.mtu == 0 && !has(object.spec.mtu) && object.spec.reserved == []"},
		{"Network, PublicIP", "object.kind == 'Network' ? object.spec.offering == 'x' : has(object.spec.firewall) && !has(object.spec.offering)"},
		{"PublicIP", "object == object && object.spec.firewall[0] == object.spec.firewall[0] && object.spec.firewall[0] != object.spec.firewall[1]"},
		{"PublicIP", "cel.bind(x, object.spec.firewall, size(x) == 2) && math.greatest(1, 2) == 2 && sets.contains([1, 2], [1]) && 'a-b'.split('-')[0] == 'a'"},
	} {
		tree := parse(t, fstest.MapFS{"a.yaml": {Data: []byte(things + policyOf("p", c.kind, c.expression))}})
		rules := Of(tree, Options{})
		for _, d := range append(rules.Diags, Diags(rules.Objects(nil))...) {
			t.Errorf("%s: %s", c.expression, d.String())
		}
		no := Of(parse(t, fstest.MapFS{"a.yaml": {Data: []byte(things + policyOf("p", c.kind, "!("+c.expression+")"))}}), Options{})
		if len(no.Objects(nil)) == 0 {
			t.Errorf("%s is true and its contrary too", c.expression)
		}
	}
}

// TestMapsHaveAnOrder: what an expression makes of a map is the same every time.
func TestMapsHaveAnOrder(t *testing.T) {
	const host = head + `kind: Host
metadata: {name: kvm1, labels: {i: x, c: x, h: x, a: x, j: x, e: x, b: x, g: x, d: x, f: x, l: x, k: x}}
spec: {bridges: [{name: cloudbr0}]}
`
	text := host + policyOf("p", "Host", "object.metadata.labels.map(k, k).join() == 'abcdefghijkl' && object.metadata.labels == object.metadata.labels && size(object.metadata.labels) == 12")
	for _, f := range Of(parse(t, fstest.MapFS{"a.yaml": {Data: []byte(text)}}), Options{}).Objects(nil) {
		t.Error(f.Diag.String())
	}
}

// TestSecretsAreHidden: no expression sees a secret, nor whether one changed.
func TestSecretsAreHidden(t *testing.T) {
	for _, s := range []struct{ kind, field string }{{"VirtualMachine", "userData"}, {"VirtualMachine", "password"}} {
		f := allShapes().of(schema.SpecType(s.kind)).fields[s.field]
		if f == nil || !f.secret {
			t.Errorf("%s.%s is not secret", s.kind, s.field)
		}
	}
	doc := func(data string) *schema.Document {
		return &schema.Document{Kind: schema.KindVirtualMachine, Meta: schema.Metadata{Name: "vm", Account: "a"}, Spec: &schema.VirtualMachine{
			UserData: data, Password: &schema.Secret{SecretFile: "/etc/weft/pw"},
		}}
	}
	a, b := object(doc("hunter2"), &schema.Tree{}, true), object(doc("hunter3"), &schema.Tree{}, true)
	for _, name := range []string{"userData", "password"} {
		if got := a.field("spec").(*record).field(name); fmt.Sprint(got) != hidden {
			t.Errorf("%s is %v", name, got)
		}
	}
	if fmt.Sprint(a.Equal(b)) != "true" {
		t.Error("a secret makes two objects differ")
	}
}

// TestHostile: whatever an expression does, it ends, and says so.
func TestHostile(t *testing.T) {
	loop := "object.spec.firewall"
	list := "[" + strings.Repeat("1,", 200) + "1]"
	for name, c := range map[string]struct{ expression, want string }{
		"nested loops":  {fmt.Sprintf("%[1]s.all(a, %[1]s.all(b, %[1]s.all(c, %[1]s.all(d, a+b+c+d > 0))))", list), "costs too much"},
		"growing text":  {list + ".map(a, 'x').map(a, a+a+a+a+a+a+a+a).map(a, a+a+a+a+a+a+a+a).map(a, a+a+a+a+a+a+a+a).map(a, a+a+a+a+a+a+a+a).map(a, a+a+a+a+a+a+a+a).map(a, a+a+a+a+a+a+a+a) == []", "costs too much"},
		"too long":      {"true" + strings.Repeat(" && true", 2000), "size"},
		"too deep":      {strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500), "recursion"},
		"by zero":       {"1 / size(object.spec.range) == 1", "cannot be judged: division by zero"},
		"no such item":  {loop + "[7].name == 'x'", "cannot be judged"},
		"bad address":   {"ip(object.spec.network) == ip('::1')", "cannot be judged"},
		"bad pattern":   {"'a'.matches('(')", "error parsing regexp"},
		"old is null":   {"old.spec.network == ''", "cannot be judged: no such key: spec of null"},
		"makes objects": {"weft.PublicIP{range: 'x'} == object.spec", "cannot"},
	} {
		tree := parse(t, fstest.MapFS{"a.yaml": {Data: []byte(things + policyOf("p", "PublicIP", c.expression))}})
		rules := Of(tree, Options{})
		ds := append(rules.Diags, Diags(rules.Objects(nil))...)
		if len(ds) == 0 || !ds.HasErrors() || !strings.Contains(ds[0].Message, c.want) {
			t.Errorf("%s: %v, want %q", name, ds, c.want)
		}
	}
}

// TestCostOfTree: what is cheap once is too dear for every object of a large tree, whoever comes first.
func TestCostOfTree(t *testing.T) {
	tree := parse(t, cloud(3000, policyOf("dear", "VirtualMachine", "["+strings.Repeat("1,", 250)+"1].all(a, [1,2,3,4,5,6,7,8,9].all(b, a < b + 100))")+policyOf("also", "VirtualMachine", "false")))
	for range 3 {
		found := Of(tree, Options{}).Objects(nil)
		said := map[string]int{}
		for _, f := range found {
			said[f.Policy]++
		}
		if said["dear"] != 1 || said["also"] != maxFindings+1 {
			t.Fatal(said)
		}
	}
}

// TestPlan: policies over the plan.
func TestPlan(t *testing.T) {
	c := &Change{
		Destroy: 5, Hosts: []HostChange{{Name: "kvm1", Destroy: 5, Observed: 10}}, Exposed: []string{"203.0.113.20:22/tcp"},
		Actions: []Action{{Host: "kvm1", Owner: "network/acme/web", Kind: "ovs.port", Name: "p", Verb: "delete", Phase: "trash"}},
	}
	text := policyOf("few", "Plan", "plan.destroy < 5") + policyOf("fine", "Plan", "plan.hosts.all(h, h.observed > h.destroy) && plan.lost == []") +
		policyOf("no-trash", "Plan", "plan.actions.all(a, a.phase != 'trash')") + policyOf("broken", "Plan", "plan.hosts[1].name == ''") +
		policyOf("objects", "Host", "false") +
		strings.Replace(policyOf("excepted", "Plan", "false"), "message: refused", "message: refused, exceptions: [{object: plan, owner: ann, until: 2026-06-01}]", 1)
	rules := Of(parse(t, fstest.MapFS{"a.yaml": {Data: []byte(text)}}), Options{Today: day(t, "2026-06-01")})
	var got []string
	for _, f := range rules.Plan(c) {
		got = append(got, fmt.Sprint(f.Policy, " ", f.Deny, " ", f.Diag.Line > 0))
	}
	if want := "few true true, no-trash true true, broken true true"; strings.Join(got, ", ") != want {
		t.Errorf("%q, want %q: %v", strings.Join(got, ", "), want, rules.Diags)
	}
}

// cloud is a tree of n machines, 100 to a file, and policies.
func cloud(n int, policies string) fstest.MapFS {
	tree := fstest.MapFS{"policies.yaml": {Data: []byte(policies)}}
	for i := 0; i < n; {
		var b strings.Builder
		for j := 0; j < 100 && i < n; j++ {
			fmt.Fprintf(&b, "%skind: VirtualMachine\nmetadata: {name: vm-%d, account: acme}\nspec: {host: kvm1, nics: [{network: net-%d, ip: 10.1.%d.%d}]}\n", head, i, i/10, i/250%250, i%250+2)
			i++
		}
		tree[fmt.Sprintf("vms-%05d.yaml", i/100)] = &fstest.MapFile{Data: []byte(b.String())}
	}
	return tree
}

// BenchmarkObjects judges 100,000 machines: by no policy of their kind, and by ten that all of them meet.
func BenchmarkObjects(b *testing.B) {
	ten := ""
	for i := range 10 {
		ten += policyOf(fmt.Sprintf("p%d", i), "VirtualMachine", fmt.Sprintf("object.spec.nics.all(n, n.antiSpoof) && object.spec.host != 'gone-%d'", i))
	}
	for name, text := range map[string]string{"none": policyOf("p", "Pod", "false"), "ten": ten} {
		tree := parse(b, cloud(100_000, text))
		rules := Of(tree, Options{})
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if found := rules.Objects(nil); len(found) > 0 {
					b.Fatal(found[0].Diag.String())
				}
			}
		})
	}
}

// BenchmarkOf is what it costs to read ten policies.
func BenchmarkOf(b *testing.B) {
	ten := ""
	for i := range 10 {
		ten += policyOf(fmt.Sprintf("p%d", i), "VirtualMachine", "object.spec.nics.all(n, n.antiSpoof)")
	}
	tree := parse(b, fstest.MapFS{"a.yaml": {Data: []byte(ten)}})
	for b.Loop() {
		Of(tree, Options{})
	}
}
