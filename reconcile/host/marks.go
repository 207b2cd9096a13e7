package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Marks is a place below the run directory where a driver leaves small JSON
// values for its successors, one file per key, each replaced atomically. It is
// gone after a reboot, like the kernel state that it describes; whoever finds
// no mark treats what it sees as drift.
type Marks struct{ dir string }

// Marks returns the place called name.
func (h *Host) Marks(name string) *Marks { return &Marks{filepath.Join(h.RunDir, "marks", name)} }

// Put stores value under key. Keys are file names that do not start with a dot.
func (m *Marks) Put(key string, value any) error {
	if key == "" || key[0] == '.' || strings.ContainsAny(key, "/\x00") {
		return fmt.Errorf("mark %q: the key is not a file name", key)
	}
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("mark %s: %w", key, err)
	}
	return replace(filepath.Join(m.dir, key), b, 0o600, false) // a power loss takes what it is about too
}

// Load reads key into value; false if there is none that can be read.
func (m *Marks) Load(key string, value any) bool {
	b, err := os.ReadFile(filepath.Join(m.dir, key))
	return err == nil && json.Unmarshal(b, value) == nil
}

// Stamp is a number that changes whenever what is stored under key does; 0 if
// there is nothing. It costs one stat.
func (m *Marks) Stamp(key string) uint64 {
	var st unix.Stat_t
	if unix.Stat(filepath.Join(m.dir, key), &st) != nil {
		return 0
	}
	// Each write makes a new file; the time tells files apart that got the
	// same inode one after the other.
	return st.Ino*0x9e3779b97f4a7c15 ^ uint64(st.Ctim.Nano())
}

// Drop forgets key; it is no error if there is none.
func (m *Marks) Drop(key string) error {
	if err := os.Remove(filepath.Join(m.dir, key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("drop mark: %w", err)
	}
	return nil
}

// Keys lists what is stored.
func (m *Marks) Keys() []string {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			out = append(out, e.Name())
		}
	}
	return out
}

// ReadFile reads a file that is no link, device or the like and has at most limit bytes.
func ReadFile(path string, limit int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", path, limit)
	}
	return os.ReadFile(path)
}

// WriteFile replaces path atomically with content, making its directories. When it
// returns nil the content outlives a loss of power, and until then what was there
// before does.
func WriteFile(path string, content []byte, mode fs.FileMode) error {
	return replace(path, content, mode, true)
}

func replace(path string, content []byte, mode fs.FileMode, lasting bool) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(mode))
	if err == nil && lasting {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	if !lasting {
		return nil
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// syncDir makes the names in dir last; some file systems cannot say so, and need not.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
