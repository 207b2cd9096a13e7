package plugins_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"weft.dev/plugins"
	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/compile"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// edits are what a step may write instead of what an example says.
var edits = map[string][][2]string{
	"shared": {
		{"sharedWith: [domain/root/customers, beta]", "sharedWith: [domain/root/customers]"},
		{"sharedWith: [domain/root/customers, beta]", "sharedWith: [\"*\"]"},
		{"domain: root/customers/acme", "domain: root/acme"},
		{"name: new, cidr: 192.0.2.128/25", "name: new, vlan: vlan://121, cidr: 192.0.2.128/25"},
		{"cidr: 198.18.0.0/24", "cidr: 192.0.2.0/24"},
		{"routerIPs: [192.0.2.2]", "routerIPs: []"},
		{"gateway: 192.0.2.129", "gateway: 192.0.2.130"},
		{"vlan: vlan://130", "vlan: vlan://120"},
		{"ip: 192.0.2.150", "ip: 192.0.2.12"},
		{"host: kvm1", "host: kvm2"},
	},
	"l2-pvlan": {
		{"secondary: 202", "secondary: 201"},
		{"type: Community", "type: Isolated"},
		{"vlan: vlan://100, pvlan: {type: Isolated, secondary: 201}", "vlan: vlan://100, allowVlanOverlap: true"},
		{"offering: DefaultL2NetworkOffering}", "offering: DefaultL2NetworkOfferingVlan, vlan: 100}"},
		{"host: kvm1", "host: kvm2"},
		{"kind: Network\nmetadata: {name: team,", "kind: Network\nmetadata: {name: crew,"},
		{"nics: [{network: team}]", "nics: [{network: team}, {network: tenants}]"},
	},
	"basic-zone": {
		{"pod: rack1, bridges", "pod: rack2, bridges"},
		{"pod: rack2, nics", "pod: rack1, nics"},
		{"{name: two, pod: rack2,", "{name: two, pod: rack1,"},
		{"sharedWith: [\"*\"]", "sharedWith: [acme]"},
		{"networkType: Basic", "networkType: Advanced"},
		{"host: kvm1", "host: kvm2"},
	},
}

// TestIncremental edits examples at random, breaks and removes documents, and gives
// the lock's numbers or not: what a compiler says that saw all of it is what one says
// that sees the last tree only, whatever the order of files.
func TestIncremental(t *testing.T) {
	for name, list := range edits {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("../examples/" + name + "/cloud.yaml")
			if err != nil {
				t.Fatal(err)
			}
			whole := strings.Split(string(text), "\n---\n")
			rng := rand.New(rand.NewPCG(1, uint64(len(name))))
			c := compile.New(plugins.All())
			cache := &schema.Cache{}
			lock := locked(t, files(whole), nil)
			for step := range 150 {
				docs := slices.Clone(whole)
				for range rng.IntN(4) {
					e := list[rng.IntN(len(list))]
					i := rng.IntN(len(docs))
					docs[i] = strings.ReplaceAll(docs[i], e[0], e[1])
				}
				switch i := rng.IntN(len(docs)); rng.IntN(4) {
				case 0:
					docs[i] = ""
				case 1:
					docs[i] = strings.Replace(docs[i], "spec: ", "spec: !broken ", 1)
				}
				fs := files(docs)
				if rng.IntN(2) == 0 {
					lock = locked(t, fs, lock)
				}
				tree, _ := schema.Parse(fs, cache)
				got := say(c.Update(tree, lock, nil))
				fresh, _ := schema.Parse(fs, nil)
				if want := say(compile.New(plugins.All()).Update(fresh, lock, nil)); got != want {
					t.Fatalf("step %d:\n%s\nwant:\n%s", step, got, want)
				}
			}
		})
	}
}

// TestBrokenNeighbour: a network of a private VLAN that nobody can read, or a VM of
// it, takes its ports out of nobody's hearing, and the wire's tags stay known.
func TestBrokenNeighbour(t *testing.T) {
	text, err := os.ReadFile("../examples/l2-pvlan/cloud.yaml")
	if err != nil {
		t.Fatal(err)
	}
	lock := locked(t, fstest.MapFS{"cloud.yaml": {Data: text}}, nil)
	shared := func(text string) (string, string) {
		tree, _ := schema.Parse(fstest.MapFS{"cloud.yaml": {Data: []byte(text)}}, nil)
		in := compile.New(plugins.All()).Update(tree, lock, nil).Intent("kvm1")
		var b strings.Builder
		for _, e := range in.Fragment("host/kvm1").Entries() {
			for _, f := range e.State.Fields() {
				b.WriteString(f.Value)
			}
		}
		var holds []string
		for _, h := range in.Holds {
			holds = append(holds, string(h.Owner))
		}
		return b.String(), strings.Join(holds, " ")
	}
	want, _ := shared(string(text))
	for _, port := range []string{"acme/firewall/uplink", "acme/tenant-1/tenants", "acme/team-1/team"} {
		if !strings.Contains(want, "deliver(nic:"+port) {
			t.Fatalf("kvm1 does not deliver to %s:\n%s", port, want)
		}
	}
	for held, broken := range map[string][2]string{
		"network/acme/uplink":  {"metadata: {name: uplink, account: acme}\nspec: {", "metadata: {name: uplink, account: acme}\nspec: {nonsense: 1, "},
		"network/acme/tenants": {"metadata: {name: tenants, account: acme}\nspec: {offering: DefaultL2NetworkOfferingVlan", "metadata: {name: tenants, account: acme}\nspec: {offering: none"},
		"network/acme/team":    {"metadata: {name: team-1, account: acme}\nspec: {host: kvm1", "metadata: {name: team-1, account: acme}\nspec: {host: nowhere"},
	} {
		got, holds := shared(strings.ReplaceAll(string(text), broken[0], broken[1]))
		if holds != held {
			t.Errorf("held are %q, want %q", holds, held)
		}
		if got != want {
			t.Errorf("with %s broken kvm1 has\n%s\nwant\n%s", held, got, want)
		}
	}
}

// TestBrokenGuest: a VM that nobody can read holds the network that it has a NIC in,
// though that is another account's; where only the lock tells of the NIC, too.
func TestBrokenGuest(t *testing.T) {
	text, err := os.ReadFile("../examples/shared/cloud.yaml")
	if err != nil {
		t.Fatal(err)
	}
	lock := locked(t, fstest.MapFS{"cloud.yaml": {Data: text}}, nil)
	const desk = "spec: {host: kvm2, nics: [{network: system/office}]}"
	for what, broken := range map[string]string{
		"nothing":        desk,
		"a word":         "spec: {host: kvm2, nonsense: 1, nics: [{network: system/office}]}",
		"the reference":  "spec: {host: kvm2, nics: 7}",
		"all of the NIC": "spec: {host: kvm2, nics: [{}]}",
	} {
		tree, _ := schema.Parse(fstest.MapFS{"cloud.yaml": {Data: []byte(strings.ReplaceAll(string(text), desk, broken))}}, nil)
		var got []string
		for _, h := range compile.New(plugins.All()).Update(tree, lock, nil).Holds() {
			got = append(got, string(h.Owner))
		}
		want := []string{"network/system/office"}
		if broken == desk {
			want = nil
		}
		if !slices.Equal(got, want) {
			t.Errorf("with %s broken held are %v, want %v", what, got, want)
		}
	}
}

// TestBrokenPair: what the routers of a pair need of their hosts stays on both, though
// nobody can read what they are of.
func TestBrokenPair(t *testing.T) {
	for _, c := range []struct{ example, owner, from, to, whole, broken string }{
		{"redundant", "network/acme/web", "", "", "spec: {offering: redundant}", "spec: {offering: redundant, nonsense: 1}"},
		{"vpc-three-tier", "vpc/acme/shop", "Default VPC offering", "Redundant VPC offering", "offering: Redundant VPC offering", "offering: Redundant VPC offering, nonsense: 1"},
	} {
		read, err := os.ReadFile("../examples/" + c.example + "/cloud.yaml")
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(read), c.from, c.to)
		lock := locked(t, fstest.MapFS{"cloud.yaml": {Data: []byte(text)}}, nil)
		result := func(text string) *compile.Result {
			tree, _ := schema.Parse(fstest.MapFS{"cloud.yaml": {Data: []byte(text)}}, nil)
			return compile.New(plugins.All()).Update(tree, lock, nil)
		}
		want, got := result(text), result(strings.Replace(text, c.whole, c.broken, 1))
		places := 0
		for _, h := range want.Hosts() {
			if want.Intent(h).Fragment(resource.Owner(c.owner)) == nil {
				continue
			}
			places++
			if _, held := got.Intent(h).Held(resource.Owner(c.owner)); !held {
				t.Errorf("%s: %s is not held on %s", c.example, c.owner, h)
			}
			if w, g := host(want, h), host(got, h); w != g {
				t.Errorf("%s: with %s broken %s has\n%s\nwant\n%s", c.example, c.owner, h, g, w)
			}
		}
		if places < 2 {
			t.Errorf("%s: %s is on %d hosts", c.example, c.owner, places)
		}
	}
}

// host is what the units on a host share there.
func host(r *compile.Result, name string) string {
	var b strings.Builder
	for _, e := range r.Intent(name).Fragment(resource.Owner("host/" + name)).Entries() {
		fmt.Fprintln(&b, e.State.ID())
		for _, f := range e.State.Fields() {
			fmt.Fprintln(&b, " ", f.Name, f.Value)
		}
	}
	return b.String()
}

func files(docs []string) fstest.MapFS {
	out := fstest.MapFS{}
	for i, d := range docs {
		if d != "" {
			out[fmt.Sprintf("%02d.yaml", i)] = &fstest.MapFile{Data: []byte(d)}
		}
	}
	return out
}

// locked is the lock that weft lock would write, or old where it would refuse.
func locked(t *testing.T, fs fstest.MapFS, old *alloc.Lock) *alloc.Lock {
	t.Helper()
	tree, _ := schema.Parse(fs, nil)
	lock, _, ds := alloc.Allocate(compile.New(plugins.All()).Update(tree, old, nil).Demands(), old, alloc.Options{})
	if ds.HasErrors() {
		return old
	}
	parsed, ds := alloc.Parse(alloc.FileName, lock.Marshal(), old)
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	return parsed
}

// say is all that a result tells.
func say(r *compile.Result) string {
	var b strings.Builder
	for _, h := range r.Hosts() {
		in := r.Intent(h)
		fmt.Fprintf(&b, "%s %x %q\n", h, in.Fingerprint(), in.Frozen)
		for _, id := range in.Set().IDs() {
			fmt.Fprintf(&b, "  %s %x\n", id, in.Set()[id].State.Fingerprint())
		}
	}
	for _, x := range r.Holds() {
		fmt.Fprintf(&b, "hold %s: %s\n", x.Owner, x.Reason)
	}
	for _, d := range r.Diags {
		fmt.Fprintf(&b, "%s %s\n", d.String(), d.Hint)
	}
	for _, d := range r.Demands() {
		fmt.Fprintf(&b, "needs %s %s %s %s\n", d.Owner, d.Field, d.Fixed, d.Pool.Describe())
	}
	fmt.Fprintln(&b, r.Domains())
	return b.String()
}
