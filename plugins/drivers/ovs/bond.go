package ovs

import (
	"errors"
	"fmt"
	"slices"

	"weft.dev/reconcile/resource"
)

// bondModes and lacpWords are what the columns bond_mode and lacp of a port take
// (ovs-vswitchd.conf.db(5)).
var (
	bondModes = []string{"active-backup", "balance-slb", "balance-tcp"}
	lacpWords = []string{"off", "active", "passive"}
)

// checkBond says what the switch would not.
func checkBond(st resource.Port) error {
	switch b := st.Bond; {
	case len(b.Members) < 2:
		return errors.New("a bond has two links or more")
	case st.Type != "" || st.IfaceID != "" || st.MAC != "":
		return errors.New("a bond is of links of the host, not of a guest")
	case !slices.Contains(bondModes, b.Mode):
		return fmt.Errorf("a bond has no mode %q", b.Mode)
	case !slices.Contains(lacpWords, b.LACP):
		return fmt.Errorf("a bond has no LACP %q", b.LACP)
	case b.Mode == "balance-tcp" && b.LACP == "off":
		return errors.New("a bond of mode balance-tcp needs LACP")
	}
	return nil
}

// bondColumns sets what a bond is, and clears it of a port that is none.
func bondColumns(b *resource.Bond, columns row) {
	columns["bond_mode"], columns["lacp"] = set(), set()
	if b != nil {
		columns["bond_mode"], columns["lacp"] = set(b.Mode), set(b.LACP)
	}
}

// newBond plugs several links in as one port.
func (t *txn) newBond(p plug, port1 string) {
	var links []any
	for i, name := range p.bond.Members {
		id := fmt.Sprintf("%sm%d", port1, i)
		t.op(insert(tableInterface, id, row{"name": name}))
		links = append(links, named(id))
	}
	columns := row{"name": p.id.Name, "interfaces": set(links...), "external_ids": dict(p.marks)}
	bondColumns(p.bond, columns)
	t.op(insert(tablePort, port1, columns))
	t.plugged(p, port1)
}

// bondOf is what a port row is a bond of, or nil; drift lists the links that the
// switch does not have.
func (v *view) bondOf(p *port) (b *resource.Bond, drift []string) {
	if len(p.links) < 2 {
		return nil, nil
	}
	b = &resource.Bond{Mode: "active-backup", LACP: "off"} // what the switch takes nothing for
	if p.BondMode != nil {
		b.Mode = *p.BondMode
	}
	if p.LACP != nil {
		b.LACP = *p.LACP
	}
	for _, l := range p.links {
		b.Members = append(b.Members, l.Name)
		if fault := linkFault(l, ""); fault != "" {
			drift = append(drift, "link "+l.Name+": "+fault)
		} else if v.deafTo(l) {
			drift = append(drift, "link "+l.Name+": "+deafWords)
		}
	}
	slices.Sort(b.Members)
	return b, drift
}
