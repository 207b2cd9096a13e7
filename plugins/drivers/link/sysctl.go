package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"weft.dev/reconcile/resource"
)

// sysctlPath turns a key into its file: "net.ipv4.ip_forward", where a "/"
// stands for a dot inside a name, as sysctl(8) has it. Only what belongs to a
// namespace is reachable.
func sysctlPath(key string) (string, error) {
	parts := strings.Split(key, ".")
	if len(parts) < 3 || parts[0] != "net" {
		return "", fmt.Errorf("sysctl %q is no net.* key", key)
	}
	for i, p := range parts {
		p = strings.ReplaceAll(p, "/", ".")
		if p == "" || p == "." || p == ".." || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return "", fmt.Errorf("sysctl %q has a part that names no file", key)
		}
		parts[i] = p
	}
	return "/proc/sys/" + strings.Join(parts, "/"), nil
}

// readSysctl reads a key in the namespace of the calling thread; false if it
// does not exist there.
func readSysctl(key string) (string, bool, error) {
	path, err := sysctlPath(key)
	if err != nil {
		return "", false, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read sysctl: %w", err)
	}
	return squeeze(string(b)), true, nil
}

// writeSysctl writes a key in the namespace of the calling thread.
func writeSysctl(key, value string) error {
	path, err := sysctlPath(key)
	if err != nil {
		return err
	}
	if strings.ContainsAny(value, "\n\x00") {
		return fmt.Errorf("sysctl %s: value %q is more than a line", key, value)
	}
	// Never created: a key that is not there is an error.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write sysctl: %w", err)
	}
	_, err = f.WriteString(value + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write sysctl: %w", err)
	}
	return nil
}

// squeeze makes values comparable: the kernel separates numbers by tabs.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// makeSysctl writes s. What stood there before is in the note already.
func (x *site) makeSysctl(s resource.Sysctl) error {
	return x.d.host.In(x.ns, func() error { return writeSysctl(s.Key, s.Value) })
}

// dropSysctl puts back what stood there before weft wrote, as far as known.
func (x *site) dropSysctl(key string) error {
	old, ok := x.note.Sysctls[key]
	if !ok || old.Before == "" {
		return nil
	}
	err := x.d.host.In(x.ns, func() error { return writeSysctl(key, old.Before) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil // gone with its link
	}
	return err
}
