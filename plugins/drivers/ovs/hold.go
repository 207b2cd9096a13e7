package ovs

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// A switch may take a meter and not keep it (kernels before 4.18 are known for that,
// and a datapath of whose hardware nobody knows what it does). What it counts tells:
// between two looks no more can have passed than the rate and the bucket allow.

// window is how much time has to lie between two looks at what passed.
const window = time.Second

// A passage is what a meter has let pass since it was made, in bytes, by the switch's
// own clock.
type passage struct {
	meter meter
	age   time.Duration
	bytes uint64
}

// passages remember looks by bridge and number, and what passed too much.
type passages struct {
	mu    sync.Mutex
	began map[string]map[uint32]passage
	loose map[string]map[uint32]uint32 // kbit/s
}

// judge returns the meters of a bridge that let pass more than they should, and how
// much, in kbit/s. It stays so until a look shows that they do not any more.
func (p *passages) judge(bridge string, now map[uint32]passage) map[uint32]uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, was := p.began[bridge], p.loose[bridge]
	began, loose := make(map[uint32]passage, len(now)), map[uint32]uint32{}
	for id, at := range now {
		from, known := before[id]
		span := at.age - from.age
		anew := !known || from.meter != at.meter || span < 0 || at.bytes < from.bytes
		switch {
		case anew:
			began[id] = at
		case span < window:
			began[id] = from
		default:
			began[id] = at
			if passed := at.bytes - from.bytes; passed > at.meter.most(span) {
				loose[id] = uint32(min(float64(passed)*8/1000/span.Seconds(), 1<<32-1))
			}
			continue
		}
		if rate := was[id]; rate > 0 && known && from.meter == at.meter {
			loose[id] = rate
		}
	}
	if p.began == nil {
		p.began, p.loose = map[string]map[uint32]passage{}, map[string]map[uint32]uint32{}
	}
	p.began[bridge], p.loose[bridge] = began, loose
	return loose
}

// known is what judge last said of those meters of a bridge that are still the same.
func (p *passages) known(bridge string, now map[uint32]meter) map[uint32]uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[uint32]uint32{}
	for id, rate := range p.loose[bridge] {
		if m, ok := now[id]; ok && p.began[bridge][id].meter == m {
			out[id] = rate
		}
	}
	return out
}

// most is how many bytes may pass m in a time: with two buckets, and as much
// inaccuracy as a limit may have.
func (m meter) most(span time.Duration) uint64 {
	const slack = 1.15
	return uint64((float64(m.rate)*span.Seconds()*slack + 2*float64(m.burst)) * 1000 / 8)
}

// passed reads what the meters of a bridge have let pass: all bytes less those that
// their only band has dropped.
func (d *Driver) passed(ctx context.Context, bridge string, now map[uint32]meter) (map[uint32]passage, error) {
	out := make(map[uint32]passage, len(now))
	err := d.askWhole(ctx, bridge, ofMeterStats, allMeters, func(body []byte) error {
		for len(body) > 0 {
			if len(body) < meterStatsHead {
				return errors.New("truncated statistics of a meter")
			}
			size := int(binary.BigEndian.Uint16(body[4:]))
			if size < meterStatsHead || size > len(body) {
				return errors.New("statistics of a meter have another size than they say")
			}
			id := binary.BigEndian.Uint32(body)
			if m := now[id]; m.rate > 0 && size == meterStatsHead+meterStatsBand {
				in, dropped := binary.BigEndian.Uint64(body[24:]), binary.BigEndian.Uint64(body[meterStatsHead+8:])
				age := time.Duration(binary.BigEndian.Uint32(body[32:]))*time.Second + time.Duration(binary.BigEndian.Uint32(body[36:]))
				out[id] = passage{m, age, in - min(dropped, in)}
			}
			body = body[size:]
		}
		return nil
	})
	return out, err
}
