package ovs

import (
	"encoding/json"
	"fmt"
	"strings"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// Keys of external_ids on the rows of bridges and ports that are ours.
const (
	markInstance = "weft"        // whose
	markOwner    = "weft-owner"  // asked for by
	markKind     = "weft-kind"   // ovs.port or ovs.tunnel, whatever the type column says now
	markUplink   = "weft-uplink" // "true"
	markNeeds    = "weft-needs"  // JSON: what has to outlive the row
)

// Keys of external_ids on an interface, read by other programs too.
const (
	keyIfaceID = "iface-id"
	keyMAC     = "attached-mac"
)

// keyHWAddr is the key of a bridge's other_config with the MAC of its local port.
const keyHWAddr = "hwaddr"

// hwaddr is the other_config that gives a bridge its MAC.
func hwaddr(mac string) map[string]string {
	if mac == "" {
		return nil
	}
	return map[string]string{keyHWAddr: mac}
}

// needs is what a state requires beside its parent; without it a fresh process
// could not tell in which order to take things down.
type needs struct {
	Link   *resource.ID  `json:"link,omitempty"`
	Guards []resource.ID `json:"guards,omitempty"`
}

// marks returns the external_ids of a row of owner's, and the keys that must not
// be there.
func (d *Driver) marks(owner resource.Owner, kind resource.Kind, uplink bool, n needs) (keys map[string]string, drop []string) {
	keys = map[string]string{markInstance: d.host.Instance, markOwner: string(owner)}
	if kind != resource.KindBridge {
		keys[markKind] = string(kind)
	}
	if uplink {
		keys[markUplink] = "true"
	} else {
		drop = append(drop, markUplink)
	}
	if n.Link != nil || len(n.Guards) > 0 {
		text, err := json.Marshal(n)
		if err != nil {
			panic("needs of strings do not marshal: " + err.Error())
		}
		keys[markNeeds] = string(text)
	} else {
		drop = append(drop, markNeeds)
	}
	return keys, drop
}

// ours reports whether external_ids carry our mark.
func (d *Driver) ours(ids map[string]string) bool { return ids[markInstance] == d.host.Instance }

func readNeeds(ids map[string]string) needs {
	var n needs
	if json.Unmarshal([]byte(ids[markNeeds]), &n) != nil {
		return needs{}
	}
	return n
}

// foreign describes a row that is not ours.
func foreign(what string, ids map[string]string) string {
	if other := ids[markInstance]; other != "" {
		return fmt.Sprintf("%s belongs to %s, another instance of weft", what, other)
	}
	return what + " was not made by weft"
}

// Of a cookie the upper 16 bits name the instance, the others the owner.
const (
	ownerBits    = 48
	ownerMask    = 1<<ownerBits - 1
	instanceMask = ^uint64(ownerMask)
)

// instanceCookie is our part of a cookie; never 0, which is everybody's.
func (d *Driver) instanceCookie() uint64 {
	n := resource.Digest("instance", d.host.Instance) & instanceMask
	if n == 0 {
		n = 1 << ownerBits
	}
	return n
}

func (d *Driver) cookie(owner resource.Owner) uint64 {
	return d.instanceCookie() | resource.Cookie(owner)
}

// A flowMark is what a driver leaves for its successors about one unit of flows
// after it has written it.
type flowMark struct {
	Bridge string         `json:"bridge"`
	Owner  resource.Owner `json:"owner"`
	// Print is the fingerprint of what was asked for.
	Print uint64 `json:"print"`
	// Bound is the port number that each symbol had; 0 = it had none.
	Bound map[string]int `json:"bound,omitempty"`
	// Count and Sum are the tally of the switch's own form of the rules.
	Count int    `json:"count"`
	Sum   uint64 `json:"sum"`
	// Meters are the limits by their numbers in the switch.
	Meters map[uint32]limited `json:"meters,omitempty"`
}

// A flowRecord is the long part of a mark, read when something differs only.
type flowRecord struct {
	Flows resource.Flows `json:"flows"`
	// Sent are the rules as they were sent, by key; Text as the switch
	// printed them after that.
	Sent map[string]string `json:"sent"`
	Text map[string]string `json:"text"`
}

// flowKey is the name of a unit's mark.
func flowKey(bridge string, cookie uint64) string {
	return resource.Short(64, fmt.Sprintf("%012x", cookie&ownerMask), bridge)
}

const recordSuffix = ".rules"

func (d *Driver) flowStore() *host.Marks { return d.host.Marks("ovs.flows") }

func (d *Driver) putFlowMark(cookie uint64, m flowMark, r flowRecord) error {
	key := flowKey(m.Bridge, cookie)
	// The record first: a mark is believed.
	if err := d.flowStore().Put(key+recordSuffix, r); err != nil {
		return err
	}
	return d.flowStore().Put(key, m)
}

func (d *Driver) dropFlowMark(bridge string, cookie uint64) error {
	key := flowKey(bridge, cookie)
	if err := d.flowStore().Drop(key); err != nil {
		return err
	}
	return d.flowStore().Drop(key + recordSuffix)
}

// dropFlowMarks forgets the units of a bridge that is gone.
func (d *Driver) dropFlowMarks(bridge string) error {
	for _, m := range d.flowMarks() {
		if m.Bridge != bridge {
			continue
		}
		if err := d.dropFlowMark(bridge, d.cookie(m.Owner)); err != nil {
			return err
		}
	}
	return d.putMeterNote(bridge, nil)
}

// flowMarks lists what was left about units of flows.
func (d *Driver) flowMarks() []*flowMark {
	var out []*flowMark
	for _, key := range d.flowStore().Keys() {
		m := &flowMark{}
		if !strings.HasSuffix(key, recordSuffix) && d.flowStore().Load(key, m) {
			out = append(out, m)
		}
	}
	return out
}

// flowRecord reads the long part of a mark; empty if there is none.
func (d *Driver) flowRecord(bridge string, cookie uint64) flowRecord {
	var r flowRecord
	if !d.flowStore().Load(flowKey(bridge, cookie)+recordSuffix, &r) {
		return flowRecord{}
	}
	return r
}
