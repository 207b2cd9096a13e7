package ovs

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weft.dev/reconcile/resource"
)

// openFlow is the protocol of everything that is written and read: older ones
// print and store some actions in another form.
const openFlow = "OpenFlow14"

// observeRows adds the bridges, ports and tunnels that are ours, and what else
// stands under the names that are desired.
func (d *Driver) observeRows(v *view, desired resource.Set, want map[resource.Kind]bool, o *resource.Observed) {
	put := func(st resource.State, ids map[string]string) {
		if want[st.ID().Kind] {
			o.Set.Put(resource.Entry{State: st, Owner: resource.Owner(ids[markOwner])})
		}
	}
	for _, b := range v.bridges {
		if d.ours(b.ExternalIDs) {
			put(bridgeState(b), b.ExternalIDs)
		}
		for _, p := range b.ports {
			if d.ours(p.ExternalIDs) {
				put(portState(v, p), p.ExternalIDs)
			}
		}
	}
	for id := range desired {
		if _, ok := o.Set[id]; ok || !want[id.Kind] {
			continue
		}
		if words := d.inTheWay(v, id); words != "" {
			o.Foreign[id] = words
		}
	}
}

// inTheWay describes what is not ours and stands where id wants to be.
func (d *Driver) inTheWay(v *view, id resource.ID) string {
	switch id.Kind {
	case resource.KindBridge:
		if b := v.bridges[id.Name]; b != nil && !d.ours(b.ExternalIDs) {
			return foreign("bridge "+id.Name, b.ExternalIDs)
		}
	case resource.KindPort, resource.KindTunnel:
		if p := v.ports[id.Name]; p != nil && !d.ours(p.ExternalIDs) {
			return foreign(fmt.Sprintf("port %s of bridge %s", id.Name, p.bridge.Name), p.ExternalIDs)
		}
	}
	return ""
}

// observed returns st, or where something that has no place in its fields keeps
// it from working, what that is.
func observed(st resource.State, drift []string) resource.State {
	if len(drift) == 0 {
		return st
	}
	slices.Sort(drift)
	text := strings.Join(drift, "\n")
	parent, _ := resource.Parent(st)
	return resource.Seen{
		Ident: st.ID(), Up: parent, Needed: st.Needs(), Held: resource.Claims(st), Drift: text,
		Print: resource.Digest("drift", strconv.FormatUint(st.Fingerprint(), 16), text),
	}
}

func bridgeState(b *bridge) resource.State {
	st := resource.Bridge{Name: b.Name, Datapath: b.Datapath, FailMode: text(b.FailMode), MAC: b.OtherConfig[keyHWAddr]}
	if st.Datapath == "" {
		st.Datapath = "system"
	}
	if st.FailMode == "" {
		st.FailMode = "standalone"
	}
	var drift []string
	local := b.local()
	switch {
	case local == nil:
		drift = append(drift, "its local port is missing")
	default:
		if local.link.MTURequest != nil {
			st.MTU = *local.link.MTURequest
		}
		if fault := linkFault(local.link, ""); fault != "" {
			drift = append(drift, "local port: "+fault)
		}
	}
	if len(b.Controller) > 0 {
		drift = append(drift, "a controller was set by another hand")
	}
	if len(b.Protocols) > 0 && !slices.Contains(b.Protocols, openFlow) {
		drift = append(drift, "protocols without "+openFlow+" were set by another hand")
	}
	return observed(st, drift)
}

func portState(v *view, p *port) resource.State {
	drift := portDrift(p)
	if resource.Kind(p.ExternalIDs[markKind]) == resource.KindTunnel {
		st, more := tunnelState(p)
		return observed(st, append(drift, more...))
	}
	n := readNeeds(p.ExternalIDs)
	st := resource.Port{
		Bridge: p.bridge.Name, Name: p.Name, Type: linkType(p.link), Peer: p.link.Options["peer"],
		IfaceID: p.link.ExternalIDs[keyIfaceID], MAC: p.link.ExternalIDs[keyMAC],
		Uplink: p.ExternalIDs[markUplink] == "true", Link: n.Link, Guards: n.Guards,
	}
	bond, faults := v.bondOf(p)
	if st.Bond = bond; bond != nil {
		drift = append(drift, faults...)
	} else if fault := linkFault(p.link, v.mayWait(st)); fault != "" {
		drift = append(drift, fault)
	}
	if what := v.own[p.Name]; what != "" && lent(st) {
		drift = append(drift, what)
	}
	switch {
	case len(drift) > 0 || !lent(st):
	case v.isDeaf(p):
		return unready(st, deafWords)
	case v.isShut(p):
		return unready(st, "its interface is down")
	}
	if bond == nil && v.isDeaf(p) {
		drift = append(drift, deafWords)
	}
	return observed(st, drift)
}

// linkType is the type of an interface; an ordinary one has none.
func linkType(l *interfaceRow) string {
	if l.Type == "system" {
		return ""
	}
	return l.Type
}

// portDrift lists settings that weft never makes and that would take frames out
// of the pipeline.
func portDrift(p *port) []string {
	var out []string
	if p.Tag != nil {
		out = append(out, fmt.Sprintf("tag %d was set by another hand", *p.Tag))
	}
	if len(p.Trunks) > 0 {
		out = append(out, fmt.Sprintf("trunks %v were set by another hand", p.Trunks))
	}
	if len(p.links) < 2 && p.BondMode != nil {
		out = append(out, fmt.Sprintf("bond_mode %s was set by another hand", *p.BondMode))
	}
	if len(p.links) < 2 && p.LACP != nil {
		out = append(out, fmt.Sprintf("lacp %s was set by another hand", *p.LACP))
	}
	if p.VLANMode != nil {
		out = append(out, fmt.Sprintf("vlan_mode %s was set by another hand", *p.VLANMode))
	}
	return out
}

// mayWait returns the fault that a port may have for a while: a guest's interface
// appears when the guest starts, the other half of a patch when it is made.
func (v *view) mayWait(p resource.Port) string {
	switch {
	case p.Type == "" && p.Link == nil && !p.Uplink:
		return "No such device"
	case p.Type == "patch" && v.ports[p.Peer] == nil:
		return "No usable peer"
	}
	return ""
}

// linkFault says why an interface does not work, or "". A fault that has the
// words excused in it, or none but no port number either, is none then.
func linkFault(l *interfaceRow, excused string) string {
	fault := text(l.Error)
	_, ok := plugged(l)
	switch {
	case excused != "" && (fault == "" || strings.Contains(fault, excused)):
		return ""
	case fault != "":
		return "the switch reports: " + fault
	case !ok && l.OFPort != nil:
		return "the switch could not open it"
	case !ok:
		return "the switch has not opened it"
	}
	return ""
}

func tunnelState(p *port) (resource.Tunnel, []string) {
	st := resource.Tunnel{Bridge: p.bridge.Name, Name: p.Name, Type: p.link.Type, Endpoint: readNeeds(p.ExternalIDs).Link}
	var drift []string
	options := maps.Clone(p.link.Options)
	take := func(key string) string {
		value := options[key]
		delete(options, key)
		return value
	}
	if key := take("key"); key != "flow" {
		drift = append(drift, fmt.Sprintf("key is %q instead of flow", key))
	}
	for key, at := range map[string]*netip.Addr{"local_ip": &st.Local, "remote_ip": &st.Remote} {
		value := take(key)
		addr, err := netip.ParseAddr(value)
		if err != nil && value != "" {
			drift = append(drift, fmt.Sprintf("%s is %q", key, value))
		}
		*at = addr
	}
	if value := take("dst_port"); value != "" {
		n, err := strconv.Atoi(value)
		if err != nil {
			drift = append(drift, fmt.Sprintf("dst_port is %q", value))
		}
		st.DstPort = n
	}
	for _, key := range slices.Sorted(maps.Keys(options)) {
		drift = append(drift, fmt.Sprintf("option %s=%s was set by another hand", key, options[key]))
	}
	if fault := linkFault(p.link, ""); fault != "" {
		drift = append(drift, fault)
	}
	return st, drift
}
