package node

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
)

// userOption is a struct nduseroptmsg of link 7 with options.
func userOption(size int, options ...byte) []byte {
	b := make([]byte, 16)
	b[0] = 10
	binary.NativeEndian.PutUint16(b[2:], uint16(size))
	binary.NativeEndian.PutUint32(b[4:], 7)
	return slices.Concat(b, options)
}

func TestRouterOptions(t *testing.T) {
	server := netip.MustParseAddr("2001:db8::1")
	s := server.As16()
	rdnss := append([]byte{25, 3, 0, 0, 0, 0, 0, 60}, s[:]...)
	dnssl := []byte{31, 3, 0, 0, 0, 0, 0, 60, 4, 'a', 'c', 'm', 'e', 4, 't', 'e', 's', 't', 0, 0, 0, 0, 0, 0}
	both := append(slices.Clone(rdnss), dnssl...)
	for name, x := range map[string]struct {
		message []byte
		index   int
		servers []netip.Addr
		domain  string
		ok      bool
	}{
		"both":          {userOption(len(both), both...), 7, []netip.Addr{server}, "acme.test", true},
		"another link":  {userOption(len(both), both...), 8, nil, "", false},
		"nothing":       {nil, 7, nil, "", false},
		"no options":    {userOption(0), 7, nil, "", true},
		"length zero":   {userOption(8, 25, 0, 0, 0, 0, 0, 0, 0), 7, nil, "", true},
		"cut off":       {userOption(24, rdnss[:16]...), 7, nil, "", true},
		"says too much": {userOption(65535, rdnss...), 7, []netip.Addr{server}, "", true},
		"bad name":      {userOption(16, 31, 2, 0, 0, 0, 0, 0, 60, 3, 'a', ' ', ';', 0, 0, 0, 0), 7, nil, "", true},
		"label beyond":  {userOption(16, 31, 2, 0, 0, 0, 0, 0, 60, 200, 'a', 0, 0, 0, 0, 0, 0), 7, nil, "", true},
	} {
		servers, domain, ok := routerOptions(x.message, x.index)
		if !slices.Equal(servers, x.servers) || domain != x.domain || ok != x.ok {
			t.Errorf("%s: %v %q %t, want %v %q %t", name, servers, domain, ok, x.servers, x.domain, x.ok)
		}
	}
}

func TestTake6(t *testing.T) {
	var a advice
	ok, err := a.take6(map[string]string{
		"event": "BOUND6", "new_ip6_address": "2001:db8::5", "new_dhcp6_name_servers": "2001:db8::1 junk", "new_dhcp6_domain_search": "acme.test. other.",
	})
	if !ok || err != nil || a.given != netip.MustParsePrefix("2001:db8::5/128") || len(a.servers) != 1 || a.domain != "acme.test" {
		t.Errorf("%t %v %+v", ok, err, a)
	}
	if ok, err := a.take6(map[string]string{"event": "bound", "ip": "10.0.0.1"}); ok || err != nil {
		t.Errorf("an event of IPv4: %t %v", ok, err)
	}
	if ok, err := a.take6(map[string]string{"event": "REBIND6", "new_ip6_address": "10.0.0.1"}); ok || err == nil || !a.given.IsValid() {
		t.Errorf("an address of IPv4: %t %v", ok, err)
	}
	if ok, err := a.take6(map[string]string{"event": "EXPIRE6"}); !ok || err != nil || a.given.IsValid() {
		t.Errorf("the lease ended: %t %v %v", ok, err, a.given)
	}
}

// TestAdvertisement: what the gateway of a Shared network says is what RFC 4861 has
// routers say, with the flags of how guests get their addresses.
func TestAdvertisement(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	made, given := Prefix{Of: netip.MustParsePrefix("2001:db8:1::/64")}, Prefix{Of: netip.MustParsePrefix("2001:db8:2::/64"), Managed: true}
	for name, x := range map[string]struct {
		prefixes []Prefix
		flags    byte
		options  []byte // flags of each prefix
	}{
		"made":  {[]Prefix{made}, 0x40, []byte{0xc0}},
		"given": {[]Prefix{given}, 0xc0, []byte{0x80}},
		"both":  {[]Prefix{made, given}, 0xc0, []byte{0xc0, 0x80}},
	} {
		b := advertisement(mac, x.prefixes)
		if len(b) != 24+32*len(x.prefixes) || b[0] != 134 || b[5] != x.flags || binary.BigEndian.Uint16(b[6:]) != routerLife || !slices.Equal(b[16:24], []byte{1, 1, 2, 0, 0, 0, 0, 1}) {
			t.Errorf("%s: %x", name, b)
			continue
		}
		for i, p := range x.prefixes {
			o := b[24+32*i:][:32]
			if o[0] != 3 || o[1] != 4 || o[2] != 64 || o[3] != x.options[i] || binary.BigEndian.Uint32(o[4:]) != prefixLife || netip.AddrFrom16([16]byte(o[16:])) != p.Of.Addr() {
				t.Errorf("%s, prefix %d: %x", name, i, o)
			}
		}
	}
}
