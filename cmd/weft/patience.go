package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// patience is how much memory a verb that ends soon takes before it looks for
// garbage: most trees are done by then, and a large one need not be gone through
// again and again while it grows.
const patience = 850 << 20

// patient puts the collections off until then, as long as each of them finds that most
// of it is garbage; after that all is as usual. A limit that is no higher, such as a
// smaller GOMEMLIMIT, stays as it is.
func patient() {
	limit := debug.SetMemoryLimit(-1)
	if limit <= patience {
		return
	}
	usual := debug.SetGCPercent(-1)
	debug.SetMemoryLimit(patience)
	collected(func() (again bool) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		if live[0].Value.Kind() == metrics.KindUint64 && live[0].Value.Uint64() < patience/2 {
			return true
		}
		debug.SetGCPercent(usual)
		debug.SetMemoryLimit(limit)
		return false
	})
}

// collected calls do after the next collection, and again while it says so.
func collected(do func() (again bool)) {
	x := new([1]*byte) // with a pointer, so that it is an object of its own
	runtime.AddCleanup(x, func(do func() bool) {
		if do() {
			collected(do)
		}
	}, do)
}
