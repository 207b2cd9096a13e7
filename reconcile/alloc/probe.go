package alloc

import (
	"strconv"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
)

// randomProbes is how many numbers are tried at random before the rest of the
// pool is walked: with half of it free, one try in 2^64 fails.
const randomProbes = 64

// takeFree is take of what nobody has: a number is shared by who states it only.
func (a *allocator) takeFree(w *want, value string) bool {
	return a.space(w)[value] == nil && a.take(w, value) == nil
}

// probe tries hash(owner, 0), hash(owner, 1) ... of the pool, then walks all of
// it in a step that visits every number once. What comes first in a pool is used
// up before the rest.
func (a *allocator) probe(w *want) {
	size := w.Pool.Size()
	first := uint64(0)
	if t, ok := w.Pool.(model.Tiered); ok {
		first = t.First()
	}
	if !a.full[w.Pool.Describe()] {
		if a.search(w, 0, first) || a.search(w, first, size-first) {
			return
		}
		a.full[w.Pool.Describe()] = true
	}
	a.diags.Errorf(w.Pos, "pool-exhausted", "no free %s (%d of %d used)", w.Pool.Describe(), size, size).
		Hintf("%s needs one: extend the pool, or free what is not used", w.Owner)
	w.value, w.given = w.had, true
}

// search takes a free one of the size candidates, beginning with from.
func (a *allocator) search(w *want, from, size uint64) bool {
	if size == 0 {
		return false
	}
	for k := range uint64(randomProbes) {
		if a.takeFree(w, w.Pool.At(from+hash(w, k)%size)) {
			return true
		}
	}
	step := coprime(hash(w, randomProbes), size)
	at := hash(w, randomProbes+1) % size
	for range size {
		if a.takeFree(w, w.Pool.At(from+at)) {
			return true
		}
		at = (at + step) % size
	}
	return false
}

func hash(w *want, k uint64) uint64 {
	return resource.Digest("alloc", w.Owner, w.Field, strconv.FormatUint(k, 10))
}

// coprime is a step near n that visits all of size numbers.
func coprime(n, size uint64) uint64 {
	for n = n%size | 1; gcd(n, size) != 1; n += 2 {
	}
	return n % max(size, 1)
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
