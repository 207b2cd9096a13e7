// Package file is the driver of resources of kind "file": generated
// configuration below the run directory of an instance.
//
// In go steps; out come files, each written as a whole or not at all. The
// directory is ours: whatever else is found in it is reported as ours, so that
// a plan removes it. Content may have secret parts: they are opened while a file
// is written and nowhere else, and stand for themselves as keyed digests.
// The agent's wiring imports it.
package file

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// Dir is where the files of h lie: File.Path is relative to it, and it is what
// "{run}" in the command line of a resource.Process stands for.
func Dir(h *host.Host) string { return filepath.Join(h.RunDir, "files") }

// A Driver writes files. Make one with New.
type Driver struct {
	host  *host.Host
	dir   string
	weft  string // what "{weft}" stands for
	marks *host.Marks
	open  func(path string) ([]byte, error)

	sources *sources // what Watch shall hear of beside the directory

	mu     sync.Mutex // held while the directory is read or written
	secret keys
}

// New returns the driver of h's files. open reads the secret that a part
// names; see Below. Its errors must not quote what it read.
func New(h *host.Host, open func(path string) ([]byte, error)) *Driver {
	self, err := os.Executable()
	if err != nil {
		self = "weft" // as it is called
	}
	return &Driver{
		host: h, dir: Dir(h), weft: self, marks: h.Marks("file"), open: open, sources: newSources(),
		secret: keys{path: filepath.Join(h.StateDir, "digest.key")},
	}
}

// Kinds implements driver.Driver.
func (*Driver) Kinds() []resource.Kind { return []resource.Kind{resource.KindFile} }

// Epoch implements driver.Driver: it cannot tell.
func (*Driver) Epoch(context.Context, driver.Scope) (uint64, bool) { return 0, false }

// mark is what is remembered of a file beside its content.
type mark struct {
	Path  string         `json:"path"`
	Owner resource.Owner `json:"owner"`
	Nic   string         `json:"nic,omitempty"`
	// Parts and Sum, a keyed digest of the whole content, are there for files
	// with secret parts, whose content is never shown, and for images, only.
	Parts []resource.Part `json:"parts,omitempty"`
	Image string          `json:"image,omitempty"`
	Sum   string          `json:"sum,omitempty"`
}

func markKey(path string) string { return resource.Short(120, path) }

// check says why path cannot be a file of ours.
func check(path string) error {
	if !filepath.IsLocal(path) || filepath.Clean(path) != path || strings.ContainsAny(path, "\x00\n\r") {
		return fmt.Errorf("%q is not a clean path below the run directory", path)
	}
	for part := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(part, ".") {
			return fmt.Errorf("%q has a hidden part; those are for temporary files", path)
		}
	}
	return nil
}

// opaque reports whether what f is asked for cannot be told from its content.
func opaque(f resource.File) bool {
	return f.Image != "" || slices.ContainsFunc(f.Parts, func(p resource.Part) bool { return p.Closed() })
}

// dirMode is that of directories, whatever our umask is: daemons read files after
// they gave up root.
const dirMode = 0o755

// root opens the directory, making it when it is missing. Nothing that is
// reached through it lies outside, whatever links somebody put there.
func (d *Driver) root() (*os.Root, error) {
	if err := os.MkdirAll(d.dir, dirMode); err != nil {
		return nil, err
	}
	for _, dir := range []string{d.host.RunDir, d.dir} {
		if err := os.Chmod(dir, dirMode); err != nil {
			return nil, err
		}
	}
	return os.OpenRoot(d.dir)
}
