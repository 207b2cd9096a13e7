package bgp

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"weft.dev/reconcile/status"
)

// Well is what the keeper says of a bgpd that answers.
const Well = "bgpd answers"

// answer says how a session is, or bgpd itself.
func (k *keeper) answer(peer string) string {
	if peer == "" {
		if _, err := command(bgpdVTY, []string{"show version"}); err != nil {
			return "bgpd does not answer: " + err.Error()
		}
		return Well
	}
	a, err := netip.ParseAddr(peer)
	if err != nil || a.Zone() != "" {
		return fmt.Sprintf("%.40q is no address of a peer", peer)
	}
	text, err := command(bgpdVTY, []string{"show bgp neighbors " + a.String() + " json"})
	if err != nil {
		return "bgpd does not answer: " + err.Error()
	}
	s, err := session(text, a, time.Now())
	if err != nil {
		return err.Error()
	}
	return s.Reply()
}

// wakeTime is how often the keeper looks for neighbours to call.
const wakeTime = 5 * time.Second

// wake has bgpd call neighbours that it does not call soon by itself, until the process
// ends. After a session with one that has graceful restart too, FRR 8.4 waits for its call
// as long as that one's restart may take, two minutes; and who listens for any router of a
// network, as operators have it, never calls. After several sessions that ended it pauses
// for up to a minute.
func (k *keeper) wake() {
	for range time.Tick(wakeTime) {
		text, err := command(bgpdVTY, []string{"show bgp neighbors json"})
		if err != nil {
			continue // the agent asks too, and does something about it
		}
		for _, a := range waiting(text) {
			if _, err := command(bgpdVTY, []string{"enable", "clear bgp " + a.String()}); err != nil {
				fmt.Fprintln(os.Stderr, "bgp: call", a, "again:", err)
			}
		}
	}
}

// waiting lists the neighbours of which FRR says that they are not called soon.
func waiting(text string) []netip.Addr {
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil
	}
	var out []netip.Addr
	for name, one := range all {
		var n neighbor
		a, err := netip.ParseAddr(name)
		if err == nil && a.Zone() == "" && json.Unmarshal(one, &n) == nil && (n.Waits == "passiveNSF" || n.Pause > wakeTime.Milliseconds()) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// neighbor is what FRR tells of one.
type neighbor struct {
	ASN      uint32 `json:"remoteAs"`
	State    string `json:"bgpState"`
	Waits    string `json:"bgpStateIs"`
	Pause    int64  `json:"nextStartTimerDueInMsecs"`
	Since    int64  `json:"bgpTimerUpEstablishedEpoch"` // seconds
	Sessions int    `json:"connectionsEstablished"`
	Ended    int64  `json:"lastResetTimerMsecs"` // ago
	Reset    string `json:"lastResetDueTo"`
	Notified string `json:"lastNotificationReason"`
	Families map[string]struct {
		Sent int `json:"sentPrefixCounter"`
	} `json:"addressFamilyInfo"`
}

// Why there is none: FRR's words for it tell of its own insides.
var reasons = map[string]string{
	"Waiting for peer OPEN":             "the peer does not answer",
	"Waiting for NHT":                   "no route leads to the peer",
	"No AFI/SAFI activated for peer":    "not tried yet",
	"Waiting for Peer IPv6 LLA":         "no route leads to the peer",
	"BGP Notification received":         "the peer ended it",
	"BGP Notification send":             "this router ended it",
	"Peer closed the session":           "the peer closed the connection",
	"NSF peer closed the session":       "the peer closed the connection",
	"Hold Timer Expired":                "the peer was silent for the hold time",
	"Interface down":                    "the link went down",
	"Neighbor deleted":                  "the peer was taken out",
	"User reset":                        "it was reset",
	"Admin. shutdown":                   "it is shut down",
	"Peer change":                       "what is agreed with the peer changed",
	"Waiting for VRF to be initialized": "not tried yet",
}

// session reads what FRR says of a neighbour.
func session(text string, peer netip.Addr, now time.Time) (*status.BGP, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("bgpd says what is not JSON: %w", err)
	}
	one, ok := all[peer.String()]
	if !ok {
		return nil, fmt.Errorf("bgpd has no peer %s", peer)
	}
	var n neighbor
	if err := json.Unmarshal(one, &n); err != nil {
		return nil, fmt.Errorf("bgpd says of %s what cannot be read: %w", peer, err)
	}
	out := &status.BGP{State: n.State, Address: peer.String(), ASN: n.ASN, Sessions: n.Sessions}
	for _, f := range n.Families {
		out.Told += f.Sent
	}
	up := n.State == status.BGPEstablished
	if up {
		out.Since = time.Unix(n.Since, 0).UTC()
	}
	if !up || n.Sessions > 1 {
		if out.Reset = n.Reset; reasons[n.Reset] != "" {
			out.Reset = reasons[n.Reset]
		}
		if n.Notified != "" {
			out.Reset += " (" + n.Notified + ")"
		}
	}
	if n.Sessions > 0 && (!up || n.Sessions > 1) {
		out.Ended = now.Add(-time.Duration(n.Ended) * time.Millisecond).UTC().Truncate(time.Second)
	}
	return out, nil
}
