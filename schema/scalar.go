package schema

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Duration is a Go duration as written ("30s", "1h30m"), never negative.
type Duration = time.Duration

// Rate is in Mbit/s per direction; 0 means unlimited.
type Rate uint32

// String is "200 Mbit/s" or "unlimited".
func (r Rate) String() string {
	if r == 0 {
		return "unlimited"
	}
	return strconv.FormatUint(uint64(r), 10) + " Mbit/s"
}

// MAC is an Ethernet address; the zero value means none. It is comparable.
type MAC [6]byte

// IsZero reports whether there is no address.
func (m MAC) IsZero() bool { return m == MAC{} }

// String is lower case with colons; empty for none.
func (m MAC) String() string {
	if m.IsZero() {
		return ""
	}
	const digits = "0123456789abcdef"
	buf := make([]byte, 0, 17)
	for i, b := range m {
		if i > 0 {
			buf = append(buf, ':')
		}
		buf = append(buf, digits[b>>4], digits[b&15])
	}
	return string(buf)
}

// LinkLocal is the IPv6 address that an interface makes of its MAC: RFC 4291, appendix A.
func (m MAC) LinkLocal() netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// IPRange is an inclusive range of addresses of one family, From <= To.
type IPRange struct {
	From, To netip.Addr
}

// Contains reports whether ip lies in the range.
func (r IPRange) Contains(ip netip.Addr) bool {
	return ip.Is4() == r.From.Is4() && r.From.Compare(ip) <= 0 && ip.Compare(r.To) <= 0
}

// Overlaps reports whether both have an address in common.
func (r IPRange) Overlaps(s IPRange) bool {
	return r.From.Is4() == s.From.Is4() && r.From.Compare(s.To) <= 0 && s.From.Compare(r.To) <= 0
}

// String is "a-b", or "a" for a single address.
func (r IPRange) String() string {
	if r.From == r.To {
		return r.From.String()
	}
	return r.From.String() + "-" + r.To.String()
}

// PortRange is an inclusive range of TCP or UDP ports, 1 <= From <= To.
type PortRange struct {
	From, To uint16
}

// String is "443" or "8000-8100".
func (r PortRange) String() string {
	if r.From == r.To {
		return strconv.Itoa(int(r.From))
	}
	return strconv.Itoa(int(r.From)) + "-" + strconv.Itoa(int(r.To))
}

// Len is the number of ports in the range.
func (r PortRange) Len() int { return int(r.To) - int(r.From) + 1 }

// Overlaps reports whether both have a port in common.
func (r PortRange) Overlaps(s PortRange) bool { return r.From <= s.To && s.From <= r.To }

// Ports is a list of ports and port ranges in the order written, without overlap; nil where
// none were written.
type Ports []PortRange

// String is "80,8000-8100".
func (p Ports) String() string {
	parts := make([]string, len(p))
	for i, r := range p {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

// IDRange is an inclusive range of VLAN ids, VNIs or tunnel keys, From <= To.
type IDRange struct {
	From, To uint32
}

// Contains reports whether id lies in the range.
func (r IDRange) Contains(id uint32) bool { return r.From <= id && id <= r.To }

// String is "5000-5999" or "100".
func (r IDRange) String() string {
	if r.From == r.To {
		return strconv.FormatUint(uint64(r.From), 10)
	}
	return strconv.FormatUint(uint64(r.From), 10) + "-" + strconv.FormatUint(uint64(r.To), 10)
}

// The schemes of a BroadcastURI.
const (
	SchemeVLAN    = "vlan"
	SchemeVXLAN   = "vxlan"
	SchemeGRE     = "gre"
	SchemeGENEVE  = "geneve"
	SchemeSTT     = "stt"
	SchemeLSwitch = "lswitch"
	SchemeNative  = "native" // untagged
)

// BroadcastURI names a broadcast domain on the wire. The zero value means none was written.
type BroadcastURI struct {
	Scheme string // one of the Scheme constants
	ID     uint32 // VLAN id, VNI or key; 0 for lswitch and native
	UUID   string // of lswitch
}

// IsZero reports whether none was written.
func (u BroadcastURI) IsZero() bool { return u == BroadcastURI{} }

// String is "vlan://100", "lswitch:UUID" or "native://untagged"; empty for none.
func (u BroadcastURI) String() string {
	switch u.Scheme {
	case "":
		return ""
	case SchemeNative:
		return "native://untagged"
	case SchemeLSwitch:
		return "lswitch:" + u.UUID
	}
	return fmt.Sprintf("%s://%d", u.Scheme, u.ID)
}

// Ref names another document: within the same account when Account is empty, else in that
// account. The zero value means none was written.
type Ref struct {
	Account string
	Name    string
}

// IsZero reports whether none was written.
func (r Ref) IsZero() bool { return r == Ref{} }

// Or returns the account that the reference points into, given that of its document.
func (r Ref) Or(account string) string {
	if r.Account != "" {
		return r.Account
	}
	return account
}

// String is "name" or "account/name"; empty for none.
func (r Ref) String() string {
	if r.Account == "" {
		return r.Name
	}
	return r.Account + "/" + r.Name
}

// Secret points to a value that never enters a plan, status or log: a file that each host which
// may run its user has. The zero value means none was written.
type Secret struct {
	At Pos32 `yaml:"-"`
	// SecretFile is the absolute path of the file on the host.
	SecretFile string `yaml:"secretFile" weft:"required,format=path"`
}
