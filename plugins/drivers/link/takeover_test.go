package link

import (
	"os"
	"testing"

	"weft.dev/reconcile/host"
)

// What links are to be given back is not lost with a note that cannot be read.
func TestTornNoteOfTakenLinks(t *testing.T) {
	h := host.New("kvm1", "")
	h.StateDir = t.TempDir()
	d := New(h)
	if err := d.keepTaken("eth0", &taken{Bridge: "cloudbr0"}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(d.takenPath())
	if err != nil {
		t.Fatal(err)
	}
	torn := whole[:len(whole)/2]
	if err := os.WriteFile(d.takenPath(), torn, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.keepTaken("eth1", &taken{Bridge: "cloudbr1"}); err == nil {
		t.Error("a note that cannot be read was written over")
	}
	if now, err := os.ReadFile(d.takenPath()); err != nil || string(now) != string(torn) {
		t.Errorf("the note is now %q, %v", now, err)
	}
}
