package initrd

import (
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
)

// Full is where a kernel with everything that Debian builds is looked for; its modules have been through depmod.
const Full = "/var/cache/weft/kernel"

// Tag is the name of the host's root directory among a machine's 9p shares.
const Tag = "host"

//go:embed share.sh
var shareScript []byte

//go:embed shared.sh
var sharedScript []byte

// FindFull is Find for a kernel with all its modules, for a machine that shares its host's files.
func FindFull(look func(program string) (string, error)) (Image, error) {
	var image Image
	var errs []error
	if image.Kernel, image.Modules = kernelIn(Full); image.Kernel == "" {
		errs = append(errs, fmt.Errorf("no kernel with its modules is in %s (make deps-kernel)", Full))
	}
	for _, program := range []string{"busybox", "modprobe"} {
		path, err := look(program)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s is not installed (make deps-kernel)", program))
		}
		if program == "busybox" {
			image.Busybox = path
		}
	}
	return image, errors.Join(errs...)
}

// Share returns the initial file system of a machine whose root is the host's, read only, below a layer in its memory: it
// answers at the channel Exec. It has no cards.
func (m Image) Share(run Run) ([]byte, error) {
	a := newArchive()
	for _, dir := range []string{"proc", "sys", "dev", "etc", "bin"} {
		a.dir(dir)
	}
	a.add("init", modeProgram, shareScript)
	for name, script := range map[string][]byte{"run": runScript, "exec": execScript, "shared": sharedScript} {
		a.add("lib/guest/"+name, modeProgram, script)
	}
	a.add("etc/modules", modeFile, []byte(filepath.Dir(m.Modules)+"\n"))
	if err := m.addPrograms(a, run); err != nil {
		return nil, err
	}
	if err := m.addModules(a, []string{"virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"}); err != nil {
		return nil, err
	}
	return a.bytes(), nil
}
