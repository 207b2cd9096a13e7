// Package nstest has the network namespaces in which tests run daemons.
//
// In go the names of namespaces; out come these, with lo up and nothing else, until the
// test ends. Only tests import it.
package nstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Spaces are namespaces of a test, and a directory that every user may enter.
type Spaces struct {
	*testing.T
	Dir    string
	prefix string
}

// New makes namespaces. It skips the test where it has no root. kind tells them apart
// from those of other packages; a socket's path below Dir fits into what the kernel allows.
func New(t *testing.T, kind string, names ...string) *Spaces {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp("", kind) //nolint:usetesting // its path would be too long, and closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // daemons are other users
		t.Fatal(err)
	}
	s := &Spaces{T: t, Dir: dir, prefix: fmt.Sprintf("weft%s%d", kind, os.Getpid())}
	for _, n := range names {
		s.Run("ip", "netns", "add", s.NS(n))
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", s.NS(n)).Run() })
		s.In(n, "ip", "link", "set", "lo", "up")
	}
	return s
}

// NS is what the machine calls a namespace.
func (s *Spaces) NS(n string) string { return s.prefix + n }

// Run runs a program, which must end well, and returns what it says.
func (s *Spaces) Run(argv ...string) string {
	s.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		s.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// In runs a program in a namespace, likewise.
func (s *Spaces) In(n string, argv ...string) string {
	s.Helper()
	return s.Run(append([]string{"ip", "netns", "exec", s.NS(n)}, argv...)...)
}

// Write replaces a file below Dir, as a whole, and returns its path.
func (s *Spaces) Write(name, text string) string {
	s.Helper()
	path := filepath.Join(s.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		s.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.Fatal(err)
	}
	return path
}
