// Package initrd makes the initial file system of a lab's guest that runs as a real machine: busybox, the kernel's virtio
// modules, and scripts that set its cards up and answer its host. In come the machine's kernel image and busybox, and what
// one guest is; out comes an archive that the kernel unpacks. Only reconcile/lab and its packages import it.
package initrd

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// An Image is what guests boot.
type Image struct {
	Kernel  string // file
	Modules string // directory of its modules
	Busybox string // program
}

// Find looks for an image: a kernel below /var/cache/weft/guest or weft/guest of this user's cache, else an installed one,
// and a busybox with a DHCP client. The error names what is missing and where it comes from.
func Find(look func(program string) (string, error)) (Image, error) {
	var image Image
	var errs []error
	roots := []string{"/var/cache/weft/guest", "/"}
	if cache, err := os.UserCacheDir(); err == nil {
		roots = slices.Insert(roots, 1, filepath.Join(cache, "weft", "guest"))
	}
	for _, root := range roots {
		if image.Kernel == "" {
			image.Kernel, image.Modules = kernelIn(root)
		}
	}
	if image.Kernel == "" {
		errs = append(errs, fmt.Errorf("no kernel with its modules is in %s (extract the package that linux-image-cloud-amd64 depends on there, or install it)",
			strings.Join(roots, ", ")))
	}
	var err error
	if image.Busybox, err = look("busybox"); err != nil {
		errs = append(errs, errors.New("busybox is not installed (apt install busybox)"))
	}
	return image, errors.Join(errs...)
}

// kernelIn finds a readable kernel and its modules below root; one made for virtual machines first, then the newest name.
func kernelIn(root string) (kernel, modules string) {
	all, _ := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*")) // the pattern is well-formed
	slices.SortFunc(all, func(a, b string) int {
		if x, y := strings.Contains(a, "cloud"), strings.Contains(b, "cloud"); x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(b, a)
	})
	for _, k := range all {
		dir := filepath.Join(root, "lib/modules", strings.TrimPrefix(filepath.Base(k), "vmlinuz-"))
		f, err := os.Open(k)
		if err != nil {
			continue
		}
		_ = f.Close()
		if at, err := os.Stat(filepath.Join(dir, "kernel")); err == nil && at.IsDir() {
			return k, dir
		}
	}
	return "", ""
}

// cards are the drivers of a lab's guest.
var cards = []string{"virtio_pci", "virtio_console", "virtio_net"}

// modules returns the files of the wanted drivers and what they depend on, in the order in which they load.
func (m Image) modules(wanted []string) ([]string, error) {
	builtin, err := os.ReadFile(filepath.Join(m.Modules, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	inside := map[string]bool{}
	for line := range strings.Lines(string(builtin)) {
		inside[moduleName(strings.TrimSpace(line))] = true
	}
	files := map[string]string{}
	err = filepath.WalkDir(filepath.Join(m.Modules, "kernel"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files[moduleName(path)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var order []string
	seen := map[string]bool{}
	var load func(name string) error
	load = func(name string) error {
		if inside[name] || seen[name] {
			return nil
		}
		seen[name] = true
		file, ok := files[name]
		if !ok {
			return fmt.Errorf("module %s is not in %s", name, m.Modules)
		}
		depends, err := dependencies(file)
		if err != nil {
			return fmt.Errorf("module %s: %w", file, err)
		}
		for _, d := range depends {
			if err := load(d); err != nil {
				return err
			}
		}
		order = append(order, file)
		return nil
	}
	for _, name := range wanted {
		if err := load(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleName is the kernel's name of the module in a file.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// dependencies are the modules that one says it needs.
func dependencies(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("not a plain module (unpack a compressed one): %w", err)
	}
	defer func() { _ = f.Close() }()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("it has no .modinfo")
	}
	text, err := section.Data()
	if err != nil {
		return nil, err
	}
	var out []string
	for field := range bytes.SplitSeq(text, []byte{0}) {
		list, ok := strings.CutPrefix(string(field), "depends=")
		if !ok || list == "" {
			continue
		}
		for name := range strings.SplitSeq(list, ",") {
			out = append(out, strings.ReplaceAll(name, "-", "_"))
		}
	}
	return out, nil
}

// libraries are the files that a program needs to be loaded, by their names in the guest.
func libraries(program string) (map[string]string, error) {
	out := map[string]string{}
	todo := []string{program}
	for len(todo) > 0 {
		f, err := elf.Open(todo[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", todo[0], err)
		}
		names, err := f.ImportedLibraries()
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				interpreter := make([]byte, p.Filesz)
				if _, err := p.ReadAt(interpreter, 0); err == nil {
					path := string(bytes.TrimRight(interpreter, "\x00"))
					out[path] = path
				}
			}
		}
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", todo[0], err)
		}
		todo = todo[1:]
		for _, name := range names {
			path, err := library(name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", program, err)
			}
			if _, known := out["/lib/"+name]; !known {
				out["/lib/"+name] = path
				todo = append(todo, path)
			}
		}
	}
	return out, nil
}

// library finds a shared library where the loader looks by default.
func library(name string) (string, error) {
	for _, dir := range []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("library %s is not in any of the usual directories", name)
}

// applets are the names that busybox answers to.
func applets(busybox string, run Run) ([]string, error) {
	out, err := run(busybox, "--list")
	if err != nil {
		return nil, err
	}
	names := strings.Fields(out)
	for _, need := range []string{"udhcpc", "uevent", "setsid", "base64", "usleep", "insmod"} {
		if !slices.Contains(names, need) {
			return nil, fmt.Errorf("%s has no %s", busybox, need)
		}
	}
	return names, nil
}
