package status

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// BGPEstablished is the state of a session over which networks are told; the others are
// those of RFC 4271: Idle, Connect, Active, OpenSent, OpenConfirm.
const BGPEstablished = "Established"

// A BGP is how the session of a router with one of its BGP peers is.
type BGP struct {
	State   string `json:"state"`
	Address string `json:"address"` // of the peer
	ASN     uint32 `json:"asn"`     // of the peer
	// Since is when the session began; zero while there is none.
	Since time.Time `json:"since,omitzero"`
	// Told is how many networks the peer is told of, of both families.
	Told int `json:"told"`
	// Sessions counts those that there were since bgpd began.
	Sessions int `json:"sessions"`
	// Reset is why the last session ended or none came about, at Ended.
	Reset string    `json:"reset,omitempty"`
	Ended time.Time `json:"ended,omitzero"`
}

// Reply is what who serves BGP answers: a line for people, its state first, and a line
// of JSON.
func (b *BGP) Reply() string {
	line := b.State
	if b.Reset != "" && b.State != BGPEstablished {
		line += ": " + b.Reset
	}
	j, err := json.Marshal(b)
	if err != nil {
		return line // a time that is none: what is in the line is true all the same
	}
	return strings.ReplaceAll(line, "\n", " ") + "\n" + string(j)
}

// ParseBGP reads a reply: its line, and the session, nil where there is none in it.
func ParseBGP(reply string) (line string, b *BGP) {
	line, rest, _ := strings.Cut(reply, "\n")
	b = new(BGP)
	if err := json.Unmarshal([]byte(rest), b); err != nil || b.State == "" {
		b = nil
	}
	return strings.TrimSpace(line), b
}

// words are all that is known but the state and its age.
func (b *BGP) words(now time.Time) string {
	out := fmt.Sprintf("AS %d at %s", b.ASN, b.Address)
	if b.State != BGPEstablished {
		if b.Reset != "" {
			out += ": " + b.Reset
		}
		return out
	}
	out += fmt.Sprintf(", told of %d networks", b.Told)
	if b.Told == 1 {
		out = strings.TrimSuffix(out, "s")
	}
	if b.Sessions > 1 {
		out += fmt.Sprintf("; session %d, the one before ended %s ago", b.Sessions, Age(now.Sub(b.Ended)))
		if b.Reset != "" {
			out += ": " + b.Reset
		}
	}
	return out
}
