package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/status"
)

// Between two tries nothing fails, but why nothing is well must stay readable.
func TestFailingNamesWhatWaits(t *testing.T) {
	r := &engine.Result{Left: &plan.Plan{}, Owners: []engine.Outcome{
		{Owner: "network/acme/web", Waits: plan.ErrSkipped.Error() + ": network/acme/web is tried again later: no buffer space"},
	}}
	if got := failing(r); !strings.HasSuffix(got, ": network/acme/web is tried again later: no buffer space") {
		t.Errorf("%q does not say why", got)
	}
	r.Owners = append(r.Owners, engine.Outcome{Owner: "network/acme/db", Failures: []engine.Failure{{Error: "no such device"}}})
	if got := failing(r); !strings.HasSuffix(got, "no such device") {
		t.Errorf("%q does not name what failed", got)
	}
}

// What failed is tried again also where the time is over that a start waits for a
// repository.
func TestFailingIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.config.Patience = 300 * time.Millisecond // less than the first pause
	w.kernel.fail = errors.New("no buffer space")
	w.push(1, "a")
	w.start()
	w.until("it fails", func(s *status.Status) bool {
		return len(s.Owners) == 1 && s.Owners[0].State == status.OwnerFailing
	})
	w.kernel.set(func() { w.kernel.fail = nil })
	w.applied(1)
}
