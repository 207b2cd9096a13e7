package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A bind shows source, a directory or file outside the node's private paths, at target.
type bind struct {
	source, target string
	readOnly       bool
	fd             *os.File
}

// Paths of a daemon's state that a host keeps through a reboot, in the node's directory of the lab's state by name.
var kept = map[string]string{
	"etc-openvswitch": "/etc/openvswitch",
	"lib-openvswitch": "/var/lib/openvswitch",
	"log-openvswitch": "/var/log/openvswitch",
	"lib-weft":        "/var/lib/weft",
}

// Path is where a node's commands are looked for: this program first, the administrator's directories though the lab may
// have been started by an ordinary user.
const Path = Dir + "/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// enterRoot gives the mount namespace of this process private paths: /run, the state of daemons, /proc, /sys, and the
// files that name the machine. It is called in a fresh mount namespace.
func enterRoot(c Config) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	binds, err := nodeBinds(c)
	if err != nil {
		return err
	}
	defer func() {
		for _, b := range binds {
			_ = b.fd.Close()
		}
	}()
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("private /run: %w", err)
	}
	for _, dir := range []string{"/run/netns", "/run/openvswitch", "/run/weft", "/run/lock", Dir + "/bin", Dir + "/etc"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if at, err := os.Lstat("/var/run"); err == nil && at.IsDir() {
		run, err := os.Open("/run")
		if err != nil {
			return err
		}
		binds = append(binds, &bind{source: "/run", target: "/var/run", fd: run})
	}
	for _, b := range binds {
		if err := b.mount(); err != nil {
			return err
		}
	}
	for file, text := range identity(c) {
		if err := ownFile(file, text); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(c.Hostname)); err != nil {
		return fmt.Errorf("hostname %s: %w", c.Hostname, err)
	}
	return kernelViews()
}

// kernelViews shows the node's own processes and links in /proc and /sys.
func kernelViews() error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", "/proc", "proc", flags, ""); err != nil {
		return fmt.Errorf("mount /proc (a container that hides parts of it forbids this): %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", flags, ""); err != nil {
		return fmt.Errorf("mount /sys (a container that hides parts of it forbids this): %w", err)
	}
	return os.Setenv("PATH", Path)
}

// nodeBinds opens what the node shall see of the lab's state before its private mounts cover it.
func nodeBinds(c Config) ([]*bind, error) {
	binds := []*bind{
		{source: c.State, target: Dir + "/state"},
		{source: c.Binary, target: Dir + "/bin/weft", readOnly: true},
	}
	if err := os.MkdirAll(filepath.Join(c.State, "log"), 0o755); err != nil {
		return nil, err
	}
	if c.Host != nil || c.Internet != nil {
		for name, target := range kept {
			dir := filepath.Join(c.State, name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, err
			}
			binds = append(binds, &bind{source: dir, target: target})
		}
	}
	if c.Host != nil && c.Host.Repo != "" {
		binds = append(binds, &bind{source: c.Host.Repo, target: Dir + "/repo.git"})
	}
	if c.Host != nil && c.Host.Shared != "" {
		binds = append(binds, &bind{source: c.Host.Shared, target: Shared})
	}
	if c.Host != nil && c.Host.Secrets != "" {
		binds = append(binds, &bind{source: c.Host.Secrets, target: "/etc/weft", readOnly: true})
	}
	for _, b := range binds {
		fd, err := unix.Open(b.source, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", b.source, err)
		}
		b.fd = os.NewFile(uintptr(fd), b.source)
	}
	return binds, nil
}

func (b *bind) mount() error {
	at, err := b.fd.Stat()
	if err != nil {
		return err
	}
	if err := ensure(b.target, at.IsDir()); err != nil {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", b.fd.Fd()), b.target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s on %s: %w", b.source, b.target, err)
	}
	if !b.readOnly {
		return nil
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(-1, b.target, unix.AT_RECURSIVE, attr); err != nil {
		return fmt.Errorf("make %s read-only: %w", b.target, err)
	}
	return nil
}

// ensure makes an empty directory or file at path if nothing is there, without touching the machine's own directories.
func ensure(path string, dir bool) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	parent := filepath.Dir(path)
	if err := ensure(parent, true); err != nil {
		return err
	}
	private, err := onPrivate(parent)
	if err != nil {
		return err
	}
	if !private {
		if err := shadow(parent); err != nil {
			return err
		}
	}
	if dir {
		return os.Mkdir(path, 0o755)
	}
	return os.WriteFile(path, nil, 0o644)
}

// onPrivate says whether dir lies on one of the node's own tmpfs.
func onPrivate(dir string) (bool, error) {
	var run, at unix.Stat_t
	if err := unix.Stat(dir, &at); err != nil {
		return false, fmt.Errorf("stat %s: %w", dir, err)
	}
	for _, own := range append([]string{"/run"}, shadows...) {
		if err := unix.Stat(own, &run); err == nil && run.Dev == at.Dev {
			return true, nil
		}
	}
	return false, nil
}

// shadows are the directories that shadow covered.
var shadows []string

// shadow covers a directory of the machine by a tmpfs that shows the same entries, so that new ones can be made in it.
func shadow(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	old := os.NewFile(uintptr(fd), dir)
	defer func() { _ = old.Close() }()
	entries, err := old.ReadDir(-1)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("cover %s: %w", dir, err)
	}
	shadows = append(shadows, dir)
	for _, entry := range entries {
		if err := carry(fmt.Sprintf("/proc/self/fd/%d/%s", fd, entry.Name()), filepath.Join(dir, entry.Name()), entry); err != nil {
			return err
		}
	}
	return nil
}

// carry shows one entry of a covered directory in its cover.
func carry(source, target string, entry fs.DirEntry) error {
	if entry.Type()&fs.ModeSymlink != 0 {
		to, err := os.Readlink(source)
		if err != nil {
			return err
		}
		return os.Symlink(to, target)
	}
	var err error
	if entry.IsDir() {
		err = os.Mkdir(target, 0o755)
	} else {
		err = os.WriteFile(target, nil, 0o644)
	}
	if err != nil {
		return err
	}
	err = unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, "")
	if errors.Is(err, unix.ENOENT) {
		return os.Remove(target) // it went meanwhile
	}
	if err != nil {
		return fmt.Errorf("bind %s: %w", target, err)
	}
	return nil
}

// ownFile gives the node its own text at path; the file stays writable in place.
func ownFile(path, text string) error {
	own := filepath.Join(Dir, "etc", filepath.Base(path))
	if err := os.WriteFile(own, []byte(text), 0o644); err != nil {
		return err
	}
	target := path
	for range 10 { // /etc/resolv.conf is often a link into /run, which is empty now
		to, err := os.Readlink(target)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(target), to)
		}
		target = to
	}
	if strings.HasPrefix(target, "/run/") || strings.HasPrefix(target, "/var/run/") {
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.Symlink(own, target)
	}
	if err := ensure(target, false); err != nil {
		return err
	}
	if err := unix.Mount(own, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", target, err)
	}
	return nil
}

// identity is the text of the files that name the machine.
func identity(c Config) map[string]string {
	hosts := fmt.Sprintf("127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 %s\n", c.Hostname)
	return map[string]string{
		"/etc/hostname":    c.Hostname + "\n",
		"/etc/hosts":       hosts,
		"/etc/resolv.conf": "",
	}
}
