package ovs

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// A meterSwitch is a switch as far as it has meters: it has and counts what the test
// says, and refuses as Open vSwitch does.
type meterSwitch struct {
	room, bands, can uint32
	meters           map[uint32]meter
	counts           map[uint32]passage
	countless        bool // it does not tell its statistics
	mu               sync.Mutex
}

// serve answers on the socket of a bridge until the test ends.
func (s *meterSwitch) serve(t *testing.T, bridge string) *Driver {
	t.Helper()
	dir, err := os.MkdirTemp("", "ovs") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, bridge+".mgmt"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.talk(c)
		}
	}()
	h := host.New("test", "")
	h.OVSDB, h.RunDir = "unix:"+dir+"/db.sock", filepath.Join(dir, "run")
	return New(h)
}

// talk serves one connection; they come one after the other.
func (s *meterSwitch) talk(c net.Conn) {
	defer func() { _ = c.Close() }()
	for {
		head := make([]byte, ofHeader)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		body := make([]byte, int(binary.BigEndian.Uint16(head[2:]))-ofHeader)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		kind, answer := s.answer(head[1], body)
		if kind < 0 {
			continue
		}
		out := append([]byte{ofVersion, byte(kind), 0, 0}, head[4:]...)
		out = append(out, answer...)
		binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

func (s *meterSwitch) answer(kind byte, body []byte) (int, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	be := binary.BigEndian
	switch kind {
	case ofHello:
		return ofHello, nil
	case ofBarrierAsk:
		return ofBarrierSay, nil
	case ofMeterMod:
		command, id := be.Uint16(body), be.Uint32(body[4:])
		_, there := s.meters[id]
		switch {
		case command == meterDelete:
			delete(s.meters, id)
		case command == meterAdd && there, command == meterModify && !there:
			return ofError, []byte{0, 12, 0, 2}
		case command == meterAdd && uint32(len(s.meters)) >= s.room:
			return ofError, []byte{0, 12, 0, 10} // OFPMMFC_OUT_OF_METERS
		default:
			s.meters[id] = meter{rate: be.Uint32(body[12:]), burst: be.Uint32(body[16:])}
		}
		return -1, nil
	}
	out := append([]byte{}, body[:8]...)
	switch be.Uint16(body) {
	case ofMeterFeatures:
		for _, v := range []uint32{s.room, s.bands, s.can, 0} {
			out = be.AppendUint32(out, v)
		}
	case ofMeterConfig:
		for id, m := range s.meters {
			out = append(out, 0, meterHead+meterBand, 0, meterFlags)
			out = be.AppendUint32(out, id)
			out = append(out, 0, meterDrop, 0, meterBand)
			out = append(be.AppendUint32(be.AppendUint32(out, m.rate), m.burst), 0, 0, 0, 0)
		}
	case ofMeterStats:
		if s.countless {
			return ofError, []byte{0, 1, 0, 2}
		}
		for id, p := range s.counts {
			out = be.AppendUint32(out, id)
			out = append(out, 0, meterStatsHead+meterStatsBand, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
			const dropped = 1 << 40
			out = be.AppendUint64(be.AppendUint64(out, 9), p.bytes+dropped)
			out = be.AppendUint32(be.AppendUint32(out, uint32(p.age/time.Second)), uint32(p.age%time.Second))
			out = be.AppendUint64(be.AppendUint64(out, 1), dropped)
		}
	}
	return ofMultipartSay, out
}

// A limit that lets pass more than it should is seen by what the switch counts, and
// not before that is certain; it is made once more, and seen again until it holds.
func TestLimitThatDoesNotHold(t *testing.T) {
	const kB = 1000
	m := meterOf(8) // 1 MB/s, and a bucket of 300 kB
	s := &meterSwitch{meters: map[uint32]meter{70000: m, 7: {}}, counts: map[uint32]passage{}}
	d := s.serve(t, "br0")
	mark := flowMark{Meters: map[uint32]limited{70000: {"port:a", 8}}}
	for _, c := range []struct {
		what  string
		at    time.Duration
		bytes uint64
		loose uint32 // kbit/s
	}{
		{"the first look", 10 * time.Second, 500000 * kB, 0},
		{"too soon to tell", 10500 * time.Millisecond, 503000 * kB, 0},
		{"full speed and a bucket", 20 * time.Second, 511200 * kB, 0},
		{"twice the rate", 30 * time.Second, 531200 * kB, 16000},
		{"still, too soon to tell", 30100 * time.Millisecond, 531200 * kB, 16000},
		{"it was made anew, too soon to tell", 100 * time.Millisecond, 0, 16000},
		{"still twice the rate", 10100 * time.Millisecond, 20000 * kB, 16000},
		{"it holds", 20 * time.Second, 30000 * kB, 0},
		{"it is silent", 60 * time.Second, 30000 * kB, 0},
	} {
		s.mu.Lock()
		s.counts[70000] = passage{m, c.at, c.bytes}
		s.mu.Unlock()
		now, err := d.meters(t.Context(), "br0")
		if err != nil {
			t.Fatal(err)
		}
		if got := now[70000].passed; got != c.loose {
			t.Errorf("%s: %d kbit/s, not %d", c.what, got, c.loose)
		}
		drift := strings.Join(mark.meterDrift(now), "")
		if strings.Contains(drift, "the limit of port:a to 8 Mbit/s does not hold: 16000 kbit/s passed") != (c.loose > 0) {
			t.Errorf("%s: the drift is %q", c.what, drift)
		}
	}
	s.mu.Lock()
	s.countless = true
	s.mu.Unlock()
	if now, err := d.meters(t.Context(), "br0"); err != nil || now[70000] != m {
		t.Errorf("without statistics: %v, %v", now, err)
	}
}

// What a switch cannot keep is left out, the rest stays, and the reason is said.
func TestSwitchWithoutRoom(t *testing.T) {
	const rate, drop = meterFlags, 1 << meterDrop
	first, second := meterKey{portA, 0}, meterKey{portA, 60}
	for what, c := range map[string]struct {
		s    *meterSwitch
		want []meterKey
		why  string
	}{
		"it has none":             {&meterSwitch{}, nil, "this switch has no meters"},
		"they count packets only": {&meterSwitch{room: 9, bands: drop, can: 2 | 4}, nil, "this switch has no meters"},
		"they mark only":          {&meterSwitch{room: 9, bands: 4, can: rate}, nil, "this switch has no meters"},
		"it has room":             {&meterSwitch{room: 9, bands: drop, can: rate}, []meterKey{first, second}, ""},
		"it has room for one":     {&meterSwitch{room: 1, bands: drop, can: rate}, []meterKey{first}, "refuses a meter (error type 12 code 10)"},
	} {
		c.s.meters = map[uint32]meter{}
		d := c.s.serve(t, "br0")
		e := &edit{cookie: 7, limits: map[meterKey]uint64{first: 5, second: 5}}
		g, err := d.gauge(t.Context(), "br0", []*edit{e}, nil)
		if err != nil {
			t.Fatal(err)
		}
		g.number(e)
		err = g.make(t.Context(), []*edit{e})
		var refused *noMeter
		if errors.As(err, &refused) {
			if err = g.without(t.Context(), refused); err == nil {
				g.number(e)
			}
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := g.clear(t.Context(), []*edit{e}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if len(e.meters) != len(c.want) || len(c.s.meters) != len(c.want) || len(d.meterNote("br0")) != len(c.want) {
			t.Errorf("%s: %v of %v", what, e.meters, c.s.meters)
		}
		for _, k := range c.want {
			if e.meters[k] == 0 {
				t.Errorf("%s: %v has none", what, k)
			}
		}
		// And so it is seen: what is left out is not as it is wanted.
		e.flows = resource.Flows{Bridge: "br0", Owner: "network/x/one"}
		err = d.leaveMark("br0", e, nil, tally{})
		if text := errText(err); !strings.Contains(text, c.why) || (c.why == "") != (text == "") {
			t.Errorf("%s: the error is %q, not about %q", what, text, c.why)
		}
		var mark flowMark
		d.flowStore().Load(flowKey("br0", e.cookie), &mark)
		if (mark.Print == e.flows.Fingerprint()) != (c.why == "") {
			t.Errorf("%s: it looks as if it were as wanted: %v", what, c.why)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
