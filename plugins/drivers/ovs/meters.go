package ovs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"weft.dev/reconcile/resource"
)

// A limit is a meter of the switch. Of all mechanisms it is the one that holds on
// both datapaths and in both directions (ingress_policing_rate and egress-policer
// are silently without effect on netdev), and that follows a port which is only
// recognised. Meters have no room for a mark: their numbers are drawn by hash and
// noted before they are made, one note per bridge.

// The bucket of a meter holds what the rate passes in burstTime: TCP that lost a
// whole window is silent for 200 ms, its least retransmission timeout, and with
// less gets no more than the bucket holds five times a second (of 10, 50 and
// 200 Mbit/s it got a quarter with 50 ms, half with 100 ms, 93 to 99 % with 200 ms). On
// a busy machine it is silent for longer: of 50 Mbit/s, through one meter or three, it
// then got 24 to 48 with 200 ms, mostly 45 to 50 with 300 ms, and no more with 400 ms.
// It holds no less than a frame of 64 kB, which the kernel's datapath sees before
// it is cut, or that would never pass.
const (
	burstTime    = 300 // ms
	minBurst     = 1024
	maxMeterRate = 1 << 32 / 1000 // Mbit/s
)

// A meterKey says what a meter counts, within a unit.
type meterKey struct {
	Sym   string `json:"sym"`
	Table uint8  `json:"table"`
}

// A meterUse is what is noted of one number.
type meterUse struct {
	Cookie uint64         `json:"cookie"`
	Owner  resource.Owner `json:"owner"`
	meterKey
}

// meterNote are the numbers of one bridge that are ours.
type meterNote map[uint32]meterUse

func (d *Driver) meterNote(bridge string) meterNote {
	n := meterNote{}
	d.host.Marks("ovs.meters").Load(resource.Short(64, bridge), &n)
	return n
}

func (d *Driver) putMeterNote(bridge string, n meterNote) error {
	if len(n) == 0 {
		return d.host.Marks("ovs.meters").Drop(resource.Short(64, bridge))
	}
	return d.host.Marks("ovs.meters").Put(resource.Short(64, bridge), n)
}

// A meter is how the switch limits: kbit/s, and the kbit of its bucket. Of one that is
// seen not to hold, passed is what it lets pass, in kbit/s.
type meter struct{ rate, burst, passed uint32 }

func meterOf(mbit uint64) meter {
	rate := uint32(min(mbit, maxMeterRate-1) * 1000)
	return meter{rate: rate, burst: max(rate/1000*burstTime, minBurst)}
}

// limits are what a unit wants limited, in Mbit/s.
func limits(f resource.Flows) (map[meterKey]uint64, error) {
	var out map[meterKey]uint64
	for i := range f.Rules {
		for _, a := range f.Rules[i].Do {
			if a.Op != resource.OpLimit {
				continue
			}
			key := meterKey{a.Sym, a.Table}
			if was, ok := out[key]; ok && was != a.Value {
				return nil, fmt.Errorf("%s is limited to %d and to %d Mbit/s", a.Sym, was, a.Value)
			}
			if a.Value < 1 || a.Value >= maxMeterRate {
				return nil, fmt.Errorf("%s cannot be limited to %d Mbit/s", a.Sym, a.Value)
			}
			if out == nil {
				out = map[meterKey]uint64{}
			}
			out[key] = a.Value
		}
	}
	return out, nil
}

// A gauge prepares the meters of one bundle.
type gauge struct {
	d      *Driver
	bridge string
	note   meterNote
	now    map[uint32]meter // of any hand
	// none says why there can be no new ones.
	none error
	dirt bool // the note is not what is stored
}

// gauge reads what the meters of edits stand on; nil where there are none and
// were none.
func (d *Driver) gauge(ctx context.Context, bridge string, edits []*edit, rules map[uint64]map[string]rule) (*gauge, error) {
	g := &gauge{d: d, bridge: bridge, note: d.meterNote(bridge)}
	wanted := false
	for _, e := range edits {
		g.adopt(e, rules[e.cookie])
		wanted = wanted || len(e.limits) > 0
	}
	if !wanted && len(g.note) == 0 {
		return nil, nil //nolint:nilnil // most bridges without limits
	}
	var err error
	var able bool
	if g.now, able, err = d.able(ctx, bridge); g.now == nil || wanted && err != nil {
		return nil, err
	}
	if wanted && !able {
		g.none = errNoMeters
	}
	return g, nil
}

var meterWord = regexp.MustCompile(`(?:^|,)meter:(\d+)`)

// adopt takes for ours what a rule of ours passes through, should the note be lost.
func (g *gauge) adopt(e *edit, rules map[string]rule) {
	for _, r := range rules {
		for _, m := range meterWord.FindAllStringSubmatch(r.actions, -1) {
			id, err := strconv.ParseUint(m[1], 10, 32)
			if _, known := g.note[uint32(id)]; err == nil && !known {
				g.note[uint32(id)] = meterUse{Cookie: e.cookie, Owner: e.owner}
				g.dirt = true
			}
		}
	}
}

// number gives the limits of e their numbers: those that they have, else such
// that nobody has. Without room for new ones they are left out.
func (g *gauge) number(e *edit) {
	e.meters = make(map[meterKey]uint32, len(e.limits))
	if g == nil {
		return
	}
	e.unmetered = g.none
	for id, u := range g.note {
		_, there := g.now[id]
		if _, ok := e.limits[u.meterKey]; ok && u.Cookie == e.cookie && (there || g.none == nil) {
			e.meters[u.meterKey] = id
		}
	}
	if g.none != nil {
		return
	}
	for _, key := range slices.SortedFunc(maps.Keys(e.limits), compareKeys) {
		if e.meters[key] != 0 {
			continue
		}
		for try := 0; ; try++ {
			id := meterID(e.cookie, key, try)
			_, noted := g.note[id]
			if _, there := g.now[id]; noted || there {
				continue
			}
			g.note[id] = meterUse{Cookie: e.cookie, Owner: e.owner, meterKey: key}
			e.meters[key], g.dirt = id, true
			break
		}
	}
}

func compareKeys(a, b meterKey) int {
	if a.Sym != b.Sym {
		if a.Sym < b.Sym {
			return -1
		}
		return 1
	}
	return int(a.Table) - int(b.Table)
}

// meterID draws a number beyond those that people choose and below OpenFlow's
// reserved ones.
func meterID(cookie uint64, key meterKey, try int) uint32 {
	const first, last = 1 << 16, 0xffff0000
	v := resource.Digest("meter", strconv.FormatUint(cookie, 16), key.Sym, strconv.Itoa(int(key.Table)), strconv.Itoa(try))
	return first + uint32(v%(last-first))
}

// make has the switch limit as edits say, before rules name the meters.
func (g *gauge) make(ctx context.Context, edits []*edit) error {
	if g == nil {
		return nil
	}
	if g.dirt {
		if err := g.d.putMeterNote(g.bridge, g.note); err != nil {
			return err
		}
		g.dirt = false
	}
	var mods []meterMod
	for _, e := range edits {
		for _, key := range slices.SortedFunc(maps.Keys(e.meters), compareKeys) {
			id, want := e.meters[key], meterOf(e.limits[key])
			switch has, there := g.now[id]; {
			case !there:
				mods = append(mods, meterMod{meterAdd, id, want})
			case has != want:
				mods = append(mods, meterMod{meterModify, id, want})
			}
		}
	}
	return g.d.modMeters(ctx, g.bridge, mods)
}

// without goes on with the meters that there are, now that the switch has refused one.
func (g *gauge) without(ctx context.Context, refused *noMeter) (err error) {
	g.none = refused
	g.now, err = g.d.meters(ctx, g.bridge)
	return err
}

// clear takes away what edits limit no longer: after their rules are written, for
// the switch removes the rules of a meter with it.
func (g *gauge) clear(ctx context.Context, edits []*edit) error {
	if g == nil {
		return nil
	}
	mine := map[uint64]*edit{}
	for _, e := range edits {
		mine[e.cookie] = e
	}
	var mods []meterMod
	var gone []uint32
	for id, u := range g.note {
		e := mine[u.Cookie]
		if e == nil || !e.drop && e.meters[u.meterKey] == id {
			continue
		}
		gone = append(gone, id)
		if _, there := g.now[id]; there {
			mods = append(mods, meterMod{command: meterDelete, id: id})
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if err := g.d.modMeters(ctx, g.bridge, mods); err != nil {
		return err
	}
	for _, id := range gone {
		delete(g.note, id)
	}
	return g.d.putMeterNote(g.bridge, g.note)
}

// errNoMeters says that limits are left out, a *noMeter why one is.
var errNoMeters = errors.New("it works without its rate limits: this switch has no meters (Linux 4.18 and Open vSwitch 2.10 have); " + noLimits)

const noLimits = "write rate: 0, or networkRate: 0 in the offering, to have none"

type noMeter struct{ refusal string }

func (e *noMeter) Error() string {
	return "it works without some of its rate limits: the switch refuses a meter" + e.refusal + "; " + noLimits
}

// unlimited is the fingerprint of what was written without the limits it should
// have: nothing that is wanted has it.
func unlimited(fingerprint uint64) uint64 {
	return resource.Digest("without limits", strconv.FormatUint(fingerprint, 16))
}

// meterDrift says in lines how limits differ from what was written.
func (m *flowMark) meterDrift(now map[uint32]meter) []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(m.Meters)) {
		l := m.Meters[id]
		want := meterOf(l.Mbit)
		switch has, ok := now[id]; {
		case !ok:
			out = append(out, fmt.Sprintf("the limit of %s to %d Mbit/s is gone (meter %d)", l.Sym, l.Mbit, id))
		case has.passed > 0:
			out = append(out, fmt.Sprintf("the limit of %s to %d Mbit/s does not hold: %d kbit/s passed (meter %d)", l.Sym, l.Mbit, has.passed, id))
		case has != want:
			out = append(out, fmt.Sprintf("the limit of %s is %d kbit/s with a burst of %d kbit instead of %d and %d (meter %d)", l.Sym, has.rate, has.burst, want.rate, want.burst, id))
		}
	}
	return out
}

// A limited is one limit as it was written.
type limited struct {
	Sym  string `json:"sym"`
	Mbit uint64 `json:"mbit"`
}
