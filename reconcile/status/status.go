// Package status is what an agent says of its host: the revision in force, the
// conditions, how each network fares, what was changed by another hand.
//
// In go facts, out come values with a stable JSON form and a text that people
// read. It touches nothing. The agent fills them in; the command line shows
// them; anybody may import it.
package status

import (
	"slices"
	"time"

	"weft.dev/reconcile/resource"
)

// FormatVersion is the version of the JSON of Status. Readers ignore fields
// they do not know.
const FormatVersion = 1

// Status is one host at one moment.
type Status struct {
	FormatVersion int       `json:"formatVersion"`
	Host          string    `json:"host"`
	Instance      string    `json:"instance"`
	Version       string    `json:"version"`
	Time          time.Time `json:"time"` // when this was said
	Started       time.Time `json:"started"`

	Repository string `json:"repository"`
	// ObservedRevision is the newest in the repository, LastAttempted the one
	// that was tried last, LastApplied the last of which all was verified;
	// each as "main@sha1:HEX".
	ObservedRevision      string `json:"observedRevision,omitempty"`
	LastAttemptedRevision string `json:"lastAttemptedRevision,omitempty"`
	LastAppliedRevision   string `json:"lastAppliedRevision,omitempty"`
	// Intent is the fingerprint of what the tree in force asks of this host.
	Intent string `json:"intent,omitempty"`
	// Subject and Author are of the revision attempted.
	Subject string `json:"subject,omitempty"`
	Author  string `json:"author,omitempty"`
	// Pinned is the revision that a rollback chose.
	Pinned string `json:"pinned,omitempty"`
	// Fetched is when the repository answered last, Applied when something was
	// changed last, Verified when all was found right last.
	Fetched  time.Time `json:"fetched,omitzero"`
	Applied  time.Time `json:"applied,omitzero"`
	Verified time.Time `json:"verified,omitzero"`

	Conditions []Condition `json:"conditions"`
	// Owners lists networks, and the host itself, by name.
	Owners []Owner `json:"owners,omitempty"`
	// NICs lists those that are expected on this host, or have a port here, by ID.
	NICs []NIC `json:"nics,omitempty"`
	// Routers lists how the services of the routers here are, by name.
	Routers []Router `json:"routers,omitempty"`
	// Drift lists what is open now, Repaired what was healed, newest first.
	Drift    []Drift `json:"drift,omitempty"`
	Repaired []Drift `json:"repaired,omitempty"`
	// Diagnostics of the tree, each as "file:line:col: error: message".
	Diagnostics []string `json:"diagnostics,omitempty"`
	// Notes are facts that need no action: foreign things that serve, ports that
	// are awaited.
	Notes []string `json:"notes,omitempty"`
	// Managed counts what is ours on the host, by kind.
	Managed map[resource.Kind]int `json:"managed,omitempty"`
}

// The conditions, always all of them, in this order.
const (
	Ready       = "Ready"       // the host is what the newest revision says
	Reconciling = "Reconciling" // something is being done or will be tried again
	Stalled     = "Stalled"     // it will not get better without somebody
	Drifted     = "Drifted"     // somebody else changed what is ours
	Suspended   = "Suspended"   // weft was told to leave something alone
	Healthy     = "Healthy"     // what the routers here serve with answers
)

// ReconcilingWaits is the reason of Reconciling while another process changes the host.
const ReconcilingWaits = "Waiting"

// HostSuspended is the reason of Suspended where it is the whole host; with any
// other one only networks are.
const HostSuspended = "Host"

// HostSuspended reports whether nothing at all is changed on the host.
func (s *Status) HostSuspended() bool {
	c := s.Condition(Suspended)
	return c.True && c.Reason == HostSuspended
}

// A Condition is one answer with its reason.
type Condition struct {
	Type string `json:"type"`
	True bool   `json:"status"`
	// Reason is one word for programs, Message a sentence for people.
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since"` // of True
}

// The states of an owner.
const (
	OwnerReady     = "Ready"
	OwnerFailing   = "Failing"
	OwnerWaiting   = "Waiting" // for its next try, or for what it stands on
	OwnerHeld      = "Held"
	OwnerSuspended = "Suspended"
	OwnerPending   = "Pending" // not looked at yet
)

// The lifecycle of a network on a host.
const (
	Allocated    = "Allocated"    // it has its numbers, and nothing of it runs
	Implementing = "Implementing" // it is wanted here and was never all there
	Implemented  = "Implemented"
	Shutdown     = "Shutdown" // nothing of it runs any more, and it is still here
	Destroy      = "Destroy"  // no document asks for it any more, and it is still here
)

// An Owner is how one network fares.
type Owner struct {
	Name    resource.Owner `json:"name"`
	State   string         `json:"state"`
	Message string         `json:"message,omitempty"`
	Since   time.Time      `json:"since"`
	Retry   time.Time      `json:"retry,omitzero"`
	// Lifecycle is the state of a network as this host knows it, in CloudStack's
	// words; "" where nothing can be said.
	Lifecycle string `json:"lifecycle,omitempty"`
	// Resources counts what it should have here.
	Resources int `json:"resources"`
	// Guru designed it, where it is a network.
	Guru string `json:"guru,omitempty"`
}

// A Drift is one thing that another hand changed.
type Drift struct {
	Owner resource.Owner `json:"owner"`
	ID    resource.ID    `json:"id"`
	// What says in lines what differs: "field: is, should be", or "gone".
	What  []string  `json:"what"`
	Since time.Time `json:"since"` // when it was first seen
	// Healed is when it was repaired; zero while it is not.
	Healed time.Time `json:"healed,omitzero"`
}

// Condition returns the condition of that type.
func (s *Status) Condition(typ string) Condition {
	i := slices.IndexFunc(s.Conditions, func(c Condition) bool { return c.Type == typ })
	if i < 0 {
		return Condition{Type: typ}
	}
	return s.Conditions[i]
}

// Set changes a condition. Since moves only when the answer does.
func (s *Status) Set(c Condition, now time.Time) {
	i := slices.IndexFunc(s.Conditions, func(x Condition) bool { return x.Type == c.Type })
	if i < 0 {
		c.Since = now
		s.Conditions = append(s.Conditions, c)
		return
	}
	c.Since = s.Conditions[i].Since
	if c.True != s.Conditions[i].True {
		c.Since = now
	}
	s.Conditions[i] = c
}

// Clone copies s, so that one may be read while the other changes.
func (s *Status) Clone() *Status {
	out := *s
	out.Conditions = slices.Clone(s.Conditions)
	out.Owners = slices.Clone(s.Owners)
	out.NICs = slices.Clone(s.NICs)
	out.Routers = slices.Clone(s.Routers)
	out.Drift = slices.Clone(s.Drift)
	out.Repaired = slices.Clone(s.Repaired)
	out.Diagnostics = slices.Clone(s.Diagnostics)
	out.Notes = slices.Clone(s.Notes)
	return &out
}
