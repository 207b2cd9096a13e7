package agent

import (
	"strings"
	"testing"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/plan"
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
