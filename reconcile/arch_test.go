package reconcile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "weft.dev/"

// TestImports holds the architecture: who may know whom, and why not.
func TestImports(t *testing.T) {
	core := []string{
		"schema", "plugins/gurus", "plugins/elements",
		"reconcile/resource", "reconcile/model", "reconcile/alloc", "reconcile/compile", "reconcile/plan", "reconcile/plugin", "reconcile/policy", "reconcile/reach", "policies",
	}
	rules := []struct {
		who  []string // package prefixes below the module
		deny []string // import path prefixes, with all dependencies
		why  string
	}{
		{core, []string{
			"os/exec", "net/http", "log/slog", "math/rand", "github.com/go-git", "github.com/fsnotify",
			"github.com/digitalocean", "github.com/coreos",
		}, "the core is pure: same tree, same intent"},
		{core, []string{module + "plugins/drivers", module + "reconcile/engine", module + "reconcile/host", module + "reconcile/driver"}, "who decides does not act"},
		{[]string{"schema"}, []string{module + "reconcile", module + "plugins"}, "the language knows no engine"},
		{[]string{"reconcile"}, []string{module + "plugins", module + "cmd", module + "policies"}, "the engine is handed its plugins"},
		{[]string{"plugins/drivers"}, []string{module + "reconcile/compile", module + "reconcile/engine", module + "reconcile/model"}, "who acts does not decide"},
		{[]string{"schema", "reconcile", "plugins"}, []string{module + "cmd"}, "nothing imports cmd"},
	}
	for _, p := range packages(t) {
		rel := strings.TrimPrefix(p.ImportPath, module)
		for _, r := range rules {
			if !slices.ContainsFunc(r.who, func(w string) bool { return below(rel, w) }) {
				continue
			}
			for _, dep := range p.Deps {
				if slices.ContainsFunc(r.deny, func(d string) bool { return below(dep, d) }) {
					t.Errorf("%s imports %s: %s", rel, strings.TrimPrefix(dep, module), r.why)
				}
			}
		}
		me, ok := plugin(rel)
		if !ok {
			continue
		}
		for _, dep := range p.Deps {
			if you, ok := plugin(strings.TrimPrefix(dep, module)); ok && you != me {
				t.Errorf("%s imports %s: a plugin stands alone", rel, you)
			}
		}
	}
}

func below(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// plugin returns the directory of the plugin that a package belongs to.
func plugin(rel string) (string, bool) {
	parts := strings.Split(rel, "/")
	if len(parts) < 3 || parts[0] != "plugins" {
		return "", false
	}
	return path.Join(parts[:3]...), true
}

type pkg struct {
	ImportPath string
	Deps       []string
}

func packages(t *testing.T) (out []pkg) {
	t.Helper()
	b, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Deps", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(bytes.NewReader(b)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			if len(out) < 5 {
				t.Fatalf("only %d packages seen", len(out))
			}
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
}
