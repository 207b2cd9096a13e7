package resource

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A Term is what the annotations of a document say of how its owner is treated.
type Term struct {
	Owner Owner `json:"owner"`
	// Keep: what the owner has stays when its document goes (weft.dev/prune:
	// disabled); it is dropped once a commit without this was seen.
	Keep bool `json:"keep,omitempty"`
	// IgnoreDrift is a glob over "kind/name" of resources that are left as another hand
	// made them, or "".
	IgnoreDrift string `json:"ignoreDrift,omitempty"`
	// Idle: the owner is declared, and nothing of it runs. Linger is how long a host
	// then keeps what it has of it, from when it first saw that.
	Idle   bool          `json:"idle,omitempty"`
	Linger time.Duration `json:"linger,omitempty"`
}

// Term returns the terms of owner; the zero Term where nothing is said.
func (in *Intent) Term(owner Owner) Term {
	i, ok := slices.BinarySearchFunc(in.Terms, owner, func(t Term, o Owner) int { return cmp.Compare(t.Owner, o) })
	if !ok {
		return Term{Owner: owner}
	}
	return in.Terms[i]
}

// Carry returns next with holds on the owners that last had terms to keep and
// that next does not know any more, and on what they stand on. Their terms go
// along, so that the next commit finds them again.
func Carry(last, next *Intent) *Intent {
	if last == nil || next.Frozen != "" {
		return next
	}
	var kept []Term
	for _, t := range last.Terms {
		_, held := next.Held(t.Owner)
		if t.Keep && !held && next.Fragment(t.Owner) == nil {
			kept = append(kept, t)
		}
	}
	if kept == nil {
		return next
	}
	out := *next
	out.Holds, out.Terms = slices.Clone(next.Holds), append(slices.Clone(next.Terms), kept...)
	for _, t := range kept {
		out.Holds = append(out.Holds, Hold{t.Owner, HoldPrune,
			"it said weft.dev/prune: disabled when its document went: bring the document back, take the annotation away in one commit and the document in the next"})
	}
	own := Owner("host/" + next.Host)
	if _, held := next.Held(own); !held {
		out.Holds = append(out.Holds, Hold{own, HoldPrune, string(kept[0].Owner) + " is kept and stands on it"})
	}
	slices.SortFunc(out.Holds, func(a, b Hold) int { return cmp.Compare(a.Owner, b.Owner) })
	slices.SortFunc(out.Terms, func(a, b Term) int { return cmp.Compare(a.Owner, b.Owner) })
	return &out
}

// Matches reports whether the glob of t, in which "*" stands for any characters and
// "?" for one, is that of a resource.
func (t Term) Matches(id ID) bool {
	return t.IgnoreDrift != "" && glob(t.IgnoreDrift, string(id.Kind)+"/"+id.Name)
}

// glob takes time in proportion to both lengths at worst: it goes back to the
// last "*" only.
func glob(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i] && pattern[p] != '*'):
			p, i = p+1, i+1
		case p < len(pattern) && pattern[p] == '*':
			star, mark, p = p, i, p+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// Wait is a duration as people write it: "10m", not "10m0s".
func Wait(d time.Duration) string {
	s := d.String()
	for _, end := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, end) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// Reheld sorts the holds of in, and keeps the first of each owner. It returns in.
func Reheld(in *Intent) *Intent {
	slices.SortStableFunc(in.Holds, func(a, b Hold) int { return cmp.Compare(a.Owner, b.Owner) })
	in.Holds = slices.CompactFunc(in.Holds, func(a, b Hold) bool { return a.Owner == b.Owner })
	return in
}
