package host

import (
	"path/filepath"

	"weft.dev/reconcile/resource"
)

// maxKept keeps the names of files well below what a file system has room for.
const maxKept = 120

// KeptKey is the name of the files that belong to the process called name.
func KeptKey(name string) string { return resource.Short(maxKept, name) }

// Kept is where the process called name keeps what it finds again when it is started
// once more.
func (h *Host) Kept(name string) string { return filepath.Join(h.StateDir, "kept", KeptKey(name)) }
