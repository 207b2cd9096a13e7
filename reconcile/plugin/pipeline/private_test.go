package pipeline_test

import (
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/plugin/pipeline"
	"weft.dev/reconcile/resource"
)

// private is a host with ports of a private VLAN whose primary is 100: a
// promiscuous one, two isolated ones of 201, two of community 202 and one of
// community 203; beside it is an ordinary VLAN 101.
func private(t *testing.T) *bridge {
	t.Helper()
	lone, team, other := pipeline.Isolation{Secondary: 201}, pipeline.Isolation{Secondary: 202, Community: true}, pipeline.Isolation{Secondary: 203, Community: true}
	port := func(sym string, how pipeline.Isolation) []resource.Flow {
		return pipeline.Isolate(pipeline.Port(vlan, sym), how)
	}
	ports := []string{"c1", "c2", "d", "i1", "i2", "p"}
	plain := vlan
	plain.VNet = 101
	return bridgeOf(t, slices.Concat(
		pipeline.Host(), pipeline.Wire("z", "cloudbr1"),
		port("p", pipeline.Isolation{}), port("i1", lone), port("i2", lone), port("c1", team), port("c2", team), port("d", other),
		pipeline.Segment(vlan, ports, nil),
		pipeline.Secondary(vlan, 201, ports), pipeline.Secondary(vlan, 202, ports), pipeline.Secondary(vlan, 203, ports),
		pipeline.Port(plain, "x"), pipeline.Segment(plain, []string{"x"}, nil),
	))
}

// macs of the ports.
var macs = map[string]uint64{"p": 0x02a, "i1": 0x02b, "i2": 0x02c, "c1": 0x02d, "c2": 0x02e, "d": 0x02f, "x": 0x030}

func TestPrivateFlood(t *testing.T) {
	const wire = "port:wi-cloudbr1"
	for from, want := range map[string]string{
		"p": "c1 c2 d i1 i2 " + wire + "/100", "i1": "p " + wire + "/201", "i2": "p " + wire + "/201",
		"c1": "c2 p " + wire + "/202", "d": "p " + wire + "/203", "x": wire + "/101",
	} {
		b := private(t)
		if got := strings.Join(b.send(from, frame{src: macs[from], dst: broadcast}), " "); got != want {
			t.Errorf("%s is heard by %q, want %q", from, got, want)
		}
	}
	for vid, want := range map[int]string{100: "c1 c2 d i1 i2 p", 201: "p", 202: "c1 c2 p", 203: "d p", 101: "x", 204: ""} {
		b := private(t)
		if got := strings.Join(b.send(wire, frame{src: 0x99, dst: broadcast, vid: vid}), " "); got != want {
			t.Errorf("VLAN %d of the wire is heard by %q, want %q", vid, got, want)
		}
	}
}

// TestPrivateKnown: who is known is reached by those only who may reach it, whoever
// taught the switch where it is.
func TestPrivateKnown(t *testing.T) {
	const wire = "port:wi-cloudbr1"
	b := private(t)
	far := map[int]uint64{100: 0x51, 201: 0x52, 202: 0x53}
	for sym, m := range macs {
		b.send(sym, frame{src: m, dst: broadcast})
	}
	for vid, m := range far {
		b.send(wire, frame{src: m, dst: broadcast, vid: vid})
	}
	group := map[string]string{"i1": "", "i2": "", "c1": "c", "c2": "c", "d": "d", "p": "p"}
	for from := range group {
		for to := range group {
			if from == to {
				continue
			}
			want := ""
			if from == "p" || to == "p" || group[from] != "" && group[from] == group[to] {
				want = to
			}
			if got := strings.Join(b.send(from, frame{src: macs[from], dst: macs[to]}), " "); got != want {
				t.Errorf("%s to %s goes to %q, want %q", from, to, got, want)
			}
		}
	}
	for from, tag := range map[string]string{"p": "100", "i1": "201", "c2": "202"} {
		for vid, m := range far {
			if got := strings.Join(b.send(from, frame{src: macs[from], dst: m}), " "); got != wire+"/"+tag {
				t.Errorf("%s to the wire, where VLAN %d was heard, leaves as %q", from, vid, got)
			}
		}
	}
	for vid, m := range far {
		for to, hears := range map[string]map[int]bool{"p": {100: true, 201: true, 202: true}, "i1": {100: true}, "c1": {100: true, 202: true}, "d": {100: true}} {
			want := ""
			if hears[vid] {
				want = to
			}
			if got := strings.Join(b.send(wire, frame{src: m, dst: macs[to], vid: vid}), " "); got != want {
				t.Errorf("VLAN %d of the wire to %s goes to %q, want %q", vid, to, got, want)
			}
		}
	}
}
