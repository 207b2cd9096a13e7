package status

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// The states of a VPN, CloudStack's words.
const (
	VPNPending      = "Pending" // nobody tried yet
	VPNConnecting   = "Connecting"
	VPNConnected    = "Connected"
	VPNDisconnected = "Disconnected"
	VPNError        = "Error"
)

// VPNStates lists them.
func VPNStates() []string {
	return []string{VPNPending, VPNConnecting, VPNConnected, VPNDisconnected, VPNError}
}

// A VPN is how one VPN of a router is, in the words of what serves it.
type VPN struct {
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"` // of State
	// Ends are the networks of a peer, or users.
	Ends []VPNEnd `json:"ends,omitempty"`
	// Was lists the states before, the last one last, as far as that is remembered.
	Was []VPNState `json:"was,omitempty"`
}

// A VPNState is what a VPN was.
type VPNState struct {
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"`
}

// A VPNEnd is one network of a peer, or one user.
type VPNEnd struct {
	Name string `json:"name"`
	Up   bool   `json:"up"`
	// Since is when it came up, where it is.
	Since time.Time `json:"since,omitzero"`
	// Address is a user's own, From where the user's packets come from.
	Address string `json:"address,omitempty"`
	From    string `json:"from,omitempty"`
	// Handshake is WireGuard's last one; a user of whom it is older than three minutes
	// is not there.
	Handshake time.Time `json:"handshake,omitzero"`
	// In and Out are bytes from and to a user of WireGuard, since its server began.
	In  uint64 `json:"in,omitempty"`
	Out uint64 `json:"out,omitempty"`
}

// vpnRemembered is how many former states are kept.
const vpnRemembered = 10

// Become notes how a VPN is now, and what it was where that is something else.
func (v *VPN) Become(state, reason string, now time.Time) {
	if v.State == state {
		v.Reason = reason
		return
	}
	if v.State != "" {
		v.Was = append(v.Was, VPNState{State: v.State, Reason: v.Reason, Since: v.Since})
		v.Was = v.Was[max(0, len(v.Was)-vpnRemembered):]
	}
	v.State, v.Reason, v.Since = state, reason, now
}

// Line is the VPN in one line, its state first.
func (v *VPN) Line() string { return strings.TrimSpace(v.State + " " + v.Reason) }

// Reply is what who serves a VPN answers: its line, and a line of JSON.
func (v *VPN) Reply() string {
	b, err := json.Marshal(v)
	if err != nil {
		return v.Line() // a time that is none: what is in the line is true all the same
	}
	return strings.ReplaceAll(v.Line(), "\n", " ") + "\n" + string(b)
}

// ParseVPN reads a reply: its line, and the VPN, nil where there is none in it.
func ParseVPN(reply string) (line string, v *VPN) {
	line, rest, _ := strings.Cut(reply, "\n")
	v = new(VPN)
	if err := json.Unmarshal([]byte(rest), v); err != nil || v.State == "" {
		return strings.TrimSpace(line), nil
	}
	return strings.TrimSpace(line), v
}

// vpnRows shows a VPN below its service: who is in, and what it was.
func (p *printer) vpnRows(v *VPN) [][]string {
	if v == nil || !p.style.All {
		return nil
	}
	var rows [][]string
	for _, e := range v.Ends {
		word, since := p.paint(yellow, "down"), ""
		if e.Up {
			word = p.paint(green, "up")
			if !e.Since.IsZero() {
				since = Age(p.now.Sub(e.Since))
			}
		}
		rows = append(rows, []string{"    " + clean(e.Name), word, since, clean(e.words(p.now))})
	}
	for i := len(v.Was) - 1; i >= max(0, len(v.Was)-rolesShown); i-- {
		w := v.Was[i]
		rows = append(rows, []string{"", "was " + clean(w.State), Age(p.now.Sub(w.Since)), clean(w.Reason)})
	}
	return rows
}

func (e *VPNEnd) words(now time.Time) string {
	var parts []string
	if e.Address != "" {
		parts = append(parts, e.Address)
	}
	if e.From != "" {
		parts = append(parts, "from "+e.From)
	}
	if !e.Handshake.IsZero() {
		parts = append(parts, "last handshake "+Age(now.Sub(e.Handshake))+" ago")
	}
	if e.In+e.Out > 0 {
		parts = append(parts, fmt.Sprintf("%s in, %s out", size(e.In), size(e.Out)))
	}
	return strings.Join(parts, ", ")
}

// size is a number of bytes as people say it.
func size(n uint64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	x, i := float64(n), -1
	for x >= unit && i < len("kMGTPE")-1 {
		x /= unit
		i++
	}
	return fmt.Sprintf("%.3g %cB", x, "kMGTPE"[i])
}
