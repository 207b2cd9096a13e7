package model

import (
	"net/netip"
	"slices"
	"testing"
)

// TestCTZones: 16 bits without 0, which is the host's own.
func TestCTZones(t *testing.T) {
	p := ctZones{"z"}
	for v, want := range map[string]bool{"0": false, "1": true, "65535": true, "65536": false, "01": false, "": false, "x": false} {
		if p.Contains(v) != want {
			t.Errorf("%q: %v", v, !want)
		}
	}
	if a, b := p.At(0), p.At(p.Size()-1); a != "1" || b != "65535" {
		t.Errorf("from %s to %s", a, b)
	}
}

func TestTidy(t *testing.T) {
	var list []netip.Prefix
	for _, s := range []string{"::/0", "10.0.0.5/32", "fd00::/8", "10.0.0.0/24", "10.0.0.5/32", "10.0.1.0/24", "0.0.0.0/32"} {
		list = append(list, netip.MustParsePrefix(s))
	}
	got := tidy(list)
	want := []string{"0.0.0.0/32", "10.0.0.0/24", "10.0.1.0/24", "::/0"}
	if !slices.EqualFunc(got, want, func(p netip.Prefix, s string) bool { return p.String() == s }) {
		t.Errorf("%v, want %v", got, want)
	}
	r := GroupRule{Proto: AllProtocols, Peers: got}
	if a, b := len(r.Of(true)), len(r.Of(false)); a != 3 || b != 1 {
		t.Errorf("%d of IPv4, %d of IPv6", a, b)
	}
	r.Proto = protoICMPv6
	if a, b := len(r.Of(true)), len(r.Of(false)); a != 0 || b != 1 {
		t.Errorf("icmpv6: %d of IPv4, %d of IPv6", a, b)
	}
}
