package bgp

import (
	"os"
	"testing"
)

// TestMain is the program too that the tests start.
func TestMain(m *testing.M) {
	if code, ok := Main(os.Args[1:]); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
