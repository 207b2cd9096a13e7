package reach_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/reach"
	"weft.dev/reconcile/resource"
)

func intent(f ...*resource.Fragment) *resource.Intent { return resource.NewIntent("kvm1", f, nil) }

func lines(ways []reach.Way) []string {
	var out []string
	for _, w := range ways {
		out = append(out, w.String())
	}
	return out
}

// TestBetween: a change is what packets newly may or may no longer do, and no more.
func TestBetween(t *testing.T) {
	dnat := []resource.Rule{{Match: resource.Match{Dst: prefix("203.0.113.20/32")}, Do: resource.Verdict{Target: "DNAT", To: netip.MustParseAddr("10.1.1.11")}}}
	tcp := func(from, to uint16, src string, target string) resource.Rule {
		m := resource.Match{Proto: "tcp", DstPorts: ports(from, to)}
		if src != "" {
			m.Src = prefix(src)
		}
		return resource.Rule{Match: m, Do: resource.Verdict{Target: target}}
	}
	out := func(dst string, src string, target string) resource.Rule {
		r := tcp(53, 53, src, target)
		if dst != "" {
			r.Match.Dst = prefix(dst)
		}
		return r
	}
	all := resource.Rule{Do: resource.Verdict{Target: "ACCEPT"}}
	in := func(l ...resource.Rule) *resource.Fragment { return router(l, dnat, nil) }
	leave := func(l ...resource.Rule) *resource.Fragment { return router(nil, nil, l) }
	for _, c := range []struct {
		name           string
		before, after  *resource.Fragment
		added, removed []string
	}{
		{
			name:   "a range grows by a port",
			before: in(tcp(80, 90, "", "ACCEPT")), after: in(tcp(80, 91, "", "ACCEPT")),
			added: []string{"internet -> 203.0.113.20 91/tcp (at 10.1.1.11)"},
		},
		{
			name:   "a range loses its middle",
			before: in(tcp(80, 90, "", "ACCEPT")), after: in(tcp(80, 84, "", "ACCEPT"), tcp(86, 90, "", "ACCEPT")),
			removed: []string{"internet -> 203.0.113.20 85/tcp (at 10.1.1.11)"},
		},
		{
			name:   "from some to everybody: nobody loses",
			before: in(tcp(22, 22, "198.51.100.0/24", "ACCEPT")), after: in(tcp(22, 22, "", "ACCEPT")),
			added: []string{"internet -> 203.0.113.20 22/tcp (at 10.1.1.11)"},
		},
		{
			name:   "from everybody to some: those gain nothing",
			before: in(tcp(22, 22, "", "ACCEPT")), after: in(tcp(22, 22, "198.51.100.0/24", "ACCEPT")),
			removed: []string{"internet -> 203.0.113.20 22/tcp (at 10.1.1.11)"},
		},
		{
			name:   "what a narrower source may do is not the wider one's",
			before: in(), after: in(tcp(22, 22, "198.51.100.0/24", "ACCEPT"), tcp(80, 80, "198.51.100.0/28", "ACCEPT")),
			added: []string{
				"198.51.100.0/24 -> 203.0.113.20 22/tcp (at 10.1.1.11)",
				"198.51.100.0/28 -> 203.0.113.20 80/tcp (at 10.1.1.11)",
			},
		},
		{
			name:   "an exception takes away what it names only",
			before: leave(all), after: leave(out("9.9.9.9/32", "", "DROP"), all),
			removed: []string{"network/a/web -> 9.9.9.9/32 53/tcp"},
		},
		{
			name:   "some of the guests may leave",
			before: leave(), after: leave(out("9.9.9.9/32", "10.1.1.128/25", "ACCEPT")),
			added: []string{"network/a/web 10.1.1.128/25 -> 9.9.9.9/32 53/tcp"},
		},
		{
			name:   "a new router",
			before: nil, after: in(tcp(80, 80, "", "ACCEPT")),
			added: []string{"internet -> 203.0.113.20 80/tcp (at 10.1.1.11)"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := intent()
			if c.before != nil {
				base = intent(c.before)
			}
			got := reach.Between(base, intent(c.after))
			if !slices.Equal(lines(got.Added), c.added) || !slices.Equal(lines(got.Removed), c.removed) {
				t.Errorf("added\n  %s\nwant\n  %s\nremoved\n  %s\nwant\n  %s", strings.Join(lines(got.Added), "\n  "), strings.Join(c.added, "\n  "),
					strings.Join(lines(got.Removed), "\n  "), strings.Join(c.removed, "\n  "))
			}
		})
	}
}

// TestBetweenLaw: of any two routers, a packet that fares otherwise is in the
// change, and each way of the change has such a packet.
func TestBetweenLaw(t *testing.T) {
	cidrs := []string{"", "198.51.100.0/24", "198.51.100.0/25", "198.51.100.64/26", "192.0.2.0/24", "192.0.2.7/32"}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 8))
		rules := func(target ...string) []resource.Rule {
			var out []resource.Rule
			for range r.IntN(4) {
				m := resource.Match{Proto: []string{"tcp", "udp"}[r.IntN(2)]}
				if from := uint16(1 + r.IntN(6)); r.IntN(4) > 0 {
					m.DstPorts = ports(from, from+uint16(r.IntN(3)))
				}
				if s := cidrs[r.IntN(len(cidrs))]; s != "" {
					m.Src = prefix(s)
				}
				out = append(out, resource.Rule{Match: m, Do: resource.Verdict{Target: target[r.IntN(len(target))]}})
			}
			return out
		}
		dnat := []resource.Rule{{Match: resource.Match{Dst: prefix("203.0.113.20/32")}, Do: resource.Verdict{Target: "DNAT", To: netip.MustParseAddr("10.1.1.11")}}}
		before, after := router(rules("ACCEPT"), dnat, nil), router(rules("ACCEPT"), dnat, nil)
		change := reach.Between(intent(before), intent(after))
		was, is := reach.Routers([]*resource.Fragment{before})[0], reach.Routers([]*resource.Fragment{after})[0]
		witness := map[string]bool{}
		for _, src := range []string{"198.51.100.1", "198.51.100.65", "198.51.100.130", "192.0.2.7", "192.0.2.8", "8.8.8.8"} {
			for _, proto := range []string{"tcp", "udp"} {
				for port := range uint16(10) {
					p := reach.Packet{In: "eth1", Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr("203.0.113.20"), Proto: proto, Port: port + 1}
					a, b := was.Send(p).Pass, is.Send(p).Pass
					for _, x := range []struct {
						ways   []reach.Way
						differ bool
						word   string
					}{{change.Added, b && !a, "added"}, {change.Removed, a && !b, "removed"}} {
						n := 0
						for _, w := range x.ways {
							if holds(w, p) {
								n++
								witness[x.word+w.String()] = witness[x.word+w.String()] || x.differ
							}
						}
						if x.differ && n == 0 {
							t.Fatalf("seed %d: %s %s:%d is %s, and not among %v", seed, src, proto, p.Port, x.word, x.ways)
						}
					}
				}
			}
		}
		for what, seen := range witness {
			if !seen {
				t.Fatalf("seed %d: no packet shows that %s", seed, what)
			}
		}
	}
}

// holds reports whether p is of way w.
func holds(w reach.Way, p reach.Packet) bool {
	if w.From != "internet" && !prefix(w.From).Contains(p.Src) {
		return false
	}
	if w.Ports == p.Proto {
		return true
	}
	span, ok := strings.CutSuffix(w.Ports, "/"+p.Proto)
	if !ok {
		return false
	}
	var from, to uint16
	if n, _ := fmt.Sscanf(span, "%d-%d", &from, &to); n < 2 {
		to = from
	}
	return from <= p.Port && p.Port <= to
}
