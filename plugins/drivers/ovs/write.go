package ovs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"weft.dev/reconcile/resource"
)

// doFlows writes the steps of one round, each bridge in one bundle.
func (d *Driver) doFlows(ctx context.Context, r *run, part []int) {
	if part = r.ready(part); len(part) == 0 {
		return
	}
	v, err := d.look(ctx)
	if err != nil {
		r.fail(part, err)
		return
	}
	bridges := map[string][]int{}
	for _, i := range part {
		name, _ := splitID(r.steps[i].ID())
		bridges[name] = append(bridges[name], i)
	}
	for _, name := range slices.Sorted(maps.Keys(bridges)) {
		d.writeFlows(ctx, r, v, name, bridges[name])
	}
}

// splitID takes bridge and owner's part of the cookie out of the ID of flows.
func splitID(id resource.ID) (bridge string, cookie uint64) {
	cut := strings.LastIndexByte(id.Name, '/')
	if cut < 0 {
		return id.Name, 0
	}
	cookie, err := strconv.ParseUint(id.Name[cut+1:], 16, ownerBits)
	if err != nil {
		return id.Name[:cut], 0
	}
	return id.Name[:cut], cookie
}

// An edit is what a step does to one unit.
type edit struct {
	step   int
	cookie uint64
	drop   bool
	flows  resource.Flows
	owner  resource.Owner
	bound  map[string]int
	limits map[meterKey]uint64
	meters map[meterKey]uint32 // the numbers of limits; without those that the switch cannot keep
	// unmetered says why limits have no numbers.
	unmetered error
	rules     map[string]rule // wanted, by key
	old       flowRecord
	moved     bool // a port that the rules name is not where it was
}

// writeFlows makes the units of one bridge be as the steps say. If the switch
// refuses the whole, each unit is tried alone.
func (d *Driver) writeFlows(ctx context.Context, r *run, v *view, bridge string, part []int) {
	part = r.ready(part)
	b := v.bridges[bridge]
	if b == nil {
		d.withoutBridge(r, bridge, part)
		return
	}
	var edits []*edit
	x := newBinder(b)
	for _, i := range part {
		e, err := d.edit(r, i, bridge, x)
		if err != nil {
			r.errs[i] = fmt.Errorf("%s of %s: %w", r.steps[i].ID(), r.steps[i].Owner(), err)
			continue
		}
		edits = append(edits, e)
	}
	if len(edits) == 0 {
		return
	}
	err := d.writeEdits(ctx, r, bridge, edits)
	if err == nil {
		return
	}
	if len(edits) == 1 || ctx.Err() != nil {
		for _, e := range edits {
			r.errs[e.step] = err
		}
		return
	}
	for _, e := range edits {
		d.writeFlows(ctx, r, v, bridge, []int{e.step})
	}
}

func (d *Driver) withoutBridge(r *run, bridge string, part []int) {
	for _, i := range part {
		_, owner := splitID(r.steps[i].ID())
		if r.steps[i].Drop {
			r.errs[i] = d.dropFlowMark(bridge, d.instanceCookie()|owner)
			continue
		}
		r.errs[i] = fmt.Errorf("%s: there is no bridge %s", r.steps[i].ID(), bridge)
	}
}

func (d *Driver) edit(r *run, i int, bridge string, x *binder) (*edit, error) {
	s := r.steps[i]
	_, owner := splitID(s.ID())
	e := &edit{step: i, cookie: d.instanceCookie() | owner, drop: s.Drop, owner: s.Owner()}
	if e.drop {
		return e, nil
	}
	var ok bool
	if e.flows, ok = s.State().(resource.Flows); !ok {
		return nil, fmt.Errorf("this driver cannot make a %T", s.State())
	}
	if e.flows.Bridge != bridge || d.cookie(e.flows.Owner) != e.cookie {
		return nil, errors.New("the name does not fit the bridge and owner")
	}
	e.old = d.flowRecord(bridge, e.cookie)
	var mark flowMark
	d.flowStore().Load(flowKey(bridge, e.cookie), &mark)
	e.bound = x.bind(e.flows, mark.Bound)
	for sym, was := range mark.Bound {
		e.moved = e.moved || was > 0 && e.bound[sym] != was
	}
	var err error
	e.limits, err = limits(e.flows)
	return e, err
}

// writeEdits sends one bundle and leaves the marks. Only what differs is sent:
// counters of the rest go on.
func (d *Driver) writeEdits(ctx context.Context, r *run, bridge string, edits []*edit) error {
	cookies := make([]uint64, 0, len(edits))
	for _, e := range edits {
		cookies = append(cookies, e.cookie)
	}
	value, mask := common(cookies)
	now, err := d.printedIfAny(ctx, bridge, cookies)
	if err != nil {
		return err
	}
	meters, err := d.gauge(ctx, bridge, edits, now)
	if err != nil {
		return err
	}
	edits = d.rendered(r, edits, meters)
	err = meters.make(ctx, edits)
	var refused *noMeter
	if errors.As(err, &refused) && len(edits) == 1 { // of several it would hit those that have room too
		if err = meters.without(ctx, refused); err == nil {
			edits = d.rendered(r, edits, meters)
		}
	}
	if err != nil {
		return err
	}
	change := &bundle{cut: map[uint64][]rule{}, add: map[uint64][]rule{}}
	for _, e := range edits {
		e.changes(now[e.cookie], change)
	}
	if !change.empty() {
		if err := d.send(ctx, bridge, change); err != nil {
			return err
		}
		if now, err = d.printed(ctx, bridge, cookies); err != nil {
			return err
		}
	}
	sums, err := d.tallies(ctx, bridge, value, mask)
	if err != nil {
		return err
	}
	for _, e := range edits {
		r.errs[e.step] = d.leaveMark(bridge, e, now[e.cookie], sums[e.cookie])
	}
	return meters.clear(ctx, edits)
}

// printedIfAny is printed at less cost for who has no rules yet.
func (d *Driver) printedIfAny(ctx context.Context, bridge string, cookies []uint64) (map[uint64]map[string]rule, error) {
	value, mask := common(cookies)
	sums, err := d.tallies(ctx, bridge, value, mask)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(cookies, func(c uint64) bool { return sums[c].n > 0 }) {
		return map[uint64]map[string]rule{}, nil
	}
	return d.printed(ctx, bridge, cookies)
}

// rendered returns the edits whose rules can be said; the others have failed.
func (d *Driver) rendered(r *run, edits []*edit, meters *gauge) []*edit {
	out := make([]*edit, 0, len(edits))
	for _, e := range edits {
		var err error
		meters.number(e)
		if e.rules, err = render(e.flows, e.cookie, e.bound, e.meters); err != nil {
			r.errs[e.step] = fmt.Errorf("%s of %s: %w", r.steps[e.step].ID(), e.owner, err)
			continue
		}
		out = append(out, e)
	}
	return out
}

// changes adds to the bundle what takes the unit from now to what is wanted.
func (e *edit) changes(now map[string]rule, b *bundle) {
	if e.drop {
		b.wipe = append(b.wipe, e.cookie)
		return
	}
	if e.moved {
		b.forget = append(b.forget, e.cookie)
	}
	for key, r := range now {
		if _, ok := e.rules[key]; !ok {
			b.cut[e.cookie] = append(b.cut[e.cookie], r)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(e.rules)) {
		r, there := e.rules[key], now[key]
		// The same as was sent, and it is still as the switch said then.
		if there.actions != "" && e.old.Sent[key] == r.actions && e.old.Text[key] == there.actions {
			continue
		}
		b.add[e.cookie] = append(b.add[e.cookie], r)
	}
}

// leaveMark records what the switch has made of the unit.
func (d *Driver) leaveMark(bridge string, e *edit, now map[string]rule, sum tally) error {
	if e.drop {
		return d.dropFlowMark(bridge, e.cookie)
	}
	if sum.n != len(e.rules) {
		return fmt.Errorf("%s of %s: of %d rules the switch has %d; two owners may want the same match", e.flows.ID(), e.owner, len(e.rules), sum.n)
	}
	record := flowRecord{Flows: e.flows, Sent: actionsOf(e.rules), Text: actionsOf(now)}
	mark := flowMark{Bridge: bridge, Owner: e.flows.Owner, Print: e.flows.Fingerprint(), Bound: e.bound, Count: sum.n, Sum: sum.sum}
	for key, id := range e.meters {
		if mark.Meters == nil {
			mark.Meters = make(map[uint32]limited, len(e.meters))
		}
		mark.Meters[id] = limited{key.Sym, e.limits[key]}
	}
	if len(e.meters) < len(e.limits) {
		mark.Print = unlimited(mark.Print)
		return errors.Join(d.putFlowMark(e.cookie, mark, record), fmt.Errorf("%s of %s: %w", e.flows.ID(), e.owner, e.unmetered))
	}
	return d.putFlowMark(e.cookie, mark, record)
}

func actionsOf(rules map[string]rule) map[string]string {
	out := make(map[string]string, len(rules))
	for key, r := range rules {
		out[key] = r.actions
	}
	return out
}

// driftLines bounds what a person is shown of one unit.
const driftLines = 40

// driftText says how a unit differs from what was written, a line each.
func driftText(u *unit, record flowRecord, now map[string]rule, x *binder, meters map[uint32]meter) string {
	var lines []string
	say := func(verb, key, actions string) {
		lines = append(lines, fmt.Sprintf("%s %s actions=%s", verb, strings.TrimSuffix(key, ","), actions))
	}
	if u.mark == nil {
		lines = append(lines, "nobody has left a note of what was written")
	} else {
		for _, sym := range slices.Sorted(maps.Keys(u.mark.Bound)) {
			if line := moved(sym, u.mark.Bound[sym], x.number(sym, u.mark.Bound[sym])); line != "" {
				lines = append(lines, line)
			}
		}
		lines = append(lines, u.mark.meterDrift(meters)...)
		for _, key := range slices.Sorted(maps.Keys(record.Text)) {
			if r, ok := now[key]; !ok || r.actions != record.Text[key] {
				say("missing", key, record.Text[key])
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if actions, ok := record.Text[key]; !ok || actions != now[key].actions {
			say("foreign", key, now[key].actions)
		}
	}
	if len(lines) == 0 {
		lines = append(lines, "attributes of some rules (timeouts, flags) were changed")
	}
	if n := len(lines) - driftLines; n > 0 {
		lines = append(lines[:driftLines], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(lines, "\n")
}

func moved(sym string, was, is int) string {
	switch {
	case was == is:
		return ""
	case was == 0:
		return sym + " has appeared"
	case is == 0:
		return sym + " has gone"
	}
	return fmt.Sprintf("%s has moved from port %d to %d", sym, was, is)
}
