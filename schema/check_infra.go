package schema

import "cmp"

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
	c.words(s.Providers, "providers")
	c.words(s.Tags, "tags")
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

func (c *checker) host(s *Host) {
	uplinks := map[string][]any{}
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
				Hintf("use one; a later release brings bonds")
		}
		c.bridgeAddress(&b, base)
	}
	for i := range s.Bridges {
		if path, ok := uplinks[s.Bridges[i].Name]; ok {
			c.errorf(path, "bad-ifname", "%s is a bridge of this host, not an uplink", s.Bridges[i].Name).
				See(c.pos("bridges", i, "name"), "the bridge")
		}
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
	if s.NetworkRate != 0 && s.NetworkRate != 200 {
		c.errorf(at("networkRate"), "unsupported-field", "field spec.networkRate is not supported yet").
			Hintf("leave it out; a later release brings rate limits")
	}
	if s.SpecifyIPRanges && s.GuestType == "Isolated" && s.Services.SourceNat != nil {
		c.errorf(at("specifyIPRanges"), "conflicting-fields", "specifyIPRanges can not be used with SourceNat")
	}
	c.words(s.Tags, "tags")
	c.words(s.Zones, "zones")
	c.words(s.Accounts, "accounts")
}
