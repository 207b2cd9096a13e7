package schema

import "slices"

// clash is a pair of items of a list that have something in common, by index, first < second.
type clash struct{ first, second int }

// clashes finds items whose inclusive bounds overlap: for every item that overlaps another at
// least one pair, by index of the second. It sorts, so a hostile list costs no square.
func clashes[B any](n int, bounds func(i int) (from, to B), compare func(a, b B) int) []clash {
	if n < 2 {
		return nil
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, _ := bounds(i)
		b, _ := bounds(j)
		return compare(a, b)
	})
	var out []clash
	widest := order[0] // the item seen so far that reaches furthest
	for _, i := range order[1:] {
		from, to := bounds(i)
		if _, reach := bounds(widest); compare(from, reach) <= 0 {
			out = append(out, clash{min(i, widest), max(i, widest)})
			if compare(to, reach) <= 0 {
				continue
			}
		}
		widest = i
	}
	slices.SortFunc(out, func(a, b clash) int { return a.second - b.second })
	return out
}
