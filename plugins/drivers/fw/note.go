package fw

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// A note is what this process leaves of one namespace for its successors.
type note struct {
	Cookie  uint64  `json:"cookie,omitempty"`
	Variant Variant `json:"variant,omitempty"`
	// Print is the state of the rules at which the chains below, and bare
	// built-in ones, were all there was; 0 if there was more.
	Print  uint64             `json:"print,omitempty"`
	Chains map[string]written `json:"chains,omitempty"` // by the name of the ID
	Sets   map[string]madeSet `json:"sets,omitempty"`   // by name
}

// written is a chain that was asked for and what the kernel made of it.
type written struct {
	Owner resource.Owner `json:"owner"`
	Chain resource.Chain `json:"chain"`
	Text  []string       `json:"text"`
}

// madeSet is a set that was asked for.
type madeSet struct {
	Owner resource.Owner   `json:"owner"`
	Set   resource.AddrSet `json:"set"`
}

// clone returns a note that can be changed, of this variant.
func (n *note) clone(v Variant) *note {
	c := &note{Cookie: n.Cookie, Variant: v, Chains: map[string]written{}, Sets: map[string]madeSet{}}
	if n.Variant == v {
		maps.Copy(c.Chains, n.Chains)
	}
	maps.Copy(c.Sets, n.Sets)
	return c
}

// kernel is what the kernel must have in state Print.
func (n *note) kernel() tables {
	t := tables{}
	for name, w := range n.Chains {
		if len(w.Text) > 0 {
			t[resource.ID{Kind: resource.KindChain, Name: name}] = &kchain{policy: w.Text[0][1:], rules: w.Text[1:]}
		}
	}
	return t
}

// covers reports whether kernel is nothing but what n says.
func (n *note) covers(kernel tables) bool {
	left := len(n.Chains)
	for id, c := range kernel {
		w, ok := n.Chains[id.Name]
		switch {
		case ok && slices.Equal(w.Text, c.text()):
			left--
		case ok || !c.bare():
			return false
		}
	}
	return left == 0
}

// note returns what is noted of s, which must not be changed. A note about an
// earlier namespace of the same name is none.
func (d *Driver) note(s *host.Space) *note {
	m := d.memory(s.Name)
	stamp := d.marks.Stamp(s.Name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.note == nil || m.stamp != stamp {
		n := &note{}
		if stamp == 0 || !d.marks.Load(s.Name, n) {
			n = &note{Cookie: s.Cookie}
		}
		m.note, m.stamp = n, stamp
	}
	if m.note.Cookie != s.Cookie {
		return &note{Cookie: s.Cookie}
	}
	return m.note
}

// store keeps n for successors, if it says anything new.
func (d *Driver) store(s *host.Space, n *note) error {
	was, _ := json.Marshal(d.note(s))
	if b, err := json.Marshal(n); err == nil && bytes.Equal(b, was) {
		return nil
	}
	if err := d.marks.Put(s.Name, n); err != nil {
		return err
	}
	m := d.memory(s.Name)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note, m.stamp = n, d.marks.Stamp(s.Name)
	return nil
}
