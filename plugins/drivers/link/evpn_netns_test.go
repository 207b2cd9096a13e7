//go:build netns

package link_test

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"weft.dev/plugins/drivers/link"
	"weft.dev/reconcile/driver/drivertest"
	"weft.dev/reconcile/resource"
)

// evpn is the VXLAN of a routing daemon's, called vx, and its place in bridge br.
func evpn(vx, br string) (tunnel resource.Link, port resource.BridgePort) {
	tunnel = resource.Link{Name: vx, MTU: 1450, Up: true, VXLAN: &resource.VXLAN{VNI: 7003, Local: netip.MustParseAddr("198.18.1.1"), DstPort: 4790, External: true, Joined: true}}
	id := tunnel.ID()
	return tunnel, resource.BridgePort{Bridge: br, Name: vx, Static: true, NeighSuppress: true, Link: &id}
}

func TestSuiteOfEVPN(t *testing.T) {
	w := newWorld(t)
	tunnel, _ := evpn(w.br, "")
	a := netip.MustParseAddr
	drivertest.Run(t, w.fixture([]drivertest.Sample{{
		State: tunnel,
		Changed: []resource.State{
			vxlanOf(tunnel, func(v *resource.VXLAN) { v.External, v.Learning = false, true }),
			vxlanOf(tunnel, func(v *resource.VXLAN) {
				v.External, v.Learning, v.Remotes = false, true, []netip.Addr{a("198.18.1.2")}
			}),
			vxlanOf(tunnel, func(v *resource.VXLAN) { v.External, v.Remotes = false, []netip.Addr{a("198.18.1.2")} }),
			vxlanOf(tunnel, func(v *resource.VXLAN) { v.Local = a("198.18.1.9") }),
			vxlanOf(tunnel, func(v *resource.VXLAN) { v.DstPort = 4791 }),
			vxlanOf(tunnel, func(v *resource.VXLAN) { v.VNI = 7004 }),
		},
		Spoil: run("ip link set " + w.br + " type vxlan learning"), Vanish: run("ip link del " + w.br),
		Check: has("ip -d link show "+w.br, "vxlan id"),
	}}))
}

// TestDaemonsEntriesStay: what a routing daemon writes is neither drift nor touched,
// whatever else is repaired. It is told of until there is a remote, and is gone with
// the mode.
func TestDaemonsEntriesStay(t *testing.T) {
	w := newWorld(t)
	vx := resource.Short(15, w.h.Instance, "vx")
	br := resource.Link{Name: w.br, MTU: 1450, Up: true, Bridge: &resource.LinuxBridge{Deaf: true}}
	tunnel, port := evpn(vx, w.br)
	d := link.New(w.h)
	want := set(br, tunnel, port)
	notices := func(words ...string) {
		t.Helper()
		got := observe(t, link.New(w.h), want).Notices[owner]
		for i := range words {
			if len(got) != len(words) || !strings.Contains(got[i], words[i]) {
				t.Errorf("notices are %q, want %q", got, words)
			}
		}
		if len(words) == 0 && len(got) > 0 {
			t.Errorf("notices are %q", got)
		}
	}
	do(t, d, steps(false, br, tunnel, port))
	same(t, d, want)
	if out := sh(t, "", "ip -d link show "+vx); !strings.Contains(out, "nolearning") || !strings.Contains(out, " learning off") || !strings.Contains(out, "neigh_suppress on") {
		t.Errorf("the tunnel is %s", out)
	}
	if out := sh(t, "", "bridge fdb show dev "+vx+" | grep dst || true"); out != "" {
		t.Errorf("weft wrote %s", out)
	}
	notices("no remote VTEP is known on " + vx)
	alone, _ := vxlanOf(tunnel, func(v *resource.VXLAN) { v.Joined = false }).(resource.Link)
	want = set(br, alone, port)
	same(t, d, want)
	notices() // no other host has it
	want = set(br, tunnel, port)

	// As zebra writes them: the first carries no mark of who wrote it.
	for _, line := range []string{
		"bridge fdb append 00:00:00:00:00:00 dev " + vx + " dst 198.18.1.2 self permanent",
		"bridge fdb add 02:00:00:00:00:07 dev " + vx + " dst 198.18.1.2 self extern_learn",
		"bridge fdb add 02:00:00:00:00:07 dev " + vx + " master extern_learn",
		"bridge fdb add 02:00:00:00:00:08 dev " + vx + " dst 198.18.1.2 self static",
	} {
		sh(t, "", line)
	}
	entries := func() string {
		return sh(t, "", "bridge fdb show dev "+vx+" | grep -e 'dst ' -e extern_learn | sort")
	}
	before := entries()
	if strings.Count(before, "\n") != 4 {
		t.Fatalf("the daemon's entries are\n%s", before)
	}
	intact := func(when string) {
		t.Helper()
		same(t, link.New(w.h), want)
		notices()
		if now := entries(); now != before {
			t.Errorf("%s the entries are\n%s, and were\n%s", when, now, before)
		}
	}
	intact("untouched")
	sh(t, "", "ip link set "+vx+" type bridge_slave neigh_suppress off learning on && ip link set "+vx+" type vxlan ttl 9")
	if l := diff(observe(t, d, want), want); len(l) != 2 {
		t.Errorf("of flags and TTL is seen %q", l)
	}
	do(t, link.New(w.h), steps(false, br, tunnel, port))
	intact("after a repair")

	mesh, _ := vxlanOf(tunnel, func(v *resource.VXLAN) {
		v.External, v.Learning, v.Remotes = false, true, []netip.Addr{netip.MustParseAddr("198.18.1.3")}
	}).(resource.Link)
	port.Static, port.NeighSuppress = false, false
	want = set(br, mesh, port)
	do(t, d, steps(false, br, mesh, port))
	same(t, d, want)
	notices()
	if now := strings.TrimSpace(entries()); now != "00:00:00:00:00:00 dst 198.18.1.3 self permanent" {
		t.Errorf("left of the daemon's entries is %s", now)
	}
	tunnel, port = evpn(vx, w.br)
	want = set(br, tunnel, port)
	do(t, d, steps(false, br, tunnel, port))
	same(t, d, want)
	if out, _ := exec.Command("sh", "-c", "bridge fdb show dev "+vx+" | grep dst").Output(); len(out) > 0 {
		t.Errorf("left of the mesh is %s", out)
	}
	notices("no remote VTEP is known on " + vx)
	do(t, d, steps(true, port, tunnel, br))
}
