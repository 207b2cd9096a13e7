package lab

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

var labName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// DefaultName is the name of the lab of a tree: readable, and different for two directories of one name.
func DefaultName(tree string) (string, error) {
	path, err := filepath.Abs(tree)
	if err != nil {
		return "", err
	}
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	base := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(filepath.Base(path)), "-")
	base = strings.Trim(base[:min(len(base), 40)], "-")
	if base == "" {
		base = "lab"
	}
	return fmt.Sprintf("%s-%x", base, sha256.Sum256([]byte(path)))[:len(base)+7], nil
}

// home is the directory that holds the state of this user's labs.
func home() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/weft/labs", nil
	}
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		dir, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		state = filepath.Join(dir, ".local", "state")
	}
	return filepath.Join(state, "weft", "labs"), nil
}

// stateDir is the directory of one lab.
func stateDir(name string) (string, error) {
	if !labName.MatchString(name) {
		return "", fmt.Errorf("%q cannot be the name of a lab: letters, digits, dot, dash and underscore, 63 at most", name)
	}
	dir, err := home()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, name), nil
}

// binary is the lab's copy of this program, which a new build does not disturb.
func binary(dir string) string { return filepath.Join(dir, "bin", "weft") }

// repo is the lab's bare repository, outside of its nodes.
func repo(dir string) string { return filepath.Join(dir, "repo.git") }

// shared is the directory that all hosts of the lab have in common.
func shared(dir string) string { return filepath.Join(dir, "shared") }

// socketPath is a short name of the control socket of the lab in dir, however long that is; it is good until done is
// called.
func socketPath(dir string) (path string, done func(), err error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/control", fd), func() { _ = unix.Close(fd) }, nil
}

// errHeld says that another process holds the lock of a lab.
var errHeld = errors.New("held")

// lock takes the lab's lock, which a living supervisor holds, and makes its directory if there is none. The error is
// errHeld when somebody has it.
func lock(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	for {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if errors.Is(err, os.ErrNotExist) {
			continue // another took the directory away between
		}
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			_ = f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, errHeld
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		mine, err1 := f.Stat()
		there, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			return f, nil
		}
		_ = f.Close() // it was removed before it was locked
	}
}

// discardState removes the state of a lab whose lock the caller holds, and directories above that are empty now.
func discardState(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for range 2 {
		dir = filepath.Dir(dir)
		_ = os.Remove(dir) // not where others are in it
	}
	return nil
}

// clean removes what a dead lab left, but for the lock, which the caller holds.
func clean(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "lock" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
