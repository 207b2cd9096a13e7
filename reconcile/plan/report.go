package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// FormatVersion is the version of the JSON of Plan and Report, and of digests.
// Readers ignore fields they do not know and refuse versions they do not know.
const FormatVersion = 1

// A Report is what one change does to all hosts: the document that pull
// requests, plan files and renderers are made of.
type Report struct {
	FormatVersion int `json:"formatVersion"`
	// Base and Head name the commits compared; Base is "" where hosts were
	// looked at instead.
	Base  string  `json:"base,omitempty"`
	Head  string  `json:"head,omitempty"`
	Hosts []*Plan `json:"hosts"`
	// Allocations are the entries of the lock file that come, change and go.
	Allocations []Allocation `json:"allocations,omitempty"`
	// Reachability is nil where nobody computed it.
	Reachability *Reachability `json:"reachability,omitempty"`
	Checks       []Check       `json:"checks,omitempty"`
	// Digest stands for all hosts' digests.
	Digest string `json:"digest"`
}

// NewReport takes hosts, sorts them by name and computes the digest.
func NewReport(base, head string, hosts []*Plan) *Report {
	slices.SortFunc(hosts, func(a, b *Plan) int { return cmp.Compare(a.Host, b.Host) })
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "weft report %d %q %q\n", FormatVersion, base, head)
	for _, p := range hosts {
		_, _ = fmt.Fprintf(h, "%q %s\n", p.Host, p.Digest)
	}
	digest := "sha256:" + hex.EncodeToString(h.Sum(nil))
	return &Report{FormatVersion: FormatVersion, Base: base, Head: head, Hosts: hosts, Digest: digest}
}

// Count sums up all hosts; hosts is how many have something to do.
func (r *Report) Count() (c Count, hosts int) {
	for _, p := range r.Hosts {
		c = c.Plus(p.Count())
		if !p.Empty() {
			hosts++
		}
	}
	return c, hosts
}

// Empty reports whether no host has anything to do.
func (r *Report) Empty() bool {
	return !slices.ContainsFunc(r.Hosts, func(p *Plan) bool { return !p.Empty() })
}

// Denied reports whether a policy forbids the change.
func (r *Report) Denied() bool {
	return slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Status == Denied })
}

// An Allocation is one entry of the lock file and its fate.
type Allocation struct {
	Verb  Verb // Create, Update or Delete
	Owner string
	Field string
	From  string
	To    string
}

// Reachability is who may newly, and who may no longer, talk to whom.
type Reachability struct {
	Gained []Path `json:"gained,omitempty"`
	Lost   []Path `json:"lost,omitempty"`
	// Exposed lists what the internet may newly reach: "203.0.113.20:443/tcp".
	Exposed []string `json:"exposed,omitempty"`
}

// A Path is one way that packets may go.
type Path struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Ports  string `json:"ports,omitempty"`
	Source Source `json:"source,omitzero"`
}

// A Status is how a check ended.
type Status string

// The statuses.
const (
	Passed Status = "passed"
	Warned Status = "warned"
	Failed Status = "failed"
	Denied Status = "denied"
)

// A Check is a policy or an expectation that was judged.
type Check struct {
	Name    string `json:"name"`
	Status  Status `json:"status"`
	Message string `json:"message,omitempty"`
	Source  Source `json:"source,omitzero"`
}
