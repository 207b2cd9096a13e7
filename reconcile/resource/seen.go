package resource

// Seen is an observed resource of which only the fingerprint is known, or of
// which the kernel's text is no longer what was written: drivers that store an
// intent's hash beside the hash of the kernel's own text return it.
type Seen struct {
	Ident  ID       `json:"id"`
	Print  uint64   `json:"print"`
	Up     ID       `json:"parent,omitzero"`
	Needed []ID     `json:"needs,omitempty"`
	Held   []string `json:"claims,omitempty"`
	// Drift says in lines how the host differs from what was written; empty
	// when it does not.
	Drift string `json:"drift,omitempty"`
	// Rebound: what was written is all there, only ports that it names came,
	// went or moved. It is to be written again, and is nobody's tampering.
	Rebound bool `json:"rebound,omitempty"`
}

// ID implements State.
func (s Seen) ID() ID { return s.Ident }

// Needs implements State.
func (s Seen) Needs() []ID { return s.Needed }

// Parent implements Contained.
func (s Seen) Parent() ID { return s.Up }

// Claims implements Claimant.
func (s Seen) Claims() []string { return s.Held }

// Fingerprint implements State.
func (s Seen) Fingerprint() uint64 { return s.Print }

// Fields implements State.
func (s Seen) Fields() []Field { return []Field{{Name: "drift", Value: s.Drift, Lines: true}} }
