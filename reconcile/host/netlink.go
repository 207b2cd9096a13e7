package host

import (
	"encoding/binary"
	"iter"
	"sync"
)

// Attrs walks netlink attributes: type without its flag bits, and value. It
// stops at what is malformed.
func Attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			n := int(binary.NativeEndian.Uint16(b))
			if n < 4 || n > len(b) {
				return
			}
			// NLA_F_NESTED and NLA_F_NET_BYTEORDER are the upper two bits.
			if !yield(binary.NativeEndian.Uint16(b[2:])&0x3fff, b[4:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// Each calls f for every item, at most workers of them at a time, and returns
// when all have ended.
func Each[T any](workers int, items []T, f func(int, T)) {
	if len(items) == 1 {
		f(0, items[0])
		return
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(workers, len(items)) {
		wg.Go(func() {
			for i := range next {
				f(i, items[i])
			}
		})
	}
	for i := range items {
		next <- i
	}
	close(next)
	wg.Wait()
}
