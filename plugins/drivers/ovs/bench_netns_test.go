//go:build netns

package ovs

import (
	"fmt"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// crowd is a host with many networks: ports in pairs, rules by owner.
func crowd(owners, ports, rules int) []resource.Entry {
	world := []resource.Entry{intBridge()}
	for i := range owners {
		owner := resource.Owner(fmt.Sprintf("network/acme/n%d", i))
		for j := range ports / owners / 2 {
			world = append(world, pluggedPair(owner, fmt.Sprintf("p%d-%d", i, j))...)
		}
		world = append(world, flowsOf(owner, crowdRules(uint64(i), rules/owners)...))
	}
	return world
}

func crowdRules(vnet uint64, n int) []resource.Flow {
	rules := simple(vnet, fmt.Sprintf("port:p%d-0", vnet))
	for i := len(rules); i < n; i++ {
		rules = append(rules, resource.Flow{Table: 10, Priority: uint16(i), Match: []resource.Cond{
			is(resource.FieldMetadata, vnet), eth(0x0800), is(resource.FieldIPProto, 17), is(resource.FieldIPSrc, uint64(i)), is(resource.FieldTPDst, 53)},
			Do: do(setTo(resource.FieldReg0, 1), resource.Act{Op: resource.OpDeliver, Sym: fmt.Sprintf("port:p%d-0", vnet), Table: 60}, to(20))})
	}
	return rules
}

func benchObserve(b *testing.B, owners, ports, rules int) {
	s := startSwitch(b, "")
	d := s.driver("")
	world := crowd(owners, ports, rules)
	mustDo(b, d, after(steps(nil, world...)))
	scope := scopeOf(world...)
	b.Run("fresh", func(b *testing.B) {
		for b.Loop() {
			d := s.driver("")
			o, err := d.Observe(b.Context(), scope)
			if err != nil || len(o.Unread) > 0 {
				b.Fatal(err, o.Unread)
			}
			d.Close()
		}
	})
	b.Run("warm", func(b *testing.B) {
		for b.Loop() {
			o, err := d.Observe(b.Context(), scope)
			if err != nil || len(o.Unread) > 0 {
				b.Fatal(err, o.Unread)
			}
		}
	})
	if diff := differing(mustObserve(b, d, world...), world...); len(diff) > 0 {
		b.Fatal(diff[0])
	}
	b.Run("rewrite one owner", func(b *testing.B) {
		one := crowdRules(0, rules/owners)
		for i := 0; b.Loop(); i++ {
			one[0].Priority = uint16(i%2 + 1)
			mustDo(b, d, steps(nil, flowsOf("network/acme/n0", one...)))
		}
	})
}

func BenchmarkObserve200Routers(b *testing.B) { benchObserve(b, 200, 800, 3000) }

func BenchmarkObserve10kFlows(b *testing.B) { benchObserve(b, 200, 400, 10000) }

func BenchmarkDo500Ports(b *testing.B) {
	s := startSwitch(b, "")
	d := s.driver("")
	world := crowd(250, 500, 0)
	var make []resource.Entry
	var gone []*plan.Step
	for _, e := range world {
		if e.State.ID().Kind != resource.KindFlows {
			make = append(make, e)
		}
	}
	for i := range make {
		gone = append(gone, dropStep(i, make[len(make)-1-i]))
	}
	for b.Loop() {
		mustDo(b, d, steps(nil, make...))
		b.StopTimer()
		mustDo(b, d, gone)
		b.StartTimer()
	}
}

func BenchmarkDoEverything(b *testing.B) {
	s := startSwitch(b, "")
	d := s.driver("")
	world := crowd(200, 800, 3000)
	gone := []*plan.Step{dropStep(0, world[0])}
	for b.Loop() {
		mustDo(b, d, after(steps(nil, world...)))
		b.StopTimer()
		mustDo(b, d, gone)
		b.StartTimer()
	}
}
