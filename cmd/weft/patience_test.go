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
	percent := debug.SetGCPercent(100) // another test may have been patient
	defer debug.SetGCPercent(percent)
	patient()
	if got := debug.SetMemoryLimit(-1); got != less {
		t.Errorf("the limit is %d, not %d", got, less)
	}
	if debug.SetGCPercent(100) != 100 {
		t.Error("nothing is collected")
	}
}
