package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"

	"weft.dev/reconcile/resource"
)

// Limits say how much a plan may remove unasked.
type Limits struct {
	// Share of what is ours that may go, Least how many may in any case; zero
	// is the default.
	Share float64
	Least int
	// Consent: a person has seen it and wants it.
	Consent bool
}

// The default limits.
const (
	DefaultShare = 0.5
	DefaultLeast = 10
	fewOwners    = 2
)

// A GuardError refuses a plan that removes too much at once.
type GuardError struct {
	Host    string
	Removed int
	Total   int
	// Empty: the host should have nothing at all.
	Empty bool
}

// Error implements error.
func (e *GuardError) Error() string {
	if e.Empty {
		return fmt.Sprintf("the plan for %s leaves nothing: it removes all %d resources, which needs consent", e.Host, e.Removed)
	}
	return fmt.Sprintf("the plan for %s removes %d of %d resources at once, which needs consent", e.Host, e.Removed, e.Total)
}

// Guard returns a *GuardError when p removes more than limits allow of the
// total that is ours on the host. What is replaced counts as kept. To take down
// one or two networks is a day's work, however much of a small host they are.
func Guard(p *Plan, total int, limits Limits) error {
	share, least := limits.Share, limits.Least
	if share == 0 {
		share = DefaultShare
	}
	if least == 0 {
		least = DefaultLeast
	}
	removed, owners := 0, map[resource.Owner]bool{}
	for _, a := range p.Actions {
		if a.Verb == Delete {
			removed++
			owners[a.Owner()] = true
		}
	}
	delete(owners, resource.Owner("host/"+p.Host))
	empty := p.Desired == 0 && removed > 0
	tooMany := len(owners) > fewOwners && removed >= least && removed > int(math.Floor(share*float64(total)))
	if limits.Consent || !empty && !tooMany {
		return nil
	}
	return &GuardError{Host: p.Host, Removed: removed, Total: total, Empty: empty}
}

// sign computes the digest: of what is done, of the states it is done to, and
// of those it stands on.
func (p *Plan) sign(w *world) {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "weft plan %d %q %q %q %q\n", FormatVersion, p.Host, p.Revision, p.Lock, p.Frozen)
	for _, a := range p.Actions {
		_, _ = fmt.Fprintf(h, "%s %s %q\n", a.Verb, a.ID.Kind, a.ID.Name)
		signEntry(h, "before", a.Before)
		signEntry(h, "after", a.After)
		var required []resource.ID
		if a.After != nil {
			required = resource.Requires(a.After.State)
		}
		for _, r := range required {
			if before, _ := w.find(r); before != nil {
				signEntry(h, "on "+r.String(), before)
			}
		}
	}
	p.Digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func signEntry(h io.Writer, what string, e *resource.Entry) {
	if e != nil {
		_, _ = fmt.Fprintf(h, " %q %q %016x\n", what, e.Owner, e.State.Fingerprint())
	}
}
