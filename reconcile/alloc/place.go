package alloc

import (
	"math"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
)

// place chooses a host by rendezvous: of all eligible hosts the one whose hash
// with the owner, scaled by its weight, is best. A host that comes or goes moves
// only what it wins or had.
func (a *allocator) place(w *want, p *model.HostPool) {
	seeds := a.seeds[p]
	if seeds == nil {
		seeds = make([]uint64, p.Size())
		for i := range seeds {
			seeds[i] = resource.Digest("host", p.At(uint64(i)))
		}
		a.seeds[p] = seeds
	}
	own := resource.Digest("router", w.Owner)
	best, at := math.Inf(1), -1
	spread := a.spread(w, p, seeds)
	for i, seed := range seeds {
		if len(a.away) > 0 && a.away[p.At(uint64(i))] || !spread.allows(p, p.At(uint64(i))) {
			continue
		}
		// Uniform in (0,1); the logarithm makes the chance proportional to the weight.
		u := (float64(mix(own^seed)>>11) + 0.5) / (1 << 53)
		if score := -math.Log(u) / float64(p.Weight(uint64(i))); score < best {
			best, at = score, i
		}
	}
	if at < 0 {
		d := a.diags.Errorf(w.Pos, "pool-exhausted", "no host can take the router of %s", w.Owner)
		if spread.host == "" {
			d.Hintf("all %d eligible hosts are being evacuated", len(seeds))
		} else {
			d.Hintf("its other router is on %s", spread.host)
		}
		w.value, w.given = w.had, true
		return
	}
	a.take(w, p.At(uint64(at)))
}

// mix spreads the bits of x (splitmix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
