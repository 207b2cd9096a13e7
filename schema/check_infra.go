package schema

import (
	"cmp"
	"slices"
)

// maxID is the largest number of each isolation; CloudStack's parser takes VLAN 0 and 4095 too,
// which 802.1q reserves.
var maxID = map[string]uint32{
	"VLAN": 4094, "VXLAN": 1<<24 - 1, "GENEVE": 1<<24 - 1, "GRE": 1<<32 - 1, "STT": 1<<32 - 1, "L3": 4094,
}

func (c *checker) physicalNetwork(s *PhysicalNetwork) {
	if s.VXLAN != nil && s.Isolation != "" && s.Isolation != "VXLAN" {
		c.errorf(at("vxlan"), "wrong-isolation", "vxlan is only for isolation VXLAN, not %s", s.Isolation).
			See(c.pos("isolation"), "the isolation")
	}
	c.evpn(s)
	for i, r := range s.VNets {
		if high := maxID[s.Isolation]; high != 0 && r.To > high {
			c.errorf(at("vnets", i), "out-of-range", "%s is not from 1 to %d, the ids of %s", r, high, s.Isolation)
		}
	}
	bounds := func(i int) (from, to uint32) { return s.VNets[i].From, s.VNets[i].To }
	for _, x := range clashes(len(s.VNets), bounds, cmp.Compare[uint32]) {
		if s.VNets[x.first].From != 0 {
			c.errorf(at("vnets", x.second), "overlapping-range", "%s overlaps %s", s.VNets[x.second], s.VNets[x.first]).
				See(c.pos("vnets", x.first), "the other range")
		}
	}
	if s.Traffic != nil && len(s.Traffic) == 0 {
		c.errorf(at("traffic"), "empty-value", "the list is empty").Hintf("state at least one traffic type")
	}
	c.storageRanges(s)
	c.words(s.Providers, "providers")
	c.words(s.Tags, "tags")
}

// evpn holds that what a routing daemon tells reaches the switch: it writes into
// bridges of the kernel.
func (c *checker) evpn(s *PhysicalNetwork) {
	if s.VXLAN == nil || s.VXLAN.Mode != "EVPN" || s.Isolation != "VXLAN" || s.VSwitch == "LinuxBridge" {
		return
	}
	c.errorf(at("vxlan", "mode"), "wrong-switch", "mode EVPN needs vswitch LinuxBridge: routing daemons tell bridges of the kernel where MACs are, and not %s", s.VSwitch).
		Hintf("use mode Unicast, which tells the hosts of each other from the tree, or vswitch: LinuxBridge")
}

// storageRanges checks each by itself, and that the wire carries what they are for.
func (c *checker) storageRanges(s *PhysicalNetwork) {
	storage := slices.ContainsFunc(s.Traffic, func(t Traffic) bool { return t.Type == "Storage" })
	for i := range s.StorageRanges {
		r := &s.StorageRanges[i]
		c.family(r.CIDR, "storageRanges", i, "cidr")
		c.subnet(r.CIDR, r.Gateway, r.Ranges, "storageRanges", i)
		c.vlan(r.VLAN, "storageRanges", i, "vlan")
		if r.Ranges != nil && len(r.Ranges) == 0 {
			c.errorf(at("storageRanges", i, "ranges"), "empty-value", "the list is empty").Hintf("state at least one range")
		}
	}
	if len(s.StorageRanges) > 0 && len(s.Traffic) > 0 && !storage {
		c.errorf(at("storageRanges"), "conflicting-fields", "the wire carries no Storage traffic").
			See(c.pos("traffic"), "its traffic types").Hintf("add {type: Storage, label: BRIDGE} to traffic")
	}
}

// words refuses repeats in a list of words.
func (c *checker) words(list []string, path ...any) {
	first := make(map[string]int, len(list))
	for i, w := range list {
		if j, ok := first[w]; ok && w != "" {
			c.errorf(join(path, i), "duplicate-item", "%q is in the list twice", brief(w)).See(c.pos(join(path, j)...), "first here")
			continue
		}
		first[w] = i
	}
}

// switchSocket is where the driver reaches ovsdb-server.
const switchSocket = "unix:/run/openvswitch/db.sock"

func (c *checker) host(s *Host) {
	if db := s.OVS.DB; db != "" && db != switchSocket {
		c.errorf(at("ovs", "db"), "unsupported-value", "another address of ovsdb-server than %s is not supported yet", switchSocket).
			Hintf("leave it out; a later release brings it")
	}
	uplinks, bonds := map[string][]any{}, map[string][]any{}
	for i, b := range s.Bridges {
		base := at("bridges", i)
		for j, name := range b.Uplinks {
			path := join(base, "uplinks", j)
			switch first, ok := uplinks[name]; {
			case name == "":
			case ok:
				c.errorf(path, "duplicate-item", "the uplink %s is used twice", name).See(c.pos(first...), "first used here")
			case name == b.Name:
				c.errorf(path, "bad-ifname", "the bridge %s can not be its own uplink", name)
			default:
				uplinks[name] = path
			}
		}
		if len(b.Uplinks) > 1 && b.Bond == nil {
			c.errorf(join(base, "uplinks"), "uplinks-without-bond", "several uplinks of one bridge make a loop").
				Hintf("add bond: {name: bond1}, or use one")
		}
		c.bond(&b, base, bonds)
		c.takeover(&b, base)
		c.bridgeAddress(&b, base)
	}
	for i := range s.Bridges {
		if path, ok := uplinks[s.Bridges[i].Name]; ok {
			c.errorf(path, "bad-ifname", "%s is a bridge of this host, not an uplink", s.Bridges[i].Name).
				See(c.pos("bridges", i, "name"), "the bridge")
		}
	}
}

// bond checks that there is something to join, and that no name is used twice.
// others is where the bridges before have their bonds' names.
func (c *checker) bond(b *HostBridge, base []any, others map[string][]any) {
	if b.Bond == nil {
		return
	}
	path := join(base, "bond")
	if first, ok := others[b.Bond.Name]; ok && b.Bond.Name != "" {
		c.errorf(join(path, "name"), "duplicate-item", "the bond %s is used twice", b.Bond.Name).See(c.pos(first...), "first used here")
	}
	others[b.Bond.Name] = join(path, "name")
	switch {
	case b.Manage == "Use":
		c.errorf(path, "conflicting-fields", "a bridge with manage: Use gets no uplinks from weft").See(c.pos(join(base, "manage")...), "here")
	case len(b.Uplinks) < 2:
		c.errorf(path, "required-field", "a bond joins two uplinks or more").Hintf("add uplinks, or leave bond out")
	case b.Bond.Name == b.Name || slices.Contains(b.Uplinks, b.Bond.Name):
		c.errorf(join(path, "name"), "bad-ifname", "the bond %s has the name of the bridge or of an uplink", b.Bond.Name)
	case b.Bond.Mode == "balance-tcp" && b.Bond.LACP == "off":
		// The switch falls back to active-backup then (ovs-vswitchd.conf.db(5)).
		c.errorf(join(path, "mode"), "conflicting-fields", "mode balance-tcp needs LACP").Hintf("add lacp: active")
	}
}

// takeover checks that there is something to take, and where it goes to.
func (c *checker) takeover(b *HostBridge, base []any) {
	if b.Manage != "Takeover" {
		return
	}
	path := join(base, "manage")
	switch {
	case len(b.Uplinks) != 1:
		c.errorf(path, "required-field", "manage: Takeover needs one uplink, whose address moves")
	case !b.Address.IsValid():
		c.errorf(path, "required-field", "manage: Takeover needs the bridge's address, which is the one that moves").Hintf("add address")
	}
}

func (c *checker) bridgeAddress(b *HostBridge, base []any) {
	if b.Gateway.IsValid() {
		switch {
		case !b.Address.IsValid():
			c.errorf(join(base, "gateway"), "required-field", "a gateway needs the bridge's address")
		case !b.Address.Contains(b.Gateway):
			c.errorf(join(base, "gateway"), "outside-cidr", "the gateway %s is outside %s", b.Gateway, b.Address.Masked())
		case b.Address.Addr() == b.Gateway:
			c.errorf(join(base, "gateway"), "outside-cidr", "the gateway %s is the bridge's own address", b.Gateway)
		}
	}
	if len(b.Routes) > 0 && !b.Address.IsValid() {
		c.errorf(join(base, "routes"), "required-field", "routes need the bridge's address")
	}
	for i, r := range b.Routes {
		if b.Address.IsValid() && r.Via.IsValid() && !b.Address.Contains(r.Via) {
			c.errorf(join(base, "routes", i, "via"), "outside-cidr", "the next hop %s is outside %s", r.Via, b.Address.Masked())
		}
	}
}

func (c *checker) publicIPRange(s *PublicIPRange) {
	c.family(s.CIDR, "cidr")
	c.subnet(s.CIDR, s.Gateway, s.Ranges)
	c.vlan(s.VLAN, "vlan")
	c.publicIP6(s.IP6)
	if s.Ranges != nil && len(s.Ranges) == 0 {
		c.errorf(at("ranges"), "empty-value", "the list is empty").Hintf("state at least one range")
	}
}

// vlan asks for a VLAN or untagged where no overlay can be meant.
func (c *checker) vlan(u BroadcastURI, path ...any) {
	if !u.IsZero() && u.Scheme != SchemeVLAN && u.Scheme != SchemeNative {
		c.errorf(path, "bad-uri", "%s is not a VLAN", u).Hintf("write such as vlan://50, or leave the field out for untagged")
	}
}

func (c *checker) offering(s *NetworkOffering) {
	c.guestType(s)
	c.groupProvider(s)
	c.tierOffering(s)
	if s.SpecifyIPRanges && s.GuestType == "Isolated" && s.Services.SourceNat != nil {
		c.errorf(at("specifyIPRanges"), "conflicting-fields", "specifyIPRanges can not be used with SourceNat")
	}
	c.combinations(s)
	c.words(s.Tags, "tags")
	c.words(s.Zones, "zones")
	c.words(s.Accounts, "accounts")
}
