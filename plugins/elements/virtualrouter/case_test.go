package virtualrouter

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/metadata"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
)

var registry = plugin.Registry{
	Gurus: []plugin.Guru{plugintest.Silent{}}, Public: plugintest.Silent{}, Elements: []plugin.Element{Element{}},
}

func TestCases(t *testing.T) {
	plugintest.Cases(t, registry, func(t *testing.T, in *resource.Intent) {
		t.Helper()
		plugintest.Complete(t, in)
		parsers(t, in)
	})
}

// parsers gives every configuration to the program that reads it, as its process
// asks for.
func parsers(t *testing.T, in *resource.Intent) {
	t.Helper()
	set := in.Set()
	dir := t.TempDir()
	write(t, set, dir)
	for _, e := range set {
		p, ok := e.State.(resource.Process)
		if !ok {
			continue
		}
		argv := expand(p.Test, dir)
		if argv[0] == "{weft}" {
			if _, err := metadata.Read(argv[3]); err != nil {
				t.Errorf("%s: %v", p.Name, err)
			}
			continue
		}
		if out, err := exec.Command(dnsmasq(t), argv[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", strings.Join(argv, " "), err, out)
		}
	}
}

// write makes the files of set below dir.
func write(t *testing.T, set resource.Set, dir string) {
	t.Helper()
	for _, e := range set {
		f, ok := e.State.(resource.File)
		if !ok {
			continue
		}
		path := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f.Parts[0].Text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func expand(argv []string, dir string) []string {
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = strings.ReplaceAll(a, "{run}", dir)
	}
	return out
}

// dnsmasq is the path of the program; without it a test is skipped.
func dnsmasq(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"dnsmasq", "/usr/sbin/dnsmasq"} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skip("no dnsmasq here (package dnsmasq-base) that could read what was generated")
	return ""
}
