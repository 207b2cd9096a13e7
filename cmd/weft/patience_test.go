package main

import (
	"runtime/debug"
	"testing"
)

// Who gave less memory, as a job of CI does by GOMEMLIMIT, means it.
func TestPatientWithLess(t *testing.T) {
	const less = patience - 1
	usual := debug.SetMemoryLimit(less)
	defer debug.SetMemoryLimit(usual)
	patient()
	if got := debug.SetMemoryLimit(-1); got != less {
		t.Errorf("the limit is %d, not %d", got, less)
	}
	percent := debug.SetGCPercent(100)
	debug.SetGCPercent(percent)
	if percent < 0 {
		t.Error("nothing is collected")
	}
}
