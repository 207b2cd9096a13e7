package main

import (
	"math"
	"runtime"
	"runtime/debug"
)

// patience is how much memory a verb that ends soon takes before it looks for
// garbage: most trees are done by then, and a large one need not be gone through
// again and again while it grows.
const patience = 700 << 20

// patient puts the first collection off until then; after it all is as usual.
func patient() {
	usual := debug.SetGCPercent(-1)
	debug.SetMemoryLimit(patience)
	collected := new([1]*byte) // with a pointer, so that it is an object of its own
	runtime.AddCleanup(collected, func(percent int) {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(math.MaxInt64)
	}, usual)
}
