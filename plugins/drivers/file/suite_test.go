package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/driver/drivertest"
	"weft.dev/reconcile/resource"
)

func TestSuite(t *testing.T) {
	w := newWorld(t)
	plain := text("routers/a/hosts", "10.0.0.1 a\n")
	content, mode := plain, plain
	content.Parts = []resource.Part{{Text: "10.0.0.2 b\n"}}
	mode.Mode = 0o600

	one, two := w.secret("one", "hunter2"), w.secret("two", "correct horse")
	keyed := func(path string) resource.File {
		parts, err := w.driver().fill([]resource.Part{{Text: "key "}, {Secret: path}, {Text: "\n"}})
		must(t, err)
		return resource.File{Path: "keys", Mode: 0o600, Parts: parts}
	}
	hidden := func(text string) resource.File {
		parts, err := w.driver().fill([]resource.Part{{Text: text, Hidden: true}})
		must(t, err)
		return resource.File{Path: "userdata/10.0.0.1", Mode: 0o600, Parts: parts, Nic: "a/b/c"}
	}
	drivertest.Run(t, drivertest.Fixture{
		New: func(*testing.T) driver.Driver { return w.driver() },
		Samples: []drivertest.Sample{
			w.sample(plain, content, mode),
			w.sample(keyed(one), keyed(two), text("keys", "no key\n")),
			w.sample(text("empty", ""), text("empty", "x")),
			w.sample(hidden("#cloud-config"), hidden("#!/bin/sh"), text("userdata/10.0.0.1", "not hidden\n")),
		},
	})
}

// sample is a file that other hands write to and remove.
func (w *world) sample(f resource.File, changed ...resource.State) drivertest.Sample {
	path := w.path(f.Path)
	return drivertest.Sample{
		State: f, Changed: changed,
		Spoil: func(t *testing.T) {
			t.Helper()
			must(t, os.WriteFile(path, []byte("by hand\n"), 0o644))
		},
		Vanish: func(t *testing.T) {
			t.Helper()
			must(t, os.Remove(path))
		},
		Check: func(_ *testing.T, st resource.State) error { return w.look(path, st) },
	}
}

// look reads a file with other eyes than the driver's.
func (w *world) look(path string, st resource.State) error {
	b, err := os.ReadFile(path)
	f, ok := st.(resource.File)
	if !ok {
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there: %w", path, err)
		}
		return nil
	}
	want := ""
	for _, p := range f.Parts {
		want += p.Text
		if p.Secret != "" {
			value, err := os.ReadFile(p.Secret)
			if err != nil {
				return err
			}
			want += string(value)
		}
	}
	info, err := os.Stat(path)
	if err != nil || string(b) != want || uint32(info.Mode().Perm()) != f.Mode {
		return fmt.Errorf("%s holds %q, wanted %q with mode %o: %w", path, b, want, f.Mode, err)
	}
	return nil
}
