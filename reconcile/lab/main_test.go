package lab

import (
	"os"
	"testing"
)

// TestMain lets the test binary be supervisor, node and the rest, as weft is.
func TestMain(m *testing.M) {
	if code, ours := Main(os.Args[1:]); ours {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
