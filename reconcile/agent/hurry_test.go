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

// A wish to look at everything is not narrowed by what a driver says beside it.
func TestDueEverything(t *testing.T) {
	a := &Agent{stirred: make(chan struct{}, 1)}
	a.stir([]resource.Kind{resource.KindNS}, false)
	a.stir(nil, false)
	a.stir([]resource.Kind{resource.KindLink}, false)
	if got := a.takeDue(); got != nil {
		t.Errorf("due is %v", got)
	}
	a.stir([]resource.Kind{resource.KindNS}, false)
	if got := a.takeDue(); len(got) != 1 {
		t.Errorf("then due is %v", got)
	}
}
