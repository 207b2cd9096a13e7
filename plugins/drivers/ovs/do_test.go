package ovs

import (
	"errors"
	"fmt"
	"testing"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

func hostOf(instance string) *host.Host { return host.New("test", instance) }

func plain(index int, kind resource.Kind, owner resource.Owner, after ...int) *plan.Step {
	id := resource.ID{Kind: kind, Name: fmt.Sprint(index)}
	e := &resource.Entry{State: resource.Seen{Ident: id}, Owner: owner}
	return &plan.Step{Index: index, After: after, Action: &plan.Action{ID: id, After: e}}
}

func newRun(steps ...*plan.Step) *run {
	r := &run{steps: steps, errs: make([]error, len(steps)), place: map[int]int{}}
	for i, s := range steps {
		r.place[s.Index] = i
	}
	return r
}

func TestRounds(t *testing.T) {
	r := newRun(
		plain(10, resource.KindBridge, "h"),
		plain(11, resource.KindFlows, "a", 10, 99), // 99 is another driver's
		plain(12, resource.KindPort, "a", 10),
		plain(13, resource.KindFlows, "b", 12),
		plain(14, resource.KindPort, "b", 13),
		plain(15, resource.KindBridge, "h", 14),
		plain(16, resource.KindFlows, "c"),
	)
	if got := fmt.Sprint(r.rounds()); got != "[[0 2] [1 3 6] [4 5]]" {
		t.Errorf("rounds %s", got)
	}
	r.errs[2] = fmt.Errorf("no")
	if got := fmt.Sprint(r.ready([]int{1, 3, 6})); got != "[1 6]" || !errors.Is(r.errs[3], plan.ErrSkipped) {
		t.Errorf("ready %s, %v", got, r.errs)
	}
}

func TestByOwner(t *testing.T) {
	r := newRun(
		plain(0, resource.KindBridge, "h"),
		plain(1, resource.KindPort, "a", 0),
		plain(2, resource.KindPort, "h"),
		plain(3, resource.KindPort, "b", 0),
		plain(4, resource.KindPort, "h", 1), // behind a: not in h's first group
		plain(5, resource.KindPort, "a", 4),
	)
	if got := fmt.Sprint(r.byOwner([]int{0, 1, 2, 3, 4, 5})); got != "[[0 2] [1] [3] [4] [5]]" {
		t.Errorf("groups %s", got)
	}
}
