//go:build netns

package fw_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weft.dev/plugins/drivers/fw"
	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

func TestLife(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(string(v), func(t *testing.T) {
			h := newHost(t)
			d := fw.New(h, fw.WithVariant(v))
			ns := space(t, h, 1)
			states := firewall(ns)
			want := set(states...)
			do(t, d, steps(false, states...))
			same(t, d, want)
			do(t, d, steps(false, states...))
			same(t, d, want)
			fresh := host.New("kvm1", h.Instance)
			fresh.RunDir = h.RunDir
			defer fresh.Close()
			same(t, fw.New(fresh, fw.WithVariant(v)), want)
			if l := diff(observe(t, fw.New(fresh, fw.WithVariant(v)), nil), want); l != nil {
				t.Fatalf("observed without knowing what is desired differs:\n%s", strings.Join(l, "\n"))
			}
			text := sh(t, ns, "iptables-"+string(v)+"-save")
			for _, part := range []string{"--to-destination 10.1.1.10:6000-6010/5000", `"network/acme/web many ports"`, "tcp-reset", "--ctorigdst 203.0.113.5"} {
				if !strings.Contains(text, part) {
					t.Errorf("%q is not in\n%s", part, text)
				}
			}
			other := fw.NFT
			if v == fw.NFT {
				other = fw.Legacy
			}
			if out, _ := exec.Command("ip", "netns", "exec", ns, "iptables-"+string(other)+"-save").Output(); strings.Contains(string(out), "-A ") {
				t.Fatalf("the other variant has rules too:\n%s", out)
			}
			for range 2 {
				do(t, d, steps(true, reverse(states)...))
			}
			same(t, d, set())
		})
	}
}

func TestDrift(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(string(v), func(t *testing.T) {
			h := newHost(t)
			ns := space(t, h, 1)
			d := fw.New(h, fw.WithVariant(v))
			states := firewall(ns)
			want := set(states...)
			do(t, d, steps(false, states...))
			same(t, d, want)
			cases := []struct{ name, line, want, drift string }{
				{"flush", "IPT -F FORWARD", "fw.chain NS/4/filter/FORWARD is", "missing -A FORWARD"},
				{"add", "IPT -I EGRESS -j ACCEPT", "fw.chain NS/4/filter/EGRESS is", "extra -A EGRESS -j ACCEPT"},
				{"order", "IPT -D EGRESS 1; IPT -D EGRESS 1; IPT -D EGRESS 1; IPT -A EGRESS -p 47 -j ACCEPT", "fw.chain NS/4/filter/EGRESS is", "extra -A EGRESS"},
				{"policy", "IPT -P FORWARD ACCEPT", "fw.chain NS/4/filter/FORWARD is", "policy is ACCEPT instead of DROP"},
				{"chain", "IPT -N mine; IPT -A mine -j DROP", "extra fw.chain NS/4/filter/mine", "extra -A mine -j DROP"},
				{"chain in use", "IPT -N mine; IPT -I OUTPUT -j mine", "extra fw.chain NS/4/filter/OUTPUT", "extra -A OUTPUT -j mine"},
				{"built-in", "IPT -A INPUT -p tcp --dport 22 -j ACCEPT", "extra fw.chain NS/4/filter/INPUT", "22"},
				{"family 6", "IP6T -F INPUT", "fw.chain NS/6/filter/INPUT is", "missing -A INPUT"},
				{"member extra", "ip netns exec NS ipset add office 203.0.113.0/24", "fw.set NS/office is", ""},
				{"member gone", "ip netns exec NS ipset del office 192.0.2.0/24", "fw.set NS/office is", ""},
				{"half the world", "ip netns exec NS ipset del world 0.0.0.0/1", "fw.set NS/world is", ""},
				{"member marked", "ip netns exec NS ipset add office 192.0.2.5 nomatch", "fw.set NS/office is", "marked"},
				{"set extra", "ip netns exec NS ipset create more hash:ip", "extra fw.set NS/more", ""},
				{"spare set left", "ip netns exec NS ipset create weft-new hash:net", "extra fw.set NS/weft-new", ""},
				{"everything", "IPT -F; IPT -t nat -F; IPT -t mangle -F; IPT -X", "missing fw.chain NS/4/filter/EGRESS", ""},
			}
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					fill := strings.NewReplacer("IPT", "ip netns exec "+ns+" iptables-"+string(v), "IP6T", "ip netns exec "+ns+" ip6tables-"+string(v), "NS", ns)
					sh(t, "", fill.Replace(c.line))
					o := observe(t, d, want)
					if got := strings.Join(diff(o, want), "\n"); !strings.Contains(got, fill.Replace(c.want)) || !strings.Contains(got, c.drift) {
						t.Fatalf("differences are\n%s\nwant %q and %q among them", got, fill.Replace(c.want), c.drift)
					}
					heal(t, d, states)
				})
			}
		})
	}
}

// heal does what a planner would, and expects the host to be right after.
func heal(t *testing.T, d driver.Driver, states []resource.State) {
	t.Helper()
	want := set(states...)
	o := observe(t, d, want)
	var all []*plan.Step
	for _, st := range states {
		if got, ok := o.Set[st.ID()]; !ok || got.State.Fingerprint() != st.Fingerprint() {
			all = append(all, steps(false, st)...)
		}
	}
	for _, id := range o.Set.IDs() {
		if _, ok := want[id]; !ok {
			e := o.Set[id]
			all = append(all, &plan.Step{Drop: true, Action: &plan.Action{ID: id, Verb: plan.Delete, Before: &e}})
		}
	}
	for i := range all {
		all[i].Index = i
	}
	do(t, d, all)
	same(t, d, want)
}

func TestLostMarksAndNamespace(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(string(v), func(t *testing.T) {
			h := newHost(t)
			ns := space(t, h, 1)
			states := firewall(ns)
			d := fw.New(h, fw.WithVariant(v))
			do(t, d, steps(false, states...))
			lost := host.New("kvm1", h.Instance)
			lost.RunDir = t.TempDir()
			defer lost.Close()
			d2 := fw.New(lost, fw.WithVariant(v))
			if l := diff(observe(t, d2, set(states...)), set(states...)); len(l) != 7 || !strings.Contains(l[0], "note is lost") {
				t.Fatalf("after lost marks: %s", strings.Join(l, "\n"))
			}
			heal(t, d2, states)
			// Another namespace of the same name: nothing noted is true of it.
			sh(t, "", "ip netns del "+ns)
			if o := observe(t, d2, set(states...)); len(o.Set) != 0 {
				t.Fatalf("seen in no namespace: %v", o.Set.IDs())
			}
			if errs := d2.Do(t.Context(), steps(false, states[0])); !errors.Is(errs[0], host.ErrNoSpace) {
				t.Fatalf("made in no namespace: %v", errs)
			}
			do(t, d2, steps(true, states...))
			space(t, lost, 1)
			if o := observe(t, d2, set(states...)); len(o.Set) != 0 {
				t.Fatalf("seen in a new namespace: %v", o.Set.IDs())
			}
			heal(t, d2, states)
		})
	}
}

// A chain that does not change keeps its counters and its rules when others of
// its table are written.
func TestCountersStay(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(string(v), func(t *testing.T) {
			h := newHost(t)
			ns := space(t, h, 1)
			d := fw.New(h, fw.WithVariant(v))
			out := resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "OUTPUT", Policy: "ACCEPT", Rules: []resource.Rule{accept(resource.Match{Dst: pfx("127.0.0.1/32")}, "lo")}}
			in := resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "INPUT", Policy: "ACCEPT"}
			do(t, d, steps(false, out, in))
			sh(t, ns, "ping -c 2 -i 0.1 -W 1 127.0.0.1")
			in.Rules = []resource.Rule{accept(resource.Match{In: "lo"}, "lo")}
			do(t, d, steps(false, in))
			if text := sh(t, ns, "iptables-"+string(v)+"-save -c"); strings.Contains(text, "[0:0] -A OUTPUT") {
				t.Fatalf("the counters of OUTPUT are gone:\n%s", text)
			}
			same(t, d, set(out, in))
		})
	}
}

// What cannot be written changes nothing, and holds back only its owner.
func TestFault(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(string(v), func(t *testing.T) {
			h := newHost(t)
			ns := space(t, h, 1)
			d := fw.New(h, fw.WithVariant(v))
			good := resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "good", Rules: []resource.Rule{accept(resource.Match{}, "a")}}
			bad := resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "bad", Rules: []resource.Rule{accept(resource.Match{}, "old")}}
			do(t, d, steps(false, good, bad))
			want := set(good, bad)
			good2, bad2 := good, bad
			good2.Rules = []resource.Rule{accept(resource.Match{Proto: "tcp"}, "b")}
			bad2.Rules = []resource.Rule{accept(resource.Match{}, "new"), accept(resource.Match{SrcSet: "nowhere"}, "set")}
			list := steps(false, good2, bad2)
			list[1].Action.After.Owner = "network/acme/other"
			waits := resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "waits", Rules: []resource.Rule{{Do: resource.Verdict{Jump: "bad"}}}}
			list = append(list, steps(false, waits)...)
			list[2].Index, list[2].After = 2, []int{1}
			errs := d.Do(t.Context(), list)
			if errs[0] != nil || errs[1] == nil || !errors.Is(errs[2], plan.ErrSkipped) {
				t.Fatalf("errors are %v", errs)
			}
			if !strings.Contains(errs[1].Error(), "nowhere") {
				t.Errorf("the error does not show the line: %v", errs[1])
			}
			want.Put(entry(good2))
			same(t, d, want)
		})
	}
}

// A chain that goes while a rule by another hand jumps to it.
func TestDropInUse(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(string(v), func(t *testing.T) {
			h := newHost(t)
			ns := space(t, h, 1)
			d := fw.New(h, fw.WithVariant(v))
			c := resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "gone", Rules: []resource.Rule{accept(resource.Match{}, "a")}}
			stays := resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "INPUT", Policy: "DROP"}
			do(t, d, steps(false, c, stays))
			sh(t, ns, "iptables-"+string(v)+" -A INPUT -p tcp -j gone; iptables-"+string(v)+" -A INPUT -p udp -j ACCEPT")
			do(t, d, steps(true, c))
			heal(t, d, []resource.State{stays})
		})
	}
}

// A range of ports is mapped one to one, packet by packet.
func TestRangeMapsOneToOne(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(string(v), func(t *testing.T) {
			h := newHost(t)
			ns := space(t, h, 1)
			d := fw.New(h, fw.WithVariant(v))
			local := netip.MustParseAddr("127.0.0.1")
			do(t, d, steps(false, resource.Chain{NS: ns, Family: 4, Table: "nat", Name: "OUTPUT", Policy: "ACCEPT", Rules: []resource.Rule{{
				Match: resource.Match{Proto: "tcp", DstPorts: ports(5000, 5010)},
				Do:    resource.Verdict{Target: "DNAT", To: local, Ports: schema.PortRange{From: 6000, To: 6010}, Base: 5000},
			}}}))
			for _, port := range []uint16{5000, 5007, 5010} {
				err := h.In(ns, func() error {
					l, err := net.Listen("tcp4", netip.AddrPortFrom(local, port+1000).String())
					if err != nil {
						return err
					}
					defer func() { _ = l.Close() }()
					c, err := net.DialTimeout("tcp4", netip.AddrPortFrom(local, port).String(), 2*time.Second)
					if err != nil {
						return err
					}
					return c.Close()
				})
				if err != nil {
					t.Errorf("port %d: %v", port, err)
				}
			}
		})
	}
}

func TestReplaceSetOfAnotherFamily(t *testing.T) {
	h := newHost(t)
	ns := space(t, h, 1)
	d := fw.New(h)
	old := resource.AddrSet{NS: ns, Name: "s", Family: 4, Members: []netip.Prefix{pfx("10.0.0.0/8")}}
	c := resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "u", Rules: []resource.Rule{accept(resource.Match{SrcSet: "s"}, "")}}
	do(t, d, steps(false, old, c))
	next := resource.AddrSet{NS: ns, Name: "s", Family: 6, Members: []netip.Prefix{pfx("2001:db8::/32")}}
	c6 := resource.Chain{NS: ns, Family: 6, Table: "filter", Name: "u", Rules: c.Rules}
	list := append(steps(true, c, old), steps(false, next, c6)...)
	for i := range list {
		list[i].Index = i
		if i > 0 {
			list[i].After = []int{i - 1}
		}
	}
	do(t, d, list)
	same(t, d, set(next, c6))
}

func TestLargeSet(t *testing.T) {
	h := newHost(t)
	ns := space(t, h, 1)
	d := fw.New(h)
	s := resource.AddrSet{NS: ns, Name: "s", Family: 4}
	for i := range 100_000 {
		s.Members = append(s.Members, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
	}
	began := time.Now()
	do(t, d, steps(false, s))
	t.Logf("written in %v", time.Since(began))
	same(t, d, set(s))
	s.Members = s.Members[:10]
	do(t, d, steps(false, s))
	same(t, d, set(s))
}

// Names from documents reach the kernel as comments and nothing else.
func TestHostileNames(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(string(v), func(t *testing.T) {
			h := newHost(t)
			ns := space(t, h, 1)
			d := fw.New(h, fw.WithVariant(v))
			c := resource.Chain{NS: ns, Family: 4, Table: "filter", Name: "INPUT", Policy: "DROP"}
			for _, name := range hostile {
				c.Rules = append(c.Rules, resource.Rule{Name: name, Do: resource.Verdict{Target: "DROP"}})
			}
			do(t, d, steps(false, c))
			same(t, d, set(c))
			text := sh(t, ns, "iptables-"+string(v)+"-save -t filter")
			if n := strings.Count(text, "-A "); n != len(hostile) && strings.Count(text, "\n-A INPUT ") != len(hostile) {
				t.Fatalf("%d rules instead of %d:\n%s", n, len(hostile), text)
			}
			for line := range strings.Lines(text) {
				if strings.HasPrefix(line, "-A") && !strings.HasSuffix(line, "-j DROP\n") {
					t.Errorf("a name broke out: %s", line)
				}
			}
		})
	}
}

func TestWatch(t *testing.T) {
	h := newHost(t)
	ns := space(t, h, 1)
	d := fw.New(h, fw.WithVariant(fw.NFT))
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
	end := time.After(10 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		sh(t, ns, "iptables-nft -I INPUT -j ACCEPT") // until the watch is up
		select {
		case <-woke:
			waiting = false
		case <-tick.C:
		case <-end:
			t.Fatal("nobody woke")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func rules20(ns string, i int) []resource.State {
	all := firewall(ns)
	return append(all[:2:2], all[3:8]...)
}

func TestManyAtOnce(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(string(v), func(t *testing.T) {
			h := newHost(t)
			d := fw.New(h, fw.WithVariant(v))
			var all []resource.State
			for i := range 50 {
				all = append(all, rules20(space(t, h, i), i)...)
			}
			do(t, d, steps(false, all...))
			same(t, d, set(all...))
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, v := range variants(b) {
		for _, n := range []int{50, 200} {
			b.Run(fmt.Sprintf("%s/%d", v, n), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					h := newHost(b)
					d := fw.New(h, fw.WithVariant(v))
					var all []resource.State
					for i := range n {
						all = append(all, rules20(space(b, h, i), i)...)
					}
					b.StartTimer()
					do(b, d, steps(false, all...))
					b.StopTimer()
					for i := range n {
						_ = h.DropSpace(fmt.Sprintf("%s-r%d", h.Instance, i))
					}
					b.StartTimer()
				}
			})
		}
	}
}

func BenchmarkObserve200(b *testing.B) {
	for _, v := range variants(b) {
		b.Run(string(v), func(b *testing.B) {
			h := newHost(b)
			d := fw.New(h, fw.WithVariant(v))
			var all []resource.State
			for i := range 200 {
				all = append(all, rules20(space(b, h, i), i)...)
			}
			do(b, d, steps(false, all...))
			want := set(all...)
			same(b, d, want)
			for b.Loop() {
				observe(b, d, want)
			}
		})
	}
}
