package schema

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

// cloud makes a tree of n VM documents of the usual size, 100 to a file.
func cloud(n int) fstest.MapFS {
	tree := fstest.MapFS{}
	for i := 0; i < n; {
		var b strings.Builder
		for j := 0; j < 100 && i < n; j++ {
			fmt.Fprintf(&b, "---\napiVersion: weft.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: vm-%d, account: acme}\nspec:\n"+
				"  zone: zone1\n  host: kvm%d\n  nics:\n    - network: net-%d\n      ip: 10.1.%d.%d\n      mac: \"02:00:00:%02x:%02x:%02x\"\n",
				i, i%500, i/10, i/250%250, i%250+2, i>>16, i>>8&255, i&255)
			i++
		}
		tree[fmt.Sprintf("acme/vms-%05d.yaml", i/100)] = &fstest.MapFile{Data: []byte(b.String())}
	}
	return tree
}

// BenchmarkParse is a cold parse of 100,000 small documents; retained is what they keep.
func BenchmarkParse(b *testing.B) {
	tree := cloud(100_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	var out *Tree
	for b.Loop() {
		var ds Diags
		if out, ds = Parse(tree, nil); len(ds) > 0 || len(out.Documents) != 100_000 {
			b.Fatal(len(out.Documents), ds)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-retained")
	runtime.KeepAlive(out)
}

// BenchmarkReparse is what one changed file of 1,000 costs, in a tree that knows its blobs.
func BenchmarkReparse(b *testing.B) {
	tree := blobs{MapFS: cloud(100_000), ids: map[string]string{}, opened: map[string]int{}, mu: new(sync.Mutex)}
	for name := range tree.MapFS {
		tree.ids[name] = name
	}
	cache := &Cache{}
	Parse(tree, cache)
	file := tree.MapFS["acme/vms-00500.yaml"]
	old := string(file.Data)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		file.Data = []byte(old + fmt.Sprintf("# %d\n", i))
		tree.ids["acme/vms-00500.yaml"] = fmt.Sprint(i)
		if _, ds := Parse(tree, cache); len(ds) > 0 {
			b.Fatal(ds)
		}
	}
}

// BenchmarkReference is one small document by yaml.v3, what the fast parser replaces.
func BenchmarkReference(b *testing.B) {
	c := split(string(cloud(1)["acme/vms-00000.yaml"].Data))[0]
	b.ReportAllocs()
	for b.Loop() {
		var ns nodes
		var ds Diags
		parseYAML("f", c, &ns, &ds)
	}
}
