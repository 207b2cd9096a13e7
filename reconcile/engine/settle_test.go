package engine

import (
	"context"
	"slices"
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// settler notes when it is told to settle, among the calls of Do.
type settler struct {
	driver.Driver
	log *[]string
}

func (s settler) Do(ctx context.Context, steps []*plan.Step) []error {
	*s.log = append(*s.log, "do")
	return s.Driver.Do(ctx, steps)
}

func (s settler) Settle(ctx context.Context) {
	if ctx.Err() != nil {
		panic("settled in a context that has ended")
	}
	*s.log = append(*s.log, "settle")
}

// A driver settles once when all rounds of a pass are over, and not in a pass that
// does nothing.
func TestSettle(t *testing.T) {
	w := newWorld(t)
	var log []string
	drivers := slices.Clone(w.engine().Drivers())
	for i, d := range drivers {
		if slices.Contains(d.Kinds(), resource.KindNS) {
			drivers[i] = settler{d, &log}
		}
	}
	e := New(w.host, drivers, Settings{})
	// The first round loses what its step made: a second one is needed.
	once := false
	w.net.after = func(s *plan.Step) {
		if s.ID().Kind == resource.KindAddr && !once {
			once = true
			w.kernel.remove(s.ID())
		}
	}
	in := intent(network("a", 1))
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := e.Reconcile(ctx, in, Options{}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"do", "do", "settle"}; !slices.Equal(log, want) {
		t.Errorf("%v, not %v", log, want)
	}
	if _, err := e.Reconcile(ctx, in, Options{}); err != nil {
		t.Fatal(err)
	}
	if len(log) != 3 {
		t.Errorf("a pass that does nothing: %v", log)
	}
	cancel()
}
