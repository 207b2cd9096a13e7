//go:build netns

package link_test

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weft.dev/plugins/drivers/link"
	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

func TestLifeOfARouter(t *testing.T) {
	h := newHost(t)
	d := link.New(h)
	states := router(h, 1)
	want := set(states...)
	do(t, d, steps(false, states...))
	same(t, d, want)
	do(t, d, steps(false, states...)) // again
	same(t, d, want)
	ns := h.Instance + "-r1"
	if out := sh(t, ns, "ip -d addr show; ip route"); !strings.Contains(out, "10.1.1.1/24") || !strings.Contains(out, "proto 87") && !strings.Contains(out, "default via 203.0.255.254") {
		t.Fatal(out)
	}
	// A fresh process that knows nothing but the directory of marks.
	fresh := host.New("kvm1", h.Instance)
	fresh.RunDir = h.RunDir
	defer fresh.Close()
	same(t, link.New(fresh), want)
	if l := diff(observe(t, link.New(fresh), nil), want); l != nil {
		t.Fatalf("observed without knowing what is desired differs:\n%s", strings.Join(l, "\n"))
	}
	// One that lost its marks too.
	lost := host.New("kvm1", h.Instance)
	lost.RunDir = t.TempDir()
	defer lost.Close()
	same(t, link.New(lost), want)

	// In order of dependence, the reverse of making, then the same again.
	for range 2 {
		var back []resource.State
		for i := len(states) - 1; i >= 0; i-- {
			back = append(back, states[i])
		}
		do(t, d, steps(true, back...))
	}
	same(t, d, set())
	if out := sh(t, "", "ip -o link"); strings.Contains(out, "weft/"+h.Instance+"/") {
		t.Fatalf("outer ends are left:\n%s", out)
	}
}

func TestNamespaceGoesAtOnce(t *testing.T) {
	h := newHost(t)
	d := link.New(h)
	states := router(h, 1)
	do(t, d, steps(false, states...))
	// A process in the namespace keeps it alive; its links must go all the same.
	cmd := exec.Command("ip", "netns", "exec", h.Instance+"-r1", "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	do(t, d, steps(true, states[0]))
	same(t, d, set())
	do(t, d, steps(false, states...))
	same(t, d, set(states...))
}

func TestDrift(t *testing.T) {
	h := newHost(t)
	ns := h.Instance + "-r1"
	g := resource.Short(15, h.Instance, "g1")
	cases := []struct{ name, line, want string }{
		{"address gone", "ip -n NS addr del 10.1.1.1/24 dev eth0", "missing net.addr NS/eth0/10.1.1.1/24"},
		{"address extra", "ip -n NS addr add 10.9.9.9/24 dev eth0", "extra net.addr NS/eth0/10.9.9.9/24"},
		{"address on lo", "ip -n NS addr add 10.9.9.8/32 dev lo", "extra net.addr NS/lo/10.9.9.8/32"},
		{"address with peer", "ip -n NS addr del 10.1.1.1/24 dev eth0; ip -n NS addr add 10.1.1.1 peer 10.1.1.2/24 dev eth0", "net.addr NS/eth0/10.1.1.1/24 is"},
		{"route gone", "ip -n NS route del default", "missing net.route NS/0.0.0.0/0"},
		{"route changed", "ip -n NS route replace default via 203.0.255.253", "net.route NS/0.0.0.0/0 is"},
		{"route beside", "ip -n NS route add default via 203.0.255.253 metric 50", "net.route NS/0.0.0.0/0 is"},
		{"route extra", "ip -n NS route add 198.51.100.0/24 via 203.0.255.253", "extra net.route NS/198.51.100.0/24"},
		{"blackhole", "ip -n NS route add blackhole 198.51.100.0/24", "extra net.route NS/198.51.100.0/24"},
		{"route6 extra", "ip -n NS -6 route add 2001:db8::/32 dev eth0", "extra net.route NS/2001:db8::/32"},
		{"inner down", "ip -n NS link set eth0 down", "net.link NS/eth0 is"},
		{"outer down", "ip link set HOSTEND down", "net.link NS/eth0 is"},
		{"inner mtu", "ip -n NS link set eth0 mtu 1400", "net.link NS/eth0 is"},
		{"outer mtu", "ip link set HOSTEND mtu 1400", "net.link NS/eth0 is"},
		{"mac", "ip -n NS link set eth0 address 02:00:00:00:00:99", "net.link NS/eth0 is"},
		{"offload", "ip netns exec NS ethtool -K eth0 tx on", "net.link NS/eth0 is"},
		{"link gone", "ip link del HOSTEND", "missing net.link NS/eth0"},
		{"link extra", "ip -n NS link add br9 type bridge", "extra net.link NS/br9"},
		{"link moved away", "ip -n NS link set eth0 name eth7", "missing net.link NS/eth0"},
		{"lo down", "ip -n NS link set lo down", "net.ns NS is"},
		{"mark of lo", "ip -n NS link set lo alias x", "net.ns NS is"},
		{"sysctl", "ip netns exec NS sysctl -qw net.ipv4.ip_forward=0", "net.sysctl NS/net.ipv4.ip_forward is"},
		{"namespace gone", "ip netns del NS", "missing net.ns NS"},
	}
	d := link.New(h)
	states := router(h, 1)
	want := set(states...)
	do(t, d, steps(false, states...))
	same(t, d, want)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fill := strings.NewReplacer("NS", ns, "HOSTEND", g)
			if strings.Contains(c.line, "ethtool") {
				if _, err := exec.LookPath("ethtool"); err != nil {
					t.Skip("no ethtool")
				}
			}
			sh(t, "", fill.Replace(c.line))
			o := observe(t, d, want)
			if got := strings.Join(diff(o, want), "\n"); !strings.Contains(got, fill.Replace(c.want)) {
				t.Fatalf("differences are %q, want %q among them", got, fill.Replace(c.want))
			}
			heal(t, d, states)
		})
	}
}

// heal does what a planner would, and expects the host to be right after.
func heal(t *testing.T, d driver.Driver, states []resource.State) {
	t.Helper()
	want := set(states...)
	for range 2 { // what hangs on a link that is made anew is missing only then
		o := observe(t, d, want)
		var drops []*plan.Step
		for _, id := range o.Set.IDs() {
			if _, ok := want[id]; !ok {
				e := o.Set[id]
				drops = append(drops, &plan.Step{Index: len(drops), Drop: true, Action: &plan.Action{ID: id, Verb: plan.Delete, Before: &e}})
			}
		}
		do(t, d, drops)
		var makes []resource.State
		for _, st := range states {
			if got, ok := o.Set[st.ID()]; !ok || got.State.Fingerprint() != st.Fingerprint() {
				makes = append(makes, st)
			}
		}
		do(t, d, steps(false, makes...))
	}
	same(t, d, want)
}

func TestChangeInPlace(t *testing.T) {
	h := newHost(t)
	d := link.New(h)
	states := router(h, 1)
	do(t, d, steps(false, states...))
	l := states[1].(resource.Link)
	for _, change := range []func(*resource.Link){
		func(l *resource.Link) { l.MTU = 1300 },
		func(l *resource.Link) { l.MAC = "02:00:00:00:00:77" },
		func(l *resource.Link) { l.MAC = "" },
		func(l *resource.Link) { l.TxOff = false },
		func(l *resource.Link) { l.MTU = 0 },
	} {
		n := l
		change(&n)
		next := append([]resource.State{}, states...)
		next[1] = n
		do(t, d, steps(false, n))
		same(t, d, set(next...))
	}
	do(t, d, steps(false, l))
	// The first address of a subnet goes, the second and the routes stay.
	second := resource.Addr{NS: l.NS, Link: "eth1", Prefix: pfx("203.0.77.77/16")}
	do(t, d, steps(false, second))
	do(t, d, steps(true, states[5]))
	next := append(append([]resource.State{}, states[:5]...), states[6:]...)
	same(t, d, set(append(next, second)...))
	// A route gets another gateway without a moment without one.
	r := states[6].(resource.Route)
	r.Via = netip.MustParseAddr("203.0.255.253")
	do(t, d, steps(false, r))
	next[5] = r
	same(t, d, set(append(next, second)...))
	// A setting gets back what stood there before.
	do(t, d, steps(true, states[8]))
	if v := strings.TrimSpace(sh(t, l.NS, "cat /proc/sys/net/ipv4/ip_forward")); v != "0" {
		t.Fatalf("ip_forward is %s", v)
	}
}

func TestForeign(t *testing.T) {
	h := newHost(t)
	d := link.New(h)
	states := router(h, 1)
	g := states[1].(resource.Link).Host
	ns := states[0].ID().Name
	sh(t, "", "ip link add "+g+" type veth peer name "+resource.Short(15, h.Instance, "fx")+"; ip netns add "+ns)
	defer sh(t, "", "ip link del "+g)
	defer sh(t, "", "ip netns del "+ns)
	before := sh(t, "", "ip -d link show "+g)
	o := observe(t, d, set(states...))
	if o.Foreign[states[0].ID()] == "" || o.Foreign[states[1].ID()] == "" || len(o.Set) != 0 {
		t.Fatalf("foreign %v, ours %v", o.Foreign, o.Set)
	}
	errs := d.Do(t.Context(), steps(false, states[:2]...))
	if errs[0] == nil || errs[1] == nil {
		t.Fatalf("made what is foreign: %v", errs)
	}
	errs = d.Do(t.Context(), steps(true, states[1], states[0]))
	if errs[0] != nil || errs[1] != nil {
		t.Fatalf("drop of what is not there: %v", errs)
	}
	if after := sh(t, "", "ip -d link show "+g); after != before {
		t.Fatalf("the foreign link was changed:\n%s%s", before, after)
	}
	sh(t, ns, "ip -o link") // the namespace is still there
}

func TestHostLinkAddressRoute(t *testing.T) {
	h := newHost(t)
	d := link.New(h)
	br := resource.Short(15, h.Instance, "br")
	sh(t, "", "ip link add "+br+" type bridge; ip addr add 198.18.7.9/24 dev "+br)
	defer sh(t, "", "ip link del "+br)
	states := []resource.State{
		resource.Link{Name: br, MTU: 1400, Up: true, Of: br},
		resource.Addr{Link: br, Prefix: pfx("198.18.7.1/24")},
		resource.Addr{Link: br, Prefix: pfx("198.18.7.2/24")},
		resource.Route{Dst: pfx("198.19.7.0/24"), Via: netip.MustParseAddr("198.18.7.254"), Dev: br},
	}
	want := set(states...)
	do(t, d, steps(false, states...))
	same(t, d, want)
	fresh := host.New("kvm1", h.Instance)
	fresh.RunDir = t.TempDir()
	defer fresh.Close()
	if l := diff(observe(t, link.New(fresh), nil), want); len(l) == 0 || !strings.HasPrefix(l[0], "net.addr /") && !strings.HasPrefix(l[0], "missing net.link") {
		t.Fatalf("without marks or desires: %v", l)
	}
	// Two instances share a protocol number once in 50 times: of three others
	// one at least has another.
	var taken []resource.ID
	for _, suffix := range []string{"x", "y", "z"} {
		other := host.New("kvm1", h.Instance+suffix)
		other.RunDir = t.TempDir()
		defer other.Close()
		if taken = observe(t, link.New(other), nil).Set.IDs(); len(taken) == 0 {
			break
		}
	}
	if len(taken) != 0 {
		t.Fatalf("other instances think that %v is theirs", taken)
	}
	do(t, d, steps(true, states[3], states[2], states[1], states[0]))
	same(t, d, set())
	if out := sh(t, "", "ip addr show "+br); !strings.Contains(out, "198.18.7.9/24") || strings.Contains(out, "198.18.7.1/") {
		t.Fatalf("the foreign address went or ours stayed:\n%s", out)
	}
}

func TestWatch(t *testing.T) {
	h := newHost(t)
	d := link.New(h)
	states := router(h, 1)
	do(t, d, steps(false, states...))
	observe(t, d, set(states...))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	woke := make(chan struct{}, 1)
	ended := make(chan error)
	go func() {
		ended <- d.Watch(ctx, func(driver.Scope) {
			select {
			case woke <- struct{}{}:
			default:
			}
		})
	}()
	ns := h.Instance + "-r1"
	// Until the watch is up, changes are repeated.
	wait := func(change string) {
		t.Helper()
		end := time.After(10 * time.Second)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			_ = exec.Command("sh", "-c", change).Run()
			select {
			case <-woke:
				return
			case <-end:
				t.Fatalf("nobody woke: %s", change)
			case <-tick.C:
			}
		}
	}
	wait("ip -n " + ns + " addr add 10.3.3.3/24 dev eth0; ip -n " + ns + " addr del 10.3.3.3/24 dev eth0")
	drain(woke)
	wait("ip -n " + ns + " route add 10.4.4.0/24 dev eth0")
	drain(woke)
	wait("ip -n " + ns + " link set eth0 down")
	drain(woke)
	wait("ip netns del " + ns)
	g := states[1].(resource.Link).Host
	for end := time.Now().Add(10 * time.Second); exec.Command("ip", "link", "show", g).Run() == nil; {
		if time.Now().After(end) {
			t.Fatalf("%s is kept alive", g)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func drain(c chan struct{}) {
	for {
		select {
		case <-c:
		case <-time.After(100 * time.Millisecond):
			return
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	h := newHost(t)
	d := link.New(h)
	var all []resource.State
	for i := range 50 {
		all = append(all, router(h, i)...)
	}
	do(t, d, steps(false, all...))
	same(t, d, set(all...))
	var drops []resource.State
	for _, st := range all {
		if st.ID().Kind == resource.KindNS {
			drops = append(drops, st)
		}
	}
	do(t, d, steps(true, drops...))
	same(t, d, set())
}

func BenchmarkBringUp(b *testing.B) {
	for _, n := range []int{50, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				h := newHost(b)
				d := link.New(h)
				var all, drops []resource.State
				for i := range n {
					all = append(all, router(h, i)...)
					drops = append(drops, all[len(all)-10])
				}
				b.StartTimer()
				do(b, d, steps(false, all...))
				b.StopTimer()
				do(b, d, steps(true, drops...))
				h.Close()
				b.StartTimer()
			}
		})
	}
}

func BenchmarkObserve200(b *testing.B) {
	h := newHost(b)
	d := link.New(h)
	var all, drops []resource.State
	for i := range 200 {
		all = append(all, router(h, i)...)
		drops = append(drops, all[len(all)-10])
	}
	do(b, d, steps(false, all...))
	want := set(all...)
	same(b, d, want)
	for b.Loop() {
		observe(b, d, want)
	}
	do(b, d, steps(true, drops...))
}
