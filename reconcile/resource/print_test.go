package resource_test

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// samples has every field of every kind set in one of its values.
func samples() []resource.State {
	id := resource.ID{Kind: resource.KindNS, Name: "x"}
	addr, net := netip.MustParseAddr("10.0.0.1"), netip.MustParsePrefix("10.0.0.0/24")
	match := resource.Match{
		In: "eth0", Out: "eth1", Src: net, Dst: net, NotDst: true, SrcSet: "a", DstSet: "b", Proto: "tcp",
		SrcPorts: []schema.PortRange{{From: 1, To: 2}}, DstPorts: []schema.PortRange{{From: 3, To: 4}},
		ICMPType: 9, ICMPCode: 1, CT: []string{"NEW"}, OrigDst: net, SYN: true, Mark: 7,
		IPsec: "in", Nth: 2, Hash: resource.Hash{Nodes: 2, Mask: 1, Seed: 3},
	}
	do := resource.Verdict{Target: "DNAT", To: addr, Ports: schema.PortRange{From: 80, To: 81}, Base: 8000, Mark: 3, Mask: 7}
	author := resource.Author{Pos: schema.Pos{File: "f", Line: 1}, NIC: "a/b/c"}
	return []resource.State{
		resource.Bridge{Name: "br", Datapath: "netdev", FailMode: "secure", Existing: true, Adopt: true, MTU: 1600, MAC: "02:00:00:00:00:02"},
		resource.Port{Bridge: "br", Name: "p", Type: "patch", Peer: "q", IfaceID: "a/b/c", MAC: "02:00:00:00:00:01", Uplink: true, Link: &id, Guards: []resource.ID{id}},
		resource.Tunnel{Bridge: "br", Name: "t", Type: "vxlan", Local: addr, Remote: addr.Next(), DstPort: 4789, Endpoint: &id},
		resource.Flows{Bridge: "br", Owner: "network/a/b", Rules: []resource.Flow{{
			By: 1, Table: 1, Priority: 2, Match: []resource.Cond{{Field: resource.FieldReg0, Value: 1, Mask: 3, Sym: "s"}},
			Do: []resource.Act{{Op: resource.OpSet, Field: resource.FieldReg2, Value: 4, Table: 5, Sym: "z"}},
		}}, Ports: []resource.ID{id}, Authors: []resource.Author{author}},
		resource.NS{Name: "n", Owner: "network/a/b", Health: &resource.Health{Name: "router/a/b"}},
		resource.Link{NS: "n", Name: "eth0", Host: "w0", MAC: "02:00:00:00:00:01", MTU: 1500, Up: true, Of: "br", TxOff: true, Bridge: &resource.LinuxBridge{}, VLAN: &resource.VLAN{}, VXLAN: &resource.VXLAN{}, Meter: &resource.Meter{Of: "vpn"}},
		resource.Addr{NS: "n", Link: "eth0", Prefix: netip.MustParsePrefix("10.0.0.1/24"), With: &id},
		resource.Route{NS: "n", Dst: net, Via: addr, Dev: "eth0", From: &id, With: &id},
		resource.RoutingRule{NS: "n", Table: 1001, Dev: "eth1", Net: net, Via: addr, Mark: 1 << 16, Mask: 0xffff0000},
		resource.Sysctl{NS: "n", Key: "net.ipv4.ip_forward", Value: "1", After: []resource.ID{id}, Link: &id},
		resource.BridgePort{
			Bridge: "br", Name: "p", IfaceID: "a/b/c", MAC: "02:00:00:00:00:01", Uplink: true, Addressed: true, Isolated: true,
			Static: true, NeighSuppress: true, Guard: guard(net, addr), Link: &id, Guards: []resource.ID{id},
		},
		resource.Qdisc{NS: "n", Link: "eth0", Mbit: 10, Ingress: true, IfaceID: "a/b/c", MAC: "02:00:00:00:00:01", Below: &id},
		resource.Chain{NS: "n", Family: 4, Table: "nat", Name: "C", Policy: "DROP", Rules: []resource.Rule{{Name: "r", Match: match, Do: do, Origin: schema.Pos{File: "f", Line: 1, Col: 1}, Behind: []netip.AddrPort{netip.AddrPortFrom(addr, 80)}}}, Meter: &resource.Meter{Of: "publicip"}},
		resource.Chain{NS: "n", Family: 4, Table: "nat", Name: "C", Rules: []resource.Rule{{Do: resource.Verdict{Jump: "D"}}}},
		resource.AddrSet{NS: "n", Name: "s", Family: 4, Members: []netip.Prefix{net}},
		resource.File{Path: "a/b", Mode: 0o644, Parts: []resource.Part{{Text: "t"}}, Nic: "a/b/c", Authors: []resource.Lines{{N: 1, By: author}}, Test: []string{"t"}},
		resource.File{Path: "a/b", Mode: 0o600, Parts: []resource.Part{{Secret: "/etc/x", Digest: "d"}}},
		resource.File{Path: "a/b", Mode: 0o600, Parts: []resource.Part{{Text: "t", Hidden: true}}},
		resource.File{Path: "a/b", Mode: 0o600, Parts: []resource.Part{{Text: "t", At: "c/d"}}, Image: "v"},
		resource.Process{Name: "n/d", NS: "n", Argv: []string{"d", "-k"}, Start: 1, Load: 2, Reload: "HUP", Test: []string{"d", "-t"}, Device: "eth0", After: []resource.ID{id}, Probes: []resource.Probe{{Service: "dns"}}},
		resource.Record{
			Server: resource.Server{Endpoint: "udp:10.0.0.53:53", Key: "weft", Algorithm: "hmac-sha256", Secret: "/etc/weft/dns", Resolvers: "10.10.0.53"},
			Zone:   "example.org", Name: "web-1.example.org", Type: "A", Values: []string{"10.1.1.5"}, TTL: 60,
			With: &id,
		},
	}
}

func guard(net netip.Prefix, addr netip.Addr) *resource.Guard {
	rules := []resource.GuestRule{{
		Proto: 6, Ports: []resource.PortSpan{{From: 1, To: 2}}, ICMPType: 3, ICMPCode: 4, Peers: []netip.Prefix{net},
	}}
	return &resource.Guard{
		Down: true, Open: true, Any: true, MAC: "02:00:00:00:00:01", Owned: []resource.Owned{{MAC: "02:00:00:00:00:01", CIDR: net}},
		Reserved: &resource.Reserved{MACs: []string{"02:00:00:00:00:02"}, Addrs: []netip.Addr{addr}},
		Groups:   &resource.GuestGroups{Open: true, Ingress: rules, Egress: rules, Local: []netip.Prefix{net}, Resolvers: []netip.Addr{addr}},
	}
}

// silent are the fields that order steps or name people's lines: the host does
// not know them, so they are no part of a fingerprint.
var silent = []string{
	"Bridge.Adopt", "Port.Link", "Port.Guards", "Tunnel.Endpoint", "Flows.Ports", "Route.From", "Sysctl.After", "Sysctl.Link",
	"BridgePort.Addressed", "BridgePort.Link", "BridgePort.Guards", "Qdisc.Below",
	"Rule.Origin", "Rule.Behind", "Flow.By", "Flows.Authors", "File.Authors", "File.Nic", "File.Test", "Process.Test", "Process.Device", "Process.After",
	"Process.Probes", "NS.Health", "Link.Meter", "Chain.Meter",
}

// TestFingerprintCoversEveryField changes each field of each kind in turn.
func TestFingerprintCoversEveryField(t *testing.T) {
	for _, st := range samples() {
		walk(t, reflect.TypeOf(st).Name(), reflect.ValueOf(st), func(path string, changed reflect.Value) {
			now, ok := changed.Interface().(resource.State)
			if !ok {
				t.Fatalf("%s is no State", path)
			}
			same := now.Fingerprint() == st.Fingerprint()
			if same != slices.Contains(silent, path) {
				t.Errorf("%s: fingerprint equal = %v", path, same)
			}
		})
	}
}

// walk calls with for every field below v, given a copy of the whole with that
// field zeroed.
func walk(t *testing.T, name string, v reflect.Value, with func(string, reflect.Value)) {
	t.Helper()
	for i := range v.NumField() {
		path := name + "." + v.Type().Field(i).Name
		if slices.Contains(silent, path) || !deeper(v.Field(i).Type()) {
			if v.Field(i).IsZero() {
				continue // another sample has it
			}
			c := clone(v)
			c.Field(i).SetZero()
			with(path, c)
			continue
		}
		inner, elem := v.Field(i), v.Field(i).Type()
		if inner.Kind() == reflect.Slice {
			inner, elem = inner.Index(0), elem.Elem()
		}
		walk(t, elem.Name(), inner, func(p string, changed reflect.Value) {
			c := clone(v)
			if c.Field(i).Kind() == reflect.Slice {
				s := reflect.MakeSlice(c.Field(i).Type(), c.Field(i).Len(), c.Field(i).Len())
				reflect.Copy(s, v.Field(i))
				s.Index(0).Set(changed)
				c.Field(i).Set(s)
			} else {
				c.Field(i).Set(changed)
			}
			with(p, c)
		})
	}
}

func clone(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}

// deeper reports whether a field is a struct, or a list of structs, of package resource.
func deeper(t reflect.Type) bool {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct && strings.HasSuffix(t.PkgPath(), "reconcile/resource") && t.Name() != "ID"
}

func TestShort(t *testing.T) {
	for _, c := range []struct {
		limit int
		parts []string
		want  string // "" = only the laws below
	}{
		{15, []string{"wg", "web"}, "wg-web"},
		{15, []string{"wg", "a-very-long-name"}, ""},
		{15, []string{"weft", "a-b", "c"}, ""},
		{15, []string{"weft", "a", "b-c"}, ""},
		{15, []string{"x/../y; rm"}, ""},
		{28, []string{"FW", "203.0.113.1"}, "FW-203.0.113.1"},
	} {
		got := resource.Short(c.limit, c.parts...)
		if len(got) > c.limit || strings.ContainsAny(got, "/ ;\n") || c.want != "" && got != c.want {
			t.Errorf("Short(%d, %q) = %q", c.limit, c.parts, got)
		}
	}
	if a, b := resource.Short(40, "weft", "a-b", "c"), resource.Short(40, "weft", "a", "b-c"); a == b {
		t.Errorf("two owners share the name %q", a)
	}
}

func TestFragmentRefusesTwoOfOneID(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	e := resource.Entry{State: resource.NS{Name: "n"}, Owner: "o"}
	resource.NewFragment("o", []resource.Entry{e, e})
}

func TestIntentFindsOwners(t *testing.T) {
	f := resource.NewFragment("network/a/b", []resource.Entry{{State: resource.NS{Name: "n"}, Owner: "network/a/b"}})
	in := resource.NewIntent("h", []*resource.Fragment{f}, []resource.Hold{{Owner: "network/a/c", Cause: resource.HoldInvalid}})
	if in.Fragment("network/a/b") != f || in.Fragment("network/a/z") != nil {
		t.Error("fragment by owner")
	}
	if _, ok := in.Held("network/a/c"); !ok {
		t.Error("hold by owner")
	}
	if _, ok := in.Held("network/a/b"); ok {
		t.Error("no hold on b")
	}
	other := resource.NewIntent("h", []*resource.Fragment{f}, nil)
	if in.Fingerprint() == other.Fingerprint() {
		t.Error("a hold is part of the fingerprint")
	}
}
