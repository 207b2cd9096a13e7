package node

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestInstall: who runs a script goes on with what it has opened.
func TestInstall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dhcp6")
	if err := install(path, "eth0", "first"); err != nil {
		t.Fatal(err)
	}
	running, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = running.Close() }()
	if err := install(path, "eth1", "second"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(running); err != nil || string(got) != "first" {
		t.Errorf("the script that runs is now %q (%v)", got, err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "second" {
		t.Errorf("installed: %q (%v)", got, err)
	}
	if at, err := os.Stat(path); err != nil || at.Mode()&0o111 == 0 {
		t.Errorf("it is no program: %v", err)
	}
}
