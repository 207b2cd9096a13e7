package ovs

import (
	"context"
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// A host of Linux bridges has no Open vSwitch, and that is no error; one that is to
// have bridges of it is told that there is none.
func TestAbsent(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	h := host.New("kvm1", "weft")
	h.RunDir = t.TempDir()
	h.OVSDB = "unix:" + t.TempDir() + "/db.sock"
	d := New(h)
	o, err := d.Observe(context.Background(), driver.Scope{Desired: resource.Set{}})
	if err != nil || len(o.Set) != 0 || len(o.Unread) != 0 {
		t.Errorf("%v: %+v", err, o)
	}
	want := resource.Set{}
	want.Put(resource.Entry{State: resource.Bridge{Name: "cloudbr0"}})
	if _, err := d.Observe(context.Background(), driver.Scope{Desired: want}); err == nil {
		t.Error("bridges are wanted, and nothing is missing")
	}
}
