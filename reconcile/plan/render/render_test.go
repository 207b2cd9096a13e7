package render_test

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/plan/render"
	"weft.dev/reconcile/resource"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, write func(io.Writer) error) {
	t.Helper()
	var b strings.Builder
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", path, b.String())
	}
}

func TestGolden(t *testing.T) {
	r := change(t)
	nothing := plan.NewReport("9d3b7e0", "4f1c2aa", []*plan.Plan{{Host: "kvm1"}, {Host: "kvm2"}})
	frozen := plan.NewReport("", "4f1c2aa", []*plan.Plan{{Host: "kvm1", Frozen: "hosts.yaml:3: state is Disabled"}})
	text := func(r *plan.Report, width int) func(io.Writer) error {
		return func(w io.Writer) error { return render.Text(w, r, render.Options{Width: width}) }
	}
	golden(t, "change-80.txt", text(r, 80))
	golden(t, "change-120.txt", text(r, 120))
	golden(t, "nothing.txt", text(nothing, 80))
	golden(t, "frozen.txt", text(frozen, 80))
	golden(t, "color.txt", func(w io.Writer) error { return render.Text(w, r, render.Options{Color: true, Width: 100}) })
	golden(t, "steps.txt", func(w io.Writer) error { return render.Steps(w, r, render.Options{Width: 100}) })
}

// TestHeldOnce: a hold is on every host of the tree, and told once.
func TestHeldOnce(t *testing.T) {
	here := resource.Hold{Owner: db, Cause: resource.HoldSuspended, Reason: "suspended by hand"}
	nowhere := resource.Hold{Owner: beta, Cause: resource.HoldUnallocated, Reason: "run weft lock"}
	host := func(name string, resources int) *plan.Plan {
		return &plan.Plan{Host: name, Held: []plan.Held{{Hold: here, Resources: resources}, {Hold: nowhere}}}
	}
	r := plan.NewReport("9d3b7e0", "", []*plan.Plan{host("kvm1", 0), host("kvm2", 7), host("kvm3", 0)})
	r.Reachability = &plan.Reachability{}
	golden(t, "held.txt", func(w io.Writer) error { return render.Text(w, r, render.Options{Width: 80}) })
	golden(t, "held.md", func(w io.Writer) error { return render.Markdown(w, r) })
	golden(t, "held.github", func(w io.Writer) error { return render.GitHub(w, r) })
}

// TestProcessChanges: what a restart and a reload are called.
func TestProcessChanges(t *testing.T) {
	before := resource.Process{Name: "web/dnsmasq", Argv: []string{"dnsmasq"}, Start: 1, Load: 1, Reload: "HUP"}
	after := before
	after.Load = 2
	p, err := plan.Between(intent("kvm1", nil, []resource.Entry{entry(web, before, nil)}), intent("kvm1", nil, []resource.Entry{entry(web, after, nil)}), plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := render.Text(&b, plan.NewReport("", "", []*plan.Plan{p}), render.Options{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "reads its files again") || strings.Contains(b.String(), "!") {
		t.Errorf("a reload reads:\n%s", b.String())
	}
}

func TestGoldenMachines(t *testing.T) {
	r := change(t)
	golden(t, "change.md", func(w io.Writer) error { return render.Markdown(w, r) })
	golden(t, "change.github", func(w io.Writer) error { return render.GitHub(w, r) })
	golden(t, "change.json", func(w io.Writer) error { return render.JSON(w, r) })
}
