package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/engine/trial"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
	"weft.dev/schema"
)

// maxNotes bounds lists of sentences in a status.
const maxNotes = 50

// report brings the status up to date.
func (a *Agent) report() {
	now, s := time.Now(), a.saved.get()
	a.mu.Lock()
	defer a.mu.Unlock()
	st := a.status
	st.Pinned = ""
	if s.Pin != "" {
		st.Pinned = "sha1:" + s.Pin
	}
	st.Drift, st.Repaired = a.drift.list(), slices.Clone(a.drift.repaired)
	st.Managed = a.Engine.Count()
	st.Owners = a.owners(st.Owners, now)
	if a.compiled != nil && a.compiled.Guests != nil {
		st.NICs = nicsHere(a.Host.Name, a.compiled.Guests, a.Engine.Guests(), st.NICs, now)
		a.see(st.NICs)
	}
	st.Diagnostics, st.Notes, st.Intent = nil, nil, ""
	if a.compiled != nil {
		st.Intent = IntentPrint(a.compiled.Intent)
		for i := range a.compiled.Diags {
			st.Diagnostics = append(st.Diagnostics, a.compiled.Diags[i].String())
		}
		st.Diagnostics = bounded(st.Diagnostics)
		st.Notes = bounded(slices.Clone(a.compiled.Notes))
	}
	if r := a.result; r != nil {
		st.Notes = bounded(append(notes(r.Left), st.Notes...))
		if r.Journal != 0 && r.Began.After(st.Applied) {
			st.Applied = r.Began
		}
		if r.Settled() {
			if r.Began.After(st.Verified) {
				st.Verified = r.Began
			}
			if r.Revision != "" && r.Revision != "none" {
				st.LastAppliedRevision = r.Revision
			}
		}
	}
	if p, waits := trial.Open(a.Host).Pending(); waits {
		st.Notes = append([]string{(&trial.PendingError{Until: p.Until}).Error()}, st.Notes...)
	}
	stalled := a.stalled(st)
	st.Set(stalled, now)
	st.Set(a.readiness(stalled), now)
	st.Set(a.progress(), now)
	st.Set(a.drifted(st), now)
	st.Set(suspended(s), now)
	st.Routers = a.routersLocked()
	st.Set(st.Health(), now)
	a.Metrics.state(st)
	notify("STATUS=" + st.Line())
}

// IntentPrint is what a status says of an intent.
func IntentPrint(in *resource.Intent) string { return fmt.Sprintf("%016x", in.Fingerprint()) }

func bounded(l []string) []string {
	if more := len(l) - maxNotes; more > 0 {
		l = append(l[:maxNotes], fmt.Sprintf("and %d more", more))
	}
	return l
}

func notes(p *plan.Plan) []string {
	var out []string
	for _, f := range p.Foreign {
		out = append(out, fmt.Sprintf("%s: %s (wanted by %s)", f.ID, f.Words, f.Owner))
	}
	out = append(out, notices(p)...)
	var waiting []string
	for _, u := range p.Unbound {
		waiting = append(waiting, string(u.Owner))
	}
	if n := len(p.Unbound); n > 3 {
		out = append(out, fmt.Sprintf("%s, %s and %d more wait for ports of guests", waiting[0], waiting[1], n-2))
		return out
	}
	for _, u := range p.Unbound {
		out = append(out, fmt.Sprintf("%s waits for ports: %s", u.Owner, strings.Join(u.Symbols, ", ")))
	}
	return out
}

// notices are what others have yet to do. Many owners often wait for one daemon.
func notices(p *plan.Plan) []string {
	var out []string
	for i, n := range p.Notices {
		if i == 2 && len(p.Notices) > 3 {
			return append(out, fmt.Sprintf("%d more have notices like these; `weft plan` lists them", len(p.Notices)-i))
		}
		out = append(out, fmt.Sprintf("%s: %s", n.Owner, strings.Join(n.Words, "; ")))
	}
	return out
}

// stalled says what will not get better without somebody.
func (a *Agent) stalled(st *status.Status) status.Condition {
	c := status.Condition{Type: status.Stalled, Reason: "Progressing"}
	set := func(reason, format string, args ...any) {
		c.Message = strings.TrimPrefix(c.Message+"; "+fmt.Sprintf(format, args...), "; ")
		if !c.True {
			c.True, c.Reason = true, reason
		}
	}
	t := a.trouble
	if t.bug != nil {
		set("Bug", "%v", t.bug)
	}
	if t.broken != nil {
		set("Broken", "%v", t.broken)
	}
	if t.invalid != nil {
		set("Invalid", "the tree cannot be used: %v", t.invalid)
	}
	if t.unsigned != nil {
		set("Unsigned", "%v", t.unsigned)
	}
	if t.rewritten {
		set("Rewritten", "history was rewritten: %s does not descend from what is followed; `weft reconcile --accept-rewrite` follows it", st.ObservedRevision)
	}
	if a.compiled != nil && a.compiled.Diags.HasErrors() {
		set("Invalid", "%s; what they are about is left as it is", counted(errorsIn(a.compiled), "error", "in the tree"))
	}
	if r := a.result; r != nil {
		if r.Refused != "" {
			set("PruneBlocked", "%s (`weft reconcile --allow-removal`)", r.Refused)
		}
		if r.Left.Frozen != "" {
			set("Frozen", "nothing is changed: %s", r.Left.Frozen)
		}
		blocked := slices.DeleteFunc(slices.Clone(r.Left.Blocked), func(b plan.Blocked) bool { return b.ID.Kind.Outside() })
		if n := len(blocked); n > 0 {
			set("Blocked", "%s be what they should: %s: %s", counted(n, "resource", "cannot"), blocked[0].ID, blocked[0].Reason)
		}
	}
	if list := a.unreadable(); len(list) > 0 {
		set("Invalid", "%s: left as it is: %s", list[0].Owner, list[0].Reason)
	}
	if t.fetched != nil { // the last: alone it does not make the host unready
		set("Unreachable", "%v", t.fetched)
	}
	return c
}

func errorsIn(c *Compiled) int {
	n := 0
	for i := range c.Diags {
		if c.Diags[i].Severity == schema.Error {
			n++
		}
	}
	return n
}

func counted(n int, what, rest string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s %s", n, what, rest)
}

// readiness says whether the host is what the newest revision that is known
// says. A repository that does not answer does not change that.
func (a *Agent) readiness(stalled status.Condition) status.Condition {
	c := status.Condition{Type: status.Ready, Reason: "Converged", True: true}
	no := func(reason, message string) {
		c.True, c.Reason, c.Message = false, reason, message
	}
	r := a.result
	switch {
	case a.compiled == nil:
		no("NoRevision", "there is no revision to follow yet")
	case r == nil && !stalled.True:
		no("Applying", "the revision is being applied")
	case stalled.True && stalled.Reason != "Unreachable" || r == nil:
		no(stalled.Reason, stalled.Message)
	case hidden(r) != nil:
		u := hidden(r)
		no("Unreadable", fmt.Sprintf("%s could not be read: %s", u.Kind, u.Err))
	case !r.Settled():
		no("Failing", failing(r))
	default:
		c.Message = fmt.Sprintf("%d resources are as %s says", r.Left.Desired, a.revision.Short())
		if !r.Converged() { // another machine's trouble is not the host's
			c.Message = fmt.Sprintf("the host is as %s says; elsewhere: %s", a.revision.Short(), failing(r))
		}
	}
	return c
}

// hidden is what of the host itself could not be read, or nil.
func hidden(r *engine.Result) *resource.Unread {
	i := slices.IndexFunc(r.Left.Unread, func(u resource.Unread) bool { return !u.Kind.Outside() })
	if i < 0 {
		return nil
	}
	return &r.Left.Unread[i]
}

// failing counts who is not well, and names the first cause: of what failed, or
// where all that failed waits to be tried again, of that.
func failing(r *engine.Result) string {
	n, first, waits := 0, "", ""
	for _, o := range r.Owners {
		if len(o.Failures) == 0 && o.Waits == "" {
			continue
		}
		n++
		if first == "" && len(o.Failures) > 0 {
			first = fmt.Sprintf(": %s: %s", o.Failures[0].ID, o.Failures[0].Error)
		}
		if waits == "" && o.Waits != "" {
			waits = ": " + waiting(o)
		}
	}
	if b := r.Left.Blocked; n == 0 && len(b) > 0 {
		return fmt.Sprintf("%s: %s", b[0].ID, b[0].Reason)
	}
	if n == 0 {
		return counted(len(r.Left.Actions), "change", "to make")
	}
	return counted(n, "network", "not as it should be") + cmp.Or(first, waits)
}

// waiting is why nothing of an owner was tried.
func waiting(o engine.Outcome) string {
	return strings.TrimPrefix(o.Waits, plan.ErrSkipped.Error()+": ")
}

func (a *Agent) progress() status.Condition {
	c := status.Condition{Type: status.Reconciling, Reason: "Idle"}
	if r := a.result; r != nil && !r.Retry.IsZero() {
		c.True, c.Reason, c.Message = true, "Retrying", "tried again at "+r.Retry.Format(time.TimeOnly)
	}
	if a.trouble.locked != nil {
		c.True, c.Reason, c.Message = true, status.ReconcilingWaits, a.trouble.locked.Error()
	}
	if a.compiled == nil {
		c.True, c.Reason, c.Message = true, "Starting", "waiting for the repository"
	}
	return c
}

func (a *Agent) drifted(st *status.Status) status.Condition {
	c := status.Condition{Type: status.Drifted, Reason: "None"}
	if n := len(st.Drift); n > 0 {
		c.True, c.Reason = true, "Drift"
		c.Message = counted(n, "resource", "changed by another hand") + ": " + st.Drift[0].ID.String()
	}
	return c
}

func suspended(s state) status.Condition {
	c := status.Condition{Type: status.Suspended, Reason: "None"}
	if len(s.Suspended) == 0 {
		return c
	}
	c.True, c.Reason = true, "Suspended"
	if x, host := s.Suspended[""]; host {
		c.Reason = status.HostSuspended
		c.Message = strings.TrimSuffix("nothing is changed on this host: "+x.Reason, ": ")
		return c
	}
	var names []string
	for o := range s.Suspended {
		names = append(names, string(o))
	}
	slices.Sort(names)
	c.Message = strings.Join(names, ", ")
	return c
}

// owners says how each network fares; old tells since when.
func (a *Agent) owners(old []status.Owner, now time.Time) []status.Owner {
	if a.compiled == nil {
		return nil
	}
	in := resource.Carry(a.Engine.Verified().Intent, a.desired())
	found := map[resource.Owner]status.Owner{}
	for _, f := range in.Fragments {
		found[f.Owner] = status.Owner{Name: f.Owner, State: status.OwnerReady, Resources: f.Len()}
	}
	if a.result == nil {
		for name, o := range found {
			o.State = status.OwnerPending
			found[name] = o
		}
	} else {
		a.fates(found)
	}
	for _, h := range a.held(in) {
		o := status.Owner{Name: h.Owner, State: status.OwnerHeld, Message: h.Cause + ": " + h.Reason, Resources: found[h.Owner].Resources}
		if h.Cause == resource.HoldSuspended {
			o.State, o.Message = status.OwnerSuspended, strings.TrimPrefix(strings.TrimPrefix(h.Reason, "suspended"), ": ")
		}
		found[h.Owner] = o
	}
	a.lifecycles(in, found)
	out := make([]status.Owner, 0, len(found))
	for _, o := range found {
		o.Since = now
		if a.compiled.Guru != nil {
			o.Guru = a.compiled.Guru(o.Name)
		}
		i, known := slices.BinarySearchFunc(old, o.Name, func(o status.Owner, n resource.Owner) int { return cmp.Compare(o.Name, n) })
		if known && old[i].State == o.State {
			o.Since = old[i].Since
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b status.Owner) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// fates fills in what the last pass says of those that are not well.
func (a *Agent) fates(found map[resource.Owner]status.Owner) {
	set := func(name resource.Owner, state, message string, retry time.Time) {
		o := found[name]
		o.Name, o.State, o.Message, o.Retry = name, state, message, retry
		found[name] = o
	}
	for _, x := range a.result.Left.Actions {
		set(x.Owner(), status.OwnerWaiting, "changes are to be made", time.Time{})
	}
	for _, b := range a.result.Left.Blocked {
		set(b.Owner, status.OwnerFailing, fmt.Sprintf("%s: %s", b.ID, b.Reason), time.Time{})
	}
	for _, o := range a.result.Owners {
		switch {
		case len(o.Failures) > 0:
			set(o.Owner, status.OwnerFailing, fmt.Sprintf("%s: %s", o.Failures[0].ID, o.Failures[0].Error), o.Retry)
		case o.Waits != "":
			set(o.Owner, status.OwnerWaiting, waiting(o), o.Retry)
		}
	}
}
