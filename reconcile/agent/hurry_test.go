package agent

import (
	"testing"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// What packets wait for is looked at without a pause, once; in a storm with one.
func TestHurry(t *testing.T) {
	w := newWorld(t)
	w.config.Debounce = time.Hour
	w.push(1, "a", "b")
	w.start()
	w.applied(1)
	w.kernel.set(func() {
		delete(w.kernel.has, resource.ID{Kind: resource.KindNS, Name: "a"})
		w.kernel.wake(driver.Scope{Now: true})
	})
	w.until("it is repaired", func(s *status.Status) bool { return len(s.Repaired) == 1 })

	a := New(w.config)
	a.stir(nil, false)
	if a.hurry() {
		t.Error("it hurries without need")
	}
	a.stir(nil, true)
	a.stir(nil, false)
	if !a.hurry() {
		t.Error("it does not hurry")
	}
	a.takeDue()
	a.stir(nil, true)
	if a.hurry() {
		t.Error("it hurries again at once")
	}
	a.hurried = time.Now().Add(-unhurried * a.Debounce)
	if !a.hurry() {
		t.Error("it never hurries again")
	}
}
