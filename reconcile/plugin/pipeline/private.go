package pipeline

import (
	"slices"

	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
)

// A private VLAN is one broadcast domain, that of its primary VLAN: all its ports
// have the primary's metadata, and MACs are learned there, whoever sent. reg4 says
// which secondary VLAN a frame is of, and decides at the receiving port; on the wire
// the tag says it.

// Isolation is how a port is in a private VLAN.
type Isolation struct {
	// Secondary VLAN that the port sends on; 0 is the primary, of promiscuous ports.
	Secondary uint32
	// Community: ports of one secondary hear each other.
	Community bool
}

// Isolate turns the rules of a port of the primary's segment into those of a port
// of a private VLAN.
func Isolate(rules []resource.Flow, how Isolation) []resource.Flow {
	if how.Secondary == 0 {
		return rules
	}
	out := make([]resource.Flow, 0, len(rules)+1)
	for _, r := range rules {
		switch r.Table {
		case TableClassify:
			r.Do = slices.Insert(slices.Clone(r.Do), 0, set(resource.FieldReg4, uint64(how.Secondary)))
		case TableDeliver:
			hears := []uint64{0}
			if how.Community {
				hears = append(hears, uint64(how.Secondary))
			}
			for _, of := range hears {
				d := r
				d.Match = append(slices.Clone(r.Match), is(resource.FieldReg4, of))
				out = append(out, d)
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

// Secondary returns the rules that make frames of a secondary VLAN those of its
// primary s on a host, beside those of Segment with the same ports: tagged with it
// on the wire, in both directions.
func Secondary(s plugin.Segment, id uint32, ports []string) []resource.Flow {
	patch := resource.PortSym(PatchName(s.Label))
	primary, of := is(resource.FieldMetadata, Identity(s)), is(resource.FieldReg4, uint64(id))
	tag := []resource.Act{{Op: resource.OpPushVLAN}, set(resource.FieldVLAN, uint64(id)|tagged)}
	flood := make([]resource.Act, 0, len(ports)+3)
	for _, p := range ports {
		flood = append(flood, resource.Act{Op: resource.OpDeliver, Sym: p, Table: TableDeliver})
	}
	flood = append(append(flood, tag...), resource.Act{Op: resource.OpOutput, Sym: patch})
	return []resource.Flow{
		flow(TableClassify, 110, conds{inPort(patch), is(resource.FieldVLAN, uint64(id)|tagged)},
			set(resource.FieldMetadata, Identity(s)), set(resource.FieldReg4, uint64(id)), resource.Act{Op: resource.OpPopVLAN},
			set(resource.FieldReg0, fromWire), goTo(TableLearn)),
		flow(TableForward, 150, conds{primary, of, is(resource.FieldReg0, fromLocal), is(resource.FieldReg3, fromWire)},
			append(slices.Clip(tag), resource.Act{Op: resource.OpOutReg2})...),
		flow(TableFlood, 210, conds{primary, of, is(resource.FieldReg0, fromLocal)}, flood...),
	}
}
