//go:build netns

package fw_test

import (
	"testing"

	"weft.dev/plugins/drivers/fw"
	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
)

// counter is a chain whose first rule counts, behind a jump from INPUT.
func counter(ns string, family int) []resource.State {
	return []resource.State{
		resource.Chain{NS: ns, Family: family, Table: "mangle", Name: "IN_x", Rules: []resource.Rule{{Name: "count", Do: resource.Verdict{Target: "RETURN"}}, {Do: resource.Verdict{Target: "ACCEPT"}}}, Meter: &resource.Meter{Of: "publicip", Name: "x"}},
		resource.Chain{NS: ns, Family: family, Table: "mangle", Name: "INPUT", Policy: "ACCEPT", Rules: []resource.Rule{{Name: "jump", Match: resource.Match{In: "lo"}, Do: resource.Verdict{Jump: "IN_x"}}}},
	}
}

// Counters say what passed, survive the writing of other chains, and are no drift; what
// is not there is not told.
func TestCount(t *testing.T) {
	for _, v := range variants(t) {
		for _, family := range []int{4, 6} {
			t.Run(string(v)+map[int]string{4: "", 6: "6"}[family], func(t *testing.T) {
				h := newHost(t)
				ns := space(t, h, 1)
				d := fw.New(h, fw.WithVariant(v))
				states := counter(ns, family)
				do(t, d, steps(false, states...))
				ping := map[int]string{4: "ping -c 3 -i 0.01 -s 100 127.0.0.1", 6: "ping -6 -c 3 -i 0.01 -s 100 ::1"}[family]
				sh(t, ns, ping)
				want := driver.Traffic{Packets: 6, Bytes: 6 * (128 + uint64(map[int]int{4: 0, 6: 20}[family]))}
				count := func() driver.Traffic {
					t.Helper()
					got := d.Count(t.Context(), append([]resource.State{resource.Chain{NS: "nobody", Family: 4, Table: "mangle", Name: "IN_x"}}, states[:1]...))
					if len(got) != 1 || got[0].State.ID() != states[0].ID() {
						t.Fatalf("counted %+v", got)
					}
					return got[0].Received
				}
				if got := count(); got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
				same(t, d, set(states...))
				other := resource.Chain{NS: ns, Family: family, Table: "mangle", Name: "INPUT", Policy: "ACCEPT", Rules: []resource.Rule{
					{Name: "more", Match: resource.Match{Proto: "tcp"}, Do: resource.Verdict{Target: "ACCEPT"}},
					{Name: "jump", Match: resource.Match{In: "lo"}, Do: resource.Verdict{Jump: "IN_x"}},
				}}
				do(t, d, steps(false, other))
				if got := count(); got != want {
					t.Errorf("after another chain was written: %+v, was %+v", got, want)
				}
				sh(t, ns, ping)
				if got := count(); got.Packets != 2*want.Packets {
					t.Errorf("it counts on: %+v", got)
				}
			})
		}
	}
}

// A scrape of 200 routers with one address each.
func BenchmarkCount200(b *testing.B) {
	for _, v := range variants(b) {
		b.Run(string(v), func(b *testing.B) {
			h := newHost(b)
			d := fw.New(h, fw.WithVariant(v))
			var all []resource.State
			for i := range 200 {
				all = append(all, counter(space(b, h, i), 4)...)
			}
			do(b, d, steps(false, all...))
			var metered []resource.State
			for i := 0; i < len(all); i += 2 {
				metered = append(metered, all[i])
			}
			for b.Loop() {
				if got := d.Count(b.Context(), metered); len(got) != 200 {
					b.Fatalf("%d counted", len(got))
				}
			}
		})
	}
}
