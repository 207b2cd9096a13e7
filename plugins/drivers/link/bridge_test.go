package link

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

func TestHostMAC(t *testing.T) {
	for nic, want := range map[string]string{
		"02:00:4C:00:00:01": "fe:00:4c:00:00:01", "": "", "x": "", "02:00:00:00:00:00:00:01": "",
	} {
		if got := hostMAC(nic); got != want {
			t.Errorf("%q: %q", nic, got)
		}
	}
}

func TestFind(t *testing.T) {
	d := New(host.New("kvm1", ""))
	const nic = "02:00:00:00:00:01"
	tap := iface{index: 3, name: "vnet0", mac: hostMAC(nic), kind: "tun"}
	plugged := tap
	plugged.index, plugged.name, plugged.master = 4, "vnet1", 9
	ours := tap
	ours.name, ours.alias = "wg-x", "weft/weft/network/a/b"
	bridge := tap
	bridge.name, bridge.kind = "br0", "bridge"
	for _, x := range []struct {
		list []iface
		name string
		want string
	}{
		{[]iface{ours, bridge}, "", ""},
		{[]iface{ours, bridge, tap}, "", "vnet0"},
		{[]iface{tap, plugged}, "", "vnet1"},
		{[]iface{tap, plugged, ours}, "wg-x", "wg-x"},
		{[]iface{tap}, "vnet1", ""},
	} {
		got := ""
		if l := d.find(x.list, x.name, nic); l != nil {
			got = l.name
		}
		if got != x.want {
			t.Errorf("found %q, want %q", got, x.want)
		}
	}
	if d.find([]iface{{mac: ""}, {mac: "fe:00:00:00:00:00"}}, "", "") != nil {
		t.Error("no name and no MAC are somebody's")
	}
}

func TestVXLANRefused(t *testing.T) {
	a := netip.MustParseAddr
	good := resource.VXLAN{VNI: 7, Local: a("192.0.2.1"), DstPort: 4789, Remotes: []netip.Addr{a("192.0.2.2")}, Peers: []resource.Peer{{MAC: "02:00:00:00:00:01", Remote: a("192.0.2.2")}}}
	check := func(v resource.VXLAN) error {
		if err := checkVXLAN(&v); err != nil {
			return err
		}
		_, err := wantedFDB(&v)
		return err
	}
	if err := check(good); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*resource.VXLAN){
		"vni 0":                   func(v *resource.VXLAN) { v.VNI = 0 },
		"vni 16777216":            func(v *resource.VXLAN) { v.VNI = 1 << 24 },
		"no address of this host": func(v *resource.VXLAN) { v.Local = netip.Addr{} },
		"no UDP port":             func(v *resource.VXLAN) { v.DstPort = 65536 },
		"TTL":                     func(v *resource.VXLAN) { v.TTL = 256 },
		"multicast group":         func(v *resource.VXLAN) { v.Group = a("239.0.0.1"); v.Dev = "eth0" },
		"no entries, group":       func(v *resource.VXLAN) { v.External = true },
		"or learning beside it": func(v *resource.VXLAN) {
			*v = resource.VXLAN{VNI: 7, Local: v.Local, DstPort: 4789, External: true, Learning: true}
		},
		"a device is for":          func(v *resource.VXLAN) { v.Dev = "eth0" },
		"fd00::2 is no remote":     func(v *resource.VXLAN) { v.Remotes = []netip.Addr{a("fd00::2")} },
		"239.0.0.1 is no remote":   func(v *resource.VXLAN) { v.Remotes = []netip.Addr{a("239.0.0.1")} },
		"\"x\" is no Ethernet":     func(v *resource.VXLAN) { v.Peers = []resource.Peer{{MAC: "x", Remote: a("192.0.2.2")}} },
		"no MAC of one peer":       func(v *resource.VXLAN) { v.Peers = []resource.Peer{{MAC: "01:00:00:00:00:01", Remote: a("192.0.2.2")}} },
		"00:00\" is no MAC of one": func(v *resource.VXLAN) { v.Peers = []resource.Peer{{MAC: everybody, Remote: a("192.0.2.2")}} },
		"0A\" is no MAC of one":    func(v *resource.VXLAN) { v.Peers[0].MAC = "02:00:00:00:00:0A" },
		":01 is behind two remotes": func(v *resource.VXLAN) {
			v.Peers = append(v.Peers, resource.Peer{MAC: v.Peers[0].MAC, Remote: a("192.0.2.3")})
		},
	} {
		v := good
		v.Peers = append([]resource.Peer(nil), good.Peers...)
		change(&v)
		if err := check(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestBucketIsRead: what the kernel is told is read back as the same bucket.
func TestBucketIsRead(t *testing.T) {
	for _, mbit := range []int{1, 7, 10, 13, 50, 200, 10000, 40000, mostMbit} {
		b := bucketOf(mbit)
		// The header of the attribute itself is 4 bytes long.
		rate, limit, buffer := parseBucket(b.options().Serialize()[4:])
		if rate != b.rate || limit != b.limit || buffer != b.buffer() {
			t.Errorf("%d Mbit/s: read %d %d %d of %+v", mbit, rate, limit, buffer, b)
		}
		if b.limit >= 1<<32 || b.burst >= 1<<32 || b.buffer() >= 1<<32 {
			t.Errorf("%d Mbit/s: %+v does not fit", mbit, b)
		}
		st, ok := limitState(resource.Qdisc{Link: "eth0"}, discipline{kind: "tbf", options: b.options().Serialize()[4:]}).(resource.Qdisc)
		if !ok || st.Mbit != mbit {
			t.Errorf("%d Mbit/s is observed as %+v", mbit, st)
		}
	}
}

func TestFilterMarks(t *testing.T) {
	d, other := New(host.New("kvm1", "one")), New(host.New("kvm1", "two"))
	in, _ := d.splices(resource.Link{Name: "eth0.100", VLAN: &resource.VLAN{Dev: "eth0", ID: 100}}, 7, 3)
	if name, id, ok := d.splicedName(in); !ok || name != "eth0.100" || id != 100 {
		t.Errorf("%q is read as %s %d %v", in.name, name, id, ok)
	}
	if _, _, ok := other.splicedName(in); ok {
		t.Error("another instance takes it for its own")
	}
	code := limitCode(d.takeAll(9))
	if d.limitName(code) != d.toBucket(0, 9).name || other.limitName(code) != "" || d.limitName(nil) != "" || d.limitName(code[:16]) != "" {
		t.Error("the mark of a limit's filter")
	}
}

// TestJumps: no jump of a program leads out of it or to where nothing is.
func TestJumps(t *testing.T) {
	for name, prog := range map[string][]inst{"untag": untag(100, 7), "tag": tag(100, 7)} {
		for i, x := range prog {
			if x.op == jumpEq || x.op == jumpNot {
				to := i + 1 + int(x.off)
				if to >= len(prog) || prog[to].op != movImm || prog[to].dst != 0 {
					t.Errorf("%s: %d jumps to %d", name, i, to)
				}
			}
		}
		if prog[len(prog)-1].op != leave {
			t.Errorf("%s does not end", name)
		}
	}
}

func FuzzParseBelow(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 't', 'b', 'f', 0})
	d := New(host.New("kvm1", ""))
	f.Fuzz(func(_ *testing.T, b []byte) {
		parseFDB(b)
		parseDiscipline(b)
		if len(b) >= nl.SizeofTcMsg {
			d.parseFilter(b)
		}
		parseBucket(b)
		silence(b)
		var l iface
		for _, kind := range []string{"bridge", "vlan", "vxlan"} {
			l.kind = kind
			l.add(18, b) // IFLA_LINKINFO
		}
	})
}
