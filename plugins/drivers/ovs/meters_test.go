package ovs

import (
	"strings"
	"testing"

	"weft.dev/reconcile/resource"
)

func limit(sym string, mbit uint64, table uint8) resource.Act {
	return resource.Act{Op: resource.OpLimit, Sym: sym, Value: mbit, Table: table}
}

func TestMeterOf(t *testing.T) {
	for mbit, want := range map[uint64]meter{
		1: {1000, 1024, 0}, 10: {10000, 3000, 0}, 200: {200000, 60000, 0}, 10000: {10000000, 3000000, 0}, 1 << 40: {4294966000, 1288489800, 0},
	} {
		if got := meterOf(mbit); got != want {
			t.Errorf("%d Mbit/s is %+v, not %+v", mbit, got, want)
		}
	}
}

func TestLimitsRefuse(t *testing.T) {
	rules := func(acts ...resource.Act) resource.Flows {
		var f resource.Flows
		for _, a := range acts {
			f.Rules = append(f.Rules, resource.Flow{Do: do(a)})
		}
		return f
	}
	got, err := limits(rules(limit(portA, 5, 0), limit(portA, 5, 0), limit(portA, 6, 60), limit(nicB, 7, 0)))
	if err != nil || len(got) != 3 || got[meterKey{portA, 60}] != 6 {
		t.Errorf("%v %v", got, err)
	}
	for word, f := range map[string]resource.Flows{
		"to 5 and to 6": rules(limit(portA, 5, 0), limit(portA, 6, 0)),
		"to 0 Mbit/s":   rules(limit(portA, 0, 0)),
		"to 4294967":    rules(limit(portA, 4294967, 0)),
	} {
		if _, err := limits(f); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v, want %s", err, word)
		}
	}
}

// Numbers stay, go round those that others have, and are found in our rules when
// the note is lost.
func TestMeterNumbers(t *testing.T) {
	key := meterKey{portA, 0}
	first, second := meterID(7, key, 0), meterID(7, key, 1)
	unit := func() *edit { return &edit{cookie: 7, limits: map[meterKey]uint64{key: 5}} }
	for name, c := range map[string]struct {
		note  meterNote
		now   map[uint32]meter
		rules map[string]rule
		want  uint32
	}{
		"nobody has it":    {note: meterNote{}, want: first},
		"another unit has": {note: meterNote{first: {Cookie: 8}}, want: second},
		"a foreign meter":  {note: meterNote{}, now: map[uint32]meter{first: {}}, want: second},
		"it has one":       {note: meterNote{5: {Cookie: 7, meterKey: key}}, now: map[uint32]meter{5: {}}, want: 5},
	} {
		g, e := &gauge{note: c.note, now: c.now}, unit()
		g.number(e)
		if e.meters[key] != c.want {
			t.Errorf("%s: %d, not %d", name, e.meters[key], c.want)
		}
	}
	g, e := &gauge{note: meterNote{}}, unit()
	g.adopt(e, map[string]rule{"a": {actions: "meter:70000,goto_table:10"}, "b": {actions: "drop"}})
	if u, ok := g.note[70000]; !ok || u.Cookie != 7 || len(g.note) != 1 || !g.dirt {
		t.Errorf("adopted %v", g.note)
	}
	var none *gauge
	none.number(e)
	if len(e.meters) != 0 {
		t.Errorf("a switch without meters has %v", e.meters)
	}
}
