package ovs

import (
	"context"
	"encoding/binary"
	"fmt"
)

// OpenFlow 1.4 by number.
const (
	ofBarrierAsk    = 20
	ofBarrierSay    = 21
	ofMeterMod      = 29
	ofMeterStats    = 9
	ofMeterConfig   = 10
	ofMeterFeatures = 11
	meterAdd        = 0
	meterModify     = 1
	meterDelete     = 2
	meterFlags      = 1 | 4 // kbit/s, with a burst
	meterDrop       = 1     // the band
	meterBand       = 16
	meterHead       = 8
	meterFeatures   = 16
	meterStatsHead  = 40
	meterStatsBand  = 16
)

// allMeters is what a request for those of a bridge says.
var allMeters = append(binary.BigEndian.AppendUint32(nil, ofAny), 0, 0, 0, 0)

// readMeter adds a meter as the switch has it to out.
func readMeter(out map[uint32]meter, e []byte) error {
	if len(e) < meterHead {
		return fmt.Errorf("a meter of %d bytes", len(e))
	}
	var m meter
	if len(e) == meterHead+meterBand && binary.BigEndian.Uint16(e[2:])&^8 == meterFlags && binary.BigEndian.Uint16(e[meterHead:]) == meterDrop {
		m = meter{rate: binary.BigEndian.Uint32(e[meterHead+4:]), burst: binary.BigEndian.Uint32(e[meterHead+8:])}
	}
	out[binary.BigEndian.Uint32(e[4:])] = m
	return nil
}

// meters reads the meters of a bridge by number, and judges whether they hold. Of one
// that is not as weft makes them, of several bands say, the rate is 0.
func (d *Driver) meters(ctx context.Context, bridge string) (map[uint32]meter, error) {
	out := map[uint32]meter{}
	err := d.ask(ctx, bridge, ofMeterConfig, allMeters, func(e []byte) error { return readMeter(out, e) })
	if err != nil {
		return nil, fmt.Errorf("read meters of bridge %s: %w", bridge, err)
	}
	counts, err := d.passed(ctx, bridge, out)
	if err != nil {
		return out, ctx.Err() // it has meters and does not count: nobody can tell
	}
	tellLoose(out, d.passages.judge(bridge, counts))
	return out, nil
}

// tellLoose notes of meters which of them do not hold.
func tellLoose(out map[uint32]meter, loose map[uint32]uint32) {
	for id, rate := range loose {
		m := out[id]
		m.passed = rate
		out[id] = m
	}
}

// able reads the meters, and reports whether the switch has such as weft makes; the
// meters alone where it does not say that. Whether they hold is what the last look
// said. One connection asks both: a switch that is busy takes its time for each
// answer.
func (d *Driver) able(ctx context.Context, bridge string) (now map[uint32]meter, able bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := d.dial(ctx, bridge)
	if err == nil {
		err = c.queue(ofMultipartAsk, multipart(ofMeterConfig, allMeters))
	}
	if err == nil {
		err = c.send(ofMultipartAsk, multipart(ofMeterFeatures, nil))
	}
	now = map[uint32]meter{}
	if err == nil {
		err = c.parts(ofMeterConfig, false, func(e []byte) error { return readMeter(now, e) })
	}
	if err != nil {
		return nil, false, fmt.Errorf("read meters of bridge %s: %w", bridge, err)
	}
	err = c.bodies(ofMeterFeatures, false, func(body []byte) error {
		if len(body) < meterFeatures {
			return fmt.Errorf("features of %d bytes", len(body))
		}
		room, bands, can := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:]), binary.BigEndian.Uint32(body[8:])
		able = room > 0 && bands&(1<<meterDrop) != 0 && can&meterFlags == meterFlags
		return nil
	})
	if err != nil {
		return now, false, fmt.Errorf("read what meters bridge %s has: %w", bridge, err)
	}
	tellLoose(now, d.passages.known(bridge, now))
	return now, able, nil
}

// A meterMod is one change of a meter.
type meterMod struct {
	command uint16
	id      uint32
	meter
}

func (m meterMod) body() []byte {
	b := binary.BigEndian.AppendUint16(nil, m.command)
	b = binary.BigEndian.AppendUint16(b, meterFlags)
	b = binary.BigEndian.AppendUint32(b, m.id)
	if m.command == meterDelete {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, meterDrop)
	b = binary.BigEndian.AppendUint16(b, meterBand)
	b = binary.BigEndian.AppendUint32(b, m.rate)
	b = binary.BigEndian.AppendUint32(b, m.burst)
	return append(b, 0, 0, 0, 0)
}

// modMeters makes changes; a *noMeter is about the first that the switch refuses.
func (d *Driver) modMeters(ctx context.Context, bridge string, mods []meterMod) error {
	if len(mods) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := d.dial(ctx, bridge)
	if err != nil {
		return err
	}
	for _, m := range mods {
		if err := c.queue(ofMeterMod, m.body()); err != nil {
			return fmt.Errorf("write meters of bridge %s: %w", bridge, err)
		}
	}
	if err := c.send(ofBarrierAsk, nil); err != nil {
		return fmt.Errorf("write meters of bridge %s: %w", bridge, err)
	}
	var refused *noMeter
	for {
		kind, body, err := c.receive()
		switch {
		case err != nil:
			return fmt.Errorf("write meters of bridge %s: %w", bridge, err)
		case kind == ofError && refused == nil:
			refused = &noMeter{refusal(body)}
		case kind == ofBarrierSay && refused != nil:
			return fmt.Errorf("write meters of bridge %s: %w", bridge, refused)
		case kind == ofBarrierSay:
			return nil
		}
	}
}
