package course

import (
	"cmp"
	"slices"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// mostPairs is up to how many pairs of rules that changed are looked at for what they
// share. Without it a packet that passes in both filters may wait.
const mostPairs = 4096

// shared are rules for what both a rule of old and one of now let pass, which stand
// where these stood, after what they stop.
func shared(old, now []resource.Rule, accepts bool) []resource.Rule {
	if len(old)*len(now) > mostPairs {
		return nil
	}
	var out []resource.Rule
	for i := range old {
		do := old[i].Do
		if do.Target != "ACCEPT" && (do.Target != "RETURN" || accepts) {
			continue
		}
		for j := range now {
			m, ok := overlap(old[i].Match, now[j].Match)
			if ok && now[j].Do == do {
				out = append(out, resource.Rule{Name: now[j].Name, Match: m, Do: do, Origin: now[j].Origin})
			}
		}
	}
	return out
}

// overlap matches what both a and b match; false where that cannot be said, or is nothing.
func overlap(a, b resource.Match) (resource.Match, bool) {
	out := a
	ok := plain(&out, &b) && inner(&out.Src, b.Src) && inner(&out.OrigDst, b.OrigDst) && common(&out.SrcPorts, b.SrcPorts) && common(&out.DstPorts, b.DstPorts)
	if a.NotDst || b.NotDst {
		ok = ok && a.NotDst == b.NotDst && a.Dst == b.Dst
	} else {
		ok = ok && inner(&out.Dst, b.Dst)
	}
	out.SYN = a.SYN || b.SYN
	if len(a.CT) == 0 {
		out.CT = b.CT
	}
	return out, ok && (len(a.CT) == 0 || len(b.CT) == 0 || slices.Equal(a.CT, b.CT))
}

// plain makes a match what b matches too, of all that is one word or number.
func plain(a, b *resource.Match) bool {
	return narrow(&a.In, b.In) && narrow(&a.Out, b.Out) && narrow(&a.SrcSet, b.SrcSet) && narrow(&a.DstSet, b.DstSet) &&
		narrow(&a.Proto, b.Proto) && narrow(&a.ICMPType, b.ICMPType) && narrow(&a.ICMPCode, b.ICMPCode) && (a.ICMPCode == 0 || a.ICMPType > 0) &&
		narrow(&a.Mark, b.Mark) && narrow(&a.IPsec, b.IPsec) && narrow(&a.Nth, b.Nth) && narrow(&a.Hash, b.Hash)
}

// narrow makes what *a says what b says too; the zero value says nothing.
func narrow[T comparable](a *T, b T) bool {
	var all T
	if *a == all {
		*a = b
	}
	return *a == b || b == all
}

// inner makes *a the smaller of two networks; false if neither is in the other.
func inner(a *prefix, b prefix) bool {
	switch {
	case !b.IsValid():
	case !a.IsValid():
		*a = b
	case !a.Overlaps(b):
		return false
	case b.Bits() > a.Bits():
		*a = b
	}
	return true
}

// common makes *a the ports that both lists name; an empty one names all.
func common(a *[]schema.PortRange, b []schema.PortRange) bool {
	if len(b) == 0 {
		return true
	}
	if len(*a) == 0 {
		*a = b
		return true
	}
	var out []schema.PortRange
	for _, x := range *a {
		for _, y := range b {
			if r := (schema.PortRange{From: max(x.From, y.From), To: min(x.To, y.To)}); r.From <= r.To && !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	slices.SortFunc(out, func(x, y schema.PortRange) int { return cmp.Compare(x.From, y.From) })
	*a = out
	return len(out) > 0
}
