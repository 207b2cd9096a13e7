package pipeline

import (
	"slices"

	"weft.dev/reconcile/resource"
)

// Limit returns the rules of a local port, as of Port, Open or Guest, so that
// each direction passes mbit, in 10^6 bit/s of Ethernet frames; 0 does not limit.
// What comes from the port is measured before anything judges it. What goes to it
// does not count when it is for a group: one frame then goes to many ports, and
// where one of them is full the switch keeps the frame from all that come after it.
// It takes rules.
func Limit(rules []resource.Flow, sym string, mbit int) []resource.Flow {
	if mbit <= 0 {
		return rules
	}
	room := make([]resource.Act, 0, limitRoom) // of both directions
	for i := range rules {
		f := &rules[i]
		if f.Table != TableClassify && f.Table != TableDeliver {
			continue
		}
		do, from := f.Do, len(room)
		room = append(append(room, resource.Act{Op: resource.OpLimit, Sym: sym, Value: uint64(mbit), Table: f.Table}), do...)
		f.Do = room[from:len(room):len(room)]
		if f.Table == TableDeliver {
			rules = append(rules, flow(TableDeliver, f.Priority+100, append(slices.Clip(f.Match), toGroup), do...))
		}
	}
	return rules
}

// limitRoom is how many actions a port's rules of both directions usually have.
const limitRoom = 7

// toGroup is a frame to several.
var toGroup = resource.Cond{Field: resource.FieldEthDst, Value: 1 << 40, Mask: 1 << 40}

// Down returns the rule of a local port that carries nothing.
func Down(sym string) resource.Flow { return flow(TableClassify, 200, conds{inPort(sym)}) }
