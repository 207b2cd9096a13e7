package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/resource"
)

// ports observes the places of links in bridges: those that were asked for, and
// those that stand already as wanted.
func (k *look) ports(ctx context.Context, out *resource.Observed, n *note, byName map[string]*iface, byIndex map[int32]iface) error {
	if !k.wants(resource.KindBridgePort) {
		return nil
	}
	ids := map[string]bool{}
	guarded := false
	for name := range n.Ports {
		ids[name] = true
	}
	for id, e := range k.desired {
		if p, ok := e.State.(resource.BridgePort); ok {
			ids[id.Name] = true
			guarded = guarded || p.Guard != nil
		}
	}
	if err := k.readGuards(ctx, guarded); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		k.port(out, resource.BridgePortID(name), n, byName, byIndex)
	}
	maps.DeleteFunc(ids, func(name string, _ bool) bool {
		id := resource.BridgePortID(name)
		_, seen := out.Set[id]
		return !seen && !k.desires(id)
	})
	for _, name := range k.guards.orphans(ids) {
		k.put(out, drifted(resource.BridgePort{Name: name}, []string{"only its rules are left"}), k.stray())
	}
	return nil
}

// port observes one; was is zero if it is not noted.
func (k *look) port(out *resource.Observed, id resource.ID, n *note, byName map[string]*iface, byIndex map[int32]iface) {
	was := n.Ports[id.Name]
	noted, desired := was.Owner != "", k.desires(id)
	p, owner := was.or(k.desired[id])
	l := k.d.find(k.outside, p.Name, p.MAC)
	if l == nil {
		if noted && desired && p.MayWait() {
			k.put(out, drifted(p, k.guards.drift(p, "", n.Guards)), owner)
			unbound(out, resource.Owner(owner), p.Symbol())
		}
		return
	}
	bridge := byName[p.Bridge]
	in := bridge != nil && l.master == bridge.index
	same := noted && was.Index == l.index
	if p.IfaceID != "" {
		out.Guests = append(out.Guests, resource.GuestPort{Port: l.name, IfaceID: p.IfaceID, MAC: p.MAC, Used: in && same})
	}
	st := k.portState(p, *l, byIndex, n)
	words := ""
	if !same {
		words = k.plugged(p, l, in, byIndex[l.master])
	}
	switch {
	case words != "" && desired:
		out.Foreign[id] = words
	case words != "":
	case noted && desired && !same && p.MayWait() && st.Fingerprint() != p.Fingerprint():
		k.put(out, rebound(p, l.name), owner)
	case l.master == 0, !desired && !in:
	default:
		k.put(out, st, owner)
	}
}

// plugged says how somebody else plugged l in where p wants to, "" if nobody did.
func (k *look) plugged(p resource.BridgePort, l *iface, in bool, master iface) string {
	switch {
	case in && p.Uplink:
		return fmt.Sprintf("somebody else plugged %s into %s", l.name, p.Bridge)
	case l.master != 0 && !in && !k.d.made(master):
		return fmt.Sprintf("%s is a port of %s, which is not weft's", l.name, master.name)
	}
	return ""
}

// portState is p as the kernel has it.
func (k *look) portState(p resource.BridgePort, l iface, byIndex map[int32]iface, n *note) resource.State {
	drift := k.guards.drift(p, l.name, n.Guards)
	p.Bridge = byIndex[l.master].name
	p.Isolated, p.Static, p.NeighSuppress = l.port.isolated, !l.port.learning, l.port.suppress
	if l.port.hairpin {
		drift = append(drift, "hairpin is on")
	}
	return drifted(p, drift)
}

// makePort plugs a link into a bridge. A guest's that is not there yet is noted
// only.
func (x *site) makePort(ctx context.Context, p resource.BridgePort, owner resource.Owner) error {
	bridge, ok, err := linkNamed(x.root, p.Bridge)
	switch {
	case err != nil:
		return err
	case !ok || bridge.kind != "bridge":
		return fmt.Errorf("port %s: %s is no bridge", p.ID().Name, p.Bridge)
	}
	if p.Name == "" && hostMAC(p.MAC) == "" {
		return fmt.Errorf("port %s has neither a name nor a MAC", p.ID().Name)
	}
	l, err := x.search(p.Name, p.MAC)
	note := bound[resource.BridgePort]{State: p, Owner: string(owner)}
	switch {
	case err != nil:
		return err
	case l == nil && p.MayWait():
		if err := x.putGuard(ctx, p, ""); err != nil {
			return err
		}
		x.note.Ports[p.ID().Name] = note
		return nil
	case l == nil:
		return fmt.Errorf("port %s: there is no such link", p.ID().Name)
	}
	if err := x.mayPlug(p, *l, bridge); err != nil {
		return err
	}
	if err := x.putGuard(ctx, p, l.name); err != nil {
		return err
	}
	if p.Link != nil {
		if err := silenceLink(l.name, true); err != nil {
			return err
		}
	}
	if l.master != bridge.index {
		if err := x.pin(bridge); err != nil {
			return fmt.Errorf("keep the MAC of %s: %w", p.Bridge, err)
		}
		if err := x.enslave(*l, bridge.index); err != nil {
			return fmt.Errorf("plug %s into %s: %w", l.name, p.Bridge, err)
		}
	}
	if err := x.setFlags(*l, l.master != bridge.index, portFlags{isolated: p.Isolated, learning: !p.Static, suppress: p.NeighSuppress}); err != nil {
		return fmt.Errorf("port %s of %s: %w", l.name, p.Bridge, err)
	}
	note.Index = l.index
	x.note.Ports[p.ID().Name] = note
	return nil
}

// mayPlug refuses what is somebody else's, or would cut the host off.
func (x *site) mayPlug(p resource.BridgePort, l, bridge iface) error {
	if l.index == bridge.index || l.kind == "bridge" {
		return fmt.Errorf("link %s is a bridge itself", l.name)
	}
	if l.master == bridge.index {
		return nil
	}
	if l.master != 0 && x.note.Ports[p.ID().Name].Index != l.index {
		all, err := links(x.root)
		if err != nil {
			return err
		}
		for _, m := range all {
			if m.index == l.master && !x.d.made(m) {
				return fmt.Errorf("link %s is a port of %s, which is not weft's", l.name, m.name)
			}
		}
	}
	if !p.Uplink || p.Addressed {
		return nil
	}
	all, err := addrs(x.root)
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.index == l.index && !a.kernelMade() {
			return fmt.Errorf("uplink %s carries the address %s, which would not be reached any more in bridge %s", l.name, a.prefix, p.Bridge)
		}
	}
	return nil
}

// pin keeps the MAC of a bridge as it is when a link is plugged in: one that nobody gave
// a MAC takes the lowest of its ports', and the host's neighbours would lose it.
// Giving it the MAC that it has, where it may be its own choice, ends that (br_stp_recalculate_bridge_id of
// net/bridge/br_stp_if.c).
func (x *site) pin(bridge iface) error {
	if x.d.made(bridge) && x.note.Links[bridge.name].Link.MAC != "" {
		return nil
	}
	mac, err := parseMAC(bridge.mac)
	if err != nil {
		return err
	}
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = bridge.index
	return ask(x.root, unix.RTM_NEWLINK, 0, msg, nl.NewRtAttr(unix.IFLA_ADDRESS, mac))
}

// enslave makes a link the port of a bridge, or of none for 0.
func (x *site) enslave(l iface, bridge int32) error {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = l.index
	return ask(x.root, unix.RTM_NEWLINK, 0, msg, nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge))))
}

// setFlags sets what of a port differs; a new one has the kernel's defaults.
func (x *site) setFlags(l iface, plugged bool, want portFlags) error {
	has := l.port
	if plugged {
		has = portFlags{learning: true}
	}
	if has == want {
		return nil
	}
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = l.index
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil)
	data.AddRtAttr(nl.IFLA_BRPORT_MODE, flagAttr(false))
	data.AddRtAttr(nl.IFLA_BRPORT_LEARNING, flagAttr(want.learning))
	data.AddRtAttr(nl.IFLA_BRPORT_NEIGH_SUPPRESS, flagAttr(want.suppress))
	data.AddRtAttr(nl.IFLA_BRPORT_ISOLATED, flagAttr(want.isolated))
	return ask(x.root, unix.RTM_NEWLINK, 0, msg, info)
}

// dropPort unplugs what was plugged as the port of that name.
func (x *site) dropPort(ctx context.Context, name string) error {
	if err := x.unplug(name); err != nil {
		return err
	}
	return x.dropGuard(ctx, name)
}

func (x *site) unplug(name string) error {
	was, ok := x.note.Ports[name]
	if !ok {
		return nil
	}
	bridge, there, err := linkNamed(x.root, was.State.Bridge)
	if err != nil || !there {
		return err
	}
	l, err := x.search(was.State.Name, was.State.MAC)
	if err != nil || l == nil || l.master != bridge.index {
		return err
	}
	if err := x.enslave(*l, 0); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("unplug %s from %s: %w", l.name, was.State.Bridge, err)
	}
	return nil
}
