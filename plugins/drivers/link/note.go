package link

import (
	"bytes"
	"encoding/json"
	"maps"

	"weft.dev/reconcile/resource"
)

// hostNote is the key of the note about the host's own namespace. Those of
// others have an instance's name and "-" in front.
const hostNote = "host"

// A note is what the kernel cannot tell of one namespace: who owns what, and
// what was asked for where the kernel shows more. It is written before what it
// is about and read by successors.
type note struct {
	Cookie  uint64              `json:"cookie,omitempty"`
	Links   map[string]madeLink `json:"links,omitempty"`   // by name
	Owners  map[string]string   `json:"owners,omitempty"`  // of addresses and routes, by ID
	Sysctls map[string]setting  `json:"sysctls,omitempty"` // by key
	// Ports and Limits are by name of ID.
	Ports  map[string]bound[resource.BridgePort] `json:"ports,omitempty"`
	Limits map[string]bound[resource.Qdisc]      `json:"limits,omitempty"`
	// Guards are digests of the kernel's text of what may pass ports, by name of ID.
	Guards map[string]uint64 `json:"guards,omitempty"`
}

// madeLink is a link as it was asked for: empty MAC and MTU are the kernel's.
type madeLink struct {
	Link  resource.Link `json:"link"`
	Owner string        `json:"owner"`
}

// setting is a sysctl that was written, and what stood there before.
type setting struct {
	Sysctl resource.Sysctl `json:"sysctl"`
	Owner  string          `json:"owner"`
	Before string          `json:"before"`
}

func (n *note) clone() *note {
	return &note{
		Cookie: n.Cookie, Links: filled(n.Links), Owners: filled(n.Owners), Sysctls: filled(n.Sysctls),
		Ports: filled(n.Ports), Limits: filled(n.Limits), Guards: filled(n.Guards),
	}
}

func filled[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return maps.Clone(m)
}

func noteKey(ns string) string {
	if ns == "" {
		return hostNote
	}
	return ns
}

// note returns what is noted of ns, which must not be changed. A note of an
// earlier namespace of the same name is none.
func (d *Driver) note(ns string, cookie uint64) *note {
	key := noteKey(ns)
	stamp := d.marks.Stamp(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.notes[key]
	if n == nil || d.stamps[key] != stamp {
		n = &note{}
		if stamp == 0 || !d.marks.Load(key, n) {
			n = &note{Cookie: cookie}
		}
		d.notes[key], d.stamps[key] = n, stamp
	}
	if n.Cookie != cookie {
		return &note{Cookie: cookie}
	}
	return n
}

// save stores n if it differs from what is there.
func (d *Driver) save(ns string, n *note) error {
	key := noteKey(ns)
	old, _ := json.Marshal(d.note(ns, n.Cookie))
	if b, err := json.Marshal(n); err == nil && bytes.Equal(b, old) {
		return nil
	}
	if err := d.marks.Put(key, n); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// A copy: the caller goes on changing its own, and what is kept is compared with it.
	d.notes[key], d.stamps[key] = n.clone(), d.marks.Stamp(key)
	return nil
}

// tidy drops notes about namespaces that are gone.
func (d *Driver) tidy() {
	for _, key := range d.marks.Keys() {
		if key != hostNote && !d.host.HasSpace(key) {
			_ = d.forget(key) // it is of no use, and of no harm
		}
	}
}

// forget drops the note of ns.
func (d *Driver) forget(ns string) error {
	d.mu.Lock()
	delete(d.notes, noteKey(ns))
	delete(d.stamps, noteKey(ns))
	d.mu.Unlock()
	return d.marks.Drop(noteKey(ns))
}

// drop forgets what the note says of id.
func (n *note) drop(id resource.ID) {
	_, rest, _ := cut(id.Name)
	switch id.Kind {
	case resource.KindLink:
		delete(n.Links, rest)
		of := string(resource.KindAddr) + " " + id.Name + "/"
		maps.DeleteFunc(n.Owners, func(k, _ string) bool { return len(k) > len(of) && k[:len(of)] == of })
		maps.DeleteFunc(n.Sysctls, func(_ string, s setting) bool { return s.Sysctl.Link != nil && *s.Sysctl.Link == id })
	case resource.KindSysctl:
		delete(n.Sysctls, rest)
	case resource.KindBridgePort:
		delete(n.Ports, id.Name)
		delete(n.Guards, id.Name)
	case resource.KindQdisc:
		delete(n.Limits, id.Name)
	default:
		delete(n.Owners, id.String())
	}
}
