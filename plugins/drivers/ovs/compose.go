package ovs

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// A txn is a transaction in the making: the view as it will be after the
// operations so far, and the step that each operation belongs to.
type txn struct {
	d    *Driver
	v    *view
	part []int // steps that are in it
	ops  []operation
	step []int
	at   int // the step being composed
}

// compose turns steps into operations. A step that cannot be done, or whose
// predecessor cannot, gets its error at once and stays out.
func (d *Driver) compose(v *view, r *run, part []int) *txn {
	t := &txn{d: d, v: v}
	for _, i := range r.ready(part) {
		if slices.ContainsFunc(r.before(i), func(j int) bool { return r.errs[j] != nil }) {
			r.errs[i] = plan.ErrSkipped
			continue
		}
		t.at = i
		if err := t.add(r.steps[i]); err != nil {
			r.errs[i] = fmt.Errorf("%s: %w", r.steps[i].ID(), err)
			continue
		}
		t.part = append(t.part, i)
	}
	return t
}

func (t *txn) add(s *plan.Step) error {
	if !s.Drop && s.State() == nil {
		return errors.New("the step says not what to make")
	}
	if !s.Drop {
		for _, f := range s.State().Fields() {
			if !printable(f.Value) {
				return fmt.Errorf("%s %q has characters that the switch's database does not take", f.Name, f.Value)
			}
		}
	}
	if id := s.ID().Name; !printable(id) || !printable(string(s.Owner())) {
		return fmt.Errorf("the name or the owner %q has characters that the switch's database does not take", s.Owner())
	}
	if s.Drop {
		if s.ID().Kind == resource.KindBridge {
			return t.dropBridge(s.ID().Name)
		}
		return t.dropPort(s.ID())
	}
	switch st := s.State().(type) {
	case resource.Bridge:
		return t.makeBridge(st, s.Owner())
	case resource.Port:
		return t.makePort(st, s.Owner())
	case resource.Tunnel:
		return t.makeTunnel(st, s.Owner())
	}
	return fmt.Errorf("this driver cannot make a %T", s.State())
}

// printable reports whether the database can hold s: a control character in one
// value would make the server hang up on the whole transaction.
func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

func (t *txn) op(op operation) {
	t.ops = append(t.ops, op)
	t.step = append(t.step, t.at)
}

func (t *txn) makeBridge(st resource.Bridge, owner resource.Owner) error {
	b := t.v.bridges[st.Name]
	switch {
	case b == nil && st.Existing:
		return errors.New("there is no such bridge, and the Host says that it exists already (manage: Use)")
	case b == nil:
		return t.newBridge(st, owner)
	case !t.d.ours(b.ExternalIDs) && st.Adopts():
		return nil
	case !t.d.ours(b.ExternalIDs):
		return errors.New(foreign("a bridge of that name", b.ExternalIDs))
	case st.Existing:
		// It was ours and is now said to be somebody else's: give it up.
		t.op(put(tableBridge, st.Name, "external_ids", nil, markInstance, markOwner, markNeeds))
		return nil
	}
	keys, drop := t.d.marks(owner, resource.KindBridge, false, needs{})
	t.op(update(tableBridge, st.Name, row{
		"datapath_type": st.Datapath, "fail_mode": set(st.FailMode), "controller": set(), "protocols": set(),
	}))
	t.op(put(tableBridge, st.Name, "external_ids", keys, drop...))
	t.op(put(tableBridge, st.Name, "other_config", hwaddr(st.MAC), keyHWAddr))
	t.op(update(tableInterface, st.Name, row{"mtu_request": optional(st.MTU)}))
	return nil
}

func (t *txn) newBridge(st resource.Bridge, owner resource.Owner) error {
	if types := t.v.root.Datapaths; len(types) > 0 && !slices.Contains(types, st.Datapath) {
		return fmt.Errorf("the switch has no datapath %q, only %s", st.Datapath, strings.Join(types, ", "))
	}
	if p := t.v.ports[st.Name]; p != nil {
		return fmt.Errorf("its name is taken by a port of bridge %s", p.bridge.Name)
	}
	n := len(t.ops)
	link1, port1, bridge1 := fmt.Sprintf("i%d", n), fmt.Sprintf("p%d", n), fmt.Sprintf("b%d", n)
	keys, _ := t.d.marks(owner, resource.KindBridge, false, needs{})
	t.op(insert(tableInterface, link1, row{"name": st.Name, "type": "internal", "mtu_request": optional(st.MTU)}))
	t.op(insert(tablePort, port1, row{"name": st.Name, "interfaces": set(named(link1))}))
	t.op(insert(tableBridge, bridge1, row{
		"name": st.Name, "datapath_type": st.Datapath, "fail_mode": set(st.FailMode), "ports": set(named(port1)), "external_ids": dict(keys),
		"other_config": dict(hwaddr(st.MAC)),
	}))
	t.op(root(t.v, link(tableSwitch, "", "bridges", bridge1)))
	b := &bridge{bridgeRow: &bridgeRow{Name: st.Name, ExternalIDs: keys}}
	local := &port{portRow: &portRow{Name: st.Name}, bridge: b}
	b.ports = []*port{local}
	t.v.bridges[st.Name], t.v.ports[st.Name] = b, local
	return nil
}

func (t *txn) dropBridge(name string) error {
	b := t.v.bridges[name]
	if b == nil || !t.d.ours(b.ExternalIDs) {
		return nil
	}
	for _, p := range b.ports {
		if p.Name != name && !t.d.ours(p.ExternalIDs) {
			return fmt.Errorf("it still carries port %s, which weft did not plug in", p.Name)
		}
	}
	t.op(root(t.v, unlink(tableSwitch, "", "bridges", b.UUID)))
	delete(t.v.bridges, name)
	for _, p := range b.ports {
		delete(t.v.ports, p.Name)
	}
	return nil
}

func (t *txn) dropPort(id resource.ID) error {
	p := t.v.ports[id.Name]
	if p == nil || !t.d.ours(p.ExternalIDs) || p.ExternalIDs[markKind] != string(id.Kind) {
		return nil
	}
	t.op(unlink(tableBridge, p.bridge.Name, "ports", p.UUID))
	delete(t.v.ports, id.Name)
	p.bridge.ports = slices.DeleteFunc(p.bridge.ports, func(o *port) bool { return o == p })
	return nil
}

// A plug is a port row to be, of either kind.
type plug struct {
	id      resource.ID
	bridge  string
	kind    string            // the interface's type
	options map[string]string // of the interface, all of them
	ids     map[string]string // of the interface; those not here and ours go
	marks   map[string]string
	unmark  []string
	bond    *resource.Bond
}

func (t *txn) makePort(st resource.Port, owner resource.Owner) error {
	if st.Type != "" && st.Type != "patch" {
		return fmt.Errorf("a port has no type %q", st.Type)
	}
	if err := t.fit(st); err != nil {
		return err
	}
	p := plug{id: st.ID(), bridge: st.Bridge, kind: st.Type, options: map[string]string{}, ids: map[string]string{}}
	if st.Peer != "" {
		p.options["peer"] = st.Peer
	}
	if st.IfaceID != "" {
		p.ids[keyIfaceID] = st.IfaceID
	}
	if st.MAC != "" {
		p.ids[keyMAC] = st.MAC
	}
	if p.bond = st.Bond; p.bond != nil {
		if err := checkBond(st); err != nil {
			return err
		}
	}
	p.marks, p.unmark = t.d.marks(owner, resource.KindPort, st.Uplink, needs{st.Link, st.Guards})
	return t.plugIn(p)
}

// tunnelTypes are the encapsulations that a switch may know.
var tunnelTypes = []string{"vxlan", "gre", "geneve", "stt"}

func (t *txn) makeTunnel(st resource.Tunnel, owner resource.Owner) error {
	if !slices.Contains(tunnelTypes, st.Type) {
		return fmt.Errorf("a tunnel has no type %q", st.Type)
	}
	p := plug{id: st.ID(), bridge: st.Bridge, kind: st.Type, options: map[string]string{"key": "flow"}}
	for key, addr := range map[string]netip.Addr{"local_ip": st.Local, "remote_ip": st.Remote} {
		if addr.IsValid() {
			p.options[key] = addr.String()
		}
	}
	if st.DstPort != 0 {
		p.options["dst_port"] = strconv.Itoa(st.DstPort)
	}
	p.marks, p.unmark = t.d.marks(owner, resource.KindTunnel, false, needs{Link: st.Endpoint})
	return t.plugIn(p)
}

// plugIn makes the row be as p says, whatever of ours is there under its name.
func (t *txn) plugIn(p plug) error {
	b := t.v.bridges[p.bridge]
	if b == nil {
		return fmt.Errorf("there is no bridge %s", p.bridge)
	}
	old := t.v.ports[p.id.Name]
	switch {
	case old != nil && !t.d.ours(old.ExternalIDs):
		return errors.New(foreign(fmt.Sprintf("port %s of bridge %s", p.id.Name, old.bridge.Name), old.ExternalIDs))
	case old != nil && old.ExternalIDs[markKind] != string(p.id.Kind):
		return fmt.Errorf("the name is still taken by %s %s", old.ExternalIDs[markKind], p.id.Name)
	case old != nil && old.bridge == b && old.UUID != "":
		t.change(p)
		return nil
	case old != nil:
		if err := t.dropPort(p.id); err != nil {
			return err
		}
	}
	n := len(t.ops)
	link1, port1 := fmt.Sprintf("i%d", n), fmt.Sprintf("p%d", n)
	if p.bond != nil {
		t.newBond(p, port1)
		return nil
	}
	t.op(insert(tableInterface, link1, row{"name": p.id.Name, "type": p.kind, "options": dict(p.options), "external_ids": dict(p.ids)}))
	t.op(insert(tablePort, port1, row{"name": p.id.Name, "interfaces": set(named(link1)), "external_ids": dict(p.marks)}))
	t.plugged(p, port1)
	return nil
}

// plugged adds the port row that the transaction inserts to its bridge.
func (t *txn) plugged(p plug, port1 string) {
	b := t.v.bridges[p.bridge]
	t.op(link(tableBridge, p.bridge, "ports", port1))
	made := &port{portRow: &portRow{Name: p.id.Name, ExternalIDs: p.marks}, bridge: b}
	b.ports = append(b.ports, made)
	t.v.ports[p.id.Name] = made
}

// change sets every column that weft knows; keys of others in external_ids stay.
func (t *txn) change(p plug) {
	columns := row{"tag": set(), "trunks": set(), "vlan_mode": set()}
	bondColumns(p.bond, columns)
	t.op(update(tablePort, p.id.Name, columns))
	t.op(put(tablePort, p.id.Name, "external_ids", p.marks, p.unmark...))
	if p.bond != nil {
		return // its members are links that weft does not make
	}
	t.op(update(tableInterface, p.id.Name, row{"type": p.kind, "options": dict(p.options)}))
	if p.id.Kind == resource.KindPort {
		t.op(put(tableInterface, p.id.Name, "external_ids", p.ids, keyIfaceID, keyMAC))
	}
}

func optional(n int) any {
	if n == 0 {
		return set()
	}
	return set(n)
}
