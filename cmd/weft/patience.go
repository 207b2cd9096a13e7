package main

import (
	"runtime"
	"runtime/debug"
)

// patience is how much memory a verb that ends soon takes before it looks for
// garbage: most trees are done by then, and a large one need not be gone through
// again and again while it grows.
const patience = 700 << 20

// patient puts the first collection off until then; after it all is as usual. A limit
// that is no higher, such as a smaller GOMEMLIMIT, stays as it is.
func patient() {
	limit := debug.SetMemoryLimit(-1)
	if limit <= patience {
		return
	}
	usual := debug.SetGCPercent(-1)
	debug.SetMemoryLimit(patience)
	collected := new([1]*byte) // with a pointer, so that it is an object of its own
	runtime.AddCleanup(collected, func(percent int) {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}, usual)
}
