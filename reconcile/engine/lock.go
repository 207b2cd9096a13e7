package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A LockedError says that another process changes this host at the moment.
type LockedError struct {
	// Holder is its process id, 0 if it did not say.
	Holder int
}

// Error implements error.
func (e *LockedError) Error() string {
	if e.Holder == 0 {
		return "another weft changes this host"
	}
	return fmt.Sprintf("another weft (pid %d) changes this host", e.Holder)
}

// lock takes the one lock of the instance. It does not wait: who holds it is a
// *LockedError. The kernel lets go of it when the process dies.
func (e *Engine) lock() (release func(), err error) {
	path := filepath.Join(e.host.RunDir, "apply.lock")
	if err := os.MkdirAll(e.host.RunDir, 0o755); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer func() { _ = f.Close() }()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		b := make([]byte, 20)
		n, _ := f.Read(b)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
		return nil, &LockedError{Holder: pid}
	}
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return func() { _ = f.Close() }, nil
}
