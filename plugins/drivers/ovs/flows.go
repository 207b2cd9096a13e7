package ovs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"weft.dev/reconcile/resource"
)

// A unit is the flows of one owner on one bridge as they are found.
type unit struct {
	cookie uint64
	mark   *flowMark // nil if nobody has left one
	found  tally
	want   *resource.Entry // nil if nobody wants it
}

func (u *unit) id(bridge string) resource.ID {
	return resource.ID{Kind: resource.KindFlows, Name: fmt.Sprintf("%s/%012x", bridge, u.cookie&ownerMask)}
}

func (u *unit) owner() resource.Owner {
	switch {
	case u.mark != nil:
		return u.mark.Owner
	case u.want != nil:
		return u.want.Owner
	}
	return resource.Owner(fmt.Sprintf("unknown/%012x", u.cookie&ownerMask))
}

// intact reports whether the switch holds what was written, to the ports of now.
func (u *unit) intact(x *binder, meters map[uint32]meter) bool {
	if u.mark == nil || u.found != (tally{u.mark.Count, u.mark.Sum}) || len(u.mark.meterDrift(meters)) > 0 {
		return false
	}
	for sym, n := range u.mark.Bound {
		if x.number(sym, n) != n {
			return false
		}
	}
	return true
}

// observeFlows adds the flows that carry our cookies, on bridges that are ours
// or have been written to, and what is wanted and gone.
func (d *Driver) observeFlows(ctx context.Context, v *view, desired resource.Set, o *resource.Observed) {
	units := d.markedUnits()
	for _, b := range v.bridges {
		if d.ours(b.ExternalIDs) && units[b.Name] == nil {
			units[b.Name] = map[uint64]*unit{}
		}
	}
	wants := map[resource.ID]*resource.Entry{}
	for id, e := range desired {
		if f, ok := e.State.(resource.Flows); ok {
			wants[id] = &e
			if units[f.Bridge] == nil {
				units[f.Bridge] = map[uint64]*unit{}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(units)) {
		b := v.bridges[name]
		if b == nil || b.local() == nil || linkFault(b.local().link, "") != "" {
			continue // no bridge, no flows
		}
		if err := d.observeBridgeFlows(ctx, b, units[name], wants, o); err != nil {
			o.Unread = append(o.Unread, resource.Unread{Kind: resource.KindFlows, Err: err.Error()})
		}
	}
}

// markedUnits lists the units that marks tell of, by bridge and cookie.
func (d *Driver) markedUnits() map[string]map[uint64]*unit {
	out := map[string]map[uint64]*unit{}
	for _, m := range d.flowMarks() {
		if out[m.Bridge] == nil {
			out[m.Bridge] = map[uint64]*unit{}
		}
		cookie := d.cookie(m.Owner)
		out[m.Bridge][cookie] = &unit{cookie: cookie, mark: m}
	}
	return out
}

func (d *Driver) observeBridgeFlows(ctx context.Context, b *bridge, units map[uint64]*unit, wants map[resource.ID]*resource.Entry, o *resource.Observed) error {
	found, err := d.tallies(ctx, b.Name, d.instanceCookie(), instanceMask)
	if err != nil {
		return err
	}
	for cookie, t := range found {
		if units[cookie] == nil {
			units[cookie] = &unit{cookie: cookie}
		}
		units[cookie].found = t
	}
	meters, err := d.metersOf(ctx, b.Name, units)
	if err != nil {
		return err
	}
	x := newBinder(b)
	var torn []*unit
	used := map[int]bool{}
	defer func() { o.Guests = append(o.Guests, guestsOf(b, used)...) }()
	for _, u := range units {
		u.want = wants[u.id(b.Name)]
		if u.mark != nil {
			if syms := unbound(u.mark.Bound); len(syms) > 0 {
				o.Unbound[u.mark.Owner] = append(o.Unbound[u.mark.Owner], syms...)
			}
			for _, n := range u.mark.Bound {
				used[n] = true
			}
		}
		if !u.intact(x, meters) {
			torn = append(torn, u)
			continue
		}
		o.Set.Put(resource.Entry{State: d.intactState(b.Name, u), Owner: u.owner()})
	}
	return d.observeTorn(ctx, b.Name, torn, x, meters, o)
}

// guestsOf lists the ports of a bridge that say which NIC they are; used are the
// numbers of those that rules name.
func guestsOf(b *bridge, used map[int]bool) []resource.GuestPort {
	var out []resource.GuestPort
	for _, name := range slices.Sorted(maps.Keys(b.links)) {
		l := b.links[name]
		g := resource.GuestPort{Port: name, IfaceID: l.ExternalIDs[keyIfaceID], MAC: strings.ToLower(l.ExternalIDs[keyMAC])}
		if n, ok := plugged(l); ok && (g.IfaceID != "" || g.MAC != "") {
			g.Used = used[n]
			out = append(out, g)
		}
	}
	return out
}

// metersOf reads the meters of a bridge, if units have any. Those that were noted
// and then never used make a unit of their own, which nobody wants.
func (d *Driver) metersOf(ctx context.Context, bridge string, units map[uint64]*unit) (map[uint32]meter, error) {
	used := false
	for _, use := range d.meterNote(bridge) {
		used = true
		if units[use.Cookie] == nil {
			units[use.Cookie] = &unit{cookie: use.Cookie}
		}
	}
	for _, u := range units {
		used = used || u.mark != nil && len(u.mark.Meters) > 0
	}
	if !used {
		return nil, nil
	}
	return d.meters(ctx, bridge)
}

// intactState is what was written, as far as somebody needs to know: the wanted
// value where it is that, else what the record says.
func (d *Driver) intactState(bridge string, u *unit) resource.State {
	if u.want != nil && u.want.State.Fingerprint() == u.mark.Print {
		return u.want.State
	}
	if f := d.flowRecord(bridge, u.cookie).Flows; f.Fingerprint() == u.mark.Print {
		return f
	}
	return resource.Seen{Ident: u.id(bridge), Print: u.mark.Print, Up: bridgeID(bridge)}
}

func bridgeID(name string) resource.ID { return resource.ID{Kind: resource.KindBridge, Name: name} }

// observeTorn adds the units that are not as they were written, with words for
// the difference.
func (d *Driver) observeTorn(ctx context.Context, bridge string, torn []*unit, x *binder, meters map[uint32]meter, o *resource.Observed) error {
	var ask []uint64
	for _, u := range torn {
		if u.found.n > 0 {
			ask = append(ask, u.cookie)
		}
	}
	now := map[uint64]map[string]rule{}
	if len(ask) > 0 {
		var err error
		if now, err = d.printed(ctx, bridge, ask); err != nil {
			return err
		}
	}
	for _, u := range torn {
		record := d.flowRecord(bridge, u.cookie)
		drift := driftText(u, record, now[u.cookie], x, meters)
		o.Set.Put(resource.Entry{Owner: u.owner(), State: resource.Seen{
			Ident: u.id(bridge), Up: bridgeID(bridge), Needed: record.Flows.Ports, Drift: drift,
			Print:   resource.Digest("drift", strconv.FormatUint(u.found.sum, 16), drift),
			Rebound: u.mark != nil && u.found.n == u.mark.Count && u.found.sum == u.mark.Sum && len(u.mark.meterDrift(meters)) == 0,
		}})
	}
	return nil
}
