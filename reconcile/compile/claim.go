package compile

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// claimKey is a number in what it must be unique in.
type claimKey struct {
	space string
	value [16]byte
}

// A claim is a number that a unit uses. Only demand or nic is set.
type claim struct {
	key    claimKey
	unit   *unit
	demand *model.Demand
	nic    *model.NIC
	host   string // of an interface
	told   string // name that a DNS server is told, "" of an interface
	of     string // whose it is, where several may tell it: see shares
}

func (c *claim) pos() schema.Pos {
	if c.nic != nil {
		return c.nic.Pos
	}
	return c.demand.Pos
}

func (c *claim) owner() string {
	if c.nic != nil {
		return "nic/" + c.nic.ID
	}
	return c.demand.Owner
}

// claim lists what u claims in the tree: VLAN ids and keys, MACs, public
// addresses, and the names of interfaces on hosts. Guests' addresses are unique
// in their network, which the model sees to where documents state them. It also
// says whether the lock answers u.
func (w *worker) claim(u *unit) {
	u.claims = make([]claim, 0, len(u.demands)/2+4)
	guests := make([]string, 0, len(u.demands)/2+1)
	u.answered = true
	for i := range u.demands {
		d := &u.demands[i]
		value := w.lock.Number(d.Owner, d.Field)
		if value == "" || d.Fixed != "" && value != d.Fixed || d.Fixed == "" && !d.Pool.Contains(value) {
			u.answered = false
		}
		if d.Fixed != "" {
			value = d.Fixed
		}
		switch {
		case d.Pool.Space() == "":
			u.answered = u.answered && (d.Apart == "" || value != w.lock.Number(d.Owner, d.Apart))
		case d.Field == model.FieldIP, d.Field == model.FieldGuestIP, d.Field == model.FieldGuestIP2, strings.HasPrefix(d.Field, model.FieldSecondaryIP) && !strings.Contains(value, ":"):
			if d.Shares == "" || !slices.Contains(guests, value) {
				guests = append(guests, value)
			}
		case value != "":
			u.claims = append(u.claims, claim{key: claimKey{d.Pool.Space(), packed(d.Field, value)}, unit: u, demand: d})
		}
	}
	slices.Sort(guests)
	u.answered = u.answered && len(slices.Compact(guests)) == len(guests)
	if u.net == nil || u.vpc != nil { // whose NICs are the tiers'
		return
	}
	u.tell()
	for _, n := range u.net.NICs {
		if n.Interface == "" {
			continue
		}
		for _, h := range n.Hosts {
			var key claimKey
			key.space = "interface on " + h
			copy(key.value[:], n.Interface)
			u.claims = append(u.claims, claim{key: key, unit: u, nic: n, host: h})
		}
	}
}

// tell claims the names that a DNS server is told: there each is one network's.
func (u *unit) tell() {
	if u.net.Published == nil {
		return
	}
	at, known := u.net.Published.Provider.Address(), map[string]bool{}
	for _, n := range u.net.NICs {
		of := ""
		if u.net.Tier != nil { // a machine in two tiers has one name, which one router tells
			of = u.net.Tier.ID.String() + " " + n.VM.ID().String()
		}
		for _, x := range u.net.Told(n) {
			if !known[x.Name] {
				known[x.Name] = true
				u.claims = append(u.claims, claim{key: claimKey{space: "name " + x.Name + " at " + at}, unit: u, nic: n, told: x.Name, of: of})
			}
		}
	}
}

// packed is a value in 16 bytes, equal exactly for equal numbers.
func packed(field, value string) (out [16]byte) {
	if strings.HasPrefix(field, model.FieldLegMAC) {
		field = model.FieldPublicMAC
	}
	switch field {
	case model.FieldMAC, model.FieldGuestMAC, model.FieldGuestMAC2, model.FieldPublicMAC:
		for i := 0; i < len(out) && 3*i+1 < len(value); i++ {
			out[i] = nibble(value[3*i])<<4 | nibble(value[3*i+1])
		}
	case model.FieldAddress, model.FieldSourceNAT, model.FieldOuter:
		if ip, err := netip.ParseAddr(value); err == nil {
			return ip.As16()
		}
	case model.FieldIP6, model.FieldPublicIP6:
		if p, err := netip.ParsePrefix(value); err == nil {
			return p.Addr().As16()
		}
		if ip, err := netip.ParseAddr(value); err == nil {
			return ip.As16()
		}
	case model.FieldGuestIP6:
		if ip, err := netip.ParseAddr(value); err == nil {
			return ip.As16()
		}
	default:
		if strings.HasPrefix(field, model.FieldSecondaryIP) {
			if ip, err := netip.ParseAddr(value); err == nil {
				return ip.As16()
			}
		}
		copy(out[:], value)
	}
	return out
}

func nibble(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// claims index what units claim, with add and remove.
type claims struct {
	one  map[claimKey]*claim
	more map[claimKey][]*claim // all of those that have several
}

func newClaims() claims {
	return claims{one: map[claimKey]*claim{}, more: map[claimKey][]*claim{}}
}

func (x *claims) add(u *unit) {
	for i := range u.claims {
		c := &u.claims[i]
		first, ok := x.one[c.key]
		if !ok {
			x.one[c.key] = c
			continue
		}
		if x.more[c.key] == nil {
			x.more[c.key] = []*claim{first}
		}
		x.more[c.key] = append(x.more[c.key], c)
	}
}

// shares says with whom c shares its number; "" is with nobody.
func (c *claim) shares() string {
	if c.demand == nil {
		return c.of
	}
	return c.demand.Shares
}

// firstOther is where in list the first is that does not share with list[0], or
// len(list).
func firstOther(list []*claim) int {
	i := slices.IndexFunc(list, func(c *claim) bool { return c.shares() != list[0].shares() })
	if i < 0 {
		return len(list)
	}
	return i
}

// stranger is where in list the first is that does not share its number with
// list[i], or len(list). other is firstOther of list: a thousand that share are
// not compared with each other.
func stranger(list []*claim, i, other int) int {
	switch {
	case list[i].shares() != list[0].shares():
		return 0
	case list[i].shares() != "":
		return other
	case i == 0:
		return 1
	}
	return 0
}

func (x *claims) remove(u *unit) {
	for i := range u.claims {
		c := &u.claims[i]
		rest := slices.DeleteFunc(x.more[c.key], func(o *claim) bool { return o == c })
		switch {
		case len(rest) > 1:
			x.more[c.key], x.one[c.key] = rest, rest[0]
		case len(rest) == 1:
			x.one[c.key] = rest[0]
			delete(x.more, c.key)
		case x.one[c.key] == c:
			delete(x.one, c.key)
		}
	}
}

// judge reports numbers that several units claim, and holds those units: which
// one is right is not known. Numbers of the lock are reported by alloc.Check.
func (x *claims) judge(ds *schema.Diags, hold func(*unit, string)) {
	keys := slices.SortedFunc(maps.Keys(x.more), func(a, b claimKey) int {
		return cmp.Or(cmp.Compare(a.space, b.space), slices.Compare(a.value[:], b.value[:]))
	})
	for _, k := range keys {
		list := slices.SortedFunc(slices.Values(x.more[k]), func(a, b *claim) int {
			return cmp.Or(cmp.Compare(a.pos().File, b.pos().File), cmp.Compare(a.pos().Line, b.pos().Line),
				cmp.Compare(a.pos().Col, b.pos().Col), cmp.Compare(a.owner(), b.owner()))
		})
		apart := firstOther(list)
		for i, c := range list {
			j := stranger(list, i, apart)
			if j == len(list) {
				continue
			}
			other := list[j]
			if c.told != "" {
				hold(c.unit, "name "+c.told+" is also that of "+other.owner())
			} else if c.nic != nil {
				hold(c.unit, "interface "+c.nic.Interface+" on host "+c.host+" is also that of "+other.owner())
			} else {
				hold(c.unit, c.demand.Field+" of "+c.owner()+" is also that of "+other.owner())
			}
			if j > i {
				continue // it is reported there
			}
			switch {
			case c.told != "":
				hint := "give one of the networks another networkDomain, or one of the machines another hostname"
				if strings.HasSuffix(c.told, ".arpa") {
					hint = "networks whose addresses are in a provider's reverse have none in common"
				}
				ds.Errorf(c.pos(), "name-taken", "%s is told to %s twice: of %s and %s", c.told, c.unit.net.Published.Provider.Address(), other.nic.ID, c.nic.ID).
					See(other.pos(), "told of %s", other.nic.ID).Hintf("%s", hint)
			case c.nic != nil:
				ds.Errorf(c.pos(), "interface-taken", "interface %s is used twice on host %s: by %s and %s", c.nic.Interface, c.host, other.nic.ID, c.nic.ID).
					Offending(c.nic.Interface).See(other.pos(), "used by %s", other.nic.ID)
			case c.demand.Fixed != "" && other.demand.Fixed != "":
				alloc.TwoStated(ds, c.demand, other.demand)
			}
		}
	}
}

// marks index what units have on each host, as hashes: IDs and claims of
// resources, mixed with the host.
type marks struct {
	one  map[uint64]*unit
	more map[uint64][]*unit
}

func newMarks() marks { return marks{one: map[uint64]*unit{}, more: map[uint64][]*unit{}} }

// mixed makes what has a mark on several hosts different.
func mixed(host string) uint64 { return xxhash.Sum64String(host) }

// allMarks are those of all hosts.
func (u *unit) allMarks() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := range u.parts {
			at := mixed(u.parts[i].host)
			for _, m := range u.parts[i].marks {
				if !yield(m ^ at) {
					return
				}
			}
		}
	}
}

func (x *marks) add(u *unit) {
	for m := range u.allMarks() {
		first, ok := x.one[m]
		if !ok {
			x.one[m] = u
			continue
		}
		if x.more[m] == nil {
			x.more[m] = []*unit{first}
		}
		x.more[m] = append(x.more[m], u)
	}
}

func (x *marks) remove(u *unit) {
	for m := range u.allMarks() {
		rest := x.more[m]
		if i := slices.Index(rest, u); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		}
		switch {
		case len(rest) > 1:
			x.more[m], x.one[m] = rest, rest[0]
		case len(rest) == 1:
			x.one[m] = rest[0]
			delete(x.more, m)
		case x.one[m] == u:
			delete(x.one, m)
		}
	}
}

// judge reports what the fragments of one host both hold, and holds their owners.
func (x *marks) judge(ds *schema.Diags, hold func(*unit, string)) {
	for _, m := range slices.Sorted(maps.Keys(x.more)) {
		list := slices.SortedFunc(slices.Values(x.more[m]), func(a, b *unit) int { return compareID(a.id, b.id) })
		first, _, what := list[0].find(m)
		for _, u := range list {
			hold(u, "another owner has "+what+" too")
		}
		for _, u := range list[1:] {
			e, _, _ := u.find(m)
			twoClaim(ds, what, first, e)
		}
	}
}

// find returns the entry of u that a mark stands for, its host and what it is.
func (u *unit) find(m uint64) (resource.Entry, string, string) {
	for _, p := range u.parts {
		own := m ^ mixed(p.host)
		if p.fragment == nil || !slices.Contains(p.marks, own) {
			continue
		}
		for _, e := range p.fragment.Entries() {
			if what, ok := resource.Marked(e.State, own); ok {
				return e, p.host, what + " on host " + p.host
			}
		}
	}
	return resource.Entry{Owner: u.owner, Origin: []schema.Pos{u.net.Doc.Pos}}, "", "something on a host that is not looked at"
}
