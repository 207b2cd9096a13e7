package initrd

import (
	"bytes"
	"fmt"
	"path"
)

// Modes of what an archive holds.
const (
	modeFile    = 0o100644
	modeProgram = 0o100755
	modeLink    = 0o120777
	modeDir     = 0o040755
)

// An archive is a cpio of the "newc" format, as the kernel unpacks it (Documentation/driver-api/early-userspace/
// buffer-format.rst). Directories come before what is in them; a name is added once.
type archive struct {
	out   bytes.Buffer
	there map[string]bool
}

func newArchive() *archive { return &archive{there: map[string]bool{".": true}} }

// add puts an entry at name, which has no leading slash.
func (a *archive) add(name string, mode int, content []byte) {
	if a.there[name] {
		return
	}
	if mode != modeDir || !a.there[path.Dir(name)] {
		a.dir(path.Dir(name))
	}
	a.there[name] = true
	a.write(name, mode, content)
}

func (a *archive) dir(name string) {
	if !a.there[name] {
		a.add(name, modeDir, nil)
	}
}

func (a *archive) write(name string, mode int, content []byte) {
	fmt.Fprintf(&a.out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		len(a.there), mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
	a.out.WriteString(name + "\x00")
	a.pad()
	a.out.Write(content)
	a.pad()
}

// pad fills up to a multiple of four bytes.
func (a *archive) pad() {
	for a.out.Len()%4 != 0 {
		a.out.WriteByte(0)
	}
}

// bytes ends the archive.
func (a *archive) bytes() []byte {
	a.write("TRAILER!!!", 0, nil)
	return a.out.Bytes()
}
