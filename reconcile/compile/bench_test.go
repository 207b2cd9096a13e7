package compile

import (
	"runtime"
	"testing"
	"testing/fstest"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/compile/cloudgen"
	"weft.dev/schema"
)

func cloudFS(files map[string]string) fstest.MapFS {
	fs := fstest.MapFS{}
	for name, text := range files {
		fs[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fs
}

// BenchmarkCold reads, checks and compiles the large cloud from its files.
func BenchmarkCold(b *testing.B) {
	files := cloudFS(cloudgen.Files(cloudgen.Large))
	tree, ds := schema.Parse(files, nil)
	if ds.HasErrors() {
		b.Fatal(ds[0].String())
	}
	first := New(fakes()).Update(tree, nil, nil)
	lock, _, ads := alloc.Allocate(first.Demands(), nil, alloc.Options{})
	if ads.HasErrors() {
		b.Fatal(ads[0].String())
	}
	text := lock.Marshal()
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			schema.Parse(files, nil)
		}
	})
	b.Run("compile", func(b *testing.B) {
		for b.Loop() {
			r := New(fakes()).Update(tree, lock, nil)
			if len(r.Holds()) > 0 || r.Diags.HasErrors() {
				b.Fatal(r.Holds()[0])
			}
		}
	})
	b.Run("lock-parse", func(b *testing.B) {
		for b.Loop() {
			alloc.Parse(alloc.FileName, text, nil)
		}
	})
	b.Run("lock-check", func(b *testing.B) {
		r := New(fakes()).Update(tree, lock, nil)
		for b.Loop() {
			if ds := alloc.Check(r.Demands(), lock); len(ds) > 0 {
				b.Fatal(ds[0].String())
			}
		}
	})
	b.Run("allocate", func(b *testing.B) {
		demands := first.Demands()
		b.ReportMetric(float64(len(demands)), "numbers")
		for b.Loop() {
			alloc.Allocate(demands, nil, alloc.Options{})
		}
	})
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			tree, _ := schema.Parse(files, nil)
			lock, _ := alloc.Parse(alloc.FileName, text, nil)
			r := New(fakes()).Update(tree, lock, nil)
			alloc.Check(r.Demands(), lock)
			runtime.KeepAlive(r)
		}
	})
}

// BenchmarkOneFile changes one file of the large cloud.
func BenchmarkOneFile(b *testing.B) {
	files := cloudgen.Files(cloudgen.Large)
	var cache schema.Cache
	tree, _ := schema.Parse(cloudFS(files), &cache)
	c := New(fakes())
	r := c.Update(tree, nil, nil)
	lock, _, _ := alloc.Allocate(r.Demands(), nil, alloc.Options{})
	c.Update(tree, lock, nil)
	name := cloudgen.NetworkFile(cloudgen.Large, 5000)
	other := cloudFS(files)
	other[name] = &fstest.MapFile{Data: []byte(files[name] + "# changed\n")}
	tree2, _ := schema.Parse(other, &cache)
	text := lock.Marshal()
	trees := []*schema.Tree{tree2, tree}
	for i := 0; b.Loop(); i++ {
		lock, _ = alloc.Parse(alloc.FileName, text, lock)
		r := c.Update(trees[i%2], lock, nil)
		if r.Stats.Compiled == 0 || r.Stats.Compiled > 2 {
			b.Fatal(r.Stats)
		}
	}
}
