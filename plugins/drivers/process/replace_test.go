package process

import (
	"os"
	"path/filepath"
	"testing"

	"weft.dev/reconcile/resource"
)

// TestReplaced: a process that replaces itself by its program all the time is always
// seen, and what it started never passes for it.
func TestReplaced(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "again")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n[ -n \"$CHILD\" ] || sleep 1000 &\nexport CHILD=1\nexec \"$0\"\n"), 0o700))
	must(t, w.make(resource.Process{Name: "a", Argv: []string{path}}))
	w.until("it has a child", func() bool { return len(w.scan()["a"]) == 2 })
	pid := w.pid("a")
	for range 100 {
		if list := tops(w.scan()["a"]); len(list) != 1 || list[0].pid != pid {
			t.Fatalf("seen as %v, not as %d", list, pid)
		}
	}
}
