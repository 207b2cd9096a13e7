package agent

import (
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// Digest holds whose secret is not there, as the driver of files does.
func (k *kernel) Digest(in *resource.Intent) *resource.Intent {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lacks == "" || in.Fragment(k.lacks) == nil {
		return in
	}
	list := slices.DeleteFunc(slices.Clone(in.Fragments), func(f *resource.Fragment) bool { return f.Owner == k.lacks })
	hold := resource.Hold{Owner: k.lacks, Cause: resource.HoldInvalid, Reason: "secret /etc/weft/x: no such file or directory"}
	return resource.NewIntent(in.Host, list, append(slices.Clone(in.Holds), hold))
}

// A network that waits for a secret is told of, and the host is not Ready.
func TestSecretNotThere(t *testing.T) {
	w := newWorld(t)
	w.kernel.lacks = owner("b")
	w.push(1, "a", "b")
	w.start()
	s := w.until("b is held", func(s *status.Status) bool {
		return slices.ContainsFunc(s.Owners, func(o status.Owner) bool {
			return o.Name == owner("b") && o.State == status.OwnerHeld && strings.Contains(o.Message, "secret /etc/weft/x")
		})
	})
	if c := s.Condition(status.Stalled); !c.True || c.Reason != "Invalid" || !strings.Contains(c.Message, "secret /etc/weft/x") || s.Condition(status.Ready).True {
		t.Errorf("%+v", s.Conditions)
	}
	if got := w.kernel.names(); got != "a" {
		t.Errorf("there is %q", got)
	}
	w.kernel.set(func() {
		w.kernel.lacks = ""
		w.kernel.wake(driver.Scope{})
	})
	w.applied(1)
}
