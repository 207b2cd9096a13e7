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

func TestGoldenMachines(t *testing.T) {
	r := change(t)
	golden(t, "change.md", func(w io.Writer) error { return render.Markdown(w, r) })
	golden(t, "change.github", func(w io.Writer) error { return render.GitHub(w, r) })
	golden(t, "change.json", func(w io.Writer) error { return render.JSON(w, r) })
}
